"""Complex images and weights, as the real convolutions they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Real = Callable[[NDArray[Any], str, Any, Any, NDArray[Any]], object]
"""real(x, which, bias, residual, out): convolves with that one of `parts`, all else given."""


def part(a: Any, which: str) -> Any:
    """The real or imaginary part as a view; None for the imaginary part of what is real."""
    if a is None:
        return None
    a = np.asarray(a)
    if a.dtype.kind == "c":
        return a.real if which == "real" else a.imag
    return a if which == "real" else None


def parts(w: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The real weights that the products need; "minus" is the negative imaginary part."""
    if w.dtype.kind != "c":
        return {"real": w}
    return {"real": w.real, "imag": w.imag, "minus": -w.imag}


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
    w: dict[str, NDArray[Any]],
    bias: Any,
    scale: Any,
    residual: Any,
    out: NDArray[Any],
) -> None:
    """Writes scale * (x convolved with w) + bias + residual into `out`, which overlaps nothing.

    `real` scales; `w` are the parts. (a + bi)(c + di) = (ac - bd) + (ad + bc)i: a real convolution
    for each product, the second of each part added to the first.
    """
    if scale is not None and np.iscomplexobj(scale):
        raise TypeError("scale must be real where x or w is complex: multiply w by it instead")
    x_real, x_imag = part(x, "real"), part(x, "imag")
    for name, products in (
        ("real", [(x_real, "real"), (x_imag, "minus")]),
        ("imag", [(x_real, "imag"), (x_imag, "real")]),
    ):
        to = out.real if name == "real" else out.imag
        wanted = [(a, which) for a, which in products if a is not None and which in w]
        added = part(residual, name)
        for index, (a, which) in enumerate(wanted):
            is_last = index == len(wanted) - 1
            real(a, which, part(bias, name) if is_last else None, added, to)
            added = to
