"""Matrix units: float32 on one of bfloat16 is as exact as without, special values, the same bits
always; bytes on one of bytes are exact.

AMX is emulated bit by bit (the row `emulated_amx` of the registry), so all of this runs on any CPU;
where a CPU has AMX, on that too. The instructions of the AMX kernels themselves are run by
tests/units, on a CPU without AMX by a handler that decodes them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference

import c1x1
from c1x1 import _api, _core

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src/core"
EDGE = 32  # rows and columns that the unit takes at once

rows = {name: missing for name, _, missing in _core.isas()}


def units(emulated, isas):
    """Rows of the registry to run: those emulated, and those that this build and this CPU have."""
    return [*emulated] + [
        pytest.param(
            isa,
            marks=pytest.mark.skipif(
                bool(rows[isa]), reason=f"{isa}: this CPU lacks {', '.join(rows[isa])}"
            ),
        )
        for isa in isas
        if isa in rows
    ]


UNITS = units(["emulated_amx"], ["x86_amx"])
BYTE_UNITS = units(
    ["emulated_amx", "emulated_vnni", "emulated_dot"],
    ["x86_amx", "x86_avx512_vnni", "x86_avx_vnni", "arm_neon_dot"],
)
PLAIN = "scalar"
LAYOUTS = ["WC", "CW"]
AMX = ["-mamx-tile", "-mamx-bf16", "-mamx-int8"]

pytestmark = pytest.mark.skipif("C1X1_ISA" in os.environ, reason="names the ISAs itself")


@pytest.fixture(params=UNITS)
def unit(request):
    before = _core.machine()["isa"]
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture(params=BYTE_UNITS)
def byte_unit(request):
    before = _core.machine()["isa"]
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


def without(compute):
    """The same by the FMA kernels."""
    before = _core.machine()["isa"]
    _core.select_isa(PLAIN)
    try:
        return compute()
    finally:
        _core.select_isa(before)


def pixels(x, layout):
    return x if layout == "WC" else np.ascontiguousarray(x.T)


def results(y, layout):
    return y if layout == "WC" else y.T


def multiply(x, w, layout="WC", **keywords):
    """(P, K) by (K, N) in either layout, as (P, N); the unit must have done it."""
    x, w = pixels(x, layout), reference.weights_for(w, layout)
    plan = _api.plan(x, w, layout=layout, **keywords)
    assert plan["unit"] == _core.machine()["isa"]
    return results(c1x1.conv(x, w, layout=layout, **keywords), layout)


def whole(rng, shape, low, high, dtype=np.float32):
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


# ---- exactness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [16, 31, 32, 33, 64, 160, 161, 321])
def test_whole_numbers_are_exact_on_every_tail(unit, layout, k, rng):
    """Numbers of 12 bits need two pieces, the products of all pieces, and sums below 2^24."""
    for m, n in [(1, 16), (15, 17), (16, 31), (17, 32), (32, 33), (33, 64), (65, 70)]:
        x = whole(rng, (EDGE * 8 + m, k), -1100, 1100)
        w = whole(rng, (k, n), -1, 1)
        w[rng.integers(k), :] = 2047
        np.testing.assert_array_equal(multiply(x, w, layout), x.astype(int) @ w.astype(int))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_bits_of_a_factor_count(unit, layout, rng):
    """One factor a power of two: the other's 24 bits come out as they went in."""
    k, n = 48, 40
    x = rng.standard_normal((300, k)).astype(np.float32)
    w = np.zeros((k, n), np.float32)
    w[np.arange(n), np.arange(n)] = 2.0 ** rng.integers(-20, 20, n)
    np.testing.assert_array_equal(multiply(x, w, layout), x @ w)
    y = multiply(
        np.eye(k, dtype=np.float32).repeat(4, 0),
        rng.standard_normal((k, n)).astype(np.float32),
        layout,
    )
    assert y.dtype == np.float32


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "float16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_narrow_pixels_are_exact_in_fewer_pieces(unit, layout, dtype, rng):
    k, n = 70, 40
    low, high = (-1000, 1000) if dtype == "float16" else (
        (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max))  # fmt: skip
    x = whole(rng, (200, k), low, high, dtype)
    w = whole(rng, (k, n), -3, 3)
    np.testing.assert_array_equal(multiply(x, w, layout), x.astype(int) @ w.astype(int))
    plan = _api.plan(pixels(x, layout), reference.weights_for(w, layout), layout=layout)
    want = 1 if np.dtype(dtype).itemsize == 1 else 2
    assert plan["a_pieces" if plan["role"] == "pixels_m" else "b_pieces"] == want


