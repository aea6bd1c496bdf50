"""Types of what other modules read axes with."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

from numpy.typing import ArrayLike, NDArray

def read_operands(
    x_: ArrayLike,
    w_: ArrayLike,
    layout: str | None,
    stride: SupportsIndex | Sequence[SupportsIndex],
    groups_: SupportsIndex,
) -> tuple[NDArray[Any], NDArray[Any], int, tuple[int, ...], int, int, int | None]: ...
def channel_counts(w: NDArray[Any], layout: str | None, groups: int) -> list[tuple[int, int]]: ...
