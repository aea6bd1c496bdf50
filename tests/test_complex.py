"""Complex images and weights give what NumPy's complex arithmetic gives."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import reference

import c1x1

KINDS = [
    ("complex64", "complex64"),
    ("complex64", "float32"),
    ("float32", "complex64"),
    ("complex128", "complex128"),
    ("complex64", "complex128"),
    ("uint8", "complex64"),
    ("complex128", "int16"),
]


def whole_numbers(rng, shape, dtype):
    a = rng.integers(0, 5, shape).astype(dtype)
    return a + 1j * rng.integers(-4, 5, shape) if np.dtype(dtype).kind == "c" else a


def oracle(x, w, **keywords):
    return reference.conv(x, w, dtype=np.complex128, **keywords)


@pytest.mark.parametrize("layout", [None, "CHW", "NCHW", "NHWC"])
@pytest.mark.parametrize(("x_dtype", "w_dtype"), KINDS)
def test_exact_on_whole_numbers(isa, x_dtype, w_dtype, layout, rng):
    sizes = {"N": 2, "H": 5, "W": 7, "C": 6}
    for groups, stride in [(1, 1), (2, 1), (1, 2), (3, 3)]:
        x = whole_numbers(rng, [sizes[c] for c in layout or "HWC"], x_dtype).astype(x_dtype)
        w = whole_numbers(rng, (6 // groups, 12), w_dtype).astype(w_dtype)
        bias = whole_numbers(rng, 12, "complex64")
        given = reference.weights_for(w, layout)
        got = c1x1.conv(x, given, bias, layout=layout, groups=groups, stride=stride)
        assert got.dtype == np.result_type(x_dtype, w_dtype)
        want = oracle(x, w, bias=None, layout=layout, groups=groups, stride=stride)
        want = np.moveaxis(want, layout.index("C") if layout else -1, -1) + bias
        got = np.moveaxis(got, layout.index("C") if layout else -1, -1)
        np.testing.assert_array_equal(got, want)


def test_one_filter_strides_scale_residual_and_out(rng):
    x = whole_numbers(rng, (9, 8, 12), "complex64").astype(np.complex64)[::2, ::-1, ::3]
    w = whole_numbers(rng, 4, "complex64").astype(np.complex64)
    want = (x.astype(complex) * w).sum(-1)
    np.testing.assert_array_equal(c1x1.conv(x, w), want)
    residual = whole_numbers(rng, want.shape, "complex64")
    out = np.zeros((10, 16), np.complex128)[::2, ::2]
    got = c1x1.conv(x, w, 2 - 1j, scale=3.0, residual=residual, out=out)
    assert got is out
    np.testing.assert_array_equal(out, 3 * want + (2 - 1j) + residual)


def test_out_over_an_operand_is_as_if_it_were_apart(rng):
    x = whole_numbers(rng, (6, 5, 4), "complex64").astype(np.complex64)
    w = whole_numbers(rng, (4, 4), "complex64").astype(np.complex64)
    want = oracle(x, w)
    np.testing.assert_array_equal(c1x1.conv(x, w, out=x), want)


def test_errors_are_bounded_as_those_of_real_sums(rng):
    x = rng.standard_normal((40, 500, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    w = (rng.standard_normal((500, 7)) + 1j * rng.standard_normal((500, 7))).astype(np.complex64)
    total = np.abs(x).astype(float) @ np.abs(w).astype(float) * np.sqrt(2)
    error = np.abs(c1x1.conv(x, w) - oracle(x, w))
    assert (error <= 16 * 2**-24 * 2 * total).all()


def bits(a):
    """Of both parts; those of every NaN are the same."""
    parts = np.ascontiguousarray(a)[..., None].view(a.real.dtype)
    return np.where(np.isnan(parts), parts.dtype.type(np.nan), parts).tobytes()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("kind", ["c", "f"])
def test_parts_summed_at_once_have_the_bits_of_those_summed_one_by_one(isa, dtype, kind, rng):
    """Where both parts of a result lie side by side they are two filters of one convolution."""

    def noise(*shape):
        a = rng.standard_normal((*shape, 2)).view(complex)[..., 0].astype(dtype)
        a.ravel()[:3] = 0, -0.0, -1
        if a.ndim == 3:
            a[0, 0, 0], a[0, 1, -1], a[1, 0, 0] = np.nan, np.inf, -1j * np.inf
        return a

    for channels, filters, groups in [(20, 7, 1), (9, 3, 1), (40, 4, 1), (24, 12, 2), (6, 6, 6)]:
        x, w = noise(5, 8, channels), noise(channels // groups, filters)
        x = x if kind == "c" else x.real.copy()
        residual, bias = noise(5, 8, filters), noise(filters)
        for words in [
            {},
            {"bias": bias, "scale": 0.7, "residual": residual},
            {"bias": bias.real, "scale": rng.standard_normal(filters), "residual": residual[0, 0]},
        ]:
            both = c1x1.conv(x, w, groups=groups, **words)
            apart = np.empty((5, 8, 2 * filters), dtype)[..., ::2]
            c1x1.conv(x, w, groups=groups, out=apart, **words)
            planes = {
                name: a.transpose(2, 0, 1) if np.ndim(a) == 3 else a for name, a in words.items()
            }
            if np.ndim(words.get("residual")) == 1:
                planes["residual"] = words["residual"][:, None, None]
            first = c1x1.conv(x.transpose(2, 0, 1), w.T, layout="CHW", groups=groups, **planes)
            for other in (apart, first.transpose(1, 2, 0)):
                assert bits(both) == bits(other)


def test_empty():
    x, w = np.zeros((0, 3), np.complex64), np.zeros((3, 5), np.complex64)
    assert c1x1.conv(x, w).shape == (0, 5)
    got = c1x1.conv(np.zeros((4, 0), np.complex64), np.zeros((0, 2), np.complex64), 1 + 2j)
    np.testing.assert_array_equal(got, np.full((4, 2), 1 + 2j))


X, W = np.ones((4, 3), np.complex64), np.ones((3, 2), np.float32)
BAD = [
    ({"activation": "relu"}, TypeError, "activation is for real x and w"),
    ({"nodata": 0}, TypeError, "nodata is for real x and w"),
    ({"dtype": np.float32}, TypeError, "cannot hold the complex result"),
    ({"scale": 1j}, TypeError, "scale must be real"),
    ({"out": np.ones((4, 2), np.float32)}, TypeError, "does not cast"),
    ({"out": np.ones((4, 3), np.complex64)}, ValueError, "out has shape (4, 3); expected (4, 2)"),
    ({"layout": "CW"}, ValueError, "does not fit"),
]


@pytest.mark.parametrize(("keywords", "error", "text"), BAD, ids=[text for *_, text in BAD])
def test_what_has_no_meaning_is_refused(keywords, error, text):
    with pytest.raises(error, match=re.escape(text)):
        c1x1.conv(X, W, **keywords)


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"bias": np.ones(3)},
        {"bias": np.ones(3, np.complex64)},
        {"bias": "one"},
        {"scale": np.ones(3)},
        {"residual": np.ones((5, 5))},
        {"threads": 0},
    ],
    ids=str,
)
def test_out_is_untouched_by_errors(layout, wrong):
    x, w = (X, W + 1j) if layout == "WC" else (X.T, W.T + 1j)
    out = np.full((4, 2) if layout == "WC" else (2, 4), 7, np.complex64)
    with pytest.raises((ValueError, TypeError)):
        c1x1.conv(x, w, layout=layout, out=out, **wrong)
    assert (out == 7).all()


def test_complex_longer_than_128_bits_is_refused():
    if np.dtype(np.clongdouble).itemsize == 16:
        pytest.skip("clongdouble is complex128 on this platform")
    with pytest.raises(TypeError, match="not supported"):
        c1x1.conv(X.astype(np.clongdouble), W)


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [None, "CHW", "NCHW", "NHWC"])
@pytest.mark.parametrize(("x_dtype", "w_dtype"), KINDS)
def test_a_layer_gives_what_conv_gives(isa, x_dtype, w_dtype, layout, rng):
    sizes = {"N": 2, "H": 5, "W": 7, "C": 24}
    x = whole_numbers(rng, [sizes[c] for c in layout or "HWC"], x_dtype).astype(x_dtype)
    for groups, filters, stride in [(1, 24, 1), (1, 3, 2), (3, 36, 1)]:
        w = whole_numbers(rng, (24 // groups, filters), w_dtype).astype(w_dtype)
        w = reference.weights_for(w, layout)
        bias = whole_numbers(rng, filters, "complex64").astype(np.complex64)
        words = {"layout": layout, "groups": groups, "scale": 2.0}
        layer = c1x1.Pointwise(w, bias, x_dtype=x_dtype, **words)
        want = c1x1.conv(x, w, bias, stride=stride, **words)
        residual = whole_numbers(rng, want.shape, "complex64")
        for one in (layer, pickle.loads(pickle.dumps(layer))):
            got = one(x, stride=stride)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(
                one(x, stride=stride, residual=residual),
                c1x1.conv(x, w, bias, stride=stride, residual=residual, **words),
            )
        out = np.zeros_like(want)
        assert layer(x, out=out, stride=stride, threads=1) is out
        np.testing.assert_array_equal(out, want)


def test_a_complex_layer_keeps_and_packs_its_weights(rng):
    w = whole_numbers(rng, (32, 16), "complex64").astype(np.complex64)
    layer = c1x1.Pointwise(w)
    np.testing.assert_array_equal(layer.weight, w)
    assert layer.weight.dtype == np.complex64 and not layer.weight.flags.writeable
    real = c1x1.Pointwise(w.real)
    assert layer.packed_bytes == 4 * real.packed_bytes > 0  # both parts of w and of iw
    first = c1x1.Pointwise(w.T, layout="CHW")
    assert first.packed_bytes == 3 * c1x1.Pointwise(w.T.real, layout="CHW").packed_bytes > 0
    assert "complex64 weights (32, 16)" in repr(layer)
    # A layer of real weights is packed for complex pixels as for real ones.
    assert c1x1.Pointwise(w.real, x_dtype=np.complex64).packed_bytes == real.packed_bytes
    x = whole_numbers(rng, (5, 32), "complex128")
    wide = c1x1.Pointwise(w.real, dtype=np.complex128, x_dtype=np.complex64)
    assert wide(x.astype(np.complex64)).dtype == np.complex128
    np.testing.assert_array_equal(wide(x), x @ w.real.astype(float))
    given = c1x1.Pointwise(w.astype(">c8"))
    assert given.weight.dtype == np.complex64
    np.testing.assert_array_equal(given(x), layer(x))


def test_one_complex_filter_in_the_images_shape(rng):
    w = whole_numbers(rng, (1, 1, 6), "complex64").astype(np.complex64)
    x = whole_numbers(rng, (4, 5, 6), "complex64").astype(np.complex64)
    want = (x.astype(complex) * w).sum(-1)
    np.testing.assert_array_equal(c1x1.Pointwise(w)(x)[..., 0], want)
    np.testing.assert_array_equal(c1x1.Pointwise(w[0, 0])(x), want)


def test_complex_weights_are_folded_as_real_ones_are(rng):
    w = whole_numbers(rng, (6, 4), "complex128")
    x = whole_numbers(rng, (9, 6), "complex128")
    for bias in (None, np.arange(4) - 1j, np.arange(4.0)):
        for weights in (w, w.real):
            layer = c1x1.Pointwise(weights, bias, x_dtype=np.complex128)
            folded = layer.fold_normalization([1, 2, 3, 4, 5, 6], 2)
            want = layer((x - [1, 2, 3, 4, 5, 6]) / 2)
            np.testing.assert_allclose(folded(x), want, rtol=0, atol=1e-12)
            normed = layer.fold_batchnorm([1, 2, 3, 4], None, [0, 1, 2, 3], 4, 0.0)
            want = (layer(x) - [0, 1, 2, 3]) / 2 * [1, 2, 3, 4]
            np.testing.assert_allclose(normed(x), want, rtol=0, atol=1e-12)
