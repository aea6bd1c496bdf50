"""The NEON kernels under an emulator: tests/aarch64/check.c, built for 64-bit ARM and run by QEMU.

On ARM itself every other test runs them too. The same program built for this machine must end with
the same hash: results have the same bits on both.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from core.build import build

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src/core"
pytestmark = [
    pytest.mark.skipif(not (CORE / "c1x1.h").is_file(), reason="the tests lie without the sources"),
    pytest.mark.skipif("C1X1_ISA" in os.environ, reason="runs without C1X1_ISA, which it ignores"),
]


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def output_of(*command):
    env = {k: v for k, v in os.environ.items() if not k.startswith("C1X1_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode == 77:
        pytest.skip("this CPU has no fused multiply-add")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def on_arm(tmp_path_factory):
    """What the program prints on an emulated 64-bit ARM."""
    needs("aarch64-linux-gnu-gcc")
    needs("qemu-aarch64-static")
    folder = tmp_path_factory.mktemp("arm")
    program = build(
        "check",
        folder,
        compiler="aarch64-linux-gnu-gcc",
        machine="aarch64",
        kernel_level="-O1",  # -O3, as they are shipped, takes minutes: nox -s aarch64
        flags=("-static", "-Werror"),
    )
    return output_of("qemu-aarch64-static", program)


def test_neon_has_the_bits_of_scalar(on_arm):
    assert "failures 0\n" in on_arm
    counts = re.findall(r"^(\w+): (\d+) (\w+)$", on_arm, re.MULTILINE)
    kinds = ["tiles", "dots", "chains", "folds", "packs", "smalls"]
    assert [(isa, kind) for isa, _, kind in counts] == [
        ("arm_neon_dot", "bytes"),
        *[("arm_neon", kind) for kind in kinds * 2],
        *[("arm_neon", kind) for kind in ("tiles", "dots", "smalls")],
        ("all", "problems"),
    ]
    assert all(int(count) > 0 for _, count, _ in counts)


def test_this_machine_has_the_same_bits_as_arm(on_arm, tmp_path):
    needs("gcc")
    is_arm = platform.machine() in ("aarch64", "arm64")
    # The scalar kernels stand for all others of this machine, which are compared with them.
    program = build("check", tmp_path, kernels=["scalar", "arm_neon"] if is_arm else ["scalar"])
    here = output_of(program)
    assert here.splitlines()[-1].startswith("hash ")
    assert here.splitlines()[-1] == on_arm.splitlines()[-1]
