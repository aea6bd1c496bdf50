"""Promise: `info` and `explain` tell the truth about this build and about a call."""

import inspect
import json
import math
import platform
import re

import numpy as np
import pytest

import c1x1
from c1x1 import _api, _core, _epilogue, _kernels, _limits


def told_sum(text):
    """The terms of the sum that an explanation states, and its result."""
    line = next(line for line in text.splitlines() if line.lstrip().startswith("y["))
    right = line.split(" = ", 1)[1]
    body, result = right.rsplit(" = ", 1)
    body = re.sub(r"\.\.\. \(.*? more, together (\([^)]*\)|[^)]*)\)", r"\1", body)
    return eval(body.replace("(bias)", ""), {"__builtins__": {}}), float(result)


def numpy_lines(text):
    lines = text.splitlines()
    return [line[2:] for line in lines[lines.index("The same in NumPy") + 1 :] if line]


def in_numpy(text, **arguments):
    """What the lines make of these arguments."""
    names = {"np": np, "math": math, **arguments}
    exec("\n".join(numpy_lines(text)), names)
    return names["y"]


def test_info_says_what_runs_here():
    facts = c1x1.info()
    assert facts["version"] == c1x1.__version__
    assert facts["numpy"] == np.__version__
    assert facts["python"] == platform.python_version()
    assert facts["isa"] == _core.machine()["isa"]
    assert facts["isa"] in [isa["name"] for isa in facts["isas"] if isa["usable"]]
    assert facts["threads"] >= 1
    assert facts["thread_limit_why"]
    assert json.loads(json.dumps(facts)) == facts


def test_info_names_every_isa_once_and_says_why_one_cannot_run():
    rows = c1x1.info()["isas"]
    names = [row["name"] for row in rows]
    assert names == list(dict.fromkeys(name for name, _, _ in _core.isas()))
    for row in rows:
        missing = [gap for name, _, gap in _core.isas() if name == row["name"]]
        assert row["usable"] == (not all(missing))
        assert ("reason" in row) != row["usable"]
        if not row["usable"]:
            assert all(feature in row["reason"] for feature in missing[0])


def test_info_tells_a_cap_from_a_free_choice():
    original = _core.machine()["isa"]
    assert "best" in c1x1.info()["isa_why"] or "C1X1_ISA" in c1x1.info()["isa_why"]
    try:
        _core.select_isa("scalar")
        runnable = [isa["name"] for isa in c1x1.info()["isas"] if isa["usable"]]
        assert ("C1X1_ISA" in c1x1.info()["isa_why"]) == (runnable != ["scalar"])
    finally:
        _core.select_isa(original)


CALLS = {
    "last": ((5, 6, 192), (192, 32), {}),
    "few channels": ((5, 6, 3), (3, 2), {}),
    "filter in the image's shape": ((5, 6, 192), (1, 1, 192), {}),
    "filter alone": ((5, 6, 19), (19,), {}),
    "keras": ((5, 6, 19), (1, 1, 19, 4), {}),
    "batch": ((2, 5, 6, 19), (19, 4), {}),
    "batch, stride": ((2, 5, 6, 19), (19, 4), {"stride": (2, 3)}),
    "groups": ((5, 6, 12), (4, 6), {"groups": 3}),
    "first": ((19, 5, 6), (4, 19), {"layout": "CHW"}),
    "first, filter in the image's shape": ((19, 5, 6), (19, 1, 1), {"layout": "CHW"}),
    "first, filter alone": ((19, 5, 6), (19,), {"layout": "CHW"}),
    "torch": ((2, 19, 5, 6), (4, 19, 1, 1), {"layout": "NCHW"}),
    "torch, stride, groups": (
        (2, 12, 5, 6),
        (6, 4, 1, 1),
        {"layout": "NCHW", "stride": 2, "groups": 3},
    ),
    "channels in the middle": ((5, 19, 6), (4, 19), {"layout": "HCW"}),
    "signal": ((9, 19), (19, 4), {}),
    "volume": ((2, 3, 4, 5, 7), (7, 2), {}),
    "pixel": ((19,), (19, 4), {}),
}
DTYPES = [
    ("float32", "float32"),
    ("float64", "float64"),
    ("int64", "int64"),
    ("uint8", "int8"),
    ("uint8", "uint8"),
    ("uint8", "float32"),
    ("int16", "int32"),
    ("float16", "float16"),
]


