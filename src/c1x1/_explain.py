"""Tells one call to `conv` in words: one pixel's numbers, the shapes, the plan and its cost."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from c1x1 import _api

_SHOWN = 4
_LETTERS = {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}


@dataclass(frozen=True)
class _Call:
    """A call that `conv` accepts, with what it made of the arguments."""

    x: NDArray[Any]
    w: NDArray[Any]
    bias: NDArray[Any] | None
    layout: str | None
    names: list[str]
    channel_axis: int
    batch_axis: int | None
    steps: list[int]
    groups: int
    plan: dict[str, Any]

    @property
    def sums(self) -> np.dtype[Any]:
        """The dtype in which NumPy gives the same: sums of integers are exact in any."""
        is_whole = np.result_type(self.x, self.w).kind in "biu"
        sums: np.dtype[Any] = np.dtype(np.int64 if is_whole else self.plan["compute"])
        return sums

    @property
    def is_last(self) -> bool:
        return self.channel_axis == self.x.ndim - 1

    @property
    def channels(self) -> int:
        return int(self.x.shape[self.channel_axis])

    @property
    def is_matrix(self) -> bool:
        """Whether w holds a matrix, rather than one filter."""
        if self.w.ndim < 2:
            return False
        in_axis = -2 if self.is_last else 1
        window = self.w.shape[:-2] if self.is_last else self.w.shape[2:]
        return self.w.shape[in_axis] * self.groups == self.channels and all(
            size == 1 for size in window
        )

    def matrix(self) -> NDArray[Any]:
        """The weights as (C_in / groups, C_out)."""
        if not self.is_matrix:
            return self.w.reshape(self.channels, 1)
        if self.is_last:
            return self.w.reshape(self.w.shape[-2:])
        return self.w.reshape(self.w.shape[:2]).T

    def out_shape(self, filters: int) -> tuple[int, ...]:
        sizes = [-(-size // step) for size, step in zip(self.x.shape, self.steps, strict=True)]
        if self.w.ndim == 1:
            del sizes[self.channel_axis]
        else:
            sizes[self.channel_axis] = filters
        return tuple(sizes)


def _read_call(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None,
    layout: str | None,
    stride: int | Sequence[int],
    groups: int,
) -> _Call:
    # The plan first: it makes the checks of `conv` and raises its messages.
    plan = _api.plan(x, w, bias, layout=layout, stride=stride, groups=groups)
    image = np.asarray(x)
    ndim = image.ndim
    letters = layout or _LETTERS.get(ndim)
    names = list(letters) if letters else ["N", *(f"axis {i}" for i in range(1, ndim - 1)), "C"]
    batch_axis = names.index("N") if "N" in names else None
    spatial = [axis for axis, name in enumerate(names) if name not in "NC"]
    values = [stride] * len(spatial) if isinstance(stride, int) else list(np.atleast_1d(stride))
    steps = [1] * ndim
    for axis, value in zip(
        spatial, values * (len(spatial) if len(values) == 1 else 1), strict=True
    ):
        steps[axis] = operator.index(value)
    return _Call(
        image,
        np.asarray(w),
        None if bias is None else np.asarray(bias),
        layout,
        names,
        names.index("C"),
        batch_axis,
        steps,
        operator.index(groups),
        plan,
    )


# How the numbers are told.


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, (np.integer, np.bool_, int)) else f"{value:.6g}"


def _factor(value: Any) -> str:
    text = _number(value)
    return f"({text})" if text.startswith("-") else text


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _locate(call: _Call, pixel: int | Sequence[int], shape: tuple[int, ...]) -> list[int]:
    """The index of the pixel on every axis of x but the channels', in the result's pixels."""
    axes = [axis for axis in range(call.x.ndim) if axis != call.channel_axis]
    spatial = [axis for axis in axes if axis != call.batch_axis]
    asked = list(pixel) if isinstance(pixel, Sequence) else list(np.atleast_1d(pixel))
    index = [operator.index(i) for i in asked]
    if not any(index):
        index = [0] * len(axes)
    elif len(index) == len(spatial) and call.batch_axis is not None:
        index.insert(axes.index(call.batch_axis), 0)
    if len(index) != len(axes):
        raise ValueError(
            f"pixel {tuple(asked)} has {_count(len(asked), 'index').replace('indexs', 'indices')}; "
            f"expected one for each of {', '.join(call.names[axis] for axis in spatial)}"
        )
    sizes = list(shape) if call.w.ndim == 1 else [shape[axis] for axis in axes]
    for i, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        if size == 0:
            raise ValueError(f"x of shape {call.x.shape} has no pixels to explain")
        if not -size <= index[i] < size:
            raise ValueError(
                f"pixel {tuple(asked)} is outside the result: on axis {call.names[axis]} its index "
                f"must be 0 to {size - 1}, not {index[i]}"
            )
        index[i] %= size
    return index


def _position(call: _Call, index: list[int]) -> list[int | slice]:
    """Where in x the channels of the result's pixel `index` are."""
    steps = [step for axis, step in enumerate(call.steps) if axis != call.channel_axis]
    position: list[int | slice] = [i * step for i, step in zip(index, steps, strict=True)]
    position.insert(call.channel_axis, slice(None))
    return position