def test_everything_that_may_follow_or_precede(unit, rng):
    """Strides, groups, batches, tables, epilogues, other dtypes of the result."""
    x = whole(rng, (2, 9, 14, 96), -40, 40)
    w = whole(rng, (48, 64), -6, 6)
    bias, scale = whole(rng, 64, -9, 9), np.full(64, 0.25, np.float32)
    residual = whole(rng, (2, 9, 14, 64), -50, 50)
    table = whole(rng, 256, -30, 30)
    cases = [
        ((x, w, bias), {"groups": 2}),
        ((x[:, ::-1, :, ::2], w, bias), {"activation": "relu", "scale": scale}),
        ((x, w), {"groups": 2, "residual": residual, "activation": "relu6"}),
        ((x, w), {"groups": 2, "stride": 2, "dtype": np.int8, "activation": ("clip", -99, 99)}),
        ((x, w), {"groups": 2, "nodata": 7}),
        ((np.abs(x).astype(np.uint8), w, bias), {"groups": 2, "lut": table}),
        ((x[..., :48], w.astype(np.float16)), {"dtype": np.float64}),
        ((np.broadcast_to(x[:, :, :1, :48], (2, 9, 300, 48)), w), {}),
    ]
    for operands, keywords in cases:
        got = c1x1.conv(*operands, **keywords)
        np.testing.assert_array_equal(
            got, without(lambda a=operands, k=keywords: c1x1.conv(*a, **k))
        )
    got = residual.copy()
    c1x1.conv(x, w, residual=got, out=got, groups=2)
    np.testing.assert_array_equal(
        got, without(lambda: c1x1.conv(x, w, residual=residual, groups=2))
    )


# ---- bytes ---------------------------------------------------------------------------------------

BYTES = ["int8", "uint8", "bool"]


