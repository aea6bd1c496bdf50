"""What `python -m c1x1 bench` makes of its figures: a table, ratios, a picture."""

from __future__ import annotations

import importlib
import math
import statistics
from pathlib import Path
from typing import Any

from c1x1._bench import OURS, say_threads


def ratio(row: dict[str, Any], way: str) -> float | None:
    """How many times as long `way` takes as Pointwise: the median of the rounds."""
    seconds = row["seconds"]
    if way not in seconds or OURS[0] not in seconds:
        return None
    pairs: zip[tuple[float, float]] = zip(seconds[way], seconds[OURS[0]], strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)


def failures(figures: dict[str, Any]) -> list[str]:
    """What went wrong, a line each."""
    return [
        f"{row['shape']} {row['layout']}, {say_threads(row['threads'])}: {way} {why}"
        for row in figures["rows"]
        for way, why in row["failures"].items()
    ]


def report(figures: dict[str, Any]) -> str:
    """A table and what sums it up."""
    others = [way for way in figures["versions"] if way != OURS[0]]
    head = ["shape", "layout", "threads", f"{OURS[0]} ms", "GFLOP/s", *others, "error", "NumPy's"]
    cells = [head]
    for row in figures["rows"]:
        ratios = [ratio(row, way) for way in others]
        times = row["seconds"].get(OURS[0])
        median = statistics.median(times) if times else None
        n, h, w, c_in, c_out = row["sizes"]
        cells.append(
            [
                row["shape"],
                row["layout"],
                str(row["threads"]),
                _cell(median and median * 1e3, ".3f"),
                _cell(median and 2e-9 * n * h * w * c_in * c_out / median, ".1f"),
                *(_cell(value, ".2f") for value in ratios),
                _cell(row["errors"].get(OURS[0]), ".1f"),
                _cell(row["errors"].get("matmul"), ".1f"),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"{figures['cpu']}, {figures['isa']}; "
        f"{', '.join(dict.fromkeys(figures['versions'].values()))}; Python {figures['python']}",
        "",
    ]
    for line in cells:
        texts = [
            text.ljust(width) if i < 2 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(texts).rstrip())
    lines += ["", f"Times of the others are in units of {OURS[0]}'s: above 1, {OURS[0]} is faster."]
    lines.append("Errors are the worst of some pixels, in units of 2^-24 of sum |x||w|.")
    for way in others:
        known = [value for row in figures["rows"] if (value := ratio(row, way)) is not None]
        if known:
            mean = math.exp(statistics.fmean(map(math.log, known)))
            lines.append(
                f"{way}: geometric mean {mean:.2f} of {len(known)}, least {min(known):.2f}"
            )
    lines += [f"{way}: not timed, {why}" for way, why in figures["missing"].items()]
    return "\n".join(lines)


def _cell(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def pyplot() -> Any:
    """matplotlib without a display. ImportError where there is none."""
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def plot(figures: dict[str, Any], path: Path, plt: Any) -> None:
    """Ratios of every shape, a mark for each way."""
    rows = figures["rows"]
    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.3 * len(rows)), layout="constrained")
    for way in figures["versions"]:
        points = [(value, i) for i, row in enumerate(rows) if (value := ratio(row, way))]
        if way != OURS[0] and points:
            axes.scatter(*zip(*points, strict=True), label=way)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(
        range(len(rows)),
        [f"{r['shape']} {r['layout']}, {say_threads(r['threads'])}" for r in rows],
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"time / time of {OURS[0]}")
    axes.set_title(figures["cpu"])
    axes.legend()
    figure.savefig(path, dpi=120)
