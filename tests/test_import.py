"""`import c1x1` brings little beside NumPy; other names are imported when they are asked for."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import c1x1


def run(code):
    """What Python code prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(code):
    """Modules that `code` imports, beside those that NumPy does."""
    before = "import sys, json, numpy\nknown = set(sys.modules)\n"
    return set(
        json.loads(run(before + code + "\nprint(json.dumps(list(set(sys.modules) - known)))"))
    )


def test_import_brings_nothing_but_the_calls():
    """pathlib, numpy.typing and their like took two thirds of the time."""
    modules = imported("import c1x1")
    ours = {"_core", "_operands", "_layout", "_epilogue", "_results", "_api", "_pointwise"}
    others = {name for name in modules if not name.startswith(("c1x1", "_cython", "cython"))}
    assert {name for name in modules if name.startswith("c1x1.")} == {f"c1x1.{n}" for n in ours}
    assert others <= {"__future__"}


def test_a_call_imports_nothing_more():
    """So that the first call is as quick as the next."""
    call = "import c1x1\nc1x1.conv(numpy.ones((4, 4, 3)), numpy.ones((3, 2)), activation='relu')"
    assert imported(call) == imported("import c1x1")


@pytest.mark.parametrize("name", sorted(c1x1.__all__))
def test_every_public_name_is_there_when_asked_for(name):
    kind = type(getattr(c1x1, name)).__name__
    for code in (f"import c1x1; value = c1x1.{name}", f"from c1x1 import {name} as value"):
        assert run(f"{code}; print(type(value).__name__)").strip() == kind
    assert name in run("from c1x1 import *; print(*dir())").split()


def test_dir_has_every_public_name_from_the_start():
    assert set(c1x1.__all__) <= set(run("import c1x1; print(*dir(c1x1))").split())


def test_other_names_are_refused():
    with pytest.raises(
        AttributeError, match=r"^module 'c1x1' has no attribute 'convolve'$"
    ) as info:
        c1x1.convolve  # noqa: B018
    assert info.value.name == "convolve"
    told = run("import c1x1\ntry: c1x1.dask\nexcept AttributeError as error: print(error)")
    assert told == "module 'c1x1' has no attribute 'dask': import c1x1.dask first\n"


def test_a_pickled_chain_loads_where_nothing_was_imported():
    layer = c1x1.Pointwise(np.ones((3, 2), np.float32))
    data = pickle.dumps([c1x1.Chain([layer]), c1x1.conv, c1x1.explain])
    told = run(f"import pickle; print([type(v).__name__ for v in pickle.loads({data!r})][0])")
    assert told == "Chain\n"
