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
BYTES, INT8 = np.ones((5, 6, 7), np.uint8), np.ones((7, 4), np.int8)
TABLE = np.ones(256, np.float32)


class Impossible:
    """More elements than an address has bits for."""

    __array_interface__ = {  # noqa: RUF012
        "shape": (2**63,), "typestr": "<f4", "data": (X.ctypes.data, False), "version": 3,
    }  # fmt: skip


CASES = {
    "no axes": (lambda: c1x1.conv(np.float32(1), W), ValueError, "x has no axes"),
    "layout too short": (lambda: c1x1.conv(X, W, layout="WC"), ValueError, "names 2 axes but x has 3: for channels last pass layout='HWC'"),
    "layout too long, channels first": (lambda: c1x1.conv(BATCH[0], np.ones((5, 3)), layout="NCHW"), ValueError, "names 4 axes but x has 3: for channels first pass layout='CHW'"),
    "layout of one axis": (lambda: c1x1.conv(X, W, layout="C"), ValueError, "names 1 axis but x has 3: for channels last pass layout='HWC'"),
    "Conv1d's w": (lambda: c1x1.conv(X[0], np.ones((4, 7, 1))), ValueError, "pass w.transpose(2, 1, 0)"),
    "a layer as w": (lambda: c1x1.conv(X, c1x1.Pointwise(W)), TypeError, "call the layer itself, layer(x)"),
    "None as w": (lambda: c1x1.conv(X, None), TypeError, "pass an array of numbers, not a NoneType"),
    "str as x": (lambda: c1x1.conv("abc", W), TypeError, "a str_ is no number"),
    "groups beyond an int": (lambda: c1x1.conv(X, W, groups=2**63), ValueError, "groups must be at most 2147483647"),
    "bias of a layer, length": (lambda: c1x1.Pointwise(W, np.ones(5)), ValueError, "bias has shape (5,); expected (4,), one value per output channel"),
    "scale of a layer, length": (lambda: c1x1.Pointwise(W, scale=np.ones(5)), ValueError, "scale has shape (5,); expected (4,), one value per output channel"),
    "slopes of a layer": (lambda: c1x1.Pointwise(W, activation=("prelu", np.ones(5))), ValueError, "slopes has shape (5,); expected (4,), one value per output channel"),
    "groups of a layer, uneven": (lambda: c1x1.Pointwise(W, groups=3), ValueError, "4 output channels do not divide into 3 groups"),
    "groups of one filter": (lambda: c1x1.Pointwise(W[:, 0], groups=7), ValueError, "holds no 1x1 filters of 7 groups: it is one filter"),
    "window of a layer": (lambda: c1x1.Pointwise(np.ones((3, 3, 7, 4))), ValueError, "a window larger than 1x1 is not a pointwise convolution"),
    "table of a layer": (lambda: c1x1.Pointwise(W, lut=np.ones(255)), ValueError, "lut has shape (255,); expected (256,) or (65536,)"),
    "table of a layer, a scalar": (lambda: c1x1.Pointwise(W, lut=1.0), ValueError, "lut has shape (); expected (256,) or (65536,)"),
    "layers that do not follow": (lambda: c1x1.Chain([c1x1.Pointwise(W), c1x1.Pointwise(W)]), ValueError, "layer 1 takes 7 channels but layer 0 gives 4"),
    "a layer as layers": (lambda: c1x1.Chain(c1x1.Pointwise(W)), TypeError, "not several layers: pass [layer]"),
    "None as layers": (lambda: c1x1.Chain(None), TypeError, "layers is a NoneType, not several layers"),
    "bias beyond int64": (lambda: c1x1.conv(BYTES, INT8, 2**64 - 1), ValueError, "bias holds 18446744073709551615, and sums of integers are made in int64"),
    "residual beyond int64": (lambda: c1x1.conv(BYTES, INT8, residual=np.uint64(2**63)), ValueError, "residual holds 9223372036854775808, and"),
    "clip of NaN": (lambda: c1x1.conv(X, W, activation=("clip", np.nan, 1)), ValueError, "a bound is not a number"),
    "slope of str": (lambda: c1x1.conv(X, W, activation=("leaky_relu", "0.1")), TypeError, "takes a number, not '0.1'"),
    "nodata masked": (lambda: c1x1.conv(X, W, nodata=np.ma.masked), TypeError, "nodata must be a number, not masked"),
    "pixel of None": (lambda: c1x1.explain(X, W, pixel=None), TypeError, "pixel must be an int or one int per axis, not None"),
    "pixel of floats": (lambda: c1x1.explain(X, W, pixel=(1.0, 2)), TypeError, "pixel must be an int or one int per axis, not (1.0, 2)"),
    "pixel too short": (lambda: c1x1.explain(X, W, pixel=3), ValueError, "pixel (3,) has 1 index; expected one for each of H, W"),
    "gradient of a bias array": (lambda: c1x1.conv_vjp(X, W, X @ W, bias=np.ones(4)), TypeError, "bias is True or False: no gradient needs its values"),
    "quantized zero point": (lambda: c1x1.Pointwise(W).quantize(1, 300), ValueError, "x_zero_point is 300; expected an integer that int8 or uint8 holds"),
    "quantized zero point of None": (lambda: c1x1.Pointwise(W).quantize(1, None), TypeError, "x_zero_point has dtype object"),
    "quantized NaN": (lambda: c1x1.Pointwise(W * np.nan).quantize(1, 0), ValueError, "w has NaN or infinite weights"),
    "folded mask": (lambda: c1x1.Pointwise(W).fold_normalization(np.ma.zeros(7), 1), TypeError, "mean is a masked array, whose mask would be lost"),
    "folded NaN": (lambda: c1x1.Pointwise(W).fold_normalization(0, np.nan), ValueError, "std must be finite, not nan"),
    "eps of str": (lambda: c1x1.Pointwise(W).fold_batchnorm(1, 0, 0, 1, "a"), TypeError, "eps has dtype <U1; expected real numbers"),
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
    "groups beyond int64": (lambda: c1x1.conv(X, W, groups=2**63), ValueError, "not 9223372036854775808"),
    "x of a shape beyond int64": (lambda: c1x1.conv(Impossible(), W), TypeError, "x cannot be seen as an array"),
    "groups kind": (lambda: c1x1.conv(X, W, groups=1.5), TypeError, "groups must be an int, not float"),
    "groups of a layer": (lambda: c1x1.Pointwise(W, groups="2"), TypeError, "groups must be an int, not str"),
    "stride zero": (lambda: c1x1.conv(X, W, stride=0), ValueError, "stride must be at least 1, not 0"),
    "stride negative": (lambda: c1x1.conv(X, W, stride=(1, -2)), ValueError, "stride must be at least 1"),
    "stride count": (lambda: c1x1.conv(X, W, stride=(1, 1, 1)), ValueError, "has 3 values but x has 2 spatial axes"),
    "stride kind": (lambda: c1x1.conv(X, W, stride=1.5), TypeError, "stride must be an int or one int per spatial axis"),
    "stride of bytes": (lambda: c1x1.conv(X, W, stride=b"\x02\x02"), TypeError, "stride must be an int or one int per spatial axis"),
    "stride of a dict": (lambda: c1x1.conv(X, W, stride={2: 0, 1: 0}), TypeError, "stride must be an int or one int per spatial axis"),
    "clip of text": (lambda: c1x1.conv(X, W, activation=("clip", "0", "1")), TypeError, "activation 'clip' takes a number, not '0'"),
    "clip of an array": (lambda: c1x1.conv(X, W, activation=("clip", np.zeros(1), 1)), ValueError, "activation 'clip' takes a number, not array([0.])"),
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
    "out of long complex": (lambda: c1x1.conv(X, W, out=np.empty((5, 6, 4), np.clongdouble)), TypeError, "pass out.astype(np.complex128)"),
    "out real of complex x": (lambda: c1x1.conv(X * 1j, W, out=np.empty((5, 6, 4), np.float32)), TypeError, "pass an out of dtype complex64"),
    "out repeats": (lambda: c1x1.conv(X, W, out=np.lib.stride_tricks.as_strided(np.empty(9, np.float32), (5, 6, 4), (0, 0, 4))), ValueError, "out overlaps itself"),
    "dtype unknown": (lambda: c1x1.conv(X, W, dtype="float31"), TypeError, "is none that NumPy knows"),
    "dtype complex": (lambda: c1x1.conv(X, W, dtype=complex), TypeError, "dtype complex128 cannot hold a result"),
    "activation of a complex plan": (lambda: _api.plan(X + 0j, W, activation="relu"), TypeError, "activation is for real x and w, not for complex ones"),
    "x object": (lambda: c1x1.conv(X.astype(object), W), TypeError, "x has dtype object; expected one of bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64: pass x.astype(np.float32)"),
    "x string": (lambda: c1x1.conv(np.full((2, 7), "a"), W), TypeError, "x has dtype <U1"),
    "x structured": (lambda: c1x1.conv(np.zeros((2, 7), [("red", "f4")]), W), TypeError, "pass one field, x['red']"),
    "x datetime": (lambda: c1x1.conv(np.zeros((2, 7), "M8[s]"), W), TypeError, "pass x.astype(np.int64)"),
    "x longdouble": (lambda: c1x1.conv(X.astype(np.longdouble), W), TypeError, "pass x.astype(np.float64)"),
    "x masked": (lambda: c1x1.conv(np.ma.masked_array(X), W), TypeError, "pass x.filled(value)"),
    "x nothing": (lambda: c1x1.conv(None, W), TypeError, "x has dtype object"),
    "x ragged": (lambda: c1x1.conv([[1.0], [1.0, 2.0]], W), TypeError, "x cannot be seen as an array"),
    "w object": (lambda: c1x1.conv(X, W.astype(object)), TypeError, "w has dtype object"),
    "w of a layer": (lambda: c1x1.Pointwise(W.astype(object)), TypeError, "w has dtype object"),
    "activation of complex weights": (lambda: c1x1.Pointwise(W + 0j, activation="relu"), TypeError, "activation is for real x and w, not for complex ones"),
    "lut of complex weights": (lambda: c1x1.Pointwise(W + 0j, lut=TABLE), TypeError, "lut is for real x and w"),
    "nodata of complex weights": (lambda: c1x1.Pointwise(W + 0j)(X, nodata=1), TypeError, "nodata is for real x and w"),
    "activation of a layer and a complex x": (lambda: c1x1.Pointwise(W, activation="relu")(X + 0j), TypeError, "activation is for real x and w"),
    "real dtype of complex weights": (lambda: c1x1.Pointwise(W + 0j, dtype=np.float32), TypeError, "dtype float32 cannot hold the complex result: pass dtype=np.complex64"),
    "complex scale of a layer": (lambda: c1x1.Pointwise(W + 0j, scale=1j), TypeError, "scale has dtype complex128"),
    "complex weights in a chain": (lambda: c1x1.Chain([c1x1.Pointwise(W + 0j)]), TypeError, "layer 0 has complex weights; a chain is of real ones: call the layers one by one"),
    "complex x of a chain": (lambda: c1x1.Chain([c1x1.Pointwise(W)])(X + 0j), TypeError, "x has dtype complex64"),
    "complex weights quantized": (lambda: c1x1.Pointwise(W + 0j).quantize(1, 0), TypeError, "w has dtype complex64; expected a real one"),
    "scale shape": (lambda: c1x1.conv(X, W, scale=np.ones(5)), ValueError, "scale has shape (5,); expected (4,), one value per output channel, or a scalar"),
    "scale axes": (lambda: c1x1.conv(X, W, scale=np.ones((1, 4))), ValueError, "scale has shape (1, 4); expected (4,)"),
    "scale of a layer": (lambda: c1x1.Pointwise(W, scale=np.ones((1, 4))), ValueError, "scale has shape (1, 4)"),
    "scale of a layer, when it is called": (lambda: c1x1.Pointwise(W, scale=np.ones(5))(X), ValueError, "scale has shape (5,); expected (4,)"),
    "scale complex": (lambda: c1x1.conv(X, W, scale=1j), TypeError, "scale has dtype complex128"),
    "residual shape": (lambda: c1x1.conv(X, W, residual=np.ones((5, 6, 5))), ValueError, "residual has shape (5, 6, 5); expected (5, 6, 4), the result's, or one that broadcasts to it"),
    "residual axes": (lambda: c1x1.conv(X, W, residual=np.ones((1, 5, 6, 4))), ValueError, "residual has shape (1, 5, 6, 4); expected (5, 6, 4)"),
    "residual list": (lambda: c1x1.conv(X, W, residual=[1, 2, 3]), ValueError, "residual has shape (3,); expected (5, 6, 4)"),
    "residual of x's pixels before the stride": (lambda: c1x1.conv(X, W, residual=np.ones((5, 6, 4)), stride=2), ValueError, "expected (3, 3, 4), the result's"),
    "residual of a layer": (lambda: c1x1.Pointwise(W)(X, residual=np.ones(3)), ValueError, "residual has shape (3,)"),
    "residual float for ints": (lambda: c1x1.conv(BYTES, INT8, residual=0.5), TypeError, "pass x.astype(np.float32) or an integer residual"),
    "residual complex": (lambda: c1x1.conv(X, W, residual=1j), TypeError, "residual has dtype complex128"),
    "residual masked": (lambda: c1x1.conv(X, W, residual=np.ma.masked_array(np.ones(4))), TypeError, "pass residual.filled(value)"),
    "bias float for ints with a residual": (lambda: c1x1.conv(BYTES, INT8, 0.5, residual=1), TypeError, "or an integer bias"),
    "activation unknown": (lambda: c1x1.conv(X, W, activation="rleu"), ValueError, "unknown activation 'rleu'; expected one of 'relu', 'relu6', "),
    "activation identity": (lambda: c1x1.conv(X, W, activation="identity"), ValueError, "unknown activation 'identity'"),
    "activation kind": (lambda: c1x1.conv(X, W, activation=np.tanh), TypeError, "activation must be a name or a tuple that begins with one, not <ufunc 'tanh'>"),
    "activation empty": (lambda: c1x1.conv(X, W, activation=()), TypeError, "activation must be a name or a tuple"),
    "activation of a layer": (lambda: c1x1.Pointwise(W, activation="rleu"), ValueError, "unknown activation 'rleu'"),
    "relu and a number": (lambda: c1x1.conv(X, W, activation=("relu", 1)), ValueError, "activation 'relu' takes 0 parameters, not 1: pass 'relu'"),
    "clip without bounds": (lambda: c1x1.conv(X, W, activation="clip"), ValueError, "activation 'clip' takes 2 parameters, not 0: pass ('clip', lo, hi)"),
    "clip with one bound": (lambda: c1x1.conv(X, W, activation=("clip", 1)), ValueError, "activation 'clip' takes 2 parameters, not 1"),
    "clip crossed": (lambda: c1x1.conv(X, W, activation=("clip", 2, 1)), ValueError, "activation ('clip', 2, 1): the lower bound is above the upper"),
    "clip kind": (lambda: c1x1.conv(X, W, activation=("clip", "a", 1)), TypeError, "activation 'clip' takes a number, not 'a'"),
    "clip beyond float64": (lambda: c1x1.conv(X, W, activation=("clip", 0, 10**400)), TypeError, "activation 'clip' takes a number"),
    "leaky_relu with two": (lambda: c1x1.conv(X, W, activation=("leaky_relu", 1, 2)), ValueError, "takes 1 parameter, not 2: pass ('leaky_relu', slope)"),
    "leaky_relu with many": (lambda: c1x1.conv(X, W, activation=("leaky_relu", [1, 2])), ValueError, "activation 'leaky_relu' takes a number, not [1, 2]"),
    "elu kind": (lambda: c1x1.conv(X, W, activation=("elu", "a")), TypeError, "activation 'elu' takes a number, not 'a'"),
    "prelu without slopes": (lambda: c1x1.conv(X, W, activation="prelu"), ValueError, "pass ('prelu', slopes), a slope for each output channel"),
    "prelu shape": (lambda: c1x1.conv(X, W, activation=("prelu", np.ones(5))), ValueError, "slopes has shape (5,); expected (4,)"),
    "prelu complex": (lambda: c1x1.conv(X, W, activation=("prelu", 1j)), TypeError, "slopes has dtype complex128"),
    "lut for float": (lambda: c1x1.conv(X, W, lut=TABLE), TypeError, "lut is for x of dtype int8, uint8, int16 or uint16, not float32: pass x.astype(np.uint16)"),
    "lut for int32": (lambda: c1x1.conv(X.astype(np.int32), W, lut=TABLE), TypeError, "not int32"),
    "lut for a layer's float": (lambda: c1x1.Pointwise(W, lut=TABLE)(X), TypeError, "not float32"),
    "lut length": (lambda: c1x1.conv(BYTES, W, lut=np.ones(255)), ValueError, "lut has shape (255,); expected (256,), an entry for each value of uint8, or (7, 256), a row for each channel of x"),
    "lut of 8 bits for 16": (lambda: c1x1.conv(X.astype(np.int16), W, lut=TABLE), ValueError, "lut has shape (256,); expected (65536,)"),
    "lut rows": (lambda: c1x1.conv(BYTES, W, lut=np.ones((4, 256))), ValueError, "expected (256,), an entry for each value of uint8, or (7, 256)"),
    "lut complex": (lambda: c1x1.conv(BYTES, W, lut=TABLE + 0j), TypeError, "lut has dtype complex64"),
    "lut object": (lambda: c1x1.Pointwise(W, lut=TABLE.astype(object)), TypeError, "lut has dtype object"),
    "nodata fraction of ints": (lambda: c1x1.conv(BYTES, W, nodata=0.5), ValueError, "nodata=0.5 is a value that no element of x can equal: x is uint8"),
    "nodata NaN of ints": (lambda: c1x1.conv(BYTES, W, nodata=np.nan), ValueError, "nodata=nan is a value that no element of x can equal"),
    "nodata out of range": (lambda: c1x1.conv(BYTES, W, nodata=-1), ValueError, "nodata=-1 is a value that no element of x can equal"),
    "nodata beyond int64": (lambda: c1x1.conv(BYTES, W, nodata=2**64), ValueError, "no element of x can equal"),
    "nodata beyond float32": (lambda: c1x1.conv(X, W, nodata=1e39), ValueError, "nodata=1e+39 is a value that no element of x can equal: x is float32"),
    "nodata beyond float64": (lambda: c1x1.conv(X, W, nodata=10**400), ValueError, "no element of x can equal"),
    "nodata of an int result": (lambda: c1x1.conv(X, W, nodata=-9999, dtype=np.uint8), ValueError, "nodata=-9999 is a value that a result of uint8 cannot hold, nor can it hold NaN: pass dtype=np.float32"),
    "nodata NaN of an int result": (lambda: c1x1.conv(X, W, nodata=np.nan, dtype=np.int64), ValueError, "a result of int64 cannot hold"),
    "nodata of an int out": (lambda: c1x1.conv(BYTES.astype(np.int16), INT8, nodata=-300, out=np.zeros((5, 6, 4), np.int8)), ValueError, "a result of int8 cannot hold"),
    "nodata string": (lambda: c1x1.conv(X, W, nodata="1"), TypeError, "nodata must be a number, not '1'"),
    "nodata list": (lambda: c1x1.conv(X, W, nodata=[1]), TypeError, "nodata must be a number, not [1]"),
    "nodata complex": (lambda: c1x1.Pointwise(W)(X, nodata=1j), TypeError, "nodata must be a number, not 1j"),
    "precision": (lambda: c1x1.conv(X, W, precision="low"), ValueError, "precision must be 'highest', 'high' or 'medium', not 'low'"),
    "precision None": (lambda: c1x1.conv(X, W, precision=None), ValueError, "not None"),
    "precision of a layer": (lambda: c1x1.Pointwise(W, precision="low"), ValueError, "precision must be 'highest', 'high' or 'medium'"),
    "reproducible": (lambda: c1x1.conv(X, W, reproducible=1), TypeError, "reproducible must be True or False, not 1"),
    "reproducible of a layer": (lambda: c1x1.Pointwise(W, reproducible="yes"), TypeError, "reproducible must be True or False, not 'yes'"),
    "dtype of a layer": (lambda: c1x1.Pointwise(W, dtype=np.longdouble), TypeError, "cannot hold a result"),
    "dtype of a layer of a real image": (lambda: c1x1.Pointwise(W, dtype=complex)(X), TypeError, "dtype complex128 cannot hold a result"),
    "x_dtype unknown": (lambda: c1x1.Pointwise(W, x_dtype="float31"), TypeError, "x_dtype 'float31' is none that NumPy knows"),
    "x_dtype object": (lambda: c1x1.Pointwise(W, x_dtype=object), TypeError, "x_dtype object cannot hold an image"),
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
        counts.append([sys.getrefcount(a) for a in (X, W, BATCH, BYTES, INT8, TABLE)])
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


def test_a_call_with_everything_leaks_nothing():
    scale, slopes, out = np.ones(4, np.float32), np.ones(4), np.ones((5, 6, 4), np.float32)
    residual, nodata, table = np.ones(4, np.float32), 7777, TABLE.astype(np.float64)
    activation = ("prelu", slopes)
    layer = c1x1.Pointwise(W, scale=scale, activation=activation, lut=table)

    def calls():
        for rest in ({}, {"out": out}):
            c1x1.conv(
                X, W, scale=scale, residual=residual, activation=activation, nodata=nodata, **rest
            )
            c1x1.conv(BYTES, W, lut=TABLE, residual=out, **rest)
            layer(BYTES, residual=residual, nodata=7, **rest)

    objects = (X, W, BYTES, TABLE, scale, slopes, out, residual, nodata, table, activation, layer)
    for _ in range(5):
        calls()
    before = [sys.getrefcount(o) for o in objects]
    for _ in range(20):
        calls()
    assert [sys.getrefcount(o) for o in objects] == before


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
