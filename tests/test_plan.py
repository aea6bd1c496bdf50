"""The plan is a pure function of problem and machine, and chooses as documented; no kernel runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from c1x1 import _api, _core, _kernels

SHAPES = {
    k: v
    for k, v in json.loads((Path(__file__).parent.parent / "bench/shapes.json").read_text()).items()
    if k != "_"
}
CUT_WEIGHTS = 768 << 10  # bytes of pieces that a matrix unit reads in one call
MACHINE = {"isa": "x86_avx2", "l1_bytes": 32 << 10, "l2_bytes": 512 << 10, "threads": 1}
ISAS = list(dict.fromkeys(name for name, _, _ in _core.isas()))

needs_x86 = pytest.mark.skipif("x86_avx2" not in ISAS, reason="a build for x86-64")


def empty(shape, dtype, beyond):
    """An array that begins so many bytes beyond a cache line: a plan may look at that."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 128, np.uint8)
    first = -memory.ctypes.data % 64 + beyond
    return memory[first : first + size].view(dtype).reshape(shape)


def plan(shape, layout="last", machine=MACHINE, dtype=np.float32, beyond=0, **keywords):
    n, h, w, c_in, c_out = shape
    x = empty((n, h, w, c_in) if layout == "last" else (n, c_in, h, w), dtype, beyond)
    weights = np.empty((c_in, c_out) if layout == "last" else (c_out, c_in), dtype)
    return _api.plan(
        x, weights, layout="NHWC" if layout == "last" else "NCHW", machine=machine, **keywords
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("name", SHAPES)
def test_plan_is_sound(name, threads, layout, isa):
    """For any machine, also one that this CPU is not."""
    machine = MACHINE | {"isa": isa, "threads": threads}
    p = plan(SHAPES[name], layout, machine)
    assert p == plan(SHAPES[name], layout, machine)
    n, h, w, c_in, c_out = SHAPES[name]
    assert p["outer"] * p["m"] * p["n"] == n * h * w * c_out
    assert p["k"] == c_in
    n_blocks = -(-p["n"] // p["nc"])
    assert p["outer"] * -(-p["m"] // p["mc"]) * n_blocks == p["blocks"]
    assert -(-p["blocks"] // p["grain"]) == p["tasks"]
    assert 1 <= p["threads"] <= min(threads, p["tasks"])
    assert p["mc"] == p["m"] or p["mc"] % p["mr"] == 0
    assert p["nc"] == p["n"] or p["nc"] % p["nr"] == 0
    assert p["kc"] == p["k"] or p["kc"] % p["piece"] == 0 or p["chains"] > 1
    assert p["thread_bytes"] <= (1 << 20) + (CUT_WEIGHTS if p["unit"] else 0)
    assert p["chains"] == (16 if c_out <= 4 and c_in >= 16 else 1)
    rows = {
        (r["kind"], r["m"], r["n"] * (r["vl"] if r["kind"] == "tile" else 1))
        for r in _kernels.kernels()
        if r["is_full"] and r["name"] == p["isa"] and r["dtype"] == p["compute"]
    }
    if p["role"] == "small":
        assert (p["k"], p["m"]) == (c_in, c_out)
    else:
        assert ("dot" if p["role"] == "dot" else "tile", p["mr"], p["nr"]) in rows


@needs_x86
@pytest.mark.parametrize(
    ("name", "layout", "want"),
    [
        (
            "r50-56-64-256",
            "last",
            {"role": "pixels_m", "a": "in_place", "is_direct": True, "mr": 6, "nr": 16},
        ),
        ("mbv2-56-144-24", "last", {"role": "pixels_m", "a": "in_place", "is_direct": True}),
        (
            "ng-28x28x192-1",
            "last",
            {"role": "dot", "a": "in_place", "is_direct": True, "chains": 16},
        ),
        ("ng-28x28x192-1", "first", {"role": "pixels_n", "b": "in_place", "chains": 16}),
        ("ccm-1080p", "last", {"role": "small", "b": "in_place", "is_direct": True}),
        ("sentinel2-1024-12-4", "last", {"role": "small", "b": "in_place", "is_direct": True}),
        (
            "ccm-1080p",
            "first",
            {"role": "pixels_n", "a": "in_place", "b": "in_place", "is_direct": True},
        ),
        ("r50-56-64-256", "first", {"role": "pixels_n", "a": "in_place", "is_direct": True}),
        ("r50-7-512-2048", "last", {"b": "pack_block", "order": "rows_outside"}),
    ],
)
def test_choices_that_are_meant(name, layout, want):
    p = plan(SHAPES[name], layout)
    assert {key: p[key] for key in want} == want


@needs_x86
def test_few_channels_with_gaps_take_the_general_way():
    """Also sixteen channels, whose order of summation is another."""
    assert plan([1, 40, 50, 15, 4])["role"] == "small"
    assert plan([1, 40, 50, 16, 4])["role"] != "small"
    x = np.empty((40, 50, 4), np.float32)[..., :3]
    assert _api.plan(x, np.empty((3, 3), np.float32), machine=MACHINE)["role"] != "small"


@needs_x86
def test_few_pixels_take_weights_as_they_lie():
    """In panels as wide as the tile is low; packing them would take longer than multiplying."""
    for pixels, nr in ((1, 96), (2, 48), (3, 32), (4, 24), (6, 16), (8, 24), (12, 16), (36, 16)):
        p = plan([1, 1, pixels, 500, 500])
        assert (p["b"], p["nr"], p["thread_bytes"]) == ("in_place", nr, 0)
        assert p["order"] == "panels_outside"
    assert plan([1, 1, 37, 500, 500])["b"] == "pack_block"
    # Rows of weights a page, or half a page, apart push each other out of L1.
    assert plan([1, 1, 24, 512, 512])["b"] == "in_place"
    assert plan([1, 1, 25, 512, 512])["b"] == "pack_block"
    assert plan([1, 1, 6, 1024, 1024])["b"] == "in_place"
    assert plan([1, 1, 7, 1024, 1024])["b"] == "pack_block"


@needs_x86
def test_rows_of_pixels_beyond_l2_are_fetched_ahead():
    assert plan([1, 512, 512, 224, 16])["fetches_x"]
    assert plan([1, 512, 512, 224, 1])["fetches_x"]
    assert not plan([1, 16, 16, 224, 16])["fetches_x"]  # in L2
    assert not plan([1, 512, 512, 63, 16])["fetches_x"]  # the hardware foresees short rows
    assert not plan([1, 512, 512, 127, 1])["fetches_x"]
    assert not plan([1, 512, 512, 224, 16], "first")["fetches_x"]  # packed
    assert plan([1, 500, 500, 224, 16], "first")["fetches_x"]
    assert not plan([1, 56, 56, 64, 5], "first")["fetches_x"]  # not from memory
    assert not plan([1, 512, 512, 224, 16], stride=2)["fetches_x"]  # half would be in vain
    assert not plan([1, 512, 512, 224, 16], dtype=np.uint8)["fetches_x"]  # packed


@needs_x86
def test_long_sums_over_pixels_in_place_are_cut_late():
    """Where weights need not be packed, or are so as wide as they are."""
    assert plan([1, 14, 14, 1024, 16])["kc"] == 1024
    wide = plan([1, 20, 20, 3000, 400])
    assert (wide["nc"], wide["kc"] % wide["piece"]) == (400, 0)
    assert wide["nc"] * wide["kc"] * 4 <= 768 << 10
    assert plan([1, 14, 14, 1024, 16], dtype=np.uint8)["kc"] < 1024


def test_long_sums_leave_room_for_rows_of_pixels():
    """Else threads shared out pixels that are too few, and each of them packed all the weights."""
    p = plan([1, 1, 24, 4096, 24], machine=MACHINE | {"isa": "scalar", "threads": 2})
    assert (p["mc"], p["nc"]) == (24, 12)


@needs_x86
def test_planes_that_few_rows_of_tiles_read_stay_where_they_are():
    def b(*shape):
        return plan([1, *shape], "first")["b"]

    assert b(112, 112, 32, 16) == "in_place"
    assert b(112, 112, 32, 32) == "pack_block"
    assert b(128, 128, 32, 16) == "pack_block"  # their lines share sets of L1
    assert b(600, 599, 32, 16) == "pack_block"  # from memory, in too many streams
    assert b(600, 599, 16, 24) == "in_place"
    assert b(600, 599, 16, 26) == "pack_block"  # and too often
    assert b(128, 128, 4, 80) == "in_place"  # few enough for a set
    # In L2 they do for more rows of tiles.
    assert b(20, 20, 64, 32) == "in_place"
    assert b(20, 20, 64, 128) == "pack_block"
    # And where planes outweigh the results, there and in L3.
    assert (b(20, 20, 128, 64), b(20, 20, 127, 64)) == ("in_place", "pack_block")
    assert (b(56, 56, 96, 48), b(56, 56, 95, 48)) == ("in_place", "pack_block")
    assert (b(28, 28, 256, 48), b(28, 28, 256, 49)) == ("in_place", "pack_panel")
    # One row of tiles reads them where they lie, unless their lines share sets of L2, too.
    assert b(300, 300, 200, 5) == "in_place"
    assert b(512, 512, 200, 5) == "pack_block"
    assert b(512, 512, 16, 5) == "in_place"
    # Planes from memory outweigh the results of few filters.
    assert b(300, 299, 64, 16) == "in_place"
    assert b(300, 299, 63, 16) == "pack_block"
    assert b(300, 299, 128, 32) == "pack_block"


@needs_x86
def test_weights_that_are_packed_in_parts_serve_many_pixels():
    p = plan([1, 100, 100, 2048, 512])
    assert p["kc"] < p["k"]
    assert p["mc"] >= 1000


@needs_x86
def test_few_planes_are_read_by_one_strip_after_the_other():
    """So that one call goes along the results, as they lie in memory."""

    def order(*shape):
        return plan([1, *shape], "first")["order"]

    assert order(100, 100, 2, 6) == "rows_outside"
    assert order(100, 100, 32, 12) == "rows_outside"
    assert order(100, 100, 43, 12) == "panels_outside"
    assert order(100, 100, 2, 3) == "panels_outside"  # one strip


@needs_x86
def test_results_of_many_planes_are_written_along_memory():
    def order(*shape):
        p = plan([1, *shape], "first")
        return p["b"], p["order"]

    strips, panels = ("pack_block", "rows_outside"), ("pack_panel", "panels_outside")
    assert order(56, 56, 64, 256) == strips
    assert order(28, 28, 512, 512) == strips
    assert order(28, 28, 191, 64) == strips  # copying is not worth hiding
    assert order(28, 28, 192, 64) == panels
    assert order(28, 28, 192, 97) == strips
    assert order(28, 28, 1024, 64) == panels
    assert order(32, 32, 192, 64) == strips  # lines that share sets of L2
    assert plan([1, 28, 28, 1024, 512], "first")["a"] == "in_place"


@needs_x86
def test_planes_in_place_are_read_line_by_line():
    """NumPy's arrays begin where malloc lets them: a first block ends at the first line."""

    def head(*shape, beyond=16, **keywords):
        p = plan([*shape], "first", beyond=beyond, **keywords)
        before = int(p["head"] > 0)
        assert p["blocks"] == p["outer"] * (before - (p["head"] - p["n"]) // p["nc"])
        return p["head"]

    assert head(1, 112, 112, 64, 2) == 12
    assert head(1, 112, 112, 32, 16, beyond=60) == 1
    assert head(1, 112, 112, 64, 2, dtype=np.float64, beyond=8) == 7
    assert head(8, 112, 112, 32, 5) == 12
    assert head(1, 112, 112, 64, 2, beyond=0) == 0
    assert head(1, 28, 28, 64, 2) == 0  # too little to gain
    assert head(1, 111, 111, 64, 2) == 0  # every plane begins elsewhere
    assert head(1, 112, 112, 64, 64) == 0  # packed
    assert head(1, 112, 112, 64, 2, machine=MACHINE | {"isa": "scalar"}) == 0


@needs_x86
def test_planes_of_few_filters_are_read_in_runs():
    def in_runs(*shape):
        return plan([1, *shape], "first")["sweep"] == "runs"

    assert in_runs(32, 32, 64, 2)  # their lines share sets of L1
    assert not in_runs(32, 32, 63, 2)
    assert not in_runs(24, 26, 192, 2)
    assert in_runs(28, 28, 192, 4)
    assert in_runs(100, 99, 128, 2)  # from beyond L2
    assert not in_runs(28, 27, 128, 2)
    assert not in_runs(500, 499, 64, 2)
    assert not in_runs(32, 32, 64, 5)


@needs_x86
def test_planes_of_one_filter_are_read_in_runs_that_are_worth_it():
    def in_runs(*shape):
        return plan([1, *shape], "first")["sweep"] == "runs"

    assert in_runs(28, 28, 192, 1)  # more than stays in L2
    assert not in_runs(14, 14, 192, 1)
    assert in_runs(16, 16, 64, 1)  # sums of four channels each, folded in registers
    assert not in_runs(15, 17, 64, 1)
    assert in_runs(200, 199, 32, 1)
    assert not in_runs(200, 199, 33, 1)
    assert in_runs(56, 56, 100, 1)
    assert not in_runs(28, 28, 100, 1)
    # Kernels of single elements have none.
    scalar = plan([1, 28, 28, 192, 1], "first", machine=MACHINE | {"isa": "scalar"})
    assert scalar["sweep"] == "columns"


@needs_x86
def test_few_planes_of_few_filters_are_read_all_at_once():
    def sweep(*shape):
        return plan([1, *shape], "first")["sweep"]

    assert sweep(56, 56, 32, 4) == "columns"
    assert sweep(56, 56, 33, 4) == "quarters"
    assert sweep(500, 500, 20, 2) == "columns"  # from memory: streams that the hardware foresees
    assert sweep(500, 500, 21, 2) == "quarters"


@needs_x86
def test_threads_share_out_the_weights_of_few_pixels():
    p = plan([1, 1, 8, 2000, 1000], machine=MACHINE | {"threads": 2})
    assert (p["b"], p["mc"], p["blocks"]) == ("in_place", 8, 2)


@needs_x86
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize(
    "shape",
    [
        [7, 7, 512, 2048],
        [14, 14, 512, 2048],
        [28, 28, 512, 128],
        [28, 28, 192, 64],
        [31, 33, 300, 300],
    ],
)
def test_few_blocks_are_shared_out_evenly(shape, threads, layout):
    p = plan([1, *shape], layout, machine=MACHINE | {"threads": threads})
    busiest = -(-p["blocks"] // threads) * p["mc"] * p["nc"]
    assert busiest * threads <= 1.15 * p["m"] * p["n"]


@needs_x86
def test_one_pixel_of_planes_does_not_turn_the_weights():
    for c_in, c_out in ((2048, 1000), (7, 2000), (14, 1639), (3, 64)):
        p = plan([1, 1, 1, c_in, c_out], "first")
        assert (p["role"], p["b"]) == ("pixels_n", "in_place")


@needs_x86
def test_one_pixel_of_planes_meets_whole_rows_of_weights():
    machine = MACHINE | {"threads": 1}
    for k in (64, 2048, 100_000):
        one = plan([1, 1, 1, k, 1000], "first", machine=machine)
        assert (one["a"], one["b"], one["kc"]) == ("in_place", "in_place", k)
        assert one["thread_bytes"] == 0
        assert one["mc"] * k <= 2**20 or one["mc"] == 4 * one["mr"]
    # Channels far apart are brought together first.
    apart = np.ones((1, 2048, 3, 3), np.float32)[:, :, 1:2, 1:2]
    w = np.ones((1000, 2048), np.float32)
    assert _api.plan(apart, w, layout="NCHW", machine=machine)["b"] == "pack_block"


@needs_x86
def test_conversion_packs_pixels():
    assert plan([1, 56, 56, 64, 64], dtype=np.uint8)["a"] == "pack_block"
    assert plan([1, 56, 56, 64, 64], dtype=np.float64)["compute"] == "float64"


@needs_x86
def test_pixels_are_visited_as_the_operand_of_more_channels_lies():
    def plan_of(view, c_in, c_out):
        x = view(np.empty((c_in, 100, 90), np.float32))
        return _api.plan(x, np.empty((c_out, c_in), np.float32), layout="CHW", machine=MACHINE)

    plain = {c: plan_of(lambda x: x, *c) for c in [(64, 8), (8, 64)]}
    for view in [
        lambda x: x[:, ::-1, ::-1],
        lambda x: x[:, :, ::-1],
        lambda x: x.transpose(0, 2, 1),
    ]:
        many_in, many_out = plan_of(view, 64, 8), plan_of(view, 8, 64)
        assert many_in["b"] == plain[64, 8]["b"] == "in_place"
        assert not many_in["is_direct"]
        assert many_out["is_direct"]
        assert many_out["b"] == "pack_block"


@needs_x86
def test_stride_reads_pixels_in_place_where_rows_are_long():
    assert plan([1, 56, 56, 64, 64], stride=2)["a"] == "in_place"
    gathered = plan([1, 14, 14, 64, 64], stride=2)
    assert gathered["is_gathered"] == (gathered["a"] == "pack_block")


def test_small_work_stays_on_one_thread():
    many = MACHINE | {"isa": "scalar", "threads": 64}
    assert plan([1, 4, 4, 8, 8], machine=many)["threads"] == 1
    assert plan([1, 224, 224, 64, 64], machine=many)["threads"] > 8


def test_a_thread_limit_is_never_exceeded():
    for limit in (1, 2, 3, 7):
        machine = MACHINE | {"isa": "scalar", "threads": limit}
        assert plan([4, 56, 56, 64, 64], machine=machine)["threads"] <= limit


@pytest.mark.parametrize("k", [1, 100, 160, 161, 512, 1025, 5000, 65536, 1 << 20])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize("c_out", [1, 3, 8, 300])
def test_workspace_is_bounded_for_any_number_of_channels(k, layout, dtype, c_out):
    """At most 1 MiB a thread, whatever the strides, beside packed weights."""
    if k * c_out > 1 << 23:
        pytest.skip("weights of more than 64 MB")
    x = np.broadcast_to(np.zeros((), dtype), (1, 9, 9, k) if layout == "last" else (1, k, 9, 9))
    w_dtype = np.int64 if dtype == np.int64 else np.float32
    w = np.broadcast_to(np.zeros((), w_dtype), (k, c_out) if layout == "last" else (c_out, k))
    p = _api.plan(
        x, w, layout="NHWC" if layout == "last" else "NCHW", machine=MACHINE | {"isa": "scalar"}
    )
    weights = k * c_out * (4 if p["compute"] == "float32" else 8)
    assert p["thread_bytes"] <= (1 << 20) + weights


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("name", SHAPES)
def test_workspace_is_bounded_with_all_that_follows_the_sums(name, layout, isa):
    """The residual waits beside the sums, flags tell pixels without data: still 1 MiB a thread."""
    n, h, w, _, c_out = SHAPES[name]
    machine = MACHINE | {"isa": isa, "threads": 2}
    shape = (n, h, w, c_out) if layout == "last" else (n, c_out, h, w)
    terms = {"scale": 2.0, "activation": "silu", "nodata": 0}
    for dtype in (np.uint8, np.float32, np.float64):
        for residual_dtype in (np.float32, np.float64):
            terms["residual"] = np.broadcast_to(np.zeros((), residual_dtype), shape)
            p = plan(SHAPES[name], layout, machine, dtype, **terms)
            assert p["thread_bytes"] <= (1 << 20) + (CUT_WEIGHTS if p["unit"] else 0)
    table = np.broadcast_to(np.float32(0), (256,))
    p = plan(SHAPES[name], layout, machine, np.uint8, lut=table, **terms)
    assert p["thread_bytes"] <= (1 << 20) + (CUT_WEIGHTS if p["unit"] else 0)


@pytest.mark.parametrize("k", [1, 3, 17, 160, 161, 1025, 65536])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("c_out", [1, 3, 8, 100])
def test_workspace_with_residual_and_nodata_is_bounded_for_any_number_of_channels(
    k, layout, dtype, c_out
):
    shape = (1, 300, 301, k, c_out)
    x_shape = (1, 300, 301, k) if layout == "last" else (1, k, 300, 301)
    x = np.broadcast_to(np.zeros((), dtype), x_shape)
    w = np.broadcast_to(np.float32(0), (k, c_out) if layout == "last" else (c_out, k))
    out_shape = (*shape[:3], c_out) if layout == "last" else (1, c_out, 300, 301)
    residual = np.broadcast_to(np.float16(0), out_shape)
    terms = {"layout": "NHWC" if layout == "last" else "NCHW", "scale": 3.0}
    for isa in ISAS:
        for l2_bytes in (256 << 10, 2 << 20):
            terms["machine"] = MACHINE | {"isa": isa, "l2_bytes": l2_bytes}
            for rest in ({}, {"nodata": 1}, {"residual": residual, "nodata": 1}):
                p = _api.plan(x, w, **terms, **rest)
                weights = k * c_out * (4 if p["compute"] == "float32" else 8)
                assert p["thread_bytes"] <= (1 << 20) + weights


@needs_x86
def test_what_follows_the_sums_is_done_in_out_where_it_can_be():
    """Through the buffer where the residual has another dtype, or is overwritten."""
    shape = [1, 56, 56, 64, 64]
    result = np.zeros((1, 56, 56, 64), np.float32)
    terms = {"scale": 2.0, "activation": "gelu", "nodata": 1}
    assert plan(shape, **terms)["is_direct"]
    assert plan(shape, residual=result, **terms)["is_direct"]
    assert plan(shape, residual=result[:, :1], **terms)["is_direct"]
    assert not plan(shape, residual=result.astype(np.float16), **terms)["is_direct"]
    assert not plan(shape, residual=result, out=result, **terms)["is_direct"]
    assert plan(shape, residual=result.copy(), out=result, **terms)["is_direct"]


@needs_x86
@pytest.mark.parametrize(
    ("channels", "words", "finisher"),
    [
        (64, {}, "tile"),
        (64, {"activation": "relu"}, "tile"),
        (64, {"activation": "gelu"}, "buffer"),
        (64, {"scale": 2.0}, "buffer"),
        (2000, {}, "buffer"),  # in pieces, each added to what lies in `out`
        (3, {}, "buffer"),
    ],
)
def test_what_is_added_to_is_not_overwritten_by_sums(channels, words, finisher):
    x = np.empty((20, 20, channels), np.float32)
    w = np.empty((channels, 3 if channels == 3 else 40), np.float32)
    out = np.zeros((20, 20, w.shape[1]), np.float32)
    p = _api.plan(x, w, residual=out, out=out, machine=MACHINE, **words)
    assert p["finisher"] == finisher
    assert p["is_direct"] == (finisher == "tile")


@needs_x86
def test_a_table_is_looked_up_while_pixels_are_packed():
    table = np.zeros(256, np.float32)
    for layout, operand in (("last", "a"), ("first", "b")):
        p = plan([1, 56, 56, 64, 64], layout, dtype=np.uint8, lut=table)
        assert p[operand] == "pack_block"
        assert p["compute"] == "float32"


def test_a_plan_for_an_unknown_isa_is_refused():
    with pytest.raises(ValueError, match="unknown ISA 'x86_avx1024'"):
        plan((1, 8, 8, 3, 3), machine={"isa": "x86_avx1024"})
