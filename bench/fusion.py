"""Times what c1x1 does in one pass beside the same done step by step.

    python bench/fusion.py [--only 'gelu,stain'] [--threads 1 2] [--rounds 7] [--budget 0.1]

Cases: bias, residual and ReLU; GELU; stain unmixing of a uint8 image (a table, 3 to 3, clip); an
MLP per pixel. Each way of doing it lives in a process of its own and is compared with float64
before it is timed; rounds are interleaved, the others stopped meanwhile. Ratios are medians of the
rounds' ratios. Peak memory is that of the first call, beyond the operands and the result.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import time

import numpy as np
from harness import choose, cpus, table

SIDE = 4096  # of the stained image


def _random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


# ---- cases: operands, the ways to compute, the formula in float64 on some rows -------------------


def fused_residual():
    x, w = _random(0, 56, 56, 64), _random(1, 64, 256)
    bias, residual = _random(2, 256), _random(3, 56, 56, 256)

    def c1x1_fused(c1x1):
        layer = c1x1.Pointwise(w, bias, activation="relu")
        return lambda: layer(x, residual=residual)

    def c1x1_plain(c1x1):
        layer = c1x1.Pointwise(w)
        return lambda: layer(x)

    def numpy_steps(_):
        return lambda: np.maximum(x @ w + bias + residual, 0)

    def oracle(y):
        want = np.maximum(x[:2].astype(float) @ w + bias + residual[:2], 0)
        return np.abs(y[:2] - want).max()

    return {"fused": c1x1_fused, "plain": c1x1_plain, "numpy": numpy_steps}, oracle, {"plain"}


def gelu():
    x, w = _random(0, 28, 28, 192), _random(1, 192, 768) / 14

    def c1x1_fused(c1x1):
        layer = c1x1.Pointwise(w, activation="gelu")
        return lambda: layer(x)

    def c1x1_plain(c1x1):
        layer = c1x1.Pointwise(w)
        return lambda: layer(x)

    def torch_two(torch):
        image = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)[None]))
        image = image.contiguous(memory_format=torch.channels_last)
        weight = torch.from_numpy(np.ascontiguousarray(w.T[:, :, None, None]))

        def call():
            with torch.inference_mode():
                y = torch.nn.functional.conv2d(image, weight)
                return torch.nn.functional.gelu(y)[0].permute(1, 2, 0).numpy()

        return call

    def oracle(y):
        from math import erf

        v = x[:1].astype(float) @ w
        return np.abs(y[:1] - v * 0.5 * (1 + np.vectorize(erf)(v / np.sqrt(2)))).max()

    return {"fused": c1x1_fused, "plain": c1x1_plain, "torch": torch_two}, oracle, {"plain"}


def stain():
    x = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    density = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)
    w = _random(1, 3, 3)

    def c1x1_fused(c1x1):
        return lambda: c1x1.conv(x, w, lut=density, activation=("clip", 0, 2))

    def numpy_steps(_):
        def call():
            d = -np.log(np.maximum(x, 1).astype(np.float32) / 255)
            return np.clip(d @ w, 0, 2)

        return call

    def numpy_table(_):
        return lambda: np.clip(density[x] @ w, 0, 2)

    def oracle(y):
        return np.abs(y[:2] - np.clip(density[x[:2]].astype(float) @ w, 0, 2)).max()

    return {"fused": c1x1_fused, "numpy": numpy_steps, "numpy-table": numpy_table}, oracle, set()


def mlp():
    x = _random(0, 1000, 1000, 64)
    weights = [_random(i, a, b) / 8 for i, (a, b) in enumerate([(64, 64), (64, 32), (32, 8)], 1)]
    biases = [_random(i, b) for i, b in enumerate([64, 32, 8], 7)]
    activations = ["relu", "relu", None]

    def layers(c1x1):
        return [
            c1x1.Pointwise(w, b, activation=a)
            for w, b, a in zip(weights, biases, activations, strict=True)
        ]

    def chain(c1x1):
        made = c1x1.Chain(layers(c1x1))
        return lambda: made(x)

    def three_calls(c1x1):
        first, second, third = layers(c1x1)
        return lambda: third(second(first(x)))

    def torch_sequential(torch):
        modules = []
        for w, b, a in zip(weights, biases, activations, strict=True):
            linear = torch.nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            modules += [linear] + ([torch.nn.ReLU()] if a else [])
        net, image = torch.nn.Sequential(*modules), torch.from_numpy(x)

        def call():
            with torch.inference_mode():
                return net(image).numpy()

        return call

    def oracle(y):
        v = x[:1].astype(float)
        for w, b, a in zip(weights, biases, activations, strict=True):
            v = v @ w + b
            v = np.maximum(v, 0) if a else v
        return np.abs(y[:1] - v).max()

    return {"fused": chain, "three-calls": three_calls, "torch": torch_sequential}, oracle, set()


CASES = {"residual": fused_residual, "gelu": gelu, "stain": stain, "mlp": mlp}


# ---- one way in a process of its own -------------------------------------------------------------


def serve(pipe, case, way, threads, budget):
    """Sets up, checks, then times on demand; answers seconds, and first error and peak in MiB."""
    ways, oracle, unchecked = CASES[case]()
    if way == "torch":
        import torch as library

        library.set_num_threads(threads)
    elif way.startswith("numpy"):
        library = np
    else:
        import c1x1 as library
    call = ways[way](library)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y = call()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 - y.nbytes / 2**20
    error = 0.0 if way in unchecked else float(oracle(y))
    del y
    pipe.send((error, peak))
    while pipe.recv():
        times, end = [], time.perf_counter() + budget
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        pipe.send(statistics.median(times))


def environment(threads):
    names = ("C1X1_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ.update(dict.fromkeys(names, str(threads)))


def run(case, threads, rounds, budget):
    """{way: [seconds]}, {way: peak MiB}."""
    environment(threads)
    context = multiprocessing.get_context("spawn")
    ways = [w for w in CASES[case]()[0] if w != "torch" or importlib.util.find_spec("torch")]
    servers, seconds, peaks = {}, {way: [] for way in ways}, {}
    for way in ways:
        pipe, end = context.Pipe()
        process = context.Process(target=serve, args=(end, case, way, threads, budget), daemon=True)
        process.start()
        error, peaks[way] = pipe.recv()
        if not error < 1e-3:
            raise SystemExit(f"{case}, {way}: wrong by {error}")
        os.kill(process.pid, signal.SIGSTOP)
        servers[way] = (process, pipe)
    for _ in range(rounds):
        for way, (process, pipe) in servers.items():
            os.kill(process.pid, signal.SIGCONT)
            pipe.send(True)
            seconds[way].append(pipe.recv())
            os.kill(process.pid, signal.SIGSTOP)
        print(".", end="", file=sys.stderr, flush=True)
    for process, pipe in servers.values():
        os.kill(process.pid, signal.SIGCONT)
        pipe.send(False)
        process.join()
    return seconds, peaks


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="*", help="cases, as 'gelu,stain'")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cpus()}))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--budget", type=float, default=0.1, help="seconds per way and round")
    args = parser.parse_args(arguments)
    rows = []
    for case in choose(list(CASES), args.only, "case"):
        for threads in args.threads:
            seconds, peaks = run(case, threads, args.rounds, args.budget)
            for way, times in seconds.items():
                relative = statistics.median(
                    b / a for a, b in zip(seconds["fused"], times, strict=True)
                )
                rows.append(
                    [
                        case,
                        str(threads),
                        way,
                        f"{statistics.median(times) * 1e3:.3f}",
                        f"{relative:.2f}",
                        f"{peaks[way]:.1f}",
                    ]
                )
    print(file=sys.stderr)
    header = ["case", "threads", "way", "ms", "time, of fused", "peak MiB beyond result"]
    print(table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