def any_bytes(rng, shape, dtype):
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return whole(rng, shape, np.iinfo(dtype).min, np.iinfo(dtype).max, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("w_dtype", BYTES)
@pytest.mark.parametrize("x_dtype", BYTES)
def test_bytes_are_exact_on_every_tail(byte_unit, x_dtype, w_dtype, layout, rng):
    for p, k, n in [(130, 16, 16), (65, 63, 17), (97, 64, 33), (300, 65, 32), (48, 130, 47),
                    (40, 1100, 20), (33, 1024, 16)]:  # fmt: skip
        x, w = any_bytes(rng, (p, k), x_dtype), any_bytes(rng, (k, n), w_dtype)
        want = x.astype(int) @ w.astype(int)
        np.testing.assert_array_equal(multiply(x, w, layout, dtype=np.int32), want)
        layer = c1x1.Pointwise(reference.weights_for(w, layout), layout=layout, dtype=np.int32)
        np.testing.assert_array_equal(results(layer(pixels(x, layout)), layout), want)
        turned = np.asfortranarray(reference.weights_for(w, layout))
        got = c1x1.conv(pixels(x, layout), turned, layout=layout, dtype=np.int32)
        np.testing.assert_array_equal(results(got, layout), want)


def test_bytes_at_their_limits_do_not_saturate(byte_unit):
    for x_value, w_value in [(-128, -128), (-128, 127), (127, 127)]:
        x, w = np.full((64, 512), x_value, np.int8), np.full((512, 48), w_value, np.int8)
        assert (multiply(x, w) == 512 * x_value * w_value).all()
    x, w = np.full((64, 512), 255, np.uint8), np.full((512, 48), -128, np.int8)
    assert (multiply(x, w) == 512 * 255 * -128).all()


def test_bytes_that_fill_tiles_are_read_where_they_lie(byte_unit, rng):
    """And nothing beside them: the image ends where its memory does, and has gaps.

    Not where the unit takes operands of two signs, and bytes of the image change theirs on the way.
    """
    as_they_are = byte_unit in ("emulated_amx", "x86_amx", "emulated_dot", "arm_neon_dot")
    for k, reads in [(64, as_they_are), (192, as_they_are), (96, False)]:
        x, w = any_bytes(rng, (20, 21, k), "int8"), any_bytes(rng, (k, 40), "int8")
        want = x.astype(int) @ w.astype(int)
        wide = np.full((20, 21, k + 13), 77, np.int8)
        wide[..., :k] = x
        for image in (x, wide[..., :k], x[::-1, ::-1]):
            plan = _api.plan(image, w)
            assert (plan["unit"], plan["reads_x"]) == (_core.machine()["isa"], reads)
            flipped = want[::-1, ::-1] if image.strides[0] < 0 else want
            np.testing.assert_array_equal(c1x1.conv(image, w), flipped)


def test_bytes_with_everything_that_may_follow_or_precede(byte_unit, rng):
    x, w = any_bytes(rng, (2, 9, 14, 128), "int8"), any_bytes(rng, (64, 64), "int8")
    bias, scale = whole(rng, 64, -9, 9, np.int32), np.full(64, 2.0**-9)
    residual = whole(rng, (2, 9, 14, 64), -50, 50, np.int8)
    cases = [
        ((x, w), {"groups": 2}),
        ((x, w, bias), {"groups": 2}),
        ((x[:, ::-1, :, ::2], w, bias), {}),
        ((x, w), {"groups": 2, "residual": residual}),
        ((x, w, bias.astype(float)), {"groups": 2, "scale": scale, "dtype": np.int8}),
        ((x[..., :64], w), {"stride": 2, "scale": scale, "activation": "relu", "dtype": np.uint8}),
        ((x[..., :64], w), {"nodata": 7}),
        ((x[:, :1, :, :64].astype(np.uint8), w), {"scale": scale, "dtype": np.float32}),
        ((np.broadcast_to(x[:, :, :1, :64], (2, 9, 300, 64)), w), {"dtype": np.int64}),
    ]
    for operands, keywords in cases:
        assert _api.plan(*operands, **keywords)["unit"], keywords
        got = c1x1.conv(*operands, **keywords)
        np.testing.assert_array_equal(
            got, without(lambda a=operands, k=keywords: c1x1.conv(*a, **k))
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_are_the_same_with_any_number_of_threads(byte_unit, layout, rng):
    x, w = any_bytes(rng, (3000, 192), "uint8"), any_bytes(rng, (192, 96), "int8")
    want = x.astype(int) @ w.astype(int)
    for threads in (1, 2, 3, 8):
        np.testing.assert_array_equal(multiply(x, w, layout, threads=threads), want)


# ---- bfloat16 on both sides ----------------------------------------------------------------------


def bfloat16(a):
    return a.astype(pytest.importorskip("ml_dtypes").bfloat16)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_exact_on_every_tail(unit, layout, rng):
    for p, k, n in [(40, 16, 16), (65, 31, 17), (97, 32, 33), (300, 33, 32), (48, 130, 47),
                    (33, 512, 16), (64, 1000, 40)]:  # fmt: skip
        x, w = whole(rng, (p, k), -16, 16), whole(rng, (k, n), -4, 4)
        want = x.astype(int) @ w.astype(int)
        x, w = bfloat16(x), bfloat16(w)
        np.testing.assert_array_equal(multiply(x, w, layout, dtype=np.float32), want)
        plan = _api.plan(pixels(x, layout), reference.weights_for(w, layout), layout=layout)
        is_whole = k % 32 == 0 and layout == "WC" and plan["role"] == "pixels_m"
        assert plan["reads_x"] == is_whole
        layer = c1x1.Pointwise(reference.weights_for(w, layout), layout=layout, dtype=np.float32)
        np.testing.assert_array_equal(results(layer(pixels(x, layout)), layout), want)
        np.testing.assert_array_equal(  # weights that were cut for other images serve floats too
            results(layer(pixels(x.astype(np.float32), layout)), layout), want
        )
        got = multiply(x, w, layout)
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, bfloat16(want.astype(np.float32)))


def test_bfloat16_with_gaps_and_backwards(unit, rng):
    x, w = whole(rng, (20, 21, 64), -16, 16), whole(rng, (64, 40), -4, 4)
    want = x.astype(int) @ w.astype(int)
    wide = bfloat16(np.full((20, 21, 79), np.nan, np.float32))
    wide[..., :64] = bfloat16(x)
    for image, expected in [
        (wide[..., :64], want),
        (wide[::-1, ::-1, :64], want[::-1, ::-1]),
        (np.ascontiguousarray(wide[..., 63::-1]), x[..., ::-1].astype(int) @ w.astype(int)),
    ]:
        got = c1x1.conv(image, bfloat16(w), dtype=np.float32)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_special_values_of_bfloat16(unit, layout, rng):
    values = np.array([np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -0.0, 1e-30], np.float32)
    for _ in range(int(os.environ.get("C1X1_EXAMPLES", "30"))):
        p, k, n = (int(rng.integers(*r)) for r in ((257, 400), (16, 200), (16, 100)))
        k = k // 32 * 32 if k > 100 else k
        x, w = (rng.standard_normal(s).astype(np.float32) for s in ((p, k), (k, n)))
        for a in (x, w):
            count = int(rng.integers(0, 4))
            a.flat[rng.integers(0, a.size, count)] = rng.choice(values, count)
        x, w = bfloat16(x), bfloat16(w)
        got = multiply(x, w, layout, dtype=np.float32)
        plain = without(lambda x=x, w=w: c1x1.conv(x, w, dtype=np.float32))
        # Products of 16 bits may cancel exactly in one order and not in another.
        with np.errstate(all="ignore"):
            magnitude = np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64)
            are_close = np.abs(got.astype(np.float64) - plain) <= 2 * (k + 2) * 2.0**-24 * magnitude
        ordinary = np.isin(kinds(got), (0, 4)) & np.isin(kinds(plain), (0, 4))
        assert np.where(ordinary, are_close, kinds(got) == kinds(plain)).all()


