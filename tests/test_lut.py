"""lut: an entry of the table in the place of each value of x, whatever the plan."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import c1x1
from c1x1 import _api

INDEX = ["uint8", "int8", "uint16", "int16"]
TABLES = ["float32", "float64", "float16", "uint8", "int16", "int64", "bool"]
CHANNELS = [(1, 1), (3, 3), (5, 9), (12, 4), (40, 2), (33, 20), (300, 5)]


def every_value(rng, shape, dtype):
    """Values from the whole range of dtype, its ends among them."""
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    x.flat[: min(2, x.size)] = [limits.min, limits.max][: min(2, x.size)]
    return x


def table_for(rng, index, rows, dtype="float32"):
    entries = 1 << 8 * np.dtype(index).itemsize
    return reference.image(rng, (entries,) if rows is None else (rows, entries), None, dtype, -3, 4)


def expected(x, w, table, layout=None, **options):
    return reference.conv(reference.looked_up(x, table, layout), w, layout=layout, **options)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("index", INDEX)
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_values_are_looked_up(isa, layout, index, per_channel, rng):
    for c_in, c_out in CHANNELS:
        x = every_value(rng, (7, 9, c_in) if layout == "HWC" else (c_in, 7, 9), index)
        table = table_for(rng, index, c_in if per_channel else None)
        w = rng.integers(-1, 2, (c_in, c_out)).astype(np.float32)
        given = reference.weights_for(w, layout)
        want = expected(x, w, table, layout)
        got = c1x1.conv(x, given, layout=layout, lut=table)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)
        layer = c1x1.Pointwise(given, layout=layout, lut=table, x_dtype=index)
        np.testing.assert_array_equal(layer(x), want)
        np.testing.assert_array_equal(layer(x, threads=3), want)


def test_every_role_looks_up(isa):
    """Lest a change of the plan empties the tests above."""
    roles = set()
    for layout, c_in, c_out in (("HWC", 3, 3), ("HWC", 33, 20), ("CHW", 33, 20), ("HWC", 40, 1)):
        x = np.zeros((7, 9, c_in) if layout == "HWC" else (c_in, 7, 9), np.uint8)
        w = reference.weights_for(np.zeros((c_in, c_out), np.float32), layout)
        roles.add(_api.plan(x, w, layout=layout, lut=np.zeros(256, np.float32))["role"])
    assert roles >= {"pixels_m", "pixels_n"}
    assert "small" in roles or isa == "scalar"  # which has such kernels for int64 only
    assert "dot" in roles or not isa.startswith("x86")  # others' costs choose otherwise


@pytest.mark.parametrize("index", ["int8", "int16"])
def test_signed_values_count_from_their_lowest(isa, index):
    limits = np.iinfo(index)
    x = np.arange(limits.min, limits.max + 1).astype(index)[:, None]
    table = np.arange(limits.max - limits.min + 1).astype(np.float32)
    np.testing.assert_array_equal(c1x1.conv(x, np.ones((1, 1), np.float32), lut=table)[:, 0], table)


@pytest.mark.parametrize("table_dtype", TABLES)
@pytest.mark.parametrize("w_dtype", ["float32", "float64", "float16", "int8", "int64"])
def test_the_table_takes_the_place_of_x_in_the_default_dtype(isa, table_dtype, w_dtype, rng):
    x = every_value(rng, (7, 9, 5), "uint8")
    table = table_for(rng, "uint8", None, table_dtype)
    w = reference.image(rng, (5, 6), None, w_dtype, -1, 2)
    values = reference.looked_up(x, table)
    got = c1x1.conv(x, w, lut=table)
    plain = c1x1.conv(values, w)
    assert got.dtype == plain.dtype
    np.testing.assert_array_equal(got, plain)
    np.testing.assert_array_equal(c1x1.Pointwise(w, lut=table)(x), plain)
    for dtype in ("float64", "float32", "int32"):
        got = c1x1.conv(x, w, lut=table, dtype=dtype)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected(x, w, table))


def test_entries_are_taken_bit_for_bit(isa, rng):
    """Also NaN, infinities and subnormals."""
    table = np.resize(np.array([np.nan, np.inf, -np.inf, 1e-45, -0.5], np.float32), 256)
    x = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    got = c1x1.conv(x, np.ones((1, 3), np.float32), lut=table)
    np.testing.assert_array_equal(got, np.repeat(table[x], 3, axis=-1))


@pytest.mark.parametrize("kind", ["fortran", "reversed", "every second", ">", "read-only"])
def test_table_of_any_strides(isa, kind, rng):
    x = every_value(rng, (4, 5, 3), "uint8")
    w = rng.integers(-1, 2, (3, 4)).astype(np.float32)
    plain = table_for(rng, "uint8", 3)
    table = {
        "fortran": np.asfortranarray,
        "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        ">": lambda a: a.astype(">f4"),
        "read-only": lambda a: np.broadcast_to(a[0], (3, 256)),
    }[kind](plain)
    np.testing.assert_array_equal(c1x1.conv(x, w, lut=table), expected(x, w, table))


@pytest.mark.parametrize("index", ["uint8", "int16"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "HCW"])
def test_groups_strides_and_views_of_x(isa, layout, per_channel, index, rng):
    for c_in, c_out, groups in ((2, 3, 3), (20, 5, 2), (40, 1, 2)):
        sizes = {"N": 2, "H": 5, "W": 11, "C": groups * c_in}
        whole = every_value(rng, [2 * sizes[a] for a in layout], index)
        table = table_for(rng, index, groups * c_in if per_channel else None)
        w = rng.integers(-1, 2, (c_in, groups * c_out)).astype(np.float32)
        given = reference.weights_for(w, layout)
        halves = (
            slice(None, None, 2),
            slice(None, None, -2),
            slice(1, None, 2),
            slice(None, None, 2),
        )
        views = [whole[halves[: len(layout)]]]
        views.append(np.ascontiguousarray(views[0]))
        views.append(np.asfortranarray(views[0]))
        for x in views:
            for stride in (1, (2, 3)):
                want = expected(x, w, table, layout, groups=groups, stride=stride)
                got = c1x1.conv(x, given, layout=layout, groups=groups, stride=stride, lut=table)
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_channels_that_are_one_in_memory_have_rows_of_their_own(isa, layout, groups, rng):
    """x repeats one plane by a stride of zero; the tables tell its channels apart."""
    for c_in, c_out in ((2, 2), (4, 9), (20, 3), (24, 40)):
        channels = groups * c_in
        plane = every_value(rng, (7, 9, 1) if layout == "HWC" else (1, 7, 9), "uint8")
        x = np.broadcast_to(plane, (7, 9, channels) if layout == "HWC" else (channels, 7, 9))
        table = table_for(rng, "uint8", channels)
        w = rng.integers(-1, 2, (c_in, groups * c_out)).astype(np.float32)
        given = reference.weights_for(w, layout)
        got = c1x1.conv(x, given, layout=layout, groups=groups, lut=table, threads=1)
        np.testing.assert_array_equal(got, expected(x, w, table, layout, groups=groups))


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("index", ["uint8", "int16"])
def test_with_the_whole_epilogue_and_nodata(isa, layout, index, rng):
    """nodata asks the values of x, not the table's."""
    for c_in, c_out in ((3, 3), (20, 9), (40, 2)):
        x = every_value(rng, (7, 9, c_in) if layout == "HWC" else (c_in, 7, 9), index)
        reference.channels_last(x, layout)[2, 3, c_in // 2] = 77
        table = table_for(rng, index, None)
        table[5] = 77  # an entry, not a value of x
        w = rng.integers(-1, 2, (c_in, c_out)).astype(np.float32)
        residual = rng.integers(-9, 10, c_out)
        shape = (1, 1, c_out) if layout == "HWC" else (c_out, 1, 1)
        want = reference.finished(
            expected(x, w, table, layout), 2, 1, residual.reshape(shape), layout
        )
        want = np.maximum(want, 0)
        reference.channels_last(want, layout)[
            (reference.channels_last(x, layout) == 77).any(axis=-1)
        ] = 77
        got = c1x1.conv(x, reference.weights_for(w, layout), 1, layout=layout, lut=table, scale=2,
                        residual=residual.reshape(shape), activation="relu", nodata=77)  # fmt: skip
        np.testing.assert_array_equal(got, want)


def test_out_overlaps_x(isa, rng):
    memory = every_value(rng, (7, 9, 16), "uint8")
    x = memory[..., :4].copy()
    w = rng.integers(-1, 2, (4, 4)).astype(np.float32)
    table = table_for(rng, "uint8", 4)
    want = expected(x, w, table)
    out = memory.view(np.float32)
    memory[..., :4] = x
    c1x1.conv(memory[..., :4], w, lut=table, out=out)
    np.testing.assert_array_equal(out, want)
    square = every_value(rng, (7, 9, 4), "uint8")
    want = reference.saturated(expected(square, w, table), "uint8")
    c1x1.conv(square, w, lut=table, dtype="uint8", out=square)
    np.testing.assert_array_equal(square, want)


def test_out_overlaps_the_table(isa, rng):
    x = every_value(rng, (8, 8, 4), "uint8")
    w = rng.integers(-1, 2, (4, 4)).astype(np.float32)
    for rows in (None, 4):
        table = table_for(rng, "uint8", rows)
        want = expected(x, w, table)
        out = table.reshape(-1)[:256].reshape(8, 8, 4)
        np.testing.assert_array_equal(c1x1.conv(x, w, lut=table, out=out), want)


def test_one_layer_takes_images_of_any_index_dtype_that_fits(isa, rng):
    """Entries are as many for signed as for unsigned."""
    table = table_for(rng, "uint8", None)
    w = rng.integers(-1, 2, (30, 20)).astype(np.float32)
    layer = c1x1.Pointwise(w, lut=table)
    for index in ("uint8", "int8", "uint8"):
        x = every_value(rng, (5, 6, 30), index)
        np.testing.assert_array_equal(layer(x), expected(x, w, table))
