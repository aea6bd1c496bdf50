"""Pointwise: immutable, copyable, picklable, shareable between threads, and equal to conv."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import reference

import c1x1


@pytest.fixture
def layer(rng):
    w = rng.standard_normal((30, 70)).astype(np.float32)
    return c1x1.Pointwise(w, rng.standard_normal(70).astype(np.float32))


@pytest.fixture
def x(rng):
    return rng.standard_normal((9, 10, 30)).astype(np.float32)


def test_equals_conv(isa, rng):
    for c_in, c_out in ((3, 3), (1, 9), (30, 70), (300, 16), (1100, 40)):
        for layout in ("HWC", "CHW"):
            x = rng.standard_normal((6, 8, c_in) if layout == "HWC" else (c_in, 6, 8)).astype(
                np.float32
            )
            w = reference.weights_for(rng.standard_normal((c_in, c_out)).astype(np.float32), layout)
            bias = rng.standard_normal(c_out).astype(np.float32)
            layer = c1x1.Pointwise(w, bias, layout=layout)
            np.testing.assert_array_equal(layer(x), c1x1.conv(x, w, bias, layout=layout))
            np.testing.assert_array_equal(
                layer(x, stride=2), c1x1.conv(x, w, bias, layout=layout, stride=2)
            )
            np.testing.assert_array_equal(
                layer(x.astype(np.float64)), c1x1.conv(x.astype(np.float64), w, bias, layout=layout)
            )


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_every_number_of_filters(isa, dtype, groups, rng):
    """The last two panels may be packed as one; threads may cut between them; k may be cut too."""
    for c_in, pixels in ((7, 1), (33, 40), (3500, 40)):
        for c_out in [*range(1, 70), 100, 136] if c_in < 3500 else (24, 40, 49):
            x = rng.integers(-3, 4, (pixels, c_in * groups)).astype(dtype)
            w = rng.integers(-3, 4, (c_in, c_out * groups)).astype(dtype)
            layer = c1x1.Pointwise(w, layout="WC", groups=groups)
            for threads in (1, 5):
                got = layer(x, threads=threads)
                for g in range(groups):
                    outputs = slice(g * c_out, (g + 1) * c_out)
                    pixels_of_group = x[:, g * c_in : (g + 1) * c_in].astype(np.float64)
                    want = pixels_of_group @ w[:, outputs].astype(np.float64)
                    np.testing.assert_array_equal(got[:, outputs], want)


def test_weights_packed_for_one_isa_are_not_given_to_another(layer, x):
    """A layer outlives a change of ISA."""
    from conftest import has_matrix_unit, runnable_isas

    from c1x1 import _core

    before = _core.machine()["isa"]
    want = c1x1.conv(x, layer.weight, layer.bias, reproducible=True)
    try:
        for isa in runnable_isas():
            _core.select_isa(isa)
            np.testing.assert_array_equal(layer(x), c1x1.conv(x, layer.weight, layer.bias))
            if not has_matrix_unit(isa):
                np.testing.assert_array_equal(layer(x), want)
    finally:
        _core.select_isa(before)


def test_pickle_holds_plain_weights(layer, x):
    data = pickle.dumps(layer)
    assert len(data) < layer.weight.nbytes + layer.bias.nbytes + 1000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again(x), layer(x))
    assert again.packed_bytes == layer.packed_bytes > 0
    again = pickle.loads(
        pickle.dumps(
            c1x1.Pointwise(np.ones((4, 3, 1, 1)), layout="NCHW", groups=2, dtype="float32")
        )
    )
    assert (again.layout, again.groups, again.dtype, again.bias) == ("NCHW", 2, np.float32, None)


EVERYTHING = {
    "layout": "CHW",
    "groups": 2,
    "scale": np.arange(1, 7, dtype=np.float32),
    "activation": ("prelu", np.arange(6) / 4),
    "lut": np.arange(256, dtype=np.float64) - 100,
    "dtype": "float32",
    "precision": "high",
    "reproducible": True,
    "x_dtype": "uint8",
}


def everything():
    """A layer with all keywords, and an image for it."""
    layer = c1x1.Pointwise(np.ones((6, 5), np.float32), np.arange(6), **EVERYTHING)
    return layer, np.arange(10 * 4 * 7, dtype=np.uint8).reshape(10, 4, 7)


class Named(c1x1.Pointwise):
    """A user's own class, with an attribute."""

    name = "none"


