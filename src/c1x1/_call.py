"""One call to `conv` as those see it who explain it: the arguments read, and the plan."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from c1x1 import _api, _epilogue, _layout, _operands

_LETTERS = {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}


@dataclass(frozen=True)
class Call:
    """A call that `conv` accepts, with what it made of the arguments."""

    x: NDArray[Any]
    w: NDArray[Any]
    matrix: NDArray[Any]
    """The weights as (C_in / groups, C_out)."""
    given: dict[str, NDArray[Any]]
    """Those of bias, scale, residual and lut that there are."""
    activation: tuple[str, tuple[Any, ...]] | None
    """Name and parameters."""
    nodata: int | float | None
    layout: str | None
    names: list[str]
    channel_axis: int
    batch_axis: int | None
    steps: tuple[int, ...]
    groups: int
    out: NDArray[Any] | None
    dtype: Any
    """As it was asked for."""
    promises: dict[str, Any]
    plan: dict[str, Any]

    @property
    def is_last(self) -> bool:
        return self.channel_axis == self.x.ndim - 1

    @property
    def channels(self) -> int:
        return int(self.x.shape[self.channel_axis])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        shape: tuple[int, ...] = self.plan["shape"]
        return shape

    @property
    def result(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.plan["dtype"])
        return dtype

    @property
    def is_complex(self) -> bool:
        return bool(self.plan["products"] > 1)

    @property
    def values(self) -> np.dtype[Any]:
        """Of what is multiplied by the weights."""
        dtype: np.dtype[Any] = self.given.get("lut", self.x).dtype
        return dtype

    @property
    def computed(self) -> np.dtype[Any]:
        """In what the kernels compute."""
        dtype: np.dtype[Any] = np.dtype(self.plan["compute"])
        return dtype

    @property
    def sums(self) -> np.dtype[Any]:
        """The dtype in which NumPy gives the same: sums of integers are exact in any."""
        if self.is_complex:
            narrow = self.plan["compute"] == "float32"
            return np.dtype(np.complex64 if narrow else np.complex128)
        is_whole = np.result_type(self.values, self.w).kind in "biu"
        return np.dtype(np.int64) if is_whole else self.computed

    @property
    def finish(self) -> np.dtype[Any]:
        """The dtype in which scale, bias, residual and activation follow the sums."""
        if self.is_complex or (self.sums.kind == "i" and not self.is_scaled):
            return self.sums
        return np.dtype(np.float64 if self.sums.kind == "i" else self.plan["finish"])

    @property
    def is_scaled(self) -> bool:
        """Whether integer sums become real numbers."""
        return "scale" in self.given or self.activation is not None

    @property
    def has_epilogue(self) -> bool:
        return self.is_scaled or "residual" in self.given


def read_call(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None,
    *,
    layout: str | None,
    stride: Any,
    groups: Any,
    out: NDArray[Any] | None,
    dtype: Any,
    extras: dict[str, Any],
    promises: dict[str, Any],
) -> Call:
    # The plan first: it makes the checks of `conv` and raises its messages.
    axes = {"layout": layout, "stride": stride, "groups": groups}
    plan = _api.plan(x, w, bias, **axes, **extras, **promises, out=out, dtype=dtype)
    image = _operands.read_array_or_complex(x, "x")
    weights = _operands.read_array_or_complex(w, "w")
    _, _, channel_axis, steps, count, in_axis, out_axis = _layout.read_operands(
        image.real, weights.real, layout, stride, groups
    )
    ndim = image.ndim
    letters = layout or _LETTERS.get(ndim)
    names = list(letters) if letters else ["N", *(f"axis {i}" for i in range(1, ndim - 1)), "C"]
    if out_axis is None:
        matrix = weights.reshape(weights.shape[in_axis], 1)
    else:
        matrix = np.moveaxis(weights, (in_axis, out_axis), (-2, -1)).reshape(
            weights.shape[in_axis], weights.shape[out_axis]
        )
    arrays = {"bias": bias, **{name: extras[name] for name in ("scale", "residual", "lut")}}
    activation = extras["activation"]
    if activation is not None:
        _, parameters = _epilogue.read_activation(activation)
        activation = (activation if isinstance(activation, str) else activation[0], parameters)
    nodata = extras["nodata"]
    return Call(
        image,
        weights,
        matrix,
        {name: np.asarray(value) for name, value in arrays.items() if value is not None},
        activation,
        None if nodata is None else _epilogue.read_number(nodata),
        layout,
        names,
        channel_axis,
        names.index("N") if "N" in names else None,
        steps,
        count,
        out,
        dtype,
        promises,
        plan,
    )


# ---- one pixel -----------------------------------------------------------------------------------


def locate(call: Call, pixel: int | Sequence[int]) -> list[int]:
    """The index of the pixel on every axis of x but the channels', in the result's pixels."""
    axes = [axis for axis in range(call.x.ndim) if axis != call.channel_axis]
    spatial = [axis for axis in axes if axis != call.batch_axis]
    asked = list(pixel) if isinstance(pixel, Sequence) else np.atleast_1d(pixel).tolist()
    try:
        index = [operator.index(i) for i in asked]
    except TypeError:
        raise TypeError(f"pixel must be an int or one int per axis, not {pixel!r}") from None
    if not any(index):
        index = [0] * len(axes)
    elif len(index) == len(spatial) and call.batch_axis is not None:
        index.insert(axes.index(call.batch_axis), 0)
    if len(index) != len(axes):
        count = f"{len(asked)} {'index' if len(asked) == 1 else 'indices'}"
        raise ValueError(
            f"pixel {tuple(asked)} has {count}; "
            f"expected one for each of {', '.join(call.names[axis] for axis in spatial)}"
        )
    sizes = call.shape if call.w.ndim == 1 else [call.shape[axis] for axis in axes]
    for i, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        if not -size <= index[i] < size:
            raise ValueError(
                f"pixel {tuple(asked)} is outside the result: on axis {call.names[axis]} its index "
                f"must be 0 to {size - 1}, not {index[i]}"
            )
        index[i] %= size
    return index


def position(call: Call, index: list[int]) -> list[int | slice]:
    """Where in x the channels of the result's pixel `index` are."""
    steps = [step for axis, step in enumerate(call.steps) if axis != call.channel_axis]
    place: list[int | slice] = [i * step for i, step in zip(index, steps, strict=True)]
    place.insert(call.channel_axis, slice(None))
    return place


