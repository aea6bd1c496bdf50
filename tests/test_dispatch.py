"""Which kernels run: CPUID and XCR0, the cap in C1X1_ISA, cgroup quotas."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from c1x1 import _core

FMA, OSXSAVE, AVX, F16C = 1 << 12, 1 << 27, 1 << 28, 1 << 29
AVX2, F, DQ, BW, VL = 1 << 5, 1 << 16, 1 << 17, 1 << 30, 1 << 31
CD, IFMA = 1 << 28, 1 << 21
VNNI_512 = 1 << 11  # leaf 7, ECX
VNNI_256 = 1 << 4  # leaf 7, subleaf 1, EAX
TILES = 1 << 22 | 1 << 24 | 1 << 25  # leaf 7, EDX: bfloat16, tiles, int8
SSE_AVX, OPMASK_ZMM = 0x6, 0xE0
YMM, ZMM = SSE_AVX | 1, SSE_AVX | OPMASK_ZMM | 1
SERVER = F | DQ | BW | VL | CD

MODERN = OSXSAVE | AVX | FMA | F16C

CPUS = {
    "Nehalem": (0, 0, 0, []),
    "Westmere, OSXSAVE": (OSXSAVE, 0, 3, []),
    "Sandy Bridge": (OSXSAVE | AVX, 0, YMM, []),
    "Ivy Bridge": (OSXSAVE | AVX | F16C, 0, YMM, ["F16C"]),
    "Piledriver, FMA without AVX2": (MODERN, 0, YMM, ["FMA", "F16C"]),
    "Haswell": (MODERN, AVX2, YMM, ["FMA", "AVX2", "F16C"]),
    "Zen 3": (MODERN, AVX2, YMM | 0x200, ["FMA", "AVX2", "F16C"]),
    "VIA, AVX2 without FMA": (OSXSAVE | AVX, AVX2, YMM, ["AVX2"]),
    "Haswell, OS without XSAVE": (AVX | FMA, AVX2, 0, []),
    "Haswell, OS saves only SSE": (MODERN, AVX2, 3, []),
    "Haswell, OS saves AVX without SSE": (MODERN, AVX2, 4, []),
    "Knights Landing": (MODERN, AVX2 | F | CD, ZMM, ["FMA", "AVX2", "F16C"]),
    "Skylake-X": (MODERN, AVX2 | SERVER, ZMM, ["FMA", "AVX2", "F16C", "AVX-512"]),
    "Sapphire Rapids": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        TILES,
        ["FMA", "AVX2", "F16C", "AVX-512", "AMX"],
    ),
    "Sapphire Rapids, OS without tile data": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 1 << 17,
        TILES,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "hypervisor hides AMX": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        0,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "tiles of int8 alone": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        1 << 24 | 1 << 25,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "tiles of bfloat16 alone": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        1 << 24 | 1 << 22,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "Zen 4": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 0x200,
        0,
        VNNI_512,
        ["FMA", "AVX2", "F16C", "AVX-512", "AVX512-VNNI"],
    ),
    "Zen 5": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 0x200,
        0,
        VNNI_512,
        VNNI_256,
        ["FMA", "AVX2", "F16C", "AVX-VNNI", "AVX-512", "AVX512-VNNI"],
    ),
    "Alder Lake": (
        MODERN,
        AVX2,
        YMM | 0x200,
        0,
        0,
        VNNI_256,
        ["FMA", "AVX2", "F16C", "AVX-VNNI"],
    ),
    "Ice Lake, OS without AVX-512": (
        MODERN,
        AVX2 | SERVER | IFMA,
        YMM,
        0,
        VNNI_512,
        ["FMA", "AVX2", "F16C"],
    ),
    "Alder Lake, OS saves only SSE": (MODERN, AVX2, 3, 0, 0, VNNI_256, []),
    "Skylake-X, OS without AVX-512": (MODERN, AVX2 | SERVER, YMM, ["FMA", "AVX2", "F16C"]),
    "Skylake-X, OS without upper registers": (
        MODERN,
        AVX2 | SERVER,
        YMM | 0x60,
        ["FMA", "AVX2", "F16C"],
    ),
    "hypervisor hides VL": (MODERN, AVX2 | F | DQ | BW, ZMM, ["FMA", "AVX2", "F16C"]),
    "hypervisor hides BW": (MODERN, AVX2 | F | DQ | VL, ZMM, ["FMA", "AVX2", "F16C"]),
    "hypervisor hides F16C": (OSXSAVE | AVX | FMA, AVX2, YMM, ["FMA", "AVX2"]),
    "hypervisor hides all AVX": (FMA, AVX2 | SERVER, ZMM, []),
}


@pytest.mark.parametrize("cpu", CPUS)
def test_features(cpu):
    *words, want = CPUS[cpu]
    assert _core.features_of(*words) == want


def machine(**env):
    code = "from c1x1 import _core; print(_core.machine()['isa'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "C1X1_ISA"} | env,
    )


def test_the_best_isa_is_chosen_and_c1x1_isa_caps_it():
    rows = _core.isas()
    runnable = list(dict.fromkeys(name for name, _, missing in rows if not missing))
    assert machine().stdout.strip() == runnable[0]
    names = list(dict.fromkeys(name for name, _, _ in rows))
    for name in names:
        below = [n for n in names[names.index(name) :] if n in runnable]
        assert machine(C1X1_ISA=name).stdout.strip() == below[0]


def test_an_unknown_c1x1_isa_is_refused():
    done = machine(C1X1_ISA="x86_avx1024")
    assert done.returncode != 0
    assert (
        "ImportError: C1X1_ISA='x86_avx1024' names no instruction set of this build" in done.stderr
    )


def test_an_isa_that_this_cpu_lacks_is_not_selected():
    for name, _, missing in _core.isas():
        if missing and name != "scalar":
            with pytest.raises(ValueError, match="cannot run"):
                _core.select_isa(name)
    with pytest.raises(ValueError, match="cannot run"):
        _core.select_isa("x86_avx1024")


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        (b"max", b"100000", 0),
        (b"200000", b"100000", 2),
        (b"150000", b"100000", 2),
        (b"50000", b"100000", 1),
        (b"1000", b"100000", 1),
        (b"-1", b"100000", 0),
        (b"800000\n", b" 100000\n", 8),
        (b"", b"", 0),
        (b"100000", b"0", 0),
        (b"nonsense", b"100000", 0),
    ],
)
def test_cgroup_quota(quota, period, cpus):
    assert _core.threads_from_quota(quota, period) == cpus
