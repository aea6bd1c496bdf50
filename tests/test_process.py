"""The process around a call: floating-point state, forks, signals, other libraries' threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def python(code, timeout=600, **env):
    """Runs code in a fresh interpreter; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("text", ["abc", "0", "-3", "1e3", "1.5", "99999999999", "\u0663"])
def test_a_limit_that_is_no_number_of_threads_is_refused(text):
    code = """
        try:
            import c1x1
        except ImportError as error:
            print(str(error).isascii() or "u0663", "no number of threads" in str(error))
    """
    assert python(code, C1X1_NUM_THREADS=text).split()[-1] == "True"


def test_importing_and_calling_prints_nothing():
    code = "import numpy as np, c1x1; c1x1.conv(np.ones((300, 300, 3)), np.ones((3, 3)))"
    assert python(code) == ""


def test_subnormals_survive_import_and_calls():
    """FTZ or DAZ in MXCSR would show as zeros, on this thread and on OpenMP's."""
    python("""
        import numpy as np, c1x1
        tiny = np.float32(1e-40)
        w = np.eye(8, dtype=np.float32)
        x = np.full((500, 400, 8), tiny)
        for _ in range(20):
            assert (c1x1.conv(x, w) == tiny).all()
            assert np.float32(1e-38) * np.float32(0.01) != 0
    """)


@POSIX
@pytest.mark.parametrize("parent_first", [True, False])
def test_fork_never_hangs(parent_first):
    python(f"""
        import os, warnings, numpy as np, c1x1
        warnings.simplefilter("ignore")
        x, w = np.ones((400, 400, 16), np.float32), np.ones((16, 16), np.float32)
        if {parent_first}:
            c1x1.conv(x, w, threads=2)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                ok = (c1x1.conv(x, w, threads=2) == 16).all()
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert (c1x1.conv(x, w, threads=2) == 16).all()
    """)


@POSIX
def test_control_c_is_honoured_soon():
    python("""
        import os, signal, threading, time, numpy as np, c1x1
        x = np.broadcast_to(np.ones(2048, np.float32), (200_000, 2048))
        out = np.empty((200_000, 512), np.float32)
        w = np.ones((2048, 512), np.float32)
        # A shell that put the tests in the background has them ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sent = []
        def interrupt():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.3, interrupt).start()
        try:
            c1x1.conv(x, w, out=out)
        except KeyboardInterrupt:
            late = time.perf_counter() - sent[0]
            # 0.2 s on a free machine; a busy one gets grace, an ignored signal does not: the
            # whole call takes seconds.
            assert late < 1, late
        else:
            raise SystemExit("not interrupted")
        assert (c1x1.conv(x[:3], w) == 2048).all()
    """)


def test_threads_of_the_program_share_the_helpers():
    python("""
        import threading, numpy as np, c1x1
        x, w = np.ones((300, 300, 32), np.float32), np.ones((32, 32), np.float32)
        wrong = []
        def compute(number):
            for i in range(40):
                if not (c1x1.conv(x * number, w, threads=2 + i % 3) == 32 * number).all():
                    wrong.append((number, i))
        callers = [threading.Thread(target=compute, args=(n,)) for n in range(1, 6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert not wrong, wrong
    """)


@POSIX
def test_helpers_round_as_the_caller_does():
    """The rounding mode belongs to a thread; results must not tell which thread computed them."""
    python("""
        import ctypes, platform, sys, numpy as np, c1x1
        if platform.machine() not in ("x86_64", "AMD64"):
            sys.exit(0)  # the number of the mode is this CPU's
        toward_zero = 0xC00
        libm = ctypes.CDLL(None)
        rng = np.random.default_rng(0)
        x, w = rng.random((400, 400, 24), np.float32), rng.random((24, 16), np.float32)
        nearest = c1x1.conv(x, w, threads=2)
        assert libm.fesetround(toward_zero) == 0
        cut = [c1x1.conv(x, w, threads=t) for t in (1, 2, 2, 2)]
        assert libm.fesetround(0) == 0
        assert not np.array_equal(cut[0], nearest)
        for other in cut[1:]:
            assert np.array_equal(cut[0], other)
        assert np.array_equal(c1x1.conv(x, w, threads=2), nearest)
    """)


@POSIX
def test_helpers_take_no_signals():
    """A handler of the program must run in the program's threads."""
    python("""
        import os, numpy as np, c1x1
        x, w = np.ones((400, 400, 16), np.float32), np.ones((16, 16), np.float32)
        before = set(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
        c1x1.conv(x, w, threads=2)
        if before is not None:
            for task in set(os.listdir("/proc/self/task")) - before:
                with open(f"/proc/self/task/{task}/status") as file:
                    blocked = next(line for line in file if line.startswith("SigBlk"))
                # all but those that cannot be blocked, and two that the C library keeps
                assert bin(int(blocked.split()[1], 16)).count("1") >= 60, blocked
    """)


def test_the_gil_is_released():
    python("""
        import threading, numpy as np, c1x1
        x, w = np.ones((3000, 1000), np.float32), np.ones((1000, 1000), np.float32)
        seen = []
        running = threading.Event()
        def compute():
            running.set()
            while not seen:
                c1x1.conv(x, w, threads=1)
        thread = threading.Thread(target=compute)
        thread.start()
        running.wait()
        for _ in range(10):
            sum(range(1000))
        seen.append(1)
        thread.join()
    """)


@pytest.mark.parametrize(
    ("env", "limit"),
    [
        ({"C1X1_NUM_THREADS": "1"}, 1),
        ({"C1X1_NUM_THREADS": "3"}, 3),
        ({"C1X1_NUM_THREADS": "", "C1X1_ISA": ""}, None),
        ({"OMP_NUM_THREADS": "1"}, None),
    ],
)
def test_thread_limits_are_read_from_the_environment(env, limit):
    code = """
        from c1x1 import _core
        m = _core.machine()
        print(m["thread_limit"], m["threads_available"], m["openmp"])
    """
    got, available, openmp = python(code, **env).split()
    if openmp == "none":
        pytest.skip("built without OpenMP")
    if limit is not None:
        assert int(got) == limit
    if "OMP_NUM_THREADS" in env:
        assert int(available) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity masks are Linux's")
def test_the_affinity_mask_limits_threads():
    cpu = min(os.sched_getaffinity(0))
    code = f"""
        import os
        os.sched_setaffinity(0, {{{cpu}}})
        from c1x1 import _core
        print(_core.machine()["thread_limit"])
    """
    assert python(code).strip() == "1"
