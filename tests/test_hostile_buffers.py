"""Buffers that nobody sends in good faith: the right answer or an error that says why, no crash.

CPython's own `_testbuffer.ndarray` exports any shape, strides, suboffsets and format; the array
interface takes whatever a dict says. C1X1_EXAMPLES sets how many are tried.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import c1x1

_testbuffer = pytest.importorskip("_testbuffer", reason="this Python lacks _testbuffer")

ERRORS = (TypeError, ValueError, BufferError)
MANY = settings(
    max_examples=int(os.environ.get("C1X1_EXAMPLES", "300")),
    deadline=None,
    derandomize="C1X1_EXAMPLES" not in os.environ,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
FORMATS = ["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "?", "c", "@h", "=i"]
FORMATS += ["<f", ">f", ">d", ">h", "<q", "n", "N", "3s", "2f", "xf", "P"]


@st.composite
def exported(draw, max_items=400):
    """A `_testbuffer.ndarray`, and what NumPy sees in it, or None."""
    letter = draw(st.sampled_from(FORMATS))
    shape = draw(st.lists(st.integers(0, 6), min_size=0, max_size=4))
    count = int(np.prod(shape, dtype=int)) if shape else 1
    size = 1
    if letter not in ("3s", "2f", "xf", "P", "c"):
        size = np.dtype(letter.replace("@", "")).itemsize
    value = b"a" if letter == "c" else True if letter == "?" else 3
    is_plain = letter not in ("3s", "2f", "xf")
    item = (
        value if is_plain else b"abc" if letter == "3s" else (1.0, 2.0) if letter == "2f" else 1.0
    )
    flags = draw(st.sampled_from([0, _testbuffer.ND_WRITABLE, _testbuffer.ND_FORTRAN,
                                  _testbuffer.ND_PIL]))  # fmt: skip
    numbers = draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    items = [numbers[i % len(numbers)] if item == 3 else item for i in range(max(count, 1))]
    try:
        if draw(st.booleans()) and shape and count:
            # Strides of any sign within the memory, overlapping rows included.
            strides = [draw(st.sampled_from([size, -size, 2 * size, 0])) for _ in shape]
            low = sum(s * (n - 1) for s, n in zip(strides, shape, strict=True) if s < 0)
            high = sum(s * (n - 1) for s, n in zip(strides, shape, strict=True) if s > 0)
            length = (high - low) // size + 1
            items = (items * length)[:length]
            order = _testbuffer.ND_FORTRAN
            made = _testbuffer.ndarray(items, shape=shape, strides=strides, offset=-low,
                                       format=letter, flags=flags & ~order)  # fmt: skip
        else:
            made = _testbuffer.ndarray(items[: max(count, 1)], shape=shape, format=letter,
                                       flags=flags)  # fmt: skip
    except ERRORS:
        return None, None
    try:
        seen = np.asarray(made)
    except ERRORS:
        seen = None
    return made, seen


def check_overflow(warning):
    """NumPy's word on a bias that float32 cannot hold."""
    assert "overflow encountered in cast" in str(warning)


def check_text(error):
    """An error that says nothing helps nobody."""
    if not str(error):
        raise AssertionError(f"{type(error).__name__} without a message") from error


def agrees(y, x, w):
    """Whether y is the product, by NumPy in whole numbers or in float64."""
    wide = np.int64 if x.dtype.kind in "biu" and w.dtype.kind in "biu" else np.float64
    want = np.tensordot(x.astype(wide), w.astype(wide), axes=([-1], [0]))
    return y.shape == want.shape and np.array_equal(y.astype(wide), want)


