"""The demo: the 28x28x192 question in real numbers, then a photograph through a colour matrix."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c1x1 import _png
from c1x1._api import conv

PHOTOGRAPH = Path(__file__).parent / "data" / "photograph.png"

# Rec. 709: how much each linear primary adds to the luminance.
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
# "Warm evening": saturation 1.35 about the Rec. 709 luma, then red up and blue down.
_GAINS = np.array([1.08, 1.0, 0.86], np.float32)
WARM = ((1.35 * np.eye(3, dtype=np.float32) - 0.35 * LUMA[:, None]) * _GAINS).astype(np.float32)


class MismatchError(Exception):
    """The demo's result is further from NumPy's than rounding explains."""


def _shape(array: NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))


def _sum_in_words(x: NDArray[Any], w: NDArray[Any], shown: int = 3) -> str:
    first = " + ".join(f"{a:.2f}*{b:.2f}" for a, b in zip(x[:shown], w[:shown], strict=True))
    return f"{first} + ... {len(x) - shown} more"


def answer() -> Iterator[str]:
    """Answers, line by line: how can a 1x1 convolution shrink 28x28x192 to 28x28x1?"""
    random = np.random.default_rng(192)
    x = random.random((28, 28, 192), dtype=np.float32)
    w = random.random((1, 1, 192), dtype=np.float32)
    product, y = x * w, conv(x, w)
    yield "How does a 1x1 convolution turn 28x28x192 into 28x28x1?"
    yield ""
    yield f"  The image x is {_shape(x)}: at each of 28x28 pixels, 192 numbers, one per channel."
    yield f"  One 1x1 filter is {_shape(w)}: 192 weights, one per channel. Not one number!"
    yield f"  x * w is {_shape(product)}: multiplying alone does not shrink anything."
    yield f"  The convolution then adds up each pixel's 192 products: {_shape(y)}."
    yield "  At pixel (0, 0):"
    yield (
        f"    {_sum_in_words(x[0, 0], w[0, 0])} = {float(product[0, 0].sum()):.4f}; "
        f"conv gives {float(y[0, 0, 0]):.4f}"
    )
    _check(y, x, w.reshape(192, 1))
    x = random.random((28, 28, 100), dtype=np.float32)
    filters = random.random((100, 32), dtype=np.float32)
    y = conv(x, filters)
    _check(y, x, filters)
    yield ""
    yield "And k filters? Each gives one number per pixel, and those are the new channels:"
    yield f"  {_shape(x)} with k = 32 filters of 1x1x100 gives {_shape(y)}."
    yield ""
    yield "Small enough to do by hand, channels first: M is (2, 2, 2), W is [[[2]], [[3]]]."
    image = np.arange(1.0, 9.0).reshape(2, 2, 2)
    small = conv(image, np.array([[[2.0]], [[3.0]]]), layout="CHW")[0]
    if not np.array_equal(small, [[17, 22], [27, 32]]):
        raise MismatchError(f"the worked example gave {small.tolist()}")
    yield f"  M[0] = {image[0].tolist()}, M[1] = {image[1].tolist()}"
    for i, j in np.ndindex(2, 2):
        yield (
            f"  result[{i}, {j}] = 2*{image[0, i, j]:.0f} + 3*{image[1, i, j]:.0f} "
            f"= {small[i, j]:.0f}"
        )


def _check(y: NDArray[Any], x: NDArray[np.float32], w: NDArray[np.float32]) -> None:
    """Raises where y is not the sum over channels, but for what rounding in float32 explains."""
    wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
    expected = np.tensordot(wide_x, wide_w, axes=([-1], [0]))
    bound = (
        16
        * float(np.finfo(np.float32).eps)
        * np.tensordot(abs(wide_x), abs(wide_w), axes=([-1], [0]))
    )
    error = abs(y - expected)
    if not (error <= bound).all():
        raise MismatchError(f"a result is off by {error.max():.3g}, more than rounding explains")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture at `path` as RGB, (H, W, 3).

    Raises
    ------
    ValueError
        It cannot be read; the message says why.
    """
    try:
        return _read_with_pillow(path)
    except ImportError:
        pass
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        image = _png.read(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(
            f"cannot read {path}: {error} (without Pillow only PNG files are read; "
            "`pip install pillow` reads other pictures)"
        ) from error
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return image[:, :, :3]


def _read_with_pillow(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _milliseconds(call: Callable[[], Any], runs: int = 15) -> float:
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def _to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def develop(picture: NDArray[np.uint8], output: Path) -> Iterator[str]:
    """Puts an RGB picture through two 1x1 convolutions, checks, times and saves them."""
    image = picture.astype(np.float32) / np.float32(255)
    pixel = tuple(size // 2 for size in image.shape[:2])
    yield f"The picture is {_shape(image)}: three channels, red, green and blue."
    output.mkdir(parents=True, exist_ok=True)
    _png.write(output / "photograph.png", picture)
    steps = (
        ("colour.png", "warm evening, a 3x3 colour matrix", WARM),
        ("grey.png", "grey, the three Rec. 709 luma weights", LUMA[:, None]),
    )
    for file, title, matrix in steps:
        w = np.ascontiguousarray(matrix)
        result = conv(image, w)
        _check(result, image, w)
        sums = " + ".join(f"{a:.3f}*{b:.4f}" for a, b in zip(image[pixel], w[:, 0], strict=True))
        ours = _milliseconds(partial(conv, image, w))
        numpy = _milliseconds(partial(np.matmul, image, w))
        levels = _to_bytes(result)
        _png.write(output / file, levels[:, :, 0] if levels.shape[2] == 1 else levels)
        yield ""
        yield f"{title[0].upper()}{title[1:]}: {_shape(image)} to {_shape(result)}."
        yield f"  First channel of the middle pixel: {sums} = {float(result[pixel][0]):.3f}"
        yield "  Agrees with np.tensordot to rounding (16 eps sum|x||w|)."
        yield f"  c1x1 {ours:.3f} ms, NumPy's image @ matrix {numpy:.3f} ms (medians of 15 runs)."
    yield ""
    yield f"Wrote photograph.png, colour.png and grey.png into {output.resolve()}"
