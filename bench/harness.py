"""What the benchmark scripts share: shapes, peers in processes of their own, timing, tables.

Every peer lives in a process of its own, since two thread pools in one process fight; the others
are stopped (SIGSTOP) while one is timed, since an idle pool's threads spin for a while. Results are
compared with float64 before anything is timed. Rounds are interleaved, so that a busy neighbour
slows all alike. Hence POSIX only.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fnmatch
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from backends import BACKENDS, GRADIENTS, make_gradient

SHAPES = Path(__file__).with_name("shapes.json")
#: Units of 2^-24 of sum |x||w|: above what any order of summing the shapes here was seen to lose.
TOLERANCE = 16
KNOWN = BACKENDS | GRADIENTS
#: A cache level this large or larger is unknown to us: then this is walked.
UNKNOWN_CACHE = 64 << 20


# ---- shapes and choices --------------------------------------------------------------------------


def matches(name, patterns):
    """Whether a name matches one of the patterns, given as "a*,b" (shell patterns)."""
    return any(fnmatch.fnmatchcase(name, p.strip()) for p in patterns.split(","))


def choose(names, patterns, what):
    """Those of `names` that match; a pattern that matches nothing is an error, not silence."""
    for pattern in patterns.split(","):
        if not any(matches(name, pattern) for name in names):
            raise SystemExit(f"no {what} matches {pattern.strip()!r}: {', '.join(names)}")
    return [name for name in names if matches(name, patterns)]


def load_shapes(only="*"):
    """{name: [N, H, W, C_in, C_out]} of shapes.json."""
    shapes = {k: v for k, v in json.loads(SHAPES.read_text()).items() if k != "_"}
    return {name: shapes[name] for name in choose(list(shapes), only, "shape")}


def random_shapes(count, seed):
    """So many, which nobody tunes for: each doubling of a size is as likely as the next; at least
    20 thousand and at most 300 million multiply-adds, at most 100 MB of float32."""
    draw = random.Random(seed)
    shapes = {}
    while len(shapes) < count:
        pixels, c_in, c_out = (int(2 ** draw.uniform(0, most)) for most in (18, 11, 11))
        work = pixels * c_in * c_out
        if 2e4 <= work <= 3e8 and max(pixels * (c_in + c_out), c_in * c_out) <= 2.5e7:
            shapes[f"{pixels}-{c_in}-{c_out}"] = [1, 1, pixels, c_in, c_out]
    return shapes


def cpus():
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_arguments(parser, peers="*", rounds=7):
    """The options that all scripts have."""
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cpus()}))
    parser.add_argument("--peers", default=peers, help="whom to time, as 'numpy,torch*'")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--budget", type=float, default=0.03, help="seconds per peer and round")
    parser.add_argument(
        "--cache",
        choices=["warm", "cold"],
        default="warm",
        help="cold: operands are evicted from all caches before each timed call",
    )
    parser.add_argument("--isa", help="cap for c1x1, as C1X1_ISA")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them there")


def pyplot():
    """matplotlib without a display; asked for before measuring, lest the figures be lost."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemExit('--plot needs matplotlib: pip install ".[bench]"') from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


# ---- one problem ---------------------------------------------------------------------------------


def make_case(shape, layout):
    """x and w of one shape; the same in every process."""
    n, h, w, c_in, c_out = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, h, w, c_in), np.float32)
    weights = rng.standard_normal((c_in, c_out), np.float32)
    if layout == "first":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        weights = np.ascontiguousarray(weights.T)
    return x, weights


