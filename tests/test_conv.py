"""conv returns what np.tensordot does: every layout, weight shape, stride, group and batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference

import c1x1

LAYOUTS = {
    None: (2, 5, 7),
    "C": (),
    "WC": (9,),
    "CW": (9,),
    "HWC": (5, 7),
    "CHW": (5, 7),
    "HCW": (5, 7),
    "NHWC": (2, 5, 7),
    "NCHW": (2, 5, 7),
    "NWC": (3, 6),
    "NCW": (3, 6),
    "NDHWC": (2, 2, 3, 4),
    "NCDHW": (2, 2, 3, 4),
    "WHC": (4, 6),
    "CWH": (4, 6),
    "WNC": (4, 3),
}


def shape_of(layout, channels):
    pixels = list(LAYOUTS[layout])
    pixels.insert(len(pixels) if layout is None else layout.index("C"), channels)
    return tuple(pixels)


def test_the_question_28x28x192_shrinks_to_28x28x1(rng):
    x = rng.integers(-3, 4, (28, 28, 192)).astype(np.float32)
    w = rng.integers(-3, 4, (1, 1, 192)).astype(np.float32)
    assert (x * w).shape == (28, 28, 192)
    y = c1x1.conv(x, w)
    assert y.shape == (28, 28, 1)
    np.testing.assert_array_equal(y, (x * w).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("k", [1, 32, 100])
def test_28x28x100_with_k_filters_gives_28x28xk(k, rng):
    x = rng.integers(-3, 4, (28, 28, 100)).astype(np.float32)
    w = rng.integers(-3, 4, (100, k)).astype(np.float32)
    y = c1x1.conv(x, w)
    assert y.shape == (28, 28, k)
    np.testing.assert_array_equal(y, np.tensordot(x, w, 1))


def test_worked_example_channels_first():
    m = np.arange(1.0, 9.0).reshape(2, 2, 2)
    y = c1x1.conv(m, np.array([[[2.0]], [[3.0]]]), layout="CHW")
    np.testing.assert_array_equal(y, [[[17, 22], [27, 32]]])
    assert y.shape == (1, 2, 2)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize(
    ("pixels", "c_in", "c_out"), [(49, 700, 45), (17, 33, 126), (130, 200, 17), (9, 300, 9)]
)
def test_a_column_beyond_whole_vectors(isa, layout, pixels, c_in, c_out, threads, rng):
    x = rng.integers(-3, 4, (pixels, c_in)).astype(np.float32)
    w = rng.integers(-3, 4, (c_in, c_out)).astype(np.float32)
    bias = rng.integers(-4, 5, c_out).astype(np.float32)
    residual = rng.integers(-4, 5, (pixels, c_out)).astype(np.float32)
    want = np.maximum(x @ w + bias + residual, 0)
    if layout == "CW":
        x, residual, want = (np.ascontiguousarray(a.T) for a in (x, residual, want))
    layer = c1x1.Pointwise(reference.weights_for(w, layout), bias, layout=layout, activation="relu")
    np.testing.assert_array_equal(layer(x, residual=residual, threads=threads), want)
    got = c1x1.conv(
        x,
        reference.weights_for(w, layout),
        bias,
        layout=layout,
        residual=residual,
        activation="relu",
        threads=threads,
    )
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (3, 3), (17, 2), (16, 4), (5, 40), (33, 19)])
def test_layouts(isa, layout, c_in, c_out, rng):
    x = reference.image(rng, shape_of(layout, c_in), layout, np.float32)
    w = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
    bias = rng.integers(-4, 5, c_out).astype(np.float32)
    want = reference.conv(x, w, bias, layout=layout)
    got = c1x1.conv(x, reference.weights_for(w, layout), bias, layout=layout)
    assert got.flags.c_contiguous
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("HWC", (6, 5)),
        ("HWC", (1, 1, 6, 5)),
        ("HWC", (1, 6, 5)),
        ("NWC", (1, 6, 5)),
        ("CHW", (5, 6)),
        ("CHW", (5, 6, 1, 1)),
        ("CHW", (5, 6, 1)),
        ("NCHW", (5, 6, 1, 1)),
    ],
)
def test_weight_shapes(layout, shape, rng):
    x = rng.integers(-4, 5, shape_of(layout, 6)).astype(np.float32)
    w = rng.integers(-4, 5, shape).astype(np.float32)
    matrix = w.reshape(6, 5) if layout.endswith("C") else w.reshape(5, 6).T
    np.testing.assert_array_equal(
        c1x1.conv(x, w, layout=layout), reference.conv(x, matrix, layout=layout)
    )
    layer = c1x1.Pointwise(w, layout=layout)
    np.testing.assert_array_equal(layer(x), reference.conv(x, matrix, layout=layout))


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("HWC", (1, 1, 6)),
        ("CHW", (6, 1, 1)),
        ("WC", (1, 6)),
        ("NHWC", (1, 1, 6)),
        ("NHWC", (1, 1, 1, 6)),
        ("NCHW", (6, 1, 1)),
    ],
)
def test_one_filter_in_the_images_shape(layout, shape, rng):
    x = rng.integers(-4, 5, shape_of(layout, 6)).astype(np.float32)
    w = rng.integers(-4, 5, shape).astype(np.float32)
    want = reference.conv(x, w.reshape(6, 1), layout=layout)
    assert want.shape[layout.index("C")] == 1
    np.testing.assert_array_equal(c1x1.conv(x, w, layout=layout), want)
    np.testing.assert_array_equal(c1x1.Pointwise(w, layout=layout)(x), want)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_dimensional_w_drops_the_channel_axis(layout, rng):
    x = rng.integers(-4, 5, shape_of(layout, 18)).astype(np.float32)
    w = rng.integers(-4, 5, 18).astype(np.float32)
    axis = x.ndim - 1 if layout is None else layout.index("C")
    got = c1x1.conv(x, w, layout=layout)
    np.testing.assert_array_equal(got, np.tensordot(x, w, axes=([axis], [0])))
    assert got.shape == tuple(np.delete(x.shape, axis))


@pytest.mark.parametrize("layout", ["HWC", "NHWC", "CHW", "NCHW", "NWC", "NCDHW"])
@pytest.mark.parametrize("stride", [1, 2, 3, 50, "each"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 2), (16, 1), (20, 24)])
def test_stride(isa, layout, stride, c_in, c_out, rng):
    spatial = sum(letter not in "NC" for letter in layout)
    step = list(range(1, spatial + 1)) if stride == "each" else stride
    x = rng.integers(-4, 5, shape_of(layout, c_in)).astype(np.float32)
    w = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
    got = c1x1.conv(x, reference.weights_for(w, layout), layout=layout, stride=step)
    np.testing.assert_array_equal(got, reference.conv(x, w, layout=layout, stride=step))


@pytest.mark.parametrize("layout", ["HWC", "NCHW"])
@pytest.mark.parametrize(
    ("groups", "c_in", "c_out"), [(2, 6, 4), (3, 51, 6), (4, 64, 80), (8, 8, 8), (8, 8, 16)]
)
def test_groups(isa, layout, groups, c_in, c_out, rng):
    x = rng.integers(-4, 5, shape_of(layout, c_in)).astype(np.float32)
    w = rng.integers(-4, 5, (c_in // groups, c_out)).astype(np.float32)
    bias = rng.integers(-4, 5, c_out).astype(np.float32)
    want = reference.conv(x, w, bias, layout=layout, groups=groups)
    given = reference.weights_for(w, layout)
    np.testing.assert_array_equal(c1x1.conv(x, given, bias, layout=layout, groups=groups), want)
    layer = c1x1.Pointwise(given, bias, layout=layout, groups=groups)
    np.testing.assert_array_equal(layer(x), want)


VIEWS = {
    "sliced": lambda a: a[1:-1, 2:-3],
    "stepped": lambda a: a[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1],
    "reversed channels": lambda a: a[..., ::-1],
    "every other channel": lambda a: a[..., ::2],
    "transposed": lambda a: a.transpose(1, 0, 2),
    "channels first in memory": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(
        1, 2, 0
    ),
    "fortran": np.asfortranarray,
    "broadcast pixels": lambda a: np.broadcast_to(a[3, 3], a.shape),
    "broadcast channels": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "one pixel": lambda a: a[4:5, 6:7],
    "one row": lambda a: a[4:5],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}


def unaligned(a):
    """A copy whose first element lies at an odd address, pixels at odd distances."""
    record = np.zeros(a.shape[:-1], np.dtype([("pad", "u1"), ("data", a.dtype, a.shape[-1:])]))
    record["data"] = a
    return record["data"]


VIEWS["unaligned"] = unaligned


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (34, 3), (12, 20)])
def test_any_strides(isa, view, dtype, c_in, c_out, rng):
    x = VIEWS[view](reference.image(rng, (12, 19, c_in), None, dtype))
    w = rng.integers(-4, 5, (x.shape[-1], c_out)).astype(dtype if dtype != np.uint8 else np.float32)
    before = x.copy()
    np.testing.assert_array_equal(c1x1.conv(x, w), reference.conv(x, w))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("c_in", [*range(1, 14), 16, 33])
def test_every_tail_of_a_transpose(isa, c_in, rng):
    """Operands and results that must be turned, whole blocks of them and what is left over."""
    for c_out in (*range(1, 14), 20):
        x = reference.image(rng, (int(rng.integers(1, 24)), c_in), None, np.float32)
        w = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
        want = reference.conv(x, w)
        for given in (x, np.asfortranarray(x)):
            for weights in (w, np.asfortranarray(w)):
                around = np.full((c_out + 2, len(x) + 2), 7, np.float32)
                out = around.T[1:-1, 1:-1]
                c1x1.conv(given, weights, out=out)
                np.testing.assert_array_equal(out, want)
                np.testing.assert_array_equal(c1x1.conv(given, weights), want)
                out[...] = 7
                assert (around == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 2), (40, 3), (18, 21)])
def test_any_strides_of_w(isa, dtype, layout, c_in, c_out, rng):
    x = reference.image(rng, shape_of(layout, c_in), layout, dtype)
    w = rng.integers(-4, 5, (c_in * 2, c_out * 2)).astype(dtype)[::-2, ::2]
    want = reference.conv(x, w, layout=layout)
    np.testing.assert_array_equal(
        c1x1.conv(x, reference.weights_for(w, layout, contiguous=False), layout=layout), want
    )
    np.testing.assert_array_equal(
        c1x1.Pointwise(reference.weights_for(w, layout, contiguous=False), layout=layout)(x), want
    )


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5, 0), (0, 0, 0), (0,), (3, 0)])
@pytest.mark.parametrize("c_out", [0, 1, 4, 40])
def test_empty(isa, shape, c_out):
    x = np.ones(shape, np.float32)
    w = np.ones((shape[-1], c_out), np.float32)
    bias = np.arange(c_out, dtype=np.float32)
    got = c1x1.conv(x, w, bias)
    assert got.shape == (*shape[:-1], c_out)
    np.testing.assert_array_equal(got, reference.conv(x, w, bias))
    assert c1x1.conv(x, w, layout="HWC"[-len(shape) :], stride=2).shape[-1] == c_out


@pytest.mark.parametrize("k", [1023, 1024, 1025, 1536, 2500])
@pytest.mark.parametrize("c_out", [1, 4, 5, 33])
@pytest.mark.parametrize("layout", ["WC", "CW"])
def test_many_channels(isa, k, c_out, layout, rng):
    x = reference.image(rng, (k, 23) if layout == "CW" else (23, k), layout, np.float32)
    w = rng.integers(-4, 5, (k, c_out)).astype(np.float32)
    bias = rng.integers(-4, 5, c_out).astype(np.float32)
    want = reference.conv(x, w, bias, layout=layout)
    np.testing.assert_array_equal(
        c1x1.conv(x, reference.weights_for(w, layout), bias, layout=layout), want
    )
    np.testing.assert_array_equal(
        c1x1.conv(x[::-1, ::-1], reference.weights_for(w[::-1], layout), bias, layout=layout),
        reference.conv(x[::-1, ::-1], w[::-1], bias, layout=layout),
    )


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 5])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("pixels", "c_in", "c_out"),
    [((2, 30, 31), 64, 64), ((1, 7, 7), 600, 500), ((1, 200, 200), 3, 3)],
)
def test_threads(threads, layout, pixels, c_in, c_out, rng):
    shape = (*pixels, c_in) if layout == "NHWC" else (pixels[0], c_in, *pixels[1:])
    x = reference.image(rng, shape, layout, np.float32)
    w = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
    want = reference.conv(x, w, layout=layout)
    np.testing.assert_array_equal(
        c1x1.conv(x, reference.weights_for(w, layout), layout=layout, threads=threads), want
    )


def test_buffers_and_array_protocols(rng):
    x = rng.integers(-4, 5, (4, 5, 3)).astype(np.float32)
    w = rng.integers(-4, 5, (3, 2)).astype(np.float32)
    want = np.tensordot(x, w, 1)

    class Interface:
        __array_interface__ = x.__array_interface__
        keep = x

    class Array:
        def __array__(self, dtype=None, copy=None):
            return x

    class DLPack:
        def __dlpack__(self, **keywords):
            return x.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return x.__dlpack_device__()

    for source in (memoryview(x), Interface(), Array(), DLPack(), x.tolist()):
        np.testing.assert_array_equal(c1x1.conv(source, w), want)
    np.testing.assert_array_equal(c1x1.conv(x, w.tolist()), want)


def test_byte_swapped_data_is_converted(rng):
    x = rng.integers(-4, 5, (4, 5, 3)).astype(">f4")
    w = rng.integers(-4, 5, (3, 2)).astype(">f4")
    got = c1x1.conv(x, w)
    assert got.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(got, np.tensordot(x.astype("f4"), w.astype("f4"), 1))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_groups_of_filters_that_are_one_filter_repeated(threads, layout, rng):
    """Weights without a stride: blocks of different widths begin at one address."""
    x = reference.image(rng, (1, 9, 9, 1200), layout, np.float32)
    if layout == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    column = rng.integers(-4, 5, (400, 1)).astype(np.float32)
    w = np.broadcast_to(column, (400, 3 * 1050))
    want = reference.conv(x, w, layout=layout, groups=3)
    given = w if layout == "NHWC" else w.T
    got = c1x1.conv(x, given, layout=layout, groups=3, threads=threads)
    np.testing.assert_array_equal(got, want)


UNCOMMON = {
    # name: (shape of pixels and channels, filters, layout, groups)
    "one pixel of a million channels": ((1, 1 << 20), 4, "WC", 1),
    "the last column of long results alone": ((4000, 64), 257, "WC", 1),
    "planes from memory for five filters": ((128, 16390), 5, "CW", 1),
    "groups of planes in place": ((4 * 256, 3008), 8, "CW", 4),
}


@pytest.mark.parametrize("beyond", [0, 3])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", UNCOMMON)
def test_uncommon_sizes(isa, name, threads, beyond, rng):
    """`beyond`: elements from the beginning of a line."""
    shape, c_out, layout, groups = UNCOMMON[name]
    memory = rng.integers(-2, 3, math.prod(shape) + 32).astype(np.float32)
    first = -memory.ctypes.data % 64 // 4 + beyond
    x = memory[first : first + math.prod(shape)].reshape(shape)
    w = rng.integers(-1, 2, (shape[layout.index("C")] // groups, c_out)).astype(np.float32)
    y = c1x1.conv(
        x, reference.weights_for(w, layout), layout=layout, groups=groups, threads=threads
    )
    np.testing.assert_array_equal(y, reference.conv(x, w, layout=layout, groups=groups))


@pytest.mark.parametrize("pixels", [25, 32, 49, 200])
def test_a_panel_so_wide_that_its_tiles_are_lower_than_the_filters_are_many(isa, pixels, rng):
    """24 pixels and up to 8 in one panel (AVX2), of more channels than are summed at once."""
    x = rng.integers(0, 256, (1100, pixels)).astype(np.uint8)
    w = rng.integers(-3, 4, (4, 1100)).astype(np.float32)
    np.testing.assert_array_equal(c1x1.conv(x, w, layout="CW"), w @ x.astype(np.float32))


@pytest.mark.parametrize("threads", [1, 2])
def test_windows_that_overlap(isa, threads, rng):
    """Pixels that begin before the one before has ended: a moving average and the like."""
    signal = rng.integers(-9, 10, 300_000).astype(np.float32)
    x = np.lib.stride_tricks.sliding_window_view(signal, 64)[::2]
    w = rng.integers(-3, 4, (64, 33)).astype(np.float32)
    np.testing.assert_array_equal(c1x1.conv(x, w, layout="WC", threads=threads), x @ w)
