"""Types of the public calls."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

from numpy.typing import ArrayLike, DTypeLike, NDArray

def conv(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
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
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    machine: Mapping[str, Any] | None = None,
) -> dict[str, Any]: ...
