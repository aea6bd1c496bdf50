#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2025.10.14"]
# ///
"""The long checks, each by one command: `nox -s soak`. What they found: docs/reliability.md.

A session installs what it needs: Python packages into its own environment and, as root on Debian or
Ubuntu, compilers and emulators. Words after `--` go to what the session runs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).resolve().parent
UNDEFINED = "-fsanitize=address,undefined,float-cast-overflow"
# C1X1_NUM_THREADS: more threads than the machine may have, so that helpers join.
THREADS = {"C1X1_NUM_THREADS": "4"}


def system(session: nox.Session, **packages: str) -> None:
    """Programs by name, and the Debian packages that bring those that are missing."""
    missing = sorted(
        {package for name, package in packages.items() if not shutil.which(program(name))}
    )
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        session.error(
            f"install {', '.join(missing)}; only root on Debian or Ubuntu has it done here"
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run("apt-get", "update", "-q", external=True, silent=True)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]
    session.run(*install, *missing, external=True, silent=True, env=env)


def program(name: str) -> str:
    return name.replace("_", "-")


def built(
    session: nox.Session, name: str, *flags: str, compiler: str = "gcc", **options: str
) -> str:
    """tests/core/build.py: the core with drive.c or check.c, without Python."""
    folder = Path(session.create_tmp()) / f"{name}-{compiler}"
    words = [f"--{key}={value}" for key, value in options.items()]
    session.run(
        "python", "tests/core/build.py", name, str(folder), f"--compiler={compiler}", *words,
        "--", *flags,
    )  # fmt: skip
    return str(folder / name)


def driven(session: nox.Session, path: str, problems: int, *words: str, **env: str) -> None:
    """Random problems: from one caller, from eight at once, with every allocation failing."""
    problems = int(session.posargs[0]) if session.posargs else problems
    for more in ([], ["--callers", "8"], ["--starve"]):
        count = problems if not more else max(problems // 5, 1)
        session.run(path, "--problems", str(count), *more, *words, external=True, env=env)


# ---- as .ci/run has them -------------------------------------------------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """What pre-commit checks, and types."""
    session.install("pre-commit", "mypy", "numpy>=2.0")
    session.run("pre-commit", "run", "--all-files")
    session.run("mypy", "--strict", "src/c1x1")


@nox.session
def tests(session: nox.Session) -> None:
    """The Python suite, against an installed wheel of this tree."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def oracles(session: nox.Session) -> None:
    """Against implementations by others; tests/test_oracles.py says which could not be had."""
    session.install(".[test,oracles]", env={"PIP_PREFER_BINARY": "1"})
    session.run("pytest", "-rs", "tests/test_oracles.py", *session.posargs)


# ---- sanitizers and emulators --------------------------------------------------------------------


@nox.session(default=False)
@nox.parametrize("compiler", ["clang", "gcc"])
def asan(session: nox.Session, compiler: str) -> None:
    """AddressSanitizer with leaks, and UndefinedBehaviorSanitizer, on the C core; with gcc on the
    kernels too, which clang compiles for longer than anyone waits."""
    packages = {"gcc": "gcc"} if compiler == "gcc" else {"clang": "clang"}
    system(session, **packages)
    flags = [UNDEFINED, "-fno-sanitize-recover=all"]
    only = {"only": "core"} if compiler == "clang" else {}
    path = built(session, "drive", *flags, compiler=compiler, **only)
    driven(session, path, 3000, "--malloc", ASAN_OPTIONS="detect_leaks=1")
    if compiler == "gcc":
        session.run(built(session, "check", *flags), external=True)


@nox.session(default=False)
def tsan(session: nox.Session) -> None:
    """ThreadSanitizer; POSIX threads alone share memory here, so no OpenMP runtime is watched."""
    system(session, clang="clang")
    path = built(session, "drive", "-fsanitize=thread", compiler="clang")
    driven(session, path, 2000, TSAN_OPTIONS="halt_on_error=1:die_after_fork=0")


