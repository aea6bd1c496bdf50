"""The oracle: what conv must return, by np.tensordot in exact integers or in float64."""

from __future__ import annotations

import math

import numpy as np

EPS = {"float32": 2.0**-24, "float64": 2.0**-53}


def channels_last(x, layout):
    """x with its channels moved to the end."""
    return x if layout is None else np.moveaxis(x, layout.index("C"), -1)


def strided(x, layout, stride):
    """Pixels 0, s, 2s, ... of the spatial axes."""
    ndim = x.ndim
    letters = layout or {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}[ndim]
    spatial = [i for i, letter in enumerate(letters) if letter not in "NC"]
    steps = [stride] * len(spatial) if isinstance(stride, int) else list(stride)
    index = [slice(None)] * ndim
    for axis, step in zip(spatial, steps, strict=True):
        index[axis] = slice(None, None, step)
    return x[tuple(index)]


def conv(x, w, bias=None, *, layout=None, stride=1, groups=1, dtype=np.float64):
    """The convolution of channels-last-style weights w (C_in / groups, C_out), in dtype."""
    pixels = channels_last(strided(x, layout, stride), layout).astype(dtype)
    weights = np.asarray(w).astype(dtype)
    width, count = weights.shape[0], weights.shape[1] // groups
    parts = [
        np.tensordot(
            pixels[..., g * width : (g + 1) * width], weights[:, g * count : (g + 1) * count], 1
        )
        for g in range(groups)
    ]
    y = np.concatenate(parts, axis=-1)
    if bias is not None:
        y = y + np.asarray(bias).astype(dtype)
    return y if layout is None else np.moveaxis(y, -1, layout.index("C"))


def error_bound(x, w, bias=None, *, layout=None, stride=1, groups=1, eps=EPS["float32"]):
    """A bound from theory: K + 1 roundings, each at most eps of the sum of magnitudes."""
    total = conv(np.abs(x), np.abs(w), None if bias is None else np.abs(bias), layout=layout,
                 stride=stride, groups=groups)  # fmt: skip
    channels = np.asarray(w).shape[0]
    return (channels + 2) * eps * total + np.finfo(np.float32).tiny


def weights_for(w, layout, *, contiguous=True):
    """w (C_in, C_out) in the convention of the layout."""
    if layout is None or layout.endswith("C"):
        return w
    return np.ascontiguousarray(w.T) if contiguous else w.T


def image(rng, shape, layout, dtype, low=-4, high=5):
    """Integer-valued data, so that sums are exact in every dtype."""
    if np.dtype(dtype) == bool:
        low, high = 0, 2
    elif np.dtype(dtype).kind == "u":
        low = 0
    return rng.integers(low, high, shape).astype(dtype)


def finished(sums, scale=None, bias=None, residual=None, layout=None):
    """scale * sums + bias + residual in float64: exact for the data of the tests that call it."""
    y = channels_last(sums, layout).astype(np.float64)
    if scale is not None:
        y = y * np.asarray(scale, np.float64)
    if bias is not None:
        y = y + np.asarray(bias, np.float64)
    y = y if layout is None else np.moveaxis(y, -1, layout.index("C"))
    return y if residual is None else y + np.asarray(residual, np.float64)


def saturated(values, dtype):
    """Rounded half to even and clipped where dtype is an integer; float64's whole numbers hold."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return values != 0
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), float(limits.min), float(limits.max))
    return np.asarray(values).astype(dtype)


def looked_up(x, table, layout=None):
    """What stands in the place of each value of x: table has one row, or a row for each channel."""
    lowest = int(np.iinfo(x.dtype).min)
    index = channels_last(x, layout).astype(np.int64) - lowest
    values = table[index] if table.ndim == 1 else table[np.arange(index.shape[-1]), index]
    return values if layout is None else np.moveaxis(values, -1, layout.index("C"))


def _erfc_of_minus(v):
    """erfc(-v / sqrt(2)) for v of few bits; what its argument loses by rounding is put right."""
    high = np.rint(np.sqrt(0.5) * 2.0**26) / 2.0**26
    low = (0.5 - high * high) / (np.sqrt(0.5) + high)
    argument = v * high + v * low
    lost = (v * high - argument) + v * low
    value = np.vectorize(math.erfc, otypes=[np.float64])(-argument)
    return value + 2 / np.sqrt(np.pi) * np.exp(-(argument**2)) * lost


def _sigmoid(v):
    return 1 / (1 + np.exp(-v))


# sqrt(2 / pi): NumPy's pi is a float64.
_TANH_SCALE = np.sqrt(np.longdouble(2) / (4 * np.arctan(np.longdouble(1))))
_CUBE_SCALE = np.longdouble(44715) / 1000000

# By their definitions, in the widest float there is; v in few bits, p the parameters.
ACTIVATIONS = {
    "identity": lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.clip(v, 0, 6),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda v: v * _sigmoid(v),
    "hardswish": lambda v: v * np.clip(v + 3, 0, 6) / 6,
    "hardsigmoid": lambda v: np.clip(v + 3, 0, 6) / 6,
    "gelu": lambda v: v / 2 * _erfc_of_minus(v.astype(np.float64)),
    "gelu_tanh": lambda v: v * _sigmoid(2 * _TANH_SCALE * (v + _CUBE_SCALE * v**3)),
    "elu": lambda v, alpha: np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0))),
    "leaky_relu": lambda v, slope: np.where(v > 0, v, slope * v),
    "clip": lambda v, low, high: np.clip(v, low, high),
    "prelu": lambda v, slopes: np.where(v > 0, v, slopes * v),
}
