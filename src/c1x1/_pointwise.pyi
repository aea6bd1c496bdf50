"""Types of the layer whose weights are packed once."""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

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
    def packed_bytes(self) -> int: ...
    def __call__(
        self,
        x: ArrayLike,
        out: NDArray[Any] | None = None,
        residual: ArrayLike | None = None,
        stride: SupportsIndex | Sequence[SupportsIndex] = 1,
        nodata: float | None = None,
        threads: SupportsIndex | None = None,
    ) -> NDArray[Any]: ...
    def parts(self) -> tuple[Any, ...]: ...
    def __copy__(self) -> Pointwise: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Pointwise: ...
