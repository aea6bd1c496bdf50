"""Checks the numbers of this wheel on this CPU: every ISA that runs here against NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c1x1 import _core
from c1x1._api import conv
from c1x1._info import isa_rows, lacks

# Around every register tile's edges: 1, a little less and more than 4, 8, 16, 32; and long sums.
_CHANNELS = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 100, 192, 257)
_FILTERS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 49)
_PIXELS = ((1, 1), (1, 5), (2, 3), (1, 7), (3, 4), (5, 5), (4, 8), (7, 9), (13, 17))
_REAL = ("float32", "float64")
_PAIRS = (
    ("float32", "float32"),
    ("float64", "float64"),
    ("int64", "int64"),
    ("int32", "int32"),
    ("int16", "int16"),
    ("uint8", "int8"),
    ("int8", "int8"),
    ("uint8", "float32"),
    ("uint16", "float32"),
    ("float16", "float32"),
    ("float32", "float64"),
    ("int32", "float64"),
    ("float64", "int16"),
    ("bool", "int64"),
)


@dataclass
class _Case:
    """One call to `conv`, what it must give, and how far from it a result may be."""

    name: str
    x: NDArray[Any]
    w: NDArray[Any]
    expected: NDArray[Any]
    bound: NDArray[Any] | float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    out: NDArray[Any] | None = None

    def problem(self) -> str | None:
        """Runs it; None where the result is right."""
        try:
            if self.out is not None:
                # Wiped, or what the ISA before left there would pass.
                self.out[...] = 77
            result = conv(self.x, self.w, out=self.out, **self.options)
        except Exception as error:
            # A self-check reports whatever happens and goes on to the next case.
            return f"{self.name}: {type(error).__name__}: {error}"
        if result.shape != self.expected.shape:
            return f"{self.name}: shape {result.shape}, expected {self.expected.shape}"
        wide = np.int64 if result.dtype.kind in "iu" else np.float64
        distance = np.abs(result.astype(wide) - self.expected.astype(wide))
        # Negated, so that a NaN counts as wrong.
        wrong = np.logical_not(distance <= self.bound)
        if wrong.any():
            return f"{self.name}: {wrong.sum()} of {wrong.size} wrong, by up to {distance.max()}"
        return None


def _reference(x: NDArray[Any], w: NDArray[Any], groups: int = 1) -> NDArray[Any]:
    """Channels last, (C_in / groups, C_out), in the operands' own wide dtype."""
    pairs = zip(np.split(x, groups, axis=-1), np.split(w, groups, axis=-1), strict=True)
    return np.concatenate([np.tensordot(a, b, axes=([-1], [0])) for a, b in pairs], axis=-1)


