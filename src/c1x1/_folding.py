"""Folds what stands before or after a layer into its weights and bias, in float64.

Like the doors, every function returns the arguments of a new `Pointwise`, and its `stride`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from c1x1._doors import Arguments, Array, to_array

if TYPE_CHECKING:
    from c1x1._pointwise import Pointwise

# What a new layer takes over unless the folding changes it.
_KEPT = (
    *("layout", "groups", "dtype", "stride", "scale", "activation", "lut"),
    *("precision", "reproducible", "x_dtype"),
)


# ---- reading a layer -------------------------------------------------------------------------


def _kept(layer: Pointwise) -> Arguments:
    values = {name: getattr(layer, name, None) for name in _KEPT}
    return {name: value for name, value in values.items() if value is not None}


def _matrices(layer: Pointwise) -> list[Array]:
    """The weights as (C_in / groups, C_out) in float64, in every reading that some image has.

    Two only where w is one filter in an image's shape, or a matrix of one input channel.
    """
    w: Array = layer.weight.astype(np.result_type(layer.weight.dtype, np.float64))
    layout = layer.layout
    is_last = layout is None or layout.endswith("C")
    found: list[Array] = []
    if w.ndim == 1:
        return [w.reshape(-1, 1)] if layer.groups == 1 else found
    window = w.shape[:-2] if is_last else w.shape[2:]
    if all(size == 1 for size in window):
        found.append(w.reshape(w.shape[-2:]) if is_last else w.reshape(w.shape[:2]).T)
    others = w.shape[:-1] if is_last else w.shape[1:]
    fits = layout is None or w.ndim == len(layout) - ("N" in layout) or w.ndim == len(layout)
    if layer.groups == 1 and fits and w.size > 1 and all(size == 1 for size in others):
        found.append(w.reshape(-1, 1))
    return found


def _parameter(value: ArrayLike, name: str) -> Array:
    """One number per channel, or one for all, in float64."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost: pass {name}.filled(value)"
        )
    a = to_array(value, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {a.dtype}; expected real numbers")
    if a.ndim > 1:
        raise ValueError(f"{name} has shape {a.shape}; expected one value per channel, or a scalar")
    return a.astype(np.float64)


def _outputs(layer: Pointwise) -> dict[str, Array]:
    """What the layer itself has per output channel."""
    values = {name: getattr(layer, name, None) for name in ("bias", "scale")}
    return {
        name: v.astype(np.complex128) if np.iscomplexobj(v) else _parameter(v, name)
        for name, v in values.items()
        if v is not None
    }


def _readings(layer: Pointwise, inputs: dict[str, Array], outputs: dict[str, Array]) -> list[Array]:
    """The matrices that fit these parameters per input and per output channel; at least one."""
    found = _matrices(layer)
    if not found:
        raise ValueError(f"w of shape {layer.weight.shape} holds no 1x1 filters")
    for side, parameters in (("input", inputs), ("output", outputs)):
        for name, values in parameters.items():
            if values.ndim == 0:
                continue
            counts = [m.shape[0] * layer.groups if side == "input" else m.shape[1] for m in found]
            fitting = [m for m, n in zip(found, counts, strict=True) if values.size == n]
            if not fitting:
                wanted = " or ".join(f"({n},)" for n in counts)
                raise ValueError(
                    f"{name} has shape {values.shape}; expected {wanted}, one value per {side} "
                    "channel, or a scalar"
                )
            found = fitting
    return found


def _arguments(
    layer: Pointwise, matrix: Array, bias: Array, dtype: DTypeLike | None = None
) -> Arguments:
    """The layer's arguments with other weights, in their old shape, and another bias."""
    w = layer.weight
    is_first = layer.layout is not None and not layer.layout.endswith("C")
    if dtype is None:
        dtype = np.float32 if w.dtype.kind in "iub" else w.dtype
    shaped = (matrix.T if is_first else matrix).reshape(w.shape).astype(dtype)
    # The sums of narrow weights are made in float32, where the bias is added.
    wide = shaped.dtype if shaped.dtype.itemsize >= 4 else np.dtype(np.float32)
    if bias.dtype.kind == "c":
        wide = np.result_type(wide, np.complex64)
    return _kept(layer) | {"w": shaped, "bias": bias.astype(wide)}


# ---- normalization ---------------------------------------------------------------------------


def fold_batchnorm(
    layer: Pointwise,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
) -> Arguments:
    """Arguments for a layer that gives gamma * (layer(x) - mean) / sqrt(var + eps) + beta."""
    activation = getattr(layer, "activation", None)
    if activation is not None:
        raise ValueError(
            f"the layer's activation {activation!r} comes before the batch normalization: fold "
            "into a layer without it and pass the new weight and bias to Pointwise with the "
            "activation; or, where it does come before, use fold_normalization of the layer behind"
        )
    if layer.dtype is not None and layer.dtype.kind not in "fc":
        raise ValueError(
            f"the layer rounds its results to {layer.dtype}, and that comes before the batch "
            "normalization: fold into a layer of floating-point results"
        )
    parameters = {
        "gamma": _parameter(1.0 if gamma is None else gamma, "gamma"),
        "beta": _parameter(0.0 if beta is None else beta, "beta"),
        "mean": _parameter(mean, "mean"),
        "var": _parameter(var, "var"),
    }
    own = _outputs(layer)
    # Where two readings fit, all of them are scalars, which act alike in both.
    matrix = _readings(layer, {}, own | parameters)[0]
    variance = parameters["var"] + _parameter(eps, "eps")
    if not (variance > 0).all():
        raise ValueError(f"var + eps must be positive; the least is {variance.min()}")
    factor = parameters["gamma"] / np.sqrt(variance)
    bias = (own.get("bias", 0.0) - parameters["mean"]) * factor + parameters["beta"]
    # A scale of the sums stays where it is: it multiplies the new weights as it did the old.
    return _arguments(layer, matrix * factor, bias)


def fold_normalization(layer: Pointwise, mean: ArrayLike, std: ArrayLike) -> Arguments:
    """Arguments for a layer that gives layer((x - mean) / std)."""
    if getattr(layer, "lut", None) is not None:
        raise ValueError(
            "the layer looks its input up in a table: normalize the table, lut=(lut - mean) / std"
        )
    inputs = {"mean": _parameter(mean, "mean"), "std": _parameter(std, "std")}
    if not (inputs["std"] != 0).all():
        raise ValueError("std has a zero: pass 1 for a channel that does not vary")
    for name, values in inputs.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, not {values}")
    own = _outputs(layer)
    found = _readings(layer, inputs, own)
    if len(found) > 1:
        raise ValueError(
            f"w of shape {layer.weight.shape} may be one filter or {layer.weight.size} of them: "
            "pass mean with one value per input channel"
        )
    (matrix,) = found
    c_in, c_out = matrix.shape
    # Output o sees the channels of its own group only.
    shape, each = (layer.groups, c_in), c_out // layer.groups
    means, stds = (
        np.repeat(np.broadcast_to(v, c_in * layer.groups).reshape(shape), each, axis=0).T
        for v in inputs.values()
    )
    scaled = matrix / stds
    shift = (scaled * means).sum(axis=0) * own.get("scale", 1.0)
    return _arguments(layer, scaled, own.get("bias", 0.0) - shift)


# ---- quantization ----------------------------------------------------------------------------


def _quantized_activation(activation: Any, y_scale: float, y_zero_point: int) -> Any:
    """The activation as it acts on y / y_scale + y_zero_point."""
    kind = activation[0] if isinstance(activation, tuple) else activation
    if kind == "relu":
        return ("clip", float(y_zero_point), float("inf"))
    if kind in ("relu6", "clip"):
        low, high = (0.0, 6.0) if kind == "relu6" else activation[1:]
        low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
        return ("clip", low / y_scale + y_zero_point, high / y_scale + y_zero_point)
    if kind in ("leaky_relu", "prelu") and y_zero_point == 0:
        return activation
    raise ValueError(
        f"the activation {activation!r} acts on real numbers, not on quantized ones: leave y_scale "
        "out for float32 results, and quantize those"
    )


def _integer(value: Any, name: str, *dtypes: DTypeLike) -> int:
    kinds = [np.dtype(dtype) for dtype in dtypes]
    a = _parameter(value, name)
    limits = [np.iinfo(kind) for kind in kinds]
    fits = a.ndim == 0 and any(i.min <= a <= i.max for i in limits) and float(a).is_integer()
    if not fits:
        expected = " or ".join(str(kind) for kind in kinds)
        raise ValueError(f"{name} is {value!r}; expected an integer that {expected} holds")
    return int(a)


def _step(value: float, name: str) -> float:
    a = _positive(value, name)
    if a.ndim:
        raise ValueError(f"{name} has shape {a.shape}; expected a scalar")
    return float(a)


def _positive(value: ArrayLike, name: str) -> Array:
    a = _parameter(value, name)
    if not ((a > 0) & np.isfinite(a)).all():
        raise ValueError(f"{name} must be positive and finite, not {value!r}")
    return a


def _quantized_weights(matrix: Array, w_scale: Array | None) -> tuple[Array, Array]:
    """Integers of at most 127 in size, and their steps, one per output channel or one for all."""
    if not np.isfinite(matrix).all():
        raise ValueError("w has NaN or infinite weights, for which there are no integers")
    if w_scale is None:
        w_scale = np.abs(matrix).max(axis=0, initial=0.0) / 127
        # Any step suits weights that are all zero.
        w_scale = np.where(w_scale == 0, 1.0, w_scale)
    return np.clip(np.rint(matrix / w_scale), -127, 127), w_scale


def quantize(
    layer: Pointwise,
    x_scale: float,
    x_zero_point: int,
    w_scale: ArrayLike | None,
    y_scale: float | None,
    y_zero_point: int,
    dtype: DTypeLike,
) -> Arguments:
    """Arguments for an integer layer on x_q, where x = x_scale * (x_q - x_zero_point)."""
    if layer.weight.dtype.kind in "iub":
        raise TypeError(f"w has dtype {layer.weight.dtype}: it is quantized already")
    if layer.weight.dtype.kind == "c":
        raise TypeError(
            f"w has dtype {layer.weight.dtype}; expected a real one: quantize layers of w.real and "
            "w.imag one by one"
        )
    if getattr(layer, "lut", None) is not None:
        raise ValueError("the layer looks its input up in a table: quantize a layer without lut")
    own = _outputs(layer)
    given = {} if w_scale is None else {"w_scale": _positive(w_scale, "w_scale")}
    found = _readings(layer, {}, own | given)
    if len(found) > 1:
        raise ValueError(
            f"w of shape {layer.weight.shape} may be one filter or {layer.weight.size} of them: "
            "pass w_scale with one value per output channel"
        )
    w_q, step = _quantized_weights(found[0] * own.get("scale", 1.0), given.get("w_scale"))
    step = step * _step(x_scale, "x_scale")
    zero = _integer(x_zero_point, "x_zero_point", np.int8, np.uint8)
    bias = own.get("bias", 0.0) - step * zero * w_q.sum(axis=0)
    result: np.dtype[Any] = np.dtype(np.float32)
    activation = getattr(layer, "activation", None)
    if y_scale is not None:
        result = np.dtype(dtype)
        if result.kind not in "iu":
            raise TypeError(
                f"dtype is {result}; expected integers, or no y_scale for float32 results"
            )
        y_step, y_zero = _step(y_scale, "y_scale"), _integer(y_zero_point, "y_zero_point", result)
        step, bias = step / y_step, bias / y_step + y_zero
        if activation is not None:
            activation = _quantized_activation(activation, y_step, y_zero)
    elif y_zero_point != 0:
        raise ValueError("y_zero_point needs y_scale: without it the results are float32")
    arguments = _arguments(layer, w_q, bias, np.int8)
    arguments |= {"scale": step.astype(np.float32), "dtype": result}
    if activation is not None:
        arguments["activation"] = activation
    # What it says about x was about floating point.
    arguments.pop("x_dtype", None)
    return arguments
