"""Times what a small call costs: a 4x4x8 image by an 8x8 matrix, beside np.matmul.

    python bench/overhead.py [--rounds 15] [--calls 20000] [--json FILE]

Calls are interleaved; the table holds medians, less what an empty call costs. Below it stand
differences between calls that go different ways through the floors of docs/architecture.md. They
are differences of whole calls, not times measured inside one: floors cannot be timed alone without
slowing what is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import timeit
from pathlib import Path

import numpy as np
from harness import facts, table

import c1x1
from c1x1 import _api

IDLE = "nothing"
#: (what, more, less): the first call does what the second does and this besides.
STEPS = [
    ("new array for the result", "layer(x)", "layer(x, out=out)"),
    ("what an image without pixels spares", "layer(x)", "layer(empty)"),
    ("reading and packing weights in each call", "conv(x, w)", "layer(x)"),
]


def make_calls():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 4, 8), np.float32)
    w = rng.standard_normal((8, 8), np.float32)
    out = np.empty((4, 4, 8), np.float32)
    # Arguments are read and checked as ever; then there is nothing to compute.
    empty = x[:0]
    layer = c1x1.Pointwise(w)
    return {
        "np.matmul(x, w)": lambda: np.matmul(x, w),
        "conv(x, w)": lambda: c1x1.conv(x, w),
        "layer(x)": lambda: layer(x),
        "layer(x, out=out)": lambda: layer(x, out=out),
        "conv(empty, w)": lambda: c1x1.conv(empty, w),
        "layer(empty)": lambda: layer(empty),
        # A dict of its fields included, which no other call makes.
        "_api.plan(x, w)": lambda: _api.plan(x, w),
        IDLE: lambda: None,
    }


def measure_calls(calls, rounds, number):
    """{name: seconds a call}, less the empty call's."""
    seconds = {name: [] for name in calls}
    for done in range(rounds):
        for name, call in calls.items():
            seconds[name].append(timeit.timeit(call, number=number) / number)
        if sys.stderr.isatty():
            print(f"\r{done + 1}/{rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    cost = {name: statistics.median(times) for name, times in seconds.items()}
    idle = cost.pop(IDLE)
    return {name: value - idle for name, value in cost.items()}


def report(cost):
    base = cost["np.matmul(x, w)"]
    lines = [[name, f"{1e9 * v:.0f}", f"{v / base:.2f}"] for name, v in cost.items()]
    steps = [
        [what, f"{1e9 * (cost[more] - cost[less]):.0f}", f"{more} - {less}"]
        for what, more, less in STEPS
    ]
    return "\n\n".join(
        [
            table(["call", "ns", "of np.matmul"], lines),
            table(["difference", "ns", "as"], steps),
        ]
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args(arguments)
    cost = measure_calls(make_calls(), args.rounds, args.calls)
    where = facts()
    print(f"{where['date']}, {where['cpu']}, Python {where['python']}, NumPy {np.__version__}\n")
    print(report(cost))
    if args.json:
        args.json.write_text(json.dumps(where | {"seconds": cost}, indent=1) + "\n")


if __name__ == "__main__":
    main()