# ---- accuracy ------------------------------------------------------------------------------------


def errors(got, x, w):
    """|error| over the sum of |x||w|, in units of 2^-24."""
    exact = x.astype(np.float64) @ w.astype(np.float64)
    magnitude = np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64)
    return np.abs(got - exact) / magnitude * 2.0**24


@pytest.mark.parametrize("data", ["zero-mean", "non-negative"])
@pytest.mark.parametrize("k", [16, 64, 192, 320, 1024, 4096])
def test_highest_is_at_least_as_exact_as_without(unit, k, data, rng):
    x = rng.standard_normal((max(200, 200_000 // k), k)).astype(np.float32)
    w = rng.standard_normal((k, 40)).astype(np.float32)
    if data == "non-negative":
        x, w = np.abs(x), np.abs(w)
    ours, plain = errors(multiply(x, w), x, w), errors(without(lambda: c1x1.conv(x, w)), x, w)
    assert ours.max() <= plain.max()
    assert np.sqrt((ours**2).mean()) <= np.sqrt((plain**2).mean())
    assert ours.max() <= 16


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [64, 1000])
def test_high_and_medium(unit, k, layout, rng):
    """High keeps 16 bits of each factor, medium 8.

    What a product loses is what both factors lose, by rounding to half of the last bit; and of high
    also the product of the second pieces.
    """
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((300, k), (k, 40)))
    sums = (k + 2) * 1.0
    highest = errors(multiply(x, w, layout), x, w)
    for precision, lost in [("high", 2 * 2.0**-17 + 2.0**-17), ("medium", 2 * 2.0**-8)]:
        got = errors(multiply(x, w, layout, precision=precision), x, w)
        assert got.max() <= lost * 2.0**24 + sums
        assert (got**2).mean() > 16 * (highest**2).mean()  # not "highest" under another name
        if precision == "high":
            assert got.max() <= 2e-5 * 2.0**24
    with pytest.raises(ValueError, match="'highest', 'high' or 'medium'"):
        c1x1.conv(x, w, precision="low")


def test_medium_is_the_product_of_rounded_operands(unit, rng):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((200, 64), (64, 48)))

    def rounded(a):
        bits = a.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)

    want = multiply(rounded(x), rounded(w), precision="medium")
    np.testing.assert_array_equal(multiply(x, w, precision="medium"), want)
    assert errors(want, rounded(x), rounded(w)).max() <= 66


