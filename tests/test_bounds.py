"""Not a byte is read or written outside the operands: each lies against an inaccessible page."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest
import reference

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
            # Of copies: OpenBLAS for 64-bit ARM reads beyond its operands.
            want = np.tensordot(*(a.copy() if last else a.T.copy() for a in (x, w)), 1) + bias
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
        np.testing.assert_array_equal(out, x.copy() @ w)


EPILOGUES = [(1, 1), (3, 3), (5, 2), (12, 4), (17, 4), (20, 10), (7, 33), (200, 9)]


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("c_in", "c_out"), EPILOGUES)
def test_guard_pages_of_what_follows_the_sums(isa, c_in, c_out, dtype, layout):
    """scale, bias, slopes and the residual, in the compute dtype and in one that is converted."""
    is_last = layout == "WC"
    guards = [Guarded(120 * c * 8) for c in (c_in, c_out, c_out)]
    guards += [Guarded(c_out * 8) for _ in range(3)]
    w = (np.arange(c_in * c_out) % 5 - 2).reshape(c_in, c_out).astype(dtype)
    for pixels in (1, 7, 16, 33, 101):
        for at_end, residual_dtype in ((False, dtype), (True, dtype), (False, "i2"), (True, "i2")):

            def lay(guard, channels, dtype, pixels=pixels, at_end=at_end):
                shape = (pixels, channels) if is_last else (channels, pixels)
                return guard.array(shape, dtype, at_end=at_end)

            x, out = lay(guards[0], c_in, dtype), lay(guards[1], c_out, dtype)
            residual = lay(guards[2], c_out, residual_dtype)
            scale, bias, slopes = (g.array((c_out,), dtype, at_end=at_end) for g in guards[3:])
            x[...] = np.arange(x.size).reshape(x.shape) % 7
            residual[...] = np.arange(x.size, x.size + residual.size).reshape(residual.shape) % 11
            scale[...], bias[...], slopes[...] = 2, np.arange(c_out), np.arange(c_out) % 3
            terms = {"scale": scale, "activation": ("prelu", slopes), "layout": layout}
            given = w if is_last else np.ascontiguousarray(w.T)
            want = 2 * ((x if is_last else x.T).copy() @ w) + bias
            want = want + (residual if is_last else residual.T)
            want = np.where(want > 0, want, want * slopes)
            want = want if is_last else want.T
            c1x1.conv(x, given, bias, residual=residual, out=out, **terms)
            np.testing.assert_array_equal(out, want)
            if residual_dtype is dtype:
                c1x1.conv(x, given, bias, residual=residual, out=residual, **terms)
                np.testing.assert_array_equal(residual, want)


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("index", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("rows", ["shared", "per channel"])
def test_guard_pages_of_tables(isa, rows, index, layout):
    """The first and the last entry are those that the ends of the index dtype ask for."""
    limits = np.iinfo(index)
    entries = int(limits.max) - int(limits.min) + 1
    for c_in, c_out in ((1, 1), (3, 3), (20, 10)):
        shape = (entries,) if rows == "shared" else (c_in, entries)
        guard, x_guard = Guarded(int(np.prod(shape)) * 4), Guarded(41 * c_in * 2)
        w = (np.arange(c_in * c_out) % 5 - 2).reshape(c_in, c_out).astype(np.float32)
        for at_end in (False, True):
            table = guard.array(shape, np.float32, at_end=at_end)
            table[...] = np.arange(table.size).reshape(shape) % 7
            x_shape = (41, c_in) if layout == "WC" else (c_in, 41)
            x = x_guard.array(x_shape, index, at_end=at_end)
            x[...] = np.resize([limits.min, limits.max, limits.max - 1, limits.min + 1], x_shape)
            want = reference.conv(reference.looked_up(x, table, layout), w, layout=layout)
            got = c1x1.conv(x, reference.weights_for(w, layout), layout=layout, lut=table)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", ["WC", "CW"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (3, 3), (20, 10), (40, 1)])
def test_guard_pages_where_nodata_is_searched(isa, c_in, c_out, dtype, layout):
    guard, out_guard = Guarded(101 * c_in * 8), Guarded(101 * c_out * 4)
    w = reference.weights_for(np.ones((c_in, c_out), np.float32), layout)
    for pixels in (1, 7, 33, 101):
        for at_end in (False, True):
            shapes = [(pixels, c) if layout == "WC" else (c, pixels) for c in (c_in, c_out)]
            x = guard.array(shapes[0], dtype, at_end=at_end)
            x[...] = np.arange(x.size).reshape(x.shape) % 7
            out = out_guard.array(shapes[1], np.float32, at_end=at_end)
            c1x1.conv(x, w, layout=layout, nodata=6, out=out, dtype=np.float32)
            last = reference.channels_last(x, layout)
            want = np.where((last == 6).any(axis=-1), 6, last.astype(np.float64).sum(axis=-1))
            want = np.repeat(want[..., None], c_out, axis=-1)
            np.testing.assert_array_equal(reference.channels_last(out, layout), want)
