"""Branch coverage of the C core under its own driver and under the Python suite.

    python tools/coverage.py FOLDER [--problems 4000] [--least 100]

Kernels are left out: their branches are constants in most of their copies, and tests take every
one of them by the registry. Without optimisation, since the optimiser removes branches. Lists, per
file, the lines with a branch not taken. Needs gcc and gcovr, and for the Python suite the c1x1 that
this environment imports, built in FOLDER/python with C1X1_COVERAGE=ON: `nox -s coverage` does that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from platform import machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from core.build import build, isas  # noqa: E402

COUNTED = ("scalar", "emulated", "x86_avx2", "x86_amx")  # rows that the driver has here
# Branches that need another machine than the one at hand, or a system that fails where none is
# known to: (file, words of the line, why).
EXCLUDED = [
    ("cpu.c", "__get_cpuid", "CPUs without these leaves, and with further ones"),
    ("cpu.c", "permitted >> XFEATURE_XTILEDATA", "AMX, where it is granted"),
    ("registry.c", "atomic_load(&answer)", "AMX, where it is granted"),
    ("threads.c", "quota < limit", "a cgroup with a quota, which only root can make"),
    ("pool.c", "pthread_attr_init", "fails in no C library at hand"),
    ("plan.c", "*pixels <= 2 * unit", "ends the loop whatever the sizes; none was found"),
]


def main() -> None:
    """The command line; exits with 1 below the wanted share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problems", type=int, default=4000)
    parser.add_argument("--least", type=float, default=100)
    given = parser.parse_args()
    folder = given.folder.resolve()
    for old in folder.rglob("*.gcda"):
        old.unlink()
    kernels = [name for name in COUNTED if name in isas("gcc", machine())]
    path = build("drive", folder, kernels=kernels, level="-O0", kernel_level="-O1",
                 core_flags=("--coverage",))  # fmt: skip
    runs = [
        ["--problems", str(given.problems)],
        ["--problems", str(given.problems // 8), "--starve"],
        ["--problems", str(given.problems // 8), "--callers", "4"],
    ]
    for words in runs:
        subprocess.run([path, *words], check=True)
    # As a child of a cgroup and an environment of its own would: limits are read at the start.
    subprocess.run(
        [path, "--problems", "1"], check=True, env=os.environ | {"C1X1_NUM_THREADS": "2"}
    )
    if (folder / "python").is_dir():
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"],
                       check=True, cwd=ROOT)  # fmt: skip
    report = folder / "coverage.json"
    subprocess.run(
        [
            sys.executable, "-m", "gcovr", "--root", str(ROOT),
            "--filter", r"src/core/[a-z_0-9]+\.[ch]$",
            "--json", str(report),
            "--txt", "-", "--txt-metric", "branch", "--exclude-unreachable-branches",
            "--exclude-throw-branches", "--merge-mode-functions=separate", str(folder),
        ],
        check=True,
    )  # fmt: skip
    taken = total = 0
    for file in json.loads(report.read_text(encoding="utf-8"))["files"]:
        text = (ROOT / file["file"]).read_text(encoding="utf-8").split("\n")
        for line in file["lines"]:
            counts = [branch["count"] for branch in line.get("branches", [])]
            code = text[line["line_number"] - 1].strip()
            why = [
                why
                for name, words, why in EXCLUDED
                if file["file"].endswith(f"/{name}") and words in code
            ]
            if 0 in counts:
                said = f" ({why[0]})" if why else ""
                print(f"{file['file']}:{line['line_number']}: {code}{said}")
            if not why:
                total += len(counts)
                taken += sum(count > 0 for count in counts)
    print(f"{taken} of {total} branches taken, beside those that a reason is given for")
    sys.exit(0 if 100 * taken >= given.least * total else 1)


if __name__ == "__main__":
    main()
