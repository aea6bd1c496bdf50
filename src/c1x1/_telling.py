"""The words of `explain`, but for the plan and its cost: one pixel's numbers and the shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c1x1 import _in_numpy, _telling_run
from c1x1._call import Call, locate, pixel_of_result, position, steps_of_pixel
from c1x1._words import say_count, say_factor, say_number, say_shape

_SHOWN = 4


def tell(call: Call, pixel: int | Sequence[int], is_measured: bool) -> str:
    """The whole explanation."""
    index = locate(call, pixel)
    lines = [
        "A 1x1 convolution: at every pixel, a weighted sum of that pixel's channels, once per "
        "filter.",
        "",
        *_tell_pixel(call, index),
        "",
        "Shapes",
        *_tell_shapes(call),
        "",
        "Plan",
        *_telling_run.tell_plan(call),
        "",
        "Cost",
        *_telling_run.tell_cost(call),
    ]
    if is_measured:
        from c1x1 import _limits

        found = _limits.measure_call(call, _telling_run.bytes_moved(call))
        lines += _telling_run.tell_measured(call, found)
    lines += ["", "The same in NumPy", *(f"  {line}" for line in _in_numpy.lines(call)), ""]
    return "\n".join(lines)


# ---- one pixel -----------------------------------------------------------------------------------


def _looked_up(call: Call, pixel: NDArray[Any]) -> NDArray[Any]:
    """What the table makes of the first group's channels."""
    table = call.given["lut"]
    entries = pixel.astype(np.int64) - int(np.iinfo(pixel.dtype).min)
    found: NDArray[Any] = table[entries] if table.ndim == 1 else table[range(len(entries)), entries]
    return found


def _tell_terms(call: Call, values: NDArray[Any]) -> str:
    """The sum of the first filter."""
    terms, weights = len(values), call.matrix[:, 0]
    shown = [
        f"{say_factor(a)}*{say_factor(b)}"
        for a, b in zip(values[:_SHOWN], weights[:_SHOWN], strict=True)
    ]
    exact = {"i": np.int64, "c": np.complex128}.get(call.sums.kind, np.float64)
    products: NDArray[Any] = values.astype(exact) * weights.astype(exact)
    if terms > _SHOWN:
        rest = say_factor(products[_SHOWN:].sum())
        shown.append(f"... ({say_count(terms - _SHOWN, 'product')} more, together {rest})")
    return " + ".join(shown) if shown else "0"


def _first(values: NDArray[Any]) -> Any:
    """Of what belongs to the pixel's output channels."""
    return values.ravel()[0]


def _tell_epilogue(call: Call, index: list[int], found: dict[str, NDArray[Any]]) -> list[str]:
    """What follows the sum, step by step."""
    lines = []
    if "scale" in found:
        step, before = [], say_factor(_first(found["sum"]))
        words = []
        if "scale" in call.given:
            step.append(f"{before}*{say_factor(_first(call.given['scale']))}")
            words.append("times its scale")
        if "bias" in call.given:
            step += [] if step else [before]
            step.append(say_factor(_first(call.given["bias"])))
            words.append("plus its bias")
        result = say_number(_first(found["scale"]))
        lines.append(f"  {', '.join(words)}: {' + '.join(step)} = {result}")
    if "residual" in found:
        before = say_factor(_first(found.get("scale", found["sum"])))
        added = say_factor(_first(pixel_of_result(call, "residual", index)))
        result = say_number(_first(found["residual"]))
        lines.append(f"  plus the residual there: {before} + {added} = {result}")
    if call.activation is not None:
        result = say_number(_first(found["activation"]))
        lines.append(f"  {call.activation[0]}: {_in_numpy.formula(call)} = {result}")
    return lines


