"""Complex images and weights, as the real convolutions they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Real = Callable[..., NDArray[Any]]
"""conv(x, w, out=, residual=, scale=, bias=) of real operands, all else given."""


def part(a: Any, which: str) -> Any:
    """The real or imaginary part as a view; None for the imaginary part of what is real."""
    if a is None:
        return None
    a = np.asarray(a)
    if a.dtype.kind == "c":
        return a.real if which == "real" else a.imag
    return a if which == "real" else None


def result_dtype(x: Any, w: Any, dtype: DTypeLike | None) -> np.dtype[Any]:
    """complex64 or complex128."""
    result = np.result_type(x, w) if dtype is None else np.dtype(dtype)
    if result.kind != "c":
        raise TypeError(
            f"dtype {result} cannot hold the complex result: pass dtype=np.complex64, "
            "or convolve x.real and x.imag one by one"
        )
    if result.itemsize > 16:
        raise TypeError(f"dtype {result} is not supported; pass operands of complex128 or less")
    return result


def conv(
    real: Real,
    x: Any,
    w: Any,
    bias: Any,
    scale: Any,
    residual: Any,
    out: NDArray[Any],
) -> None:
    """Writes scale * (x convolved with w) + bias + residual into `out`, which overlaps nothing.

    (a + bi)(c + di) = (ac - bd) + (ad + bc)i: a real convolution for each product, the second of
    each part added to the first.
    """
    if scale is not None and np.iscomplexobj(scale):
        raise TypeError("scale must be real where x or w is complex: multiply w by it instead")
    x_real, x_imag = part(x, "real"), part(x, "imag")
    w_real, w_imag = part(w, "real"), part(w, "imag")
    for name, products in (
        ("real", [(x_real, w_real), (x_imag, None if w_imag is None else -w_imag)]),
        ("imag", [(x_real, w_imag), (x_imag, w_real)]),
    ):
        to = out.real if name == "real" else out.imag
        wanted = [(a, b) for a, b in products if a is not None and b is not None]
        added = part(residual, name)
        for index, (a, b) in enumerate(wanted):
            is_last = index == len(wanted) - 1
            real(
                a, b, part(bias, name) if is_last else None, scale=scale, residual=added, out=to
            )  # fmt: skip
            added = to
