"""Time against pixels (P), channels in (K), channels out (N) and threads, one at a time.

    python bench/scaling.py [--only P,threads] [--layout last|first] [--json FILE] [--plot FILE.png]

Each sweep changes one size and keeps the others: 3136 pixels, 128 channels in, 128 out. Times per
multiply-add show where a size is too small, or stops fitting a cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from backends import BACKENDS
from harness import (
    add_arguments,
    choose,
    cpus,
    finish,
    flops,
    groups,
    heading,
    measure,
    pyplot,
    say_threads,
    table,
)

BASE = {"P": 3136, "K": 128, "N": 128}
#: Powers of two, and neighbours that fill no vector or start a new piece of the sum.
SWEEPS = {
    "P": [1, 4, 16, 49, 64, 196, 784, 1024, 3136, 12544, 50176, 200704],
    "K": [1, 3, 4, 8, 16, 32, 64, 128, 160, 161, 256, 512, 1024, 2048],
    "N": [1, 3, 4, 5, 8, 16, 17, 24, 32, 64, 128, 256, 512, 1024, 2048],
}


def shapes_of(sweep):
    """{"P=49": [1, 1, 49, 128, 128], ...}."""
    shapes = {}
    for value in SWEEPS[sweep]:
        sizes = BASE | {sweep: value}
        shapes[f"{sweep}={value}"] = [1, 1, sizes["P"], sizes["K"], sizes["N"]]
    return shapes


def median(row, who):
    return statistics.median(row["seconds"][who])


def sweep_table(rows, names):
    """Milliseconds and GFLOP/s of everyone, a line for each size."""
    names = [n for n in names if any(n in row["seconds"] for row in rows)]
    lines = [
        [
            row["shape"],
            *(f"{median(row, n) * 1e3:.4f}" if n in row["seconds"] else "-" for n in names),
            *(
                f"{flops(row['sizes']) / median(row, n) * 1e-9:.1f}" if n in row["seconds"] else "-"
                for n in names
            ),
        ]
        for row in rows
    ]
    header = ["size", *(f"{n} ms" for n in names), *(f"{n} GFLOP/s" for n in names)]
    return table(header, lines)


def thread_table(rows, names):
    """Milliseconds, and how many times faster than with the first number of threads."""
    names = [n for n in names if all(n in row["seconds"] for row in rows)]
    lines = [
        [
            str(row["threads"]),
            *(f"{median(row, n) * 1e3:.4f}" for n in names),
            *(f"{median(rows[0], n) / median(row, n):.2f}" for n in names),
        ]
        for row in rows
    ]
    header = ["threads", *(f"{n} ms" for n in names), *(f"{n} gain" for n in names)]
    return table(header, lines)


def of_sweep(rows, sweep):
    return [row for row in rows if row["shape"].startswith(f"{sweep}=")]


def report(figures):
    names = list(figures["peers"])
    text = [heading(figures)]
    for (threads, layout), part in groups(figures["rows"]):
        for sweep in SWEEPS:
            rows = of_sweep(part, sweep)
            if rows:
                others = ", ".join(f"{k}={v}" for k, v in BASE.items() if k != sweep)
                text += ["", f"{sweep}, {say_threads(threads)}, channels {layout}; {others}", ""]
                text.append(sweep_table(rows, names))
    rows = [row for row in figures["rows"] if row["shape"] == "base"]
    for layout in dict.fromkeys(row["layout"] for row in rows):
        text += [
            "",
            f"threads, channels {layout}; {', '.join(f'{k}={v}' for k, v in BASE.items())}",
            "",
        ]
        text.append(thread_table([r for r in rows if r["layout"] == layout], names))
    return "\n".join(text)


def plot(figures, path, plt):
    """A panel for each sweep and number of threads: nanoseconds per multiply-add over the size."""
    parts = [
        (f"{sweep}, {say_threads(threads)}, channels {layout}", of_sweep(part, sweep))
        for (threads, layout), part in groups(figures["rows"])
        for sweep in SWEEPS
        if of_sweep(part, sweep)
    ]
    base = [row for row in figures["rows"] if row["shape"] == "base"]
    if base:
        parts.append(("threads", base))
    columns = min(3, len(parts))
    lines = -(-len(parts) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(5 * columns, 3.6 * lines), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(parts) :]:
        panel.set_visible(False)
    for panel, (title, rows) in zip(panels.flat, parts, strict=False):
        for who in figures["peers"]:
            # Both layouts of the thread sweep share a panel.
            for layout in dict.fromkeys(row["layout"] for row in rows):
                chosen = [r for r in rows if r["layout"] == layout and who in r["seconds"]]
                sizes = [
                    r["threads"] if r["shape"] == "base" else int(r["shape"].split("=")[1])
                    for r in chosen
                ]
                times = [median(r, who) / flops(r["sizes"]) * 2e9 for r in chosen]
                panel.plot(sizes, times, "o-", label=f"{who}, {layout}", markersize=3)
        panel.set(xscale="log", yscale="log", title=title, ylabel="ns per multiply-add")
        if title == "threads":
            panel.set(xscale="linear", yscale="linear", ylim=(0, None))
        panel.grid(which="both", alpha=0.3)
    panels[0][0].legend()
    figure.suptitle(f"{figures['cpu']}, {figures['date']}, {figures['cache']} cache")
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", choices=["last", "first", "both"], default="last")
    parser.add_argument("--only", default="*", help="sweeps, of P, K, N, threads")
    parser.add_argument("--sizes", type=int, nargs="+", help="instead of each sweep's own sizes")
    add_arguments(parser, peers="conv,pointwise,numpy")
    args = parser.parse_args(arguments)
    plt = pyplot() if args.plot else None
    names = choose(list(BACKENDS), args.peers, "peer")
    layouts = ["last", "first"] if args.layout == "both" else [args.layout]
    sweeps = choose([*SWEEPS, "threads"], args.only, "sweep")
    if args.sizes:
        SWEEPS.update(dict.fromkeys(SWEEPS, args.sizes))
    shapes = {}
    for sweep in SWEEPS:
        if sweep in sweeps:
            shapes |= shapes_of(sweep)
    options = (args.rounds, args.budget, args.isa, args.cache)
    figures = None
    if shapes:
        figures = measure(names, shapes, layouts, args.threads, *options)
    if "threads" in sweeps:
        counts = sorted({*range(1, cpus() + 1), *args.threads})
        base = {"base": [1, 1, *BASE.values()]}
        more = measure(names, base, layouts, counts, *options)
        rows = figures["rows"] if figures else []
        figures = more | {"rows": rows + more["rows"]}
    print(report(figures))
    if plt:
        plot(figures, args.plot, plt)
    return finish(figures, args.json)


if __name__ == "__main__":
    sys.exit(main())