def operands(shape_x, shape_w, dtypes=("float64", "float64")):
    random = np.random.default_rng(3)
    pair = []
    for shape, dtype in zip((shape_x, shape_w), dtypes, strict=True):
        if np.dtype(dtype).kind == "f":
            pair.append(random.standard_normal(shape).astype(dtype))
        else:
            pair.append(random.integers(0 if dtype[0] == "u" else -9, 10, shape).astype(dtype))
    return pair


@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("dtypes", DTYPES, ids="-".join)
@pytest.mark.parametrize("call", CALLS)
def test_numpy_lines_give_what_conv_gives(call, dtypes, has_bias):
    shape_x, shape_w, options = CALLS[call]
    x, w = operands(shape_x, shape_w, dtypes)
    filters = c1x1.conv(x, w, **options)
    count = (
        1
        if w.ndim == 1
        else filters.shape[options.get("layout", "...C").index("C") if "layout" in options else -1]
    )
    bias = np.arange(count) - 1 if has_bias else None
    value = in_numpy(c1x1.explain(x, w, bias, **options), x=x, w=w, bias=bias)
    expected = c1x1.conv(x, w, bias, **options)
    assert value.shape == expected.shape
    assert value.dtype == expected.dtype
    if expected.dtype.kind in "iu":
        np.testing.assert_array_equal(value, expected)
    else:
        eps = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(value, expected, rtol=0, atol=200 * 16 * eps)


@pytest.mark.parametrize("call", CALLS)
def test_stated_sum_is_the_pixels_own(call):
    shape_x, shape_w, options = CALLS[call]
    x, w = operands(shape_x, shape_w)
    y = c1x1.conv(x, w, bias=0.5, **options)
    letters = options.get("layout") or {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}[x.ndim]
    axis = letters.index("C")
    first = y if w.ndim == 1 else np.take(y, 0, axis)
    for pixel in [(0,) * first.ndim, tuple(size - 1 for size in first.shape)]:
        terms, result = told_sum(c1x1.explain(x, w, 0.5, pixel=pixel, **options))
        assert result == pytest.approx(first[pixel], rel=1e-5)
        # Each printed factor carries six digits.
        assert terms == pytest.approx(first[pixel], abs=1e-4)


def test_stated_sum_of_integers_is_exact():
    x, w = operands((4, 4, 50), (50, 3), ("int64", "int64"))
    terms, result = told_sum(c1x1.explain(x, w, pixel=(2, -1)))
    assert terms == result == np.tensordot(x, w, axes=([-1], [0]))[2, 3, 0]


def test_worked_example():
    image = np.arange(1, 9).reshape(2, 2, 2)
    text = c1x1.explain(image, np.array([[[2]], [[3]]]), layout="CHW", pixel=(1, 0))
    assert "= 3*2 + 7*3 = 27" in text


def test_pixel_of_a_batch_is_of_the_first_image_or_of_any():
    x, w = operands((2, 5, 6, 3), (3, 2))
    assert c1x1.explain(x, w, pixel=(1, 2)) == c1x1.explain(x, w, pixel=(0, 1, 2))
    assert "x[1, 1, 2, :]" in c1x1.explain(x, w, pixel=(1, 1, 2))


def test_plan_and_cost_are_the_calls_own():
    x, w = operands((28, 28, 192), (192, 32), ("float32", "float32"))
    text, plan = c1x1.explain(x, w), _api.plan(x, w)
    assert f"Kernel: {plan['isa']}, sums in float32" in text
    assert f"{plan['mr']} pixels x {plan['nr']} output channels" in text
    assert f"Threads: {plan['threads']}" in text
    moved = x.nbytes + w.nbytes + 28 * 28 * 32 * 4
    assert f"Bytes moved, at least: {moved:,}" in text
    assert f"Multiply-adds: {28 * 28 * 192 * 32:,}." in text
    assert f"{2 * 28 * 28 * 192 * 32 / moved:.3g} operations per byte" in text
    assert "28x28x192" in text and "28x28x32" in text


