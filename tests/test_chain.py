"""A chain gives what its layers give one by one, and needs no image in between."""

from __future__ import annotations

import copy
import pickle
import re
import resource
from itertools import pairwise

import numpy as np
import pytest

import c1x1
from c1x1 import _core

LAYOUTS = ["HWC", "CHW", "NHWC", "NCHW", "WC", "CW", None]


def layers_for(rng, widths, layout, dtype=np.float32, **last):
    """Layers of small integers, with bounds so that sums stay exact."""
    made = []
    for i, (c_in, c_out) in enumerate(pairwise(widths)):
        w = rng.integers(-2, 3, (c_in, c_out)).astype(dtype)
        if layout is not None and not layout.endswith("C"):
            w = np.ascontiguousarray(w.T)
        extra = last if i == len(widths) - 2 else {"activation": ("clip", -4, 4)}
        made.append(c1x1.Pointwise(w, rng.integers(-3, 4, c_out), layout=layout, **extra))
    return made


def image(rng, layout, channels, *, side=23, dtype=np.float32):
    sizes = {"N": 2, "H": side, "W": side + 8, "C": channels}
    return rng.integers(0, 4, [sizes[letter] for letter in layout or "HWC"]).astype(dtype)


def one_by_one(layers, x, *, residual=None, stride=1):
    for layer in layers[:-1]:
        x = layer(x, stride=stride)
        stride = 1
    return layers[-1](x, residual=residual, stride=stride)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("widths", [(3, 5), (3, 16, 4), (40, 17, 33, 2), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chain_is_its_layers_one_by_one(isa, layout, widths, threads, rng):
    layers = layers_for(rng, widths, layout)
    chain = c1x1.Chain(layers)
    for side in (0, 1, 23, 90):
        x = image(rng, layout, widths[0], side=side)
        np.testing.assert_array_equal(chain(x, threads=threads), one_by_one(layers, x))


def test_a_layer_may_take_longer_than_a_call_looks_away(rng):
    """On plain C some tenths of a second for one block of pixels."""
    before = _core.machine()["isa"]
    _core.select_isa("scalar")
    try:
        layers = layers_for(rng, (1500, 1500, 2), "HWC")
        x = image(rng, "HWC", 1500, side=9)
        for pixels in (x, x[:, :8]):  # one run of pixels, and nine
            np.testing.assert_array_equal(c1x1.Chain(layers)(pixels), one_by_one(layers, pixels))
    finally:
        _core.select_isa(before)


@pytest.mark.parametrize("layout", ["HWC", "NCHW"])
def test_bits_are_those_of_the_layers(layout, rng):
    widths = (64, 64, 32, 8)
    layers = [
        c1x1.Pointwise(
            rng.standard_normal((a, b) if layout == "HWC" else (b, a)).astype(np.float32),
            activation="gelu",
            layout=layout,
            reproducible=True,  # a matrix unit would take layers alone, but not in a chain
        )
        for a, b in pairwise(widths)
    ]
    x = rng.standard_normal(image(rng, layout, 64, side=60).shape).astype(np.float32)
    want = one_by_one(layers, x).tobytes()
    for threads in (1, 2, 3, 7):
        assert c1x1.Chain(layers)(x, threads=threads).tobytes() == want


@pytest.mark.parametrize("layout", ["HWC", "CHW", "NCHW"])
def test_strides_of_x_and_out_and_pixels(layout, rng):
    layers = layers_for(rng, (4, 9, 3), layout)
    chain = c1x1.Chain(layers)
    big = image(rng, layout, 8, side=30)
    axis = layout.index("C")
    x = np.moveaxis(np.moveaxis(big, axis, 0)[::2], 0, axis)[..., ::-1]
    if layout == "HWC":
        x = big[..., ::2]
    want = one_by_one(layers, x)
    np.testing.assert_array_equal(chain(x), want)
    frame = np.zeros([2 * size for size in want.shape], np.float64)
    out = frame[tuple(slice(None, None, 2) for _ in want.shape)]
    assert chain(x, out=out) is out
    np.testing.assert_array_equal(out, want)
    assert np.count_nonzero(frame) == np.count_nonzero(out)
    np.testing.assert_array_equal(chain(x, stride=3), one_by_one(layers, x, stride=3))


def test_residual_is_the_last_layers_and_may_be_out(rng):
    layers = layers_for(rng, (4, 9, 3), None, activation="relu")
    chain, x = c1x1.Chain(layers), image(rng, None, 4)
    residual = rng.integers(-9, 9, (*x.shape[:-1], 3)).astype(np.float32)
    want = one_by_one(layers, x, residual=residual)
    np.testing.assert_array_equal(chain(x, residual=residual), want)
    row = residual[0, 0]
    np.testing.assert_array_equal(chain(x, residual=row), one_by_one(layers, x, residual=row))
    out = residual.copy()
    chain(x, residual=out, out=out)
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_nodata_of_x_reaches_the_end(layout, rng):
    layers = layers_for(rng, (4, 9, 3), layout)
    x = image(rng, layout, 4, dtype=np.uint8)
    y = np.moveaxis(c1x1.Chain(layers)(x, nodata=3), layout.index("C"), -1)
    want = np.moveaxis(one_by_one(layers, x), layout.index("C"), -1).copy()
    want[(np.moveaxis(x, layout.index("C"), -1) == 3).any(-1)] = 3
    np.testing.assert_array_equal(y, want)


def test_tables_dtypes_and_groups(rng):
    table = rng.integers(0, 4, 256).astype(np.float32)
    first = c1x1.Pointwise(np.eye(4, 6, dtype=np.float32), lut=table, dtype=np.float64)
    second = c1x1.Pointwise(rng.integers(-2, 3, (3, 4)).astype(np.float32), groups=2)
    last = c1x1.Pointwise(rng.integers(-2, 3, 4).astype(np.float32))
    x = rng.integers(0, 256, (31, 17, 4)).astype(np.uint8)
    layers = [first, second, last]
    want = one_by_one(layers, x)
    got = c1x1.Chain(layers)(x)
    assert got.dtype == want.dtype and got.shape == want.shape == (31, 17)
    np.testing.assert_array_equal(got, want)


def test_out_over_x_is_as_if_it_were_apart(rng):
    layers = layers_for(rng, (4, 9, 4), None)
    x = image(rng, None, 4)
    want = one_by_one(layers, x)
    np.testing.assert_array_equal(c1x1.Chain(layers)(x, out=x), want)


def test_no_image_between_layers(rng):
    layers = [
        c1x1.Pointwise(np.ones((a, b), np.float32)) for a, b in [(4, 256), (256, 256), (256, 4)]
    ]
    chain = c1x1.Chain(layers)
    x = np.ones((1000, 1000, 4), np.float32)
    out = np.ones_like(x)
    chain(x[:10], out=out[:10])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chain(x, out=out)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (out == 4 * 256 * 256).all()
    threads = _core.machine()["threads_available"]
    assert grown <= 1024 * (threads + 1), f"{grown} KiB; an image between layers has a million"


def test_a_chain_travels_and_is_a_sequence(rng):
    layers = layers_for(rng, (3, 4, 2), None)
    chain = c1x1.Chain(iter(layers))
    x = image(rng, None, 3)
    for other in (pickle.loads(pickle.dumps(chain)), copy.copy(chain), copy.deepcopy(chain)):
        np.testing.assert_array_equal(other(x), chain(x))
    assert len(chain) == 2 and list(chain) == layers and chain[1] is layers[1]
    assert chain.layers == tuple(layers) and "2 layers" not in repr(chain)


@pytest.mark.parametrize("odd", ["x", "out", "residual"])
@pytest.mark.parametrize("c_out", [1, 20])
def test_rows_that_begin_at_any_byte(odd, c_out, rng):
    """The first row lies as an element should, the next ones do not: each is right.

    tests/core/drive.c asks the same under UndefinedBehaviorSanitizer, which sees the addresses too.
    """

    def rows(channels, step):
        data = rng.integers(-2, 3, (5, 7, channels)).astype(np.float32)
        memory = np.zeros(5 * (data[0].nbytes + step), np.uint8)
        strides = (data[0].nbytes + step, *data.strides[1:])
        view = np.ndarray(data.shape, np.float32, memory.data, strides=strides)
        view[...] = data
        return view

    arrays = {
        name: rows(channels, 2 if name == odd else 0)
        for name, channels in {"x": 18, "out": c_out, "residual": c_out}.items()
    }
    mlp = c1x1.Chain(layers_for(rng, [18, 24, c_out], None))
    want = mlp(arrays["x"].copy(), residual=arrays["residual"].copy())
    mlp(**arrays)
    np.testing.assert_array_equal(arrays["out"], want)


BAD = [
    (lambda: c1x1.Chain([]), ValueError, "at least one layer"),
    (lambda: c1x1.Chain([np.eye(2)]), TypeError, "layer 0 is a ndarray; expected a c1x1.Pointwise"),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.eye(2)), c1x1.Pointwise(np.eye(2), layout="CHW")]),
        ValueError,
        "layer 1 has layout 'CHW' but layer 0 has None",
    ),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.eye(2)), c1x1.Pointwise(np.eye(3))]),
        ValueError,
        "layer 1 takes 3 channels but layer 0 gives 2",
    ),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.eye(2))])(np.ones((5, 4, 3))),
        ValueError,
        "w of shape (2, 2) does not fit x of shape (5, 4, 3) in layout 'HWC'",
    ),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.ones(2)), c1x1.Pointwise(np.eye(1))])(
            np.ones((4, 2))
        ),
        ValueError,
        "layer 0 has weights of one axis",
    ),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.eye(2))])(np.ones((4, 2)), out=np.ones((4, 3))),
        ValueError,
        "out has shape (4, 3); expected (4, 2)",
    ),
    (
        lambda: c1x1.Chain([c1x1.Pointwise(np.eye(2))])(np.ones((4, 2)), residual=np.ones(3)),
        ValueError,
        "residual has shape (3,); expected (4, 2)",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD, ids=[text for _, _, text in BAD])
def test_what_does_not_fit_is_said(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