def _one_pixel(call: _Call, index: list[int]) -> NDArray[Any]:
    """What `conv` itself makes of that pixel."""
    window = tuple(slice(p, p + 1) if isinstance(p, int) else p for p in _position(call, index))
    return _api.conv(call.x[window], call.w, call.bias, layout=call.layout, groups=call.groups)


def _tell_sum(
    call: _Call, index: list[int], matrix: NDArray[Any], result: NDArray[Any]
) -> list[str]:
    position = _position(call, index)
    terms = matrix.shape[0]
    pixel = call.x[tuple(position)][:terms]
    where = ", ".join(str(p) if isinstance(p, int) else ":" for p in position)
    if matrix.shape[1] == 0:
        return [f"  x[{where}] meets no filter: w has no output channels."]
    out_index: list[int | str] = list(index)
    if call.w.ndim > 1:
        out_index.insert(call.channel_axis, 0)
    first = [
        f"{_factor(a)}*{_factor(b)}"
        for a, b in zip(pixel[:_SHOWN], matrix[:_SHOWN, 0], strict=True)
    ]
    exact = np.int64 if call.sums.kind == "i" else np.float64
    products = pixel.astype(exact) * matrix[:, 0].astype(exact)
    if terms > _SHOWN:
        rest = _factor(products[_SHOWN:].sum())
        first.append(f"... ({_count(terms - _SHOWN, 'product')} more, together {rest})")
    if not terms:
        first.append("0")
    if call.bias is not None:
        first.append(f"{_factor(call.bias.ravel()[0])} (bias)")
    group = f" (in group 0, channels 0 to {terms - 1})" if call.groups > 1 else ""
    return [
        f"  The pixel's channels are x[{where}]; the first filter has a weight for each{group}.",
        "  Multiply channel by channel and add up:",
        f"  y[{', '.join(map(str, out_index))}] = {' + '.join(first)} = "
        f"{_number(result.ravel()[0])}",
    ]


def _tell_shapes(call: _Call, shape: tuple[int, ...], matrix: NDArray[Any]) -> list[str]:
    terms, filters = matrix.shape
    lines = [
        f"  x is {_shape(call.x.shape)} ({', '.join(call.names)}; {call.x.dtype}), "
        f"w is {_shape(call.w.shape)} ({call.w.dtype}), the result is {_shape(shape)}.",
        f"  x * w alone does not shrink anything: it makes {_count(terms, 'product')} per pixel "
        "and filter,",
        f"  one for each channel, so the channels' axis keeps its {terms}. The sum over the "
        "channels turns them into",
    ]
    if call.w.ndim == 1:
        lines.append(
            "  one number per pixel; a 1-D w asks for that number without an axis of its own."
        )
    else:
        lines.append(
            f"  one number. Each filter gives one number per pixel: "
            f"{_count(filters, 'filter')}, {_count(filters, 'output channel')}."
        )
    if call.groups > 1:
        lines.append(
            f"  In {call.groups} groups: each filter sees only its group's "
            f"{_count(terms, 'channel')} of the {call.channels}."
        )
    if any(step > 1 for step in call.steps):
        taken = ", ".join(
            f"every {step} along {name}"
            for step, name in zip(call.steps, call.names, strict=True)
            if step > 1
        )
        lines.append(f"  The stride takes pixel 0 and then {taken}; the others are never read.")
    return lines