def test_stride_counts_only_the_pixels_taken():
    x, w = operands((9, 9, 4), (4, 2))
    assert f"({5 * 5 * 4 * 8:,} of x" in c1x1.explain(x, w, stride=2)


@pytest.mark.parametrize(
    ("pixel", "words"),
    [
        ((5, 0), r"axis H .* 0 to 4, not 5"),
        ((0, 6), r"axis W .* 0 to 5, not 6"),
        ((0, -7), r"axis W .* 0 to 5, not -7"),
        ((1, 1, 1), "one for each of H, W"),
    ],
)
def test_pixel_outside_is_refused_with_the_range(pixel, words):
    x, w = operands((5, 6, 3), (3, 2))
    with pytest.raises(ValueError, match=words):
        c1x1.explain(x, w, pixel=pixel)


def test_pixel_is_of_the_result_under_a_stride():
    x, w = operands((5, 6, 3), (3, 2))
    assert "x[4, 4, :]" in c1x1.explain(x, w, pixel=(2, 2), stride=2)
    with pytest.raises(ValueError, match="0 to 2, not 3"):
        c1x1.explain(x, w, pixel=(3, 0), stride=2)


def test_what_conv_refuses_explain_refuses_alike():
    x, w = operands((5, 6, 3), (4, 2))
    with pytest.raises(ValueError) as ours:
        c1x1.explain(x, w)
    with pytest.raises(ValueError) as conv:
        c1x1.conv(x, w)
    assert str(ours.value) == str(conv.value)
    with pytest.raises(ValueError, match="no pixels"):
        c1x1.explain(np.zeros((0, 6, 4)), w)


def test_explain_computes_one_pixel_only(monkeypatch):
    shapes = []

    def conv(x, *arguments, **options):
        shapes.append(x.shape)
        return c1x1.conv(x, *arguments, **options)

    monkeypatch.setattr(_api, "conv", conv)
    x = np.broadcast_to(np.float32(1), (5000, 5000, 3))
    assert "= 3" in c1x1.explain(x, np.ones((3, 1), np.float32), pixel=(4000, 5))
    assert shapes == [(1, 1, 3)]


# ---- what follows the sums, and what precedes them -----------------------------------------------

PARAMETERS = {
    "elu": (0.75,),
    "leaky_relu": (0.125,),
    "clip": (-1.5, 2.25),
    "prelu": (np.array([0.5, 0.25, 0.125, 2.0], np.float32),),
}
ACTIVATIONS = {
    **{name: (name, *PARAMETERS.get(name, ())) for name in _epilogue.ACTIVATIONS},
    "elu of its own": "elu",
    "clip, open": ("clip", None, 1),
    "none": None,
}
# x, w (to four output channels) and what a pixel of the result has before and behind its channels.
WAYS = {
    "last": ((5, 6, 19), (19, 4), {}),
    "last, few channels": ((5, 6, 3), (3, 4), {}),
    "last, stride": ((5, 6, 40), (40, 4), {"stride": 2}),
    "first": ((19, 5, 6), (4, 19), {"layout": "CHW"}),
    "first, batch, groups": ((2, 12, 5, 6), (4, 6), {"layout": "NCHW", "groups": 2}),
}
KINDS = [("float32", "float32"), ("float64", "float64"), ("uint8", "int8"), ("int32", "int64")]


def check_numpy_lines(x, w, bias=None, **keywords):
    """The lines give conv's result; returns the explanation."""
    text = c1x1.explain(x, w, bias, **keywords)
    value = in_numpy(text, x=x, w=w, bias=bias, **keywords)
    expected = c1x1.conv(x, w, bias, **keywords)
    assert value.shape == expected.shape and value.dtype == expected.dtype
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(value, expected)
    else:
        real = np.empty(0, expected.dtype).real.dtype
        np.testing.assert_allclose(value, expected, rtol=0, atol=3000 * np.finfo(real).eps)
    return text


