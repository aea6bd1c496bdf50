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


def test_weights_packed_for_one_isa_are_not_given_to_another(layer, x):
    """A layer outlives a change of ISA."""
    from conftest import runnable_isas

    from c1x1 import _core

    before, want = _core.machine()["isa"], layer(x)
    try:
        for isa in runnable_isas():
            _core.select_isa(isa)
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
