"""Promise: `python -m c1x1 info | demo | selftest` works from a bare install."""

import json
import struct
import subprocess
import sys
import zlib
from importlib import resources

import numpy as np
import pytest

import c1x1
from c1x1 import _core, _demo, _png, _selftest


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "c1x1", *map(str, arguments)],
        cwd=cwd,
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


def test_usage_error_and_help(tmp_path):
    assert run(cwd=tmp_path).returncode == 2
    assert run("nonsense", cwd=tmp_path).returncode == 2
    helped = run("--help", cwd=tmp_path)
    assert helped.returncode == 0 and "selftest" in helped.stdout


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
