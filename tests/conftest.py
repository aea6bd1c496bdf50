"""Fixtures: seeded data, and every instruction set that this machine runs under the cap."""

from __future__ import annotations

import numpy as np
import pytest

from c1x1 import _core


def runnable_isas():
    """Names from the current ISA (C1X1_ISA caps it) downwards."""
    current = _core.machine()["isa"]
    names = list(dict.fromkeys(name for name, _, missing in _core.isas() if not missing))
    if current in _core.isas_on_request():
        return [current, *names]
    return names[names.index(current) :]


def has_matrix_unit(isa):
    """Whether float32 may have other bits there than everywhere else, unless they are asked for."""
    return isa.endswith("_amx")


def all_isas():
    """Every ISA of this build, and what this CPU lacks for it; the lowest first."""
    current = _core.machine()["isa"]
    rows = {name: missing for name, _, missing in reversed(_core.isas())}
    return rows | {name: [] for name in _core.isas_on_request() if name == current}


ISAS = [
    pytest.param(
        name,
        marks=()
        if name in runnable_isas()
        else pytest.mark.skip(
            reason=f"{name}: this CPU lacks {', '.join(missing)}"
            if missing
            else f"{name}: above C1X1_ISA"
        ),
    )
    for name, missing in all_isas().items()
]


@pytest.fixture(params=ISAS)
def isa(request):
    """Runs the test once for each ISA."""
    before = _core.machine()["isa"]
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture
def without_matrix_unit():
    """The best ISA that has none."""
    before = _core.machine()["isa"]
    _core.select_isa(next(name for name in runnable_isas() if not has_matrix_unit(name)))
    yield
    _core.select_isa(before)


@pytest.fixture
def rng(request):
    """A generator seeded by the test's name."""
    return np.random.default_rng(list(request.node.name.encode()))


def pytest_addoption(parser):
    """Under C1X1_ISA a second run need not repeat what the first ran on every ISA."""
    parser.addoption(
        "--as-dispatched",
        action="store_true",
        help="only tests that compute on the instruction set that c1x1 chooses or C1X1_ISA caps",
    )


def repeats_a_skip(item, seen):
    """Whether a test like this one, skipped for the same missing feature, is kept already."""
    marker = item.get_closest_marker("skip")
    if marker is None or not hasattr(item, "callspec"):
        return False
    key = (item.path, item.originalname, marker.kwargs.get("reason", ""))
    if key in seen:
        return True
    seen.add(key)
    return False


def pytest_collection_modifyitems(config, items):
    """Drops what has the fixture `isa`, where asked to; and of the many parameters of one test that
    would be skipped for one reason all but the first: telling of each takes a minute."""
    seen = set()
    dropped = [
        item
        for item in items
        if (config.getoption("--as-dispatched") and "isa" in getattr(item, "fixturenames", ()))
        or repeats_a_skip(item, seen)
    ]
    config.hook.pytest_deselected(items=dropped)
    gone = set(map(id, dropped))
    items[:] = [item for item in items if id(item) not in gone]


def pytest_report_header():
    """Which ISAs this run covers."""
    lines = [f"c1x1 instruction sets: {', '.join(runnable_isas())}"]
    lines += [f"c1x1 cannot run {name}: missing {', '.join(m)}" for name, _, m in _core.isas() if m]
    return lines
