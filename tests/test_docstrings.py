"""The examples in docstrings, and the README's quick start, run and give what they show."""

from __future__ import annotations

import doctest
import importlib
import operator
import re
from pathlib import Path

import frameworks
import pytest

import c1x1

README = Path(__file__).parents[1] / "README.md"


# Names, and the package that the examples use.
NAMES = {
    "conv": None,
    "conv_vjp": None,
    "Chain": None,
    "Pointwise": None,
    "Pointwise.__call__": None,
    "Pointwise.fold_batchnorm": None,
    "Pointwise.fold_normalization": None,
    "Pointwise.quantize": None,
    "Pointwise.from_torch": "torch",
    "Pointwise.from_keras": "keras",
    "Pointwise.from_onnx": "onnx",
    "Pointwise.from_sklearn": "sklearn",
    "explain": None,
    "info": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    if NAMES[name] is not None:
        frameworks.need(NAMES[name])
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    tests = finder.find(operator.attrgetter(name)(c1x1), name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 0
    for test in tests:
        assert runner.run(test).failed == 0


@pytest.mark.parametrize("name", ["dask", "xarray"])
def test_examples_of_what_is_imported_apart(name):
    pytest.importorskip("dask.array" if name == "dask" else name)
    module = importlib.import_module(f"c1x1.{name}")
    (test,) = doctest.DocTestFinder(recurse=False).find(module.conv, name, module=False, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.skipif(not README.is_file(), reason="the tests lie without the README")
def test_quick_start():
    (code,) = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names = {}
    exec(code, names)
    assert names["y"].shape == (28, 28, 64)