# ---- special values ------------------------------------------------------------------------------

TINY = np.finfo(np.float32).tiny


def kinds(y):
    """0 ordinary, 1 and 2 infinite, 3 NaN, 4 zero, 5 subnormal."""
    kind = np.select([np.isnan(y), np.isposinf(y), np.isneginf(y), y == 0], [3, 1, 2, 4], 0)
    return np.where((kind == 0) & (np.abs(y) < TINY), 5, kind)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_special_values_anywhere(unit, layout, rng):
    values = np.array(
        [np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, -3.4e38, TINY, -0.0, 1e-30], np.float32
    )
    for _ in range(int(os.environ.get("C1X1_EXAMPLES", "60"))):
        p, k, n = (int(rng.integers(*r)) for r in ((257, 400), (16, 200), (16, 100)))
        x, w = (rng.standard_normal(s).astype(np.float32) for s in ((p, k), (k, n)))
        for a in (x, w):
            count = int(rng.integers(0, 4))
            a.flat[rng.integers(0, a.size, count)] = rng.choice(values, count)
        got, plain = multiply(x, w, layout), without(lambda x=x, w=w: c1x1.conv(x, w))
        np.testing.assert_array_equal(kinds(got), kinds(plain))
        ordinary = (kinds(got) == 0) & (np.abs(plain) < 1e36)
        with np.errstate(all="ignore"):
            magnitude = np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64)
            error = np.abs(got.astype(np.float64) - plain) / magnitude
        assert error[ordinary].max() <= 2 * (k + 2) * 2.0**-24


def test_what_one_pixel_holds_does_not_touch_others(unit, rng):
    """Pixels of other blocks keep their bits, whatever the neighbours hold."""
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((3 * EDGE, 64), (64, 48)))
    clean = c1x1.conv(x, w)
    x[EDGE + 3, 5] = np.nan
    x[EDGE + 9] = np.inf
    got = c1x1.conv(x, w)
    rest = np.r_[0:EDGE, 2 * EDGE : 3 * EDGE]
    np.testing.assert_array_equal(got[rest], clean[rest])
    assert np.isnan(got[EDGE + 3]).all()
    assert np.isfinite(np.delete(got, [EDGE + 3, EDGE + 9], 0)).all()


@pytest.mark.parametrize("scale", [-149, -126, -100, -60, -40, 0, 40, 60, 100, 120])
def test_every_magnitude(unit, scale, rng):
    """Products that underflow, or are too large for a part of them: as without the unit."""
    x = np.ldexp(rng.standard_normal((300, 64)), scale).astype(np.float32)
    w = np.ldexp(rng.standard_normal((64, 40)), -scale // 2).astype(np.float32)
    got, plain = multiply(x, w), without(lambda: c1x1.conv(x, w))
    np.testing.assert_array_equal(kinds(got), kinds(plain))
    magnitude = np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64)
    assert (
        np.abs(got.astype(np.float64) - plain) <= 2 * 66 * 2.0**-24 * magnitude + 2.0**-148
    ).all()


