"""Times narrow dtypes beside what NumPy, OpenCV, ONNX Runtime and PyTorch do with them.

    python bench/narrow.py [--only 'bytes*,int8*'] [--threads 1 2] [--rounds 7] [--budget 0.1]

Cases: uint8 through float32 weights, to float32 and to uint8; int8 and uint8 by int8, to int32 and
requantised; bfloat16. Each way lives in a process of its own, and its result is compared with
float64 before it is timed (two rows of it): the table has the largest error beside the time, since
some round weights or saturate on the way. c1x1 must be exact, or within a rounding of its result.
Rounds are interleaved, the others stopped meanwhile; ratios are medians of the rounds' ratios.
`out` is given wherever a library takes one.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import signal
import statistics
import sys

import numpy as np
from fusion import environment
from harness import choose, cpus, table, time_calls

IMAGES = {
    "1080p 3 to 3": ((1080, 1920, 3), 3),
    "1024x1024x12 to 4": ((1024, 1024, 12), 4),
    "28x28x192 to 64": ((28, 28, 192), 64),
}
LAYERS = {
    "28x28x192 to 64": ((28, 28, 192), 64),
    "56x56x64 to 64": ((56, 56, 64), 64),
    "28x28x512 to 128": ((28, 28, 512), 128),
    "14x14x1024 to 256": ((14, 14, 1024), 256),
}


def _whole(seed, shape, dtype):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


def _weights(channels, filters):
    return np.random.default_rng(1).standard_normal((channels, filters)).astype(np.float32) / 4


def _saturated(sums, dtype):
    limits = np.iinfo(dtype)
    return np.clip(np.rint(sums), limits.min, limits.max)


# ---- cases: the ways, what float64 says, and how far off the result may be in c1x1 ---------------


def bytes_to_float(shape, filters):
    x, w = _whole(0, shape, np.uint8), _weights(shape[-1], filters)

    def ours():
        import c1x1

        layer, out = c1x1.Pointwise(w, x_dtype=x.dtype), np.empty((*shape[:-1], filters), w.dtype)
        return lambda: layer(x, out=out)

    ways = {"c1x1": ours, "numpy": lambda: lambda: x.astype(np.float32) @ w}
    return ways, lambda: x[:2].astype(float) @ w, 1e-2


def bytes_to_bytes(shape, filters):
    x, w = _whole(0, shape, np.uint8), _weights(shape[-1], filters)
    out = np.empty((*shape[:-1], filters), np.uint8)

    def ours():
        import c1x1

        layer = c1x1.Pointwise(w, x_dtype=x.dtype, dtype=np.uint8)
        return lambda: layer(x, out=out)

    def opencv():
        import cv2

        cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
        matrix = np.ascontiguousarray(w.T)
        return lambda: cv2.transform(x, matrix, out)

    def steps():
        return lambda: np.clip(np.rint(x.astype(np.float32) @ w), 0, 255).astype(np.uint8)

    ways = {"c1x1": ours, "numpy": steps}
    if max(shape[-1], filters) <= 4:
        ways["cv2"] = opencv
    return ways, lambda: _saturated(x[:2].astype(float) @ w, np.uint8), 1


def _onnx(node, operands, outputs, constants):
    import onnxruntime
    from onnx import helper, numpy_helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    info = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(d)), s)
        for n, d, s in [(*operands, None), (*outputs, None)]
    ]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph([node], "narrow", info[:1], info[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def integers(dtype, is_requantised, shape, filters):
    x = _whole(0, shape, dtype)
    w = _whole(1, (shape[-1], filters), np.int8)
    scale = np.float32(2.0**-8 / shape[-1] ** 0.5)
    result = dtype if is_requantised else np.int32

    def ours():
        import c1x1

        more = {"scale": np.full(filters, scale, float)} if is_requantised else {}
        layer = c1x1.Pointwise(w, x_dtype=dtype, dtype=result, **more)
        out = np.empty((*shape[:-1], filters), result)
        return lambda: layer(x, out=out)

    def onnxruntime():
        from onnx import helper

        if is_requantised:
            names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
            one, zero = np.float32(1), np.zeros((), dtype)
            constants = {"w": w, "xs": one, "xz": zero, "ws": scale, "wz": np.int8(0)}
            constants |= {"ys": one, "yz": zero}
            node = helper.make_node("QLinearMatMul", names, ["y"])
        else:
            constants, node = {"w": w}, helper.make_node("MatMulInteger", ["x", "w"], ["y"])
        session = _onnx(node, ("x", dtype), ("y", result), constants)
        return lambda: session.run(None, {"x": x})[0]

    def oracle():
        sums = x[:2].astype(float) @ w.astype(float)
        return _saturated(sums * float(scale), dtype) if is_requantised else sums

    return {"c1x1": ours, "onnxruntime": onnxruntime}, oracle, 0


def bfloat16(shape, filters):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, (shape[-1], filters)))
    # Cut to bfloat16 here, so that all ways get the same values.
    x, w = ((v.view(np.uint32) & 0xFFFF0000).view(np.float32) for v in (x, w))

    def ours():
        import ml_dtypes

        import c1x1

        image = x.astype(ml_dtypes.bfloat16)
        layer = c1x1.Pointwise(w.astype(ml_dtypes.bfloat16))
        out = np.empty((*shape[:-1], filters), ml_dtypes.bfloat16)
        return lambda: layer(image, out=out)

    def torch():
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        image = torch.from_numpy(x).bfloat16()
        weight = torch.from_numpy(w.T.copy()).bfloat16()

        def call():
            with torch.inference_mode():
                return torch.nn.functional.linear(image, weight)

        return call

    bound = float(np.abs(x.astype(float) @ w).max()) * 2.0**-8
    return {"c1x1": ours, "torch": torch}, lambda: x[:2].astype(float) @ w, bound


CASES = (
    {f"bytes to float32, {n}": (bytes_to_float, s) for n, s in IMAGES.items()}
    | {f"bytes to bytes, {n}": (bytes_to_bytes, s) for n, s in IMAGES.items()}
    | {f"int8 to int32, {n}": (integers, (np.int8, False, *s)) for n, s in LAYERS.items()}
    | {f"int8 to int8, {n}": (integers, (np.int8, True, *s)) for n, s in LAYERS.items()}
    | {f"uint8 to int32, {n}": (integers, (np.uint8, False, *s)) for n, s in LAYERS.items()}
    | {f"bfloat16, {n}": (bfloat16, s) for n, s in LAYERS.items()}
)


# ---- one way in a process of its own -------------------------------------------------------------


def serve(pipe, case, way, budget):
    """Sets up, checks, then times on demand; answers seconds, and first the largest error."""
    make, arguments = CASES[case]
    ways, oracle, _ = make(*arguments)
    call = ways[way]()
    y = call()[:2]
    y = np.asarray(y.float() if hasattr(y, "bfloat16") else y).astype(float)
    pipe.send(float(np.abs(y - oracle()).max()))
    del y
    while pipe.recv():
        pipe.send(time_calls(call, budget))


def run(case, threads, rounds, budget):
    """{way: [seconds]}, {way: largest error}."""
    environment(threads)
    context = multiprocessing.get_context("spawn")
    make, arguments = CASES[case]
    ways, _, bound = make(*arguments)
    needs = {"onnxruntime": ["onnxruntime", "onnx"], "c1x1": ["c1x1"], "numpy": []}
    if make is bfloat16:
        needs["c1x1"] = ["c1x1", "ml_dtypes"]
    servers, seconds, errors = {}, {}, {}
    for way in ways:
        if not all(importlib.util.find_spec(module) for module in needs.get(way, [way])):
            print(f"skipped {way}: not installed", file=sys.stderr)
            continue
        pipe, end = context.Pipe()
        process = context.Process(target=serve, args=(end, case, way, budget), daemon=True)
        process.start()
        seconds[way], errors[way] = [], pipe.recv()
        if way == "c1x1" and not errors[way] <= bound:
            raise SystemExit(f"{case}, {way}: wrong by {errors[way]}")
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
    return seconds, errors


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="*", help="cases, as 'bytes*,int8 to int32*'")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cpus()}))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--budget", type=float, default=0.1, help="seconds per way and round")
    args = parser.parse_args(arguments)
    rows = []
    for case in choose(list(CASES), args.only, "case"):
        for threads in args.threads:
            seconds, errors = run(case, threads, args.rounds, args.budget)
            for way, times in seconds.items():
                ratios = (b / a for a, b in zip(seconds.get("c1x1", times), times, strict=True))
                cells = [f"{statistics.median(times) * 1e3:.3f}"]
                cells += [f"{statistics.median(ratios):.2f}", f"{errors[way]:.3g}"]
                rows.append([case, str(threads), way, *cells])
    print(file=sys.stderr)
    print(table(["case", "threads", "way", "ms", "time, of c1x1", "largest error"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
