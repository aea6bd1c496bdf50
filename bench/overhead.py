"""Times what a small call costs: a 4x4x8 image by an 8x8 matrix, beside np.matmul.

    python bench/overhead.py

Calls are interleaved; the table holds medians, less what an empty call costs.
"""

from __future__ import annotations

import statistics
import timeit

import numpy as np

import c1x1

ROUNDS, CALLS = 15, 20_000


def main():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 4, 8), np.float32)
    w = rng.standard_normal((8, 8), np.float32)
    out = np.empty((4, 4, 8), np.float32)
    layer = c1x1.Pointwise(w)
    calls = {
        "np.matmul(x, w)": lambda: np.matmul(x, w),
        "conv(x, w)": lambda: c1x1.conv(x, w),
        "layer(x)": lambda: layer(x),
        "layer(x, out=out)": lambda: layer(x, out=out),
        "nothing": lambda: None,
    }
    seconds = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seconds[name].append(timeit.timeit(call, number=CALLS) / CALLS)
    cost = {name: statistics.median(times) for name, times in seconds.items()}
    idle = cost.pop("nothing")
    base = cost["np.matmul(x, w)"] - idle
    for name, value in cost.items():
        print(f"{name:<20}{(value - idle) * 1e9:8.0f} ns {(value - idle) / base:6.2f}")


if __name__ == "__main__":
    main()
