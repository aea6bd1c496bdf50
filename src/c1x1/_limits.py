"""What this machine can do at most, measured on the spot: for `explain(measure=True)`."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from c1x1 import _api, _core, _kernels
from c1x1._call import Call

_BUDGET = 0.1  # seconds of calls
_ROUND = 0.01  # seconds of one measurement of a limit
_ROUNDS = 5
_LEAST_BYTES = 1 << 16  # below this the copies' own cost counts
_DEPTH = 256  # channels of the tile that is timed: its operands stay in L1


def measure_call(call: Call, moved: int) -> dict[str, float]:
    """Seconds of the call, and the FLOP/s and bytes/s that its threads could reach at most."""
    threads = int(call.plan["threads"])

    def limits() -> tuple[float, float]:
        fma = _fma_rate(call.plan["isa"], call.plan["compute"], threads)
        return fma, _copy_rate(moved, threads)

    # Before and after, since a machine that was busy then may be quiet now.
    before, seconds, after = limits(), _seconds_of(call), limits()
    return {
        "seconds": seconds,
        "flops": max(before[0], after[0]),
        "bytes": max(before[1], after[1]),
    }


def _seconds_of(call: Call) -> float:
    options: dict[str, Any] = {name: a for name, a in call.given.items() if name != "bias"}
    if call.activation is not None:
        options["activation"] = (call.activation[0], *call.activation[1])
    if call.out is not None:
        options["out"] = np.empty_like(call.out)
    steps = [
        step
        for axis, step in enumerate(call.steps)
        if axis not in (call.channel_axis, call.batch_axis)
    ]

    def once() -> object:
        return _api.conv(
            call.x,
            call.w,
            call.given.get("bias"),
            layout=call.layout,
            stride=steps,
            groups=call.groups,
            nodata=call.nodata,
            dtype=call.dtype,
            threads=call.promises["threads"],
            **options,
        )

    once()
    times: list[float] = []
    while len(times) < 3 or sum(times) < _BUDGET:
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _fma_rate(isa: str, dtype: str, threads: int) -> float:
    """FLOP/s of the largest tile."""
    runnable = [not missing for _, _, missing in _core.isas()]
    kernel = max(
        (
            row
            for row in _kernels.kernels()
            if row["kind"] == "tile" and row["is_full"] and runnable[row["isa"]]
            if (row["name"], row["dtype"]) == (isa, dtype)
        ),
        key=lambda row: row["m"] * row["n"],
    )
    rows, columns = kernel["m"], kernel["n"] * kernel["vl"]

    def work(repeats: int) -> Callable[[], None]:
        # Operands of its own for each thread, aligned by NumPy as it likes.
        a, b = np.ones((rows, _DEPTH), dtype), np.ones((_DEPTH, columns), dtype)
        c = np.zeros((rows, columns), dtype)
        return lambda: _kernels.run_kernel(kernel, a, b, c, repeat=repeats)

    return 2 * rows * columns * _DEPTH * _rate(work, threads)


def _copy_rate(moved: int, threads: int) -> float:
    """Bytes read and written per second by copies that together move so many."""
    count = max(moved, _LEAST_BYTES) // 2 // threads

    def work(repeats: int) -> Callable[[], None]:
        source, target = np.ones(count, np.uint8), np.ones(count, np.uint8)

        def copy() -> None:
            for _ in range(repeats):
                np.copyto(target, source)

        return copy

    return 2 * count * _rate(work, threads)


def _rate(work: Callable[[int], Callable[[], None]], threads: int) -> float:
    """Repeats per second of all threads together, the best of some rounds."""
    repeats = 1
    while (seconds := max(_together([work(repeats) for _ in range(threads)]))) < _ROUND:
        repeats = max(2 * repeats, int(1.2 * repeats * _ROUND / max(seconds, 1e-7)))
    jobs = [work(repeats) for _ in range(threads)]
    rounds = [_together(jobs) for _ in range(_ROUNDS)]
    return max(sum(repeats / own for own in times) for times in rounds)


def _together(jobs: list[Callable[[], None]]) -> list[float]:
    """Seconds of each job, all at once on threads of their own."""
    barrier = threading.Barrier(len(jobs))
    times = [0.0] * len(jobs)

    def run(number: int) -> None:
        barrier.wait()
        start = time.perf_counter()
        jobs[number]()
        times[number] = time.perf_counter() - start

    others = [threading.Thread(target=run, args=(number,)) for number in range(1, len(jobs))]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    return times