def test_pickles_of_subclasses_keep_class_and_attributes():
    layer = Named(np.ones((7, 4)))
    layer.name = "first"
    again = pickle.loads(pickle.dumps(layer))
    assert type(again) is Named
    assert again.name == "first"
    np.testing.assert_array_equal(again.weight, layer.weight)


def test_nobody_makes_its_arrays_writable():
    layer = c1x1.Pointwise(
        np.ones((7, 4)), np.ones(4), scale=np.ones(4), lut=np.ones(256),
        activation=("prelu", np.ones(4)),
    )  # fmt: skip
    for a in (layer.weight, layer.bias, layer.scale, layer.lut, layer.activation[1]):
        with pytest.raises(ValueError, match="WRITEABLE"):
            a.flags.writeable = True


def test_a_real_layer_gives_complex_results_of_complex_images():
    x = np.array([[1 + 2j, 3]], np.complex64)
    layer = c1x1.Pointwise(np.ones((2, 1), np.float32), dtype=np.complex128)
    y = layer(x)
    assert y.dtype == np.complex128
    assert y.item() == 4 + 2j


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_holds_every_keyword(protocol):
    layer, x = everything()
    again = pickle.loads(pickle.dumps(layer, protocol))
    for name, given in EVERYTHING.items():
        if name == "activation":
            assert again.activation[0] == given[0]
            np.testing.assert_array_equal(again.activation[1], given[1])
        elif isinstance(given, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), given)
            assert getattr(again, name).dtype == given.dtype
        else:
            assert getattr(again, name) == given
    np.testing.assert_array_equal(again(x), layer(x))
    np.testing.assert_array_equal(again(x, nodata=3), layer(x, nodata=3))
    assert again.packed_bytes == layer.packed_bytes
    for activation in ("gelu", ("clip", None, 2), ("prelu", [0.5, 0.25])):
        again = pickle.loads(pickle.dumps(c1x1.Pointwise(np.ones((3, 2)), activation=activation)))
        np.testing.assert_array_equal(
            again(np.ones((1, 3))),
            c1x1.conv(np.ones((1, 3)), np.ones((3, 2)), activation=activation),
        )


def test_everything_equals_conv(isa):
    layer, x = everything()
    options = {k: v for k, v in EVERYTHING.items() if k != "x_dtype"}
    weights, bias = np.ones((6, 5), np.float32), np.arange(6)
    residual = np.arange(6 * 4 * 7).reshape(6, 4, 7)
    want = c1x1.conv(x, weights, bias, residual=residual, nodata=3, **options)
    np.testing.assert_array_equal(layer(x, residual=residual, nodata=3), want)
    np.testing.assert_array_equal(layer(x, None, residual, 1, 3, 2), want)
    np.testing.assert_array_equal(layer(x), c1x1.conv(x, weights, bias, **options))
    strided = c1x1.conv(x, weights, bias, stride=2, **options)
    np.testing.assert_array_equal(layer(x, None, None, 2), strided)


@pytest.mark.usefixtures("without_matrix_unit")  # whose pieces are counted too
def test_x_dtype_packs_for_the_dtype_of_the_products(x, rng):
    """Weights of float32 for images of float64."""
    w = rng.integers(-4, 5, (30, 70)).astype(np.float32)
    plain, wide = c1x1.Pointwise(w), c1x1.Pointwise(w, x_dtype=np.float64)
    assert wide.packed_bytes > plain.packed_bytes > 0
    assert c1x1.Pointwise(w, x_dtype=np.uint8).packed_bytes == plain.packed_bytes
    for image in (x, x.astype(np.float64)):
        np.testing.assert_array_equal(wide(image), c1x1.conv(image, w))
        np.testing.assert_array_equal(plain(image), c1x1.conv(image, w))