def test_every_keyword_of_conv_is_known():
    conv = inspect.signature(c1x1.conv).parameters
    explain = inspect.signature(c1x1.explain).parameters
    assert len(conv) > 15
    assert {name: p.default for name, p in conv.items()} == {
        name: p.default for name, p in explain.items() if name in conv
    }


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("way", WAYS)
def test_numpy_lines_of_an_epilogue(way, kinds):
    shape_x, shape_w, options = WAYS[way]
    x, w = operands(shape_x, shape_w, kinds)
    shape = c1x1.conv(x, w, **options).shape
    # Small enough that no exponential function overflows in NumPy.
    scale = np.array([0.01, -0.02, 0.005, 0.015], np.float32)
    bias = np.array([0.5, -1.25, 2, 0])
    residual = np.random.default_rng(5).integers(-3, 4, shape[1:]).astype(np.float32)
    for activation in ACTIVATIONS.values():
        check_numpy_lines(
            x, w, bias, scale=scale, residual=residual, activation=activation, **options
        )
        check_numpy_lines(x, w, scale=0.01, activation=activation, **options)
    for words in ({"scale": scale}, {"scale": 0.5}, {"bias": bias, "scale": scale}):
        check_numpy_lines(x, w, **words, **options)
    whole = residual.astype(np.int16)
    check_numpy_lines(x, w, np.arange(4), residual=whole, **options)
    check_numpy_lines(x, w, residual=np.int16(3), **options)
    check_numpy_lines(x, w, residual=whole, dtype=np.int16, **options)
    check_numpy_lines(x, w, bias, scale=scale, activation="relu", dtype=np.uint8, **options)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("way", WAYS)
def test_numpy_lines_and_sum_of_a_table(way, dtype):
    shape_x, shape_w, options = WAYS[way]
    x, w = operands(shape_x, shape_w, (dtype, "float32"))
    channels = shape_x[options.get("layout", "...C").index("C") if options.get("layout") else -1]
    entries = 1 << 8 * x.itemsize
    for table in (
        np.arange(entries) / entries,
        np.add.outer(np.arange(channels), np.arange(entries) % 7).astype(np.float32),
        (np.arange(entries) % 11).astype(np.int16),
    ):
        text = check_numpy_lines(x, w, lut=table, **options)
        terms, result = told_sum(text)
        first = np.ravel(c1x1.conv(x, w, lut=table, **options))[0]
        assert terms == pytest.approx(first, abs=1e-3) and result == pytest.approx(first, rel=1e-5)
        assert f"{entries:,} values of {dtype}" in text
        plan = _api.plan(x, w, lut=table, **options)
        assert f"the table's entry ({plan['compute']}) takes the place of each value" in text


