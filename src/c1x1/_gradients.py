"""Gradients of conv: the same sums with roles exchanged, so conv computes them too.

`grad_x` sums over output channels: a convolution of `grad_y` with the transposed weights. `grad_w`
sums over pixels: a convolution whose channels are the pixels, and whose pixels are the channels of
one operand; the other one is the weights. `grad_bias` is `grad_w` of a channel of ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from c1x1._api import conv
from c1x1._layout import read_operands
from c1x1._operands import read_array

Array = NDArray[Any]

# As many pixels as conv has channels in its own tests of accuracy: what one call sums up.
_LONGEST_BLOCK = 4096
# So many sums are added one after the other; more are added in groups of as many.
_FAN = 16
# Shorter runs of pixels are put side by side first, as many as these bytes hold.
_SHORT_RUN = 128
_GATHERED_BYTES = 1 << 19
# A part of grad_w whose sums are built up on their own, so that what is added up stays in cache.
_PART_BYTES = 1 << 18
_PART_COLUMNS = 256
# Groups with fewer channels are multiplied several at once: vectors are wider than they are.
_FEW_CHANNELS = 16


def conv_vjp(
    x: ArrayLike,
    w: ArrayLike,
    grad_y: ArrayLike,
    *,
    bias: bool = True,
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    threads: SupportsIndex | None = None,
) -> tuple[Array, Array, Array | None]:
    """Gradients of a loss with respect to the operands of `conv`, from the one for its result.

    The vector-Jacobian product of ``y = conv(x, w, bias, layout=layout, stride=stride,
    groups=groups)``: for channels last ``grad_x[..., c] = sum_o grad_y[..., o] * w[c, o]``,
    ``grad_w[c, o]`` is the sum of ``x[..., c] * grad_y[..., o]`` over all pixels that `stride`
    takes, ``grad_bias[o]`` that of ``grad_y[..., o]``.

    Parameters
    ----------
    x, w, layout, stride, groups, threads
        As in `conv`. x and w: float16, float32 or float64.
    grad_y : array_like
        The gradient with respect to the result, of its shape. Any strides. float16, float32 or
        float64.
    bias : bool, optional
        Whether to compute `grad_bias`.

    Returns
    -------
    grad_x : ndarray
        Of the shape of `x`; zero at pixels that `stride` skips.
    grad_w : ndarray
        Of the shape of `w`, whichever of those that `conv` accepts it is.
    grad_bias : ndarray or None
        ``(C_out,)``, or None without `bias`.

    All are C-contiguous and of dtype ``np.result_type(x, w, grad_y)``. Their bits do not depend on
    the number of threads. Beside them, and a copy of `w` where it has groups, a call takes at most
    2 MiB and what `conv` takes.

    Raises
    ------
    ValueError
        A `grad_y` that is not of the result's shape, and what `conv` raises it for.
    TypeError
        Integers, whose gradients would not be; and what `conv` raises it for.

    Notes
    -----
    Sums over pixels are made of blocks of at most 4096 pixels, each summed up as `conv` sums up
    channels; blocks are added in groups of 16, these groups in groups of 16, and so on. So the
    error hardly grows with the image.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> x = np.ones((28, 28, 192), np.float32)
    >>> w = np.full((192, 64), 0.5, np.float32)
    >>> grad_x, grad_w, grad_bias = c1x1.conv_vjp(x, w, np.ones((28, 28, 64), np.float32))
    >>> grad_x.shape, grad_w.shape, grad_bias.shape
    ((28, 28, 192), (192, 64), (64,))
    >>> float(grad_x[0, 0, 0]), float(grad_w[0, 0]), float(grad_bias[0])
    (32.0, 784.0, 784.0)
    """
    image, weights, channel_axis, steps, group_count, in_axis, out_axis = read_operands(
        x, w, layout, stride, groups
    )
    given = read_array(grad_y, "grad_y")
    if np.ndim(bias) != 0:
        raise TypeError("bias is True or False: no gradient needs its values")
    for name, array in (("x", image), ("w", weights), ("grad_y", given)):
        if array.dtype.kind != "f":
            _refuse_dtype(name, array.dtype)
    dtype = np.result_type(image, weights, given)
    c_out = 1 if out_axis is None else weights.shape[out_axis]
    of_stride = tuple(slice(None, None, s) for s in steps)
    taken = _to_last(image[of_stride], channel_axis)
    arriving = _channels_last(given, taken.shape[:-1], channel_axis, c_out, weights.ndim == 1)

    grad_x = np.empty(image.shape, dtype)
    if any(s > 1 for s in steps):
        grad_x.fill(0)
    conv(
        arriving,
        _transposed(_matrix(weights, in_axis, out_axis), group_count),
        groups=group_count,
        out=_to_last(grad_x[of_stride], channel_axis),
        dtype=dtype,
        threads=threads,
    )
    grad_w = np.empty(weights.shape, dtype)
    grad_bias = np.empty(c_out, dtype) if bias else None
    with np.errstate(all="ignore"):
        _sum_groups(taken, arriving, group_count, _matrix(grad_w, in_axis, out_axis), threads)
        if grad_bias is not None:
            _sum_products(_ones(arriving), arriving, grad_bias[None], threads)
    return grad_x, grad_w, grad_bias


# ---- operands ------------------------------------------------------------------------------------


def _refuse_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.name == "bfloat16":
        raise TypeError(
            f"{name} has dtype bfloat16; expected float16, float32 or float64: "
            f"pass {name}.astype(np.float32)"
        )
    raise TypeError(
        f"{name} has dtype {dtype}, and the gradients of integers are none: "
        f"pass {name}.astype(np.float32)"
    )


def _to_last(array: Array, axis: int) -> Array:
    """As np.moveaxis(array, axis, -1), in a tenth of its time where nothing moves."""
    return array if axis == array.ndim - 1 else np.moveaxis(array, axis, -1)


def _ones(g: Array) -> Array:
    """One channel for every pixel of g."""
    pixels = g.shape[:-1]
    if math.prod(pixels) <= _LONGEST_BLOCK:
        return np.ones((*pixels, 1), g.dtype)
    return np.broadcast_to(np.ones(1, g.dtype), (*pixels, 1))


def _channels_last(
    given: Array, pixels: tuple[int, ...], channel_axis: int, c_out: int, drops_channels: bool
) -> Array:
    """grad_y with its channels as the last axis, also where the result has none."""
    shape = pixels
    if not drops_channels:
        shape = (*pixels[:channel_axis], c_out, *pixels[channel_axis:])
    if given.shape != shape:
        raise ValueError(
            f"grad_y has shape {given.shape}; expected {shape}, the shape of the result of conv"
        )
    return given[..., None] if drops_channels else _to_last(given, channel_axis)


def _matrix(w: Array, in_axis: int, out_axis: int | None) -> Array:
    """A view of w without the axes of its window: (C_in / groups, C_out)."""
    index: list[Any] = [0] * w.ndim
    index[in_axis] = slice(None)
    if out_axis is not None:
        index[out_axis] = slice(None)
    matrix: Array = w[tuple(index)]
    if out_axis is None:
        return matrix[:, None]
    return matrix if in_axis < out_axis else matrix.T


def _transposed(w: Array, groups: int) -> Array:
    """(C_in / groups, C_out) to the (C_out / groups, C_in) that lead back from y to x."""
    if groups == 1:
        return w.T
    c_in, c_out = w.shape[0], w.shape[1] // groups
    return w.reshape(c_in, groups, c_out).transpose(2, 1, 0).reshape(c_out, groups * c_in)


# ---- sums over pixels ----------------------------------------------------------------------------


def _sum_groups(x: Array, g: Array, groups: int, out: Array, threads: SupportsIndex | None) -> None:
    """Group by group, or several at once: then only the products within a group are kept."""
    c_in, c_out = out.shape[0], out.shape[1] // groups
    together = max(1, min(groups, _FEW_CHANNELS // max(c_in, c_out, 1)))
    by_group = out.reshape(c_in, groups, c_out)
    for first in range(0, groups, together):
        count = min(together, groups - first)
        from_x = x[..., first * c_in : (first + count) * c_in]
        from_g = g[..., first * c_out : (first + count) * c_out]
        if count == 1:
            _sum_products(from_x, from_g, by_group[:, first], threads)
            continue
        all_pairs = np.empty((count * c_in, count * c_out), out.dtype)
        _sum_products(from_x, from_g, all_pairs, threads)
        own = np.diagonal(all_pairs.reshape(count, c_in, count, c_out), axis1=0, axis2=2)
        by_group[:, first : first + count] = own.transpose(0, 2, 1)


def _sum_products(x: Array, g: Array, out: Array, threads: SupportsIndex | None) -> None:
    """out[c, o] = the sum over pixels of x[..., c] * g[..., o]; out of any strides."""
    if out.size == 0:
        return
    if math.prod(x.shape[:-1]) == 0:
        out.fill(0)
        return
    wide, narrow = _in_runs(x, g)
    # The wider operand takes the place of the pixels: what is transposed is the other one.
    if x.shape[-1] < g.shape[-1]:
        wide, narrow, out = narrow, wide, out.T
    _Sums(wide, narrow, out, threads).write()


class _Sums:
    """out[i, j] = the sum of wide[..., i] * narrow[..., j] over (*others, rows, run) pixels."""

    def __init__(
        self, wide: Array, narrow: Array, out: Array, threads: SupportsIndex | None
    ) -> None:
        self.wide, self.narrow, self.out, self.threads = wide, narrow, out, threads
        # Halves are added up as float32.
        self.dtype = np.result_type(out, np.float32)
        # Sums lie as the kernels write them: along the channels of the narrow operand where the
        # pixels of the wide one lie along memory, else along the channels of the wide one.
        is_planar = abs(wide.strides[-2]) <= abs(wide.strides[-1])
        self.order: Literal["C", "F"] = "C" if is_planar else "F"
        unit = out.strides[1 if is_planar else 0]
        self.is_direct = out.dtype == self.dtype and unit == out.itemsize

    def write(self) -> None:
        rows, columns = self.out.shape
        most_columns = min(columns, _PART_COLUMNS)
        most_rows = max(_PART_BYTES // (self.dtype.itemsize * most_columns), 1)
        blocks = _Blocks(self.wide, self.narrow)
        if self.is_direct and len(blocks) == 1:
            self.add_up(blocks, range(1), self.out, [])
            return
        height, width = _even(rows, most_rows), _even(columns, most_columns)
        for j in range(0, columns, width):
            for i in range(0, rows, height):
                self.write_part(slice(i, i + height), slice(j, j + width))

    def write_part(self, i: slice, j: slice) -> None:
        """Channels i of the wide and j of the narrow operand."""
        out = self.out[i, j]
        blocks = _Blocks(self.wide[..., i], self.narrow[..., j])
        levels = 0
        while _FAN**levels < len(blocks):
            levels += 1
        total = out if self.is_direct else np.empty(out.shape, self.dtype, self.order)
        spare = [np.empty(out.shape, self.dtype, self.order) for _ in range(levels)]
        self.add_up(blocks, range(len(blocks)), total, spare)
        if total is not out:
            out[...] = total

    def add_up(self, blocks: _Blocks, which: range, out: Array, spare: list[Array]) -> None:
        """In groups, the groups in groups and so on: a tree, whose errors stay small."""
        if len(which) == 1:
            wide, narrow = blocks.at(which[0])
            conv(wide.T, narrow, out=out, dtype=self.dtype, threads=self.threads)
            return
        step = 1
        while step * _FAN < len(which):
            step *= _FAN
        self.add_up(blocks, which[:step], out, spare[1:])
        for first in range(step, len(which), step):
            self.add_up(blocks, which[first : first + step], spare[0], spare[1:])
            np.add(out, spare[0], out=out)


class _Blocks:
    """The pixels of two operands (*others, rows, run, channels), up to _LONGEST_BLOCK at a time.

    A block is a piece of a row, or several rows where they are short.
    """

    def __init__(self, wide: Array, narrow: Array) -> None:
        *others, rows, run = wide.shape[:-1]
        self.wide, self.narrow = wide, narrow
        self.height, self.length = 1, _even(run, _LONGEST_BLOCK)
        if run < _SHORT_RUN:
            channels = wide.shape[-1] + narrow.shape[-1]
            row_bytes = max(wide.itemsize, narrow.itemsize) * channels * run
            most = min(_GATHERED_BYTES // row_bytes, _LONGEST_BLOCK // run)
            self.height = _even(rows, max(most, 1))
        self.grid = (*others, -(-rows // self.height), -(-run // self.length))

    def __len__(self) -> int:
        return math.prod(self.grid)

    def at(self, number: int) -> tuple[Array, Array]:
        """Both operands as (pixels, channels)."""
        if self.wide.ndim == 3 and self.grid == (1, 1) and self.height == 1:
            return self.wide[0], self.narrow[0]
        *other, row, piece = (int(i) for i in np.unravel_index(number, self.grid))
        first, start = row * self.height, piece * self.length
        rows, run = slice(first, first + self.height), slice(start, start + self.length)
        index: tuple[Any, ...] = (*other, rows, run)
        return _side_by_side(self.wide[index]), _side_by_side(self.narrow[index])


def _even(total: int, most: int) -> int:
    """The length of even pieces of at most `most`."""
    return -(-total // -(-total // most))


def _in_runs(x: Array, g: Array) -> tuple[Array, Array]:
    """Views as (*others, rows, run, channels), the run being pixels that lie nearest together."""
    if x.flags.c_contiguous and g.flags.c_contiguous:
        pixels = math.prod(x.shape[:-1])
        return x.reshape(1, pixels, x.shape[-1]), g.reshape(1, pixels, g.shape[-1])
    axes = [axis for axis in range(x.ndim - 1) if x.shape[axis] > 1]
    axes.sort(key=lambda axis: (-abs(x.strides[axis]), -abs(g.strides[axis])))
    merged: list[tuple[int, int, int]] = []
    for axis in axes:
        size, step_x, step_g = x.shape[axis], x.strides[axis], g.strides[axis]
        if merged and merged[-1][1:] == (size * step_x, size * step_g):
            size *= merged.pop()[0]
        merged.append((size, step_x, step_g))
    if len(merged) > 2 and merged[-1][0] < _SHORT_RUN:
        # Rows along the longest axis, so that many of them are gathered at once.
        longest = max(reversed(merged[:-1]), key=lambda dim: dim[0])
        merged.remove(longest)
        merged.insert(-1, longest)
    merged = [(1, 0, 0)] * (2 - len(merged)) + merged
    sizes, steps_x, steps_g = zip(*merged, strict=True)
    as_strided = np.lib.stride_tricks.as_strided
    return (
        as_strided(x, (*sizes, x.shape[-1]), (*steps_x, x.strides[-1]), writeable=False),
        as_strided(g, (*sizes, g.shape[-1]), (*steps_g, g.strides[-1]), writeable=False),
    )


def _side_by_side(operand: Array) -> Array:
    """(rows, run, channels) as (pixels, channels); a copy unless there is one row."""
    rows, run, channels = operand.shape
    if rows == 1:
        row: Array = operand[0]
        return row
    if abs(operand.strides[1]) <= abs(operand.strides[2]):
        return np.ascontiguousarray(operand.transpose(2, 0, 1)).reshape(channels, rows * run).T
    return np.ascontiguousarray(operand).reshape(rows * run, channels)
