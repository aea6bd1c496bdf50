"""Limits that others set: thread pools, sandboxes, small stacks, memory, and a CPU's own."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import c1x1
from c1x1 import _core

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
X86_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux on x86-64"
)


def python(code, *before, **env):
    """Runs code in a fresh interpreter; what it printed."""
    done = subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- threads -----------------------------------------------------------------------------------

THREADS_STARTED = """
    import os, numpy as np, c1x1
    x, w = np.ones((500, 500, 32), np.float32), np.ones((32, 32), np.float32)
    def helpers():
        before = set(os.listdir("/proc/self/task"))
        assert (c1x1.conv(x, w) == 32).all()
        return len(set(os.listdir("/proc/self/task")) - before)
"""


@LINUX
def test_a_call_inside_a_parallel_region_takes_one_thread():
    """As from a callback that another library's OpenMP threads run."""
    if _core.machine()["openmp"] != "libgomp":
        pytest.skip("built without libgomp")
    python(
        """
    import ctypes, c1x1
    from c1x1 import _core
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "libgomp" in line)
    seen = []
    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def body(_):
        seen.append(_core.machine()["threads_available"])
    ctypes.CDLL(path).GOMP_parallel(body, None, 2, 0)
    assert seen == [1, 1], seen
    assert _core.machine()["threads_available"] > 1
    """,
        C1X1_NUM_THREADS="4",
        OMP_NUM_THREADS="4",
    )


@LINUX
def test_threadpoolctl_sees_the_pool_and_limits_it():
    pytest.importorskip("threadpoolctl", reason="needs threadpoolctl")
    if _core.machine()["openmp"] == "none":
        pytest.skip("built without OpenMP")
    python(
        THREADS_STARTED
        + """
    from threadpoolctl import threadpool_info, threadpool_limits
    assert any(pool["user_api"] == "openmp" for pool in threadpool_info())
    with threadpool_limits(1, user_api="openmp"):
        from c1x1 import _core
        assert _core.machine()["threads_available"] == 1
        assert helpers() == 0
    assert helpers() == 2
    """,
        C1X1_NUM_THREADS="3",
        OMP_NUM_THREADS="3",
    )


@LINUX
@pytest.mark.parametrize("package", ["joblib", "torch"])
def test_workers_of_others_do_not_oversubscribe(package, tmp_path):
    """As many workers as CPUs: each is told to use one thread.

    PyTorch tells its workers' own OpenMP runtime and nobody else, so a line of theirs tells ours.
    """
    pytest.importorskip(package, reason=f"needs {package}")
    if package == "torch":
        pytest.importorskip("threadpoolctl", reason="needs threadpoolctl")
    uses = {
        "joblib": """
        import joblib
        print(*joblib.Parallel(n_jobs=os.cpu_count())(
            joblib.delayed(work)(i) for i in range(os.cpu_count())))
        """,
        "torch": """
        import threadpoolctl
        import torch
        def alone(worker):
            threadpoolctl.threadpool_limits(1)
        class Images(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, i):
                return work(i)
        print(*[int(n) for n in torch.utils.data.DataLoader(
            Images(), batch_size=1, num_workers=os.cpu_count(), worker_init_fn=alone)])
        """,
    }
    script = tmp_path / "script.py"
    code = "import os\nfrom c1x1 import _core\n"
    code += "def work(i):\n    return _core.machine()['threads_available']\n"
    code += "if __name__ == '__main__':\n" + textwrap.indent(textwrap.dedent(uses[package]), "    ")
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=600, check=False,
        env={k: v for k, v in os.environ.items() if "NUM_THREADS" not in k},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"1"}


# ---- sandboxes ---------------------------------------------------------------------------------

# A seccomp filter that answers some system calls with an error, by struct sock_filter.
REFUSING = """
    import ctypes, struct
    def refuse(numbers, error):
        LOAD, EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000
        code = [(LOAD, 0, 0, 0)]
        for number in numbers:
            code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | error)]
        code.append((RETURN, 0, 0, ALLOW))
        packed = b"".join(struct.pack("HBBI", *line) for line in code)
        memory = ctypes.create_string_buffer(packed)
        address = ctypes.addressof(memory)
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), address))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
        if libc.prctl(22, 2, program, 0, 0) != 0:
            print("no seccomp")
            raise SystemExit
    import os, numpy as np
    x, w = np.ones((500, 400, 24), np.float32), np.ones((24, 20), np.float32)
"""
COMPUTES = """
    import c1x1
    assert (c1x1.conv(x, w, threads=3) == 24).all()
    print("computed")
"""
PERMISSION, AGAIN, NO_CALL = 1, 11, 38
SYSTEM_CALLS = {
    "arch_prctl": ([158], PERMISSION),
    "arch_prctl unknown": ([158], NO_CALL),
    "sched_getaffinity": ([204], PERMISSION),
    "sched_yield and nanosleep": ([24, 35, 230], PERMISSION),
    "new threads": ([56, 435], AGAIN),
    "opening files": ([2, 257], PERMISSION),
}


@X86_LINUX
@pytest.mark.parametrize("case", SYSTEM_CALLS)
def test_a_sandbox_that_refuses_system_calls(case):
    numbers, error = SYSTEM_CALLS[case]
    early = "" if case != "opening files" else "    import c1x1\n"
    printed = python(
        REFUSING + early + f"    refuse({numbers}, {error})\n" + COMPUTES, C1X1_NUM_THREADS="3"
    )
    if "no seccomp" in printed:
        pytest.skip("this kernel takes no seccomp filter")
    assert printed == "computed\n"