@pytest.mark.parametrize("way", [*WAYS, "filter alone"])
@pytest.mark.parametrize(
    ("kinds", "nodata", "words"),
    [
        (("float32", "float32"), math.nan, {}),
        (("float32", "float32"), -9999.0, {}),
        (("float32", "float32"), 0.1, {"scale": 0.5, "activation": "relu"}),
        (("float32", "float32"), math.inf, {"dtype": np.float64}),
        (("int16", "int16"), -9999, {}),
        (("uint16", "float32"), 65535, {"dtype": np.float16}),
        (("uint8", "int8"), 255, {"scale": 0.5, "dtype": np.uint8}),
    ],
)
def test_pixel_without_data(way, kinds, nodata, words):
    shape_x, shape_w, options = WAYS.get(way, CALLS["filter alone"])
    x, w = operands(shape_x, shape_w, kinds)
    hole = [0] * x.ndim
    hole[-1 if "layout" not in options else options["layout"].index("C")] = 2
    x[tuple(hole)] = nodata
    # The sums of a pixel without data may be too large for the result's dtype.
    with np.errstate(over="ignore"):
        text = check_numpy_lines(x, w, nodata=nodata, **words, **options)
    y = c1x1.conv(x, w, nodata=nodata, **words, **options)
    value = y[(0,) * y.ndim]
    assert f"of which channel 2 is nodata, {nodata:.6g}" in text
    assert f"] = {value:.6g}, and so are all its output channels" in text
    assert "sum =" not in text and "add up:" not in text
    assert f"at the block's end {value:.6g} is written" in text
    other = c1x1.explain(x, w, nodata=nodata, pixel=(1, 1), **words, **options)
    if "stride" not in options:
        assert "the pixel counts" in other and "add up:" in other


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("way", WAYS)
def test_every_step_of_a_pixel_has_its_own_numbers(way, kinds):
    shape_x, shape_w, options = WAYS[way]
    x, w = operands(shape_x, shape_w, kinds)
    scale, bias = np.array([0.25, 1, 1, 1], np.float32), np.array([-2.5, 0, 0, 0])
    shape = c1x1.conv(x, w, **options).shape
    residual = np.random.default_rng(8).integers(2, 9, shape).astype(np.float32)
    text = (
        c1x1.explain(
            x, w, bias, scale=scale, residual=residual, activation="leaky_relu", pixel=1, **options
        )
        if len(shape) == 2
        else c1x1.explain(
            x,
            w,
            bias,
            scale=scale,
            residual=residual,
            activation="leaky_relu",
            dtype=np.float64,
            pixel=(1, 2),
            **options,
        )
    )
    lines = [line.strip() for line in text.splitlines()]
    start = lines.index("Multiply channel by channel and add up:")
    value = None
    for line in lines[start + 1 : lines.index("Shapes")]:
        if not line:
            continue
        body, told = line.rsplit(" = ", 1)
        told = float(told.split(" (")[0])
        if line.startswith("sum = "):
            terms, _ = told_sum(line.replace("sum = ", "y[0] = "))
            assert terms == pytest.approx(told, abs=1e-3)
        elif line.startswith("y["):
            assert told == value
        else:
            kind, expression = body.split(": ", 1)
            if kind == "leaky_relu":
                assert eval(expression, {"np": np, "y": value}) == pytest.approx(told, rel=1e-5)
            else:
                # The one number that comes in is what the line before gave.
                assert expression.lstrip("(").startswith(f"{value:.6g}")
                assert eval(expression) == pytest.approx(told, abs=1e-4)
        value = told
    y = c1x1.conv(
        x,
        w,
        bias,
        scale=scale,
        residual=residual,
        activation="leaky_relu",
        dtype=np.float64,
        **options,
    )
    at = list((0, 1, 2) if y.ndim == 4 else (1, 2))
    at.insert(options["layout"].index("C") if "layout" in options else y.ndim - 1, 0)
    assert value == pytest.approx(y[tuple(at)], rel=1e-5)
    kinds_told = [line.split(":")[0] for line in lines[start + 1 : lines.index("Shapes") - 2]]
    assert kinds_told[1:] == [
        "times its scale, plus its bias",
        "plus the residual there",
        "leaky_relu",
    ]


FINISHERS = {
    # keywords: who, and the words that say so
    "none": ({}, "Results go straight to the output."),
    "tile": ({"residual": True, "activation": "relu6"}, "residual and relu6, in the tile's"),
    "out": (
        {"scale": 2, "activation": "silu"},
        "scale and silu, by a kernel of its own, in float32, in",
    ),
    "buffer": (
        {"activation": "relu", "dtype": np.uint8},
        "relu, by a kernel of its own, in float32, in a small buffer",
    ),
}


@pytest.mark.parametrize("who", FINISHERS)
@pytest.mark.usefixtures("without_matrix_unit")
def test_epilogue_is_where_the_plan_has_it(who):
    words, told = FINISHERS[who]
    x, w = operands((28, 28, 64), (64, 32), ("float32", "float32"))
    if "residual" in words:
        words = words | {"residual": np.ones((28, 28, 32), np.float32)}
    assert _api.plan(x, w, **words)["finisher"] == who
    text = c1x1.explain(x, w, **words)
    assert told in text
    assert ("Epilogue" in text) == (who != "none")
    assert ("from float32 they become uint8 there" in text) == (who == "buffer")


