"""Complex images and weights, as the real convolutions they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from c1x1._operands import read_array

Run = Callable[..., Any]
"""run(x, w, which, bias=, scale=, residual=, out=, dtype=, machine=) of real operands.

`which` names w as `Parts.get` does: it may be packed already; all else is given. With a machine the
plan comes back.
"""
Real = Callable[[NDArray[Any], str, Any, Any, NDArray[Any]], object]
"""real(x, which, bias, residual, out): convolves with that part of w, all else given."""


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
    is_last: bool,
    groups: int,
    weights: Parts | None = None,
) -> Any:
    """What conv gives for operands of which one is complex, or the plan for such a machine.

    The plan is that of the last real convolution. `is_last` tells the layout; `weights` are w's,
    if they are kept.
    """
    x, w = np.asarray(x), np.asarray(w)
    for name, operand in (("x", x), ("w", w)):
        if operand.dtype.kind != "c":
            read_array(operand, name)
    result = result_dtype(x, w, dtype)
    if scale is not None and np.iscomplexobj(scale):
        raise TypeError("scale must be real where x or w is complex: multiply w by it instead")
    inner = np.dtype(np.float64 if result == np.complex128 else np.float32)
    weights = weights or Parts(w)
    # Whatever is wrong is found here, before anything is written.
    terms = {"bias": part(bias, "real"), "scale": scale, "residual": part(residual, "real")}
    if x.size == 0 or w.size == 0:  # nothing to plan for, and nothing to compute
        shape = run(x.real, w.real, None, **terms).shape
    else:
        shape = run(x.real, w.real, None, **terms, dtype=inner, machine={})["shape"]
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

    is_joint = is_last and _can_join(x, w, groups, target, bias, scale, residual)
    if is_joint and np.ndim(scale) > 0:
        scale = np.repeat(scale, 2)

    def real(a: Any, which: str, c: Any, added: Any, to: Any, machine: Any = None) -> Any:
        return run(
            a,
            weights.get(which, a.shape[-1] // groups),
            which,
            bias=c,
            scale=scale,
            residual=added,
            out=to,
            dtype=inner,
            machine=machine,
        )

    add = add_joint_products if is_joint else add_products
    if machine is not None:
        calls: list[tuple[Any, str, Any, Any, Any]] = []
        add(lambda *given: calls.append(given), x, weights, bias, residual, target)
        return real(*calls[-1], machine=machine) | {
            "shape": shape,
            "dtype": result.name if out is None else out.dtype.name,
            "products": 4 if x.dtype.kind == w.dtype.kind else 2,
            "convolutions": len(calls),
            "overlap": "apart" if out is None or target is out else "temporary",
        }
    add(real, x, weights, bias, residual, target)
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


class Parts:
    """The weights of the real convolutions that a complex one is made of, made when wanted."""

    def __init__(self, w: NDArray[Any]) -> None:
        self.w = w
        self._made: dict[str, NDArray[Any]] = {}

    def names(self) -> tuple[str, ...]:
        return ("real", "imag", "minus") if self.w.dtype.kind == "c" else ("real",)

    def get(self, which: str, channels: int) -> NDArray[Any]:
        """One of `names`, in w's shape: "minus" is the negative imaginary part.

        Or, of w with its filters last, "joint" or "turned": w or iw, with a filter for the real
        part of each result and one for the imaginary part beside it, (channels, 2 C_out).
        """
        if which not in self._made:
            w = self.w
            if which == "joint":
                made = np.stack([w.real, w.imag], axis=-1).reshape(channels, -1)
            elif which == "turned":
                made = np.stack([-w.imag, w.real], axis=-1).reshape(channels, -1)
            else:
                made = -w.imag if which == "minus" else getattr(w, which)
            self._made[which] = made
        return self._made[which]


def _can_join(
    x: NDArray[Any],
    w: NDArray[Any],
    groups: int,
    out: NDArray[Any],
    bias: Any,
    scale: Any,
    residual: Any,
) -> bool:
    """Whether both parts of a result, side by side in memory, are summed as two filters' results.

    Not where the order of summation would become another: few filters of many channels have their
    own.
    """
    if w.dtype.kind != "c" or w.size == 0 or x.ndim != out.ndim or not _is_side_by_side(out):
        return False
    filters = out.shape[-1]
    if filters <= 4 * groups and x.shape[-1] >= 16 * groups:
        return False
    for a in (bias, scale):
        if a is None:
            continue
        if np.shape(a) not in ((), (filters,)) or np.asarray(a).dtype.kind not in "biufc":
            return False  # for the errors that real convolutions raise
    return residual is None or (
        isinstance(residual, np.ndarray)
        and residual.dtype == out.dtype
        and residual.shape[-1:] == (filters,)
        and _is_side_by_side(residual)
    )


def _is_side_by_side(a: NDArray[Any]) -> bool:
    return a.dtype.isnative and (a.shape[-1] == 1 or a.strides[-1] == a.itemsize)


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
    w: Parts,
    bias: Any,
    residual: Any,
    out: NDArray[Any],
) -> None:
    """Writes scale * (x convolved with w) + bias + residual into `out`, which overlaps nothing.

    `real` scales. (a + bi)(c + di) = (ac - bd) + (ad + bc)i: a real convolution
    for each product, the second of each part added to the first.
    """
    x_real, x_imag = part(x, "real"), part(x, "imag")
    for name, products in (
        ("real", [(x_real, "real"), (x_imag, "minus")]),
        ("imag", [(x_real, "imag"), (x_imag, "real")]),
    ):
        to = out.real if name == "real" else out.imag
        wanted = [(a, which) for a, which in products if a is not None and which in w.names()]
        added = part(residual, name)
        for index, (a, which) in enumerate(wanted):
            is_last = index == len(wanted) - 1
            real(a, which, part(bias, name) if is_last else None, added, to)
            added = to


def add_joint_products(
    real: Real, x: NDArray[Any], _: Parts, bias: Any, residual: Any, out: NDArray[Any]
) -> None:
    """The same, both parts of a result at once: x's real part with w, its imaginary one with iw."""
    if bias is not None:
        both = np.empty(out.shape[-1:], out.dtype)
        both.real = part(bias, "real")
        imag = part(bias, "imag")
        # To add -0.0 changes nothing, not even the sign of a zero.
        both.imag = -0.0 if imag is None else imag
        bias = _floats(both)
    to = _floats(out)
    added = None if residual is None else _floats(residual)
    if x.dtype.kind == "c":
        real(x.real, "joint", None, added, to)
        real(x.imag, "turned", bias, to, to)
    else:
        real(x, "joint", bias, added, to)


def _floats(a: NDArray[Any]) -> NDArray[Any]:
    """Real and imaginary parts side by side along the last axis."""
    return a.view(a.real.dtype)
