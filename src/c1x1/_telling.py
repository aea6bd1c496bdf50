"""The words of `explain`: one pixel's numbers, the shapes, the plan and its cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c1x1 import _core, _in_numpy
from c1x1._call import Call, locate, pixel_of_result, position, steps_of_pixel

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
        *_tell_plan(call),
        "",
        "Cost",
        *_tell_cost(call),
    ]
    if is_measured:
        from c1x1 import _limits

        lines += _tell_measured(call, _limits.measure_call(call, _moved(call)))
    lines += ["", "The same in NumPy", *(f"  {line}" for line in _in_numpy.lines(call)), ""]
    return "\n".join(lines)


# ---- how numbers are told ------------------------------------------------------------------------


def _number(value: Any) -> str:
    if isinstance(value, (np.integer, np.bool_, int)):
        return str(int(value))
    if isinstance(value, (complex, np.complexfloating)):
        return f"({value.real:.6g}{value.imag:+.6g}j)"
    return f"{value:.6g}"


def _factor(value: Any) -> str:
    text = _number(value)
    return f"({text})" if text.startswith("-") else text


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


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
        f"{_factor(a)}*{_factor(b)}" for a, b in zip(values[:_SHOWN], weights[:_SHOWN], strict=True)
    ]
    exact = {"i": np.int64, "c": np.complex128}.get(call.sums.kind, np.float64)
    products: NDArray[Any] = values.astype(exact) * weights.astype(exact)
    if terms > _SHOWN:
        rest = _factor(products[_SHOWN:].sum())
        shown.append(f"... ({_count(terms - _SHOWN, 'product')} more, together {rest})")
    return " + ".join(shown) if shown else "0"


def _first(values: NDArray[Any]) -> Any:
    """Of what belongs to the pixel's output channels."""
    return values.ravel()[0]


def _tell_epilogue(call: Call, index: list[int], found: dict[str, NDArray[Any]]) -> list[str]:
    """What follows the sum, step by step."""
    lines = []
    if "scale" in found:
        step, before = [], _factor(_first(found["sum"]))
        words = []
        if "scale" in call.given:
            step.append(f"{before}*{_factor(_first(call.given['scale']))}")
            words.append("times its scale")
        if "bias" in call.given:
            step += [] if step else [before]
            step.append(_factor(_first(call.given["bias"])))
            words.append("plus its bias")
        result = _number(_first(found["scale"]))
        lines.append(f"  {', '.join(words)}: {' + '.join(step)} = {result}")
    if "residual" in found:
        before = _factor(_first(found.get("scale", found["sum"])))
        added = _factor(_first(pixel_of_result(call, "residual", index)))
        result = _number(_first(found["residual"]))
        lines.append(f"  plus the residual there: {before} + {added} = {result}")
    if call.activation is not None:
        result = _number(_first(found["activation"]))
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
    last = _number(_first(found["result"]))
    if call.nodata is not None:
        is_missing = np.isnan(pixel) if math.isnan(call.nodata) else pixel == call.nodata
        if is_missing.any():
            return [
                f"  The pixel's channels are {where}, of which channel {int(is_missing.argmax())} "
                f"is nodata, {_number(call.nodata)}.",
                "  So nothing is known of this pixel, whatever its sums:",
                f"  {result} = {last}, and so are all its output channels.",
            ]
    terms = call.matrix.shape[0]
    values = pixel[:terms]
    group = f" (in group 0, channels 0 to {terms - 1})" if call.groups > 1 else ""
    lines = [f"  The pixel's channels are {where}; the first filter has a weight for each{group}."]
    if call.nodata is not None:
        lines.append(f"  None of them is nodata, {_number(call.nodata)}: the pixel counts.")
    if "lut" in call.given:
        looked_up = _looked_up(call, values)
        pairs = [
            f"{_number(a)} is {_number(b)}"
            for a, b in zip(values[:_SHOWN], looked_up[:_SHOWN], strict=True)
        ]
        more = ", ..." if terms > _SHOWN else ""
        lines.append(f"  The table says what each value stands for: {', '.join(pairs)}{more}.")
        values = looked_up
    lines.append("  Multiply channel by channel and add up:")
    if call.has_epilogue:
        lines.append(f"  sum = {_tell_terms(call, values)} = {_number(_first(found['sum']))}")
        lines += _tell_epilogue(call, index, found)
        lines.append(f"  {result} = {last}{_rounding(call)}")
        return lines
    bias = f" + {_factor(_first(call.given['bias']))} (bias)" if "bias" in call.given else ""
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
        f"  x is {_shape(call.x.shape)} ({', '.join(call.names)}; {call.x.dtype}), "
        f"w is {_shape(call.w.shape)} ({call.w.dtype}), the result is {_shape(call.shape)} "
        f"({call.result}).",
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
    for name in ("bias", "scale"):
        if name in call.given:
            is_one = call.given[name].ndim == 0
            kind = "one number for all output channels" if is_one else "one number per filter"
            lines.append(f"  The {name} is {kind}.")
    if "residual" in call.given:
        shape = call.given["residual"].shape
        spread = "" if shape == call.shape else ", repeated over the rest of the result"
        lines.append(f"  The residual is {_shape(shape)} ({call.given['residual'].dtype}){spread}.")
    if "lut" in call.given:
        whose = "all channels" if call.given["lut"].ndim == 1 else "each channel of its own"
        entries = call.given["lut"].shape[-1]
        lines.append(
            f"  The table has an entry for each of the {entries:,} values of {call.x.dtype}, "
            f"for {whose}."
        )
    return lines


