"""The 1x1 convolution of dask arrays: lazy, and computed chunk by chunk by dask's schedulers.

`import c1x1` does not import this module. It needs dask: ``pip install c1x1[dask]``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from c1x1 import _api
from c1x1._api import conv as _conv
from c1x1._pointwise import Pointwise

try:
    import dask.array as da
    from dask.base import is_dask_collection, tokenize
    from dask.delayed import delayed
except ImportError as _error:
    raise ImportError("c1x1.dask needs dask.array: pip install 'c1x1[dask]'") from _error

__all__ = ["conv"]


def conv(
    array: da.Array,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    dtype: DTypeLike | None = None,
    scale: ArrayLike | None = None,
    residual: da.Array | ArrayLike | None = None,
    activation: str | tuple[Any, ...] | None = None,
    lut: ArrayLike | None = None,
    nodata: float | None = None,
    precision: Literal["highest", "high", "medium"] = "highest",
    reproducible: bool = False,
) -> da.Array:
    """1x1 (pointwise) convolution of a dask array, in memory for a few chunks at a time.

    What `c1x1.conv` gives for the whole array, bit for bit, however the pixels are chunked. Each
    chunk is computed on the one thread that dask runs it on. The filters travel to each worker
    once.

    Parameters
    ----------
    array : dask.array.Array
        The image, or a batch of them; `c1x1.conv` and its messages call it x. Pixels may be chunked
        in any way, also into chunks of unknown size. The channels of a pixel must lie in one chunk:
        where they do not, they are rechunked to one, and chunks grow by as much. To keep them
        small, cut the pixels finer before (``array.rechunk``).
    w, bias
        As in `c1x1.conv`, in memory. They are copied.
    layout, groups, dtype, scale, activation, lut, nodata, precision, reproducible
        As in `c1x1.conv`.
    stride : int or sequence of int, optional
        Takes pixels 0, s, 2s, ... of every spatial axis of the whole array. Needs to know the sizes
        of the chunks along the axes where it is not 1.
    residual : array_like or dask.array.Array, optional
        As in `c1x1.conv`; rechunked as the result is.

    Returns
    -------
    dask.array.Array
        Pixels are chunked as in `array` (of which `stride` leaves a part), channels in one chunk.

    Raises
    ------
    ValueError, TypeError
        At once, not when the result is computed, and as `c1x1.conv` would for the whole array;
        TypeError also where `array` is not a dask array, or an operand that must be in memory is.

    See Also
    --------
    dask.array.rechunk, dask.array.Array.compute_chunk_sizes

    Examples
    --------
    A scene of 12 bands to 4, never in memory as a whole:

    >>> import dask.array as da, numpy as np
    >>> import c1x1.dask
    >>> scene = da.ones((4000, 6000, 12), chunks=(1000, 1000, 12), dtype=np.uint16)
    >>> w = np.full((12, 4), 0.5, np.float32)
    >>> y = c1x1.dask.conv(scene, w)
    >>> y.shape, y.dtype, y.chunksize
    ((4000, 6000, 4), dtype('float32'), (1000, 1000, 4))
    >>> y[-1, -1].compute()
    array([6., 6., 6., 6.], dtype=float32)
    """
    if not isinstance(array, da.Array):
        raise TypeError(
            f"array must be a dask array, not {type(array).__name__}: pass it to c1x1.conv, "
            "or pass dask.array.from_array(array)"
        )
    if isinstance(array._meta, np.ma.MaskedArray):
        raise TypeError(
            "array has masked chunks, whose masks would be lost: "
            "pass dask.array.ma.filled(array, value)"
        )
    words: dict[str, Any] = {
        "groups": groups,
        "dtype": dtype,
        "scale": scale,
        "activation": activation,
        "lut": lut,
        "precision": precision,
        "reproducible": reproducible,
    }
    in_memory = {"w": w, "bias": bias, **words}
    if not isinstance(residual, da.Array):
        in_memory["residual"] = residual
    for name, value in in_memory.items():
        if is_dask_collection(value):
            raise TypeError(
                f"{name} is a dask {type(value).__name__}; expected an array in memory: "
                f"pass {name}.compute()"
            )

    channel_axis, batch_axis = find_axes(array, layout)
    steps = as_steps(stride)
    axes = tuple(range(array.ndim))
    empty = without_pixels(array, axes, channel_axis)
    try:
        # conv itself tells what comes of these arguments, from an image without pixels.
        sample = _conv(empty, w, bias, layout=layout, stride=steps, nodata=nodata, **words)
    except ValueError:
        refuse_whole(array, w, layout, steps, groups)
        raise
    array = take_pixels(array, steps, channel_axis, batch_axis)
    if array.numblocks[channel_axis] != 1:
        array = array.rechunk({channel_axis: -1})
    drops_channel_axis = sample.ndim < array.ndim
    result_axes = tuple(a for a in axes if a != channel_axis or not drops_channel_axis)
    chunks = dict(enumerate(array.chunks))
    if not drops_channel_axis:
        chunks[channel_axis] = (sample.shape[channel_axis],)
    others: list[Any] = []
    if residual is not None:
        addend = align(residual, [chunks[a] for a in result_axes])
        addend_axes = result_axes[len(result_axes) - addend.ndim :]
        others = [addend, addend_axes]
        no_addend = without_pixels(addend, addend_axes, channel_axis)
        sample = _conv(empty, w, bias, layout=layout, residual=no_addend, nodata=nodata, **words)

    return da.blockwise(
        convolve_chunk,
        result_axes,
        array,
        axes,
        make_layer(w, bias, layout, array.dtype, words),
        None,
        *others,
        token="c1x1-conv",
        adjust_chunks={channel_axis: chunks[channel_axis]},
        align_arrays=False,
        dtype=sample.dtype,
        meta=np.empty((0,) * sample.ndim, sample.dtype),
        nodata=nodata,
        is_listed=drops_channel_axis,
    )


# ---- before anything is computed -----------------------------------------------------------------


def find_axes(array: da.Array, layout: str | None) -> tuple[int, int]:
    """The channels' and the batch's axis (-1: none)."""
    # Of these arguments only the layout can be refused.
    _api.plan(np.empty((1,) * array.ndim), np.empty(1), layout=layout)
    if layout is None:
        axes = array.ndim - 1, 0 if array.ndim >= 4 else -1
    else:
        axes = layout.index("C"), layout.find("N")
    if math.isnan(array.shape[axes[0]]):
        raise ValueError(
            f"array has an unknown number of channels (axis {axes[0]}): "
            "pass array.compute_chunk_sizes()"
        )
    return axes


def as_steps(stride: Any) -> Any:
    """An int or a tuple; what is neither is left to `plan` to refuse."""
    try:
        return operator.index(stride)
    except TypeError:
        return tuple(stride) if isinstance(stride, Iterable) else stride


def refuse_whole(array: da.Array, w: Any, layout: str | None, steps: Any, groups: Any) -> None:
    """Raises what conv would for an image of this shape, where that is about the shape."""
    sizes = tuple(1 if math.isnan(size) else size for size in array.shape)
    if 0 in sizes:
        return
    stand_in = np.broadcast_to(np.empty((), array.dtype), sizes)
    try:
        _api.plan(stand_in, w, layout=layout, stride=steps, groups=groups)
    except ValueError as error:
        if any(math.isnan(size) for size in array.shape):
            error.add_note("Axes of unknown size stand here as 1.")
        raise error from None


def take_pixels(array: da.Array, steps: Any, channel_axis: int, batch_axis: int) -> da.Array:
    """Pixels 0, s, 2s, ... of the whole array, whatever its chunks."""
    spatial = [axis for axis in range(array.ndim) if axis not in (channel_axis, batch_axis)]
    if not isinstance(steps, tuple):
        steps = (steps,) * len(spatial)
    index = [slice(None)] * array.ndim
    for axis, step in zip(spatial, steps, strict=True):
        if operator.index(step) > 1:
            if math.isnan(array.shape[axis]):
                raise ValueError(
                    f"stride {step} along axis {axis} of array, whose chunks have unknown sizes: "
                    "pass array.compute_chunk_sizes()"
                )
            index[axis] = slice(None, None, operator.index(step))
    return array[tuple(index)] if index != [slice(None)] * array.ndim else array


def without_pixels(array: da.Array, axes: Sequence[int], channel_axis: int) -> Any:
    """Of the kind of array's chunks; sizes are 0 but for the channels'."""
    sizes = (
        size if axis == channel_axis else 0 for size, axis in zip(array.shape, axes, strict=True)
    )
    return np.zeros_like(array._meta, shape=tuple(sizes))


def align(residual: Any, chunks: Sequence[tuple[float, ...]]) -> da.Array:
    """As a dask array whose chunks meet those of the result, or span an axis of size 1."""
    if not isinstance(residual, da.Array):
        residual = da.from_array(np.asarray(residual), chunks=-1)
    shape = tuple(sum(sizes) for sizes in chunks)
    wanted = {}
    fits = residual.ndim <= len(shape)
    for axis in range(residual.ndim if fits else 0):
        size, sizes = residual.shape[axis], chunks[len(chunks) - residual.ndim + axis]
        if math.isnan(size) or math.isnan(sum(sizes)):
            # Unknown sizes that do not fit are found when they are computed.
            fits = fits and (size == 1 or residual.numblocks[axis] == len(sizes))
        else:
            fits = fits and size in (1, sum(sizes))
            wanted[axis] = (1,) if size == 1 else sizes
    if not fits:
        raise ValueError(
            f"residual has shape {residual.shape}; expected one that broadcasts to the result's "
            f"{shape}, with as many chunks where sizes are unknown (nan)"
        )
    return residual.rechunk(wanted) if wanted else residual


def make_layer(
    w: Any, bias: Any, layout: str | None, x_dtype: np.dtype[Any], words: dict[str, Any]
) -> Any:
    """The filters as a task of their own: a worker fetches and packs them once."""
    layer = Pointwise(w, bias, layout=layout, x_dtype=x_dtype, **words)
    token = tokenize(layer.weight, layer.bias, layout, str(x_dtype), words)
    return delayed(layer, name=f"c1x1-layer-{token}", traverse=False)


# ---- in a worker ---------------------------------------------------------------------------------


def convolve_chunk(
    chunk: Any, layer: Pointwise, *residual: Any, nodata: float | None, is_listed: bool
) -> NDArray[Any]:
    """One chunk; `is_listed` where dask hands over the list of all chunks along the channels."""
    if is_listed:
        (chunk,) = chunk
    return layer(chunk, residual=residual[0] if residual else None, nodata=nodata, threads=1)
