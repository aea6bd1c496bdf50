"""Children by fork, spawn, forkserver and joblib compute and end, whatever the parent was doing.

A hang would show as a timeout, which is long so that a busy machine does not look like one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

LONG = 120  # seconds

SCRIPT = """
import multiprocessing, os, sys, threading, warnings
import numpy as np

warnings.simplefilter("ignore")  # of fork in a process of many threads: that is what is tested
how, parent, child = sys.argv[1:]

def compute(_=0):
    import c1x1
    x, w = np.ones((200, 300, 24), np.float32), np.ones((24, 16), np.float32)
    return bool((c1x1.conv(x, w, threads=2) == 24).all())

def nothing(_=0):
    return True

def main():
    task = compute if child == "used" else nothing
    stop = threading.Event()
    def without_end():
        while not stop.is_set():
            compute()
    if parent != "unused":
        assert compute()
    busy = [threading.Thread(target=without_end) for _ in range(2 if parent == "busy" else 0)]
    for thread in busy:
        thread.start()
    try:
        for _ in range(3):
            if how == "joblib":
                import joblib
                assert all(joblib.Parallel(n_jobs=2)(joblib.delayed(task)(i) for i in range(4)))
            else:
                with multiprocessing.get_context(how).Pool(2) as pool:
                    assert all(pool.map(task, range(4)))
            assert parent == "unused" or compute()
    finally:
        stop.set()
    for thread in busy:
        thread.join()

if __name__ == "__main__":
    main()
    print("ended")
"""

HOWS = [
    pytest.param(
        how,
        marks=pytest.mark.skipif(
            sys.platform == "win32" and "fork" in how, reason=f"no {how} on Windows"
        ),
    )
    for how in ("fork", "spawn", "forkserver", "joblib")
]


# Each takes some seconds: all of them where C1X1_EXAMPLES asks for long runs.
PAIRS = [("used", "used"), ("busy", "used")]
if "C1X1_EXAMPLES" in os.environ:
    PAIRS = list(itertools.product(["unused", "used", "busy"], ["used", "unused"]))


@pytest.mark.parametrize(("parent", "child"), PAIRS)
@pytest.mark.parametrize("how", HOWS)
def test_children_end(how, parent, child, tmp_path):
    if how == "joblib":
        pytest.importorskip("joblib", reason="needs joblib")
    script = tmp_path / "script.py"  # spawn imports it again
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, how, parent, child],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env=os.environ | {"C1X1_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ended\n"
