"""Random problems, exact: whatever shapes, strides, dtypes and options Hypothesis thinks of."""

from __future__ import annotations

import numpy as np
import reference
from conftest import runnable_isas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import c1x1
from c1x1 import _core

DTYPES = ["float32", "float64", "float16", "uint8", "int16", "int32", "int64", "bool"]
CHANNELS = st.one_of(st.integers(0, 40), st.sampled_from([64, 100, 161, 320, 1030]))
LAYOUTS = ["C", "WC", "CW", "HWC", "CHW", "HCW", "NHWC", "NCHW", "NHCW", "NDHWC", "NCDHW"]


@st.composite
def problems(draw):
    """x (any strides), w (C_in / groups, C_out), options."""
    layout = draw(st.sampled_from(LAYOUTS))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    c_in = draw(CHANNELS) * (1 if groups == 1 else groups)
    c_out = draw(st.integers(0, 40)) * groups
    x_dtype, w_dtype = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape, cuts = [], []
    for letter in layout:
        size = c_in if letter == "C" else draw(st.integers(0, 9))
        step = draw(st.sampled_from([1, 1, 1, 2, -1, -3]))
        pad = draw(st.integers(0, 2))
        shape.append(size * abs(step) + pad)
        cuts.append((size, step))
    whole = reference.image(rng, shape, layout, x_dtype, -2, 3)
    order = draw(st.permutations(range(len(layout))))
    whole = np.ascontiguousarray(whole.transpose(order)).transpose(np.argsort(order))
    x = whole
    for axis, (size, step) in enumerate(cuts):
        x = x[(slice(None),) * axis + (slice(None, None, step),)]
        x = x[(slice(None),) * axis + (slice(0, size),)]
    w = reference.image(rng, (c_in // groups, c_out), None, w_dtype, -2, 3)
    bias = rng.integers(-5, 6, c_out) if draw(st.booleans()) else None
    spatial = sum(letter not in "NC" for letter in layout)
    stride = draw(st.one_of(st.just(1), st.tuples(*[st.integers(1, 4)] * spatial)))
    return {
        "x": x,
        "w": w,
        "bias": bias,
        "layout": layout,
        "groups": groups,
        "stride": stride,
        "threads": draw(st.sampled_from([None, 1, 2, 3])),
        "with_layer": draw(st.booleans()),
    }


def saturated(values, dtype):
    if dtype.kind == "b":
        return values != 0
    if dtype.kind in "iu":
        return np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return values


@settings(
    max_examples=1500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(problems())
def test_exact(problem):
    x, w, bias, layout = problem["x"], problem["w"], problem["bias"], problem["layout"]
    options = {"layout": layout, "stride": problem["stride"], "groups": problem["groups"]}
    want = reference.conv(x, w, bias, dtype=np.int64, **options)
    given_w = w if layout.endswith("C") else w.T
    before = _core.machine()["isa"]
    try:
        for isa in runnable_isas():
            _core.select_isa(isa)
            if problem["with_layer"]:
                layer = c1x1.Pointwise(given_w, bias, layout=layout, groups=problem["groups"])
                got = layer(x, stride=problem["stride"], threads=problem["threads"])
            else:
                got = c1x1.conv(x, given_w, bias, threads=problem["threads"], **options)
            assert got.shape == want.shape
            np.testing.assert_array_equal(got, saturated(want, got.dtype))
    finally:
        _core.select_isa(before)
