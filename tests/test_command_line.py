"""Promise: `python -m c1x1 info | demo | selftest | bench | explain` works from a bare install.

So does `c1x1` in the place of `python -m c1x1`.
"""

import json
import math
import os
import struct
import subprocess
import sys
import sysconfig
import zlib
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pytest

import c1x1
from c1x1 import __main__, _api, _bench, _bench_report, _core, _demo, _png, _selftest, _shapes


def run(*arguments, cwd=None, **env):
    return subprocess.run(
        [sys.executable, "-m", "c1x1", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_info_as_json_and_as_text(tmp_path):
    done = run("info", "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    facts = json.loads(done.stdout)
    assert facts.keys() == c1x1.info().keys()
    text = run("info", cwd=tmp_path)
    assert text.returncode == 0
    assert facts["version"] in text.stdout and facts["isa_why"] in text.stdout
    for isa in facts["isas"]:
        assert f"  {isa['name']} " in text.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX: a shell")
def test_a_reader_that_goes_away_is_no_error(tmp_path):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m c1x1 bench --list | sleep 0; exit 0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        gone = subprocess.run(
            [sys.executable, "-m", "c1x1", "info"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert gone.returncode == 141 and not gone.stderr


def test_usage_error_and_help(tmp_path):
    assert run(cwd=tmp_path).returncode == 2
    assert run("nonsense", cwd=tmp_path).returncode == 2
    helped = run("--help", cwd=tmp_path)
    assert helped.returncode == 0 and "selftest" in helped.stdout


def test_the_console_script(tmp_path):
    (script,) = metadata.distribution("c1x1").entry_points.select(group="console_scripts")
    assert script.name == "c1x1" and script.load() is __main__.main
    command = Path(sysconfig.get_path("scripts"), "c1x1")
    if os.name == "nt":
        command = command.with_suffix(".exe")
    if not command.is_file():
        pytest.skip("c1x1 is installed beside this Python, without its script")

    def run_script(*arguments):
        return subprocess.run(
            [command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    done = run_script("info", "--json")
    assert done.returncode == 0 and not done.stderr
    assert json.loads(done.stdout)["version"] == c1x1.__version__
    assert run_script("--help").stdout.startswith("usage: c1x1 ")
    wrong = run_script("nonsense")
    assert wrong.returncode == 2 and wrong.stderr.startswith("usage: c1x1 ")
    assert run("--help", cwd=tmp_path).stdout.startswith("usage: python -m c1x1 ")


def test_demo_of_the_shipped_photograph(tmp_path):
    done = run("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "28x28x192",
        "28x28x1.",
        "28x28x32",
        "2*4 + 3*8 = 32",
        "Rec. 709",
        str(tmp_path / "c1x1-demo"),
    ):
        assert words in done.stdout
    original = _png.read(tmp_path / "c1x1-demo" / "photograph.png")
    grey = _png.read(tmp_path / "c1x1-demo" / "grey.png")
    colour = _png.read(tmp_path / "c1x1-demo" / "colour.png")
    np.testing.assert_array_equal(original, _png.read(_demo.PHOTOGRAPH))
    assert colour.shape == original.shape and grey.shape == original.shape[:2]
    luma = original @ np.array([0.2126, 0.7152, 0.0722])
    # Half a level from rounding to 8 bits.
    assert abs(grey - luma).max() <= 0.5 + 1e-3
    assert abs(colour.astype(int) - original).max() > 20


@pytest.mark.parametrize("shape", [(7, 9, 3), (7, 9), (7, 9, 4)], ids=["rgb", "grey", "rgba"])
def test_demo_of_a_picture_of_ones_own(tmp_path, shape):
    image = picture(shape)
    _png.write(tmp_path / "mine.png", image)
    done = run("demo", tmp_path / "mine.png", "--output", tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert "7x9x3" in done.stdout
    kept = _png.read(tmp_path / "there" / "photograph.png")
    np.testing.assert_array_equal(
        kept, image[..., :3] if len(shape) == 3 else np.stack([image] * 3, axis=-1)
    )


@pytest.mark.parametrize("has_pillow", [True, False])
def test_demo_reads_with_and_without_pillow(tmp_path, monkeypatch, has_pillow):
    if has_pillow:
        pytest.importorskip("PIL")
    else:
        monkeypatch.setitem(sys.modules, "PIL", None)
    image = picture((5, 4, 3))
    _png.write(tmp_path / "a.png", image)
    np.testing.assert_array_equal(_demo.read_picture(tmp_path / "a.png"), image)
    (tmp_path / "b.png").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="cannot read"):
        _demo.read_picture(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"cannot read .*No such file"):
        _demo.read_picture(tmp_path / "c.png")


def test_demo_of_a_missing_picture_is_a_usage_error(tmp_path):
    done = run("demo", tmp_path / "missing.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.png" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "c1x1-demo").exists()


def test_demo_notices_a_wrong_result(tmp_path, monkeypatch):
    monkeypatch.setattr(_demo, "conv", lambda x, w, **kw: c1x1.conv(x, w, **kw) * 1.0001)
    with pytest.raises(_demo.MismatchError):
        list(_demo.answer())
    with pytest.raises(_demo.MismatchError):
        list(_demo.develop(picture((4, 4, 3)), tmp_path))


def test_selftest_passes_on_every_isa_of_this_cpu(tmp_path):
    done = run("selftest", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for name, _, missing in _core.isas():
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"{name}:")]
        assert len(lines) == 1
        if not missing:
            assert "cases, 0 failures" in lines[0]


def test_selftest_fails_on_a_wrong_bit_and_restores_the_isa(monkeypatch):
    original = _core.machine()["isa"]
    seen = set()

    def off_by_one(x, w, **options):
        seen.add(_core.machine()["isa"])
        result = c1x1.conv(x, w, **options)
        if w.ndim == 2 and w.shape[1] == 49:
            result[-1, -1, -1] += 1
        return result

    monkeypatch.setattr(_selftest, "conv", off_by_one)
    lines, failures = _selftest.selftest()
    assert failures > 0
    assert any("wrong, by up to 1" in line for line in lines)
    assert seen == {name for name, _, missing in _core.isas() if not missing}
    assert _core.machine()["isa"] == original


def test_selftest_outlives_an_exception(monkeypatch):
    def broken(x, w, **options):
        raise MemoryError("none")

    monkeypatch.setattr(_selftest, "conv", broken)
    lines, failures = _selftest.selftest()
    assert failures > 1000
    assert any("MemoryError" in line for line in lines)


@pytest.mark.parametrize("row_filter", [0, 1, 2, 3, 4, None])
@pytest.mark.parametrize(
    "shape", [(1, 1), (6, 5), (6, 5, 3), (5, 6, 4), (1, 9, 3), (9, 1, 4)], ids=str
)
def test_png_comes_back_as_it_went(shape, row_filter):
    image = picture(shape)
    data = _png.encode(image, row_filter=row_filter)
    np.testing.assert_array_equal(_png.decode(data), image)


@pytest.mark.parametrize("row_filter", [0, 1, 2, 3, 4, None])
def test_png_is_one_that_pillow_reads_alike(row_filter, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    image = picture((11, 7, 3))
    (tmp_path / "a.png").write_bytes(_png.encode(image, row_filter=row_filter))
    with image_module.open(tmp_path / "a.png") as read:
        np.testing.assert_array_equal(np.asarray(read), image)
    image_module.fromarray(image).save(tmp_path / "b.png")
    np.testing.assert_array_equal(_png.read(tmp_path / "b.png"), image)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def hand_made(*, depth=8, colour=0, interlace=0, size=(2, 2), pixels=b"\0ab\0cd"):
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GIF89a", "not a PNG"),
        (hand_made(depth=16), "16 bits"),
        (hand_made(colour=3), "colour type 3"),
        (hand_made(interlace=1), "interlaced"),
        (hand_made(size=(0, 2)), "0 x 2 pixels"),
        (hand_made(size=(1 << 30, 1 << 30)), "pixels; expected"),
        (hand_made(pixels=b"\0ab"), "expected 6 bytes of pixels, found 3"),
        (hand_made(pixels=bytes(1000)), "found more"),
        (hand_made(pixels=b"\0ab\7cd"), "row 1 has filter 7"),
        (hand_made()[:-4], "cut short"),
        (hand_made()[:-12], "no end chunk"),
        (hand_made()[:40], "cut short"),
        (hand_made().replace(b"IDAT", b"IDAX"), "checksum"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "begin with a header"),
    ],
)
def test_png_that_cannot_be_read_says_why(data, words):
    assert _png.decode(hand_made()).tolist() == [[97, 98], [99, 100]]
    with pytest.raises(ValueError, match=words):
        _png.decode(data)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2)),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros(3, np.uint8),
    ],
)
def test_png_that_cannot_be_written_says_why(image):
    with pytest.raises(ValueError, match="picture"):
        _png.encode(image)


def test_photograph_ships_and_is_small():
    data = (resources.files("c1x1") / "data" / "photograph.png").read_bytes()
    assert len(data) < 150_000
    assert _png.decode(data).shape == (240, 320, 3)


# ---- bench: that it runs, and that its arithmetic is right; never how long anything took ---------

NO_TORCH = "raise ImportError('not here')\n"
TINY = ("--threads", 1, "--rounds", 2, "--budget", 0)


def test_bench_of_a_tiny_shape(tmp_path):
    (tmp_path / "torch.py").write_text(NO_TORCH)
    arguments = ("bench", "4x5x6x3", "2x3x4x5x2", *TINY, "--layout", "both")
    done = run(*arguments, "--json", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["missing"] == {"torch": "not here"}
    assert figures["versions"].keys() == {"Pointwise", "conv", "matmul", "tensordot"}
    rows = figures["rows"]
    assert [(row["shape"], row["layout"]) for row in rows] == [
        ("4x5x6x3", "NHWC"),
        ("2x3x4x5x2", "NHWC"),
        ("4x5x6x3", "NCHW"),
        ("2x3x4x5x2", "NCHW"),
    ]
    assert rows[0]["sizes"] == [1, 4, 5, 6, 3] and rows[1]["sizes"] == [2, 3, 4, 5, 2]
    for row in rows:
        assert row["threads"] == 1 and not row["failures"]
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in row["seconds"].values())
        assert row["errors"].keys() == row["seconds"].keys() == figures["versions"].keys()
        assert all(0 <= error < 16 for error in row["errors"].values())
    steps = done.stderr.splitlines()
    assert [line.split()[0] for line in steps] == ["1/4", "2/4", "3/4", "4/4"]
    assert "4x5x6x3 NHWC, 1 thread" in steps[0]


def test_bench_prints_a_table(tmp_path):
    (tmp_path / "torch.py").write_text(NO_TORCH)
    done = run("bench", "4x5x6x3", *TINY, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (head,) = [line for line in lines if line.startswith("shape")]
    row = lines[lines.index(head) + 1]
    assert head.split()[-5:] == ["conv", "matmul", "tensordot", "error", "NumPy's"]
    assert row.split()[:3] == ["4x5x6x3", "NHWC", "1"] and "-" not in row.split()
    assert len(row.split()) == len(head.replace("Pointwise ms", "Pointwise").split())
    assert "torch: not timed, not here" in lines
    assert any(line.startswith("matmul: geometric mean") for line in lines)


def test_bench_does_not_time_what_is_wrong_or_dies(tmp_path):
    """A stand-in for PyTorch, first one whose results are zeros, then one that ends the process."""
    stand_in = (
        "import os, numpy as np\n"
        "__version__ = 'fake'\n"
        "channels_last = contiguous_format = None\n"
        "def set_num_threads(count): pass\n"
        "set_grad_enabled = set_num_threads\n"
        "class Tensor(np.ndarray):\n"
        "    def contiguous(self, memory_format): return self\n"
        "    def permute(self, *axes): return self.transpose(axes)\n"
        "    def numpy(self): return np.asarray(self)\n"
        "def from_numpy(a): return a.view(Tensor)\n"
        "class nn:\n"
        "    class functional:\n"
        "        def conv2d(x, w): {}\n"
    )
    right = "return np.einsum('nchw,oc->nohw', x, w[..., 0, 0], optimize=True).view(Tensor)"
    for body, why in [
        (right, None),
        (
            right.replace("return", "return 1.001 *"),
            "torch ArithmeticError: disagrees with float64",
        ),
        ("os._exit(3)", "torch ended with status 3"),
    ]:
        (tmp_path / "torch.py").write_text(stand_in.format(body))
        done = run(
            *("bench", "4x5x6x3", *TINY, "--layout", "both", "--json"),
            cwd=tmp_path,
            PYTHONPATH=str(tmp_path),
        )
        figures = json.loads(done.stdout)
        assert done.returncode == (why is not None), done.stderr
        for row in figures["rows"]:
            assert ("torch" in row["seconds"]) == (why is None)
            assert "Pointwise" in row["seconds"]
        if why is not None:
            assert f"4x5x6x3 NHWC, 1 thread: {why}" in done.stderr
            assert "geometric mean" in _bench_report.report(figures)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "'nonsense' is neither HxWxC_INxC_OUT"),
        (["28x28x192"], "such as 28x28x192x64"),
        (["28x28x-1x4"], "neither"),
        (["0x28x3x3"], "a size of 0"),
        (["99999x99999x9x9"], "more than 8 GiB"),
        (["--threads", "0"], "'0' is not a whole number of at least 1"),
        (["--rounds", "many"], "'many' is not a whole number of at least 1"),
        (["--budget", "-1"], "'-1' is not a number of seconds"),
        (["--budget", "nan"], "'nan' is not a number of seconds"),
        (["--layout", "middle"], "invalid choice: 'middle'"),
        (["--plot", "no/such/folder.png"], "folder.png"),
    ],
)
def test_bench_refuses_before_it_measures(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_bench_report, "pyplot", lambda: None)
    monkeypatch.setattr(_bench, "measure", lambda *_: pytest.fail("it measured"))
    try:
        status = __main__.main(["bench", *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    captured = capsys.readouterr()
    assert words in captured.err and not captured.out


def test_bench_says_what_a_plot_needs(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert __main__.main(["bench", "--plot", "a.png"]) == 2
    assert "--plot needs matplotlib" in capsys.readouterr().err


def test_bench_draws(tmp_path):
    pytest.importorskip("matplotlib")
    done = run("bench", "4x5x6x3", *TINY, "--plot", tmp_path / "a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_bench_names_are_those_of_the_benchmarks():
    path = Path(__file__).parents[1] / "bench" / "shapes.json"
    if not path.is_file():
        pytest.skip("the tests lie without the benchmarks")
    known = json.loads(path.read_text())
    assert {name: tuple(known[name]) for name in _shapes.SHAPES} == _shapes.SHAPES


def test_bench_lists_its_names(capsys):
    assert __main__.main(["bench", "--list"]) == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert dict(map(_shapes.read_shape, lines.values())) == {
        text: _shapes.SHAPES[name] for name, text in lines.items()
    }
    assert lines.keys() == _shapes.SHAPES.keys()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("way", _bench.WAYS)
def test_bench_knows_right_from_wrong(way, layout):
    if way == "torch":
        pytest.importorskip("torch")
    for sizes in ((1, 5, 6, 3, 2), (2, 30, 20, 33, 17)):
        x, w = _bench.operands(sizes, layout)
        y = np.array(_bench.WAYS[way](x, w, layout, 1)())
        assert _bench.error_of(y, x, w, layout) < 16
        assert math.isinf(_bench.error_of(y.astype(np.float64), x, w, layout))
        assert math.isinf(_bench.error_of(y[:, :, :-1], x, w, layout))
        for index in (0, -1):
            for value in (np.nan, np.inf, y.flat[index] + 0.01):
                wrong = y.copy()
                wrong.flat[index] = value
                assert math.isinf(_bench.error_of(wrong, x, w, layout))


def test_bench_compares_within_rounds():
    # The machine was twice as slow in the last round: the ratio does not see it.
    row = {"seconds": {"Pointwise": [1.0, 1.0, 2.0], "matmul": [1.5, 1.5, 3.0]}}
    assert _bench_report.ratio(row, "matmul") == 1.5
    assert _bench_report.ratio(row, "torch") is None
    assert _bench_report.ratio({"seconds": {"matmul": [1.0]}}, "matmul") is None


# ---- explain -------------------------------------------------------------------------------------


def test_explain_sizes_and_files(tmp_path):
    done = run("explain", "5x6x7x3", "--activation", "relu", "--pixel", 4, -1, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert "x[4, 5, :]" in done.stdout and "relu: np.maximum(y, 0) = " in done.stdout
    x, w = np.arange(24.0).reshape(2, 3, 4), np.ones((3, 2))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    np.save(tmp_path / "b.npy", np.array([0.5, 0, 1]))
    done = run("explain", "x.npy", "w.npy", "b.npy", "--layout", "CHW", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = {"layout": "CHW", "pixel": (0, 0)}
    assert done.stdout == c1x1.explain(x, w, [0.5, 0, 1], **words)


def test_explain_gives_the_plan_as_json(capsys):
    arguments = ("2x28x28x12x6", "--layout", "NCHW", "--groups", "3", "--threads", "1", "--json")
    assert __main__.main(["explain", *arguments]) == 0
    plan = json.loads(capsys.readouterr().out)
    x, w = np.zeros((2, 12, 28, 28), np.float32), np.zeros((6, 4), np.float32)
    known = _api.plan(x, w, layout="NCHW", groups=3, threads=1)
    assert plan == json.loads(json.dumps(known))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "'nonsense' is neither HxWxC_INxC_OUT"),
        (["5x6x7x3", "--layout", "HWX"], "layout 'HWX' does not name the axes of '5x6x7x3'"),
        (["2x5x6x7x3", "--layout", "HWC"], "does not name the axes of '2x5x6x7x3'"),
        (["5x6x7x3", "--activation", "rleu"], "unknown activation 'rleu'"),
        (["5x6x7x3", "--pixel", "9", "9"], "outside the result"),
        (["5x6x7x3", "--groups", "2"], "2 groups do not divide evenly"),
        (["a.npy", "b.npy"], "a.npy"),
        (["a", "b", "c", "d"], "expected X.npy W.npy [BIAS.npy], not 4"),
    ],
)
def test_explain_refuses_in_a_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["explain", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out
