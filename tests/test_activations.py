"""The activations' vector functions: tests/activations/check.c, built for each ISA in turn.

Every 4,099th float and a grid of doubles, beside references of higher precision. The errors over
all floats are in docs/activations.md. Results have the same bits on every ISA.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src/core"
FLAGS = [
    *["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", f"-I{CORE}"],
    *["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"],
]
# As in src/core/CMakeLists.txt.
ISA_FLAGS = {
    "scalar": [],
    "x86_avx2": ["-mavx2", "-mfma"],
    "x86_avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    "arm_neon": ["-fno-schedule-insns"],
}
ON_X86 = platform.machine() in ("x86_64", "AMD64")
ON_ARM = platform.machine() in ("aarch64", "arm64")
VECTOR_ISAS = ["x86_avx2", "x86_avx512"] if ON_X86 else ["arm_neon"] if ON_ARM else []
MAX_ULP = {"float": 2, "double": 4}

pytestmark = [
    pytest.mark.skipif(not (CORE / "c1x1.h").is_file(), reason="the tests lie without the sources"),
    pytest.mark.skipif("C1X1_ISA" in os.environ, reason="runs without C1X1_ISA, which it ignores"),
]


def activations():
    text = re.sub(r"/\*.*?\*/", "", (CORE / "epilogues.def").read_text(), flags=re.DOTALL)
    return re.findall(r"^C1X1_ACTIVATION\(\w+, (\w+), \d\)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """built(isa, compiler): the program for that ISA, made once."""
    programs = {}

    def build(isa, compiler="gcc", *flags):
        if not shutil.which(compiler):
            pytest.skip(f"{compiler} is not installed")
        if (isa, compiler) not in programs:
            program = tmp_path_factory.mktemp(isa) / "check"
            header = f'-DVEC_HEADER="kernels/vec_{isa}.h"'
            source = ROOT / "tests/activations/check.c"
            command = [compiler, *FLAGS, *ISA_FLAGS[isa], *flags, header, source, "-o", program]
            done = subprocess.run([*command, "-lm"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            programs[isa, compiler] = program
        return programs[isa, compiler]

    return build


def lines_of(*command):
    """What the program prints: a list of words for each dtype and activation."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this CPU lacks the instructions")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    expected = [[dtype, name] for name in activations() for dtype in MAX_ULP]
    assert [line[:2] for line in lines] == expected
    return lines


def test_the_list_of_activations():
    names = activations()
    assert names[0] == "identity"
    assert len(set(names)) == len(names) >= 14


@pytest.mark.parametrize("isa", ["scalar", *VECTOR_ISAS])
def test_errors_stay_within_their_bounds(built, isa):
    lines = lines_of(built(isa), "errors", 4099, 100_000)
    too_large = [line for line in lines if not float(line[2]) <= MAX_ULP[line[0]]]
    assert too_large == []
    assert any(float(line[2]) > 0.4 for line in lines), "nothing was compared"


@pytest.mark.parametrize("isa", VECTOR_ISAS)
def test_vectors_have_the_bits_of_scalar(built, isa):
    here = lines_of(built(isa), "hash", 4099, 100_000)
    assert here == lines_of(built("scalar"), "hash", 4099, 100_000)


def test_compilers_agree(built):
    here = lines_of(built("scalar", "clang"), "hash", 65_537, 10_000)
    assert here == lines_of(built("scalar"), "hash", 65_537, 10_000)


@pytest.mark.skipif(ON_ARM, reason="runs without an emulator here")
def test_neon_has_the_bits_of_scalar(built):
    if not shutil.which("qemu-aarch64-static"):
        pytest.skip("qemu-aarch64-static is not installed")
    program = built("arm_neon", "aarch64-linux-gnu-gcc", "-static")
    there = lines_of("qemu-aarch64-static", program, "hash", 65_537, 10_000)
    assert there == lines_of(built("scalar"), "hash", 65_537, 10_000)
