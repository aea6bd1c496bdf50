"""r = |error| / (eps * sum |x||w|) stays within 16, and within 1.25 times NumPy's."""

from __future__ import annotations

import functools
import platform

import numpy as np
import pytest
import reference

import c1x1


def worst_r(got, exact, magnitude, eps):
    return float(np.max(np.abs(got - exact) / (eps * magnitude)))


@functools.cache
def problem(k, n, dtype, data):
    """x, w, their sums in a wider type, those of absolute values, and NumPy's r."""
    # The worst of a few sums is luck: take as many as tell the two orders apart.
    pixels = max(1000, 10**6 // k) if n <= 5 else 200
    rng = np.random.default_rng([k, n])
    x = rng.standard_normal((pixels, k)).astype(dtype)
    w = rng.standard_normal((k, n)).astype(dtype)
    if data == "non-negative":
        x, w = np.abs(x), np.abs(w)
    wide = np.longdouble if dtype == "float64" else np.float64
    exact = x.astype(wide) @ w.astype(wide)
    magnitude = np.abs(x).astype(wide) @ np.abs(w).astype(wide)
    theirs = worst_r(np.tensordot(x, w, 1), exact, magnitude, reference.EPS[dtype])
    return x, w, exact, magnitude, theirs


@pytest.mark.parametrize("data", ["zero-mean", "non-negative"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("k", [64, 320, 4096])
@pytest.mark.parametrize("n", [1, 4, 5, 40])
def test_r(isa, k, n, layout, dtype, data):
    x, w, exact, magnitude, theirs = problem(k, n, dtype, data)
    if layout == "WC":
        got = c1x1.conv(x, w)
    else:
        got = c1x1.conv(np.ascontiguousarray(x.T), np.ascontiguousarray(w.T), layout="CW").T
    ours = worst_r(got, exact, magnitude, reference.EPS[dtype])
    assert ours <= 16
    # The same sums on every CPU; NumPy's of float64 are better on 64-bit ARM (docs/reliability.md).
    is_alike = dtype == "float32" or platform.machine() in ("x86_64", "AMD64")
    assert ours <= (1.25 if is_alike else 1.5) * theirs