@LINUX
def test_a_small_stack_for_signals():
    """sigaltstack of the least size that the C library names, before the import and the calls."""
    python(
        """
        import ctypes, numpy as np
        class Stack(ctypes.Structure):
            _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
        memory = ctypes.create_string_buffer(2048)
        stack = Stack(ctypes.addressof(memory), 0, 2048)
        # Refused where the CPU's state needs more; then there is nothing to test.
        ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)
        import c1x1
        x, w = np.ones((90, 90, 24), np.float32), np.ones((24, 20), np.float32)
        assert (c1x1.conv(x, w, threads=2) == 24).all()
        """
    )


@LINUX
def test_a_small_stack_of_the_calling_thread():
    python(
        """
        import threading, numpy as np, c1x1
        threading.stack_size(128 << 10)
        x, w, wrong = np.ones((90, 90, 24), np.float32), np.ones((24, 20), np.float32), []
        planes = np.ones((64, 50, 50), np.float32)
        def compute():
            if not (c1x1.conv(x, w, threads=2, activation="relu") == 24).all():
                wrong.append(1)
            for filters in range(1, 5):  # sums wait on the stack
                y = c1x1.conv(planes, np.ones((filters, 64), np.float32), layout="CHW", threads=2)
                if not (y == 64).all():
                    wrong.append(1)
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        assert not wrong
        """
    )


# ---- floating-point state ----------------------------------------------------------------------


@X86_LINUX
def test_floating_point_control_is_left_alone():
    """Rounding, masks, FTZ and DAZ, of SSE and x87; any sum may raise the sticky status flags."""
    python(
        """
        import ctypes, struct, numpy as np
        libm = ctypes.CDLL("libm.so.6")
        def control():
            memory = ctypes.create_string_buffer(64)
            assert libm.fegetenv(memory) == 0
            x87, mxcsr = struct.unpack_from("<H26xI", memory)
            return x87, mxcsr & ~0x3f
        x, w = np.full((300, 500, 8), 2, np.float32), np.eye(8, dtype=np.float32)
        before = control()
        import c1x1
        assert control() == before
        for i in range(1000):
            y = c1x1.conv(x[: 10 if i % 50 else None], w, threads=1 + i % 3)
        assert control() == before
        assert (y == 2).all()
        """,
        C1X1_NUM_THREADS="3",
    )


# ---- memory ------------------------------------------------------------------------------------


@LINUX
def test_a_million_calls_need_no_more_memory():
    """64 KiB at most, of a process that is warm."""
    grown = python(
        """
        import resource, numpy as np, c1x1
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()
        x, w = np.ones((2, 3, 4), np.float32), np.ones((4, 5), np.float32)
        layer, out = c1x1.Pointwise(w), np.empty((2, 3, 5), np.float32)
        bias = np.ones(5, np.float32)
        def calls(count):
            for _ in range(count):
                c1x1.conv(x, w, bias)
                layer(x, out=out)
        calls(20_000)
        before = resident()
        calls(500_000)
        print(resident() - before)
        """
    )
    assert int(grown) <= 64 << 10


LARGE = 2**31 + 4099


@pytest.mark.skipif(
    "C1X1_EXAMPLES" not in os.environ, reason="takes 4 GB and long: nox -s processes runs it"
)
@pytest.mark.parametrize("layout", ["WC", "CW"])
def test_more_than_two_to_the_31_elements(layout):
    """Read and written: the last pixels are the ones that 32-bit indices would miss."""
    shape = (LARGE, 1) if layout == "WC" else (1, LARGE)
    x = np.zeros(shape, np.uint8)  # no memory until written to
    out = np.empty(shape, np.uint8)
    flat, result = x.reshape(-1), out.reshape(-1)
    places = [0, 1, 2**31 - 1, 2**31, 2**31 + 1, LARGE - 1]
    flat[places] = 1, 2, 3, 4, 5, 6
    c1x1.conv(x, np.full((1, 1), 3, np.float32), 1.0, out=out, layout=layout, dtype=np.uint8)
    assert result[places].tolist() == [4, 7, 10, 13, 16, 19]
    assert result[2**31 + 2 : -1].max() == result[2**31 + 2 : -1].min() == 1


# ---- other CPUs --------------------------------------------------------------------------------

EMULATED = {
    "Nehalem": "scalar",
    "Westmere": "scalar",
    "SandyBridge": "scalar",
    "IvyBridge": "scalar",
    "Haswell": "x86_avx2",
    "Broadwell": "x86_avx2",
    "Skylake-Client": "x86_avx2",
    "EPYC": "x86_avx2",
    "EPYC-Rome": "x86_avx2",
    "Haswell,-fma": "scalar",
    "Haswell,-avx2": "scalar",
    "Haswell,-xsave": "scalar",
}


@X86_LINUX
@pytest.mark.skipif("C1X1_ISA" in os.environ, reason="runs without C1X1_ISA")
@pytest.mark.parametrize("cpu", EMULATED)
def test_another_cpu(cpu):
    """QEMU's model of it: the right instruction set is chosen and computes, none is illegal."""
    if not shutil.which("qemu-x86_64-static"):
        pytest.skip("needs qemu-x86_64-static")
    printed = python(
        """
        from c1x1 import _core
        import numpy as np, c1x1
        for k in (3, 40, 200):
            for n in (1, 3, 20):
                x, w = np.ones((7, 9, k), np.float32), np.ones((k, n), np.float32)
                assert (c1x1.conv(x, w, 1.0, activation="relu", threads=1) == k + 1).all()
        print(_core.machine()["isa"])
        """,
        "qemu-x86_64-static",
        "-cpu",
        cpu,
        OPENBLAS_NUM_THREADS="1",
    )
    assert printed.split() == [EMULATED[cpu]]
