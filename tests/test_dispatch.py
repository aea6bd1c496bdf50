"""Which kernels run: CPUID and XCR0, the cap in C1X1_ISA, cgroup quotas."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from c1x1 import _core

linux = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")

FMA, OSXSAVE, AVX, F16C = 1 << 12, 1 << 27, 1 << 28, 1 << 29
AVX2, F, DQ, BW, VL = 1 << 5, 1 << 16, 1 << 17, 1 << 30, 1 << 31
CD, IFMA = 1 << 28, 1 << 21
VNNI_512 = 1 << 11  # leaf 7, ECX
VNNI_256 = 1 << 4  # leaf 7, subleaf 1, EAX
TILES = 1 << 22 | 1 << 24 | 1 << 25  # leaf 7, EDX: bfloat16, tiles, int8
SSE_AVX, OPMASK_ZMM = 0x6, 0xE0
YMM, ZMM = SSE_AVX | 1, SSE_AVX | OPMASK_ZMM | 1
SERVER = F | DQ | BW | VL | CD

MODERN = OSXSAVE | AVX | FMA | F16C

CPUS = {
    "Nehalem": (0, 0, 0, []),
    "Westmere, OSXSAVE": (OSXSAVE, 0, 3, []),
    "Sandy Bridge": (OSXSAVE | AVX, 0, YMM, []),
    "Ivy Bridge": (OSXSAVE | AVX | F16C, 0, YMM, ["F16C"]),
    "Piledriver, FMA without AVX2": (MODERN, 0, YMM, ["FMA", "F16C"]),
    "Haswell": (MODERN, AVX2, YMM, ["FMA", "AVX2", "F16C"]),
    "Zen 3": (MODERN, AVX2, YMM | 0x200, ["FMA", "AVX2", "F16C"]),
    "VIA, AVX2 without FMA": (OSXSAVE | AVX, AVX2, YMM, ["AVX2"]),
    "Haswell, OS without XSAVE": (AVX | FMA, AVX2, 0, []),
    "Haswell, OS saves only SSE": (MODERN, AVX2, 3, []),
    "Haswell, OS saves AVX without SSE": (MODERN, AVX2, 4, []),
    "Knights Landing": (MODERN, AVX2 | F | CD, ZMM, ["FMA", "AVX2", "F16C"]),
    "Skylake-X": (MODERN, AVX2 | SERVER, ZMM, ["FMA", "AVX2", "F16C", "AVX-512"]),
    "Sapphire Rapids": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        TILES,
        ["FMA", "AVX2", "F16C", "AVX-512", "AMX"],
    ),
    "Sapphire Rapids, OS without tile data": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 1 << 17,
        TILES,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "hypervisor hides AMX": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        0,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "tiles of int8 alone": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        1 << 24 | 1 << 25,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "tiles of bfloat16 alone": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 3 << 17,
        1 << 24 | 1 << 22,
        ["FMA", "AVX2", "F16C", "AVX-512"],
    ),
    "Zen 4": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 0x200,
        0,
        VNNI_512,
        ["FMA", "AVX2", "F16C", "AVX-512", "AVX512-VNNI"],
    ),
    "Zen 5": (
        MODERN,
        AVX2 | SERVER | IFMA,
        ZMM | 0x200,
        0,
        VNNI_512,
        VNNI_256,
        ["FMA", "AVX2", "F16C", "AVX-VNNI", "AVX-512", "AVX512-VNNI"],
    ),
    "Alder Lake": (
        MODERN,
        AVX2,
        YMM | 0x200,
        0,
        0,
        VNNI_256,
        ["FMA", "AVX2", "F16C", "AVX-VNNI"],
    ),
    "Ice Lake, OS without AVX-512": (
        MODERN,
        AVX2 | SERVER | IFMA,
        YMM,
        0,
        VNNI_512,
        ["FMA", "AVX2", "F16C"],
    ),
    "Alder Lake, OS saves only SSE": (MODERN, AVX2, 3, 0, 0, VNNI_256, []),
    "Skylake-X, OS without AVX-512": (MODERN, AVX2 | SERVER, YMM, ["FMA", "AVX2", "F16C"]),
    "Skylake-X, OS without upper registers": (
        MODERN,
        AVX2 | SERVER,
        YMM | 0x60,
        ["FMA", "AVX2", "F16C"],
    ),
    "hypervisor hides VL": (MODERN, AVX2 | F | DQ | BW, ZMM, ["FMA", "AVX2", "F16C"]),
    "hypervisor hides BW": (MODERN, AVX2 | F | DQ | VL, ZMM, ["FMA", "AVX2", "F16C"]),
    "hypervisor hides F16C": (OSXSAVE | AVX | FMA, AVX2, YMM, ["FMA", "AVX2"]),
    "hypervisor hides all AVX": (FMA, AVX2 | SERVER, ZMM, []),
}


@pytest.mark.parametrize("cpu", CPUS)
def test_features(cpu):
    *words, want = CPUS[cpu]
    assert _core.features_of(*words) == want


def machine(**env):
    code = "from c1x1 import _core; print(_core.machine()['isa'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "C1X1_ISA"} | env,
    )


def test_the_best_isa_is_chosen_and_c1x1_isa_caps_it():
    rows = _core.isas()
    runnable = list(dict.fromkeys(name for name, _, missing in rows if not missing))
    assert machine().stdout.strip() == runnable[0]
    names = list(dict.fromkeys(name for name, _, _ in rows))
    for name in names:
        below = [n for n in names[names.index(name) :] if n in runnable]
        assert machine(C1X1_ISA=name).stdout.strip() == below[0]


def test_an_unknown_c1x1_isa_is_refused():
    done = machine(C1X1_ISA="x86_avx1024")
    assert done.returncode != 0
    assert (
        "ImportError: C1X1_ISA='x86_avx1024' names no instruction set of this build" in done.stderr
    )


def test_an_isa_that_this_cpu_lacks_is_not_selected():
    for name, _, missing in _core.isas():
        if missing and name != "scalar":
            with pytest.raises(ValueError, match="cannot run"):
                _core.select_isa(name)
    with pytest.raises(ValueError, match="cannot run"):
        _core.select_isa("x86_avx1024")


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        (b"max", b"100000", 0),
        (b"200000", b"100000", 2),
        (b"150000", b"100000", 2),
        (b"50000", b"100000", 1),
        (b"1000", b"100000", 1),
        (b"-1", b"100000", 0),
        (b"800000\n", b" 100000\n", 8),
        (b"", b"", 0),
        (b"100000", b"0", 0),
        (b"nonsense", b"100000", 0),
        (b"200000000000", b"100000", 0),
    ],
)
def test_cgroup_quota(quota, period, cpus):
    assert _core.threads_from_quota(quota, period) == cpus


V2, V1 = {"cpu.max": "{} {}"}, {"cpu.cfs_quota_us": "{}", "cpu.cfs_period_us": "{}"}
DEEP = "/" + "deep" * 300


@linux
@pytest.mark.parametrize(
    ("memberships", "groups", "cpus"),
    [
        # A container's own group is the root of what it sees.
        ("0::/", {"": (V2, 300)}, 3),
        ("0::/docker/abc", {"": (V2, 300)}, 3),
        # The tightest of a group and those above it.
        ("0::/a/b", {"": (V2, 800), "a": (V2, 200), "a/b": (V2, 400)}, 2),
        ("0::/a/b", {"a": (V2, "max"), "a/b": (V2, 400)}, 4),
        ("0::/a/b", {}, 0),
        # Version 1: the controller may have company, in any order.
        ("4:memory:/x\n3:cpu:/", {"cpu": (V1, 200)}, 2),
        ("3:cpu,cpuacct:/a", {"cpu/a": (V1, 200)}, 2),
        ("3:cpuacct,cpu:/a", {"cpu/a": (V1, 200)}, 2),
        ("3:cpuacct,cpu:/a", {"cpu/a": (V1, -100), "cpu": (V1, 500)}, 5),
        ("3:cpuacct,cpuset:/a", {"cpu/a": (V1, 200)}, 0),
        # Both at once.
        ("3:cpu:/a\n0::/a", {"cpu/a": (V1, 500), "a": (V2, 300)}, 3),
        ("3:cpu:/a\n0::/a", {"cpu/a": (V1, 200), "a": (V2, 300)}, 2),
        # Half of it missing, and lines that nobody expects.
        ("3:cpu:/a", {"cpu/a": ({"cpu.cfs_quota_us": "{}"}, 200)}, 0),
        ("0::/", {"": ({"cpu.max": "{}"}, 200)}, 0),
        ("nonsense\n1:cpu\n\n0::/a", {"": (V2, 200)}, 2),
        (f"0::{DEEP}", {"": (V2, 200)}, 2),
    ],
)
def test_cgroups(tmp_path, memberships, groups, cpus):
    for group, (files, percent) in groups.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        quota = percent if isinstance(percent, str) else percent * 1000
        for name, text in files.items():
            value = 100000 if "period" in name else quota
            (tmp_path / group / name).write_text(text.format(value, 100000) + "\n")
    table = tmp_path / "cgroup"
    table.write_text(memberships + "\n")
    assert _core.threads_of_cgroups(bytes(table), bytes(tmp_path)) == cpus


@linux
def test_no_table_of_cgroups(tmp_path):
    assert _core.threads_of_cgroups(bytes(tmp_path / "missing"), b"/sys/fs/cgroup") == 0


@linux
@pytest.mark.parametrize("cpus", [1, 9999])
def test_the_quota_of_a_real_cgroup(cpus):
    """A group made for this: no more threads than it has CPUs."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = Path(f"/sys/fs/cgroup{'' if v2 else '/cpu'}/c1x1-test-{os.getpid()}")
    try:
        group.mkdir()
        if v2:
            (group / "cpu.max").write_text(f"{cpus}0000 10000")
        else:
            (group / "cpu.cfs_period_us").write_text("10000")
            (group / "cpu.cfs_quota_us").write_text(f"{cpus}0000")
    except OSError as e:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no cgroup can be made here: {e.strerror}")
    try:
        code = (
            f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid())); import c1x1; "
            "i = c1x1.info(); print(i['thread_limit'], i['thread_limit_why'])"
        )
        env = {k: v for k, v in os.environ.items() if k != "C1X1_NUM_THREADS"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env
        )
    finally:
        group.rmdir()
    assert done.returncode == 0, done.stderr
    own = len(os.sched_getaffinity(0))
    assert int(done.stdout.split()[0]) == min(cpus, own)
    assert ("quota" in done.stdout) == (cpus < own)
