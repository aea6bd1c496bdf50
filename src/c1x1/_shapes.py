"""Problems as they are typed on the command line: by name, by sizes, or as files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# N, H, W, C_in, C_out
SHAPES = {
    "ng-28x28x192-1": (1, 28, 28, 192, 1),
    "ng-28x28x192-64": (1, 28, 28, 192, 64),
    "ccm-1080p": (1, 1080, 1920, 3, 3),
    "rgb2gray-1080p": (1, 1080, 1920, 3, 1),
    "sentinel2-1024-12-4": (1, 1024, 1024, 12, 4),
    "r50-56-64-256": (1, 56, 56, 64, 256),
    "r50-14-1024-256": (1, 14, 14, 1024, 256),
    "mbv2-112-16-96": (1, 112, 112, 16, 96),
}
LARGEST = 8 << 30  # bytes of one array


def read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """A name of SHAPES, or sizes joined by x; with what it is called."""
    if text in SHAPES:
        return text, SHAPES[text]
    parts = text.split("x")
    if len(parts) not in (4, 5) or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(
            f"{text!r} is neither HxWxC_INxC_OUT, such as 28x28x192x64, nor one of "
            f"{', '.join(SHAPES)}"
        )
    sizes = tuple(map(int, parts))
    sizes = (1, *sizes) if len(sizes) == 4 else sizes
    n, h, w, c_in, c_out = sizes
    if 0 in sizes:
        raise ValueError(f"{text!r} has a size of 0: there is nothing to compute")
    if 4 * max(n * h * w * max(c_in, c_out), c_in * c_out) > LARGEST:
        raise ValueError(f"{text!r} needs an array of more than {LARGEST >> 30} GiB")
    return text, sizes


def _load(path: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(
            f"there is no file {path!r}; sizes are given alone, as in 28x28x192x64"
        ) from error
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path!r} is no array that np.save wrote, nor sizes alone") from error
    return array


def read_operands(what: list[str], layout: str | None, groups: int) -> tuple[NDArray[Any], ...]:
    """x, w and, if given, bias: from files of np.save, or random ones of the sizes in `what`."""
    if len(what) > 1:
        if len(what) > 3:
            raise ValueError(f"expected X.npy W.npy [BIAS.npy], not {len(what)} files")
        return tuple(map(_load, what))
    if what[0].endswith(".npy"):
        raise ValueError(f"expected X.npy W.npy [BIAS.npy], not {what[0]!r} alone")
    _, (n, h, w, c_in, c_out) = read_shape(what[0])
    sizes = {"N": n, "H": h, "W": w, "C": c_in}
    letters = layout or ("HWC" if n == 1 else "NHWC")
    if sorted(letters) not in (sorted("NHWC"), sorted("HWC" if n == 1 else "NHWC")):
        raise ValueError(
            f"layout {letters!r} does not name the axes of {what[0]!r}: H, W, C, and N of a batch"
        )
    random = np.random.default_rng(0)
    x = random.random([sizes[letter] for letter in letters], np.float32)
    shape = (c_in // groups, c_out) if letters.endswith("C") else (c_out, c_in // groups)
    return x, random.standard_normal(shape, np.float32)
