"""c1x1 for 64-bit ARM on another machine: cross-compiled, and its Python tests run under QEMU.

    python tools/aarch64.py FOLDER [pytest's words]

Debian's arm64 packages of Python, unpacked and never installed, are the headers to build against
and the interpreter to run; NumPy and pytest are PyPI's. Needs aarch64-linux-gnu-gcc,
qemu-aarch64-static, apt-get and dpkg-deb, and, in the Python that runs this, c1x1's build
requirements, with a CMake before 4.1: later ones look for a Python that the emulator runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = "3.11"
PACKAGES = [
    f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib", f"python{VERSION}-minimal",
    f"libpython{VERSION}-dev", f"libpython{VERSION}", "libc6", "libgcc-s1", "libgomp1",
    "libstdc++6", "libssl3", "libffi8", "libexpat1", "zlib1g", "libbz2-1.0", "liblzma5",
    "libsqlite3-0", "libuuid1", "libncursesw6", "libtinfo6", "libreadline8", "libcrypt1",
]  # fmt: skip
# What a wheel of that machine needs beside NumPy for its tests.
WHEELS = ["numpy", "pytest", "hypothesis"]


def run(*command: object, **env: str) -> None:
    """The command, or the end."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    subprocess.run(words, check=True, env=os.environ | env)


def unpack(folder: Path) -> Path:
    """Debian's arm64 Python, unpacked."""
    root, downloads = folder / "root", folder / "deb"
    if (root / "usr/bin" / f"python{VERSION}").exists():
        return root
    downloads.mkdir(parents=True, exist_ok=True)
    # A package list of its own, so that the machine's architectures stay as they are.
    state = folder / "apt"
    (state / "lists/partial").mkdir(parents=True, exist_ok=True)
    (state / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = [
        "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64",
        "-o", f"Dir::State={state}", "-o", f"Dir::State::status={state}/status",
        "-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User=root",
    ]  # fmt: skip
    run("apt-get", *options, "update", "-q")
    subprocess.run(["apt-get", *options, "download", *PACKAGES], check=True, cwd=downloads)
    for package in downloads.glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
    return root


def cross_file(folder: Path, root: Path) -> Path:
    """What CMake must be told of the other machine."""
    import numpy as np

    include = Path(np.get_include())
    path = folder / "aarch64.cmake"
    path.write_text(
        f"""set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(Python_INCLUDE_DIR {root}/usr/include/python{VERSION})
set(Python_NumPy_INCLUDE_DIR {include})
set(Python_SOABI cpython-{VERSION.replace(".", "")}-aarch64-linux-gnu)
add_compile_options(-isystem {root}/usr/include -isystem {root}/usr/include/aarch64-linux-gnu)
""",
        encoding="utf-8",
    )
    return path


def main() -> None:
    """Builds and tests."""
    if sys.version_info[:2] != tuple(int(part) for part in VERSION.split(".")):
        sys.exit(f"run by Python {VERSION}: extension modules are named after their version")
    folder = Path(sys.argv[1]).resolve()
    root, site = unpack(folder), folder / "site"
    if not site.exists():
        run(sys.executable, "-m", "pip", "install", "-q", "--target", site, "--only-binary=:all:",
            "--platform=manylinux_2_28_aarch64", "--platform=manylinux2014_aarch64",
            "--platform=manylinux_2_27_aarch64",
            f"--python-version={VERSION}", "--implementation=cp", *WHEELS)  # fmt: skip
    shutil.rmtree(folder / "c1x1", ignore_errors=True)
    soabi = sysconfig.get_config_var("SOABI")
    run(
        sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
        "--target", folder / "c1x1", ROOT,
        f"-Ccmake.define.CMAKE_TOOLCHAIN_FILE={cross_file(folder, root)}",
        f"-Cbuild-dir={folder}/build",
    )  # fmt: skip
    for module in (folder / "c1x1").rglob("*.so"):
        described = subprocess.run(
            ["aarch64-linux-gnu-readelf", "-h", module], capture_output=True, text=True, check=True
        ).stdout
        if not re.search(r"Machine:\s+AArch64", described):
            sys.exit(f"{module} is not for 64-bit ARM")
        # scikit-build names modules after the Python that builds them.
        if soabi in module.name:
            module.rename(module.with_name(module.name.replace("x86_64", "aarch64")))
    python = root / "usr/bin" / f"python{VERSION}"
    wrapper = folder / "python"
    wrapper.write_text(
        f"#!/bin/sh\nexec qemu-aarch64-static -L {root} "
        f"-E LD_LIBRARY_PATH={root}/lib/aarch64-linux-gnu:{root}/usr/lib/aarch64-linux-gnu "
        f'{python} "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    env = {
        "PYTHONPATH": f"{folder}/c1x1:{site}",
        "PYTHONHOME": str(root / "usr"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run(wrapper, "-m", "c1x1", "info", **env)
    run(wrapper, "-m", "c1x1", "selftest", **env)
    words = sys.argv[2:] or [
        str(ROOT / "tests" / name)
        for name in ("test_kernels.py", "test_bounds.py", "test_order_of_summation.py",
                     "test_conv.py", "test_out.py", "test_dtypes.py", "test_epilogue.py",
                     "test_nodata.py", "test_lut.py", "test_random_problems.py")
    ]  # fmt: skip
    run(wrapper, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words, **env)


if __name__ == "__main__":
    main()
