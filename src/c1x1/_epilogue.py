"""What activations, look-up tables and nodata values mean: names, lengths, and their messages."""

from __future__ import annotations

import math
import operator
import struct
import sys
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from c1x1 import _core

if TYPE_CHECKING:  # a third of the time that c1x1 would take to import
    from numpy.typing import NDArray

ACTIVATIONS: dict[str, tuple[int, int]] = {
    name: (code, count) for code, (name, count) in enumerate(_core.activations()) if code > 0
}
"""Name to code and number of parameters."""

_DEFAULTS = {"elu": (1.0,), "leaky_relu": (0.01,)}
_USES = {
    "leaky_relu": "('leaky_relu', slope)",
    "elu": "'elu' or ('elu', alpha)",
    "clip": "('clip', lo, hi)",
    "prelu": "('prelu', slopes), a slope for each output channel",
}


def _names() -> str:
    return ", ".join(
        _USES.get(name, repr(name)) if count else repr(name)
        for name, (_, count) in ACTIVATIONS.items()
    )


def read_activation(activation: object) -> tuple[int, tuple[Any, ...]]:
    """Code and parameters of `activation`: a name, or a tuple of a name and its parameters."""
    parts = activation if isinstance(activation, tuple) else (activation,)
    if not parts or not isinstance(parts[0], str):
        raise TypeError(
            f"activation must be a name or a tuple that begins with one, not {activation!r}; "
            f"expected one of {_names()}"
        )
    name, given = parts[0], parts[1:]
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; expected one of {_names()}")
    code, count = ACTIVATIONS[name]
    if not given:
        given = _DEFAULTS.get(name, ())
    if len(given) != count:
        raise ValueError(
            f"activation {name!r} takes {count} parameter{'' if count == 1 else 's'}, "
            f"not {len(given)}" + (f": pass {_USES[name]}" if count else f": pass {name!r}")
        )
    if name == "clip":
        given = _read_bounds(given)
    elif name != "prelu":
        given = tuple(_read_number(name, value) for value in given)
    return code, given


def _read_number(name: str, value: Any) -> float:
    if type(value) not in (int, float):  # which take no time
        if np.ndim(value) != 0:
            raise ValueError(f"activation {name!r} takes a number, not {value!r}")
        if isinstance(value, (str, bytes)):
            raise TypeError(f"activation {name!r} takes a number, not {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"activation {name!r} takes a number, not {value!r}") from None


def _read_bounds(given: tuple[Any, ...]) -> tuple[float, float]:
    low = -np.inf if given[0] is None else _read_number("clip", given[0])
    high = np.inf if given[1] is None else _read_number("clip", given[1])
    if low != low or high != high:
        raise ValueError(f"activation ('clip', {low:g}, {high:g}): a bound is not a number")
    if not low <= high:
        raise ValueError(
            f"activation ('clip', {low:g}, {high:g}): the lower bound is above the upper"
        )
    return low, high


def check_table(table: NDArray[Any], x_dtype: np.dtype[Any], channels: int) -> None:
    """Whether `table` answers for every value and channel of x."""
    if x_dtype.kind not in "iu" or x_dtype.itemsize > 2:
        raise TypeError(
            f"lut is for x of dtype int8, uint8, int16 or uint16, not {x_dtype}: "
            "pass x.astype(np.uint16), or apply the function to x beforehand"
        )
    entries = 1 << 8 * x_dtype.itemsize
    if table.shape not in ((entries,), (channels, entries)):
        raise ValueError(
            f"lut has shape {table.shape}; expected ({entries},), an entry for each value of "
            f"{x_dtype}, or ({channels}, {entries}), a row for each channel of x"
        )


def read_number(nodata: object) -> Any:
    """The value of `nodata`, an int where it is whole by its type."""
    if np.ndim(cast(Any, nodata)) != 0 or isinstance(nodata, (str, bytes, np.ma.MaskedArray)):
        raise TypeError(f"nodata must be a number, not {nodata!r}")
    try:
        return operator.index(cast(Any, nodata))
    except TypeError:
        pass
    try:
        return float(cast(Any, nodata))
    except (TypeError, ValueError):
        raise TypeError(f"nodata must be a number, not {nodata!r}") from None


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _element(dtype: np.dtype[Any], value: Any) -> bytes | None:
    """The value as an element, or a float close to it; None where the dtype has none."""
    try:
        is_finite = math.isfinite(value)
        if dtype.char in "efd":  # NumPy's and struct's letters for IEEE floats
            return struct.pack("=" + dtype.char, float(value))
        if _is_float(dtype):
            with np.errstate(all="ignore"):
                kept = np.array(value, np.float64).astype(dtype)
            return None if is_finite and not np.isfinite(kept) else kept.tobytes()
        if not is_finite or value != int(value) or (dtype.kind == "b" and value not in (0, 1)):
            return None
        return int(value).to_bytes(dtype.itemsize, sys.byteorder, signed=dtype.kind == "i")
    except OverflowError:
        return None


def read_nodata(
    nodata: object, x_dtype: np.dtype[Any], out_dtype: np.dtype[Any]
) -> tuple[bytes, bytes]:
    """The element to look for in x, and the one to write instead of a result."""
    value = read_number(nodata)
    wanted, fill = _element(x_dtype, value), _element(out_dtype, value)
    if wanted is None:
        raise ValueError(
            f"nodata={nodata!r} is a value that no element of x can equal: x is {x_dtype}"
        )
    if fill is None and _is_float(out_dtype):
        fill = _element(out_dtype, math.nan)
    if fill is None:
        raise ValueError(
            f"nodata={nodata!r} is a value that a result of {out_dtype} cannot hold, "
            "nor can it hold NaN: pass dtype=np.float32"
        )
    return wanted, fill
