"""`python -m c1x1 bench`: times c1x1 beside NumPy, and beside PyTorch where it is installed.

Each way to compute has a process of its own, since two thread pools in one process disturb each
other. Its results are compared with float64 before it is timed. Rounds are interleaved, so that a
busy machine slows all ways alike, and ratios are taken within a round.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ready = Callable[[], Any]

OURS = ("Pointwise", "conv")
# Units of 2^-24 of sum |x||w|: more than any order of summing loses on these data.
TOLERANCE = 64.0
_THREADS = ("C1X1", "OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB")


# ---- the ways to compute -------------------------------------------------------------------------


def _pointwise(x: Array, w: Array, layout: str, _: int) -> Ready:
    from c1x1 import Pointwise

    layer = Pointwise(w, layout=layout)
    return lambda: layer(x)


def _conv(x: Array, w: Array, layout: str, _: int) -> Ready:
    from c1x1 import conv

    return lambda: conv(x, w, layout=layout)


def _matmul(x: Array, w: Array, layout: str, _: int) -> Ready:
    if layout == "NHWC":
        rows = x.reshape(-1, x.shape[-1])
        return lambda: np.matmul(rows, w).reshape(*x.shape[:-1], -1)
    planes = x.reshape(*x.shape[:2], -1)
    return lambda: np.matmul(w, planes).reshape(len(x), -1, *x.shape[2:])


def _tensordot(x: Array, w: Array, layout: str, _: int) -> Ready:
    if layout == "NHWC":
        return lambda: np.tensordot(x, w, axes=([-1], [0]))
    # The channels come out last; putting them first is a view, as a user would leave it.
    return lambda: np.moveaxis(np.tensordot(x, w, axes=([1], [1])), -1, 1)


def _torch(x: Array, w: Array, layout: str, threads: int) -> Ready:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    is_last = layout == "NHWC"
    order = torch.channels_last if is_last else torch.contiguous_format
    image = torch.from_numpy(x.transpose(0, 3, 1, 2) if is_last else x)
    filters = torch.from_numpy(np.ascontiguousarray(w.T if is_last else w))[:, :, None, None]
    filters = filters.contiguous(memory_format=order)

    def call() -> Any:
        y = torch.nn.functional.conv2d(image, filters)
        return (y.permute(0, 2, 3, 1) if is_last else y).numpy()

    return call


WAYS: dict[str, Callable[[Array, Array, str, int], Ready]] = {
    "Pointwise": _pointwise,
    "conv": _conv,
    "matmul": _matmul,
    "tensordot": _tensordot,
    "torch": _torch,
}


def version_of(way: str) -> str:
    """Of the library behind it; ImportError where there is none."""
    if way in OURS:
        from c1x1 import __version__

        return f"c1x1 {__version__}"
    if way == "torch":
        return f"PyTorch {importlib.import_module('torch').__version__}"
    return f"NumPy {np.__version__}"


# ---- one way, in its process ---------------------------------------------------------------------


def operands(sizes: tuple[int, ...], layout: str) -> tuple[Array, Array]:
    """x and w, the same in every process."""
    n, h, width, c_in, c_out = sizes
    random = np.random.default_rng(0)
    x = random.standard_normal((n, h, width, c_in), np.float32)
    w = random.standard_normal((c_in, c_out), np.float32)
    if layout == "NCHW":
        x, w = np.ascontiguousarray(np.moveaxis(x, -1, 1)), np.ascontiguousarray(w.T)
    return x, w


def error_of(y: Array, x: Array, w: Array, layout: str) -> float:
    """The worst error of some pixels, in units of 2^-24 of sum |x||w|; infinite if y is wrong."""
    if layout == "NCHW":
        x, y, w = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1), w.T
    if y.shape != (*x.shape[:-1], w.shape[1]) or y.dtype != np.float32:
        return math.inf
    pixels = math.prod(x.shape[:-1])
    some = np.unique(np.linspace(0, pixels - 1, 500).astype(np.intp))
    at = np.unravel_index(some, x.shape[:-1])
    rows, filters = x[at].astype(np.float64), w.astype(np.float64)
    bound = 2.0**-24 * (np.abs(rows) @ np.abs(filters))
    # What is exact counts as such where nothing but zeros was added, too.
    worst = float((np.abs(y[at] - rows @ filters) / np.maximum(bound, 1e-300)).max())
    return worst if worst <= TOLERANCE else math.inf  # a NaN is not


def time_calls(call: Ready, budget: float) -> float:
    """Median seconds of the calls that fit into `budget` seconds, after one that does not count."""
    call()
    times: list[float] = []
    while not times or sum(times) < budget:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def serve(way: str, threads: int) -> None:
    """Answers lines of JSON on stdin: sizes and layout, or null to time them once more."""
    # Libraries may print what they like: answers go to a copy of stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        answer(version=version_of(way))
    except ImportError as error:
        answer(missing=str(error))
        return
    call: Ready | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "sizes" in asked:
                call = None
                x, w = operands(tuple(asked["sizes"]), asked["layout"])
                call = WAYS[way](x, w, asked["layout"], threads)
                worst = error_of(np.asarray(call()), x, w, asked["layout"])
                if math.isinf(worst):
                    raise ArithmeticError("disagrees with float64")
                answer(error=worst)
            else:
                assert call is not None
                answer(seconds=time_calls(call, asked["budget"]))
        except Exception as error:
            # Whatever a library raises is told; the other ways go on.
            call = None
            answer(failed=f"{type(error).__name__}: {error}".splitlines()[0])


# ---- all ways, from the parent -------------------------------------------------------------------


class _Process:
    """The process of one way, stopped while another is timed: idle threads may spin for long."""

    def __init__(self, way: str, threads: int) -> None:
        count = {f"{name}_NUM_THREADS": str(threads) for name in _THREADS}
        count["VECLIB_MAXIMUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "c1x1._bench", way, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | count,
        )
        self.hello = self._hear()

    def ask(self, **fields: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._signal("SIGCONT")
        with contextlib.suppress(OSError):  # it died: _hear says so
            self._process.stdin.write(json.dumps(fields) + "\n")
            self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"failed": f"ended with status {self._process.wait()}"}
        self._signal("SIGSTOP")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def close(self) -> None:
        self._signal("SIGCONT")
        with contextlib.suppress(OSError):
            self._process.communicate()


class Progress:
    """On a terminal one line that changes, elsewhere a line for each step; on stderr."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def step(self, text: str) -> None:
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        line = f"{self._done}/{self._total} {text}, {left:.0f} s left"
        if sys.stderr.isatty():
            end = "\n" if self._done == self._total else ""
            print(f"\r{line:<78}", end=end, file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def measure(
    shapes: dict[str, tuple[int, ...]],
    layouts: list[str],
    threads: list[int],
    rounds: int,
    budget: float,
) -> dict[str, Any]:
    """All figures, as they go to JSON.

    ``rows`` hold shape, sizes, layout, threads, and by way ``seconds`` (one per round), ``errors``
    and ``failures``; ``versions`` and ``missing`` say which ways there were.
    """
    from c1x1 import info

    rows: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    progress = Progress(len(shapes) * len(layouts) * len(threads))
    for count in threads:
        with contextlib.ExitStack() as stack:
            processes = {}
            for way in WAYS:
                if way in missing:
                    continue
                process = _Process(way, count)
                stack.callback(process.close)
                if "version" in process.hello:
                    processes[way], versions[way] = process, process.hello["version"]
                else:
                    missing[way] = process.hello.get("missing") or process.hello["failed"]
            for layout in layouts:
                for name, sizes in shapes.items():
                    row = {"shape": name, "sizes": list(sizes), "layout": layout, "threads": count}
                    rows.append(row | _time_row(processes, row, rounds, budget))
                    progress.step(f"{name} {layout}, {say_threads(count)}")
    machine = {key: info()[key] for key in ("version", "python", "numpy", "cpu", "isa", "platform")}
    return {**machine, "rounds": rounds, "versions": versions, "missing": missing, "rows": rows}


def _time_row(
    processes: dict[str, _Process], row: dict[str, Any], rounds: int, budget: float
) -> dict[str, Any]:
    errors: dict[str, float] = {}
    failures: dict[str, str] = {}
    seconds: dict[str, list[float]] = {}
    for way, process in processes.items():
        answer = process.ask(sizes=row["sizes"], layout=row["layout"])
        if "failed" in answer:
            failures[way] = answer["failed"]
        else:
            errors[way], seconds[way] = answer["error"], []
    for _ in range(rounds):
        for way in list(seconds):
            answer = processes[way].ask(budget=budget)
            if "failed" in answer:
                failures[way] = answer["failed"]
                del seconds[way], errors[way]
            else:
                seconds[way].append(answer["seconds"])
    return {"seconds": seconds, "errors": errors, "failures": failures}


def say_threads(count: int) -> str:
    """In words."""
    return f"{count} thread{'' if count == 1 else 's'}"


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
