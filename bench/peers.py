"""Times c1x1 beside its peers, shape by shape.

    python bench/peers.py [--layout last|first|both] [--threads 1 2] [--only 'r50*,ng*']
                          [--peers 'numpy,torch*'] [--cache cold] [--json FILE] [--plot FILE.png]
                          [--random 60 --seed 1]

Ratios above 1 mean that c1x1 is faster. How they are made: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from backends import BACKENDS
from harness import (
    add_arguments,
    choose,
    finish,
    flops,
    geometric_mean,
    groups,
    heading,
    load_shapes,
    measure,
    pyplot,
    random_shapes,
    ratio,
    say_threads,
    table,
)


def against(row, ours):
    """{peer: ratio} of one row, the fastest peer first; empty where ours has no time."""
    if ours not in row["seconds"]:
        return {}
    peers = [name for name in row["seconds"] if not BACKENDS[name].is_ours]
    ratios = {peer: ratio(row["seconds"], ours, peer) for peer in peers}
    return dict(sorted(ratios.items(), key=lambda item: item[1]))


def report_part(part, ours):
    """The table of one layout and number of threads, and the lines below it."""
    peers = [p for p in BACKENDS if any(p in against(row, ours) for row in part)]
    lines = []
    for row in part:
        ratios = against(row, ours)
        if ours not in row["seconds"]:
            lines.append([row["shape"], *["-"] * (3 + len(peers))])
            continue
        seconds = statistics.median(row["seconds"][ours])
        lines.append(
            [
                row["shape"],
                f"{seconds * 1e3:.3f}",
                f"{flops(row['sizes']) / seconds * 1e-9:.1f}",
                *(f"{ratios[p]:.2f}" if p in ratios else "-" for p in peers),
                next(iter(ratios), "-"),
            ]
        )
    text = [table(["shape", f"{ours} ms", "GFLOP/s", *peers, "fastest peer"], lines), ""]
    for peer in peers:
        ratios = [against(row, ours)[peer] for row in part if peer in against(row, ours)]
        text.append(summary(peer, ratios))
    # The peer that is fastest for a shape, whoever that is: the hardest comparison.
    fastest = [
        (*next(iter(against(row, ours).items())), row["shape"])
        for row in part
        if against(row, ours)
    ]
    if fastest:
        peer, _, shape = min(fastest, key=lambda item: item[1])
        line = summary("the fastest peer of each shape", [value for _, value, _ in fastest])
        text.append(f"{line} ({shape}, {peer})")
    return "\n".join(text)


def summary(peer, ratios):
    mean = geometric_mean(ratios)
    return f"against {peer}: geometric mean {mean:.2f} of {len(ratios)}, worst {min(ratios):.2f}"


def report(figures):
    text = [heading(figures)]
    for (threads, layout), part in groups(figures["rows"]):
        for ours in [p for p in figures["peers"] if BACKENDS[p].is_ours]:
            text += ["", f"{ours}, {say_threads(threads)}, channels {layout}", ""]
            text.append(report_part(part, ours))
    return "\n".join(text)


def plot(figures, path, plt):
    """A panel for each layout and number of threads: ratios of the last of ours to each peer."""
    ours = [p for p in figures["peers"] if BACKENDS[p].is_ours][-1]
    parts = groups(figures["rows"])
    most = max(len(part) for _, part in parts)
    figure, panels = plt.subplots(
        1, len(parts), figsize=(5 * len(parts) + 2, 1.5 + 0.28 * most), squeeze=False, sharey=True
    )
    peers = [p for p in figures["peers"] if not BACKENDS[p].is_ours]
    legend = {}
    for panel, ((threads, layout), part) in zip(panels[0], parts, strict=True):
        ratios = [against(row, ours) for row in part]
        for number, peer in enumerate(peers):
            points = [(r[peer], i) for i, r in enumerate(ratios) if peer in r]
            if points:
                style = {"color": plt.get_cmap("tab20")(number), "marker": "osD^v"[number % 5]}
                legend[peer] = panel.scatter(*zip(*points, strict=True), **style)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yticks(range(len(part)), [row["shape"] for row in part])
        panel.set_title(f"{say_threads(threads)}, channels {layout}")
        panel.set_xlabel(f"time of the peer / time of {ours}")
        panel.grid(axis="x", which="both", alpha=0.3)
    panels[0][0].invert_yaxis()
    panels[0][-1].legend(legend.values(), legend.keys(), loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(f"{figures['cpu']}, {figures['date']}, {figures['cache']} cache")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", choices=["last", "first", "both"], default="both")
    parser.add_argument("--only", default="*", help="shapes, as 'r50*,ng*'")
    parser.add_argument(
        "--random",
        type=int,
        metavar="N",
        help="N shapes of any sizes instead of shapes.json",
    )
    parser.add_argument("--seed", type=int, default=1, help="of --random (1)")
    parser.add_argument("--out", action="store_true", help="also Pointwise into an array made once")
    add_arguments(parser)
    args = parser.parse_args(arguments)
    plt = pyplot() if args.plot else None
    ours = [n for n in BACKENDS if BACKENDS[n].is_ours and (args.out or n != "pointwise-out")]
    names = ours + choose([n for n in BACKENDS if not BACKENDS[n].is_ours], args.peers, "peer")
    layouts = ["last", "first"] if args.layout == "both" else [args.layout]
    shapes = random_shapes(args.random, args.seed) if args.random else load_shapes(args.only)
    figures = measure(
        names, shapes, layouts, args.threads, args.rounds, args.budget, args.isa, args.cache
    )
    print(report(figures))
    if plt:
        plot(figures, args.plot, plt)
    return finish(figures, args.json)


if __name__ == "__main__":
    sys.exit(main())
