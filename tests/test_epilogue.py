"""activation(scale * sum + bias + residual): the same numbers on every way through the plan.

Sums of whole numbers are exact, so what is compared is the epilogue alone.
"""

from __future__ import annotations

import hashlib
import itertools
from fractions import Fraction

import numpy as np
import pytest
import reference
from conftest import has_matrix_unit, runnable_isas

import c1x1
from c1x1 import _api, _core

PIXELS = (7, 9)

# layout, C_in, C_out, dtype of x and dtype of the result: role of the plan, whether it writes `out`
# itself. One block of k; then several, whose sums wait.
WAYS = {
    "pixels_m": ("HWC", 20, 10, "float32", None, "pixels_m", True),
    "pixels_m, float64": ("HWC", 20, 21, "float64", None, "pixels_m", True),
    "pixels_m, k cut": ("HWC", 1100, 40, "float32", None, "pixels_m", True),
    "pixels_m, buffer": ("HWC", 20, 10, "float32", "float16", "pixels_m", False),
    "pixels_m, k cut, buffer": ("HWC", 1100, 40, "float32", "int32", "pixels_m", False),
    "pixels_n": ("CHW", 20, 10, "float32", None, "pixels_n", True),
    "pixels_n, float64": ("CHW", 20, 21, "float64", None, "pixels_n", True),
    "pixels_n, k cut": ("CHW", 1100, 40, "float32", None, "pixels_n", True),
    "pixels_n, chains": ("CHW", 40, 3, "float32", None, "pixels_n", True),
    "pixels_n, chains, buffer": ("CHW", 40, 3, "float32", "int16", "pixels_n", False),
    "pixels_n, buffer": ("CHW", 20, 10, "float32", "int32", "pixels_n", False),
    "dot": ("HWC", 40, 3, "float32", None, "dot", True),
    "dot, k long": ("HWC", 2500, 2, "float32", None, "dot", True),
    "dot, buffer": ("HWC", 40, 1, "float32", "float16", "dot", False),
    "small": ("HWC", 3, 3, "float32", None, "small", True),
    "small, float64": ("HWC", 12, 4, "float64", None, "small", True),
    "small, buffer": ("HWC", 3, 3, "float32", "int16", "small", False),
    "uint8 image": ("HWC", 5, 9, "uint8", None, "pixels_m", True),
}


class Problem:
    """x, w and the exact sums of one of the WAYS."""

    def __init__(self, way, rng):
        self.layout, c_in, self.c_out, dtype, self.dtype, self.role, self.is_direct = WAYS[way]
        sizes = {"H": PIXELS[0], "W": PIXELS[1], "C": c_in}
        self.x = reference.image(rng, [sizes[a] for a in self.layout], self.layout, dtype, -2, 3)
        self.real = "float64" if dtype == "float64" else "float32"
        matrix = rng.integers(-1, 2, (c_in, self.c_out)).astype(self.real)
        self.w = reference.weights_for(matrix, self.layout)
        self.sums = reference.conv(self.x, matrix, layout=self.layout)
        self.shape = self.sums.shape

    def conv(self, out=None, **keywords):
        keywords = {"layout": self.layout, "dtype": self.dtype} | keywords
        return c1x1.conv(self.x, self.w, out=out, **keywords)

    def plan(self, **keywords):
        keywords = {"layout": self.layout, "dtype": self.dtype} | keywords
        return _api.plan(self.x, self.w, **keywords)

    def check(self, got, want):
        np.testing.assert_array_equal(got, reference.saturated(want, got.dtype))


@pytest.fixture(params=WAYS)
def problem(request, rng):
    return Problem(request.param, rng)


def test_every_way_is_taken(isa, problem, rng):
    """Lest a change of the plan empties the tests below."""
    if not isa.startswith("x86") and isa != "scalar":
        pytest.skip("other ISAs' costs choose otherwise")
    if isa == "scalar" and problem.role == "small":
        pytest.skip("plain C has such kernels for int64 only")
    if isa == "scalar" and problem.role == "dot" and not problem.is_direct:
        pytest.skip("plain C turns such pixels into rows first")
    residual = np.zeros(problem.shape, problem.real)
    for keywords in ({"activation": "relu"}, {"residual": residual, "scale": 2.0}):
        plan = problem.plan(**keywords)
        assert (plan["role"], plan["is_direct"]) == (problem.role, problem.is_direct)
        in_tile = plan["chains"] == 1 and plan["role"] != "small" and "scale" not in keywords
        direct = "tile" if in_tile else "out"
        assert plan["finisher"] == (direct if plan["is_direct"] else "buffer")