def test_copies(layer, x):
    for other in (copy.copy(layer), copy.deepcopy(layer)):
        np.testing.assert_array_equal(other(x), layer(x))


def test_immutable(layer, x, rng):
    w = rng.standard_normal((30, 5)).astype(np.float32)
    made = c1x1.Pointwise(w)
    want = made(x)
    w[...] = 0
    np.testing.assert_array_equal(made(x), want)
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        layer.bias[0] = 1
    scale, slopes, table = np.ones(5), np.ones(5), np.ones(256)
    listed = [1.0] * 5
    minus = -np.ones((30, 5), np.float32)
    layers = [
        c1x1.Pointwise(minus, scale=scale, activation=("prelu", slopes), lut=table),
        c1x1.Pointwise(minus, scale=scale, activation=("prelu", listed), lut=table),
    ]
    image = rng.integers(0, 255, (4, 30)).astype(np.uint8)
    wants = [made(image) for made in layers]
    scale[...] = slopes[...] = table[...] = 7
    listed[0] = 7
    for made, want in zip(layers, wants, strict=True):
        np.testing.assert_array_equal(made(image), want)
        np.testing.assert_array_equal(made(image, residual=0), want)
        for array in (made.scale, made.lut, made.activation[1]):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    with pytest.raises(AttributeError):
        layer.weight = w
    with pytest.raises(AttributeError):
        layer.something = 1


def test_out(layer, x):
    out = np.empty((9, 10, 70), np.float32)
    assert layer(x, out=out) is out
    np.testing.assert_array_equal(out, layer(x))


def test_dtype(rng):
    layer = c1x1.Pointwise(np.eye(3), dtype=np.uint8)
    np.testing.assert_array_equal(
        layer(np.array([[-1.0, 2.5, 300.0]])), np.array([[0, 2, 255]], np.uint8)
    )


def test_a_filter_and_a_matrix_of_one_channel_are_told_apart_by_the_image():
    layer = c1x1.Pointwise(np.arange(6.0).reshape(1, 1, 6))
    assert layer(np.ones((2, 2, 6))).shape == (2, 2, 1)
    assert layer(np.ones((2, 2, 1))).shape == (2, 2, 6)


def test_repr():
    assert (
        repr(c1x1.Pointwise(np.ones((3, 4), np.float32), 1.0))
        == "<c1x1.Pointwise: float32 weights (3, 4), bias>"
    )
    text = repr(c1x1.Pointwise(np.ones((4, 3)), layout="CHW", groups=2))
    assert text == "<c1x1.Pointwise: float64 weights (4, 3), layout='CHW', groups=2>"


def test_repr_names_what_follows_the_sums():
    layer, _ = everything()
    assert repr(layer) == (
        "<c1x1.Pointwise: float32 weights (6, 5), bias, scale, lut, "
        f"activation={layer.activation!r}, layout='CHW', groups=2>"
    )
    text = repr(c1x1.Pointwise(np.ones((3, 4)), activation=("clip", 0, 1)))
    assert text == "<c1x1.Pointwise: float64 weights (3, 4), activation=('clip', 0, 1)>"


def test_shared_between_threads(layer, rng):
    images = [rng.standard_normal((20, 20, 30)).astype(np.float32) for _ in range(8)]
    wants = [layer(image) for image in images]
    wrong = []

    def loop(image, want):
        wrong.extend(1 for _ in range(100) if not np.array_equal(layer(image), want))

    threads = [threading.Thread(target=loop, args=pair) for pair in zip(images, wants, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
