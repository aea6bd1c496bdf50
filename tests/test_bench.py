"""Promise: the benchmark scripts run, their arithmetic is right, and no wrong peer is timed.

Nothing here looks at how long anything took.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))
import backends  # noqa: E402
import harness  # noqa: E402
import overhead  # noqa: E402
import peers  # noqa: E402
import roofline  # noqa: E402
import scaling  # noqa: E402

sys.path.remove(str(BENCH))

posix = pytest.mark.skipif(os.name != "posix", reason="peers are stopped by signals")
SMALL = "ng-28x28x100-k32"


def row(seconds, shape="s", sizes=(1, 1, 1, 1, 1), layout="last", threads=1, skipped=None):
    return {
        "shape": shape,
        "sizes": list(sizes),
        "layout": layout,
        "threads": threads,
        "seconds": seconds,
        "skipped": skipped or {},
    }


def script(name, *arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, str(BENCH / f"{name}.py"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
    )


# ---- pure parts ----------------------------------------------------------------------------------


def test_only_takes_patterns_and_refuses_those_that_match_nothing():
    assert list(harness.load_shapes(SMALL)) == [SMALL]
    chosen = list(harness.load_shapes("ccm*, r50-7-*"))
    assert chosen == ["r50-7-512-2048", "r50-7-2048-512", "ccm-1080p"]
    assert len(harness.load_shapes()) == 27 and "_" not in harness.load_shapes()
    with pytest.raises(SystemExit, match=r"no shape matches 'nonsense'"):
        harness.load_shapes("ccm*,nonsense")


def test_ratio_is_taken_within_each_round():
    # The machine was twice as slow in the last round: the ratio does not see it.
    seconds = {"pointwise": [1.0, 1.0, 2.0], "numpy": [1.5, 1.5, 3.0]}
    assert harness.ratio(seconds, "pointwise", "numpy") == 1.5
    assert harness.geometric_mean([0.5, 2.0]) == pytest.approx(1.0)


def test_operations_and_bytes():
    assert harness.flops([2, 3, 4, 5, 6]) == 2 * 24 * 30
    assert harness.moved_bytes([2, 3, 4, 5, 6]) == 4 * (24 * 11 + 30)


def test_table_is_aligned_markdown():
    lines = harness.table(["shape", "ms"], [["a", "1.25"], ["longer", "10.00"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ------ | ----: |" and lines[3] == "| longer | 10.00 |"


def test_report_names_the_fastest_peer_and_the_worst_shape():
    rows = [
        row({"pointwise": [1.0], "numpy": [2.0], "opencv": [4.0]}, "one"),
        row({"pointwise": [1.0], "numpy": [3.0], "opencv": [0.5]}, "two"),
        row({"pointwise": [1.0]}, "alone", skipped={"numpy": "died"}),
    ]
    text = peers.report_part(rows, "pointwise")
    assert [line.split("|")[-2].strip() for line in text.splitlines()[2:5]] == [
        "numpy",
        "opencv",
        "-",
    ]
    assert f"against numpy: geometric mean {math.sqrt(6):.2f} of 2, worst 2.00" in text
    assert "fastest peer of each shape: geometric mean 1.00 of 2, worst 0.50 (two, opencv)" in text


def test_failures_are_told_but_not_what_a_peer_never_takes():
    skipped = {"xnnpack": "no channels first", "jax": "died with status -11"}
    assert harness.failures([row({}, layout="first", skipped=skipped)]) == [
        "s, channels first, 1 thread: jax died with status -11"
    ]


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("shape", [[1, 20, 30, 7, 5], [3, 4, 5, 16, 2]], ids=str)
def test_a_wrong_result_is_caught(shape, layout):
    x, w = harness.make_case(shape, layout)
    spec = "nhwk,ko->nhwo" if layout == "last" else "nkhw,ok->nohw"
    right = np.einsum(spec, x.astype(float), w.astype(float)).astype(np.float32)
    assert harness.is_right(right, x, w, layout)
    for index in (0, -1):
        wrong = right.copy()
        wrong.flat[index] += 0.01
        assert not harness.is_right(wrong, x, w, layout)
        wrong.flat[index] = np.nan
        assert not harness.is_right(wrong, x, w, layout)
    assert not harness.is_right(right.astype(np.float64), x, w, layout)
    assert not harness.is_right(right[..., :-1], x, w, layout)
    # The other layout's order, in which every number is right but in the wrong place.
    turned = np.ascontiguousarray(np.moveaxis(right, -1, 1))
    assert not harness.is_right(turned.reshape(right.shape), x, w, layout)


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("name", ["conv", "pointwise", "pointwise-out", "numpy"])
def test_backends_that_are_always_there_are_right(name, layout):
    """The others bring thread pools of their own; peers.py checks each before timing it."""
    backend = backends.BACKENDS[name]()
    assert backend.start(1)
    for shape in ([1, 5, 6, 3, 2], [2, 3, 5, 33, 17]):
        assert backend.refuses(shape, layout) is None
        x, w = harness.make_case(shape, layout)
        assert harness.is_right(backend.array(backend.prepare(x, w, layout)()), x, w, layout)


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("name", ["conv-vjp", "numpy-vjp"])
@pytest.mark.parametrize("shape", [[1, 20, 30, 7, 1], [3, 4, 5, 16, 2]], ids=str)
def test_wrong_gradients_are_caught(name, layout, shape):
    backend = backends.GRADIENTS[name]()
    assert backend.start(1)
    x, w = harness.make_case(shape, layout)
    results = backend.array(backend.prepare(x, w, layout)())
    assert harness.gradients_are_right(results, x, w, layout)
    for which in range(3):
        wrong = [a.copy() for a in results]
        wrong[which].flat[0] += 0.1
        assert not harness.gradients_are_right(wrong, x, w, layout)
        wrong[which].flat[0] = np.nan
        assert not harness.gradients_are_right(wrong, x, w, layout)
        wrong[which] = results[which].astype(np.float64)
        assert not harness.gradients_are_right(wrong, x, w, layout)


def test_cold_calls_are_evicted_each_and_warm_ones_not():
    log = []
    harness.time_calls(lambda: log.append("call"), 0, lambda: log.append("evict"))
    assert log == ["evict", "call"] * 3
    log.clear()
    harness.time_calls(lambda: log.append("call"), 0)
    assert log == ["call"]


def test_roof_is_the_longer_of_two_times():
    limits = {
        "fma": 100.0,
        "traffic": {
            1 << 16: {"read": 80.0, "copy": 60.0, "fill_streaming": 50.0},
            1 << 20: {"read": 10.0, "copy": 12.0, "fill_streaming": 20.0},
        },
    }
    many = [1, 100, 100, 512, 512]
    assert roofline.roof(many, limits) == (pytest.approx(2e4 * 512 * 512 / 100e9), "compute")
    # One result a pixel: reading takes longest, at the rate of buffers of a megabyte and more.
    few = [1, 1000, 1000, 4, 1]
    assert roofline.roof(few, limits) == (pytest.approx((16e6 + 16) / 10e9), "memory")
    # Fits 64 KiB, where traffic is faster; unless the cache is cold.
    tiny = [1, 60, 60, 4, 1]
    assert roofline.roof(tiny, limits)[0] == pytest.approx((57600 + 16 + 14400) / 80e9)
    assert roofline.roof(tiny, limits, is_cold=True)[0] == pytest.approx((57600 + 16) / 10e9)
    unknown = {"fma": None, "traffic": {1 << 16: {"copy": 60.0}}}
    assert roofline.roof(many, unknown)[1] == "memory"


def test_sweeps_change_one_size():
    for index, sweep in enumerate(["P", "K", "N"], start=2):
        for label, sizes in scaling.shapes_of(sweep).items():
            others = [1, 1, *scaling.BASE.values()]
            others[index] = int(label.removeprefix(f"{sweep}="))
            assert sizes == others


def test_differences_of_overhead_name_calls_that_are_timed():
    calls = overhead.make_calls()
    for _, more, less in overhead.STEPS:
        assert more in calls and less in calls
    for call in calls.values():
        call()


# ---- processes -----------------------------------------------------------------------------------


@posix
def test_missing_peer_is_skipped_and_named(tmp_path):
    """A module of that name which cannot be imported stands for one that is not installed."""
    (tmp_path / "cv2.py").write_text("raise ImportError('not here')\n")
    done = script(
        "peers",
        *("--only", SMALL, "--threads", 1, "--rounds", 1, "--budget", 0, "--layout", "last"),
        *("--peers", "numpy,opencv", "--json", tmp_path / "figures.json"),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "skipped opencv: ImportError: not here" in done.stdout
    assert f"1/1 {SMALL}" in done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["missing"] == {"opencv": "ImportError: not here"}
    assert figures["rows"][0]["seconds"].keys() == {"conv", "pointwise", "numpy"}


@posix
def test_wrong_peer_and_dying_peer_are_not_timed(tmp_path):
    """cv2 as a stand-in: its gemm is wrong, its transform ends the process."""
    (tmp_path / "cv2.py").write_text(
        "import os\n"
        "import numpy as np\n"
        "__version__ = 'fake'\n"
        "def setNumThreads(count): pass\n"
        "def gemm(x, w, *others): return np.zeros((len(x), w.shape[1]), np.float32)\n"
        "def transform(*arguments): os._exit(3)\n"
    )
    done = script(
        "peers",
        *("--only", f"rgb2gray*,{SMALL}", "--threads", 1, "--rounds", 1, "--budget", 0),
        *("--peers", "opencv", "--layout", "last"),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 1
    assert f"{SMALL}, channels last, 1 thread: opencv wrong: disagrees" in done.stderr
    assert "rgb2gray-1080p, channels last, 1 thread: opencv died with status 3" in done.stderr
    assert "against" not in done.stdout and "rgb2gray-1080p" in done.stdout


COMMON = ("--threads", 1, "--rounds", 1, "--budget", 0.0005)


@posix
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("peers", ("--only", SMALL, "--peers", "numpy", "--cache", "cold", *COMMON), "against"),
        ("peers", ("--random", 2, "--seed", 3, "--peers", "numpy", *COMMON), "against"),
        ("roofline", ("--only", SMALL, "--largest", 100_000, *COMMON), "Share of the roof"),
        ("scaling", ("--only", "P,K", "--sizes", 2, 5, *COMMON), "K=5"),
        ("gradients", ("--only", SMALL, "--batch", 2, "--peers", "numpy*", *COMMON), "against"),
        ("overhead", ("--rounds", 1, "--calls", 10), "of np.matmul"),
    ],
)
def test_script_runs(name, arguments, expected, tmp_path):
    path = tmp_path / "figures.json"
    done = script(name, *arguments, "--json", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert json.loads(path.read_text())["c1x1"]


@posix
def test_roofline_without_compiler_names_what_is_missing(tmp_path):
    arguments = ("--only", SMALL, "--largest", 100_000, "--layout", "last", *COMMON)
    done = script("roofline", *arguments, cwd=tmp_path, CC="no-such-compiler")
    assert done.returncode == 0, done.stderr
    for words in ("no C compiler", "FMA: missing", "Missing: read, copy streaming, fill"):
        assert words in done.stdout
