"""Each shape's share of its roof: what this machine could do at most, measured on the spot.

    python bench/roofline.py [--layout last|first] [--threads 1 2] [--only 'r50*']
                             [--json FILE] [--plot FILE.png]

The roof of a shape is the longer of two times: its multiply-adds at the float32 FMA
limit, and its bytes (x, w and the result, once each) at the best traffic seen with operands of that
size. Limits are the best of all rounds, times are medians, so noise lowers a share. Limits need a C
compiler (`cc`, or $CC); without one only a copy by NumPy is known, and the report says so.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from harness import (
    Progress,
    add_arguments,
    choose,
    finish,
    flops,
    geometric_mean,
    groups,
    heading,
    last_level_cache,
    load_shapes,
    measure,
    moved_bytes,
    pyplot,
    say_threads,
    table,
)

SOURCE = Path(__file__).with_name("limits.c")
#: Products are fused for speed only here; the shapes' kernels are built by CMake.
FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
TRAFFIC = ("read", "copy", "copy_streaming", "fill_streaming")
SMALLEST = 64 << 10


def compiled():
    """limits.c as a library, or (None, why)."""
    name = os.environ.get("CC", "cc").split()
    compiler = shutil.which(name[0]) if name else None
    if not compiler:
        return None, f"no C compiler: {' '.join(name)!r} is not there"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.so"
        done = subprocess.run(
            [compiler, *name[1:], *FLAGS, str(SOURCE), "-o", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return None, f"{compiler} failed: {done.stderr.strip().splitlines()[-1:]}"
        library = ctypes.CDLL(str(path))
    library.limit_fma_step.restype = ctypes.c_size_t
    library.limit_fma.restype = library.limit_read.restype = ctypes.c_float
    library.limit_fma.argtypes = [ctypes.c_size_t, ctypes.c_float]
    size, address = ctypes.c_size_t, ctypes.c_void_p
    library.limit_read.argtypes = [address, size, size]
    library.limit_fill_streaming.argtypes = [address, size, size]
    for copy in (library.limit_copy, library.limit_copy_streaming):
        copy.argtypes = [address, address, size, size]
    return library, None


def aligned(count):
    """`count` float32 zeros, written, on a 64-byte boundary."""
    raw = np.zeros(count + 16, np.float32)
    raw[:] = 0
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + count]


def together(work, threads):
    """Seconds that `threads` threads take, each calling work(number). ctypes drops the GIL."""
    if threads == 1:
        start = time.perf_counter()
        work(0)
        return time.perf_counter() - start
    barrier = threading.Barrier(threads + 1)

    def run(number):
        barrier.wait()
        work(number)
        barrier.wait()

    for number in range(threads):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    return time.perf_counter() - start


def best_rate(once, amount, threads, rounds, budget):
    """Amount per second, the best of rounds: `once(number, repeats)` moves or computes `amount`."""

    def seconds(repeats):
        return together(lambda number: once(number, repeats), threads)

    repeats, times = 1, [seconds(1)]
    # Starting threads costs tens of microseconds: calls must be so long that it is nothing.
    while times[0] < budget:
        repeats = max(2 * repeats, int(repeats * 1.2 * budget / max(times[0], 1e-7)))
        times = [seconds(repeats)]
    times += [seconds(repeats) for _ in range(rounds - 1)]
    return amount * repeats * threads / min(times)


def ladder(largest):
    """Sizes of buffers in bytes, by factors of four up to four last-level caches."""
    sizes = [SMALLEST]
    while sizes[-1] < largest:
        sizes.append(4 * sizes[-1])
    return sizes


def measure_limits(library, threads, rounds, budget, largest):
    """{"fma": GFLOP/s or None, "traffic": {bytes: {kind: GB/s}}} with this many threads.

    Traffic counts what is read plus what is written, and depends on whether the operands fit a
    cache, hence the sizes. All buffers of all threads together take the size.
    """
    traffic = {}
    sizes = ladder(largest)
    progress = Progress(len(sizes) + 1)
    fma = None
    if library:
        step = library.limit_fma_step()
        inner = 10_000
        rate = best_rate(
            lambda _, n: library.limit_fma(n * inner, 0.5),
            2 * step * inner,
            threads,
            rounds,
            budget,
        )
        fma = rate * 1e-9
    progress.step(f"FMA, {say_threads(threads)}")
    for size in sizes:
        # Two buffers a thread, each a multiple of 8 vectors of 64 bytes.
        count = max(size // (2 * threads) // 512, 1) * 128
        x = [aligned(count) for _ in range(threads)]
        y = [aligned(count) for _ in range(threads)]
        traffic[size] = {
            kind: best_rate(once, amount, threads, rounds, budget) * 1e-9
            for kind, once, amount in traffic_calls(library, x, y, count)
        }
        progress.step(f"traffic, {size >> 10} KiB, {say_threads(threads)}")
    return {"fma": fma, "traffic": traffic}


def traffic_calls(library, x, y, count):
    """(kind, call, bytes) of every kind that can be measured."""
    if not library:

        def copy(i, n):
            for _ in range(n):
                np.copyto(y[i], x[i])

        return [("copy", copy, 8 * count)]
    sources, targets = [a.ctypes.data for a in x], [a.ctypes.data for a in y]

    def read(i, n):
        library.limit_read(sources[i], count, n)
        library.limit_read(targets[i], count, n)

    def copy(i, n):
        library.limit_copy(targets[i], sources[i], count, n)

    def copy_streaming(i, n):
        library.limit_copy_streaming(targets[i], sources[i], count, n)

    def fill_streaming(i, n):
        library.limit_fill_streaming(targets[i], count, n)
        library.limit_fill_streaming(sources[i], count, n)

    calls = [("read", read, 8 * count), ("copy", copy, 8 * count)]
    if library.limit_can_stream():
        calls += [
            ("copy_streaming", copy_streaming, 8 * count),
            ("fill_streaming", fill_streaming, 8 * count),
        ]
    return calls


def memory_seconds(sizes, traffic, is_cold):
    """Below this no call with these operands can be: reads, writes and their sum each take time.

    A rate is the best of the buffers of the operands' size (the ladder's step at or below it) and
    of all larger ones, since what larger buffers reach smaller ones can; where the cache is cold,
    of the largest buffers alone. A kind that was not measured bounds nothing.
    """
    moved, written = moved_bytes(sizes), 4 * math.prod(sizes[:3]) * sizes[4]
    least = max(traffic) if is_cold else max([s for s in traffic if s <= moved], default=0)
    best = {}
    for size, rates in traffic.items():
        if size >= least:
            best |= {kind: max(rate, best.get(kind, 0)) for kind, rate in rates.items()}
    copies = max(best["copy"], best.get("copy_streaming", 0))
    seconds = [moved / max(best.values())]
    # Copies read at half their rate, which may be more than a loop that only reads reaches.
    if "read" in best:
        seconds.append((moved - written) / max(best["read"], copies / 2))
    if "fill_streaming" in best:
        seconds.append(written / max(best["fill_streaming"], copies / 2))
    return max(seconds) * 1e-9


def roof(sizes, limits, is_cold=False):
    """(seconds at least, "compute" or "memory"), from those limits that are known."""
    memory = memory_seconds(sizes, limits["traffic"], is_cold)
    compute = flops(sizes) / limits["fma"] * 1e-9 if limits["fma"] else 0.0
    return (compute, "compute") if compute > memory else (memory, "memory")


def better(one, other):
    """The limits of two measurements, the best of each."""
    return {
        "fma": max(one["fma"], other["fma"]) if one["fma"] else None,
        "traffic": {
            size: {kind: max(rate, other["traffic"][size][kind]) for kind, rate in rates.items()}
            for size, rates in one["traffic"].items()
        },
    }


def limits_text(limits, threads):
    """The limits with one number of threads, and the ones that are missing."""
    kinds = [k for k in TRAFFIC if any(k in t for t in limits["traffic"].values())]
    lines = [
        [f"{size >> 10} KiB", *(f"{t[k]:.1f}" for k in kinds)]
        for size, t in limits["traffic"].items()
    ]
    fma = f"{limits['fma']:.1f} GFLOP/s" if limits["fma"] else "missing"
    missing = [k for k in TRAFFIC if k not in kinds]
    text = [f"Limits, {say_threads(threads)}. FMA: {fma}. Traffic, read plus written, GB/s:", ""]
    text.append(table(["buffers", *(k.replace("_", " ") for k in kinds)], lines))
    if missing:
        text += ["", f"Missing: {', '.join(k.replace('_', ' ') for k in missing)}"]
    return "\n".join(text)


def shares(row, limits, is_cold):
    """{who: share of the roof, 0 to 1} of one row."""
    least, _ = roof(row["sizes"], limits, is_cold)
    return {who: least / statistics.median(times) for who, times in row["seconds"].items()}


def report(figures):
    is_cold = figures["cache"] == "cold"
    text = [heading(figures)]
    if figures["limits_missing"]:
        text.append(f"limits are incomplete, and with them the roofs: {figures['limits_missing']}")
    for (threads, layout), part in groups(figures["rows"]):
        limits = figures["limits"][threads]
        text += ["", limits_text(limits, threads), ""]
        text += [f"Share of the roof, {say_threads(threads)}, channels {layout}", ""]
        whom = [w for w in figures["peers"] if any(w in row["seconds"] for row in part)]
        lines, all_shares = [], {who: [] for who in whom}
        for row in part:
            found = shares(row, limits, is_cold)
            for who, share in found.items():
                all_shares[who].append(share)
            least, kind = roof(row["sizes"], limits, is_cold)
            cells = (f"{100 * found[w]:.0f} %" if w in found else "-" for w in whom)
            lines.append([row["shape"], f"{least * 1e3:.3f}", kind, *cells])
        text += [table(["shape", "roof ms", "bound by", *whom], lines), ""]
        text += [
            f"{who}: geometric mean {100 * geometric_mean(s):.0f} %, least {100 * min(s):.0f} %"
            for who, s in all_shares.items()
        ]
        if any(share > 1 for found in all_shares.values() for share in found):
            text.append("A share above 100 %: the limits were measured on a busier machine. Again.")
    return "\n".join(text)


def plot(figures, path, plt):
    """GFLOP/s over operations per byte, a panel for each layout and number of threads."""
    parts = groups(figures["rows"])
    figure, panels = plt.subplots(
        1, len(parts), figsize=(6 * len(parts), 4.5), squeeze=False, sharey=True
    )
    for panel, ((threads, layout), part) in zip(panels[0], parts, strict=True):
        limits = figures["limits"][threads]
        intensity = np.geomspace(0.25, 512, 200)
        memory = max(limits["traffic"][max(limits["traffic"])].values()) * intensity
        top = np.minimum(memory, limits["fma"]) if limits["fma"] else memory
        panel.plot(intensity, top, color="black", label="roof, operands in memory")
        for number, who in enumerate(figures["peers"]):
            points = [
                (
                    flops(r["sizes"]) / moved_bytes(r["sizes"]),
                    flops(r["sizes"]) / statistics.median(r["seconds"][who]) * 1e-9,
                )
                for r in part
                if who in r["seconds"]
            ]
            if points:
                panel.scatter(*zip(*points, strict=True), label=who, marker="ox+^v"[number % 5])
        panel.set(xscale="log", yscale="log", xlabel="operations per byte")
        panel.set_title(f"{say_threads(threads)}, channels {layout}")
        panel.grid(which="both", alpha=0.3)
    panels[0][0].set_ylabel("GFLOP/s")
    panels[0][0].legend()
    figure.suptitle(f"{figures['cpu']}, {figures['date']}, {figures['cache']} cache")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", choices=["last", "first", "both"], default="last")
    parser.add_argument("--only", default="*", help="shapes, as 'r50*,ng*'")
    parser.add_argument(
        "--largest",
        type=int,
        default=4 * last_level_cache(),
        help="bytes of the largest buffers, beyond every cache",
    )
    add_arguments(parser, peers="conv,pointwise")
    args = parser.parse_args(arguments)
    from backends import BACKENDS

    plt = pyplot() if args.plot else None
    names = choose(list(BACKENDS), args.peers, "peer")
    shapes = load_shapes(args.only)
    layouts = ["last", "first"] if args.layout == "both" else [args.layout]
    library, why = compiled()

    def limits_now():
        return {
            count: measure_limits(library, count, args.rounds, args.budget, args.largest)
            for count in args.threads
        }

    before = limits_now()
    figures = measure(
        names, shapes, layouts, args.threads, args.rounds, args.budget, args.isa, args.cache
    )
    # Once more, since a neighbour that was busy before may be quiet now.
    after = limits_now()
    limits = {count: better(before[count], after[count]) for count in args.threads}
    figures |= {"limits": limits, "limits_missing": why}
    print(report(figures))
    if plt:
        plot(figures, args.plot, plt)
    return finish(figures, args.json)


if __name__ == "__main__":
    sys.exit(main())
