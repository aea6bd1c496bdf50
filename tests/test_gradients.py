"""conv_vjp gives the exact gradients of conv, for all that conv takes, whatever the threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference

import c1x1
from c1x1 import _gradients

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
    "NDHWC": (2, 2, 3, 4),
    "NCDHW": (2, 2, 3, 4),
    "WNC": (4, 3),
}


def shape_of(layout, channels):
    pixels = list(LAYOUTS[layout])
    pixels.insert(len(pixels) if layout is None else layout.index("C"), channels)
    return tuple(pixels)


def expected(x, w, g, *, layout=None, stride=1, groups=1):
    """The three gradients by np.einsum in float64, for w (C_in / groups, C_out)."""
    grad_x = np.zeros(x.shape)
    pixels = reference.channels_last(reference.strided(x, layout, stride), layout)
    count = math.prod(pixels.shape[:-1])
    pixels = pixels.reshape(count, groups, w.shape[0]).astype(np.float64)
    back = reference.channels_last(g, layout)
    back = back.reshape(count, groups, w.shape[1] // groups).astype(np.float64)
    matrices = w.reshape(w.shape[0], groups, w.shape[1] // groups).astype(np.float64)
    view = reference.channels_last(reference.strided(grad_x, layout, stride), layout)
    view[...] = np.einsum("pgo,cgo->pgc", back, matrices).reshape(view.shape)
    grad_w = np.einsum("pgc,pgo->cgo", pixels, back).reshape(w.shape)
    return grad_x, grad_w, np.einsum("pgo->go", back).reshape(-1)


def check(x, w, g, given=None, **keywords):
    """Exact equality, for integer-valued data; returns what conv_vjp returned."""
    given = w if given is None else given
    got = c1x1.conv_vjp(x, given, g, **keywords)
    want = expected(x, w, g, **keywords)
    dtype = np.result_type(x, given, g)
    assert all(a.dtype == dtype and a.flags.c_contiguous for a in got)
    layout = keywords.get("layout")
    is_last = layout is None or layout.endswith("C")
    assert got[0].shape == x.shape and got[1].shape == given.shape
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], (want[1] if is_last else want[1].T).reshape(given.shape))
    np.testing.assert_array_equal(got[2], want[2])
    return got


def result_like(x, w, dtype, rng, **keywords):
    """Integers of the shape of the result."""
    return rng.integers(-3, 4, reference.conv(x, w, **keywords).shape).astype(dtype)


def case(rng, layout, c_in, c_out, dtype=np.float32, stride=1, groups=1):
    x = reference.image(rng, shape_of(layout, c_in), layout, dtype)
    w = rng.integers(-4, 5, (c_in // groups, c_out)).astype(dtype)
    g = result_like(x, w, dtype, rng, layout=layout, stride=stride, groups=groups)
    return x, w, g


# ---- exact -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (3, 3), (17, 2), (2, 17), (5, 40), (33, 19)])
def test_layouts(isa, layout, c_in, c_out, rng):
    x, w, g = case(rng, layout, c_in, c_out)
    check(x, w, g, reference.weights_for(w, layout), layout=layout)


@pytest.mark.parametrize("layout", ["HWC", "NHWC", "CHW", "NCHW", "NCDHW"])
@pytest.mark.parametrize("stride", [1, 2, 3, 50, "each"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 2), (20, 24)])
def test_stride(layout, stride, c_in, c_out, rng):
    spatial = sum(letter not in "NC" for letter in layout)
    step = list(range(1, spatial + 1)) if stride == "each" else stride
    x, w, g = case(rng, layout, c_in, c_out, stride=step)
    check(x, w, g, reference.weights_for(w, layout), layout=layout, stride=step)


@pytest.mark.parametrize("layout", ["HWC", "NCHW"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("groups", "c_in", "c_out"),
    [(2, 6, 4), (3, 51, 6), (4, 64, 80), (8, 8, 8), (8, 8, 16), (37, 37, 37), (5, 15, 30)],
)
def test_groups(layout, stride, groups, c_in, c_out, rng):
    x, w, g = case(rng, layout, c_in, c_out, stride=stride, groups=groups)
    given = reference.weights_for(w, layout)
    check(x, w, g, given, layout=layout, stride=stride, groups=groups)


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
    x = rng.integers(-4, 5, {**LAYOUTS, "NWC": (3, 4)}[layout] + (6,)).astype(np.float32)
    if not layout.endswith("C"):
        x = np.ascontiguousarray(np.moveaxis(x, -1, layout.index("C")))
    given = rng.integers(-4, 5, shape).astype(np.float32)
    w = given.reshape(6, 5) if layout.endswith("C") else given.reshape(5, 6).T
    check(x, w, result_like(x, w, np.float32, rng, layout=layout), given, layout=layout)


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
    given = rng.integers(-4, 5, shape).astype(np.float32)
    w = given.reshape(6, 1)
    check(x, w, result_like(x, w, np.float32, rng, layout=layout), given, layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_dimensional_w(layout, rng):
    x = rng.integers(-4, 5, shape_of(layout, 18)).astype(np.float32)
    w = rng.integers(-4, 5, 18).astype(np.float32)
    axis = x.ndim - 1 if layout is None else layout.index("C")
    g = rng.integers(-4, 5, c1x1.conv(x, w, layout=layout).shape).astype(np.float32)
    grad_x, grad_w, grad_bias = c1x1.conv_vjp(x, w, g, layout=layout)
    np.testing.assert_array_equal(grad_x, np.moveaxis(np.multiply.outer(g, w), -1, axis))
    np.testing.assert_array_equal(grad_w, np.moveaxis(x, axis, -1).reshape(-1, 18).T @ g.ravel())
    np.testing.assert_array_equal(grad_bias, [g.sum()])


@pytest.mark.parametrize("dtypes", ["fff", "ddd", "fdf", "dff", "ffd", "eee", "eff", "eef"])
@pytest.mark.parametrize("layout", ["HWC", "NCHW"])
def test_dtypes(dtypes, layout, rng):
    x, w, g = (a.astype(dtype) for a, dtype in zip(case(rng, layout, 20, 9), dtypes, strict=True))
    check(x, w, g, reference.weights_for(w, layout), layout=layout)


def test_halves_are_summed_as_float32():
    """5000 is exact in float16, but not reached by adding halves one by one."""
    ones = np.ones((5000, 1), np.float16)
    _, grad_w, grad_bias = c1x1.conv_vjp(ones, np.ones((1, 1), np.float16), ones)
    assert grad_w == 5000 and grad_bias == 5000


VIEWS = {
    "sliced": lambda a: a[1:-1, 2:-3],
    "stepped": lambda a: a[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1],
    "reversed channels": lambda a: a[..., ::-1],
    "every other channel": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "transposed": lambda a: np.ascontiguousarray(a.transpose(1, 0, 2)).transpose(1, 0, 2),
    "planar": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
    "fortran": np.asfortranarray,
    "broadcast pixels": lambda a: np.broadcast_to(a[3, 3], a.shape),
    "broadcast channels": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "one pixel": lambda a: a[4:5, 6:7],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("of_g", VIEWS)
@pytest.mark.parametrize("of_x", VIEWS)
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 2), (20, 34)])
def test_any_strides(of_x, of_g, c_in, c_out, rng):
    x = VIEWS[of_x](reference.image(rng, (40, 41, c_in), None, np.float32))
    g = VIEWS[of_g](reference.image(rng, (40, 41, c_out), None, np.float32))
    h, w = (min(a, b) for a, b in zip(x.shape[:2], g.shape[:2], strict=True))
    x, g = x[:h, :w], g[:h, :w]
    before = x.copy(), g.copy()
    check(x, rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)[::-1], g)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(g, before[1])


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5, 0), (0, 0, 0), (0,), (3, 0)])
@pytest.mark.parametrize("c_out", [0, 1, 4, 40])
def test_empty(shape, c_out):
    x, w = np.ones(shape, np.float32), np.ones((shape[-1], c_out), np.float32)
    check(x, w, np.ones((*shape[:-1], c_out), np.float32))


def test_sums_of_no_pixels_are_zero():
    x, w = np.ones((0, 7, 3), np.float32), np.ones((3, 4), np.float32)
    _, grad_w, grad_bias = c1x1.conv_vjp(x, w, np.ones((0, 7, 4), np.float32))
    np.testing.assert_array_equal(grad_w, np.zeros((3, 4)))
    np.testing.assert_array_equal(grad_bias, np.zeros(4))


def test_without_bias():
    ones = np.ones((3, 4), np.float32)
    assert c1x1.conv_vjp(ones, np.ones((4, 4), np.float32), ones, bias=False)[2] is None


def test_array_protocols(rng):
    x, w, g = case(rng, "HWC", 6, 4)

    class DLPack:
        def __init__(self, a):
            self.a = a

        def __dlpack__(self, **keywords):
            return self.a.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.a.__dlpack_device__()

    for wrap in (memoryview, DLPack):
        got = c1x1.conv_vjp(wrap(x), wrap(w), wrap(g), layout="HWC")
        for a, b in zip(got, expected(x, w, g, layout="HWC"), strict=True):
            np.testing.assert_array_equal(a, b)


# ---- many blocks -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("view", ["contiguous", "sliced", "turned"])
@pytest.mark.parametrize(
    ("n", "h", "w", "c_in", "c_out"),
    [(8, 7, 7, 300, 280), (3, 130, 140, 20, 9), (2, 21, 3, 2, 40), (5, 3, 50, 4, 4)],
)
def test_blocks_of_pixels_and_channels(layout, view, n, h, w, c_in, c_out, rng, monkeypatch):
    """More than one block, part and level, with pixels that do and do not lie side by side."""
    monkeypatch.setattr(_gradients, "_LONGEST_BLOCK", 500)
    monkeypatch.setattr(_gradients, "_FAN", 3)
    monkeypatch.setattr(_gradients, "_PART_COLUMNS", 48)
    monkeypatch.setattr(_gradients, "_PART_BYTES", 16000)
    x = reference.image(rng, (n, h + 1, w + 1, c_in), None, np.float32)[:, 1:, 1:]
    if view == "contiguous":
        x = np.ascontiguousarray(x)
    elif view == "turned":
        x = np.ascontiguousarray(x.transpose(2, 0, 1, 3)).transpose(1, 2, 0, 3)
    if layout == "NCHW":
        x = x.transpose(0, 3, 1, 2)
        x = x if view == "turned" else np.ascontiguousarray(x)
    weights = rng.integers(-4, 5, (c_in, c_out)).astype(np.float32)
    g = result_like(x, weights, np.float32, rng, layout=layout)
    check(x, weights, g, reference.weights_for(weights, layout), layout=layout)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("pixels", "c_in", "c_out", "groups"),
    [((3, 50, 51), 30, 17, 1), ((2, 7, 7), 300, 200, 1), ((1, 200, 200), 3, 3, 1),
     ((2, 40, 40), 24, 24, 8)],
)  # fmt: skip
def test_same_bits_for_any_threads(layout, pixels, c_in, c_out, groups, rng):
    shape = (*pixels, c_in) if layout == "NHWC" else (pixels[0], c_in, *pixels[1:])
    x = rng.standard_normal(shape).astype(np.float32)
    w = rng.standard_normal((c_in // groups, c_out)).astype(np.float32)
    w = reference.weights_for(w, layout)
    g = rng.standard_normal(c1x1.conv(x, w, layout=layout, groups=groups).shape).astype(np.float32)
    results = {
        tuple(
            a.tobytes()
            for a in c1x1.conv_vjp(x, w, g, layout=layout, groups=groups, threads=threads)
        )
        for threads in (None, 1, 2, 3, 5, 8)
    }
    assert len(results) == 1


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("data", ["zero-mean", "non-negative"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error_of_long_sums(layout, data, dtype, rng):
    pixels = 10**6
    x = rng.standard_normal((pixels, 5)).astype(dtype)
    g = rng.standard_normal((pixels, 6)).astype(dtype)
    if data == "non-negative":
        x, g = np.abs(x), np.abs(g)
    wide = np.longdouble if dtype == "float64" else np.float64
    exact = x.astype(wide).T @ g.astype(wide)
    magnitude = np.abs(x).astype(wide).T @ np.abs(g).astype(wide)
    w = np.ones((5, 6), dtype)
    if layout == "CW":
        x, g, w = (np.ascontiguousarray(a.T) for a in (x, g, w))
    _, grad_w, grad_bias = c1x1.conv_vjp(x, w, g, layout=layout)
    if layout == "CW":
        g, grad_w = g.T, grad_w.T
    eps = reference.EPS[dtype]
    assert np.max(np.abs(grad_w - exact) / magnitude) <= 16 * eps
    lost = np.abs(grad_bias - g.astype(wide).sum(axis=0)) / np.abs(g).astype(wide).sum(axis=0)
    assert np.max(lost) <= 16 * eps


@pytest.mark.parametrize("pixels", [160, 4096, 10**6])
def test_error_of_constants_does_not_grow_with_the_image(pixels, rng):
    """Equal terms are rounded alike, so that no error makes up for another: the worst there is."""
    one, other = rng.standard_normal(5, np.float32), rng.standard_normal(6, np.float32)
    x, g = np.broadcast_to(one, (pixels, 5)), np.broadcast_to(other, (pixels, 6))
    _, grad_w, grad_bias = c1x1.conv_vjp(x, np.ones((5, 6), np.float32), g)
    exact = pixels * np.outer(one.astype(np.float64), other)
    assert np.max(np.abs(grad_w - exact) / np.abs(exact)) <= 80 * reference.EPS["float32"]
    lost = np.abs(grad_bias - pixels * other.astype(np.float64)) / np.abs(pixels * other)
    assert np.max(lost) <= 80 * reference.EPS["float32"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_stay_in_their_channels(value, rng):
    x, w, g = case(rng, "HWC", 24, 24, groups=8)
    x[2, 3, 4] = value
    grad_x, grad_w, grad_bias = c1x1.conv_vjp(x, w, g, groups=8)
    assert np.isfinite(grad_x).all() and np.isfinite(grad_bias).all()
    is_hit = np.zeros(w.shape, bool)
    is_hit[1, 3:6] = True  # channel 4 is the second of the second group
    assert np.isfinite(grad_w[~is_hit]).all() and not np.isfinite(grad_w[is_hit]).all()


# ---- against other ways ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "shape", "w_shape", "stride", "groups"),
    [
        ("NHWC", (2, 3, 4, 6), (6, 5), 1, 1),
        ("NCHW", (2, 6, 3, 4), (4, 3, 1, 1), 2, 2),
        ("HWC", (3, 4, 5), (1, 1, 5), (1, 2), 1),
        ("WC", (7, 3), (3,), 1, 1),
    ],
)
def test_finite_differences(layout, shape, w_shape, stride, groups, rng):
    """conv is linear in each operand, so a difference of any step is exact but for rounding."""
    x, w = rng.standard_normal(shape), rng.standard_normal(w_shape)
    keywords = {"layout": layout, "stride": stride, "groups": groups}
    c_out = c1x1.conv(x, w, **keywords).shape[layout.index("C")] if w.ndim > 1 else 1
    b = rng.standard_normal(c_out)
    g = rng.standard_normal(c1x1.conv(x, w, b, **keywords).shape)
    got = c1x1.conv_vjp(x, w, g, **keywords)
    operands = (x, w, b)
    for which, gradient in enumerate(got):
        assert gradient.shape == operands[which].shape
        for index in np.ndindex(gradient.shape):
            values = []
            for step in (0.5, -0.5):
                moved = [a.copy() for a in operands]
                moved[which][index] += step
                values.append((c1x1.conv(*moved, **keywords) * g).sum())
            assert gradient[index] == pytest.approx(values[0] - values[1], rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_against_torch(stride, groups, rng):
    torch = pytest.importorskip("torch", reason="torch is not installed", exc_type=ImportError)
    x = rng.standard_normal((3, 12, 9, 8))
    w, b = rng.standard_normal((15, 12 // groups, 1, 1)), rng.standard_normal(15)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = torch.nn.functional.conv2d(*leaves, stride=stride, groups=groups)
    g = rng.standard_normal(y.shape)
    y.backward(torch.tensor(g))
    got = c1x1.conv_vjp(x, w, g, layout="NCHW", stride=stride, groups=groups)
    for a, leaf in zip(got, leaves, strict=True):
        np.testing.assert_allclose(a, leaf.grad.numpy(), rtol=1e-12, atol=1e-12)


# ---- errors ----------------------------------------------------------------------------------

X = np.ones((5, 6, 7), np.float32)
W = np.ones((7, 4), np.float32)
G = np.ones((5, 6, 4), np.float32)

ERRORS = {
    "grad_y shape": (
        lambda: c1x1.conv_vjp(X, W, G[..., :3]),
        ValueError,
        "grad_y has shape (5, 6, 3); expected (5, 6, 4), the shape of the result of conv",
    ),
    "grad_y of stride": (
        lambda: c1x1.conv_vjp(X, W, G, stride=2),
        ValueError,
        "grad_y has shape (5, 6, 4); expected (3, 3, 4)",
    ),
    "grad_y first": (
        lambda: c1x1.conv_vjp(X, np.ones((4, 5), np.float32), G, layout="CHW"),
        ValueError,
        "grad_y has shape (5, 6, 4); expected (4, 6, 7)",
    ),
    "grad_y of one filter": (
        lambda: c1x1.conv_vjp(X, W[:, 0], G),
        ValueError,
        "grad_y has shape (5, 6, 4); expected (5, 6)",
    ),
    "integer x": (
        lambda: c1x1.conv_vjp(X.astype(np.uint8), W, G),
        TypeError,
        "x has dtype uint8, and the gradients of integers are none: pass x.astype(np.float32)",
    ),
    "integer grad_y": (
        lambda: c1x1.conv_vjp(X, W, G.astype(int)),
        TypeError,
        "pass grad_y.astype(np.float32)",
    ),
    "bool w": (lambda: c1x1.conv_vjp(X, W > 0, G), TypeError, "w has dtype bool"),
    "complex grad_y": (
        lambda: c1x1.conv_vjp(X, W, G * 1j),
        TypeError,
        "pass grad_y.real and grad_y.imag one by one",
    ),
    "transposed w": (lambda: c1x1.conv_vjp(X, W.T, G), ValueError, "pass w.T"),
    "layout": (lambda: c1x1.conv_vjp(X, W, G, layout="WC"), ValueError, "names 2 axes but x has 3"),
    "stride": (lambda: c1x1.conv_vjp(X, W, G, stride=0), ValueError, "stride must be at least 1"),
    "groups": (lambda: c1x1.conv_vjp(X, W, G, groups=2), ValueError, "2 groups do not divide"),
    "threads": (lambda: c1x1.conv_vjp(X, W, G, threads=0), ValueError, "threads must be at least"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
