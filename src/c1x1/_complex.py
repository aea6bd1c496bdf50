"""Complex images and weights, as the real convolutions they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from c1x1._operands import read_array

Run = Callable[..., Any]
"""run(x, w, which, bias=, scale=, residual=, out=, dtype=, machine=) of real operands.

`which` names w among `parts`, which may be packed already; all else is given. With a machine the
plan comes back.
"""
Real = Callable[[NDArray[Any], str, Any, Any, NDArray[Any]], object]
"""real(x, which, bias, residual, out): convolves with that one of `parts`, all else given."""


def refuse(**given: Any) -> None:
    """Raises for the first argument that is not None."""
    for name, value in given.items():
        if value is not None:
            raise TypeError(f"{name} is for real x and w, not for complex ones")


def convolve(
    run: Run,
    x: Any,
    w: Any,
    bias: Any,
    scale: Any,
    residual: Any,
    out: NDArray[Any] | None,
    dtype: DTypeLike | None,
    machine: dict[str, Any] | None,
) -> Any:
    """What conv gives for operands of which one is complex, or the plan for such a machine.

    The plan is that of the last real product.
    """
    x, w = np.asarray(x), np.asarray(w)
    for name, operand in (("x", x), ("w", w)):
        if operand.dtype.kind != "c":
            read_array(operand, name)
    result = result_dtype(x, w, dtype)
    if scale is not None and np.iscomplexobj(scale):
        raise TypeError("scale must be real where x or w is complex: multiply w by it instead")
    inner = np.dtype(np.float64 if result == np.complex128 else np.float32)
    weights = parts(w)
    if x.size == 0 or w.size == 0:  # nothing to plan for, and nothing to compute
        shape = run(x.real, w.real, None).shape
    else:
        shape = run(x.real, w.real, None, machine={})["shape"]
    if out is not None:
        _check_out(out, shape, result)
    operands = [a for a in (x, w, bias, scale, residual) if isinstance(a, np.ndarray)]
    if (
        out is not None
        and out.dtype == result
        and out.dtype.isnative
        and not any(np.may_share_memory(out, a) for a in operands)
    ):
        target = out
    else:
        target = np.empty(shape, result)

    def real(a: Any, which: str, c: Any, added: Any, to: Any, machine: Any = None) -> Any:
        return run(
            a,
            weights[which],
            which,
            bias=c,
            scale=scale,
            residual=added,
            out=to,
            dtype=inner,
            machine=machine,
        )

    if machine is not None:
        products = 2 if x.dtype.kind == w.dtype.kind else 1  # of each part of the result
        added = target.real if products == 2 else part(residual, "real")
        described = real(x.real, "real", part(bias, "real"), added, target.real, machine)
        return described | {
            "dtype": result.name if out is None else out.dtype.name,
            "products": 2 * products,
            "overlap": "apart" if out is None or target is out else "temporary",
        }
    add_products(real, x, weights, bias, residual, target)
    if out is None or target is out:
        return target
    np.copyto(out, target, casting="same_kind")
    return out


def _check_out(out: Any, shape: tuple[int, ...], result: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(
            f"out has shape {out.shape}; expected {shape}: "
            f"pass out=np.empty({shape}, {str(result)!r})"
        )
    if not np.can_cast(result, out.dtype, "same_kind"):
        raise TypeError(
            f"out has dtype {out.dtype}, to which the result's {result} does not cast under "
            f"'same_kind': pass an out of dtype {result}, and take its real part"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only: pass a writable array")


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


def add_products(
    real: Real,
    x: NDArray[Any],
    w: dict[str, NDArray[Any]],
    bias: Any,
    residual: Any,
    out: NDArray[Any],
) -> None:
    """Writes scale * (x convolved with w) + bias + residual into `out`, which overlaps nothing.

    `real` scales; `w` are the parts. (a + bi)(c + di) = (ac - bd) + (ad + bc)i: a real convolution
    for each product, the second of each part added to the first.
    """
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