# ---- plan ----------------------------------------------------------------------------------------

_SOURCES = {
    "in_place": "read where they lie in memory, no copy",
    "pack_block": "copied into cache block by block",
    "pack_panel": "copied into L1 one panel at a time, while the next one is fetched",
    "prepacked": "packed beforehand",
}


def _tell_plan(call: Call) -> list[str]:
    plan = call.plan
    role = plan["role"]
    pixels_are_columns = role in ("pixels_n", "small")
    rows, columns = (
        ("output channels", "pixels") if pixels_are_columns else ("pixels", "output channels")
    )
    sides = {
        "pixels_m": "vectors run along the output channels (channels last)",
        "pixels_n": "vectors run along the pixels (channels first)",
        "dot": "vectors run along the input channels (few output channels)",
        "small": "vectors run along the pixels, whose few channels are sorted in registers",
    }
    chains = (
        "one running sum per result"
        if plan["chains"] == 1
        else f"{plan['chains']} running sums per result, added pairwise at the end"
    )
    if plan["chains"] == 1 and 0 < plan["piece"] < plan["k"]:
        chains += f", in pieces of {plan['piece']} channels for accuracy"
    order = (
        "each strip of rows meets all column panels in turn"
        if plan["order"] == "rows_outside"
        else "each column panel meets all strips of rows in turn"
    )
    lines = []
    if call.is_complex:
        lines.append(
            f"  Complex numbers, (a + bi)(c + di) = (ac - bd) + (ad + bc)i: "
            f"{plan['products']} real convolutions, of which the last runs so:"
        )
    lines += [
        f"  Kernel: {plan['isa']}, sums in {plan['compute']}; a register tile of {plan['mr']} "
        f"{rows} x {plan['nr']} {columns};",
        f"    {sides[role]}; {chains}.",
        *(
            f"  The {name} are {_SOURCES[plan[key]]}{_loading(call, name, plan[key])}."
            for key, name in zip(
                "ab", ("weights", "pixels")[:: 1 if pixels_are_columns else -1], strict=True
            )
        ),
        *_tell_finish(call),
        f"  Work: {_count(plan['blocks'], 'block')} of up to {plan['mc']} {rows} x {plan['nc']} "
        f"{columns}, {plan['kc']} of {plan['k']} channels at a time;",
        f"    {order}.",
        *_tell_threads(call),
    ]
    return lines + _tell_promises(call)


def _loading(call: Call, name: str, source: str) -> str:
    """What happens to an operand on its way into a copy."""
    if source not in ("pack_block", "pack_panel"):
        return ""
    if name == "pixels" and "lut" in call.given:
        size = call.given["lut"].size * np.dtype(call.plan["compute"]).itemsize
        return (
            f"; on the way the table's entry ({call.plan['compute']}) takes the place of each "
            f"value. The table takes {_bytes(size)}"
        )
    dtype = call.x.real.dtype if name == "pixels" else call.w.real.dtype
    if dtype != call.plan["compute"]:
        return f", converted on the way from {dtype} to {call.plan['compute']}"
    return ""


def _tell_finish(call: Call) -> list[str]:
    plan = call.plan
    parts: list[str] = [name for name in ("scale", "bias", "residual") if name in call.given]
    if plan["products"] == 4:  # what the last of two adds to the first, which took the residual
        parts = [name for name in parts if name != "residual"] + ["the other product"]
    if call.activation is not None:
        parts.append(call.activation[0])
    lines = []
    if plan["finisher"] == "none":
        if parts:
            lines.append(f"  The kernel adds the {_listed(parts)} itself.")
    elif plan["finisher"] == "tile":
        lines.append(
            f"  Epilogue: {_listed(parts)}, in the tile's registers, before a result is written."
        )
    else:
        where = (
            "in the output, while they are still in L1"
            if plan["finisher"] == "out"
            else "in a small buffer, where the sums of a block wait"
        )
        lines.append(
            f"  Epilogue: {_listed(parts)}, by a kernel of its own, in {plan['finish']}, {where}."
        )
    if plan["is_direct"]:
        lines.append("  Results go straight to the output.")
    else:
        inner, real = plan["finish"], np.empty(0, call.result).real.dtype
        dtype = f"; from {inner} they become {real} there" if inner != real else ""
        lines.append(
            f"  Results pass through a small buffer that gives them dtype and strides{dtype}."
        )
    if call.nodata is not None:
        lines += [
            "  Nodata: before a block is multiplied, its pixels are searched for it and flagged;",
            f"    at the block's end {_number(_in_numpy.fill(call))} is written over their "
            "results.",
        ]
    if plan["overlap"] == "same_pixels":
        lines.append("  out lies over x: all of a block is read before any of it is written.")
    elif plan["overlap"] == "temporary":
        lines.append("  The results come into an array of their own first, and then into out.")
    return lines


