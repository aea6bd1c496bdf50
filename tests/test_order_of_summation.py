"""The same bits from every ISA, thread count, layout, alignment, batch, tiling and entry point."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
from conftest import has_matrix_unit, runnable_isas

import c1x1
from c1x1 import _core

# C_in, C_out: one chain; sixteen chains; pieces; pieces and k blocks; tails of all
CHANNELS = [
    (3, 3),
    (15, 4),
    (16, 4),
    (100, 1),
    (192, 3),
    (64, 5),
    (161, 24),
    (500, 33),
    (1100, 6),
    (2500, 2),
]


def digest(y):
    return hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()


def variants(x, w, bias, **promise):
    """Calls that all state the same convolution of x (H, W, C_in); results as (H, W, C_out)."""
    conv = functools.partial(c1x1.conv, **promise)
    h, width, c_in = x.shape
    first = np.ascontiguousarray(x.transpose(2, 0, 1))
    w_first = np.ascontiguousarray(w.T)
    shifted = np.empty(x.size + 16, x.dtype)
    yield conv(x, w, bias)
    yield conv(x, np.asfortranarray(w), bias)
    yield conv(first, w_first, bias, layout="CHW").transpose(1, 2, 0)
    yield conv(first.transpose(1, 2, 0), w, bias)
    yield conv(np.asfortranarray(x), w, bias)
    yield conv(x[:, ::-1], w, bias)[:, ::-1]
    yield c1x1.Pointwise(w, bias, **promise)(x)
    yield c1x1.Pointwise(w_first, bias, layout="CHW", **promise)(first).transpose(1, 2, 0)
    yield conv(np.repeat(x, 2, axis=0), w, bias, stride=(2, 1))
    yield np.concatenate([conv(x[i : i + 1], w, bias) for i in range(h)])
    yield np.stack([[conv(x[i, j], w, bias) for j in range(width)] for i in range(h)])
    yield conv(np.stack([x, x[::-1]]), w, bias, layout="NHWC")[0]
    yield conv(x, w, bias, out=np.empty((h, width, w.shape[1] + 3), x.dtype)[..., 1:-2])
    for offset in (1, 3, 8):
        view = shifted[offset : offset + x.size].reshape(x.shape)
        view[...] = x
        yield conv(view, w, bias)
    for threads in (1, 2, 3, 4, 5, 7, 8, 16):
        yield conv(x, w, bias, threads=threads)
    if c_in == w.shape[1]:
        copy = x.copy()
        yield conv(copy, w, bias, out=copy)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
def test_same_bits_everywhere(c_in, c_out, dtype, rng):
    x = rng.standard_normal((7, 11, c_in)).astype(dtype)
    w = rng.standard_normal((c_in, c_out)).astype(dtype)
    bias = rng.standard_normal(c_out).astype(dtype)
    before = _core.machine()["isa"]
    digests = set()
    try:
        for isa in runnable_isas():
            _core.select_isa(isa)
            promise = {"reproducible": True} if has_matrix_unit(isa) else {}
            digests |= {digest(y) for y in variants(x, w, bias, **promise)}
    finally:
        _core.select_isa(before)
    assert len(digests) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("c_in", "c_out"), [(64, 1), (40, 3), (12, 4), (32, 16)])
def test_same_bits_wherever_planes_begin(isa, c_in, c_out, dtype, rng):
    """Large ones are read from a cache line on, and what is before it first."""
    size = np.dtype(dtype).itemsize
    pixels = (400 << 10) // (c_in * size) // 16 * 16
    w = rng.standard_normal((c_out, c_in)).astype(dtype)
    values = rng.standard_normal((3, c_in, pixels)).astype(dtype)
    memory = np.empty(values.size + 32, dtype)
    results = []
    for first in (0, 1, 3, 64 // size - 1):
        first -= memory.ctypes.data % 64 // size
        x = memory[first + 16 :][: values.size].reshape(values.shape)
        x[...] = values
        results += [
            c1x1.conv(x, w, layout="NCW", threads=threads, reproducible=True) for threads in (1, 2)
        ]
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])
    sums = np.einsum("oi,nip->nop", w.astype("f8"), values.astype("f8"))
    bound = c_in * np.finfo(dtype).eps * np.einsum("oi,nip->nop", abs(w), abs(values)) + 1e-300
    assert np.all(abs(results[0] - sums) <= bound)


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
def test_the_order_is_the_documented_one(isa, c_in, c_out, rng):
    """Rounding by rounding, with a fused multiply-add emulated in extended precision.

    Twelve-bit operands make every product and partial sum exact before its one rounding.
    """
    if "FMA" not in _core.machine()["features"]:
        pytest.skip("needs FMA")
    x = (rng.integers(1, 1 << 12, (2, c_in)) * 2.0 ** rng.integers(-4, 4, (2, c_in))).astype(
        np.float32
    )
    w = (
        rng.integers(1, 1 << 11, (c_in, c_out)) * 2.0 ** rng.integers(-4, 4, (c_in, c_out))
    ).astype(np.float32)

    def chain(channels):
        total = np.zeros((2, c_out), np.float32)
        for c in channels:
            total = (x[:, c : c + 1].astype(np.float64) * w[c] + total).astype(np.float32)
        return total

    if c_out <= 4 and c_in >= 16:
        sums = [chain(range(first, c_in, 16)) for first in range(16)]
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [a + b for a, b in zip(sums[:half], sums[half:], strict=True)]
        want = sums[0]
    else:
        pieces = -(-c_in // 160)
        length = -(-c_in // pieces)
        parts = [chain(range(p, min(p + length, c_in))) for p in range(0, c_in, length)]
        want = parts[0]
        for part in parts[1:]:
            want = want + part
    np.testing.assert_array_equal(c1x1.conv(x, w), want)


def test_a_thousand_repeats(rng):
    x = rng.standard_normal((28, 28, 70)).astype(np.float32)
    w = rng.standard_normal((70, 40)).astype(np.float32)
    assert len({digest(c1x1.conv(x, w)) for _ in range(1000)}) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (72, 3), (72, 20), (200, 9)])
def test_nan_and_inf_stay_at_their_pixel(isa, value, layout, c_in, c_out, rng):
    x = rng.standard_normal((5, 9, c_in)).astype(np.float32)
    w = np.abs(rng.standard_normal((c_in, c_out)).astype(np.float32)) + 1
    clean = c1x1.conv(x, w)
    for channel in (0, c_in // 2, c_in - 1):
        poisoned = x.copy()
        poisoned[2, 3, channel] = value
        given = poisoned if layout == "HWC" else np.ascontiguousarray(poisoned.transpose(2, 0, 1))
        got = c1x1.conv(given, w if layout == "HWC" else np.ascontiguousarray(w.T), layout=layout)
        got = got if layout == "HWC" else got.transpose(1, 2, 0)
        np.testing.assert_array_equal(got[2, 3], np.full(c_out, value, np.float32))
        got = got.copy()
        got[2, 3] = clean[2, 3]
        np.testing.assert_array_equal(got, clean)
