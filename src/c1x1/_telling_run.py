"""The words of `explain` on how a call runs: the plan and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c1x1 import _core, _in_numpy
from c1x1._call import Call
from c1x1._words import say_bytes, say_count, say_list, say_number, say_seconds

_SOURCES = {
    "in_place": "read where they lie in memory, no copy",
    "pack_block": "copied into cache block by block",
    "pack_panel": "copied into L1 one panel at a time, while the next one is fetched",
    "prepacked": "packed beforehand",
}


def tell_plan(call: Call) -> list[str]:
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
    if plan["chains"] == 1 and 0 < plan["piece"] < plan["k"] and "float" in plan["compute"]:
        chains += f", in pieces of {plan['piece']} channels for accuracy"
    order = (
        "each strip of rows meets all column panels in turn"
        if plan["order"] == "rows_outside"
        else "each column panel meets all strips of rows in turn"
    )
    lines = []
    channels = call.channels // call.groups
    together = min(plan["matrix_kc"] if plan["unit"] else plan["kc"] * plan["factor"], channels)
    if call.is_complex:
        runs = say_count(plan["convolutions"], "real convolution")
        joint = " of twice the filters" if plan["convolutions"] < plan["products"] else ""
        which = "which runs" if plan["convolutions"] == 1 else "of which the last runs"
        lines.append(
            f"  Complex numbers, (a + bi)(c + di) = (ac - bd) + (ad + bc)i: "
            f"{runs}{joint}, {which} so:"
        )
    lines += [
        f"  Kernel: {plan['isa']}, sums in {plan['compute']}; a register tile of {plan['mr']} "
        f"{rows} x {plan['nr']} {columns};",
        f"    {sides[role]}; {chains}.",
        *_tell_unit(plan, pixels_are_columns),
        *(
            f"  The {name} are {_SOURCES[plan[key]]}{_loading(call, name, plan[key])}."
            for key, name in zip(
                "ab", ("weights", "pixels")[:: 1 if pixels_are_columns else -1], strict=True
            )
        ),
        *_tell_finish(call),
        f"  Work: {say_count(plan['blocks'], 'block')} of up to {plan['mc']} {rows} x {plan['nc']} "
        f"{columns}, {together} of {channels} channels at a time;",
        f"    {order}.",
        *_tell_threads(call),
    ]
    return lines + _tell_promises(call)


def _tell_unit(plan: dict[str, Any], pixels_are_columns: bool) -> list[str]:
    if not plan["unit"]:
        return []
    if plan["compute"] == "int32":
        return [
            f"  Bytes are multiplied by {plan['unit']}: all blocks, 32 x 32 at a time, each sum",
            "    exact in int32; the kernel above has nothing left to do.",
        ]
    pieces = [plan["a_pieces"], plan["b_pieces"]]
    x, w = reversed(pieces) if pixels_are_columns else pieces
    return [
        f"  Matrix unit of {plan['unit']}: it multiplies blocks of 32 x 32, each value of x cut",
        f"    into {say_count(x, 'piece')} of bfloat16, each of w into {w}; the kernel above",
        "    computes again what holds NaN, an infinity, or numbers too small for the unit.",
    ]


def _loading(call: Call, name: str, source: str) -> str:
    """What happens to an operand on its way into a copy."""
    if name == "pixels" and call.plan["takes_bytes"]:
        return ", converted in registers"
    if source not in ("pack_block", "pack_panel"):
        return ""
    if name == "pixels" and "lut" in call.given:
        size = call.given["lut"].size * np.dtype(call.plan["compute"]).itemsize
        return (
            f"; on the way the table's entry ({call.plan['compute']}) takes the place of each "
            f"value. The table takes {say_bytes(size)}"
        )
    dtype = call.x.real.dtype if name == "pixels" else call.w.real.dtype
    if call.plan["factor"] > 1:
        return ", their channels in pairs of int16"
    if call.plan["unit"] and call.plan["compute"] == "int32":
        return ", their bytes in the order of the unit's tiles"
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
            lines.append(f"  The kernel adds the {say_list(parts)} itself.")
    elif plan["finisher"] == "tile":
        lines.append(
            f"  Epilogue: {say_list(parts)}, in the tile's registers, before a result is written."
        )
    else:
        where = (
            "in the output, while they are still in L1"
            if plan["finisher"] == "out"
            else "in a small buffer, where the sums of a block wait"
        )
        lines.append(
            f"  Epilogue: {say_list(parts)}, by a kernel of its own, in {plan['finish']}, {where}."
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
            f"    at the block's end {say_number(_in_numpy.fill(call))} is written over their "
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
        f"{say_bytes(plan['thread_bytes'])} of workspace.",
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


def bytes_moved(call: Call) -> int:
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


def tell_cost(call: Call) -> list[str]:
    plan, total = call.plan, bytes_moved(call)
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


def tell_measured(call: Call, found: dict[str, float]) -> list[str]:
    arithmetic, memory = _flops(call) / found["flops"], bytes_moved(call) / found["bytes"]
    roof, what = max((arithmetic, "the arithmetic"), (memory, "memory"))
    return [
        f"  Measured now: {say_seconds(found['seconds'])} a call. At most "
        f"{found['flops'] * 1e-9:.3g} GFLOP/s (the kernel on data in L1) and "
        f"{found['bytes'] * 1e-9:.3g} GB/s (a copy of as many bytes):",
        f"    the sums need {say_seconds(arithmetic)}, the bytes {say_seconds(memory)}. The limit "
        f"is {what}; the call reaches {100 * roof / found['seconds']:.0f} % of it.",
    ]
