"""Reads and writes small PNG pictures with zlib alone: the demo needs no imaging library."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: 1, 2: 3, 6: 4}
_MAX_PIXELS = 1 << 28
_FILTERS = 5


def _paeth(
    left: NDArray[np.int16], above: NDArray[np.int16], corner: NDArray[np.int16]
) -> NDArray[np.int16]:
    estimate = left + above - corner
    to_left, to_above, to_corner = (abs(estimate - near) for near in (left, above, corner))
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)


def _filtered(row: NDArray[np.int16], above: NDArray[np.int16]) -> NDArray[np.uint8]:
    """All five filters of one row of shape (width, samples), as (5, width * samples)."""
    left, corner = np.zeros_like(row), np.zeros_like(row)
    left[1:], corner[1:] = row[:-1], above[:-1]
    guesses = (0, left, above, (left + above) // 2, _paeth(left, above, corner))
    return np.stack([(row - guess).astype(np.uint8).ravel() for guess in guesses])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encode(image: NDArray[np.uint8], *, row_filter: int | None = None) -> bytes:
    """Encode a picture as PNG.

    Parameters
    ----------
    image : ndarray of uint8
        Grey ``(H, W)``, RGB ``(H, W, 3)`` or RGBA ``(H, W, 4)``.
    row_filter : int, optional
        0 to 4, for every row. None takes, row by row, the one whose residue is smallest.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        Another dtype or shape, an empty picture, or a filter that PNG does not have.
    """
    image = np.asarray(image)
    kinds = {samples: kind for kind, samples in _COLOUR_TYPES.items()}
    samples = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or samples not in kinds:
        raise ValueError(
            f"a picture of shape {image.shape} and dtype {image.dtype} cannot be written; expected "
            "uint8 of shape (H, W), (H, W, 3) or (H, W, 4)"
        )
    if image.size == 0:
        raise ValueError(f"a picture of shape {image.shape} has no pixels")
    if row_filter is not None and not 0 <= row_filter < _FILTERS:
        raise ValueError(f"row_filter must be 0 to 4 or None, not {row_filter}")
    height, width = image.shape[:2]
    rows = image.reshape(height, width, samples).astype(np.int16)
    above = np.zeros_like(rows[0])
    body = bytearray()
    for row in rows:
        candidates = _filtered(row, above)
        if row_filter is None:
            # A residue near zero, read as a signed byte, is what deflate shortens best.
            best = int(abs(candidates.view(np.int8).astype(np.int32)).sum(axis=1).argmin())
        else:
            best = row_filter
        body.append(best)
        body += candidates[best].tobytes()
        above = row
    header = struct.pack(">IIBBBBB", width, height, 8, kinds[samples], 0, 0, 0)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(body), 9))
        + _chunk(b"IEND", b"")
    )


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks = []
    at = len(_SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError("the PNG file is cut short")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            raise ValueError(f"the PNG file is cut short inside its {kind!r} chunk")
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        if checksum != zlib.crc32(kind + body):
            raise ValueError(f"the PNG file is damaged: checksum of its {kind!r} chunk")
        chunks.append((kind, body))
        if kind == b"IEND":
            return chunks
        at += 12 + length
    raise ValueError("the PNG file is cut short: it has no end chunk")


def _read_header(body: bytes) -> tuple[int, int, int]:
    """Height, width and samples per pixel."""
    if len(body) != 13:
        raise ValueError("the PNG file is damaged: its header has the wrong length")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    if colour not in _COLOUR_TYPES or depth != 8:
        raise ValueError(
            f"PNG of colour type {colour} with {depth} bits per sample; this reader knows 8-bit "
            "grey, RGB and RGBA: convert the picture, or install Pillow"
        )
    if interlace:
        raise ValueError("interlaced PNG: save it without interlacing, or install Pillow")
    if compression or filtering:
        raise ValueError("the PNG file is damaged: unknown compression or filter method")
    if not 0 < width * height <= _MAX_PIXELS:
        raise ValueError(f"PNG of {width} x {height} pixels; expected 1 to {_MAX_PIXELS}")
    return height, width, _COLOUR_TYPES[colour]


def _restore_by_bytes(kind: int, row: bytes, above: bytes, samples: int) -> bytes:
    """Undoes Average (3) and Paeth (4), where each byte waits for the one to its left."""
    done = bytearray(samples) + row
    up = bytes(samples) + above
    for i in range(samples, len(done)):
        left, top, corner = done[i - samples], up[i], up[i - samples]
        if kind == 3:
            guess = (left + top) // 2
        else:
            to_left, to_top = abs(top - corner), abs(left - corner)
            to_corner = abs(left + top - 2 * corner)
            if to_left <= to_top and to_left <= to_corner:
                guess = left
            else:
                guess = top if to_top <= to_corner else corner
        done[i] = (done[i] + guess) & 255
    return bytes(done[samples:])


def _restore(rows: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    height, stride = rows.shape[0], rows.shape[1] - 1
    out = np.empty((height, stride), np.uint8)
    above = np.zeros(stride, np.uint8)
    for y in range(height):
        kind, row = int(rows[y, 0]), rows[y, 1:]
        if kind == 0:
            out[y] = row
        elif kind == 1:
            out[y] = np.cumsum(row.reshape(-1, samples), axis=0, dtype=np.uint8).ravel()
        elif kind == 2:
            out[y] = row + above
        elif kind < _FILTERS:
            restored = _restore_by_bytes(kind, row.tobytes(), above.tobytes(), samples)
            out[y] = np.frombuffer(restored, np.uint8)
        else:
            raise ValueError(f"the PNG file is damaged: row {y} has filter {kind}")
        above = out[y]
    return out


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a non-interlaced 8-bit PNG.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    ndarray of uint8
        ``(H, W)`` for grey, ``(H, W, 3)`` for RGB, ``(H, W, 4)`` for RGBA.

    Raises
    ------
    ValueError
        Not a PNG, a kind this reader does not know, or a damaged file.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG file: its first eight bytes are not PNG's")
    chunks = _chunks(data)
    if chunks[0][0] != b"IHDR":
        raise ValueError("the PNG file is damaged: it does not begin with a header")
    height, width, samples = _read_header(chunks[0][1])
    expected = height * (width * samples + 1)
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    try:
        # Bounded, so that a small file cannot ask for more memory than its picture has.
        plain = zlib.decompressobj().decompress(packed, expected + 1)
    except zlib.error as error:
        raise ValueError(f"the PNG file is damaged: {error}") from error
    if len(plain) != expected:
        raise ValueError(
            f"the PNG file is damaged: expected {expected} bytes of pixels, "
            f"found {'more' if len(plain) > expected else len(plain)}"
        )
    rows = np.frombuffer(plain, np.uint8).reshape(height, -1)
    shape = (height, width) if samples == 1 else (height, width, samples)
    return _restore(rows, samples).reshape(shape)


def write(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write `image`, as `encode` takes it, to `path`."""
    data = encode(image)
    with Path(path).open("wb") as file:
        file.write(data)


def read(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read the PNG at `path`, as `decode` does. OSError where there is no such file."""
    with Path(path).open("rb") as file:
        return decode(file.read())
