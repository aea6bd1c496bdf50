"""Code as users write it: `mypy --strict` has nothing to say, and knows the types."""

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import c1x1
from c1x1 import Chain, Pointwise, conv, conv_vjp, explain, info

Image = NDArray[np.float32]


def to_grey(photograph: NDArray[np.uint8]) -> NDArray[Any]:
    weights = np.array([[0.2126], [0.7152], [0.0722]], np.float32)
    return conv(photograph, weights, dtype=np.uint8)


def every_keyword(x: Image, w: Image, skip: Image, out: Image) -> NDArray[Any]:
    return c1x1.conv(
        x,
        w,
        [0.0, 1.0],
        layout="NCHW",
        stride=(2, 1),
        groups=2,
        scale=0.5,
        residual=skip,
        activation=("leaky_relu", 0.1),
        lut=None,
        nodata=float("nan"),
        out=out,
        dtype="float32",
        precision="high",
        reproducible=True,
        threads=np.int64(2),
    )


def layers(w: Image, path: Path | os.PathLike[str], module: object) -> list[Pointwise]:
    layer = Pointwise(w, bias=None, activation="silu", x_dtype=np.uint16)
    assert_type(layer.weight, NDArray[Any])
    assert_type(layer.groups, int)
    assert_type(layer.layout, str | None)
    assert_type(copy.deepcopy(layer), Pointwise)
    assert_type(layer.fold_batchnorm(None, None, 0.0, 1.0, 1e-5), Pointwise)
    assert_type(layer.fold_normalization([0.5], 2.0), Pointwise)
    assert_type(layer.quantize(0.1, 3, dtype=np.uint8), Pointwise)
    made = [Pointwise.from_torch(module), Pointwise.from_keras(module)]
    return [*made, Pointwise.from_onnx(path, "conv1"), Pointwise.from_sklearn(module), layer]


class Scaled(Pointwise):
    """A class of one's own keeps its kind."""


def network(x: Image, parts: list[Pointwise]) -> NDArray[Any]:
    chain = Chain(parts)
    assert_type(chain[0], Pointwise)
    assert_type(chain.layers, tuple[Pointwise, ...])
    assert_type(len(chain), int)
    assert_type(Scaled.from_torch(None), Scaled)
    call: Callable[[Image], NDArray[Any]] = chain
    pickle.dumps(chain)
    return chain(call(x), nodata=0, threads=1)


def gradients(x: Image, w: Image, grad: Image) -> NDArray[Any]:
    grad_x, grad_w, grad_bias = conv_vjp(x, w, grad, layout="NHWC")
    assert_type(grad_bias, NDArray[Any] | None)
    if grad_bias is None:
        return grad_x
    return grad_w


def words(x: Image, w: Image) -> str:
    told = explain(x, w, pixel=(0, 1), activation="relu", measure=False)
    return told + str(info()["version"]) + c1x1.__version__
