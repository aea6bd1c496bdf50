"""Not a byte is read or written outside the operands: each lies against an inaccessible page."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest

import c1x1

PAGE = mmap.PAGESIZE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")


class Guarded:
    """Memory between two pages that may not be touched."""

    def __init__(self, nbytes):
        self.pages = -(-nbytes // PAGE) + 1
        self.map = mmap.mmap(-1, (self.pages + 2) * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, self.pages + 1):
            address = ctypes.c_void_p(self.start + page * PAGE)
            assert libc.mprotect(address, ctypes.c_size_t(PAGE), 0) == 0

    def array(self, shape, dtype, *, at_end, offset=0):
        """An array whose first (last) byte is `offset` bytes from the forbidden page."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        usable = self.pages * PAGE
        start = usable - nbytes - offset if at_end else offset
        memory = np.frombuffer((ctypes.c_char * usable).from_address(self.start + PAGE), np.uint8)
        return memory[start : start + nbytes].view(dtype).reshape(shape)


CASES = [
    (1, 1),
    (3, 3),
    (3, 1),
    (4, 3),
    (5, 2),
    (12, 4),
    (16, 1),
    (17, 4),
    (33, 3),
    (8, 5),
    (20, 10),
    (7, 33),
    (64, 50),
]


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize(("c_in", "c_out"), CASES)
def test_guard_pages(isa, c_in, c_out, dtype, layout):
    w_dtype = np.float32 if dtype == np.uint8 else dtype
    guards = [Guarded(200 * c * 8) for c in (c_in, c_out)] + [
        Guarded(c_in * c_out * 8),
        Guarded(c_out * 8),
    ]
    for pixels in (1, 2, 7, 15, 33, 64, 101):
        for at_end in (False, True):
            last = layout == "WC"
            x = guards[0].array((pixels, c_in) if last else (c_in, pixels), dtype, at_end=at_end)
            out = guards[1].array(
                (pixels, c_out) if last else (c_out, pixels), w_dtype, at_end=at_end
            )
            w = guards[2].array((c_in, c_out) if last else (c_out, c_in), w_dtype, at_end=at_end)
            bias = guards[3].array((c_out,), w_dtype, at_end=at_end)
            x[...] = np.arange(x.size).reshape(x.shape) % 7
            w[...] = np.arange(w.size).reshape(w.shape) % 5
            bias[...] = np.arange(c_out)
            c1x1.conv(x, w, bias, out=out, layout=layout)
            want = np.tensordot(x if last else x.T, w if last else w.T, 1) + bias
            np.testing.assert_array_equal(out, want if last else want.T)
            layer = c1x1.Pointwise(w, bias, layout=layout)
            out[...] = 0
            layer(x, out=out)
            np.testing.assert_array_equal(out, want if last else want.T)


@pytest.mark.parametrize("offset", range(0, 64, 3))
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 3), (18, 2), (9, 21)])
def test_every_offset(isa, offset, c_in, c_out):
    x_guard, out_guard = Guarded(100 * c_in * 4 + 64), Guarded(100 * c_out * 4 + 64)
    w = (np.arange(c_in * c_out) % 5).reshape(c_in, c_out).astype(np.float32)
    for at_end in (False, True):
        x = x_guard.array((37, c_in), np.float32, at_end=at_end, offset=offset)
        out = out_guard.array((37, c_out), np.float32, at_end=at_end, offset=offset)
        x[...] = np.arange(x.size).reshape(x.shape) % 7
        c1x1.conv(x, w, out=out)
        np.testing.assert_array_equal(out, x @ w)
