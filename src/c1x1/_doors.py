"""Reads pointwise layers of other libraries into the arguments of a `Pointwise`.

An object is known by the names of its class and of that class's bases, so nothing is imported but
NumPy. Every door returns the keywords of the constructor, and `stride`, which a framework's layer
owns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arguments = dict[str, Any]

CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


# ---- what all doors share --------------------------------------------------------------------


def to_array(value: Any, name: str) -> Array:
    """A framework's tensor as an ndarray; bfloat16, which NumPy lacks, becomes float32."""
    try:
        if hasattr(value, "value") and not callable(value.value):  # a variable of Keras
            value = value.value
        if hasattr(value, "detach"):  # PyTorch
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        elif hasattr(value, "toarray"):  # a sparse array of SciPy
            value = value.toarray()
        array = np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _base(value: Any, package: str, names: Iterable[str]) -> type | None:
    """The class of `package` under one of `names` that value's class is, or extends."""
    for base in type(value).__mro__:
        if base.__name__ in names and f"{base.__module__}.".startswith(f"{package}."):
            return base
    return None


def _refuse_kind(door: str, value: Any, expected: str) -> TypeError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return TypeError(f"{door} takes {expected}, not {kind}: of a model, pass one such layer")


def _check_methods(value: Any, base: type, names: Iterable[str]) -> None:
    for name in names:
        if getattr(type(value), name, None) is not getattr(base, name, None):
            kind, known = type(value).__name__, base.__name__
            raise TypeError(
                f"{kind} replaces {known}.{name}, so its weights alone do not tell what it "
                f"computes: pass a plain {known}, or its weights to Pointwise"
            )


def check_kernel(name: str, sizes: Iterable[int]) -> None:
    """Refuses a window of more than one pixel."""
    sizes = tuple(sizes)
    if any(size != 1 for size in sizes):
        raise ValueError(f"{name} has kernel size {sizes}; expected 1 along every axis")


def refuse_padding(name: str, padding: Any) -> ValueError:
    """What to raise for a layer that pads."""
    return ValueError(
        f"{name} pads x with zeros by {padding}, and Pointwise does not pad: build from the layer "
        "with padding 0 and pad x with np.pad, or, where the stride is 1, the result, by "
        "activation(bias)"
    )


def one_or_all(values: Iterable[int]) -> int | tuple[int, ...]:
    """A stride per axis, or one number where all are alike."""
    steps = tuple(int(value) for value in values)
    return steps[0] if len(set(steps)) == 1 else steps


# ---- PyTorch ---------------------------------------------------------------------------------


def from_torch(module: Any) -> Arguments:
    """Arguments for a torch.nn.Conv1d, Conv2d, Conv3d or Linear."""
    base = _base(module, "torch.nn.modules", ("Conv1d", "Conv2d", "Conv3d", "Linear"))
    if base is None:
        expected = "a torch.nn.Conv1d, Conv2d, Conv3d or Linear"
        raise _refuse_kind("from_torch", module, expected)
    _check_methods(module, base, ("forward", "_conv_forward"))
    name = base.__name__
    if name != "Linear":
        check_kernel(name, module.kernel_size)
        padding = module.padding
        # As a word: "valid" pads nothing, and neither does "same" around one pixel.
        if not isinstance(padding, str) and any(padding):
            raise refuse_padding(name, tuple(padding))
    w = to_array(module.weight, f"the weight of {name}")
    bias = None if module.bias is None else to_array(module.bias, f"the bias of {name}")
    if name == "Linear":
        return {"w": w.T, "bias": bias}
    return {
        "w": w,
        "bias": bias,
        "layout": CHANNELS_FIRST[w.ndim - 2],
        "groups": module.groups,
        "stride": one_or_all(module.stride),
    }


# ---- Keras -----------------------------------------------------------------------------------

# By the name of Keras' function, with its default arguments.
_KERAS_ACTIVATIONS: dict[str, Any] = {
    "linear": None,
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "hard_sigmoid": "hardsigmoid",
    "hard_silu": "hardswish",
    "elu": "elu",
    "leaky_relu": ("leaky_relu", 0.2),
}


def _keras_activation(activation: Any, layer: str) -> Any:
    if activation is None:
        return None
    name = getattr(activation, "__name__", type(activation).__name__)
    module = str(getattr(activation, "__module__", ""))
    is_known = module.partition(".")[0] in ("keras", "tf_keras") and name in _KERAS_ACTIVATIONS
    # Keras 2 had another formula, and another place for it.
    if name == "hard_sigmoid" and not module.endswith("activations.activations"):
        is_known = False
    if not is_known:
        raise ValueError(
            f"{layer} has the activation {name!r}; expected one of Keras' own "
            f"{', '.join(_KERAS_ACTIVATIONS)}: build from the layer with activation=None and apply "
            f"{name!r} to the result"
        )
    return _KERAS_ACTIVATIONS[name]


