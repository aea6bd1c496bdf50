"""out: any strides and dtype, any overlap, and nothing written when an error is raised."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import c1x1

OUTS = {
    "contiguous": lambda h, w, n: np.empty((h, w, n), np.float32),
    "channel slice": lambda h, w, n: np.full((h, w, n + 5), 9, np.float32)[..., 2 : n + 2],
    "row slice": lambda h, w, n: np.full((h + 2, w + 3, n), 9, np.float32)[1:-1, 1:-2],
    "stepped": lambda h, w, n: np.full((2 * h, 2 * w, n), 9, np.float32)[::2, ::2],
    "reversed": lambda h, w, n: np.full((h, w, n), 9, np.float32)[::-1, ::-1, ::-1],
    "channels first": lambda h, w, n: np.full((n, h, w), 9, np.float32).transpose(1, 2, 0),
    "fortran": lambda h, w, n: np.full((h, w, n), 9, np.float32, order="F"),
    "float64": lambda h, w, n: np.empty((h, w, n)),
    "float16": lambda h, w, n: np.empty((h, w, n), np.float16),
    "byte-swapped": lambda h, w, n: np.empty((h, w, n), ">f4"),
    "unaligned": lambda h, w, n: (
        np.zeros(h * w * n * 4 + 1, np.uint8)[1:].view(np.float32).reshape(h, w, n)
    ),
}


@pytest.mark.parametrize("kind", OUTS)
@pytest.mark.parametrize("source", ["last", "first"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (40, 2), (7, 18), (1100, 5)])
def test_out_of_any_strides_and_dtype(isa, kind, source, c_in, c_out, rng):
    h, w_ = 6, 11
    x = reference.image(rng, (h, w_, c_in), None, np.float32)
    if source == "first":
        x = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    w = rng.integers(-1, 2, (c_in, c_out)).astype(np.float32)
    out = OUTS[kind](h, w_, c_out)
    base = out if out.base is None else out.base
    untouched = base.copy() if base.dtype != np.uint8 else None
    got = c1x1.conv(x, w, out=out)
    assert got is out
    np.testing.assert_array_equal(out, reference.conv(x, w).astype(out.dtype))
    if untouched is not None:
        marks = base.copy()
        if base is not out:
            written = np.zeros(base.size, bool).reshape(base.shape)
            view = {
                "channel slice": written[..., 2 : c_out + 2],
                "row slice": written[1:-1, 1:-2],
                "stepped": written[::2, ::2],
            }.get(kind)
            if view is not None:
                view[...] = True
                np.testing.assert_array_equal(marks[~written], untouched[~written])


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("channels", [1, 3, 4, 16, 40, 1300])
def test_out_is_x(isa, layout, channels, rng):
    shape = (9, 14, channels) if layout == "HWC" else (channels, 9, 14)
    x = reference.image(rng, shape, layout, np.float32)
    w = rng.integers(-2, 3, (channels, channels)).astype(np.float32)
    want = reference.conv(x, w, layout=layout)
    given = reference.weights_for(w, layout)
    assert c1x1.conv(x, given, layout=layout, out=x, threads=2) is x
    np.testing.assert_array_equal(x, want)


def test_out_is_x_of_another_dtype_of_the_same_size(isa, rng):
    x = rng.integers(-4, 5, (50, 60, 3)).astype(np.int32)
    w = rng.integers(-4, 5, (3, 3)).astype(np.float32)
    want = reference.conv(x, w)
    out = x.view(np.float32)
    c1x1.conv(x, w, out=out, dtype=np.float32)
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 3, 40])
@pytest.mark.parametrize(("c_in", "c_out"), [(4, 4), (4, 2), (2, 4), (20, 20)])
def test_out_overlaps_x_in_any_way(isa, shift, c_in, c_out, rng):
    memory = rng.integers(-4, 5, 6000).astype(np.float32)
    x = memory[100 : 100 + 30 * c_in].reshape(5, 6, c_in)
    out = memory[100 + shift : 100 + shift + 30 * c_out].reshape(5, 6, c_out)
    w = rng.integers(-2, 3, (c_in, c_out)).astype(np.float32)
    want = reference.conv(x, w)
    c1x1.conv(x, w, out=out)
    np.testing.assert_array_equal(out, want)


def test_out_overlaps_x_that_repeats_pixels(isa, rng):
    """A sliding window: neighbours share elements, so no pixel may be overwritten early."""
    memory = rng.integers(-4, 5, 400).astype(np.float32)
    x = np.lib.stride_tricks.sliding_window_view(memory, 4)[:100]
    w = rng.integers(-2, 3, (4, 4)).astype(np.float32)
    want = reference.conv(x, w)
    out = memory.reshape(100, 4)
    c1x1.conv(x, w, out=out)
    np.testing.assert_array_equal(out, want)


def test_out_overlaps_w_and_bias(isa, rng):
    x = rng.integers(-4, 5, (8, 8)).astype(np.float32)
    memory = rng.integers(-4, 5, 72).astype(np.float32)
    w, bias = memory[:64].reshape(8, 8), memory[64:]
    want = reference.conv(x, w, bias)
    c1x1.conv(x, w, bias, out=memory[:64].reshape(8, 8))
    np.testing.assert_array_equal(memory[:64].reshape(8, 8), want)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_out_is_untouched_after_an_error(layout):
    x = np.ones((5, 6, 7), np.float32)
    out = np.full((5, 6, 7), 77, np.float32)
    for bad in (
        lambda: c1x1.conv(x, np.ones((9, 9)), layout=layout, out=out),
        lambda: c1x1.conv(x, np.ones((7, 7), complex), layout=layout, out=out),
        lambda: c1x1.conv(x, np.ones((7, 7), np.float32), np.ones(3), layout=layout, out=out),
        lambda: c1x1.conv(x, np.ones((7, 7), np.float32), layout=layout, out=out, threads=0),
        *[
            lambda wrong=wrong: c1x1.conv(
                x, np.ones((7, 7), np.float32), layout=layout, out=out, **wrong
            )
            for wrong in (
                {"scale": np.ones(3)},
                {"residual": np.ones(3)},
                {"residual": out, "scale": 1j},
                {"activation": ("prelu", np.ones(3))},
                {"activation": ("clip", 2, 1)},
                {"lut": np.ones(256)},
                {"nodata": 1e300},
                {"precision": "low"},
                {"reproducible": 1},
            )
        ],
    ):
        with pytest.raises((ValueError, TypeError)):
            bad()
        assert (out == 77).all()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, ">c8"])
def test_real_results_go_to_a_complex_out_as_numpy_casts_them(dtype):
    x, w = np.ones((5, 6, 7), np.float32), np.ones((7, 4), np.float32)
    for call in (lambda out: c1x1.conv(x, w, out=out), lambda out: c1x1.Pointwise(w)(x, out=out)):
        out = np.full((5, 6, 4), 9j, dtype)
        assert call(out) is out
        np.testing.assert_array_equal(out, np.full((5, 6, 4), 7))


@pytest.mark.parametrize("stride", [5, 6, 2**31, 2**62, 2**63 - 4, 2**63 - 1, 2**63, 2**70])
def test_a_stride_beyond_the_image_takes_its_first_pixel(stride):
    x, w = np.arange(210, dtype=np.float32).reshape(5, 6, 7), np.ones((7, 4), np.float32)
    want = x[:: min(stride, 2**63 - 1), :: min(stride, 2**63 - 1)] @ w
    np.testing.assert_array_equal(c1x1.conv(x, w, stride=stride), want)