def _tell_pixel(call: Call, index: list[int]) -> list[str]:
    place = position(call, index)
    pixel = call.x[tuple(place)]
    where = f"x[{', '.join(str(p) if isinstance(p, int) else ':' for p in place)}]"
    out_index: list[int | str] = list(index)
    if call.w.ndim > 1:
        out_index.insert(call.channel_axis, 0)
    result = f"y[{', '.join(map(str, out_index))}]"
    found = steps_of_pixel(call, index)
    last = say_number(_first(found["result"]))
    if call.nodata is not None:
        is_missing = np.isnan(pixel) if math.isnan(call.nodata) else pixel == call.nodata
        if is_missing.any():
            return [
                f"  The pixel's channels are {where}, of which channel {int(is_missing.argmax())} "
                f"is nodata, {say_number(call.nodata)}.",
                "  So nothing is known of this pixel, whatever its sums:",
                f"  {result} = {last}, and so are all its output channels.",
            ]
    terms = call.matrix.shape[0]
    values = pixel[:terms]
    group = f" (in group 0, channels 0 to {terms - 1})" if call.groups > 1 else ""
    lines = [f"  The pixel's channels are {where}; the first filter has a weight for each{group}."]
    if call.nodata is not None:
        lines.append(f"  None of them is nodata, {say_number(call.nodata)}: the pixel counts.")
    if "lut" in call.given:
        looked_up = _looked_up(call, values)
        pairs = [
            f"{say_number(a)} is {say_number(b)}"
            for a, b in zip(values[:_SHOWN], looked_up[:_SHOWN], strict=True)
        ]
        more = ", ..." if terms > _SHOWN else ""
        lines.append(f"  The table says what each value stands for: {', '.join(pairs)}{more}.")
        values = looked_up
    lines.append("  Multiply channel by channel and add up:")
    if call.has_epilogue:
        lines.append(f"  sum = {_tell_terms(call, values)} = {say_number(_first(found['sum']))}")
        lines += _tell_epilogue(call, index, found)
        lines.append(f"  {result} = {last}{_rounding(call)}")
        return lines
    bias = f" + {say_factor(_first(call.given['bias']))} (bias)" if "bias" in call.given else ""
    lines.append(f"  {result} = {_tell_terms(call, values)}{bias} = {last}{_rounding(call)}")
    return lines


def _rounding(call: Call) -> str:
    """How a result becomes narrower than what it was computed in."""
    if call.result == call.finish or call.result.kind == "b":
        return ""
    if call.result.kind in "iu":
        limits = np.iinfo(call.result)
        if call.result.itemsize >= call.finish.itemsize and call.finish.kind != "f":
            return ""
        how = "rounded half to even and " if call.finish.kind == "f" else ""
        return f" ({call.result}: {how}kept within {limits.min} to {limits.max})"
    narrows = call.result.itemsize < call.finish.itemsize
    return f" (rounded to {call.result})" if narrows else ""


# ---- shapes --------------------------------------------------------------------------------------


def _tell_shapes(call: Call) -> list[str]:
    terms, filters = call.matrix.shape
    lines = [
        f"  x is {say_shape(call.x.shape)} ({', '.join(call.names)}; {call.x.dtype}), "
        f"w is {say_shape(call.w.shape)} ({call.w.dtype}), the result is {say_shape(call.shape)} "
        f"({call.result}).",
        f"  x * w alone does not shrink anything: it makes {say_count(terms, 'product')} per pixel "
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
            f"{say_count(filters, 'filter')}, {say_count(filters, 'output channel')}."
        )
    if call.groups > 1:
        lines.append(
            f"  In {call.groups} groups: each filter sees only its group's "
            f"{say_count(terms, 'channel')} of the {call.channels}."
        )
    if any(step > 1 for step in call.steps):
        taken = ", ".join(
            f"every {step} along {name}"
            for step, name in zip(call.steps, call.names, strict=True)
            if step > 1
        )
        lines.append(f"  The stride takes pixel 0 and then {taken}; the others are never read.")
    for name in ("bias", "scale"):
        if name in call.given:
            is_one = call.given[name].ndim == 0
            kind = "one number for all output channels" if is_one else "one number per filter"
            lines.append(f"  The {name} is {kind}.")
    if "residual" in call.given:
        shape = call.given["residual"].shape
        spread = "" if shape == call.shape else ", repeated over the rest of the result"
        lines.append(
            f"  The residual is {say_shape(shape)} ({call.given['residual'].dtype}){spread}."
        )
    if "lut" in call.given:
        whose = "all channels" if call.given["lut"].ndim == 1 else "each channel of its own"
        entries = call.given["lut"].shape[-1]
        lines.append(
            f"  The table has an entry for each of the {entries:,} values of {call.x.dtype}, "
            f"for {whose}."
        )
    return lines