def test_bytes_of_all_operands_are_counted():
    x, w = operands((28, 28, 64), (64, 32), ("uint8", "float32"))
    table, row = np.zeros(256), np.ones(32, np.float32)
    text = c1x1.explain(x, w, row, scale=row, residual=row, lut=table, dtype=np.float32)
    plan = _api.plan(x, w, row, scale=row, residual=row, lut=table, dtype=np.float32)
    table_bytes = 256 * np.dtype(plan["compute"]).itemsize
    parts = (x.nbytes, w.nbytes + 2 * row.nbytes, row.nbytes, table_bytes, 28 * 28 * 32 * 4)
    assert (
        "Bytes moved, at least: {:,} ({:,} of x, {:,} of weights, {:,} of residual, {:,} of table, "
        "{:,} written)".format(sum(parts), *parts)
    ) in text
    # What is repeated lies in memory once.
    x = np.broadcast_to(np.float32(1), (1000, 1000, 3))
    assert "(4 of x," in c1x1.explain(x, np.ones((3, 1), np.float32))


def test_roofline_is_the_plans():
    x, w = operands((28, 28, 64), (64, 32), ("float32", "float32"))
    plan = _api.plan(x, w, threads=1)
    isa = [
        row for row in _kernels.kernels() if (row["name"], row["dtype"]) == (plan["isa"], "float32")
    ]
    assert plan["flops_per_cycle"] % (2 * isa[0]["vl"]) == 0
    text = c1x1.explain(x, w, threads=1)
    cycles = 2 * 28 * 28 * 64 * 32 / plan["flops_per_cycle"]
    assert f"at most {plan['flops_per_cycle']:.0f} operations a cycle" in text
    assert f"takes a core {cycles:,.0f} cycles" in text
    moved = x.nbytes + w.nbytes + 28 * 28 * 32 * 4
    assert f"{moved / cycles:.3g} bytes must move in each" in text
    assert "Measured" not in text


def test_share_of_the_roof_is_that_of_what_was_measured(monkeypatch):
    x, w = operands((28, 28, 64), (64, 32), ("float32", "float32"))
    found = {"seconds": 2e-3, "flops": 2 * 28 * 28 * 64 * 32 / 1e-3, "bytes": 1e12}
    monkeypatch.setattr(_limits, "measure_call", lambda *_: found)
    text = c1x1.explain(x, w, measure=True)
    assert "Measured now: 2 ms a call" in text
    assert "The limit is the arithmetic; the call reaches 50 % of it." in text
    found["bytes"] = (x.nbytes + w.nbytes + 28 * 28 * 32 * 4) / 1.5e-3
    text = c1x1.explain(x, w, measure=True)
    assert "the bytes 1.5 ms. The limit is memory; the call reaches 75 % of it." in text


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (("float32", "float32"), {"activation": ("clip", 0, 1), "threads": 1}),
        (("int32", "int64"), {"stride": 2}),
        (("uint8", "float32"), {"lut": np.ones(256, np.float32), "nodata": 255}),
        (("complex64", "float32"), {}),
    ],
)
def test_measuring_leaves_the_operands_alone(kinds, words):
    real = [kind.replace("complex64", "float32") for kind in kinds]
    x, w = (
        a.astype(kind) for a, kind in zip(operands((9, 8, 7), (7, 5), real), kinds, strict=True)
    )
    before, out = x.copy(), np.full(c1x1.conv(x, w, **words).shape, 7, np.result_type(x, w))
    text = c1x1.explain(x, w, out=out, measure=True, **words)
    rates = re.search(r"At most (\S+) GFLOP/s .* and (\S+) GB/s", text)
    assert float(rates[1]) > 0 and float(rates[2]) > 0
    assert (out == 7).all() and (x == before).all()


