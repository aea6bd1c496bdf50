"""Random problems, exact: whatever shapes, strides, dtypes and options Hypothesis thinks of.

C1X1_EXAMPLES sets how many, and has others thought of in every run.
"""

from __future__ import annotations

import os

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
        "fixed": {"layout": layout, "groups": groups},
        "call": {"stride": stride, "threads": draw(st.sampled_from([None, 1, 2, 3]))},
        "with_layer": draw(st.booleans()),
        **(draw(epilogues(x, w, layout, groups, stride)) if draw(st.booleans()) else PLAIN),
    }


PLAIN = {"terms": {}, "late_terms": {}, "is_in_place": False}
TERMS = ["scale", "residual", "activation", "lut", "nodata", "in place"]
ACTIVATIONS = ["relu", "relu6", ("clip", -3, 4), ("leaky_relu", -2), "prelu"]


@st.composite
def epilogues(draw, x, w, layout, groups, stride):
    """Some of TERMS in whole numbers: those that a layer holds, those of its call."""
    drawn = set(draw(st.lists(st.sampled_from(TERMS), min_size=1, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    c_in, c_out = x.shape[layout.index("C")], w.shape[1]
    terms, late = {}, {}
    if "lut" in drawn and x.dtype.kind in "iu" and x.dtype.itemsize <= 2:
        entries = 1 << 8 * x.dtype.itemsize
        shape = (entries,) if draw(st.booleans()) else (c_in, entries)
        terms["lut"] = reference.image(rng, shape, None, draw(st.sampled_from(DTYPES)), -2, 3)
    if "scale" in drawn:
        terms["scale"] = rng.integers(-2, 3, c_out) if draw(st.booleans()) else 2
    if "activation" in drawn:
        activation = draw(st.sampled_from(ACTIVATIONS))
        if activation == "prelu":
            activation = ("prelu", rng.integers(-2, 3, c_out))
        terms["activation"] = activation
    values = terms.get("lut", x).dtype
    if "nodata" in drawn:
        late["nodata"] = draw(st.integers(0, 1 if bool in (x.dtype, values) else 2))
    if "residual" in drawn or "in place" in drawn:
        plain = c1x1.conv(x, reference.weights_for(w, layout), layout=layout, groups=groups,
                          stride=stride, **terms)  # fmt: skip
        shape = [n if "in place" in drawn or draw(st.booleans()) else 1 for n in plain.shape]
        is_whole = values.kind in "iub" and w.dtype.kind in "iub"
        dtype = draw(st.sampled_from(["int64", "int16"] if is_whole else DTYPES))
        order = draw(st.permutations(range(len(layout))))
        residual = reference.image(
            rng,
            [shape[i] for i in order],
            None,
            plain.dtype if "in place" in drawn else dtype,
            -9,
            10,
        )
        late["residual"] = residual.transpose(np.argsort(order))
    return {"terms": terms, "late_terms": late, "is_in_place": "in place" in drawn}


def expected(problem):
    """In whole numbers."""
    x, layout = problem["x"], problem["fixed"]["layout"]
    terms, late, stride = problem["terms"], problem["late_terms"], problem["call"]["stride"]
    values = reference.looked_up(x, terms["lut"], layout) if "lut" in terms else x
    sums = reference.conv(values, problem["w"], dtype=np.int64, stride=stride, **problem["fixed"])
    want = reference.finished(
        sums, terms.get("scale"), problem["bias"], late.get("residual"), layout
    )
    last = reference.channels_last(want, layout)
    if "activation" in terms:
        given = terms["activation"]
        name, *given = (given,) if isinstance(given, str) else given
        last[...] = reference.ACTIVATIONS[name](last, *given)
    if "nodata" in late:
        pixels = reference.channels_last(reference.strided(x, layout, stride), layout)
        last[(pixels == late["nodata"]).any(axis=-1)] = late["nodata"]
    return want


def computed(problem):
    """By conv or by a layer, into a new array or over the residual."""
    x, bias, fixed, terms = problem["x"], problem["bias"], problem["fixed"], problem["terms"]
    call = problem["call"] | problem["late_terms"]
    if problem["is_in_place"]:
        call["out"] = call["residual"] = call["residual"].copy(order="K")
    w = reference.weights_for(problem["w"], fixed["layout"], contiguous=False)
    if problem["with_layer"]:
        return c1x1.Pointwise(w, bias, **fixed, **terms)(x, **call)
    return c1x1.conv(x, w, bias, **fixed, **terms, **call)


@settings(
    max_examples=int(os.environ.get("C1X1_EXAMPLES", "800")),
    deadline=None,
    derandomize="C1X1_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(problems())
def test_exact(problem):
    want = expected(problem)
    before = _core.machine()["isa"]
    try:
        for isa in runnable_isas():
            _core.select_isa(isa)
            got = computed(problem)
            assert got.shape == want.shape
            np.testing.assert_array_equal(got, reference.saturated(want, got.dtype))
    finally:
        _core.select_isa(before)
