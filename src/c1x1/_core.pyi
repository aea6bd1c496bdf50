"""Types of the binding's public functions."""

from typing import Any, Literal, NotRequired, TypedDict

from numpy.typing import NDArray
from typing_extensions import disjoint_base

class _Machine(TypedDict):
    isa: str
    isa_description: str
    features: list[str]
    l1_bytes: int
    l2_bytes: int
    thread_limit: int
    thread_limit_why: str
    threads_available: int
    openmp: str
    compiler: str

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

@disjoint_base
class PackedWeights:
    @property
    def nbytes(self) -> int: ...

def features_of(
    leaf1_ecx: int,
    leaf7_ebx: int,
    xcr0: int,
    leaf7_edx: int = 0,
    leaf7_ecx: int = 0,
    leaf7_1_eax: int = 0,
) -> list[str]: ...
def threads_from_quota(quota: bytes, period: bytes) -> int: ...
def machine() -> _Machine: ...
def isas() -> list[tuple[str, str, list[str]]]: ...
def isas_on_request() -> list[str]: ...
def select_isa(name: str) -> None: ...
def activations() -> list[tuple[str, int]]: ...
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
    in_runs: bool = False,
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
