"""Types of what other modules read operands with."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

class ComplexOperand(TypeError): ...  # noqa: N818

def read_array(value: ArrayLike, name: str) -> NDArray[Any]: ...
def read_array_or_complex(value: ArrayLike, name: str) -> NDArray[Any]: ...
