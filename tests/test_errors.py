"""Each wrong call raises the right exception, says what it got and expected, and the way out."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import c1x1
from c1x1 import _api

X = np.ones((5, 6, 7), np.float32)
W = np.ones((7, 4), np.float32)
BATCH = np.ones((2, 3, 8, 9), np.float32)

CASES = {
    "no axes": (lambda: c1x1.conv(np.float32(1), W), ValueError, "x has no axes"),
    "layout too short": (lambda: c1x1.conv(X, W, layout="WC"), ValueError, "names 2 axes but x has 3: for channels last pass layout='HWC'"),
    "layout without C": (lambda: c1x1.conv(X, W, layout="HWD"), ValueError, "must name the channels axis 'C' exactly once"),
    "layout with two C": (lambda: c1x1.conv(X, W, layout="HCC"), ValueError, "must name the channels axis 'C' exactly once"),
    "layout repeats": (lambda: c1x1.conv(X, W, layout="HHC"), ValueError, "a capital letter of its own"),
    "layout lower case": (lambda: c1x1.conv(X, W, layout="hwC"), ValueError, "a capital letter of its own"),
    "layout kind": (lambda: c1x1.conv(X, W, layout=3), TypeError, "layout must be a str such as 'HWC' or None, not int"),
    "layout kind of a layer": (lambda: c1x1.Pointwise(W, layout=3), TypeError, "layout must be a str"),
    "layout of a layer": (lambda: c1x1.Pointwise(W, layout="HW"), ValueError, "must name the channels axis 'C'"),
    "transposed w": (lambda: c1x1.conv(X, W.T), ValueError, "expected (C_in, C_out) = (7, C_out); pass w.T"),
    "transposed w, channels first": (lambda: c1x1.conv(BATCH, np.ones((3, 5)), layout="NCHW"), ValueError, "expected (C_out, C_in) = (C_out, 3); pass w.T"),
    "PyTorch's w": (lambda: c1x1.conv(X, np.ones((4, 7, 1, 1))), ValueError, "pass w.transpose(2, 3, 1, 0)"),
    "Keras' w": (lambda: c1x1.conv(BATCH, np.ones((1, 1, 3, 5)), layout="NCHW"), ValueError, "pass w.transpose(3, 2, 0, 1)"),
    "channels first forgotten": (lambda: c1x1.conv(BATCH, np.ones((5, 3, 1, 1))), ValueError, "pass layout='NCHW' if axis 1 of x is the channels"),
    "channels last forgotten": (lambda: c1x1.conv(X, np.ones((7, 4)), layout="CHW"), ValueError, "pass layout='HWC' if axis 2 of x is the channels"),
    "channels": (lambda: c1x1.conv(X, np.ones((9, 4))), ValueError, "w of shape (9, 4) does not fit x of shape (5, 6, 7) in layout 'HWC', which has 7 channels: expected (C_in, C_out) = (7, C_out)"),
    "one filter": (lambda: c1x1.conv(X, np.ones(9)), ValueError, "w of shape (9,) does not fit"),
    "scalar w": (lambda: c1x1.conv(X, 2.0), ValueError, "w of shape () does not fit"),
    "scalar w of a layer": (lambda: c1x1.Pointwise(2.0), ValueError, "w has no axes"),
    "a 3x3 window": (lambda: c1x1.conv(X, np.ones((3, 3, 7, 4))), ValueError, "a window larger than 1x1 is not a pointwise convolution"),
    "groups uneven": (lambda: c1x1.conv(X, W, groups=2), ValueError, "x has 7 channels, which 2 groups do not divide evenly"),
    "groups and whole filters": (lambda: c1x1.conv(BATCH, np.ones((9, 6)), groups=3), ValueError, "with groups each filter sees only C_in / groups = 3 channels"),
    "groups and outputs": (lambda: c1x1.conv(BATCH, np.ones((3, 5)), groups=3), ValueError, "5 output channels do not divide into 3 groups"),
    "groups and outputs, first": (lambda: c1x1.conv(BATCH, np.ones((5, 1)), groups=3, layout="NCHW"), ValueError, "5 output channels do not divide into 3 groups"),
    "groups zero": (lambda: c1x1.conv(X, W, groups=0), ValueError, "groups must be at least 1, not 0"),
    "groups kind": (lambda: c1x1.conv(X, W, groups=1.5), TypeError, "groups must be an int, not float"),
    "groups of a layer": (lambda: c1x1.Pointwise(W, groups="2"), TypeError, "groups must be an int, not str"),
    "stride zero": (lambda: c1x1.conv(X, W, stride=0), ValueError, "stride must be at least 1, not 0"),
    "stride negative": (lambda: c1x1.conv(X, W, stride=(1, -2)), ValueError, "stride must be at least 1"),
    "stride count": (lambda: c1x1.conv(X, W, stride=(1, 1, 1)), ValueError, "has 3 values but x has 2 spatial axes"),
    "stride kind": (lambda: c1x1.conv(X, W, stride=1.5), TypeError, "stride must be an int or one int per spatial axis"),
    "stride None": (lambda: c1x1.conv(X, W, stride=None), TypeError, "stride must be an int or one int per spatial axis, not None"),
    "threads zero": (lambda: c1x1.conv(X, W, threads=0), ValueError, "threads must be at least 1, not 0; None chooses"),
    "threads kind": (lambda: c1x1.conv(X, W, threads="all"), TypeError, "threads must be an int or None, not str"),
    "bias shape": (lambda: c1x1.conv(X, W, np.ones(5)), ValueError, "bias has shape (5,); expected (4,)"),
    "bias axes": (lambda: c1x1.conv(X, W, np.ones((1, 4))), ValueError, "bias has shape (1, 4); expected (4,)"),
    "bias of a layer": (lambda: c1x1.Pointwise(W, np.ones((1, 4))), ValueError, "bias has shape (1, 4)"),
    "bias float for ints": (lambda: c1x1.conv(X.astype(int), W.astype(int), 0.5), TypeError, "pass x.astype(np.float32) or an integer bias"),
    "bias complex": (lambda: c1x1.conv(X, W, 1j), TypeError, "bias has dtype complex128"),
    "out kind": (lambda: c1x1.conv(X, W, out=[1]), TypeError, "out must be a NumPy array, not list"),
    "out shape": (lambda: c1x1.conv(X, W, out=np.empty((5, 6, 5), np.float32)), ValueError, "out has shape (5, 6, 5); expected (5, 6, 4): pass out=np.empty((5, 6, 4), 'float32')"),
    "out read-only": (lambda: c1x1.conv(X, W, out=np.broadcast_to(np.float32(0), (5, 6, 4))), ValueError, "out is read-only"),
    "out dtype": (lambda: c1x1.conv(X, W, out=np.empty((5, 6, 4), np.uint8)), TypeError, "pass dtype='uint8' to round and saturate"),
    "out complex": (lambda: c1x1.conv(X, W, out=np.empty((5, 6, 4), complex)), TypeError, "out has dtype complex128"),
    "out repeats": (lambda: c1x1.conv(X, W, out=np.lib.stride_tricks.as_strided(np.empty(9, np.float32), (5, 6, 4), (0, 0, 4))), ValueError, "out overlaps itself"),
    "dtype unknown": (lambda: c1x1.conv(X, W, dtype="float31"), TypeError, "is none that NumPy knows"),
    "dtype complex": (lambda: c1x1.conv(X, W, dtype=complex), TypeError, "dtype complex128 cannot hold a result"),
    "x of a plan complex": (lambda: _api.plan(X + 0j, W), TypeError, "pass x.real and x.imag one by one"),
    "x object": (lambda: c1x1.conv(X.astype(object), W), TypeError, "x has dtype object; expected one of bool, int8 to int64, uint8 to uint64, float16, float32, float64: pass x.astype(np.float32)"),
    "x string": (lambda: c1x1.conv(np.full((2, 7), "a"), W), TypeError, "x has dtype <U1"),
    "x structured": (lambda: c1x1.conv(np.zeros((2, 7), [("red", "f4")]), W), TypeError, "pass one field, x['red']"),
    "x datetime": (lambda: c1x1.conv(np.zeros((2, 7), "M8[s]"), W), TypeError, "pass x.astype(np.int64)"),
    "x longdouble": (lambda: c1x1.conv(X.astype(np.longdouble), W), TypeError, "pass x.astype(np.float64)"),
    "x masked": (lambda: c1x1.conv(np.ma.masked_array(X), W), TypeError, "pass x.filled(value)"),
    "x nothing": (lambda: c1x1.conv(None, W), TypeError, "x has dtype object"),
    "x ragged": (lambda: c1x1.conv([[1.0], [1.0, 2.0]], W), TypeError, "x cannot be seen as an array"),
    "w object": (lambda: c1x1.conv(X, W.astype(object)), TypeError, "w has dtype object"),
    "w of a layer": (lambda: c1x1.Pointwise(W + 0j), TypeError, "w has dtype complex64"),
    "layer and channels": (lambda: c1x1.Pointwise(W)(np.ones((5, 6, 8), np.float32)), ValueError, "does not fit x of shape (5, 6, 8)"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_message(case):
    call, error, text = CASES[case]
    with pytest.raises(error, match=re.escape(text)):
        call()


@pytest.mark.parametrize("case", CASES)
def test_an_error_leaks_nothing(case):
    call, error, _ = CASES[case]
    counts = []
    for _ in range(3):
        for _ in range(3):
            with pytest.raises(error):
                call()
        counts.append((sys.getrefcount(X), sys.getrefcount(W), sys.getrefcount(BATCH)))
    assert counts[0] == counts[1] == counts[2]


def test_a_call_leaks_nothing():
    bias, out = np.zeros(4, np.float32), np.empty((5, 6, 4), np.float32)
    layer = c1x1.Pointwise(W, bias)
    for _ in range(5):
        c1x1.conv(X, W, bias, out=out)
        layer(X, out=out)
    before = [sys.getrefcount(o) for o in (X, W, bias, out, layer)]
    for _ in range(20):
        c1x1.conv(X, W, bias, out=out)
        layer(X, out=out)
    assert [sys.getrefcount(o) for o in (X, W, bias, out, layer)] == before


@pytest.mark.parametrize("size", [2**40, 2**55, 2**61])
@pytest.mark.parametrize("layout", ["WC", "CW"])
def test_sizes_beyond_memory_raise_before_anything_is_computed(size, layout):
    """Zero strides make any logical size; the result of such a call fits nowhere."""
    x = np.broadcast_to(np.uint8(1), (size, 3) if layout == "WC" else (3, size))
    with pytest.raises((MemoryError, ValueError)):
        c1x1.conv(x, np.ones((3, 3), np.float32), layout=layout)


def test_channels_without_number_are_refused_by_their_count():
    x = np.broadcast_to(np.float32(1), (2, 2**59))
    with pytest.raises(ValueError, match="does not fit"):
        c1x1.conv(x, np.ones((3, 2), np.float32))


def test_a_result_of_no_channels_has_any_number_of_pixels():
    x = np.broadcast_to(np.uint8(1), (2**20, 2**20, 1))
    assert c1x1.conv(x, np.ones((1, 0), np.float32)).shape == (2**20, 2**20, 0)
