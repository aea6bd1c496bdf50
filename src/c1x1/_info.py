"""Tells what this build is, what this machine offers it, and which choices follow."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from c1x1 import _core


def isa_rows() -> list[tuple[str, str, list[str]]]:
    """The ISAs of this build, best first: name, description, missing CPU features.

    A name that stands for several rows of the registry appears once, with the row that runs here.
    """
    rows: dict[str, tuple[str, str, list[str]]] = {}
    for row in _core.isas():
        known = rows.get(row[0])
        if known is None or (known[2] and not row[2]):
            rows[row[0]] = row
    return list(rows.values())


def lacks(missing: list[str]) -> str:
    """Why an ISA with these missing features cannot run."""
    return f"this CPU, or its operating system, does not offer {' and '.join(missing)}"


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor()


def _why(chosen: str, rows: list[tuple[str, str, list[str]]]) -> str:
    best = next(name for name, _, missing in rows if not missing)
    if chosen in _core.isas_on_request():
        return "named by C1X1_ISA at import"
    if chosen == best:
        return "the best of this build that this CPU runs"
    # The core alone reads the environment, once; that a better one stands idle is proof of a cap.
    return f"capped by C1X1_ISA at import; this CPU also runs {best}"


def info() -> dict[str, Any]:
    """What this build is and how it will run on this machine.

    Returns
    -------
    dict
        Plain values only, so that it can be written as JSON: ``version``, ``python``, ``numpy``,
        ``platform``, ``cpu`` (the model's name), ``cpu_features``, ``isas`` (one dict per ISA of
        this build, best first, with ``name``, ``description``, ``usable`` and, where it is not,
        ``reason``), ``isa`` and ``isa_why``, ``l1_bytes``, ``l2_bytes``, ``threads`` (a call's
        limit now), ``thread_limit`` and ``thread_limit_why`` (the limit found at import),
        ``openmp``, ``compiler``.

    Examples
    --------
    >>> import c1x1
    >>> c1x1.info()["version"] == c1x1.__version__
    True
    """
    from c1x1 import __version__

    machine = _core.machine()
    rows = isa_rows()
    isas = []
    for name, description, missing in rows:
        isa: dict[str, Any] = {"name": name, "description": description, "usable": not missing}
        if missing:
            isa["reason"] = lacks(missing)
        isas.append(isa)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_features": machine["features"],
        "isas": isas,
        "isa": machine["isa"],
        "isa_why": _why(machine["isa"], rows),
        "l1_bytes": machine["l1_bytes"],
        "l2_bytes": machine["l2_bytes"],
        "threads": machine["threads_available"],
        "thread_limit": machine["thread_limit"],
        "thread_limit_why": machine["thread_limit_why"],
        "openmp": machine["openmp"],
        "compiler": machine["compiler"],
    }
