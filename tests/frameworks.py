"""Imports the libraries behind the doors of Pointwise, or skips the test that asks for one."""

from __future__ import annotations

import importlib.util
import os
import warnings

import pytest

PACKAGES = {"sklearn": "scikit-learn"}


def need(name):
    """The module; a skipped test where its package is missing."""
    if name == "keras" and "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("torch"):
        os.environ["KERAS_BACKEND"] = "torch"
    with warnings.catch_warnings():
        # What a package deprecates in its own imports is not ours to mend.
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            name, reason=f"needs {PACKAGES.get(name, name)}", exc_type=ImportError
        )
