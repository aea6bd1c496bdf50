"""Promise: `info` and `explain` tell the truth about this build and about a call."""

import json
import platform
import re

import numpy as np
import pytest

import c1x1
from c1x1 import _api, _core


def told_sum(text):
    """The terms of the sum that an explanation states, and its result."""
    line = next(line for line in text.splitlines() if line.lstrip().startswith("y["))
    right = line.split(" = ", 1)[1]
    body, result = right.rsplit(" = ", 1)
    body = re.sub(r"\.\.\. \(.*? more, together (\([^)]*\)|[^)]*)\)", r"\1", body)
    return eval(body.replace("(bias)", ""), {"__builtins__": {}}), float(result)


def numpy_line(text):
    lines = text.splitlines()
    return lines[lines.index("The same in NumPy") + 1].strip()


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
def test_numpy_line_gives_what_conv_gives(call, dtypes, has_bias):
    shape_x, shape_w, options = CALLS[call]
    x, w = operands(shape_x, shape_w, dtypes)
    filters = c1x1.conv(x, w, **options)
    count = (
        1
        if w.ndim == 1
        else filters.shape[options.get("layout", "...C").index("C") if "layout" in options else -1]
    )
    bias = np.arange(count) - 1 if has_bias else None
    line = numpy_line(c1x1.explain(x, w, bias, **options))
    value = eval(line, {"np": np, "x": x, "w": w, "bias": bias})
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
