"""Dtypes of results, exact sums of integers, saturation and rounding of integer results."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import c1x1

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def result_dtype(x, w):
    """The table of the contract."""
    if w == "int8" and x in ("uint8", "int8"):
        return np.dtype("int32")
    if x in ("int16", "uint16", "int32", "int64") and np.dtype(w).kind in "iu":
        return np.dtype("int64")
    return np.result_type(np.dtype(x), np.dtype(w))


def saturated(values, dtype):
    if dtype.kind == "b":
        return values != 0
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(values, limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("w_dtype", DTYPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
def test_every_pair(isa, x_dtype, w_dtype, layout, rng):
    for c_in, c_out in ((3, 3), (21, 2), (9, 17)):
        shape = (6, 7, c_in) if layout == "HWC" else (c_in, 6, 7)
        x = reference.image(rng, shape, layout, x_dtype)
        w = reference.image(rng, (c_in, c_out), None, w_dtype)
        got = c1x1.conv(x, reference.weights_for(w, layout), layout=layout)
        dtype = result_dtype(x_dtype, w_dtype)
        assert got.dtype == dtype
        np.testing.assert_array_equal(
            got, saturated(reference.conv(x, w, layout=layout, dtype=np.int64), dtype)
        )


@pytest.mark.parametrize("x_dtype", DTYPES)
def test_pointwise_agrees_with_conv(x_dtype, rng):
    for w_dtype in DTYPES:
        x = reference.image(rng, (5, 6, 9), None, x_dtype)
        w = reference.image(rng, (9, 11), None, w_dtype)
        got, want = c1x1.Pointwise(w)(x), c1x1.conv(x, w)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (20, 1), (5, 9)])
def test_dtype_rounds_half_to_even_and_saturates(isa, dtype, c_in, c_out):
    dtype = np.dtype(dtype)
    values = np.array(
        [
            -1e30,
            -300.5,
            -129,
            -2.5,
            -1.5,
            -0.5,
            0,
            0.5,
            1.5,
            2.5,
            126.5,
            127.5,
            254.5,
            255.5,
            1e5,
            1e30,
            np.nan,
        ]
    )
    x = np.zeros((len(values), c_in))
    x[:, 0] = values
    w = np.zeros((c_in, c_out))
    w[0] = 1
    got = c1x1.conv(x, w, dtype=dtype)
    assert got.dtype == dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        want = [
            0
            if np.isnan(v)
            else limits.min
            if np.rint(v) <= limits.min
            else limits.max
            if np.rint(v) >= limits.max
            else int(np.rint(v))
            for v in values
        ]
        want = np.array(want, dtype)
    else:
        with np.errstate(over="ignore"):
            want = values.astype(dtype)
    np.testing.assert_array_equal(got, np.repeat(want[:, None], c_out, 1))


def test_float64_dtype_makes_the_sums_float64():
    x = np.array([[1e8, 1.0, -1e8]], np.float32)
    w = np.ones((3, 1), np.float32)
    assert c1x1.conv(x, w, dtype=np.float64)[0, 0] == 1.0


@pytest.mark.parametrize("k", [5, 40])
def test_int64_sums_are_exact_beyond_float64(isa, k):
    x = np.full((3, k), 2**53 // k + 1, np.int64)
    x[1] *= -1
    got = c1x1.conv(x, np.ones((k, 2), np.int64))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.repeat(x.sum(axis=1)[:, None], 2, 1))


def test_uint64_sums_wrap_as_in_numpy():
    x = np.full((2, 3), 2**63, np.uint64)
    w = np.ones((3, 1), np.uint64)
    np.testing.assert_array_equal(c1x1.conv(x, w), x @ w)


def test_uint64_stays_unsigned_in_results_of_other_dtypes(isa):
    """Sums that only uint64 holds are made in float64 where something else is made of them."""
    x, w = np.array([[2**63], [2**64 - 1], [3]], np.uint64), np.ones((1, 1), np.uint64)
    values = x.astype(np.float64)
    for layer in (c1x1.Pointwise(w), c1x1.Pointwise(w.astype(np.uint8))):
        out = np.empty((3, 1), np.float32)
        np.testing.assert_array_equal(layer(x, out=out), values.astype(np.float32))
    np.testing.assert_array_equal(c1x1.conv(x, w, dtype=np.float64), values)
    np.testing.assert_array_equal(c1x1.conv(x, w, activation=("clip", 0, 100)), [[100], [100], [3]])
    np.testing.assert_array_equal(c1x1.conv(x, w, activation="relu")[0], 2**63)
    np.testing.assert_array_equal(c1x1.conv(x, w, scale=0.5)[0], 2**62)
    np.testing.assert_array_equal(c1x1.conv(x, w, dtype=np.uint8), [[255], [255], [3]])
    np.testing.assert_array_equal(c1x1.conv(x, w, dtype=np.int64)[0], 2**63 - 1)
    large = np.array([[2**64 - 1]], np.uint64)
    np.testing.assert_array_equal(
        c1x1.conv(np.int64([[2], [-2]]), large), [[2**63 - 1], [-(2**63)]]
    )
    exact = np.int64([[2**60 + 1]])
    np.testing.assert_array_equal(c1x1.conv(exact, np.uint64([[3]])), 3 * exact)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("c_out", [1, 3, 9])
def test_negative_sums_saturate_to_zero_in_unsigned_results(dtype, c_out, isa):
    x = np.full((5, 7, 2), -1, dtype)
    x[0] = 2
    w = np.full((2, c_out), 3, dtype)
    for unsigned in (np.uint8, np.uint16, np.uint32, np.uint64):
        want = np.maximum(x @ w, 0)
        np.testing.assert_array_equal(c1x1.conv(x, w, dtype=unsigned), want)
        first = np.moveaxis(x, -1, 0).copy()
        np.testing.assert_array_equal(
            c1x1.conv(first, w.T, layout="CHW", dtype=unsigned), np.moveaxis(want, -1, 0)
        )


def test_float16_loads_and_stores_every_value():
    """Through a filter of 1: what comes in must go out."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 1)
    got = c1x1.conv(x, np.ones((1, 1), np.float16))
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, x)
    with np.errstate(invalid="ignore"):  # a signalling NaN, on 64-bit ARM
        want = x.astype(np.float32)
    np.testing.assert_array_equal(c1x1.conv(x, np.ones((1, 1), np.float32)), want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float16_results_round_to_nearest_even(dtype, rng):
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    between = (halves[1:] + halves[:-1]) / 2
    values = np.concatenate(
        [
            halves,
            between,
            np.nextafter(between, 0),
            np.nextafter(between, 1e9),
            [65519.99, 65520, 1e300],
        ]
    )
    with np.errstate(over="ignore"):
        x = np.concatenate([values, -values]).astype(dtype).reshape(-1, 1)
        want = (x + 0.0).astype(np.float16)  # a sum starts at +0, so no result is -0
    np.testing.assert_array_equal(
        c1x1.conv(x, np.ones((1, 1), dtype), dtype=np.float16).view(np.uint16), want.view(np.uint16)
    )


@pytest.mark.parametrize("bias", [2, 2.5, np.float64(2.5), [1, 2, 3], np.array([1, 2, 3], np.int8)])
def test_bias_of_any_kind(bias):
    x = np.ones((2, 4), np.float32)
    w = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(
        c1x1.conv(x, w, bias), np.float32(4) + np.broadcast_to(np.asarray(bias, np.float32), (2, 3))
    )
