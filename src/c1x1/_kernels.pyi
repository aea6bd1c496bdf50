"""Types of the calls of single kernels."""

from typing import Any, Literal, NotRequired, TypedDict

from numpy.typing import NDArray

class _Kernel(TypedDict):
    isa: int
    name: str
    compute: int
    dtype: str
    vl: int
    factor: int
    kind: str
    m: int
    n: int
    is_full: bool
    activation: NotRequired[str]

class _Converter(TypedDict):
    isa: int
    name: str
    compute: int
    dtype: int
    way: Literal["load", "store"]
    source: str
    target: str

def kernels() -> list[_Kernel]: ...
def converters() -> list[_Converter]: ...
def run_converter(row: _Converter, source: NDArray[Any], target: NDArray[Any]) -> None: ...
def run_kernel(
    kernel: _Kernel,
    a: NDArray[Any] | None,
    b: NDArray[Any] | None,
    c: NDArray[Any],
    *,
    start: Literal["zero", "add", "continue"] = "zero",
    piece: int = 1 << 30,
    bias_m: NDArray[Any] | None = None,
    bias_n: NDArray[Any] | None = None,
    residual: NDArray[Any] | None = None,
    bounds: NDArray[Any] | None = None,
    fetches_ahead: bool = False,
    sweep: str = "columns",
    repeat: int = 1,
) -> None: ...
def run_finish(
    kernel: _Kernel,
    c: NDArray[Any],
    *,
    is_by_row: bool = False,
    residual: NDArray[Any] | None = None,
    scale: NDArray[Any] | None = None,
    bias: NDArray[Any] | None = None,
    p0: NDArray[Any] | None = None,
    p1: NDArray[Any] | None = None,
) -> None: ...