@pytest.mark.parametrize("has_residual", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("has_scale", [False, True])
def test_scale_bias_residual(isa, problem, has_scale, has_bias, has_residual, rng):
    scale = rng.integers(-3, 4, problem.c_out) if has_scale else None
    bias = rng.integers(-9, 10, problem.c_out) if has_bias else None
    residual = rng.integers(-9, 10, problem.shape).astype(problem.real) if has_residual else None
    want = reference.finished(problem.sums, scale, bias, residual, problem.layout)
    for activation, name in ((None, "identity"), ("relu", "relu")):
        got = problem.conv(scale=scale, bias=bias, residual=residual, activation=activation)
        problem.check(got, reference.ACTIVATIONS[name](want))


@pytest.mark.parametrize("value", [2, -1.5, np.float32(0.5), np.float64(3), np.int8(4), [7]])
def test_a_scalar_is_for_all_channels(isa, value, rng):
    if np.ndim(value) == 1:
        value = np.array(value[0])
    for way in ("pixels_m", "pixels_n", "dot", "small"):
        problem = Problem(way, rng)
        problem.check(problem.conv(scale=value), problem.sums * float(value))
        problem.check(problem.conv(bias=value, scale=1), problem.sums + float(value))


# ---- residual ------------------------------------------------------------------------------------

# Which of H, W, C it has; 1 elsewhere.
BROADCASTS = ["HWC", "WC", "HC", "HW", "C", ""]
DTYPES = ["float32", "float64", "float16", "int64", "uint8", "int16", "bool", ">f4", ">i2"]
MEMORY = {
    "dense": lambda a: a,
    "fortran": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "every third pixel": lambda a: np.repeat(a, 3, axis=1)[:, ::3],
    "rows apart": lambda a: np.concatenate([a, a], axis=1)[:, : a.shape[1]],
    "channels apart": lambda a: np.concatenate([a, a], axis=2)[..., : a.shape[2]],
    "unaligned": lambda a: (
        np.array(list(b"\0" + a.tobytes()), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    ),
}


def test_residual_broadcasts_from_any_dtype(isa, problem, rng):
    for axes, dtype in itertools.product(BROADCASTS, DTYPES):
        shape = [
            size if axis in axes else 1
            for axis, size in zip(problem.layout, problem.shape, strict=True)
        ]
        residual = reference.image(rng, shape, None, dtype, -9, 10)
        want = reference.finished(problem.sums, residual=residual)
        problem.check(problem.conv(residual=residual), want)


def test_residual_of_any_strides(isa, problem, rng):
    for kind, dtype in itertools.product(MEMORY, (problem.real, "int16")):
        residual = MEMORY[kind](reference.image(rng, problem.shape, None, dtype, -9, 10))
        want = reference.finished(problem.sums, residual=residual)
        problem.check(problem.conv(residual=residual), want)


def test_residual_may_have_fewer_axes_or_be_a_list(isa, problem, rng):
    row = rng.integers(-9, 10, problem.shape[-1]).astype(np.float32)
    for residual in (row, row.tolist(), 3, 2.0, np.float32(-1)):
        want = reference.finished(problem.sums, residual=residual)
        problem.check(problem.conv(residual=residual), want)


def test_residual_of_a_batch_in_groups_with_stride(isa, rng):
    for layout in ("NHWC", "NCHW"):
        for c_in, c_out in ((2, 2), (20, 7), (40, 3)):
            sizes = {"N": 3, "H": 6, "W": 11, "C": 2 * c_in}
            x = reference.image(rng, [sizes[a] for a in layout], layout, np.float32, -2, 3)
            w = rng.integers(-1, 2, (c_in, 2 * c_out)).astype(np.float32)
            scale = rng.integers(1, 4, 2 * c_out)
            slopes = rng.integers(-3, 4, 2 * c_out)
            sums = reference.conv(x, w, layout=layout, groups=2, stride=(2, 3))
            given = reference.weights_for(w, layout)
            for axes in ("NHWC", "HWC", "NC", "C", "H", ""):
                shape = [n if a in axes else 1 for a, n in zip(layout, sums.shape, strict=True)]
                residual = rng.integers(-9, 10, shape).astype(np.float32)
                want = reference.finished(sums, scale, 1, residual, layout)
                last = reference.channels_last(want, layout)
                last[...] = np.where(last > 0, last, last * slopes)
                got = c1x1.conv(x, given, 1, layout=layout, groups=2, stride=(2, 3), scale=scale,
                                residual=residual, activation=("prelu", slopes))  # fmt: skip
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_many_blocks_and_threads(isa, layout, rng):
    """Blocks, their tails and the rows of a broadcast residual meet the right pixels."""
    for c_in, c_out in ((3, 3), (20, 10), (40, 2), (17, 33)):
        sizes = {"H": 151, "W": 83, "C": c_in}
        x = reference.image(rng, [sizes[a] for a in layout], layout, np.float32, -2, 3)
        w = rng.integers(-1, 2, (c_in, c_out)).astype(np.float32)
        sums = reference.conv(x, w, layout=layout)
        given = reference.weights_for(w, layout)
        bias = rng.integers(-9, 10, c_out)
        for shape in (sums.shape, (1, *sums.shape[1:]), (*sums.shape[:2], 1)):
            residual = rng.integers(-9, 10, shape).astype(np.float32)
            want = reference.finished(sums, 2, bias, residual, layout)
            for threads in (1, 3):
                got = c1x1.conv(x, given, bias, layout=layout, scale=2, residual=residual,
                                activation="relu", threads=threads)  # fmt: skip
                np.testing.assert_array_equal(got, np.maximum(want, 0))


def test_one_filter_without_a_channel_axis(isa, rng):
    x = rng.integers(-4, 5, (5, 6, 30)).astype(np.float32)
    w = rng.integers(-4, 5, 30).astype(np.float32)
    residual = rng.integers(-4, 5, (5, 6)).astype(np.float32)
    got = c1x1.conv(x, w, 1.0, scale=2.0, residual=residual, activation="relu")
    np.testing.assert_array_equal(got, np.maximum(2 * (x @ w) + 1 + residual, 0))
    np.testing.assert_array_equal(c1x1.conv(x, w, residual=residual[:1]), x @ w + residual[:1])


# ---- residual and out ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["same", "float32", "float64", "float16", ">f4", ">f8"])
def test_residual_is_out(isa, problem, dtype, rng):
    """`residual=out` accumulates in place, whatever the dtype of out."""
    dtype = problem.conv().dtype if dtype == "same" else np.dtype(dtype)
    if not np.can_cast(problem.conv().dtype, dtype, "same_kind"):
        pytest.skip("the result does not cast to it")
    out = rng.integers(-9, 10, problem.shape).astype(dtype)
    want = reference.finished(problem.sums, 2, 1, out, problem.layout)
    assert problem.conv(out, residual=out, scale=2, bias=1) is out
    problem.check(out, want)


def test_residual_is_out_of_any_strides(isa, problem, rng):
    for lay in MEMORY.values():
        out = lay(rng.integers(-9, 10, problem.shape).astype(problem.conv().dtype))
        want = reference.finished(problem.sums, residual=out)
        problem.conv(out, residual=out, threads=2)
        problem.check(out, want)


@pytest.mark.parametrize("shift", ["pixel before", "pixel after", "element", "far"])
def test_residual_overlaps_out(isa, problem, shift, rng):
    """As if the residual were elsewhere: no result is read as a residual."""
    dtype = problem.conv().dtype
    pixel = problem.c_out if problem.layout == "HWC" else 1
    steps = {"pixel before": -pixel, "pixel after": pixel, "element": 1, "far": 12 * pixel}[shift]
    count = int(np.prod(problem.shape))
    memory = rng.integers(-9, 10, count + 32 * pixel).astype(dtype)
    out = memory[16 * pixel :][:count].reshape(problem.shape)
    residual = memory[16 * pixel + steps :][:count].reshape(problem.shape)
    want = reference.finished(problem.sums, residual=residual.copy())
    problem.conv(out, residual=residual, threads=2)
    problem.check(out, want)


def test_residual_is_a_part_of_out(isa, problem, rng):
    """One row of out for all rows; and out backwards."""
    for part in (lambda out: out[:1], lambda out: out[::-1], lambda out: out[..., :1]):
        out = rng.integers(-9, 10, problem.shape).astype(problem.conv().dtype)
        want = reference.finished(problem.sums, residual=part(out).copy())
        problem.conv(out, residual=part(out))
        problem.check(out, want)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("channels", [1, 3, 4, 20, 40, 1100])
def test_out_is_x_and_residual(isa, layout, channels, rng):
    x = rng.integers(-2, 3, (5, 11, channels) if layout == "HWC" else (channels, 5, 11))
    x = x.astype(np.float32)
    w = rng.integers(-1, 2, (channels, channels)).astype(np.float32)
    want = reference.conv(x, w, layout=layout) + x
    given = reference.weights_for(w, layout)
    c1x1.conv(x, given, layout=layout, residual=x, activation="relu", out=x)
    np.testing.assert_array_equal(x, np.maximum(want, 0))


def test_out_overlaps_scale_and_parameters(isa, rng):
    x = rng.integers(-4, 5, (4, 8)).astype(np.float32)
    w = rng.integers(-4, 5, (8, 8)).astype(np.float32)
    for name in ("scale", "bias", "slopes"):
        out = rng.integers(1, 5, (4, 8)).astype(np.float32)
        terms = {"scale": np.float32(1), "bias": np.float32(0), "slopes": np.ones(8)}
        terms[name] = out[1]
        want = (x @ w) * terms["scale"] + terms["bias"]
        want = np.where(want > 0, want, want * terms["slopes"])
        c1x1.conv(x, w, terms["bias"], scale=terms["scale"],
                  activation=("prelu", terms["slopes"]), out=out)  # fmt: skip
        np.testing.assert_array_equal(out, want)


# ---- activations ---------------------------------------------------------------------------------

PARAMETERS = {
    "elu": [(), (0.25,), (np.float32(2),)],
    "leaky_relu": [(), (0.25,), (-2.0,)],
    "clip": [(-1.5, 2.25), (0, 0), (None, 3.0), (-2, None), (-np.inf, np.inf)],
    "prelu": [(0.25,), ("one per channel",)],
}
DEFAULTS = {"elu": (1.0,), "leaky_relu": (0.01,)}
MAX_ULP = {"float32": 2.0, "float64": 4.0}
OWN_ULP = {"float32": 0.5, "float64": 1.5}  # of the formula above, in extended precision or not


def test_every_activation_has_its_formula():
    assert {name for name, _ in _core.activations()} == set(reference.ACTIVATIONS)
    assert {name for name, count in _core.activations() if count} == set(PARAMETERS)


def ulps(got, want, dtype):
    """The distance in units of the last place of the wanted value."""
    want = np.asarray(want, np.longdouble)
    unit = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
    return float((np.abs(got.astype(np.longdouble) - want) / unit).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("name", [n for n in reference.ACTIVATIONS if n != "identity"])
def test_activation_is_its_formula(isa, name, layout, dtype, rng):
    """Where the linear part is exact, the activation's own error is all there is."""
    for c_in, c_out in ((3, 3), (20, 10), (40, 2)):
        x = (rng.integers(-40, 41, (7, 9, c_in)) / 16).astype(dtype)
        x[0] *= 4 if c_in == 3 else 1  # far into both tails, but not to subnormals
        w = rng.integers(-1, 2, (c_in, c_out)).astype(dtype)
        sums = reference.conv(x, w).astype(np.longdouble)
        for given in PARAMETERS.get(name, [()]):
            if given == ("one per channel",):
                given = (rng.integers(-8, 9, c_out) / 8,)
            used = given or DEFAULTS.get(name, ())
            if name == "clip":
                used = tuple(
                    e if v is None else v for v, e in zip(used, (-np.inf, np.inf), strict=True)
                )
            used = [np.asarray(v, dtype).astype(np.longdouble) for v in used]
            with np.errstate(all="ignore"):
                want = reference.ACTIVATIONS[name](sums, *used)
            image = x if layout == "HWC" else np.ascontiguousarray(x.transpose(2, 0, 1))
            got = c1x1.conv(image, reference.weights_for(w, layout), layout=layout,
                            activation=(name, *given) if given else name)  # fmt: skip
            got = got if layout == "HWC" else got.transpose(1, 2, 0)
            assert ulps(got, want, dtype) <= MAX_ULP[dtype] + OWN_ULP[dtype]


def test_activation_on_every_way(isa, problem, rng):
    """The same values as for the same linear part elsewhere, rounded once more into out's dtype."""
    residual = rng.integers(-9, 10, problem.shape).astype(problem.real) / 8
    linear = reference.finished(problem.sums, 0.25, 1, residual, problem.layout)
    last = reference.channels_last(linear, problem.layout).astype(problem.real)
    identity = np.eye(problem.c_out, dtype=problem.real)
    slopes = rng.integers(-8, 9, problem.c_out) / 8
    for name in reference.ACTIVATIONS:
        given = {"clip": (-3, 2.5), "prelu": (slopes,)}.get(name, ())
        activation = None if name == "identity" else (name, *given)
        want = c1x1.conv(last, identity, activation=activation)
        want = want if problem.layout == "HWC" else np.moveaxis(want, -1, 0)
        got = problem.conv(scale=0.25, bias=1, residual=residual, activation=activation)
        problem.check(got, want)


@pytest.mark.parametrize("name", [n for n in reference.ACTIVATIONS if n != "identity"])
def test_error_of_activation_after_rounded_sums(isa, name, rng):
    """At most 2 ulp of float32, and what the linear part's error makes of itself."""
    for c_in, c_out in ((64, 24), (192, 3), (9, 4)):
        x = rng.standard_normal((11, 13, c_in)).astype(np.float32)
        w = (rng.standard_normal((c_in, c_out)) / np.sqrt(c_in)).astype(np.float32)
        given = PARAMETERS.get(name, [()])[0]
        used = given or DEFAULTS.get(name, ())
        got = c1x1.conv(x, w, 0.5, scale=1.5, activation=(name, *given) if given else name)
        linear = 1.5 * reference.conv(x, w) + 0.5
        want = reference.ACTIVATIONS[name](linear, *used)
        # No slope of these is above 1.13; those of the given parameters are smaller.
        slack = 1.13 * (1.5 * reference.error_bound(x, w) + 2.0**-24 * np.abs(linear))
        unit = np.spacing(np.abs(want).astype(np.float32))
        assert (np.abs(got - want) <= 2.5 * unit + slack).all()


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_limits_and_nan(isa, name, rng):
    """At +-Inf what the formula tends to; NaN stays NaN."""
    given = {"clip": (-1, 2), "prelu": (0.5,), "leaky_relu": (0.5,)}.get(name, ())
    low = {"tanh": -1, "elu": -1, "clip": -1, "identity": -np.inf, "leaky_relu": -np.inf,
           "prelu": -np.inf}.get(name, 0)  # fmt: skip
    high = {"relu6": 6, "sigmoid": 1, "tanh": 1, "hardsigmoid": 1, "clip": 2}.get(name, np.inf)
    activation = None if name == "identity" else (name, *given)
    for dtype in (np.float32, np.float64):
        x = np.array([-np.inf, np.inf, np.nan, 0], dtype)[:, None]
        for c_out in (1, 3, 9):
            got = c1x1.conv(x, np.ones((1, c_out), dtype), activation=activation)
            np.testing.assert_array_equal(got[0], np.full(c_out, low, dtype))
            np.testing.assert_array_equal(got[1], np.full(c_out, high, dtype))
            assert np.isnan(got[2]).all()
            half = {"sigmoid": 0.5, "hardsigmoid": 0.5}.get(name, 0)
            np.testing.assert_array_equal(got[3], np.full(c_out, half, dtype))


# ---- order and bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["pixels_m", "pixels_n", "dot", "small"])
def test_the_order_is_the_documented_one(isa, way, rng):
    """scale and bias in one FMA, then the residual, then the activation; each rounds once.

    One channel counts and its products are exact; scale * sum + bias is exact in float64.
    """
    if "FMA" not in _core.machine()["features"]:
        pytest.skip("needs FMA")
    layout, c_in, c_out = WAYS[way][:3]
    x = np.zeros((7, 9, c_in), np.float32)
    x[..., 0] = rng.integers(1, 1 << 10, (7, 9))
    w = np.zeros((c_in, c_out), np.float32)
    w[0] = rng.integers(1, 1 << 10, c_out)
    scale = (rng.integers(1, 1 << 20, c_out) * 2.0**-18).astype(np.float32)
    bias = (-np.rint(x[..., 0].mean() * w[0] * scale * 8) / 8).astype(np.float32)
    residual = rng.standard_normal((7, 9, c_out)).astype(np.float32)
    slope = np.float32(0.3)
    sums = x[..., :1] * w[0]

    linear = (sums.astype(np.float64) * scale + bias).astype(np.float32) + residual
    want = np.where(linear > 0, linear, linear * slope)
    twice = sums * scale + bias + residual
    late = (sums.astype(np.float64) * scale + bias + residual).astype(np.float32)
    assert (twice != linear).any() and (late != linear).any(), "the data tell no orders apart"

    axes = (0, 1, 2) if layout == "HWC" else (2, 0, 1)
    got = c1x1.conv(np.ascontiguousarray(x.transpose(axes)), reference.weights_for(w, layout), bias,
                    layout=layout, scale=scale, activation=("leaky_relu", slope),
                    residual=np.ascontiguousarray(residual.transpose(axes)))  # fmt: skip
    np.testing.assert_array_equal(got, want.transpose(axes))


def digest(y):
    return hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()


def variants(x, w, bias, residual, **terms):
    """Calls that all state the same problem in (H, W, C)."""

    def first(a):
        return np.ascontiguousarray(a.transpose(2, 0, 1))

    def gapped(a):
        return np.full((*a.shape[:2], a.shape[2] + 3), 9, a.dtype)[..., 1:-2]

    h, width, c_in = x.shape
    layer = c1x1.Pointwise(w, bias, **terms)
    layer_first = c1x1.Pointwise(np.ascontiguousarray(w.T), bias, layout="CHW", **terms)
    yield c1x1.conv(x, w, bias, residual=residual, **terms)
    yield c1x1.conv(first(x), np.ascontiguousarray(w.T), bias, layout="CHW",
                    residual=first(residual), **terms).transpose(1, 2, 0)  # fmt: skip
    yield c1x1.conv(first(x).transpose(1, 2, 0), w, bias, residual=residual, **terms)
    yield c1x1.conv(x, w, bias, residual=first(residual).transpose(1, 2, 0), **terms)
    yield c1x1.conv(x[:, ::-1], w, bias, residual=residual[:, ::-1], **terms)[:, ::-1]
    yield c1x1.conv(x, w, bias, residual=residual, out=gapped(residual), **terms)
    yield c1x1.conv(x, w, bias, residual=residual, out=first(residual).transpose(1, 2, 0), **terms)
    yield layer(x, residual=residual)
    yield layer_first(first(x), residual=first(residual)).transpose(1, 2, 0)
    yield np.concatenate([layer(x[i : i + 1], residual=residual[i : i + 1]) for i in range(h)])
    yield np.stack([
        [c1x1.conv(x[i, j], w, bias, residual=residual[i, j], **terms) for j in range(width)]
        for i in range(h)
    ])  # fmt: skip
    yield c1x1.conv(np.stack([x, x[::-1]]), w, bias, layout="NHWC",
                    residual=np.stack([residual, residual]), **terms)[0]  # fmt: skip
    yield c1x1.conv(np.repeat(x, 2, axis=0), w, bias, stride=(2, 1), residual=residual, **terms)
    for threads in (1, 2, 3, 5, 16):
        yield c1x1.conv(x, w, bias, residual=residual, threads=threads, **terms)
    out = residual.copy()
    yield c1x1.conv(x, w, bias, residual=out, out=out, **terms)
    if c_in == w.shape[1]:
        out = x.copy()
        yield c1x1.conv(out, w, bias, residual=residual, out=out, **terms)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("c_in", "c_out"), [(3, 3), (15, 4), (40, 3), (24, 24), (161, 9), (1100, 6)]
)
def test_same_bits_everywhere(c_in, c_out, dtype, rng):
    """Whatever the ISA, threads, layout, batch, strides of out, and entry point."""
    x = rng.standard_normal((5, 7, c_in)).astype(dtype)
    w = (rng.standard_normal((c_in, c_out)) / np.sqrt(c_in)).astype(dtype)
    bias, scale = rng.standard_normal((2, c_out)).astype(dtype)
    residual = rng.standard_normal((5, 7, c_out)).astype(dtype)
    before = _core.machine()["isa"]
    try:
        for name, count in _core.activations():
            given = ((-1, 1) if count == 2 else (0.3,)) if count else ()
            terms = {"scale": scale, "activation": None if name == "identity" else (name, *given)}
            digests = set()
            for isa in runnable_isas():
                _core.select_isa(isa)
                terms["reproducible"] = has_matrix_unit(isa)
                digests |= {digest(y) for y in variants(x, w, bias, residual, **terms)}
            assert len(digests) == 1, name
    finally:
        _core.select_isa(before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_at_their_pixel_and_channel(isa, problem, value, rng):
    """In x they reach the channels of their pixel, in the residual one number, nothing else."""
    if problem.x.dtype.kind != "f" or problem.conv().dtype.kind != "f":
        pytest.skip("integers have neither")
    residual = rng.integers(-9, 10, problem.shape).astype(problem.real)
    terms = {"scale": 0.25, "bias": 1, "activation": "silu"}
    clean = problem.conv(residual=residual, **terms)

    poisoned = residual.copy()
    at = tuple(size // 2 for size in problem.shape)
    poisoned[at] = value
    got = problem.conv(residual=poisoned, **terms)
    np.testing.assert_array_equal(got[at], 0 if value == -np.inf else value)
    got[at] = clean[at]
    np.testing.assert_array_equal(got, clean)

    problem.x[at[:-1] if problem.layout == "HWC" else (slice(None), *at[1:])] = value
    got = problem.conv(residual=residual, **terms)
    changed = reference.channels_last((got != clean) | np.isnan(got), problem.layout)
    wrong = changed.any(axis=-1)
    row, column = at[:2] if problem.layout == "HWC" else at[1:]
    wrong[row, column] = False
    assert not wrong.any()


# ---- integers ------------------------------------------------------------------------------------


def requantised(sums, scale, bias, residual, dtype):
    """Exactly: rounded to float64 after scale and bias, and after the residual; half to even."""
    limits = np.iinfo(dtype)
    want = np.empty(sums.shape, dtype)
    for at in np.ndindex(sums.shape):
        value = float(Fraction(int(sums[at])) * Fraction(scale[at[-1]]) + Fraction(bias[at[-1]]))
        want[at] = min(max(round(value + residual[at]), limits.min), limits.max)
    return want


@pytest.mark.parametrize("x_dtype", ["uint8", "int8"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32"])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (16, 9), (200, 2)])
def test_requantisation(isa, x_dtype, dtype, c_in, c_out, rng):
    limits = np.iinfo(x_dtype)
    x = rng.integers(limits.min, limits.max + 1, (5, 7, c_in)).astype(x_dtype)
    w = rng.integers(-128, 128, (c_in, c_out)).astype(np.int8)
    sums = np.tensordot(x.astype(np.int64), w.astype(np.int64), 1)
    spread = 600 if dtype in ("uint8", "int8") else 90000
    scale = rng.uniform(0.5, 1, c_out) * spread / np.abs(sums).max()
    bias = rng.uniform(-5, 5, c_out)
    residual = rng.integers(-30, 30, sums.shape) / 4
    given = {"scale": scale, "residual": residual, "dtype": dtype}
    want = requantised(sums, scale, bias, residual, dtype)
    np.testing.assert_array_equal(c1x1.conv(x, w, bias, **given), want)
    first = c1x1.conv(np.ascontiguousarray(x.transpose(2, 0, 1)), w.T, bias, layout="CHW",
                      **given | {"residual": residual.transpose(2, 0, 1)})  # fmt: skip
    np.testing.assert_array_equal(first, want.transpose(2, 0, 1))
    layer = c1x1.Pointwise(w, bias, scale=scale, dtype=dtype, x_dtype=x_dtype)
    np.testing.assert_array_equal(layer(x, residual=residual), want)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_halves_go_to_the_even_number_and_ends_saturate(isa, dtype):
    x = np.arange(-128, 128, dtype=np.int8)[:, None]
    w = np.array([[1, -1, 127]], np.int8)
    want = np.rint(x.astype(float) * w * 0.5 + 0.0)
    limits = np.iinfo(dtype)
    got = c1x1.conv(x, w, scale=0.5, dtype=dtype)
    np.testing.assert_array_equal(got, np.clip(want, limits.min, limits.max))
    got = c1x1.conv(x, w, [0.0, 0.0, np.inf], scale=0.5, dtype=dtype)
    assert (got[:, 2] == limits.max).all()


def test_sums_of_integers_with_a_residual_alone_stay_integers(isa, rng):
    """2**53 + 1 has no float64."""
    x = np.array([[2**53], [-(2**53)]])
    residual = np.array([[1], [-1]])
    np.testing.assert_array_equal(
        c1x1.conv(x, np.ones((1, 1), int), residual=residual), x + residual
    )
    out = residual.copy()
    c1x1.conv(x, np.ones((1, 1), int), residual=out, out=out)
    np.testing.assert_array_equal(out, x + residual)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_activation_of_integer_sums(isa, layout, rng):
    for c_in, c_out in ((3, 3), (20, 10), (300, 9)):
        x = reference.image(
            rng, (6, 7, c_in) if layout == "HWC" else (c_in, 6, 7), layout, np.int16
        )
        w = rng.integers(-4, 5, (c_in, c_out))
        residual = rng.integers(-9, 10, (6, 7, c_out) if layout == "HWC" else (c_out, 6, 7))
        want = reference.finished(reference.conv(x, w, layout=layout), None, 2, residual, layout)
        got = c1x1.conv(x, reference.weights_for(w, layout), 2, layout=layout, residual=residual,
                        activation=("clip", -20, 20))  # fmt: skip
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, np.clip(want, -20, 20))


# ---- nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("c_out", [1, 3, 9])
def test_no_channels_in_leave_bias_and_residual(isa, layout, dtype, c_out, rng):
    x = np.empty((4, 5, 0) if layout == "HWC" else (0, 4, 5), dtype)
    w = reference.weights_for(np.empty((0, c_out), np.float32), layout)
    bias = rng.integers(-4, 5, c_out)
    residual = rng.integers(-4, 5, (4, 5, c_out) if layout == "HWC" else (c_out, 4, 5))
    sums = np.zeros(residual.shape)
    want = reference.finished(sums, 3, bias, residual, layout)
    got = c1x1.conv(x, w, bias, layout=layout, scale=3.0, residual=residual, activation="relu")
    np.testing.assert_array_equal(got, np.maximum(want, 0))
    got = c1x1.conv(x, w, bias, layout=layout, scale=3.0, residual=residual)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("shape", "c_out"), [((0, 5, 3), 4), ((4, 0, 20), 9), ((4, 5, 3), 0), ((0, 5, 0), 2)]
)
def test_nothing_to_compute(isa, shape, c_out):
    x, w = np.ones(shape, np.float32), np.ones((shape[2], c_out), np.float32)
    want = (*shape[:2], c_out)
    for residual in (None, np.ones(want), 1.0, np.ones(c_out)):
        got = c1x1.conv(
            x, w, 1.0, scale=2.0, residual=residual, activation=("prelu", np.ones(c_out))
        )
        assert got.shape == want
    layer = c1x1.Pointwise(w, activation="silu", scale=np.ones(c_out))
    assert layer(x, residual=np.ones(want, np.float32), nodata=1).shape == want
