"""Times c1x1 beside its peers, shape by shape.

    python bench/peers.py [--layout last|first|both] [--threads 1 2] [--only PATTERN] [--json FILE]

Every peer lives in a process of its own, since two thread pools in one process fight; the others
are stopped while one is timed, since an idle pool's threads spin for a while. Results are compared
with float64 before anything is timed. Rounds are interleaved, so that a busy neighbour slows all
alike, and the table holds medians of ratios taken within one round.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = Path(__file__).with_name("shapes.json")


def make_case(shape, layout):
    """x, w and the layout's name for one row of shapes.json; the same in every process."""
    import numpy as np

    n, h, w, c_in, c_out = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, h, w, c_in), np.float32)
    weights = rng.standard_normal((c_in, c_out), np.float32)
    if layout == "first":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        weights = np.ascontiguousarray(weights.T)
    return x, weights


# ---- peers: a function of (x, w, layout) that returns a call without arguments -----------------


def peer_numpy(x, w, layout):
    """np.matmul on the flattened image, the fastest way NumPy has."""
    import numpy as np

    if layout == "first":
        flat = x.reshape(x.shape[0], x.shape[1], -1)
        return lambda: np.matmul(w, flat)
    flat = x.reshape(-1, x.shape[-1])
    return lambda: np.matmul(flat, w)


def peer_c1x1_conv(x, w, layout):
    """c1x1.conv, plain weights."""
    import c1x1

    letters = "NCHW" if layout == "first" else "NHWC"
    return lambda: c1x1.conv(x, w, layout=letters)


def peer_c1x1_pointwise(x, w, layout):
    """c1x1.Pointwise, weights packed beforehand."""
    import c1x1

    layer = c1x1.Pointwise(w, layout="NCHW" if layout == "first" else "NHWC")
    return lambda: layer(x)


PEERS = {"numpy": peer_numpy, "conv": peer_c1x1_conv, "pointwise": peer_c1x1_pointwise}


def serve(name):
    """A peer's process: reads [shape, layout, seconds] lines, answers with seconds a call."""
    import numpy as np

    cases = {}
    for line in sys.stdin:
        shape, layout, budget = json.loads(line)
        key = (tuple(shape), layout)
        if key not in cases:
            cases.clear()
            x, w = make_case(shape, layout)
            call = PEERS[name](x, w, layout)
            channels_last = x if layout == "last" else np.moveaxis(x, 1, -1)
            matrix = w if layout == "last" else w.T
            got = np.asarray(call())
            rows = channels_last.reshape(-1, shape[3])[:512].astype(np.float64)
            want = rows @ matrix.astype(np.float64)
            if layout == "first":
                got = np.moveaxis(got.reshape(shape[0], shape[4], -1), 1, -1)
            got = got.reshape(-1, shape[4])[:512]
            bound = 16 * 2.0**-24 * (np.abs(rows) @ np.abs(matrix).astype(np.float64)) + 1e-30
            if not (np.abs(got - want) <= bound).all():
                print(json.dumps({"error": f"{name} is wrong on {shape}"}), flush=True)
                continue
            cases[key] = call
        call = cases[key]
        times = []
        end = time.perf_counter() + budget
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        print(json.dumps({"seconds": statistics.median(times)}), flush=True)


class Peer:
    """A peer's process, seen from the parent."""

    def __init__(self, name, threads, isa):
        count = str(threads)
        env = os.environ | {
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
        }
        if isa and name != "numpy":
            env["C1X1_ISA"] = isa
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def time(self, shape, layout, budget):
        """Asks for one measurement; the process sleeps before and after.

        An idle pool's threads spin for a while, on a CPU that the next peer needs.
        """
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps([shape, layout, budget]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.process.send_signal(signal.SIGSTOP)
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer["seconds"]

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def measure(names, shapes, layouts, threads, rounds, budget, isa):
    """Rows of {shape, layout, threads, seconds: {peer: [per round]}}."""
    rows = []
    total = len(shapes) * len(layouts) * len(threads)
    for count in threads:
        peers = {name: Peer(name, count, isa) for name in names}
        for layout in layouts:
            for label, shape in shapes.items():
                seconds = {name: [] for name in names}
                for name in names:
                    peers[name].time(shape, layout, 0)
                for _ in range(rounds):
                    for name in names:
                        seconds[name].append(peers[name].time(shape, layout, budget))
                rows.append(
                    {
                        "shape": label,
                        "sizes": shape,
                        "layout": layout,
                        "threads": count,
                        "seconds": seconds,
                    }
                )
                if sys.stderr.isatty():
                    print(f"\r{len(rows)}/{total} {label:<28}", end="", file=sys.stderr, flush=True)
        for peer in peers.values():
            peer.close()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return rows


def ratio(row, ours, peer):
    """How many times faster ours is: the median over rounds."""
    return statistics.median(
        p / o for p, o in zip(row["seconds"][peer], row["seconds"][ours], strict=True)
    )


def report(rows, ours, peers):
    for threads, layout in sorted({(r["threads"], r["layout"]) for r in rows}):
        part = [r for r in rows if (r["threads"], r["layout"]) == (threads, layout)]
        print(f"\n{threads} thread{'s' * (threads > 1)}, channels {layout}")
        print(
            f"{'shape':<24}{'ms':>9}{'GFLOP/s':>9}"
            + "".join(f"{f'{o}/{p}':>18}" for o in ours for p in peers)
        )
        for row in part:
            n, h, w, c_in, c_out = row["sizes"]
            best = statistics.median(row["seconds"][ours[-1]])
            print(
                f"{row['shape']:<24}{best * 1e3:9.3f}{2e-9 * n * h * w * c_in * c_out / best:9.1f}"
                + "".join(f"{ratio(row, o, p):18.2f}" for o in ours for p in peers)
            )
        for o in ours:
            for p in peers:
                ratios = [ratio(r, o, p) for r in part]
                mean = math.exp(statistics.fmean(map(math.log, ratios)))
                print(f"{o} against {p}: geometric mean {mean:.2f}, worst {min(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", choices=["last", "first", "both"], default="both")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--only", default="*", help="shapes whose name matches")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--budget", type=float, default=0.03, help="seconds per peer and round")
    parser.add_argument("--isa", help="cap for c1x1, as C1X1_ISA")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    shapes = {
        k: v
        for k, v in json.loads(SHAPES.read_text()).items()
        if k != "_" and fnmatch.fnmatch(k, args.only)
    }
    layouts = ["last", "first"] if args.layout == "both" else [args.layout]
    rows = measure(list(PEERS), shapes, layouts, args.threads, args.rounds, args.budget, args.isa)
    import numpy as np

    import c1x1

    print(f"c1x1 {c1x1.__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    report(rows, ["conv", "pointwise"], ["numpy"])
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
