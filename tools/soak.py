"""Mixed work from many threads and processes: no result differs, memory and descriptors stay flat.

    python tools/soak.py MINUTES [THREADS] [PROCESSES]

Each process repeats calls of all kinds from several Python threads, some of which start children of
their own by fork. Every result is compared, by its bytes, with the first of its kind. The resident
memory of a process may grow by 1 MiB at most once it is warm.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable

import numpy as np
import psutil

import c1x1

WARM = 0.25  # of the time: until then memory may grow
GROWTH = 1 << 20  # bytes
CHILDREN_EVERY = 200  # calls


def jobs() -> dict[str, Callable[[], np.ndarray]]:
    """Calls by name; each returns the same array every time."""
    rng = np.random.default_rng(5)

    def real(*shape: int, dtype: str = "float32") -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    image, w = real(61, 67, 24), real(24, 40)
    planes, narrow = real(3, 96, 200), real(2, 3)
    pixels = rng.integers(0, 256, (90, 100, 12), np.uint8)
    table = real(256)
    long_x, long_w = real(9, 11, 1100), real(1100, 17)
    layer = c1x1.Pointwise(w, activation="gelu")
    chain = c1x1.Chain([layer, c1x1.Pointwise(real(40, 8))])
    wide = real(50, 60, 33, dtype="float64")
    thin = rng.integers(-128, 128, (40, 50, 64), np.int8)
    thin_w = rng.integers(-128, 128, (64, 10), np.int8)

    def invalid() -> np.ndarray:
        try:
            c1x1.conv(image, w[:-1])
        except ValueError as error:
            return np.frombuffer(str(error).encode(), np.uint8)
        raise AssertionError("accepted weights that do not fit")

    def in_place() -> np.ndarray:
        copy = wide.copy()
        return c1x1.conv(copy, np.eye(33)[::-1], residual=wide, out=copy, threads=2)

    return {
        "image": lambda: c1x1.conv(image, w, threads=2),
        "planes": lambda: c1x1.conv(planes, narrow, layout="CHW", activation="relu"),
        "reversed": lambda: c1x1.conv(image[::-2, ::3], w, w[0], activation="silu"),
        "lut": lambda: c1x1.conv(pixels, w[:12], lut=table, nodata=7, threads=3),
        "long": lambda: c1x1.conv(long_x, long_w, threads=2),
        "layer": lambda: layer(image),
        "new layer": lambda: c1x1.Pointwise(w)(image),
        "chain": lambda: chain(image, threads=2),
        "in place": in_place,
        "int8": lambda: c1x1.conv(thin, thin_w),
        "gradients": lambda: c1x1.conv_vjp(image, w, image[..., :1] * w[0])[1],
        "invalid": invalid,
    }


def digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()


def in_child(call: Callable[[], np.ndarray], want: bytes) -> bool:
    """Whether a forked child computes the same."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if digest(call()) == want else 1
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def worker(seconds: float, threads: int, results: multiprocessing.Queue[dict[str, float]]) -> None:
    """One process: the counts of its calls and mismatches, and how much it grew."""
    warnings.simplefilter("ignore")
    calls = jobs()
    wanted = {name: digest(call()) for name, call in calls.items()}
    count, wrong, lock = [0], [0], threading.Lock()
    process = psutil.Process()
    end = time.monotonic() + seconds

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        names = list(calls)
        while time.monotonic() < end:
            name = names[rng.integers(len(names))]
            is_right = digest(calls[name]()) == wanted[name]
            with lock:
                count[0] += 1
                wrong[0] += not is_right
                forks = count[0] % CHILDREN_EVERY == 0
            if forks and not in_child(calls[name], wanted[name]):
                with lock:
                    wrong[0] += 1

    team = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for thread in team:
        thread.start()
    time.sleep(seconds * WARM)
    files, sizes = process.num_fds(), []
    while time.monotonic() < end:
        time.sleep(0.2)
        sizes.append(process.memory_info().rss)
    for thread in team:
        thread.join()
    # How much is in use at one moment depends on which calls are under way: peaks come by chance,
    # medians of minutes do not.
    half = len(sizes) // 2
    growth = statistics.median(sizes[half:]) - statistics.median(sizes[:half])
    results.put(
        {
            "calls": count[0],
            "wrong": wrong[0],
            "growth": growth,
            "files": process.num_fds() - files,
        }
    )


def main() -> None:
    """Runs it and says how it went; exits with 1 when anything was wrong."""
    minutes = float(sys.argv[1])
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    processes = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[dict[str, float]] = context.Queue()
    team = [
        context.Process(target=worker, args=(60 * minutes, threads, results))
        for _ in range(processes)
    ]
    for process in team:
        process.start()
    found = [results.get(timeout=60 * minutes + 600) for _ in team]
    for process in team:
        process.join()
    is_bad = any(process.exitcode for process in team)
    for one in found:
        print(
            f"{one['calls']:.0f} calls, {one['wrong']:.0f} wrong, "
            f"{one['growth'] / 1024:+.0f} KiB, {one['files']:+.0f} descriptors"
        )
        is_bad |= one["wrong"] > 0 or one["growth"] > GROWTH or one["files"] > 0
    print(f"{minutes:g} minutes, {processes} processes of {threads} threads: "
          f"{sum(one['calls'] for one in found):.0f} calls")  # fmt: skip
    sys.exit(1 if is_bad else 0)


if __name__ == "__main__":
    main()
