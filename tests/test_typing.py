"""What a type checker knows: stubs are those of the modules, right code passes, mistakes do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

SAMPLES = Path(__file__).parent / "typing"
# What is optional is skipped, so that it makes no difference whether it is installed.
SETTINGS = """
[mypy]
strict = True
[mypy-dask.*,xarray.*,onnx.*,PIL.*,torch.*,matplotlib.*]
ignore_missing_imports = True
follow_imports = skip
"""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Runs mypy on the installed package, its cache shared by the tests of this file."""
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "mypy.ini").write_text(SETTINGS)

    def run(module, *arguments):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


def test_right_code_passes(mypy):
    done = mypy("mypy", "--config-file=mypy.ini", SAMPLES / "right.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_are_found(mypy):
    """On their lines, with the error that is meant, and nowhere else."""
    path = SAMPLES / "wrong.py"
    done = mypy("mypy", "--config-file=mypy.ini", "--hide-error-context", path)
    found = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    meant = [(str(n), line.rpartition("# ")[2]) for n, line in lines if "  # " in line]
    assert found == meant, done.stdout + done.stderr


def test_stubs_agree_with_the_modules(mypy):
    for name in ("dask.array", "onnx", "xarray"):  # without these c1x1's modules refuse to load
        pytest.importorskip(name)
    done = mypy(
        "mypy.stubtest",
        "c1x1",
        "--allowlist",
        SAMPLES / "stubtest.txt",
        "--mypy-config-file=mypy.ini",
    )
    assert done.returncode == 0, done.stdout + done.stderr