def _tell_threads(call: Call) -> list[str]:
    plan, machine = call.plan, _core.machine()
    if plan["thread_limit"] < machine["threads_available"]:
        why = f"threads={call.promises['threads']}"
    elif plan["thread_limit"] < machine["thread_limit"]:
        why = "OpenMP's limit at the moment"
    else:
        why = machine["thread_limit_why"]
    return [
        f"  Threads: {plan['threads']} of at most {plan['thread_limit']} ({why}), each with "
        f"{_bytes(plan['thread_bytes'])} of workspace.",
        "    They share out pixels and filters, never one sum.",
    ]


def _tell_promises(call: Call) -> list[str]:
    lines = []
    asked, given = call.promises["precision"], call.plan["precision"]
    if asked != given:
        lines.append(
            f"  precision={asked!r} would allow less than this kernel gives, which is {given!r}."
        )
    if call.promises["reproducible"]:
        lines.append(
            "  reproducible=True: the order of a sum depends on the channels alone, so its bits do "
            "not depend on",
        )
        lines.append("    threads, blocks, layout, strides or the CPU.")
    return lines


# ---- cost ----------------------------------------------------------------------------------------


def _stored(a: NDArray[Any], taken: Sequence[int]) -> int:
    """Bytes behind that many elements along each axis: a repeated one is there once."""
    sizes = [size if step else 1 for size, step in zip(taken, a.strides, strict=True)]
    return int(np.prod(sizes, dtype=object)) * a.itemsize


def _parts(call: Call) -> dict[str, int]:
    """Bytes that must be read and written, by what they are."""
    taken = [-(-size // step) for size, step in zip(call.x.shape, call.steps, strict=True)]
    given = call.given
    parts = {"x": _stored(call.x, taken), "weights": call.w.nbytes}
    parts["weights"] += sum(given[name].nbytes for name in ("bias", "scale") if name in given)
    if "residual" in given:
        parts["residual"] = _stored(given["residual"], given["residual"].shape)
    if "lut" in given:
        parts["table"] = given["lut"].size * np.dtype(call.plan["compute"]).itemsize
    return parts


def _moved(call: Call) -> int:
    """Bytes that the call must read and write."""
    return sum(_parts(call).values()) + _written(call)


def _written(call: Call) -> int:
    return _results(call) * call.result.itemsize


def _results(call: Call) -> int:
    return int(np.prod(call.shape, dtype=object))


def _macs(call: Call) -> int:
    terms, products = call.matrix.shape[0], int(call.plan["products"])
    return _results(call) * int(terms) * products


def _flops(call: Call) -> int:
    """Operations of the sums."""
    return 2 * _macs(call)


def _tell_cost(call: Call) -> list[str]:
    plan, total = call.plan, _moved(call)
    parts = [f"{count:,} of {name}" for name, count in _parts(call).items()]
    rate = plan["flops_per_cycle"]
    cycles = max(_flops(call) / (rate * plan["threads"]), 1)
    cores = "a core" if plan["threads"] == 1 else f"{plan['threads']} cores"
    return [
        f"  Bytes moved, at least: {total:,} ({', '.join(parts)}, {_written(call):,} written).",
        f"  Multiply-adds: {_macs(call):,}. Arithmetic intensity: "
        f"{_flops(call) / max(total, 1):.3g} operations per byte.",
        f"  Roofline: the kernels do at most {rate:.0f} operations a cycle, which takes {cores} "
        f"{cycles:,.0f} cycles;",
        f"    meanwhile {total / cycles:.3g} bytes must move in each. Where memory gives fewer, "
        "the cores wait for it.",
    ]


def _tell_measured(call: Call, found: dict[str, float]) -> list[str]:
    arithmetic, memory = _flops(call) / found["flops"], _moved(call) / found["bytes"]
    roof, what = max((arithmetic, "the arithmetic"), (memory, "memory"))
    return [
        f"  Measured now: {_seconds(found['seconds'])} a call. At most {found['flops'] * 1e-9:.3g} "
        f"GFLOP/s (the kernel on data in L1) and {found['bytes'] * 1e-9:.3g} GB/s (a copy of as "
        "many bytes):",
        f"    the sums need {_seconds(arithmetic)}, the bytes {_seconds(memory)}. The limit is "
        f"{what}; the call reaches {100 * roof / found['seconds']:.0f} % of it.",
    ]