def test_threads_and_where_their_number_came_from():
    x, w = operands((200, 200, 64), (64, 64), ("float32", "float32"))
    assert "Threads: 1 of at most 1 (threads=1)" in c1x1.explain(x, w, threads=1) or (
        c1x1.info()["threads"] == 1
    )
    facts = c1x1.info()
    text = c1x1.explain(x, w, threads=1000)
    assert f"of at most {facts['threads']} (" in text
    if facts["threads"] == facts["thread_limit"]:
        assert facts["thread_limit_why"] in text
    with pytest.raises(ValueError, match="threads must be at least 1"):
        c1x1.explain(x, w, threads=0)


@pytest.mark.usefixtures("without_matrix_unit")
def test_promises_are_told_when_asked_for():
    x, w = operands((5, 6, 192), (192, 32), ("float32", "float32"))
    plain = c1x1.explain(x, w)
    assert "reproducible" not in plain and "precision" not in plain
    assert "precision='high' would allow less" in c1x1.explain(x, w, precision="high")
    assert "reproducible=True" in c1x1.explain(x, w, reproducible=True)
    with pytest.raises(ValueError, match="precision must be"):
        c1x1.explain(x, w, precision="low")


def test_out_is_described_and_not_touched():
    x, w = operands((8, 8, 16), (16, 16), ("float32", "float32"))
    out = np.full((8, 8, 32), 7, np.float16)[..., ::2]
    text = c1x1.explain(x, w, out=out)
    assert (out == 7).all()
    assert "from float32 they become float16 there" in text
    given = out.copy()
    in_numpy(text, x=x, w=w, out=given)
    np.testing.assert_allclose(given, c1x1.conv(x, w), rtol=2e-3, atol=2e-2)
    assert "out lies over x" in c1x1.explain(x, w, out=x)
    assert "an array of their own first" in c1x1.explain(x[1:], w, out=x[:-1])
    with pytest.raises(ValueError, match="out has shape"):
        c1x1.explain(x, w, out=out[1:])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kinds", "products"),
    [(("complex64", "complex64"), 4), (("complex128", "int16"), 2), (("float32", "complex64"), 2)],
)
def test_complex_numbers(way, kinds, products):
    shape_x, shape_w, options = WAYS[way]
    x, w = (
        (a + 1j * a[..., ::-1]).astype(kind) if kind[0] == "c" else a.astype(kind)
        for a, kind in zip(operands(shape_x, shape_w, ("int16", "int16")), kinds, strict=True)
    )
    text = check_numpy_lines(x, w, np.array([1j, 0, 0, 2]), **options)
    # Channels last, both parts of each result are summed at once, but of few filters.
    is_joint = kinds[1][0] == "c" and options.get("layout", "HWC")[-1] == "C"
    is_joint = is_joint and terms_of(x, **options) < 16
    runs = products // (1 + is_joint)
    assert f"{runs} real convolution{'s' * (runs > 1)}{' of twice the filters' * is_joint}" in text
    terms, result = told_complex(text)
    assert terms == pytest.approx(result, rel=1e-5)
    residual = np.ones(c1x1.conv(x, w, **options).shape, np.complex64)
    check_numpy_lines(x, w, 2 - 1j, scale=2.0, residual=residual, **options)
    assert ("the other product" in text) == (products == 4)
    macs = products * residual.size * terms_of(x, **options)
    assert f"Multiply-adds: {macs:,}." in text
    with pytest.raises(TypeError, match="activation is for real x and w"):
        c1x1.explain(x, w, activation="relu", **options)


def told_complex(text):
    line = next(line for line in text.splitlines() if line.lstrip().startswith("y["))
    body, result = line.split(" = ", 1)[1].rsplit(" = ", 1)
    body = re.sub(r"\.\.\. \(.*? more, together (\(.*?\))\)", r"\1", body)
    return eval(body.replace("(bias)", ""), {"__builtins__": {}}), complex(result)


def terms_of(x, layout="HWC", groups=1, stride=1):
    return x.shape[layout.index("C")] // groups