def is_right(result, x, w, layout):
    """Whether a result agrees with float64, at the first, middle and last pixels of the batch."""
    c_in, c_out = w.shape if layout == "last" else w.shape[::-1]
    matrix = (w if layout == "last" else w.T).astype(np.float64)
    if result.size * c_in != x.size * c_out or result.dtype != np.float32:
        return False
    if layout == "last":
        pixels, got = x.reshape(-1, c_in), result.reshape(-1, c_out)
    else:
        # One image at a time, so that no copy of the whole batch is made.
        pixels = np.moveaxis(x.reshape(x.shape[0], c_in, -1), 1, -1)
        got = np.moveaxis(result.reshape(x.shape[0], c_out, -1), 1, -1)
        if x.shape[0] > 1:
            ends = [0, x.shape[0] - 1]
            pixels, got = pixels[ends].reshape(-1, c_in), got[ends].reshape(-1, c_out)
        else:
            pixels, got = pixels[0], got[0]
    count = len(pixels)
    for start in sorted({0, max(0, count // 2 - 128), max(0, count - 256)}):
        rows = pixels[start : start + 256].astype(np.float64)
        bound = TOLERANCE * 2.0**-24 * (np.abs(rows) @ np.abs(matrix)) + 1e-30
        # Written so that NaN fails.
        if not (np.abs(got[start : start + 256] - rows @ matrix) <= bound).all():
            return False
    return True


def gradients_are_right(results, x, w, layout):
    """The same for (grad_x, grad_w, grad_bias); of grad_w the first and last channels."""
    grad_y = make_gradient(x, w, layout)
    grad_x, grad_w, grad_bias = results
    if any(a.dtype != np.float32 for a in results) or grad_w.shape != w.shape:
        return False
    if not is_right(grad_x, grad_y, w.T, layout):
        return False
    if layout == "first":
        x, grad_y, grad_w = np.moveaxis(x, 1, -1), np.moveaxis(grad_y, 1, -1), grad_w.T
    few = [0, 1, -2, -1]
    some_x = x[..., [i % x.shape[-1] for i in few]].reshape(-1, 4).astype(np.float64)
    some_y = grad_y[..., [i % grad_y.shape[-1] for i in few]].reshape(-1, 4).astype(np.float64)
    got = grad_w[np.ix_(*([i % size for i in few] for size in grad_w.shape))]
    bias = grad_bias[[i % len(grad_bias) for i in few]]
    # A sum over all pixels is long: peers that add it up in one go lose more than a convolution.
    bound = 4 * TOLERANCE * 2.0**-24
    # Written so that NaN fails.
    return bool(
        (np.abs(got - some_x.T @ some_y) <= bound * (np.abs(some_x).T @ np.abs(some_y))).all()
        and (np.abs(bias - some_y.sum(axis=0)) <= bound * np.abs(some_y).sum(axis=0)).all()
    )


# ---- timing --------------------------------------------------------------------------------------


def last_level_cache():
    """Bytes of the largest cache that the system admits to, or a guess."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        with contextlib.suppress(ValueError):
            sizes.append(int(text.rstrip("KM")) * unit)
    return max(sizes, default=UNKNOWN_CACHE)


class Evictor:
    """Walks twice the last-level cache on every CPU at once.

    Every CPU, since an L2 that is no part of the last level keeps its lines whoever walks
    elsewhere. Read only: written lines would still be on their way to memory in the timed call.
    In threads of its own, so that the thread that is timed is never pinned.
    """

    def __init__(self):
        self.buffer = np.ones(2 * last_level_cache() // 8, np.int64)

    def walk(self, cpu):
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        self.buffer.max()

    def __call__(self):
        can_pin = hasattr(os, "sched_setaffinity")
        everywhere = sorted(os.sched_getaffinity(0)) if can_pin else [None]
        walkers = [threading.Thread(target=self.walk, args=(cpu,)) for cpu in everywhere]
        for walker in walkers:
            walker.start()
        for walker in walkers:
            walker.join()


def time_calls(call, budget, evict=None):
    """Median seconds of a call, over `budget` seconds of calls; at least three where cold.

    Warm: after one call that does not count, since a process that was stopped wakes slowly.
    """
    times = []
    if evict is None and budget:
        call()
    least = 1 if evict is None else 3
    while len(times) < least or sum(times) < budget:
        if evict:
            evict()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        # Eviction takes far longer than small calls: they would fill the budget for minutes.
        if evict and len(times) >= 7:
            break
    return statistics.median(times)


# ---- peers in processes --------------------------------------------------------------------------


def serve(name, threads, cache):
    """A peer's process. Says its version, then answers [shape, layout, seconds] line by line."""
    # Libraries print to stdout what they like; answers go to a copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    backend = KNOWN[name]()
    try:
        answer(version=backend.start(threads))
    except ImportError as error:
        answer(missing=f"{type(error).__name__}: {error}")
        return
    evict = Evictor() if cache == "cold" else None
    case = call = None
    for line in sys.stdin:
        shape, layout, budget = json.loads(line)
        try:
            if case != (shape, layout):
                case = call = None
                x, w = make_case(shape, layout)
                call = backend.prepare(x, w, layout)
                check = gradients_are_right if name in GRADIENTS else is_right
                if not check(backend.array(call()), x, w, layout):
                    answer(error="wrong: disagrees with float64")
                    continue
                case = (shape, layout)
            answer(seconds=time_calls(call, budget, evict))
        except Exception as error:
            case = call = None
            answer(error=f"{type(error).__name__}: {error}".splitlines()[0][:200])


class Peer:
    """A peer's process, seen from the parent. `missing` says why there is none."""

    def __init__(self, name, threads, isa=None, cache="warm"):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.arguments = [name, str(threads), cache]
        self.env = os.environ | {
            variable: str(threads)
            for variable in (
                "OMP_NUM_THREADS",
                "OPENBLAS_NUM_THREADS",
                "MKL_NUM_THREADS",
                "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS",
                "C1X1_NUM_THREADS",
            )
        }
        if isa and KNOWN[name].is_ours:
            self.env["C1X1_ISA"] = isa
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=self.env,
        )
        hello = self.hear()
        self.version = hello.get("version")
        self.missing = hello.get("missing") or hello.get("error")
        if not self.missing:
            self.process.send_signal(signal.SIGSTOP)

    def hear(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.log.seek(0)
        last = self.log.read().strip().splitlines()[-1:]
        return {"error": " ".join([f"died with status {status}", *last])[:200]}

    def time(self, shape, layout, budget):
        """Asks for one measurement: {"seconds": ...} or {"error": ...}."""
        if self.process.poll() is not None:
            # It died of another shape; this one may suit it.
            self.close_pipes()
            self.start()
        if self.missing:
            return {"error": self.missing}
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps([shape, layout, budget]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.hear()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.close_pipes()
        self.process.wait()
        self.log.close()

    def close_pipes(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Progress:
    """One line on stderr: rewritten on a terminal, else a line per step."""

    def __init__(self, total):
        self.total, self.done, self.start = total, 0, time.monotonic()

    def step(self, text):
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
        line = f"{self.done}/{self.total} {text}, {left:.0f} s left"
        if sys.stderr.isatty():
            end = "\n" if self.done == self.total else ""
            print(f"\r{line:<70}", end=end, file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def measure(names, shapes, layouts, threads, rounds, budget, isa=None, cache="warm"):
    """What was measured, as a dict that goes to JSON as it is.

    rows: {shape, sizes, layout, threads, seconds: {peer: [per round]}, skipped: {peer: why}};
    peers: {peer: version}; missing: {peer: why}.
    """
    rows, versions, missing = [], {}, {}
    progress = Progress(len(shapes) * len(layouts) * len(threads))
    for count in threads:
        with contextlib.ExitStack() as stack:
            peers = {}
            for name in names:
                if name in missing:
                    continue
                peer = Peer(name, count, isa, cache)
                stack.callback(peer.close)
                if peer.missing:
                    missing[name] = peer.missing
                    print(f"skipped {name}: {peer.missing}", file=sys.stderr)
                else:
                    peers[name], versions[name] = peer, peer.version
            for layout in layouts:
                for label, shape in shapes.items():
                    seconds, skipped = time_shape(peers, shape, layout, rounds, budget)
                    row = {"shape": label, "sizes": shape, "layout": layout, "threads": count}
                    rows.append(row | {"seconds": seconds, "skipped": skipped})
                    progress.step(f"{label}, channels {layout}, {say_threads(count)}")
    return {
        **facts(),
        "cache": cache,
        "rounds": rounds,
        "budget": budget,
        "peers": versions,
        "missing": missing,
        "rows": rows,
    }


def time_shape(peers, shape, layout, rounds, budget):
    """({peer: [seconds per round]}, {peer: why not}) of one shape, rounds interleaved."""
    seconds, skipped = {}, {}
    for name, peer in peers.items():
        why = KNOWN[name]().refuses(shape, layout)
        # The first answer builds the case and checks it; its time does not count.
        why = why or peer.time(shape, layout, 0).get("error")
        if why:
            skipped[name] = why
        else:
            seconds[name] = []
    for _ in range(rounds):
        for name in list(seconds):
            answer = peers[name].time(shape, layout, budget)
            if "error" in answer:
                del seconds[name]
                skipped[name] = answer["error"]
            else:
                seconds[name].append(answer["seconds"])
    return seconds, skipped


def facts():
    """Where and when: what a table needs beside its figures."""
    import c1x1

    info = c1x1.info()
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "cpu": info["cpu"],
        "cpus": cpus(),
        "last_level_cache_bytes": last_level_cache(),
        "python": platform.python_version(),
        "c1x1": info["version"],
    }


def heading(figures):
    """The lines above every table."""
    lines = [
        f"{figures['date']}, {figures['cpu']}, {figures['cpus']} CPUs, Python {figures['python']}, "
        f"float32, {figures['cache']} cache, medians of {figures['rounds']} rounds",
        ", ".join(f"{name} {version}" for name, version in figures["peers"].items()),
    ]
    lines += [f"skipped {name}: {why}" for name, why in figures["missing"].items()]
    return "\n".join(lines)


def failures(rows):
    """Lines for peers that were wrong, raised or died: what must not pass unseen."""
    expected = {"no channels first", "no channels last", "one image at a time for channels first"}
    return [
        f"{row['shape']}, channels {row['layout']}, {say_threads(row['threads'])}: {peer} {why}"
        for row in rows
        for peer, why in row["skipped"].items()
        if why not in expected
    ]


# ---- statistics and tables -----------------------------------------------------------------------


def ratio(seconds, ours, peer):
    """How many times faster ours is: the median of the ratios within each round."""
    return statistics.median(p / o for p, o in zip(seconds[peer], seconds[ours], strict=True))


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def flops(sizes):
    return 2 * math.prod(sizes)


def moved_bytes(sizes):
    """What must be moved at least once: x, w and the result."""
    n, h, w, c_in, c_out = sizes
    return 4 * (n * h * w * (c_in + c_out) + c_in * c_out)


def table(header, rows):
    """Lines of a Markdown table, aligned for a terminal; cells are strings."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells):
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *map(line, rows)])


def groups(rows):
    """((threads, layout), rows) in the order of measuring."""
    keys = dict.fromkeys((row["threads"], row["layout"]) for row in rows)
    return [(key, [r for r in rows if (r["threads"], r["layout"]) == key]) for key in keys]


def say_threads(count):
    return f"{count} thread" + "s" * (count > 1)


def finish(figures, path):
    """Writes JSON if asked; then the exit status, 1 where a peer failed."""
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    lines = failures(figures["rows"])
    for line in lines:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
