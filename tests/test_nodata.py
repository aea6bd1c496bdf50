"""nodata: a pixel with it in any channel has no result; all others are what they are without."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import c1x1
from c1x1 import _api

CHANNELS = [(1, 1), (3, 3), (5, 9), (40, 2), (33, 20), (1100, 6)]
FLOATS = ["float16", "float32", "float64"]


def marked(rng, layout, c_in, dtype, value, pixels=(7, 9)):
    """Whole numbers below 7, `value` in one channel of some pixels; and which pixels."""
    shape = {"HWC": (*pixels, c_in), "CHW": (c_in, *pixels)}[layout]
    x = reference.image(rng, shape, layout, dtype, -2, 3)
    has = rng.random(pixels) < 0.3
    last = reference.channels_last(x, layout)
    for row, column in np.argwhere(has):
        last[row, column, rng.integers(c_in)] = value
    return x, has


def filled(y, has, value, layout):
    y = y.copy()
    reference.channels_last(y, layout)[has] = value
    return y


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *[(d, v) for d in FLOATS for v in (np.nan, -9999, np.inf, -np.inf, 0.1)],
        *[("uint8", 255), ("int8", -128), ("uint16", 65535), ("int16", -32768)],
        *[("int32", -(2**31)), ("uint32", 2**32 - 1), ("int64", 2**62), ("uint64", 2**64 - 1)],
        *[("float32", np.float32(-3.4e38)), ("float64", -1.7976931348623157e308)],
        *[("float32", 16777217), ("uint8", 9.0), ("int16", np.int64(99)), ("bool", True)],
    ],
)
def test_pixels_with_it_have_no_result_and_others_keep_theirs(isa, layout, dtype, value, rng):
    for c_in, c_out in CHANNELS:
        w = reference.weights_for(rng.integers(-1, 2, (c_in, c_out)).astype(np.float32), layout)
        with np.errstate(over="ignore"):
            x, has = marked(rng, layout, c_in, dtype, value)
        if dtype == "bool":
            has = reference.channels_last(x, layout).any(axis=-1)
        plain = c1x1.conv(x, w, layout=layout)
        with np.errstate(over="ignore"):
            kept = np.array(value, plain.dtype)
        if np.isfinite(float(value)) and not np.isfinite(kept):
            kept = np.nan
        got = c1x1.conv(x, w, layout=layout, nodata=value)
        np.testing.assert_array_equal(got, filled(plain, has, kept, layout))


def test_every_role_and_both_ways_out(isa):
    """Lest a change of the plan empties the test above."""
    seen = set()
    for layout, c_in, c_out in (("HWC", 3, 3), ("HWC", 33, 20), ("CHW", 33, 20), ("HWC", 40, 1)):
        x = np.zeros((7, 9, c_in) if layout == "HWC" else (c_in, 7, 9), np.float32)
        w = reference.weights_for(np.zeros((c_in, c_out), np.float32), layout)
        for dtype in ("float32", "float16"):
            plan = _api.plan(x, w, layout=layout, nodata=1, dtype=dtype)
            seen.add((plan["role"], plan["is_direct"]))
    roles = ("small", "pixels_m", "pixels_n", "dot")
    assert seen == {(r, d) for r in roles for d in (True, False)} or not isa.startswith("x86")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0.0, -0.0])
def test_both_zeros_are_zero(isa, dtype, value):
    x = np.array([[0.0, 1], [-0.0, 1], [2, 1]], dtype)
    got = c1x1.conv(x, np.ones((2, 3), dtype), nodata=value)
    np.testing.assert_array_equal(got, [[0] * 3, [0] * 3, [3] * 3])
    np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(np.full((2, 3), value)))


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float16", "u2"), ("float32", "u4"), ("float64", "u8")]
)
def test_every_nan_is_nan_and_nothing_else(isa, dtype, bits):
    """Quiet and signalling, of either sign; infinity is none."""
    info = np.finfo(dtype)
    infinity = int(np.array(np.inf, dtype).view(bits))
    sign = 1 << 8 * info.dtype.itemsize - 1
    quiet = 1 << info.nmant - 1
    nans = [infinity | 1, infinity | quiet, infinity | quiet | 5, infinity | 2 * quiet - 1]
    values = [*nans, *[n | sign for n in nans], infinity, infinity | sign, 0, 1, sign]
    x = np.array(values, bits).view(dtype)[:, None]
    w = np.ones((1, 2), dtype)
    got = c1x1.conv(x, w, nodata=np.nan, activation=("clip", -1, 1))
    assert np.isnan(got[:8]).all()
    np.testing.assert_array_equal(got[8:, 0], np.clip(x[8:, 0], -1, 1))


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_a_nan_elsewhere_is_no_number(isa, layout, rng):
    """Without nodata=nan, NaN propagates in its pixel."""
    x, has = marked(rng, layout, 20, "float32", np.nan)
    w = np.ones((20, 5), np.float32)
    got = c1x1.conv(x, reference.weights_for(w, layout), layout=layout, nodata=-9999)
    last = reference.channels_last(got, layout)
    assert np.isnan(last[has]).all() and np.isfinite(last[~has]).all()


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("groups", [2, 3])
def test_any_channel_of_any_group(isa, layout, groups, rng):
    for c_in, c_out in ((1, 1), (1, 4), (2, 3), (20, 9), (40, 1)):
        x, _ = marked(rng, layout, groups * c_in, "float32", 0)
        w = reference.weights_for(
            rng.integers(-1, 2, (c_in, groups * c_out)).astype(np.float32), layout
        )
        plain = c1x1.conv(x, w, layout=layout, groups=groups)
        last = reference.channels_last(x, layout)
        for channel in range(groups * c_in):
            last[1, 1 + channel % 8] = 1
            last[1, 1 + channel % 8, channel] = 50
            plain = c1x1.conv(x, w, layout=layout, groups=groups)
            got = c1x1.conv(x, w, layout=layout, groups=groups, nodata=50)
            np.testing.assert_array_equal(got, filled(plain, (last == 50).any(axis=-1), 50, layout))


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "float64"]
)
def test_result_of_another_dtype(isa, layout, dtype, rng):
    """Not rounded, not saturated: the value itself."""
    for c_in, c_out in ((3, 3), (20, 9), (40, 1)):
        w = reference.weights_for(rng.integers(-1, 2, (c_in, c_out)).astype(np.float32), layout)
        x, has = marked(rng, layout, c_in, "int16", 101)
        plain = c1x1.conv(x, w, layout=layout, dtype=dtype)
        got = c1x1.conv(x, w, layout=layout, dtype=dtype, nodata=101)
        np.testing.assert_array_equal(got, filled(plain, has, 101, layout))


def test_a_value_that_the_result_cannot_hold_becomes_nan(isa):
    x = np.array([[-1e300, 1], [2, 3]])
    w = np.ones((2, 2))
    got = c1x1.conv(x, w, nodata=-1e300, dtype=np.float32)
    np.testing.assert_array_equal(got, [[np.nan, np.nan], [5, 5]])
    got = c1x1.conv(np.array([[70000, 1], [2, 3]], np.float32), w.astype(np.float32), nodata=70000,
                    out=np.empty((2, 2), np.float16))  # fmt: skip
    np.testing.assert_array_equal(got, [[np.nan, np.nan], [5, 5]])


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("channels", [1, 3, 4, 20, 40, 1100])
def test_out_is_x(isa, layout, channels, rng):
    """Pixels are asked before their results are written."""
    x, has = marked(rng, layout, channels, "float32", np.nan)
    w = reference.weights_for(rng.integers(-1, 2, (channels, channels)).astype(np.float32), layout)
    want = filled(c1x1.conv(x, w, layout=layout), has, np.nan, layout)
    c1x1.conv(x, w, layout=layout, nodata=np.nan, out=x, threads=2)
    np.testing.assert_array_equal(x, want)


def test_out_of_any_strides_keeps_what_lies_between(isa, rng):
    x, has = marked(rng, "HWC", 20, "float32", -9999)
    w = rng.integers(-1, 2, (20, 9)).astype(np.float32)
    want = filled(c1x1.conv(x, w), has, -9999, "HWC")
    for dtype in ("float32", ">f4", "float64"):
        whole = np.full((14, 9, 14), 5, dtype)
        c1x1.conv(x, w, nodata=-9999, out=whole[::2, ::-1, 2:11])
        np.testing.assert_array_equal(whole[::2, ::-1, 2:11], want)
        assert (
            (whole[1::2] == 5).all()
            and (whole[..., :2] == 5).all()
            and (whole[..., 11:] == 5).all()
        )


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_with_an_epilogue_nothing_is_added_to_it(isa, layout, rng):
    """Neither bias nor residual nor activation reach a pixel without data."""
    for c_in, c_out in ((3, 3), (20, 9), (40, 2)):
        x, has = marked(rng, layout, c_in, "float32", -9999)
        w = reference.weights_for(rng.integers(-1, 2, (c_in, c_out)).astype(np.float32), layout)
        terms = {"scale": 0.5, "bias": 1, "activation": "silu", "layout": layout}
        residual = rng.integers(-9, 10, c1x1.conv(x, w, layout=layout).shape).astype(np.float32)
        plain = c1x1.conv(x, w, residual=residual, **terms)
        want = filled(plain, has, -9999, layout)
        np.testing.assert_array_equal(
            c1x1.conv(x, w, residual=residual, nodata=-9999, **terms), want
        )
        layer = c1x1.Pointwise(w, terms.pop("bias"), **terms)
        np.testing.assert_array_equal(layer(x, residual=residual, nodata=-9999), want)
        np.testing.assert_array_equal(layer(x, residual=residual), plain)
        c1x1.conv(x, w, 1, residual=residual, nodata=-9999, out=residual, **terms)
        np.testing.assert_array_equal(residual, want)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_with_stride_only_the_pixels_taken_count(isa, layout, rng):
    sizes = {"N": 2, "H": 9, "W": 21, "C": 20}
    x = reference.image(rng, [sizes[a] for a in layout], layout, np.float32)
    last = reference.channels_last(x, layout)
    last[0, 1, 1] = 50  # not taken
    last[1, 4, 6, 3] = 50
    w = reference.weights_for(rng.integers(-1, 2, (20, 9)).astype(np.float32), layout)
    plain = c1x1.conv(x, w, layout=layout, stride=(2, 3))
    reference.channels_last(plain, layout)[1, 2, 2] = 50
    np.testing.assert_array_equal(c1x1.conv(x, w, layout=layout, stride=(2, 3), nodata=50), plain)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_many_pixels_and_threads(isa, layout, rng):
    """Blocks with, without and full of them."""
    for c_in, c_out in ((3, 3), (20, 9), (40, 1)):
        x, has = marked(rng, layout, c_in, "float32", np.nan, (201, 157))
        last = reference.channels_last(x, layout)
        last[50:100], has[50:100] = np.nan, True
        last[100:150], has[100:150] = 1, False
        w = reference.weights_for(rng.integers(-1, 2, (c_in, c_out)).astype(np.float32), layout)
        want = filled(c1x1.conv(x, w, layout=layout), has, np.nan, layout)
        for threads in (1, 3):
            got = c1x1.conv(x, w, layout=layout, nodata=np.nan, threads=threads)
            np.testing.assert_array_equal(got, want)
