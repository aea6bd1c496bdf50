"""Promise: tests/core/drive.c, which sanitizers and emulators run, finds every result right.

Plain C and the emulated units only, so that it takes seconds; `nox -s asan` and its like run every
instruction set.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys

import pytest
from core.build import CORE, FLAGS, LINK, build

ROWS = ["scalar", "emulated_amx", "emulated_vnni", "emulated_dot"]

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="x86-64 Linux only"
    ),
    pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed"),
]


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    if not CORE.is_dir():
        pytest.skip("the tests lie without the sources")
    return build("drive", tmp_path_factory.mktemp("drive"), kernels=["scalar", "emulated"])


@pytest.mark.parametrize("isa", ROWS)
def test_random_problems_are_right(drive, isa):
    command = [drive, "--problems", "1500", "--isa", isa]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failures 0\n" in done.stdout
    assert re.search(rf"^{isa} \(.*\): 1500 problems from seed 1$", done.stdout, re.MULTILINE)


def test_a_wrong_result_is_found(drive, tmp_path):
    """With one word of the store stage changed."""
    text = (CORE / "store.c").read_text(encoding="utf-8")
    broken = text.replace("tile[(ptrdiff_t)r * ld + (ptrdiff_t)c]", "tile[(ptrdiff_t)r * ld]", 1)
    assert broken != text
    (tmp_path / "store.c").write_text(broken, encoding="utf-8")
    folder = drive.parent
    flags = [*FLAGS, "-O1", "-c", str(tmp_path / "store.c"), "-o", str(tmp_path / "store.o")]
    subprocess.run(["gcc", *flags], check=True)
    objects = [str(p) for p in folder.glob("*.o") if p.name != "store.o"]
    program = str(tmp_path / "broken")
    link = [*LINK["drive"], "-pthread", *objects, str(tmp_path / "store.o"), "-lm"]
    subprocess.run(["gcc", *link, "-o", program], check=True)
    done = subprocess.run([program, "--problems", "500", "--isa", "scalar"], capture_output=True,
                          text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode != 0