@MANY
@given(exported(), exported())
def test_any_buffer_is_computed_or_refused(first, second):
    x, x_seen = first
    w, w_seen = second
    if x is None or w is None:
        return
    w_given = w
    are_arrays = w_seen is not None and x_seen is not None and x_seen.ndim and w_seen.size
    if are_arrays and w_seen.ndim == 2 and w_seen.shape[0] != x_seen.shape[-1]:
        # Else hardly a pair would fit.
        w_given = w_seen = np.ones((x_seen.shape[-1], 2), np.int8)
    counts = sys.getrefcount(x), sys.getrefcount(w_given)
    try:
        y = c1x1.conv(x, w_given)
    except ERRORS as error:
        check_text(error)
        y = None
    if y is not None:
        assert x_seen is not None
        if w_seen.ndim <= 2 and w_seen.shape[0] == x_seen.shape[-1]:
            assert agrees(y, x_seen, w_seen)
    assert (sys.getrefcount(x), sys.getrefcount(w_given)) == counts


@MANY
@given(exported(), st.booleans())
def test_any_buffer_as_out_is_written_or_left(target, is_wrapped):
    """`out` must be an array; one over such a buffer is written if it fits, else left as it is."""
    made, seen = target
    if made is None or (is_wrapped and seen is None):
        return
    before = None if seen is None else seen.copy()
    out = seen if is_wrapped else made
    x = np.ones((*(seen.shape[:-1] if seen is not None and seen.ndim else (2,)), 3), np.float32)
    w = np.ones((3, seen.shape[-1] if seen is not None and seen.ndim else 2), np.float32)
    try:
        c1x1.conv(x, w, out=out)
    except ERRORS as error:
        check_text(error)
        if before is not None:
            np.testing.assert_array_equal(seen, before)
    else:
        np.testing.assert_array_equal(np.asarray(seen, np.float64), 3)


ANYTHING = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4),
    st.binary(max_size=8), st.lists(st.integers(-9, 9), max_size=3), st.tuples(st.integers()),
    st.just(object()), st.just(np.ones(3)), st.just(np.float32(2)), st.complex_numbers(),
)  # fmt: skip


KEYWORDS = [
    "bias", "layout", "stride", "groups", "scale", "residual", "activation", "lut", "nodata", "out",
    "dtype", "precision", "reproducible", "threads",
]  # fmt: skip


class Interface:
    """An object whose __array_interface__ is whatever was drawn; the memory behind it is real."""

    memory = np.zeros(4096, np.uint8)

    def __init__(self, given):
        self.__array_interface__ = given


@MANY
@given(
    # Nobody can tell sizes and strides that lie about the memory: those of the right form stay
    # within it, or are larger than any.
    shape=st.one_of(
        st.tuples(st.integers(-1, 5), st.integers(-1, 5)),
        st.tuples(st.integers(min_value=2**63)),
        ANYTHING.filter(lambda given: not isinstance(given, tuple)),
    ),
    typestr=st.sampled_from(["<f4", ">f8", "|u1", "<i2", "|O", "|V8", "<M8[s]", "<U2", "?", "", 7]),
    strides=st.one_of(
        st.none(),
        st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
        ANYTHING.filter(lambda given: not isinstance(given, tuple)),
    ),
    version=st.sampled_from([3, 2, None, "3"]),
)
def test_any_array_interface_is_computed_or_refused(shape, typestr, strides, version):
    address = Interface.memory.ctypes.data + 2048
    x = Interface(
        {
            "shape": shape,
            "typestr": typestr,
            "data": (address, False),
            "strides": strides,
            "version": version,
        }
    )
    try:
        seen = np.asarray(x)
    except Exception:
        seen = None
    try:
        y = c1x1.conv(x, np.ones((3, 2), np.float32))
    except ERRORS as error:
        check_text(error)
    else:
        assert seen is not None
        assert seen.shape[-1] == 3
        assert not np.asarray(y).any()


@MANY
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(KEYWORDS, ANYTHING),
    )
)  # fmt: skip
def test_any_keyword_is_taken_or_refused(keywords):
    x, w = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    try:
        y = c1x1.conv(x, w, **keywords)
    except ERRORS as error:
        check_text(error)
    except RuntimeWarning as warning:
        check_overflow(warning)
    else:
        assert isinstance(y, np.ndarray)
        assert y.shape == ((2 if keywords.get("stride", 1) in (1, (1,), [1]) else 1), 2)