# ---- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bits_depend_on_the_call_alone(unit, layout, rng):
    p, k, n = 700, 200, 90
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((p, k), (k, n)))
    x[[3, 300, 555], [1, 2, 3]] = np.inf, 1e-40, np.nan
    want = multiply(x, w, layout)
    weights = reference.weights_for(w, layout)
    for threads in (1, 2, 3, 5, 8):
        np.testing.assert_array_equal(multiply(x, w, layout, threads=threads), want)
    for offset in range(0, 64, 12):
        memory = np.empty(x.nbytes + 64, np.uint8)
        moved = memory[offset : offset + x.nbytes].view(np.float32).reshape(pixels(x, layout).shape)
        moved[...] = pixels(x, layout)
        np.testing.assert_array_equal(
            results(c1x1.conv(moved, weights, layout=layout), layout), want
        )
    layer = c1x1.Pointwise(weights, layout=layout)
    np.testing.assert_array_equal(results(layer(pixels(x, layout)), layout), want)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(layer, [pixels(x, layout)] * 8):
            np.testing.assert_array_equal(results(y, layout), want)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reproducible_means_the_bits_of_every_cpu(unit, layout, rng):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((400, 100), (100, 50)))
    x, w = pixels(x, layout), reference.weights_for(w, layout)
    plain = without(lambda: c1x1.conv(x, w, layout=layout))
    got = c1x1.conv(x, w, layout=layout, reproducible=True)
    np.testing.assert_array_equal(got, plain)
    np.testing.assert_array_equal(c1x1.Pointwise(w, layout=layout, reproducible=True)(x), plain)
    assert not np.array_equal(c1x1.conv(x, w, layout=layout), plain)  # the unit did something else
    assert _api.plan(x, w, layout=layout, reproducible=True)["unit"] is None


