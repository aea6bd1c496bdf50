"""How `explain` writes numbers, shapes and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def say_number(value: Any) -> str:
    if isinstance(value, (np.integer, np.bool_, int)):
        return str(int(value))
    if isinstance(value, (complex, np.complexfloating)):
        return f"({value.real:.6g}{value.imag:+.6g}j)"
    return f"{value:.6g}"


def say_factor(value: Any) -> str:
    text = say_number(value)
    return f"({text})" if text.startswith("-") else text


def say_shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"


def say_count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def say_list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def say_bytes(count: float) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def say_seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"
