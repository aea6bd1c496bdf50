"""Branch coverage of the C core under its own programs: what tests/core/drive.c and check.c reach.

    python tools/coverage.py FOLDER [--problems 4000] [--least 95]

Kernels are left out: their branches are constants in most of their copies, and tests take every
one of them by the registry. Without optimisation, since the optimiser removes branches. Lists, per
file, the lines with a branch not taken. Needs gcc and gcovr.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from core.build import build  # noqa: E402


def main() -> None:
    """The command line; exits with 1 below the wanted share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problems", type=int, default=4000)
    parser.add_argument("--least", type=float, default=80)
    given = parser.parse_args()
    folder = given.folder.resolve()
    path = build("drive", folder, kernels=["scalar"], level="-O0", flags=("--coverage",))
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
    report = folder / "coverage.json"
    subprocess.run(
        [
            sys.executable, "-m", "gcovr", "--root", str(ROOT),
            "--filter", r"src/core/[a-z_0-9]+\.[ch]$",
            "--json-summary", str(folder / "summary.json"), "--json", str(report),
            "--txt", "-", "--txt-metric", "branch", "--exclude-unreachable-branches",
            "--merge-mode-functions=separate", str(folder),
        ],
        check=True,
    )  # fmt: skip
    for file in json.loads(report.read_text(encoding="utf-8"))["files"]:
        missed = sorted(
            line["line_number"]
            for line in file["lines"]
            if any(branch["count"] == 0 for branch in line.get("branches", []))
        )
        if missed:
            print(f"{file['file']}: {' '.join(map(str, missed))}")
    share = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["branch_percent"]
    sys.exit(0 if share >= given.least else 1)


if __name__ == "__main__":
    main()
