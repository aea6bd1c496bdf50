"""Draws docs/_static/speed.svg, the README's plot, from the README's own table.

    python tools/draw_speed.py

So plot and table cannot tell different things; a test draws it again and compares.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SVG = ROOT / "docs/_static/speed.svg"
WIDTH, ROW, TOP = 860, 24, 62
FAST, SLOW, PEER, GREY = "#2f6fb0", "#d1495b", "#999999", "#666666"
# Of each half: where its axis begins and ends, and the ticks.
SPEED = (215, 525, (0.5, 1, 2, 4))
ERROR = (580, 840, (0, 10, 20))


def read_rows(text: str) -> list[tuple[str, list[float]]]:
    """Shape and figures of each row of the first table that has all of them."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.match(r"\| \d", line) and all(cells):
            found.append((cells[0], [float(cell) for cell in cells[1:]]))
    return found


def at_speed(ratio: float) -> float:
    """Places are logarithmic, so that twice and half are as far from 1."""
    low, high, ticks = SPEED
    share = math.log(ratio / ticks[0]) / math.log(5 / ticks[0])
    return round(low + share * (high - low), 1)


def at_error(error: float) -> float:
    low, high, _ = ERROR
    return round(low + error / 26 * (high - low), 1)


def text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{words}</text>'


def dot(x: float, y: float, color: str, *, is_full: bool) -> str:
    fill = color if is_full else "#ffffff"
    return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{fill}" stroke="{color}" stroke-width="2"/>'


def axis(places: list[tuple[float, str]], bottom: int, main: str) -> list[str]:
    lines = []
    for x, words in places:
        color = GREY if words == main else "#dddddd"
        lines.append(f'<path d="M{x} {TOP - 8}V{bottom}" stroke="{color}"/>')
        lines.append(text(x, bottom + 16, words, "middle"))
    return lines


def draw(rows: list[tuple[str, list[float]]]) -> str:
    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 50}" '
        f'width="{WIDTH}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        text(SPEED[0], 20, "times faster than np.matmul", more=' font-weight="bold"'),
        text(ERROR[0], 20, "worst error", more=' font-weight="bold"'),
        *axis([(at_speed(t), f"{t:g}") for t in SPEED[2]], bottom, "1"),
        *axis([(at_error(t), f"{t:g}") for t in ERROR[2]], bottom, "0"),
    ]
    for x, words, is_full in (
        (SPEED[0] + 5, "1 thread", True),
        (SPEED[0] + 85, "2 threads", False),
    ):
        parts += [dot(x, 37, FAST, is_full=is_full), text(x + 10, 41, words)]
    parts.append(text(SPEED[0] + 178, 41, "red: slower", more=f' fill="{SLOW}"'))
    for x, words, color in ((ERROR[0] + 5, "c1x1", FAST), (ERROR[0] + 65, "NumPy", PEER)):
        parts += [dot(x, 37, color, is_full=color == FAST), text(x + 10, 41, words)]
    for index, (shape, figures) in enumerate(rows):
        y = TOP + ROW * index + ROW // 2
        parts.append(text(SPEED[0] - 20, y + 4, shape, "end"))
        for ratio, is_full in ((figures[1], False), (figures[0], True)):
            color = FAST if ratio >= 1 else SLOW
            parts.append(dot(at_speed(ratio), y, color, is_full=is_full))
        ours, theirs = figures[-2:]
        parts.append(
            f'<path d="M{at_error(ours)} {y}H{at_error(theirs)}" stroke="{PEER}" stroke-width="2"/>'
        )
        parts += [
            dot(at_error(theirs), y, PEER, is_full=False),
            dot(at_error(ours), y, FAST, is_full=True),
        ]
    parts.append(text(SPEED[0], bottom + 40, "channels last, float32; further right is faster"))
    parts.append(text(ERROR[0], bottom + 40, "units of 2^-24 of Σ|x||w|; less is better"))
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    SVG.write_text(draw(read_rows((ROOT / "README.md").read_text("utf-8"))), encoding="utf-8")