def _integers(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Whole numbers so small that no sum of them rounds in float32."""
    low, high = (0, 2) if dtype == "bool" else (0 if dtype.startswith("u") else -9, 10)
    return random.integers(low, high, shape).astype(dtype)


def _tails(random: np.random.Generator) -> Iterator[_Case]:
    """Every tail of channels, filters and pixels, in both layouts, of integer-valued data."""
    pixels = itertools.cycle(_PIXELS)
    pairs = itertools.cycle(_PAIRS)
    for channels, filters in itertools.product(_CHANNELS, _FILTERS):
        height, width = next(pixels)
        for a, b in dict.fromkeys([_PAIRS[0], next(pairs)]):
            x = _integers(random, (height, width, channels), a)
            w = _integers(random, (channels, filters), b)
            expected = _reference(x.astype(np.int64), w.astype(np.int64))
            name = f"{height}x{width}x{channels} {a} with {filters} filters {b}"
            yield _Case(name, x, w, expected)
            yield _Case(
                f"{name}, channels first",
                np.ascontiguousarray(np.moveaxis(x, -1, 0)),
                np.ascontiguousarray(w.T),
                np.moveaxis(expected, -1, 0),
                options={"layout": "CHW"},
            )


def _features(random: np.random.Generator) -> Iterator[_Case]:
    """Stride, groups, bias, out=, batches and odd memory, of integer-valued data."""
    shapes = ((3, 8, 6), (16, 4, 1), (48, 33, 3), (192, 24, 12))
    for (a, b), (channels, filters, groups) in itertools.product(_PAIRS[:9], shapes):
        x = _integers(random, (2, 9, 11, channels), a)
        w = _integers(random, (channels, filters), b)
        bias = random.integers(-9, 10, filters)
        wide_x, wide_w = x.astype(np.int64), w.astype(np.int64)
        plain = _reference(wide_x, wide_w)
        name = f"2x9x11x{channels} {a} with {filters} filters {b}"
        first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        yield _Case(f"{name}, stride", x, w, plain[:, ::2, ::3], options={"stride": (2, 3)})
        yield _Case(
            f"{name}, stride, channels first",
            first,
            np.ascontiguousarray(w.T),
            np.moveaxis(plain[:, ::2, ::2], -1, 1),
            options={"stride": 2, "layout": "NCHW"},
        )
        yield _Case(f"{name}, bias", x, w, plain + bias, options={"bias": bias})
        yield _Case(
            f"{name}, bias, channels first",
            first,
            np.ascontiguousarray(w.T),
            np.moveaxis(plain + bias, -1, 1),
            options={"bias": bias, "layout": "NCHW"},
        )
        yield _Case(f"{name}, sliced and reversed", x[:, ::-1, 1::2], w, plain[:, ::-1, 1::2])
        yield _Case(f"{name}, one filter without its axis", x, w[:, 0], plain[..., 0])
        out = np.zeros((2, 9, 11, 2 * filters), np.result_type(np.int64, x, w))
        yield _Case(f"{name}, out=", x, w, plain, out=out[..., ::2])
        if filters % groups == 0 and channels % groups == 0:
            part = w[: channels // groups]
            grouped = _reference(wide_x, part.astype(np.int64), groups)
            yield _Case(f"{name}, groups", x, part, grouped, options={"groups": groups})
            yield _Case(
                f"{name}, groups, channels first",
                first,
                np.ascontiguousarray(part.T),
                np.moveaxis(grouped, -1, 1),
                options={"groups": groups, "layout": "NCHW"},
            )


def _reals(random: np.random.Generator) -> Iterator[_Case]:
    """Real numbers: within 16 eps sum|x||w| of the exact sum, as float64 gives it."""
    shapes = ((3, 3), (3, 1), (16, 4), (100, 32), (192, 1), (257, 17), (700, 48))
    for dtype, (channels, filters) in itertools.product(_REAL, shapes):
        x = random.standard_normal((6, 35, channels)).astype(dtype)
        w = random.standard_normal((channels, filters)).astype(dtype)
        wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
        expected = _reference(wide_x, wide_w)
        bound = 16 * float(np.finfo(dtype).eps) * _reference(abs(wide_x), abs(wide_w))
        name = f"6x35x{channels} real {dtype} with {filters} filters"
        yield _Case(name, x, w, expected, bound)
        yield _Case(
            f"{name}, channels first",
            np.ascontiguousarray(np.moveaxis(x, -1, 0)),
            np.ascontiguousarray(w.T),
            np.moveaxis(expected, -1, 0),
            np.moveaxis(bound, -1, 0),
            {"layout": "CHW"},
        )


def _cases() -> list[_Case]:
    random = np.random.default_rng(20)
    return [*_tails(random), *_features(random), *_reals(random)]


def selftest() -> tuple[list[str], int]:
    """Check `conv` on every ISA that this CPU runs.

    Integer-valued data must come out to the last bit; real data within ``16 eps sum|x||w|`` of
    float64. The ISA in use before is in use again afterwards.

    Returns
    -------
    lines : list of str
        The report: one line per ISA, and one for each of its first failures.
    failures : int
        How many cases failed.
    """
    cases = _cases()
    lines: list[str] = []
    failures = 0
    original = _core.machine()["isa"]
    try:
        for name, _, missing in isa_rows():
            if missing:
                lines.append(f"{name}: not run, {lacks(missing)}")
                continue
            _core.select_isa(name)
            problems = [text for case in cases if (text := case.problem()) is not None]
            failures += len(problems)
            lines.append(f"{name}: {len(cases)} cases, {len(problems)} failures")
            lines += [f"  {text}" for text in problems[:10]]
    finally:
        _core.select_isa(original)
    return lines, failures