_SOURCES = {
    "in_place": "read where {0} lie in memory, no copy",
    "pack_block": "copied into cache block by block, converted on the way where the dtype differs",
    "pack_panel": "copied into L1 one panel at a time, while the next one is fetched",
    "prepacked": "packed beforehand",
}


def _tell_plan(plan: dict[str, Any]) -> list[str]:
    role = plan["role"]
    rows, columns = (
        ("output channels", "pixels")
        if role in ("pixels_n", "small")
        else ("pixels", "output channels")
    )
    sides = {
        "pixels_m": "vectors run along the output channels (channels last)",
        "pixels_n": "vectors run along the pixels (channels first)",
        "dot": "vectors run along the input channels (few output channels)",
        "small": "vectors run along the pixels, whose few channels are sorted in registers",
    }
    a, b = ("weights", "pixels") if role in ("pixels_n", "small") else ("pixels", "weights")
    chains = (
        "one running sum per result"
        if plan["chains"] == 1
        else f"{plan['chains']} running sums per result, added pairwise at the end"
    )
    if plan["chains"] == 1 and 0 < plan.get("piece", plan["k"]) < plan["k"]:
        chains += f", in pieces of {plan['piece']} channels for accuracy"
    order = (
        "each strip of rows meets all column panels in turn"
        if plan["order"] == "rows_outside"
        else "each column panel meets all strips of rows in turn"
    )
    blocks = _count(plan["blocks"], "block")
    return [
        f"  Kernel: {plan['isa']}, sums in {plan['compute']}; a register tile of {plan['mr']} "
        f"{rows} x {plan['nr']} {columns};",
        f"    {sides[role]}; {chains}.",
        *(
            f"  The {name} are {_SOURCES[plan[key]].format('they', plan['nr'])}."
            for key, name in (("a", a), ("b", b))
        ),
        "  Results go straight to the output."
        if plan["is_direct"]
        else "  Results pass through a small buffer that gives them dtype and strides.",
        f"  Work: {blocks} of up to {plan['mc']} {rows} x {plan['nc']} {columns}, "
        f"{plan['kc']} of {plan['k']} channels at a time;",
        f"    {order}.",
        f"  Threads: {plan['threads']}, each with {_bytes(plan['thread_bytes'])} of workspace. "
        "They share out pixels and filters, never one sum.",
    ]