def pixel_of_result(call: Call, name: str, index: list[int]) -> NDArray[Any]:
    """Of the residual or `out`: what belongs to that pixel, with axes of size 1."""
    whole = call.out if name == "out" else np.broadcast_to(call.given[name], call.shape)
    assert whole is not None
    window: list[slice] = [slice(i, i + 1) for i in index]
    if call.w.ndim > 1:
        window.insert(call.channel_axis, slice(None))
    return whole[tuple(window)]


def steps_of_pixel(call: Call, index: list[int]) -> dict[str, NDArray[Any]]:
    """What `conv` itself makes of that pixel, after each step that there is; "result" is the last.

    Intermediate results are asked for in the dtype that they have on their way.
    """
    window = tuple(slice(p, p + 1) if isinstance(p, int) else p for p in position(call, index))
    x = call.x[window]
    options: dict[str, Any] = {"layout": call.layout, "groups": call.groups}
    if "lut" in call.given:
        options["lut"] = call.given["lut"]
    found = {}
    bias = None
    if call.has_epilogue:
        found["sum"] = _api.conv(x, call.w, dtype=call.sums, **options)
        bias = call.given.get("bias")
        if "scale" in call.given:
            options["scale"] = call.given["scale"]
        if bias is not None or "scale" in call.given:
            found["scale"] = _api.conv(x, call.w, bias, dtype=call.finish, **options)
        if "residual" in call.given:
            options["residual"] = pixel_of_result(call, "residual", index)
            found["residual"] = _api.conv(x, call.w, bias, dtype=call.finish, **options)
        if call.activation is not None:
            options["activation"] = (call.activation[0], *call.activation[1])
            found["activation"] = _api.conv(x, call.w, bias, dtype=call.finish, **options)
    if call.nodata is not None:
        options["nodata"] = call.nodata
    if call.out is not None:
        options["out"] = np.empty(pixel_of_result(call, "out", index).shape, call.out.dtype)
    found["result"] = _api.conv(x, call.w, call.given.get("bias"), dtype=call.dtype, **options)
    return found