def test_a_chain_has_the_bits_of_every_cpu(unit, rng):
    layers = [c1x1.Pointwise(rng.standard_normal((64, 64)).astype(np.float32)) for _ in range(2)]
    x = rng.standard_normal((500, 64)).astype(np.float32)
    np.testing.assert_array_equal(c1x1.Chain(layers)(x), without(lambda: c1x1.Chain(layers)(x)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_cut_once_for_several_blocks_of_channels(unit, layout, rng):
    shape = (16, 128, 2080)  # few pixels, lest emulation pauses between the blocks
    x, w = whole(rng, shape[:2], -999, 999), whole(rng, shape[1:], -3, 3)
    plan = _api.plan(
        pixels(x, layout), reference.weights_for(w, layout), layout=layout, threads=1,
        machine={"isa": unit, "l1_bytes": 32 << 10, "l2_bytes": 512 << 10},
    )  # fmt: skip
    assert plan["blocks"] > 1
    assert plan["matrix_kc"] == 128
    want = x.astype(int) @ w.astype(int)
    np.testing.assert_array_equal(multiply(x, w, layout, threads=1), want)
    np.testing.assert_array_equal(multiply(x, w, layout), want)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_does_not_fit_is_multiplied_again_piece_by_piece(unit, layout, rng):
    """Channels beyond those that the FMA kernels take at once."""
    k = 3000
    x, w = whole(rng, (64, k), -9, 9), whole(rng, (k, 32), -9, 9)
    x[7, [5, 2999]] = np.inf, -np.inf
    w[5], w[2999] = np.abs(w[5]) + 1, np.abs(w[2999]) + 1
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float64) @ w
    assert np.isnan(want[7]).all()
    np.testing.assert_array_equal(multiply(x, w, layout), want.astype(np.float32))


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_a_layer_of_bytes_also_multiplies_others(byte_unit, layout, rng):
    """Its weights are packed for pixels of their own dtype."""
    w = whole(rng, (64, 48), -128, 127, np.int8)
    layer = c1x1.Pointwise(reference.weights_for(w, layout), layout=layout)
    for dtype in (np.int8, np.uint8, np.float32, np.int16):
        x = whole(rng, (10, 12, 64), 0, 99, dtype)
        if layout == "CHW":
            x = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
        wide = np.tile(x, (1, 9, 1)) if layout == "HWC" else np.tile(x.transpose(2, 0, 1), 9)
        wide = wide if layout == "HWC" else wide.transpose(1, 2, 0)
        for image in (x, x[:, :5], x[:, ::3], wide[:, :100]):  # rows with gaps, and pixels
            y = layer(image if layout == "HWC" else image.transpose(2, 0, 1))
            assert y.dtype == c1x1.conv(x, w).dtype
            y = y if layout == "HWC" else y.transpose(1, 2, 0)
            np.testing.assert_array_equal(y, image.astype(int) @ w.astype(int))


def test_operands_that_a_unit_cannot_take_go_another_way(byte_unit, rng):
    """Bytes by int16, pixels that are overwritten, rows at odd addresses."""
    x, w = whole(rng, (100, 64), -99, 99, np.int8), whole(rng, (64, 64), -9, 9, np.int16)
    want = x.astype(int) @ w
    assert _api.plan(x, w)["unit"] is None
    np.testing.assert_array_equal(c1x1.conv(x, w), want)
    x, w = whole(rng, (100, 64), -9, 9, np.int8), whole(rng, (64, 64), -1, 1, np.int8)
    want = np.clip(x.astype(int) @ w, -128, 127)
    np.testing.assert_array_equal(c1x1.conv(x, w, out=x), want)


def test_bfloat16_at_odd_addresses(unit, rng):
    records = np.zeros(300, [("flag", "u1"), ("values", "<u2", (64,))])
    values = whole(rng, (300, 64), -99, 99)
    records["values"] = bfloat16(values).view(np.uint16)
    w = bfloat16(whole(rng, (64, 48), -1, 1))
    x = records["values"].view(w.dtype)
    assert x.strides == (129, 2)
    y = c1x1.conv(x, w, dtype=np.float32)
    np.testing.assert_array_equal(y, values @ w.astype(np.float32))


# ---- the choice ----------------------------------------------------------------------------------


def unit_for(p, k, n, layout="WC", isa="x86_amx", dtype=np.float32, **keywords):
    x, w = (
        pixels(np.empty((p, k), dtype), layout),
        reference.weights_for(np.empty((k, n), dtype), layout),
    )
    return _api.plan(x, w, layout=layout, machine={"isa": isa}, **keywords)["unit"]


@pytest.mark.skipif("x86_amx" not in rows, reason="a build for x86-64")
def test_the_choice():
    for layout in LAYOUTS:
        assert unit_for(3136, 64, 256, layout) == "x86_amx"
        assert unit_for(784, 512, 128, layout) == "x86_amx"
        assert unit_for(3136, 64, 256, layout, isa="x86_avx512") is None
        assert unit_for(3136, 64, 256, layout, reproducible=True) is None
        assert unit_for(3136, 64, 256, layout, dtype=np.float64) is None
        assert unit_for(3136, 64, 256, layout, dtype=np.int32) is None
        for few in [(3136, 64, 3), (3136, 3, 64), (1, 64, 64), (10_000, 12, 12)]:
            assert unit_for(*few, layout) is None
        for dtype, unit in [(np.int8, "x86_amx"), (np.uint8, "x86_amx"), (np.int16, None)]:
            x = pixels(np.empty((784, 192), dtype), layout)
            w = reference.weights_for(np.empty((192, 64), np.int8), layout)
            machine = {"isa": "x86_amx"}
            plan = _api.plan(x, w, layout=layout, dtype=np.int32, machine=machine)
            assert plan["unit"] == unit, dtype
        for precision in ("high", "medium"):  # cheaper: where the highest pays, they do
            assert unit_for(784, 64, 64, layout, precision=precision) == "x86_amx"


@pytest.mark.skipif("x86_amx" not in rows, reason="a build for x86-64")
@pytest.mark.parametrize("shape", [(16, 64, 64), (49, 512, 2048), (196, 1024, 256)])
def test_rows_that_a_unit_can_read_and_write_are_not_turned(shape):
    """However the tiles would have them."""
    p, k, n = shape
    for isa in ("x86_amx", "x86_avx512_vnni"):
        x, w = np.empty((p, k), np.uint8), np.empty((k, n), np.int8)
        plan = _api.plan(x, w, machine={"isa": isa, "threads": 1})
        assert (plan["unit"], plan["role"]) == (isa, "pixels_m")
        assert plan["reads_x"]
        assert plan["is_direct"]
        planes = _api.plan(
            np.empty((k, p), np.uint8), np.empty((n, k), np.int8), layout="CW",
            machine={"isa": isa, "threads": 1},
        )  # fmt: skip
        assert (planes["unit"], planes["role"]) == (isa, "pixels_n")
        assert planes["is_direct"]


@pytest.mark.skipif("x86_amx" not in rows, reason="a build for x86-64")
@pytest.mark.parametrize("threads", [1, 2, 7, 64])
def test_threads_do_not_choose(threads):
    x, w = np.empty((3136, 64), np.float32), np.empty((64, 256), np.float32)
    plan = _api.plan(x, w, machine={"isa": "x86_amx", "threads": threads})
    one = _api.plan(x, w, machine={"isa": "x86_amx", "threads": 1})
    assert (plan["unit"], plan["matrix_kc"]) == (one["unit"], one["matrix_kc"])
    assert plan["mc"] % EDGE == 0
    assert plan["nc"] % EDGE == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [64, 1000, 4000])