@nox.session(default=False)
def msan(session: nox.Session) -> None:
    """MemorySanitizer: no result, no jump and no address comes from memory that nobody set."""
    system(session, clang="clang")
    flags = ["-fsanitize=memory", "-fsanitize-memory-track-origins"]
    driven(session, built(session, "drive", *flags, compiler="clang"), 2000, "--malloc")


@nox.session(default=False)
def valgrind(session: nox.Session) -> None:
    """memcheck, on what it knows of this CPU: AVX2 at most."""
    system(session, valgrind="valgrind", gcc="gcc")
    path = built(session, "drive")
    # The stacks of helpers that sleep at the end are reachable by the C library alone.
    command = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]
    command += ["--errors-for-leak-kinds=definite", path, "--malloc"]
    problems = session.posargs[0] if session.posargs else "300"
    for more in ([], ["--callers", "4"], ["--starve"]):
        session.run(*command, "--problems", problems, *more, external=True)


@nox.session(default=False)
def aarch64(session: nox.Session) -> None:
    """The wheel for 64-bit ARM, cross-compiled, and the Python tests on it, all emulated."""
    system(
        session,
        aarch64_linux_gnu_gcc="gcc-aarch64-linux-gnu",
        qemu_aarch64_static="qemu-user-static",
        dpkg_deb="dpkg",
    )
    session.install("build", "scikit-build-core>=0.11", "cython>=3.1", "cython-cmake>=0.2",
                    "numpy>=2.0", "cmake<4.1", "ninja")  # fmt: skip
    session.run("python", "tools/aarch64.py", session.create_tmp(), *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Which branches of the core the C programs and the Python suite take."""
    system(session, gcc="gcc")
    folder = session.create_tmp()
    counted = [f"-Cbuild-dir={folder}/python", "-Ccmake.define.C1X1_COVERAGE=ON"]
    session.install("gcovr>=8", ".[test]", *counted)
    session.run("python", "tools/coverage.py", folder, *session.posargs)


# ---- long ones -----------------------------------------------------------------------------------


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """100,000 random problems for each instruction set in C, and as many through Python."""
    system(session, gcc="gcc")
    path = built(session, "drive", level="-O2")
    session.run(path, "--problems", "100000", *session.posargs, external=True)
    session.install(".[test]")
    for test in ("test_random_problems.py", "test_hostile_buffers.py"):
        session.run("pytest", f"tests/{test}", env={"C1X1_EXAMPLES": "100000"})
    special = ["-k", "special_values", "tests/test_matrix_unit.py"]
    session.run("pytest", *special, env={"C1X1_EXAMPLES": "10000"})


@nox.session(default=False)
def processes(session: nox.Session) -> None:
    """Forks, pools of others, sandboxes, memory, other CPUs: all of them, and not a choice."""
    system(session, qemu_x86_64_static="qemu-user-static")
    session.install(".[test]", "joblib", "threadpoolctl", "pytest-run-parallel")
    tests = ["test_forks.py", "test_limits.py", "test_starvation.py", "test_process.py"]
    files = [f"tests/{name}" for name in tests]
    session.run("pytest", "-rs", *files, *session.posargs, env={"C1X1_EXAMPLES": "1"})
    # One layer and the same operands in eight threads at once.
    shared = ["tests/test_conv.py", "tests/test_pointwise.py"]
    session.run("pytest", "--parallel-threads=8", "-k", "test_layouts or test_equals_conv", *shared)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """200 small changes to the core, of which the C programs must notice at least 95 in 100."""
    system(session, gcc="gcc")
    session.run("python", "tools/mutants.py", session.create_tmp(), *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Mixed work from many threads and processes for 30 minutes, or for those given."""
    session.install(".", "psutil")
    session.run("python", "tools/soak.py", *(session.posargs or ["30"]))


if __name__ == "__main__":
    nox.main()