def from_keras(layer: Any) -> Arguments:
    """Arguments for a Conv1D, Conv2D, Conv3D or Dense of Keras."""
    names = ("Conv1D", "Conv2D", "Conv3D", "Dense")
    base = _base(layer, "keras", names) or _base(layer, "tf_keras", names)
    if base is None:
        raise _refuse_kind("from_keras", layer, "a Conv1D, Conv2D, Conv3D or Dense of Keras")
    _check_methods(layer, base, ("call", "convolution_op"))
    name = base.__name__
    if getattr(layer, "kernel", None) is None:
        raise ValueError(f"{name} is not built, so it has no weights: call its build(input_shape)")
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            f"{name} is quantized ({layer.quantization_mode}): build from it before that, then use "
            "Pointwise.quantize"
        )
    w = to_array(layer.kernel, f"the kernel of {name}")
    arguments: Arguments = {"w": w, "bias": None}
    if layer.use_bias:
        arguments["bias"] = to_array(layer.bias, f"the bias of {name}")
    activation = _keras_activation(layer.activation, name)
    if activation is not None:
        arguments["activation"] = activation
    if name == "Dense":
        return arguments
    # No padding to check: "same", "valid" and "causal" pad nothing around one pixel.
    check_kernel(name, layer.kernel_size)
    arguments |= {"groups": layer.groups, "stride": one_or_all(layer.strides)}
    if layer.data_format == "channels_last":
        return arguments | {"layout": _CHANNELS_LAST[w.ndim - 2]}
    turned = np.moveaxis(w, (-1, -2), (0, 1))
    return arguments | {"w": turned, "layout": CHANNELS_FIRST[w.ndim - 2]}


# ---- scikit-learn ----------------------------------------------------------------------------


def _projection(estimator: Any) -> Arguments:
    """PCA and its like: (x - mean) times the components, whitened or not."""
    w = to_array(estimator.components_, "components_").T
    mean = getattr(estimator, "mean_", None)
    bias = None if mean is None else -(to_array(mean, "mean_") @ w)
    if bias is not None and estimator.whiten:
        deviation = np.sqrt(to_array(estimator.explained_variance_, "explained_variance_"))
        # As scikit-learn does where a component has no variance.
        deviation = np.maximum(deviation, np.finfo(deviation.dtype).eps)
        return {"w": w / deviation, "bias": bias / deviation}
    return {"w": w, "bias": bias}


def _discriminants(estimator: Any) -> Arguments:
    """LinearDiscriminantAnalysis.transform."""
    if estimator.solver == "lsqr":
        raise ValueError(
            "LinearDiscriminantAnalysis with solver='lsqr' has no transform: fit with solver='svd'"
        )
    w = to_array(estimator.scalings_, "scalings_")[:, : estimator._max_components]
    is_centred = estimator.solver == "svd"
    return {"w": w, "bias": -(to_array(estimator.xbar_, "xbar_") @ w) if is_centred else None}


def _scaler(estimator: Any) -> Arguments:
    """StandardScaler: one group per channel, so that a channel's NaN stays in its channel."""
    channels = estimator.n_features_in_
    w = np.ones((1, channels))
    if estimator.with_std:
        w = 1 / to_array(estimator.scale_, "scale_").reshape(1, channels)
    bias = -(to_array(estimator.mean_, "mean_") * w[0]) if estimator.with_mean else None
    return {"w": w, "bias": bias, "groups": channels}


def _regressor(estimator: Any) -> Arguments:
    w = to_array(estimator.coef_, "coef_").T
    bias = to_array(estimator.intercept_, "intercept_")
    return {"w": w, "bias": bias.reshape(()) if w.ndim == 1 else bias}


def _classifier(estimator: Any) -> Arguments:
    """decision_function, which has no channel axis where there are two classes."""
    arguments = _regressor(estimator)
    w = arguments["w"]
    if w.ndim == 2 and w.shape[1] == 1:
        return {"w": w[:, 0], "bias": arguments["bias"].reshape(())}
    return arguments


# Base classes, in order: what is there after fit, the method that the layer equals, the reader.
_ESTIMATORS: dict[tuple[str, ...], tuple[str, str, Callable[[Any], Arguments]]] = {
    ("PCA", "IncrementalPCA", "TruncatedSVD"): ("components_", "transform", _projection),
    ("LinearDiscriminantAnalysis",): ("coef_", "transform", _discriminants),
    ("StandardScaler",): ("n_features_in_", "transform", _scaler),
    ("LinearModel", "SGDRegressor"): ("coef_", "predict", _regressor),
    ("LinearClassifierMixin",): ("coef_", "decision_function", _classifier),
}


def from_sklearn(estimator: Any) -> Arguments:
    """Arguments for a fitted linear estimator of scikit-learn."""
    for names, (fitted, method, read) in _ESTIMATORS.items():
        if _base(estimator, "sklearn", names) is None:
            continue
        kind = type(estimator)
        owner = next(base for base in kind.__mro__ if method in vars(base))
        if owner.__module__.partition(".")[0] != "sklearn":
            raise TypeError(
                f"{kind.__name__} replaces {method}, so its coefficients alone do not tell what it "
                "computes: pass them to Pointwise"
            )
        if not hasattr(estimator, fitted):
            raise ValueError(f"{kind.__name__} is not fitted: call its fit first")
        return read(estimator)
    raise _refuse_kind(
        "from_sklearn",
        estimator,
        "a PCA, IncrementalPCA, TruncatedSVD, LinearDiscriminantAnalysis, StandardScaler, linear "
        "regressor or linear classifier of scikit-learn",
    )