def _tell_cost(
    call: _Call, shape: tuple[int, ...], matrix: NDArray[Any], dtype: np.dtype[Any]
) -> list[str]:
    taken = [-(-size // step) for size, step in zip(call.x.shape, call.steps, strict=True)]
    read_x = int(np.prod(taken, dtype=object)) * call.x.itemsize
    results = int(np.prod(shape, dtype=object))
    read_w = call.w.size * call.w.itemsize + (0 if call.bias is None else call.bias.nbytes)
    written = results * dtype.itemsize
    macs = results * matrix.shape[0]
    total = read_x + read_w + written
    return [
        f"  Bytes moved, at least: {total:,} ({read_x:,} of x, {read_w:,} of weights, {written:,} "
        "written).",
        f"  Multiply-adds: {macs:,}. Arithmetic intensity: {2 * macs / max(total, 1):.3g} "
        "operations per byte.",
    ]


# The same in NumPy.


def _tensordot(call: _Call, compute: np.dtype[Any], shape_w: tuple[int, ...] | None) -> str:
    x_text, w_text = "x", "w"
    if any(step > 1 for step in call.steps):
        x_text += f"[{', '.join(':' if s == 1 else f'::{s}' for s in call.steps)}]"
    if np.result_type(call.x, call.w) != compute:
        x_text += f".astype(np.{compute})"
        w_text += f".astype(np.{compute})"
    if shape_w is not None:
        w_text += f".reshape({shape_w})"
    axis = -1 if call.is_last else call.channel_axis
    in_axis = 1 if call.w.ndim > 1 and not call.is_last else 0
    if call.groups > 1:
        w_split = 0 if in_axis else 1
        product = (
            f"np.concatenate([np.tensordot(a, b, axes=([{axis}], [{in_axis}])) for a, b in "
            f"zip(np.split({x_text}, {call.groups}, axis={axis}), "
            f"np.split({w_text}, {call.groups}, axis={w_split}))], axis=-1)"
        )
    else:
        product = f"np.tensordot({x_text}, {w_text}, axes=([{axis}], [{in_axis}]))"
    if call.w.ndim > 1 and not call.is_last:
        product = f"np.moveaxis({product}, -1, {axis})"
    return product


def _numpy_line(call: _Call, dtype: np.dtype[Any]) -> str:
    """An expression of x, w, bias and np whose value is the result."""
    compute = call.sums
    terms, filters = call.matrix().shape
    shape_w: tuple[int, ...] | None = (terms, filters) if call.is_last else (filters, terms)
    if call.w.ndim == 1 or call.w.shape == shape_w:
        shape_w = None
    line = _tensordot(call, compute, shape_w)
    natural = np.result_type(call.x, call.w)
    value = natural if natural == compute else compute
    if call.bias is not None:
        trailing = call.x.ndim - 1 - call.channel_axis
        target = "()" if call.w.ndim == 1 else f"(-1{', 1' * trailing})" if trailing else "-1"
        line = f"{line} + np.reshape(bias, {target})"
        value = np.result_type(value, call.bias)
    if value != dtype:
        line = f"({line})" if call.bias is not None else line
        if dtype.kind in "iu" and value.kind in "iu":
            low, high = np.iinfo(dtype), np.iinfo(value)
            line += f".clip({max(low.min, high.min)}, {min(low.max, high.max)})"
        line += f".astype(np.{dtype.name})"
    return line


def explain(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    pixel: int | Sequence[int] = (0, 0),
    layout: str | None = None,
    stride: int | Sequence[int] = 1,
    groups: int = 1,
) -> str:
    """What ``conv(x, w, bias, ...)`` computes and how, in words and with one pixel's numbers.

    Computes that one pixel only, whatever the size of `x`.

    Parameters
    ----------
    x, w, bias, layout, stride, groups
        As in `conv`.
    pixel : int or sequence of int, optional
        Which pixel of the result: one index per spatial axis (of the first image of a batch), or
        one per axis but the channels'. Negative ones count from the end. Zeros alone, of any
        number, mean the first pixel.

    Returns
    -------
    str
        Several lines: the pixel's sum, the shapes, the plan, its cost, and an equivalent line of
        NumPy in terms of `x`, `w` and `bias` as ndarrays.

    Raises
    ------
    ValueError
        A pixel outside the result, and whatever `conv` would refuse.
    TypeError
        As `conv`.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> x = np.array([[[0.5, 0.25, 2.0]]])
    >>> w = np.array([[[1.0, 2.0, 1.0]]])
    >>> print(c1x1.explain(x, w).splitlines()[4].strip())
    y[0, 0, 0] = 0.5*1 + 0.25*2 + 2*1 = 3
    """
    call = _read_call(x, w, bias, layout, stride, groups)
    matrix = call.matrix()
    shape = call.out_shape(matrix.shape[1])
    index = _locate(call, pixel, shape)
    pixel_result = _one_pixel(call, index)
    dtype = pixel_result.dtype
    return "\n".join(
        [
            "A 1x1 convolution: at every pixel, a weighted sum of that pixel's channels, once per "
            "filter.",
            "",
            *_tell_sum(call, index, matrix, pixel_result),
            "",
            "Shapes",
            *_tell_shapes(call, shape, matrix),
            "",
            "Plan",
            *_tell_plan(call.plan),
            "",
            "Cost",
            *_tell_cost(call, shape, matrix, dtype),
            "",
            "The same in NumPy",
            f"  {_numpy_line(call, dtype)}",
            "",
        ]
    )
