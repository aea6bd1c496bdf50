"""Types of the public calls."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsIndex

from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Prepared: ...

def conv(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    scale: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    activation: str | tuple[Any, ...] | None = None,
    lut: ArrayLike | None = None,
    nodata: float | None = None,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    precision: Literal["highest", "high", "medium"] = "highest",
    reproducible: bool = False,
    threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
def plan(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    scale: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    activation: str | tuple[Any, ...] | None = None,
    lut: ArrayLike | None = None,
    nodata: float | None = None,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    precision: Literal["highest", "high", "medium"] = "highest",
    reproducible: bool = False,
    threads: SupportsIndex | None = None,
    machine: Mapping[str, Any] | None = None,
) -> dict[str, Any]: ...
def run_chain(
    parts: list[tuple[Any, ...]],
    x_: ArrayLike,
    out_: NDArray[Any] | None,
    residual_: ArrayLike | None,
    stride: SupportsIndex | Sequence[SupportsIndex],
    nodata: float | None,
    threads_: SupportsIndex | None,
) -> NDArray[Any]: ...
