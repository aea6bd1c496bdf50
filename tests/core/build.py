"""Builds the C core into a program without CMake or Python, with whatever compiler and flags.

    python tests/core/build.py drive FOLDER --compiler clang -- -fsanitize=thread

`drive` is tests/core/drive.c, `check` is tests/aarch64/check.c. Sources are all of src/core,
kernels those that its CMakeLists.txt names for the machine, with the flags it gives them. Prints
the program's path.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "src/core"
PROGRAMS = {"check": ROOT / "tests/aarch64/check.c", "drive": ROOT / "tests/core/drive.c"}
FLAGS = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", f"-I{CORE}"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-psabi"]
# drive.c makes allocations fail.
LINK = {"check": [], "drive": ["-Wl,--wrap=posix_memalign"]}


def isas(compiler: str, machine: str) -> dict[str, list[str]]:
    """The kernel files that src/core/CMakeLists.txt builds for a machine, with their flags."""
    found = {}
    text = (CORE / "CMakeLists.txt").read_text(encoding="utf-8")
    rows = re.findall(r'^c1x1_add_isa\((\w+) ("[^"]*"|\w+)([^()]*)\)$', text, re.MULTILINE)
    for name, pattern, rest in rows:
        if pattern != "any" and not re.match(pattern.strip('"'), machine):
            continue
        flags = []
        for word in rest.split():
            only = re.fullmatch(r"\$<\$<C_COMPILER_ID:(\w+)>:(.*)>", word)
            if only is None:
                flags.append(word)
            elif (only[1] == "GNU") == ("gcc" in compiler):
                flags.append(only[2])
        found[name] = flags
    return found


def build(
    program: str,
    folder: Path,
    *,
    compiler: str = "gcc",
    machine: str = platform.machine(),
    kernels: list[str] | None = None,
    level: str = "-O1",
    kernel_level: str | None = None,
    flags: tuple[str, ...] = (),
    core_flags: tuple[str, ...] = (),
) -> Path:
    """The program, in `folder`; `kernels` are names of isas(), all of them by default.
    `core_flags` are for all but kernels, which take minutes to compile with a sanitizer."""
    known = isas(compiler, machine)
    names = list(known) if kernels is None else kernels
    common = [*FLAGS, *WARNINGS, level, "-g1", *flags]
    built = [f"-DC1X1_BUILD_{name.upper()}" for name in names]
    # The longest first. A kernel file may have parts, such as x86_avx2_pairs.c.
    jobs = [
        (file, [*known[name], *([kernel_level] if kernel_level else [])])
        for name in reversed(names)
        if name != "scalar"
        for file in (
            CORE / f"kernels/{name}.c",
            *(CORE / f"kernels/{name}_{part}.c" for part in ("pairs", "convert", "bytes")),
        )
        if file.is_file()
    ]
    jobs += [(CORE / "kernels/scalar.c", known["scalar"])]
    rest = [*built, *core_flags]
    jobs += [(source, rest) for source in [*sorted(CORE.glob("*.c")), PROGRAMS[program]]]
    folder.mkdir(parents=True, exist_ok=True)

    def compiled(job: tuple[Path, list[str]]) -> Path:
        source, own = job
        target = folder / f"{source.stem}.o"
        run([compiler, *common, *own, "-pthread", "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [str(path) for path in pool.map(compiled, jobs)]
    target = folder / program
    link = [*flags, *core_flags, "-pthread", *LINK[program]]
    run([compiler, *link, *objects, "-lm", "-o", str(target)])
    return target


def run(command: list[str]) -> None:
    """The command, quietly unless it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("program", choices=sorted(PROGRAMS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--kernels", help="comma between them; all by default")
    parser.add_argument("--level", default="-O1")
    parser.add_argument("--only", choices=["core"], help="flags after -- are not for kernels")
    # argparse gives a list of positionals to the first gap between options.
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:at])
    flags = tuple(sys.argv[at + 1 :])
    path = build(
        given.program,
        given.folder,
        compiler=given.compiler,
        machine=given.machine,
        kernels=given.kernels.split(",") if given.kernels else None,
        level=given.level,
        flags=() if given.only else flags,
        core_flags=flags if given.only else (),
    )
    print(path)


if __name__ == "__main__":
    main()
