"""The oracle: what conv must return, by np.tensordot in exact integers or in float64."""

from __future__ import annotations

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
