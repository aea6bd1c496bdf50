"""Types of the layer whose weights are packed once."""

import os
from collections.abc import Sequence
from typing import Any, Literal, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Pointwise:
    """A 1x1 convolution whose weights are packed once and used many times."""

    def __new__(
        cls,
        w: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        layout: str | None = None,
        groups: SupportsIndex = 1,
        scale: ArrayLike | None = None,
        activation: str | tuple[Any, ...] | None = None,
        lut: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        precision: Literal["highest", "high", "medium"] = "highest",
        reproducible: bool = False,
        x_dtype: DTypeLike | None = None,
    ) -> Pointwise: ...
    @property
    def weight(self) -> NDArray[Any]: ...
    @property
    def bias(self) -> NDArray[Any] | None: ...
    @property
    def layout(self) -> str | None: ...
    @property
    def groups(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any] | None: ...
    @property
    def scale(self) -> NDArray[Any] | None: ...
    @property
    def activation(self) -> str | tuple[Any, ...] | None: ...
    @property
    def lut(self) -> NDArray[Any] | None: ...
    @property
    def precision(self) -> str: ...
    @property
    def reproducible(self) -> bool: ...
    @property
    def x_dtype(self) -> np.dtype[Any] | None: ...
    @property
    def stride(self) -> int | tuple[int, ...]: ...
    @property
    def packed_bytes(self) -> int: ...
    def __call__(
        self,
        x: ArrayLike,
        out: NDArray[Any] | None = None,
        residual: ArrayLike | None = None,
        stride: SupportsIndex | Sequence[SupportsIndex] | None = None,
        nodata: float | None = None,
        threads: SupportsIndex | None = None,
    ) -> NDArray[Any]: ...
    def channel_counts(self) -> list[tuple[int, int]]: ...
    def parts(self) -> tuple[Any, ...]: ...
    @classmethod
    def from_torch(cls, module: Any) -> Self: ...
    @classmethod
    def from_keras(cls, layer: Any) -> Self: ...
    @classmethod
    def from_onnx(
        cls, model_or_path: Any | str | os.PathLike[str], node: str | SupportsIndex | None = None
    ) -> Self: ...
    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self: ...
    def fold_batchnorm(
        self,
        gamma: ArrayLike | None,
        beta: ArrayLike | None,
        mean: ArrayLike,
        var: ArrayLike,
        eps: float,
    ) -> Self: ...
    def fold_normalization(self, mean: ArrayLike, std: ArrayLike) -> Self: ...
    def quantize(
        self,
        x_scale: float,
        x_zero_point: int,
        w_scale: ArrayLike | None = None,
        y_scale: float | None = None,
        y_zero_point: int = 0,
        dtype: DTypeLike = ...,
    ) -> Self: ...
    def __copy__(self) -> Pointwise: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Pointwise: ...

def restore(
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    keywords: dict[str, Any],
    kind: type[Pointwise] = ...,
) -> Pointwise: ...