@pytest.mark.parametrize("n", [16, 100, 3000])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_workspace_is_bounded(unit, dtype, k, n, layout):
    """1 MiB a thread and the weights that are cut for the call."""
    x, w = pixels(np.empty((5000, k), dtype), layout), np.empty((k, n), dtype)
    plan = _api.plan(
        x, reference.weights_for(w, layout), layout=layout, machine={"isa": unit, "threads": 1}
    )
    assert plan["unit"] == unit
    assert plan["thread_bytes"] <= (1 << 20) + (768 << 10)


def test_explain_tells_of_the_unit(unit, rng):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((400, 100), (100, 50)))
    told = str(c1x1.explain(x, w, pixel=7))
    assert f"Matrix unit of {unit}" in told
    assert "3 pieces of bfloat16, each of w into 3" in told
    assert "Matrix unit" not in str(c1x1.explain(x, w, pixel=7, reproducible=True))
    x, w = any_bytes(rng, (400, 100), "uint8"), any_bytes(rng, (100, 50), "int8")
    told = str(c1x1.explain(x, w, pixel=7))
    assert f"Bytes are multiplied by {unit}" in told
    assert "bfloat16" not in told


def test_emulation_runs_only_where_it_is_named():
    assert "emulated_amx" not in [name for name, _, _ in _core.isas()]
    assert _core.machine()["isa"] != "emulated_amx"
    code = "import c1x1; print(c1x1.info()['isa'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"C1X1_ISA": "emulated_amx"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["emulated_amx"]


# ---- the instructions ----------------------------------------------------------------------------


@pytest.mark.skipif(not (CORE / "c1x1.h").is_file(), reason="the tests lie without the sources")
@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="x86-64 Linux only"
)
def test_instructions(tmp_path):
    """The kernels' own machine code, emulated where the CPU lacks AMX or AVX-VNNI."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    flags = [
        "-std=gnu11",
        "-O1",
        "-ffp-contract=off",
        "-Wno-psabi",
        f"-I{CORE}",
        "-I",
        ROOT / "tests/units",
    ]
    sources = {
        CORE / "kernels/x86_amx.c": ["-O3", "-mavx2", "-mfma", *AMX],
        CORE / "kernels/x86_avx_vnni.c": ["-O3", "-mavx2", "-mfma", "-mavxvnni"],
        CORE / "kernels/emulated.c": [],
        ROOT / "tests/units/trap.c": [],
        ROOT / "tests/units/dots.c": [],
        ROOT / "tests/units/check.c": ["-I", ROOT / "tests/core"],
    }
    objects = [tmp_path / f"{source.stem}.o" for source in sources]

    def build(arguments):
        done = subprocess.run(["gcc", *arguments], capture_output=True, text=True, check=False)
        if "-mamx" in done.stderr or "-mavxvnni" in done.stderr:
            pytest.skip("this gcc does not know AMX or AVX-VNNI")
        assert done.returncode == 0, done.stderr

    jobs = zip(sources.items(), objects, strict=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: build([*flags, *job[0][1], "-c", job[0][0], "-o", job[1]]), jobs))
    build([*objects, "-lm", "-o", tmp_path / "check"])
    has_amx = "amx_bf16" in Path("/proc/cpuinfo").read_text()
    for mode in ["native", "emulate"] if has_amx else ["emulate"]:
        done = subprocess.run(
            [tmp_path / "check", mode], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode == 77:  # the operating system refuses the tiles
            continue
        assert done.returncode == 0, done.stdout + done.stderr
        assert " 0 failures" in done.stdout
