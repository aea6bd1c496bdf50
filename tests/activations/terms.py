"""Where the polynomials of src/core/kernels/act_real.inc come from; prints their terms.

Needs mpmath. Each is fitted by weighted least squares on Chebyshev nodes, the weights raised where
the error is large until all its peaks are nearly level (Lawson's algorithm). Then terms are rounded
to the dtype one by one, the lowest first, and those left fitted again. Minutes for double.
"""

from __future__ import annotations

import struct

import mpmath as mp

mp.mp.dps = 50


def float32(x):
    return mp.mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def float64(x):
    return mp.mpf(float(x))


def fit(nodes, values, weights, degree, fixed):
    """Least squares over the terms that are not fixed, lowest first."""
    free = [k for k in range(degree + 1) if k not in fixed]
    left, right = mp.matrix(len(free)), mp.matrix(len(free), 1)
    for x, y, w in zip(nodes, values, weights, strict=True):
        rest = y - mp.fsum(c * x**k for k, c in fixed.items())
        for i, k in enumerate(free):
            right[i] += w * x**k * rest
            for j, m in enumerate(free):
                left[i, j] += w * x ** (k + m)
    found = dict(zip(free, mp.lu_solve(left, right), strict=True)) | fixed
    return [found[k] for k in range(degree + 1)]


def terms(function, scale, low, high, degree, rounded, count, rounds):
    """Terms, lowest first, that make the largest error times `scale` small, on `count` nodes."""
    angles = [mp.pi * (k + mp.mpf(1) / 2) / count for k in range(count)]
    nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(angle) for angle in angles]
    values, scales = [function(x) for x in nodes], [scale(x) for x in nodes]
    weights, best = [mp.mpf(1)] * count, (mp.inf,)
    for _ in range(rounds):
        lawson = [w * s * s for w, s in zip(weights, scales, strict=True)]
        found = fit(nodes, values, lawson, degree, {})
        errors = [
            abs(mp.polyval(found[::-1], x) - y) * s
            for x, y, s in zip(nodes, values, scales, strict=True)
        ]
        best = min(best, (max(errors), found, lawson), key=lambda b: b[0])
        top = max(errors)
        weights = [w * (e / top + mp.mpf("1e-3")) for w, e in zip(weights, errors, strict=True)]
    fixed, found = {}, best[1]
    for k in range(degree + 1):
        fixed[k] = rounded(found[k])
        if k < degree:
            found = fit(nodes, values, best[2], degree, fixed)
    return [fixed[k] for k in range(degree + 1)], best[0]


def exp_rest(r):
    """(exp(r) - 1 - r) / r^2"""
    return mp.fsum(r**k / mp.factorial(k + 2) for k in range(30))


def gelu_rest(u):
    """2 * P(t) * (t + 2) - 1 with u = t / (t + 2) - 1/2"""
    t = 2 * (u + 0.5) / (0.5 - u)
    return mp.erfc(t / mp.sqrt(2)) * mp.exp(t * t / 2) * (t + 2) - 1


def gelu_scale(u):
    return 1 / (1 + gelu_rest(u))


def show(name, dtype, found):
    coefficients, error = found
    print(f"{name} {dtype}: error 2^{float(mp.log(error, 2)):.1f}")
    digits = ".9g" if dtype == "float" else ".17g"
    print(", ".join(format(float(c), digits) for c in reversed(coefficients)))


if __name__ == "__main__":
    half = mp.log(2) / 2 * mp.mpf("1.001")
    show("exp_terms", "float", terms(exp_rest, abs, -half, half, 4, float32, 40, 25))
    show("exp_terms", "double", terms(exp_rest, abs, -half, half, 9, float64, 80, 12))
    for dtype, rounded, degree, end, rounds in [
        ("float", float32, 11, "14.5", 20),
        ("double", float64, 28, "38.7", 4),
    ]:
        low = -mp.mpf("0.5")
        high = mp.mpf(end) / (mp.mpf(end) + 2) + low
        found = terms(gelu_rest, gelu_scale, low, high, degree, rounded, 100, rounds)
        show("gelu_terms", dtype, found)
