"""Types of the binding's public functions."""

from typing import TypedDict

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
def threads_of_cgroups(memberships: bytes, root: bytes) -> int: ...
def machine() -> _Machine: ...
def isas() -> list[tuple[str, str, list[str]]]: ...
def isas_on_request() -> list[str]: ...
def select_isa(name: str) -> None: ...
def computes() -> list[tuple[str, int]]: ...
def dtypes() -> list[str]: ...
def activations() -> list[tuple[str, int]]: ...
