"""The examples in docstrings, and the README's quick start, run and give what they show."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import c1x1

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", ["conv", "conv_vjp", "Pointwise", "explain", "info"])
def test_examples(name):
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    tests = finder.find(getattr(c1x1, name), name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 0
    for test in tests:
        assert runner.run(test).failed == 0


@pytest.mark.skipif(not README.is_file(), reason="the tests lie without the README")
def test_quick_start():
    (code,) = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names = {}
    exec(code, names)
    assert names["y"].shape == (28, 28, 64)
