"""A call to `conv` as lines of NumPy, for `explain`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from c1x1 import _epilogue
from c1x1._call import Call

# Of y; {0} and {1} are the parameters.
FORMULAS = {
    "relu": "np.maximum(y, 0)",
    "relu6": "np.clip(y, 0, 6)",
    "sigmoid": "1 / (1 + np.exp(-y))",
    "tanh": "np.tanh(y)",
    "silu": "y / (1 + np.exp(-y))",
    "hardswish": "y * np.clip(y + 3, 0, 6) / 6",
    "hardsigmoid": "np.clip(y + 3, 0, 6) / 6",
    "gelu": "y / 2 * (1 + np.vectorize(math.erf)(y / 2**0.5))",
    "gelu_tanh": "y / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (y + 0.044715 * y**3)))",
    "elu": "np.where(y > 0, y, {0} * np.expm1(np.minimum(y, 0)))",
    "leaky_relu": "np.where(y > 0, y, {0} * y)",
    "clip": "np.clip(y, {0}, {1})",
    "prelu": "np.where(y > 0, y, {0} * y)",
}


def literal(value: float) -> str:
    """A number as it stands in a line of NumPy."""
    if isinstance(value, int) or math.isfinite(value):
        return repr(value)
    return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"


def formula(call: Call) -> str:
    """The activation, of y."""
    assert call.activation is not None
    name, parameters = call.activation
    texts = [
        literal(value) if isinstance(value, float) else per_channel(call, "activation[1]")
        for value in parameters
    ]
    return FORMULAS[name].format(*texts)


def per_channel(call: Call, name: str) -> str:
    """One value per output channel, or one for all, so that it meets the result's channels."""
    behind = call.x.ndim - 1 - call.channel_axis
    target = "()" if call.w.ndim == 1 else f"(-1{', 1' * behind})" if behind else "-1"
    return f"np.reshape({name}, {target})"


def _taken(call: Call) -> str:
    """Which pixels a stride takes, as an index; empty where it takes all."""
    if all(step == 1 for step in call.steps):
        return ""
    return f"[{', '.join(':' if step == 1 else f'::{step}' for step in call.steps)}]"


def _looked_up(call: Call) -> str:
    """x through the table."""
    lowest = int(np.iinfo(call.x.dtype).min)
    index = "x" if lowest == 0 else f"x.astype(np.int64) + {-lowest}"
    if call.given["lut"].ndim == 1:
        return f"v = lut[{index}]"
    behind = call.x.ndim - 1 - call.channel_axis
    rows = f"np.arange({call.channels})"
    if behind:
        rows += f".reshape(-1{', 1' * behind})"
    return f"v = lut[{rows}, {index}]"


def _tensordot(call: Call) -> str:
    x, w = ("v" if "lut" in call.given else "x") + _taken(call), "w"
    if np.result_type(call.values, call.w) != call.sums:
        x, w = f"{x}.astype(np.{call.sums})", f"{w}.astype(np.{call.sums})"
    terms, filters = call.matrix.shape
    shape = (terms, filters) if call.is_last else (filters, terms)
    if call.w.ndim > 1 and call.w.shape != shape:
        w += f".reshape({shape})"
    axis = -1 if call.is_last else call.channel_axis
    in_axis = 1 if call.w.ndim > 1 and not call.is_last else 0
    if call.groups > 1:
        product = (
            f"np.concatenate([np.tensordot(a, b, axes=([{axis}], [{in_axis}])) for a, b in "
            f"zip(np.split({x}, {call.groups}, axis={axis}), "
            f"np.split({w}, {call.groups}, axis={1 - in_axis}))], axis=-1)"
        )
    else:
        product = f"np.tensordot({x}, {w}, axes=([{axis}], [{in_axis}]))"
    if call.w.ndim > 1 and not call.is_last:
        product = f"np.moveaxis({product}, -1, {axis})"
    return product


def _cast(value: np.dtype[Any], to: np.dtype[Any]) -> str:
    """What makes a result of y: rounded half to even and kept in range where it is an integer."""
    y = "y"
    if to.kind in "iu" and value.kind in "iu":
        low, high = np.iinfo(to), np.iinfo(value)
        y = f"y.clip({max(low.min, high.min)}, {min(low.max, high.max)})"
    elif to.kind in "iu" and value.kind == "f":
        limits = np.iinfo(to)
        y = f"np.clip(np.rint(y), {limits.min}, {limits.max})"
    name = f"np.{to.name}" if hasattr(np, to.name) else repr(to.name)
    return f"y = {y}.astype({name})"


def lines(call: Call) -> list[str]:
    """Statements that leave the result in `y` (or in `out`), given the call's arguments."""
    found = [_looked_up(call)] if "lut" in call.given else []
    sums, value = _tensordot(call), call.sums
    if value != call.finish:
        sums, value = f"{sums}.astype(np.{call.finish})", call.finish
    for name, sign in (("scale", "*"), ("bias", "+")):
        if name in call.given:
            sums += f" {sign} {per_channel(call, name)}"
            value = np.result_type(value, call.given[name])
    found.append(f"y = {sums}")
    if "residual" in call.given:
        found.append("y = y + residual")
        value = np.result_type(value, call.given["residual"])
    if call.activation is not None:
        found.append(f"y = {formula(call)}")
        if call.activation[0] == "gelu":
            value = np.dtype(np.float64)  # np.vectorize gives Python's floats
        for parameter in call.activation[1]:
            if not isinstance(parameter, float):
                value = np.result_type(value, np.asarray(parameter))
    if value != call.result:
        found.append(_cast(value, call.result))
    if call.nodata is not None:
        found.append(_filled(call))
    if call.out is not None:
        found.append("out[...] = y")
    return found


def _filled(call: Call) -> str:
    """Pixels without data."""
    assert call.nodata is not None
    x = f"x{_taken(call)}"
    test = f"np.isnan({x})" if math.isnan(call.nodata) else f"{x} == {literal(call.nodata)}"
    axis = -1 if call.is_last else call.channel_axis
    kept = "" if call.w.ndim == 1 else ", keepdims=True"
    return f"y = np.where(({test}).any(axis={axis}{kept}), {literal(fill(call))}, y)"


def fill(call: Call) -> int | float:
    """What stands in the result of a pixel without data."""
    _, value = _epilogue.read_nodata(call.nodata, call.x.dtype, call.result)
    number: int | float = np.frombuffer(value, call.result)[0].item()
    return number
