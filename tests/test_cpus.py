"""More CPUs, and operating systems that save less than the CPU has: what each may run.

The rows of test_dispatch.py are the ones worth a story; these are generations by their features,
each under kernels that save everything, AVX only, SSE only, or nothing.
"""

from __future__ import annotations

import pytest

from c1x1 import _core

FMA, XSAVE, OSXSAVE, AVX, F16C = 1 << 12, 1 << 26, 1 << 27, 1 << 28, 1 << 29
BMI1, AVX2, BMI2 = 1 << 3, 1 << 5, 1 << 8
F, DQ, IFMA, PF, ER, CD, BW, VL = (1 << n for n in (16, 17, 21, 26, 27, 28, 30, 31))
SSE42 = 0x0098_2203  # SSE3, SSSE3, SSE4.1, SSE4.2, POPCNT and the like

OLD = SSE42 | XSAVE
SANDY = OLD | AVX
IVY = SANDY | F16C
HASWELL = IVY | FMA
SERVER = BMI1 | AVX2 | BMI2 | F | DQ | CD | BW | VL
THREE = ["FMA", "AVX2", "AVX-512"]

# leaf 1's ECX without OSXSAVE, leaf 7's EBX, what the CPU can do.
CPUS = {
    "Core 2": (0x0000_E3BD, 0, []),
    "K10": (0x0080_2009, 0, []),
    "Bobcat": (0x0080_0209, 0, []),
    "Nehalem": (SSE42, 0, []),
    "Silvermont": (SSE42, 0, []),
    "Goldmont": (OLD, BMI1 << 15, []),
    "Sandy Bridge": (SANDY, 0, []),
    "Ivy Bridge": (IVY, 1 << 7 | 1 << 9, []),
    "Jaguar": (IVY, BMI1, []),
    "Bulldozer": (SANDY, 0, []),
    "Piledriver": (HASWELL, BMI1, ["FMA"]),
    "Steamroller": (HASWELL, BMI1, ["FMA"]),
    "Excavator": (HASWELL, BMI1 | AVX2 | BMI2, ["FMA", "AVX2"]),
    "Haswell": (HASWELL, BMI1 | AVX2 | BMI2, ["FMA", "AVX2"]),
    "Skylake client": (HASWELL, BMI1 | AVX2 | BMI2 | 1 << 18 | 1 << 19, ["FMA", "AVX2"]),
    "Alder Lake": (HASWELL, BMI1 | AVX2 | BMI2 | 1 << 29, ["FMA", "AVX2"]),
    "Gracemont": (HASWELL, BMI1 | AVX2 | BMI2, ["FMA", "AVX2"]),
    "Pentium Gold, AVX fused off": (OLD, BMI1, []),
    "Zen": (HASWELL, BMI1 | AVX2 | BMI2 | 1 << 29, ["FMA", "AVX2"]),
    "Zen 2": (HASWELL, BMI1 | AVX2 | BMI2 | 1 << 22, ["FMA", "AVX2"]),
    "Hygon Dhyana": (HASWELL, BMI1 | AVX2 | BMI2, ["FMA", "AVX2"]),
    "Zhaoxin, AVX2 without FMA": (IVY, BMI1 | AVX2 | BMI2, ["AVX2"]),
    "Knights Landing": (HASWELL, BMI1 | AVX2 | BMI2 | F | PF | ER | CD, ["FMA", "AVX2"]),
    "Knights Mill": (HASWELL, AVX2 | F | PF | ER | CD, ["FMA", "AVX2"]),
    "Skylake-X": (HASWELL, SERVER, THREE),
    "Cannon Lake": (HASWELL, SERVER | IFMA, THREE),
    "Ice Lake": (HASWELL, SERVER | IFMA, THREE),
    "Tiger Lake": (HASWELL, SERVER | IFMA | 1 << 29, THREE),
    "Sapphire Rapids": (HASWELL, SERVER | IFMA | 1 << 24, THREE),
    "Zen 5": (HASWELL, SERVER | IFMA | 1 << 23, THREE),
    "AVX-512 F alone": (HASWELL, BMI1 | AVX2 | F, ["FMA", "AVX2"]),
    "a guest without FMA": (IVY, SERVER, ["AVX2", "AVX-512"]),
}
SYSTEMS = {
    "saves all": (OSXSAVE, 0x2E7, lambda able: able),
    "saves all but tiles' data": (OSXSAVE, 0x202E7, lambda able: able),
    "saves AVX": (OSXSAVE, 0x7, lambda able: [n for n in able if n != "AVX-512"]),
    "saves no upper registers": (OSXSAVE, 0x67, lambda able: [n for n in able if n != "AVX-512"]),
    "saves SSE": (OSXSAVE, 0x3, lambda _: []),
    "saves nothing it says": (0, 0, lambda _: []),
    "has XCR0 and no OSXSAVE": (0, 0x2E7, lambda _: []),
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("cpu", CPUS)
def test_features(cpu, system):
    ecx, ebx, able = CPUS[cpu]
    osxsave, xcr0, saved = SYSTEMS[system]
    # AVX2 and AVX-512 need AVX, whatever leaf 7 says. F16C is a bit of ECX, told after AVX2.
    able = able if ecx & AVX else []
    able = [
        n for n in ("FMA", "AVX2", "F16C", "AVX-512") if n in able or (n == "F16C" and ecx & F16C)
    ]
    assert _core.features_of(ecx | osxsave, ebx, xcr0) == saved(able)
