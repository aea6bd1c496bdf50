"""The keywords that `dask.conv` and `xarray.conv` hand to `conv` unread."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "groups": 1,
    "dtype": None,
    "scale": None,
    "activation": None,
    "lut": None,
    "nodata": None,
    "precision": "highest",
    "reproducible": False,
}


def given(**values: Any) -> dict[str, Any]:
    """Those that are not at `conv`'s default: a default need not be known to be obeyed."""
    return {name: value for name, value in values.items() if not is_default(name, value)}


def is_default(name: str, value: Any) -> bool:
    """Compares by value only what has one: an array compares by element."""
    default = DEFAULTS[name]
    return value is default or (
        isinstance(default, str) and isinstance(value, str) and value == default
    )
