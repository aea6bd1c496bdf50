"""Times c1x1.conv_vjp beside NumPy and PyTorch's backward, for ResNet-50's pointwise layers.

    python bench/gradients.py [--batch 8] [--layout last|first|both] [--threads 1 2]
                              [--only 'r50-56*'] [--peers 'numpy*'] [--json FILE]

All three gradients, each library in a process of its own, compared with float64 before it is timed.
Ratios above 1 mean that c1x1 is faster. How they are made: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from backends import GRADIENTS
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
    ratio,
    say_threads,
    table,
)

OURS = "conv-vjp"


def report(figures):
    text = [heading(figures)]
    peers = [name for name in figures["peers"] if name != OURS]
    for (threads, layout), part in groups(figures["rows"]):
        text += ["", f"batch {part[0]['sizes'][0]}, {say_threads(threads)}, channels {layout}", ""]
        lines, ratios = [], {peer: [] for peer in peers}
        for row in part:
            seconds = row["seconds"]
            if OURS not in seconds:
                lines.append([row["shape"], *["-"] * (2 + len(peers))])
                continue
            median = statistics.median(seconds[OURS])
            line = [row["shape"], f"{median * 1e3:.2f}"]
            # Two products of as many multiply-adds as the convolution has.
            line.append(f"{2 * flops(row['sizes']) / median * 1e-9:.1f}")
            for peer in peers:
                line.append(f"{ratio(seconds, OURS, peer):.2f}" if peer in seconds else "-")
                if peer in seconds:
                    ratios[peer].append(ratio(seconds, OURS, peer))
            lines.append(line)
        text += [table(["shape", f"{OURS} ms", "GFLOP/s", *peers], lines), ""]
        text += [
            f"against {peer}: geometric mean {geometric_mean(r):.2f} of {len(r)}, "
            f"worst {min(r):.2f}"
            for peer, r in ratios.items()
            if r
        ]
    return "\n".join(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layout", choices=["last", "first", "both"], default="both")
    parser.add_argument("--only", default="r50*", help="shapes, as 'r50-56*,mbv2*'")
    add_arguments(parser, rounds=5)
    args = parser.parse_args(arguments)
    if args.plot:
        parser.error("there is no plot of gradients: pass --json and draw that")
    names = [OURS, *choose([name for name in GRADIENTS if name != OURS], args.peers, "peer")]
    layouts = ["last", "first"] if args.layout == "both" else [args.layout]
    shapes = {name: [args.batch, *sizes[1:]] for name, sizes in load_shapes(args.only).items()}
    figures = measure(
        names, shapes, layouts, args.threads, args.rounds, args.budget, args.isa, args.cache
    )
    print(report(figures))
    return finish(figures, args.json)


if __name__ == "__main__":
    sys.exit(main())
