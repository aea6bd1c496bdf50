"""Narrow dtypes: int32 sums of pairs, requantisation, bytes through float weights, bfloat16."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import reference

import c1x1
from c1x1 import _api

LAYOUTS = ["HWC", "CHW"]


def turned(x, layout):
    """An HWC image in that layout."""
    return x if layout == "HWC" else np.ascontiguousarray(np.moveaxis(x, -1, 0))


def back(y, layout):
    return y if layout == "HWC" else np.moveaxis(y, 0, -1)


# ---- sums of integers ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c_out", [1, 4, 5, 17])
@pytest.mark.parametrize(
    ("x_dtype", "w_dtype", "longest"),
    [
        ("int8", "int8", 131071),
        ("uint8", "int8", 65535),
        ("int16", "int8", 511),
        ("int16", "int16", 1),
    ],
)
def test_the_largest_sums_are_exact_and_larger_ones_promoted(
    isa, x_dtype, w_dtype, longest, c_out, layout
):
    ends = [(np.iinfo(d).min, np.iinfo(d).max) for d in (x_dtype, w_dtype)]
    for c_in, compute in ((longest, "int32"), (longest + 1, "float64")):
        x = np.empty((1, 4, c_in), x_dtype)
        x[0, :2] = np.array(ends[0])[:, None]
        x[0, 2, ::2], x[0, 2, 1::2] = ends[0]
        x[0, 3] = 1
        w = np.empty((c_in, c_out), w_dtype)
        w[:] = np.resize(ends[1], c_out)
        given = turned(x, layout), reference.weights_for(w, layout)
        assert _api.plan(*given, layout=layout, dtype=np.int64)["compute"] == compute
        got = c1x1.conv(*given, layout=layout, dtype=np.int64)
        np.testing.assert_array_equal(back(got, layout), x.astype(np.int64) @ w.astype(np.int64))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c_out", [1, 3, 4, 21])
@pytest.mark.parametrize("x_dtype", ["int8", "uint8", "int16", "bool"])
def test_every_number_of_channels(isa, x_dtype, c_out, layout, rng):
    """Odd ones leave half an element empty; 1 to 40 meet every role."""
    low, high = (0, 2) if x_dtype == "bool" else (np.iinfo(x_dtype).min, np.iinfo(x_dtype).max + 1)
    for c_in in [*range(1, 41), 127, 321, 500]:
        x = rng.integers(low, high, (5, 7, c_in)).astype(x_dtype)
        w = rng.integers(-128, 128, (c_in, c_out)).astype(np.int8)
        want = x.astype(np.int64) @ w.astype(np.int64)
        given = turned(x, layout), reference.weights_for(w, layout)
        got = c1x1.conv(*given, layout=layout, dtype=np.int64)
        np.testing.assert_array_equal(back(got, layout), want)
        # Gaps between pixels, rows and channels; a Pointwise's panels.
        wide = np.repeat(np.repeat(given[0], 2, 1), 2, 2)[:, ::2, ::2]
        layer = c1x1.Pointwise(given[1], layout=layout, x_dtype=x_dtype, dtype=np.int64)
        np.testing.assert_array_equal(back(layer(wide), layout), want)


def test_groups_residual_and_bias_stay_whole(isa, rng):
    x = rng.integers(-128, 128, (6, 5, 12)).astype(np.int8)
    w = rng.integers(-128, 128, (3, 8)).astype(np.int8)
    bias = rng.integers(-(1 << 20), 1 << 20, 8)
    residual = rng.integers(-(1 << 15), 1 << 15, (6, 5, 8)).astype(np.int16)
    want = reference.conv(x, w, bias, groups=4, dtype=np.int64) + residual
    assert _api.plan(x, w, bias, groups=4, residual=residual)["compute"] == "int32"
    got = c1x1.conv(x, w, bias, groups=4, residual=residual)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (16, 2), (40, 1), (64, 33), (9, 700)])
def test_requantisation_rounds_once(isa, c_in, c_out, dtype, layout, rng):
    """Scales are powers of two, so that float64 is exact and halves are met."""
    x = rng.integers(-128, 128, (9, 11, c_in)).astype(np.int8)
    w = rng.integers(-128, 128, (c_in, c_out)).astype(np.int8)
    scale = 2.0 ** -rng.integers(5, 12, c_out)
    bias = rng.integers(-99, 99, c_out) / 2
    residual = rng.integers(-9, 9, (9, 11, c_out)).astype(np.int8)
    sums = x.astype(np.int64) @ w.astype(np.int64) * scale + bias
    given = turned(x, layout), reference.weights_for(w, layout), bias
    got = c1x1.conv(*given, scale=scale, layout=layout, dtype=dtype)
    np.testing.assert_array_equal(back(got, layout), reference.saturated(sums, dtype))
    got = c1x1.conv(
        *given, scale=scale, residual=turned(residual, layout), activation="relu", layout=layout,
        dtype=dtype,
    )  # fmt: skip
    want = reference.saturated(np.maximum(sums + residual, 0), dtype)
    np.testing.assert_array_equal(back(got, layout), want)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3, 16, 33, 65])
def test_requantisation_over_its_own_pixels(isa, channels, layout, rng):
    x = rng.integers(0, 256, (9, 31, channels)).astype(np.uint8)
    w = rng.integers(-128, 128, (channels, channels)).astype(np.int8)
    sums = x.astype(np.int64) @ w.astype(np.int64)
    image = turned(x, layout).copy()
    weights = reference.weights_for(w, layout)
    got = c1x1.conv(
        image, weights, scale=2.0**-9, nodata=7, dtype=np.uint8, layout=layout, out=image
    )
    assert got is image
    want = reference.saturated(sums * 2.0**-9, "uint8")
    want[(x == 7).any(axis=-1)] = 7
    np.testing.assert_array_equal(back(got, layout), want)


def test_explain_counts_channels_where_the_plan_counts_pairs():
    x, w = (
        np.ones((28, 28, 193), np.int16),
        np.ones((193, 64), np.int8),
    )  # no bytes: no unit takes them
    text = str(c1x1.explain(x, w))
    assert "193 of 193 channels at a time" in text
    assert "their channels in pairs of int16" in text
    x, w = np.ones((9, 700), np.int8), np.ones((700, 9), np.int8)
    assert "for accuracy" not in str(c1x1.explain(x, w))


# ---- bytes through float32 weights ---------------------------------------------------------------


@pytest.mark.parametrize("c_in", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("c_out", [1, 2, 3, 4])
def test_bytes_to_bytes_are_the_float_results_rounded(isa, c_in, c_out, rng):
    x = rng.integers(0, 256, (37, 41, c_in)).astype(np.uint8)
    w = rng.standard_normal((c_in, c_out)).astype(np.float32)
    bias = rng.standard_normal(c_out).astype(np.float32) * 99
    for b in (None, bias):
        want = np.clip(np.rint(c1x1.conv(x, w, b)), 0, 255).astype(np.uint8)
        np.testing.assert_array_equal(c1x1.conv(x, w, b, dtype=np.uint8), want)
        one = c1x1.conv(x, w, b, dtype=np.uint8, threads=1)
        np.testing.assert_array_equal(one, want)
    if c_in == c_out:
        c1x1.conv(x, w, out=(y := x.copy()), dtype=np.uint8)
        c1x1.conv(y := x.copy(), w, out=y, dtype=np.uint8)
        np.testing.assert_array_equal(y, c1x1.conv(x, w, dtype=np.uint8))


def test_bytes_are_taken_where_nothing_else_is_asked():
    x, w = np.zeros((8, 8, 3), np.uint8), np.zeros((3, 3), np.float32)
    machine = {"isa": "x86_avx2"}
    try:
        plan = _api.plan(x, w, dtype=np.uint8, machine=machine)
    except ValueError:
        pytest.skip("this build has no x86_avx2")
    assert plan["takes_bytes"]
    assert plan["is_direct"]
    assert plan["b"] == "in_place"
    for other in (
        {"scale": 2.0},
        {"activation": "relu"},
        {"lut": np.zeros(256, np.float32)},
        {"residual": np.zeros(3, np.float32)},
    ):
        assert not _api.plan(x, w, dtype=np.uint8, machine=machine, **other)["takes_bytes"]
    assert not _api.plan(x[..., ::-1], w, dtype=np.uint8, machine=machine)["takes_bytes"]
    assert not _api.plan(x, w, machine=machine)["takes_bytes"]
    assert not _api.plan(x, w.astype(np.float64), dtype=np.uint8, machine=machine)["takes_bytes"]
    assert not _api.plan(x, w, dtype=np.uint8, machine={"isa": "scalar"})["takes_bytes"]


# ---- bfloat16 ------------------------------------------------------------------------------------


@pytest.fixture
def bfloat16():
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (5, 17), (64, 2), (192, 24)])
def test_bfloat16_in_and_out(isa, bfloat16, c_in, c_out, layout, rng):
    x = rng.integers(-4, 5, (6, 7, c_in)).astype(bfloat16)
    w = rng.integers(-4, 5, (c_in, c_out)).astype(bfloat16)
    want = x.astype(np.float64) @ w.astype(np.float64)
    given = turned(x, layout), reference.weights_for(w, layout)
    got = c1x1.conv(*given, layout=layout)
    assert got.dtype == bfloat16
    np.testing.assert_array_equal(back(got, layout).astype(float), want.astype(bfloat16))
    np.testing.assert_array_equal(c1x1.Pointwise(given[1], layout=layout)(given[0]), got)
    wide = c1x1.conv(given[0], given[1].astype(np.float32), layout=layout)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(back(wide, layout), want)
    out = np.empty(got.shape, bfloat16)
    assert c1x1.conv(*given, layout=layout, out=out) is out
    np.testing.assert_array_equal(out, got)
    epilogue = {
        "bias": np.ones(c_out, bfloat16),
        "scale": np.full(c_out, 2, bfloat16),
        "residual": got,
        "activation": "relu",
    }
    done = c1x1.conv(*given, **epilogue, layout=layout)
    exact = np.maximum(want * 2 + 1 + want.astype(bfloat16).astype(float), 0)
    np.testing.assert_array_equal(back(done, layout), exact.astype(np.float32).astype(bfloat16))


def test_bfloat16_loads_and_stores_every_value(isa, bfloat16):
    """Through a filter of 1: what comes in must go out."""
    x = np.arange(1 << 16, dtype=np.uint16).view(bfloat16).reshape(-1, 1)
    x = x[~np.isnan(x.astype(np.float32)[:, 0]) | (x.view(np.uint16)[:, 0] & 0x40 > 0)]
    got = c1x1.conv(x, np.ones((1, 1), bfloat16))
    same = np.where(x.view(np.uint16) == 0x8000, 0, x.view(np.uint16))  # a sum starts at +0
    np.testing.assert_array_equal(got.view(np.uint16), same)
    wide = c1x1.conv(x, np.ones((1, 1), np.float32))
    np.testing.assert_array_equal(wide, x.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bfloat16_results_round_to_nearest_even(isa, bfloat16, dtype):
    """ml_dtypes rounds float64 twice, so what is between two values is asked of the bits."""
    bits = np.arange(0x7F80, dtype=np.uint32)
    values = (bits << 16).view(np.float32).astype(np.float64)
    between = (values[1:] + values[:-1]) / 2
    even = np.where(bits[:-1] % 2 == 0, bits[:-1], bits[1:])
    step = {np.float32: 2.0**-23, np.float64: 2.0**-50}[dtype] * between
    usable = between > 1e-36  # subnormal float32 have no such steps
    for offset, want in ((0, even), (-step, bits[:-1]), (step, bits[1:])):
        x = (between + offset)[usable].astype(dtype).reshape(-1, 1)
        got = c1x1.conv(x, np.ones((1, 1), dtype), dtype=bfloat16)
        np.testing.assert_array_equal(got.view(np.uint16)[:, 0], want[usable])


def test_bfloat16_nodata_and_what_has_no_common_dtype(bfloat16):
    x = np.array([[1, 2], [3, 4]], bfloat16)
    w = np.ones((2, 1), bfloat16)
    np.testing.assert_array_equal(c1x1.conv(x, w, nodata=3).astype(float), [[3], [3]])
    assert np.isnan(c1x1.conv(x, w.astype(np.float32), nodata=np.nan, dtype=bfloat16)).sum() == 0
    with pytest.raises(TypeError, match=r"no dtype in common: pass w.astype\(np.float32\)"):
        c1x1.conv(x, w.astype(np.int64))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (5, 17), (64, 2), (192, 24)])
def test_bfloat16_as_its_bits(isa, c_in, c_out, layout, rng):
    """Without the package that has the dtype; whole numbers, whose bits are those of float32."""
    x = rng.integers(-4, 5, (6, 7, c_in)).astype(np.float32)
    w = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
    bits = turned((x.view(np.uint32) >> 16).astype(np.uint16), layout)
    want = np.minimum(x @ w, 99)
    weights = reference.weights_for(w, layout)
    options = {"layout": layout, "x_dtype": "bfloat16", "activation": ("clip", None, 99)}
    got = c1x1.Pointwise(weights, **options)(bits)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(back(got, layout), want)
    layer = c1x1.Pointwise(weights, **options, dtype="bfloat16")
    for made in (layer, pickle.loads(pickle.dumps(layer))):
        got = made(bits)
        assert got.dtype == np.uint16
        wide = (back(got, layout).astype(np.uint32) << 16).view(np.float32)
        # Whole numbers below 256 fit the eight bits that bfloat16 has; others lie next to them.
        np.testing.assert_allclose(wide, want, rtol=2.0**-8, atol=0)
        np.testing.assert_array_equal(wide[np.abs(want) <= 256], want[np.abs(want) <= 256])
        out = np.empty(got.shape, np.uint16)
        assert made(bits, out=out) is out
        np.testing.assert_array_equal(out, got)
    if c_in == c_out:
        same = bits.copy()
        layer(same, out=same)
        np.testing.assert_array_equal(same, layer(bits))
    with pytest.raises(TypeError, match="takes no nodata"):
        layer(bits, nodata=0)


def test_bfloat16_by_name_still_takes_its_own_arrays(bfloat16):
    w = np.ones((2, 1), np.float32)
    layer = c1x1.Pointwise(w, x_dtype="bfloat16", dtype="bfloat16")
    got = layer(np.array([[1, 2]], bfloat16))
    assert got.dtype == bfloat16
    assert float(got[0, 0]) == 3
    assert layer(np.array([[1, 2]], np.float32)).dtype == bfloat16
