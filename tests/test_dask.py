"""Promise: `c1x1.dask.conv` is `c1x1.conv` of the whole array, bit for bit, whatever the chunks.

What is asked of a lazy call is checked at the call; what a worker computes, it computes on its own
thread; a cube larger than all workers' memory goes through two of them.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import c1x1

dask = pytest.importorskip("dask", reason="dask is not installed: pip install c1x1[dask]")
da = pytest.importorskip("dask.array", reason="dask is not installed: pip install c1x1[dask]")

import c1x1.dask  # noqa: E402


@pytest.fixture(autouse=True)
def scheduler():
    """Threads of this process, two of them, unless a test says otherwise."""
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def sample(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0, 100, shape).astype(dtype)


def check(x, w, bias=None, *, chunks, **keywords):
    """Lazy and whole agree in bits, and the lazy one knew beforehand what it would be."""
    whole = c1x1.conv(x, w, bias, **keywords)
    y = c1x1.dask.conv(da.from_array(x, chunks=chunks), w, bias, **keywords)
    assert isinstance(y, da.Array)
    assert y.shape == whole.shape and y.dtype == whole.dtype == y._meta.dtype
    assert y._meta.shape == (0,) * whole.ndim
    for at in np.ndindex(*y.numblocks):
        size = tuple(sizes[i] for sizes, i in zip(y.chunks, at, strict=True))
        block = y.blocks[at].compute() if size else y.compute()
        assert np.shape(block) == size and block.dtype == y.dtype
    np.testing.assert_array_equal(y.compute(), whole)
    return y


# ---- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [(13, 17, 24), (5, 4, 24), (1, 17, 24), (4, 17, 5), ((3, 10), (1, 16), (23, 1))],
    ids=str,
)
@pytest.mark.parametrize("c_out", [1, 3, 40])
def test_any_chunks_give_the_bits_of_the_whole(rng, chunks, c_out):
    x, w = sample(rng, (13, 17, 24), "f4"), sample(rng, (24, c_out), "f4")
    y = check(x, w, sample(rng, c_out, "f4"), chunks=chunks)
    assert y.chunks[:2] == da.core.normalize_chunks(chunks, x.shape)[:2]
    assert y.chunks[2] == (c_out,)


@pytest.mark.parametrize(
    ("layout", "shape", "chunks"),
    [
        ("C", (6,), (4,)),
        ("WC", (9, 6), (4, 6)),
        ("CW", (6, 9), (2, 5)),
        ("CHW", (6, 5, 7), (6, 2, 3)),
        ("HCW", (5, 6, 7), (2, 6, 3)),
        ("NHWC", (3, 5, 4, 6), (1, 5, 2, 6)),
        ("NCHW", (3, 6, 5, 4), (2, 3, 5, 4)),
        (None, (2, 3, 4, 3, 6), (1, 2, 3, 2, 6)),
    ],
)
def test_layouts(rng, layout, shape, chunks):
    x = sample(rng, shape, "f4")
    is_last = layout is None or layout.endswith("C")
    w = sample(rng, (6, 4), "f4")
    check(x, w if is_last else w.T, chunks=chunks, layout=layout)
    check(x, w[:, 0], 0.5, chunks=chunks, layout=layout)


def test_windows_and_one_filter_in_the_shape_of_the_image(rng):
    x, w = sample(rng, (5, 7, 6), "f4"), sample(rng, (6, 8), "f4")
    check(x, w[None, None], chunks=(2, 3, 6))
    check(x, w[None, None, :, 0], chunks=(2, 3, 6))
    check(x.transpose(2, 0, 1), w.T[:, :, None, None], chunks=(6, 2, 3), layout="CHW")
    check(x.transpose(2, 0, 1), w[:, :1, None], chunks=(6, 2, 3), layout="CHW")


@pytest.mark.parametrize("stride", [2, 3, (1, 4), (5, 1), np.array([2, 3]), 50], ids=str)
@pytest.mark.parametrize("chunks", [(13, 11, 4), (3, 5, 4), (1, 1, 4)], ids=str)
def test_a_stride_counts_from_the_edge_of_the_array(rng, stride, chunks):
    x, w = sample(rng, (13, 11, 4), "f4"), sample(rng, (4, 3), "f4")
    check(x, w, chunks=chunks, stride=stride)
    check(x.transpose(2, 0, 1), w.T, chunks=(4, *chunks[:2]), stride=stride, layout="CHW")


def test_a_stride_leaves_the_batch_alone(rng):
    x, w = sample(rng, (4, 5, 6, 3), "f4"), sample(rng, (3, 2), "f4")
    check(x, w, chunks=(2, 2, 4, 3), stride=2)
    check(x, w, chunks=(2, 2, 4, 3), stride=(2, 3), layout="NHWC")


def test_groups(rng):
    x = sample(rng, (6, 5, 12), "f4")
    check(x, sample(rng, (4, 9), "f4"), chunks=(2, 5, 7), groups=3)
    check(x, sample(rng, (1, 12), "f4"), chunks=(2, 5, 12), groups=12)


@pytest.mark.parametrize("w_dtype", ["i1", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("x_dtype", ["?", "u1", "i2", "u2", "i8", "f2", "f4", "f8", ">f4"])
def test_dtypes(rng, x_dtype, w_dtype):
    check(sample(rng, (6, 5, 7), x_dtype), sample(rng, (7, 6), w_dtype), chunks=(4, 3, 7))


@pytest.mark.parametrize("dtype", ["u1", "f2", "f8", np.float32])
def test_the_dtype_that_is_asked_for(rng, dtype):
    check(sample(rng, (6, 5, 7), "f4"), sample(rng, (7, 6), "f4"), chunks=(4, 3, 7), dtype=dtype)


@pytest.mark.parametrize("shape", [(0, 4, 3), (5, 0, 3), (0, 0, 3), (4, 5, 0)], ids=str)
def test_no_pixels_and_no_channels(rng, shape):
    check(np.ones(shape, "f4"), np.ones((shape[2], 2), "f4"), chunks=(2, 2, 3))


def test_chunks_of_unknown_size(rng):
    x, w = sample(rng, (30, 4, 6), "f4"), sample(rng, (6, 5), "f4")
    keep = x[:, 0, 0] > 0
    some = da.from_array(x, chunks=(7, 2, 3))[da.from_array(keep, chunks=7)]
    y = c1x1.dask.conv(some, w)
    assert np.isnan(y.shape[0]) and y.shape[1:] == (4, 5)
    np.testing.assert_array_equal(y.compute(), c1x1.conv(x[keep], w))
    np.testing.assert_array_equal(
        c1x1.dask.conv(some, w, stride=(1, 2)).compute(), c1x1.conv(x[keep], w, stride=(1, 2))
    )


def test_every_other_operand_may_be_anything_that_conv_takes(rng):
    x = sample(rng, (5, 4, 2), "f4")
    check(x, [[1.0, 2.0], [3.0, 4.0]], [1, 2], chunks=(2, 4, 2))


def test_operands_are_copied(rng):
    x, w, b = sample(rng, (5, 4, 3), "f4"), sample(rng, (3, 2), "f4"), sample(rng, 2, "f4")
    y, before = c1x1.dask.conv(da.from_array(x, chunks=2), w, b), c1x1.conv(x, w, b)
    w[:], b[:] = 0, 0
    np.testing.assert_array_equal(y.compute(), before)


# ---- the graph -----------------------------------------------------------------------------------


def test_equal_calls_have_equal_names(rng):
    x, w = da.ones((8, 8, 3), chunks=4), sample(rng, (3, 2), "f4")
    name = c1x1.dask.conv(x, w).name
    assert name.startswith("c1x1-conv-")
    assert name == c1x1.dask.conv(x, w.copy()).name
    others = [
        c1x1.dask.conv(x, w + 1),
        c1x1.dask.conv(x, w, 1.0),
        c1x1.dask.conv(x, w, dtype="f4"),
        c1x1.dask.conv(x + 1, w),
        c1x1.dask.conv(x, w[:, 0]),
    ]
    assert len({name, *(y.name for y in others)}) == len(others) + 1


def test_the_filters_lie_in_the_graph_once(rng):
    """One task holds the packed layer; the others name it."""
    w = sample(rng, (300, 300), "f4")
    y = c1x1.dask.conv(da.zeros((8, 8, 300), chunks=(2, 2, 300), dtype="f4"), w)
    (y,) = dask.optimize(y)
    sizes = sorted(len(pickle.dumps(task)) for task in dict(y.__dask_graph__()).values())
    assert len(sizes) > 16
    assert sizes[-1] > w.nbytes
    assert sizes[-2] < 10_000


def test_each_chunk_is_computed_on_one_thread(rng, monkeypatch):
    seen = []

    class Spy:
        def __init__(self, *arguments, **keywords):
            self.layer = c1x1.Pointwise(*arguments, **keywords)
            self.weight, self.bias = self.layer.weight, self.layer.bias

        def __call__(self, x, **keywords):
            seen.append(keywords)
            return self.layer(x, **keywords)

    monkeypatch.setattr(c1x1.dask, "Pointwise", Spy)
    x = da.from_array(sample(rng, (8, 8, 3), "f4"), chunks=(4, 4, 3))
    c1x1.dask.conv(x, sample(rng, (3, 2), "f4")).compute()
    assert [keywords["threads"] for keywords in seen] == [1] * 4


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError("computed")

    x = da.ones((8, 8, 3), chunks=4).map_blocks(fail, dtype="f8", meta=np.empty((0, 0, 0)))
    y = c1x1.dask.conv(x, np.ones((3, 2)), stride=2)
    assert y.shape == (4, 4, 2)
    with pytest.raises(AssertionError, match="computed"):
        y.compute()


def test_larger_than_any_memory_is_no_obstacle():
    x = da.zeros((10**6, 10**6, 12), chunks=(10**4, 10**4, 12), dtype="u2")
    y = c1x1.dask.conv(x, np.ones((12, 4), "f4"))
    assert y.shape == (10**6, 10**6, 4) and y.dtype == "f4"


# ---- errors, at the call -------------------------------------------------------------------------

X = da.zeros((40, 50, 12), chunks=(10, 10, 12), dtype="f4")
W = np.ones((12, 5), "f4")


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((np.ones((5, 12), "f4"),), {}),
        ((np.ones((40, 5), "f4"),), {}),
        ((np.ones((3, 3, 12, 5), "f4"),), {}),
        ((W, [1.0, 2.0]), {}),
        ((W,), {"layout": "CHW"}),
        ((W,), {"layout": "NHWC"}),
        ((W,), {"layout": 3}),
        ((W,), {"groups": 5}),
        ((W,), {"groups": 1.5}),
        ((W,), {"stride": 0}),
        ((W,), {"stride": (1, 2, 3)}),
        ((W,), {"stride": None}),
        ((W,), {"stride": 1.5}),
        ((W,), {"dtype": "U3"}),
        ((W, "text"), {}),
    ],
)
def test_what_conv_refuses_is_refused_at_once_and_in_its_words(arguments, keywords):
    with pytest.raises((ValueError, TypeError)) as whole:
        c1x1.conv(np.zeros(X.shape, X.dtype), *arguments, **keywords)
    with pytest.raises(type(whole.value)) as lazy:
        c1x1.dask.conv(X, *arguments, **keywords)
    assert str(lazy.value) == str(whole.value)


def test_dtypes_that_are_refused():
    for dtype in ["M8[s]", object]:
        with pytest.raises(TypeError, match="x has dtype"):
            c1x1.dask.conv(da.from_array(np.zeros((4, 3), dtype), chunks=-1), np.ones((3, 2)))
    with pytest.raises(TypeError, match="dtype float32 cannot hold the complex result"):
        c1x1.dask.conv(X, W.astype("c8"), dtype=np.float32)
    with pytest.raises(TypeError, match="activation is for real x and w"):
        c1x1.dask.conv(X, W.astype("c8"), activation="relu")
    with pytest.raises(TypeError, match="nodata is for real x and w"):
        c1x1.dask.conv(X.astype("c8"), W, nodata=0)


@pytest.mark.parametrize(
    ("x_dtype", "w_dtype"),
    [("c8", "c8"), ("c16", "f4"), ("f4", "c8"), ("u1", "c16"), ("c8", "c16")],
)
@pytest.mark.parametrize("layout", [None, "CHW"])
def test_complex_numbers(x_dtype, w_dtype, layout, rng):
    x, w = (
        (rng.integers(0, 9, (*shape, 2)) @ [1, 1j if dtype[0] == "c" else 1]).astype(dtype)
        if dtype[0] == "c"
        else rng.integers(0, 9, shape).astype(dtype)
        for shape, dtype in (((12, 10, 12), x_dtype), ((12, 12), w_dtype))
    )
    bias = rng.standard_normal(12) * 1j
    for chunks in [(5, 4, 12), (5, 4, 7), -1]:
        check(x, w, bias, chunks=chunks, layout=layout, stride=2)
        check(x, w[:, :4] if layout is None else w[:4], chunks=chunks, layout=layout, scale=0.5)
    residual = da.from_array(np.full((12, 10, 12), 1j, "c8"), chunks=4)
    y = c1x1.dask.conv(da.from_array(x, chunks=6), w, layout=layout, residual=residual)
    np.testing.assert_array_equal(
        y.compute(), c1x1.conv(x, w, layout=layout, residual=residual.compute())
    )
    with pytest.raises(ValueError, match="w of shape"):
        c1x1.dask.conv(da.from_array(x, chunks=6), w[:5, :5], layout=layout)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: c1x1.dask.conv(np.ones((4, 12)), W),
            TypeError,
            "c1x1.conv, or pass dask.array.from",
        ),
        (lambda: c1x1.dask.conv(X, da.from_array(W)), TypeError, "w is a dask Array.*w.compute()"),
        (lambda: c1x1.dask.conv(X, W, da.ones(5)), TypeError, r"pass bias\.compute\(\)"),
        (lambda: c1x1.dask.conv(X, W, scale=da.ones(5)), TypeError, r"pass scale\.compute\(\)"),
        (lambda: c1x1.dask.conv(da.ones(()), W), ValueError, "x has no axes"),
        (
            lambda: c1x1.dask.conv(da.ma.masked_equal(X, 0), W),
            TypeError,
            r"dask\.array\.ma\.filled\(array, value\)",
        ),
        (
            lambda: c1x1.dask.conv(X[X[:, 0, 0] > 0], W, stride=2),
            ValueError,
            r"stride 2 along axis 0.*compute_chunk_sizes",
        ),
        (
            lambda: c1x1.dask.conv(X[:, 0][:, X[0, 0] > 0], W),
            ValueError,
            r"unknown number of channels \(axis 1\): pass array.compute_chunk_sizes",
        ),
    ],
)
def test_what_only_a_lazy_call_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_error_about_an_unknown_shape_says_so():
    with pytest.raises(ValueError, match=r"does not fit x of shape \(1, 50, 12\)") as error:
        c1x1.dask.conv(X[X[:, 0, 0] > 0], W.T)
    assert error.value.__notes__ == ["Axes of unknown size stand here as 1."]


# ---- what follows the sums -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "keywords"),
    [
        ("f4", {"scale": 2.0, "activation": "relu"}),
        ("f4", {"scale": np.arange(5.0), "activation": ("prelu", np.linspace(0, 1, 5))}),
        ("u1", {"lut": np.linspace(0, 1, 256, dtype="f4")}),
        ("u1", {"lut": np.arange(12 * 256).reshape(12, 256) % 77}),
        ("u1", {"nodata": 3}),
        ("f4", {"nodata": np.nan, "reproducible": True}),
        ("f4", {"precision": "medium", "reproducible": True}),
        ("i1", {"scale": 0.1, "dtype": "u1"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_every_keyword_of_conv(rng, dtype, keywords):
    x = sample(rng, (13, 10, 12), dtype)
    w = sample(rng, (12, 5), "i1" if "dtype" in keywords else "f4")
    if np.isnan(keywords.get("nodata", 0)):
        x[::3, ::4, 1] = np.nan
    check(x, w, sample(rng, 5, "f4"), chunks=(4, 3, 5), **keywords)
    check(x, w[:, :1], chunks=(4, 3, 5), **{**keywords, "scale": 1.0, "activation": None})


@pytest.mark.parametrize(
    "keywords",
    [
        {"scale": np.ones(4)},
        {"activation": "softmax"},
        {"activation": ("clip", 1)},
        {"lut": np.ones(256)},
        {"precision": "low"},
        {"residual": "text"},
    ],
    ids=str,
)
def test_what_conv_refuses_of_these_is_refused_at_once(keywords):
    with pytest.raises((ValueError, TypeError)) as whole:
        c1x1.conv(np.zeros(X.shape, X.dtype), W, **keywords)
    with pytest.raises(type(whole.value)) as lazy:
        c1x1.dask.conv(X, W, **keywords)
    assert str(lazy.value) == str(whole.value)


RESIDUALS = {
    "the result's shape": (slice(None), slice(None), slice(None)),
    "one value": (0, 0, 0),
    "per channel": (0, 0),
    "per row": (slice(None), slice(0, 1), slice(0, 1)),
    "per pixel": (slice(None), slice(None), slice(0, 1)),
    "one row": (0,),
}


@pytest.mark.parametrize("is_lazy", [True, False], ids=["lazy", "in memory"])
@pytest.mark.parametrize("part", RESIDUALS.values(), ids=RESIDUALS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_meets_its_pixels(rng, part, is_lazy, stride):
    x, w = sample(rng, (13, 10, 6), "f4"), sample(rng, (6, 5), "f4")
    whole = sample(rng, (13, 10, 5), "f4")[::stride, ::stride][part]
    residual = da.from_array(whole, chunks=(3,) * np.ndim(whole)) if is_lazy else whole
    y = c1x1.dask.conv(da.from_array(x, chunks=(4, 5, 3)), w, stride=stride, residual=residual)
    expected = c1x1.conv(x, w, stride=stride, residual=whole)
    assert y.shape == expected.shape and y.dtype == expected.dtype
    np.testing.assert_array_equal(y.compute(), expected)


def test_an_array_may_be_its_own_residual(rng):
    x, w = sample(rng, (9, 7, 5), "f4"), sample(rng, (5, 5), "f4")
    lazy = da.from_array(x, chunks=(4, 3, 2))
    y = c1x1.dask.conv(lazy, w, residual=lazy)
    np.testing.assert_array_equal(y.compute(), c1x1.conv(x, w, residual=x))


def test_a_residual_of_a_result_without_channels(rng):
    x, w, r = sample(rng, (6, 9, 5), "f4"), sample(rng, 6, "f4"), sample(rng, (9, 5), "f4")
    y = c1x1.dask.conv(
        da.from_array(x, chunks=(6, 4, 5)), w, layout="CHW", residual=da.from_array(r, chunks=2)
    )
    np.testing.assert_array_equal(y.compute(), c1x1.conv(x, w, layout="CHW", residual=r))


def test_a_residual_of_unknown_sizes(rng):
    x, w, r = sample(rng, (20, 6), "f4"), sample(rng, (6, 5), "f4"), sample(rng, (20, 5), "f4")
    keep = x[:, 0] > 0
    lazy_keep = da.from_array(keep, chunks=6)
    y = c1x1.dask.conv(
        da.from_array(x, chunks=(6, 3))[lazy_keep],
        w,
        residual=da.from_array(r, chunks=(6, 5))[lazy_keep],
    )
    np.testing.assert_array_equal(y.compute(), c1x1.conv(x[keep], w, residual=r[keep]))
    with pytest.raises(ValueError, match="residual has shape"):
        c1x1.dask.conv(da.from_array(x, chunks=(6, 3))[lazy_keep], w, residual=r)


@pytest.mark.parametrize("shape", [(40, 50, 4), (2, 50, 5), (1, 40, 50, 5), (40,)], ids=str)
def test_a_residual_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"residual has shape .* broadcasts .* \(40, 50, 5\)"):
        c1x1.dask.conv(X, W, residual=np.ones(shape, "f4"))


def test_everything_at_once(rng):
    x, w = sample(rng, (13, 10, 6), "f4"), sample(rng, (6, 5), "f4")
    r, scale, bias = sample(rng, (13, 10, 5), "f4"), sample(rng, 5, "f4"), sample(rng, 5, "f4")
    words = {"scale": scale, "activation": "relu"}
    y = c1x1.dask.conv(
        da.from_array(x, chunks=(4, 5, 3)), w, bias, residual=da.from_array(r, chunks=3), **words
    )
    np.testing.assert_array_equal(y.compute(), c1x1.conv(x, w, bias, residual=r, **words))


# ---- the import ----------------------------------------------------------------------------------


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_c1x1_imports_neither_dask_nor_xarray():
    done = python("import sys, c1x1; print({'dask', 'xarray'} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr


def test_without_dask_the_error_names_the_extra():
    done = python("import sys; sys.modules['dask'] = None; import c1x1.dask")
    assert done.returncode == 1
    assert "ImportError: c1x1.dask needs dask.array: pip install 'c1x1[dask]'" in done.stderr


# ---- two processes, and a cube larger than their memory ------------------------------------------

WORKER_BYTES = 220 * 10**6
SLAB = (64, 256, 64)
SLABS = 108


def need_a_cluster_and_zarr():
    """Skips without them; zarr 3 is known to dask from 2025.1 on."""
    for name, version in {"dask": "2025.1", "distributed": "2025.1", "zarr": "3"}.items():
        pytest.importorskip(name, minversion=version, reason=f"needs {name} {version} or newer")


def count_unpickled_layers():
    """In a worker: from now on, `unpickled` of c1x1._pointwise counts."""
    from c1x1 import _pointwise

    restore = _pointwise.restore
    _pointwise.unpickled = 0

    def counting(*arguments):
        _pointwise.unpickled += 1
        return restore(*arguments)

    counting.__module__, counting.__qualname__ = "c1x1._pointwise", "restore"
    _pointwise.restore = counting


def tell():
    """In a worker: what the test asks it when all is done."""
    import os
    import resource

    from c1x1 import _pointwise

    if sys.platform == "linux":  # whose ru_maxrss starts from that of the process that forked
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    return {"pid": os.getpid(), "peak": peak, "unpickled": _pointwise.unpickled}


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read as on POSIX")
def test_a_cube_larger_than_the_memory_of_two_workers(rng, tmp_path):
    need_a_cluster_and_zarr()
    import distributed
    import zarr

    psutil = pytest.importorskip("psutil")
    cube = zarr.create_array(
        tmp_path / "cube.zarr",
        shape=(SLABS * SLAB[0], *SLAB[1:]),
        chunks=SLAB,
        dtype="f4",
        compressors=None,
    )
    assert cube.nbytes > 2 * WORKER_BYTES
    for at in range(0, cube.shape[0], SLAB[0]):
        cube[at : at + SLAB[0]] = rng.random(SLAB, np.float32)
    w = sample(rng, (64, 6), "f4")
    connections = len(psutil.Process().net_connections())
    # The profiler of workers samples frames, and stumbles over some.
    settings = {"scheduler": "distributed", "distributed.worker.profile.enabled": False}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=WORKER_BYTES,
            dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(count_unpickled_layers)
        pids = {answer["pid"] for answer in client.run(tell).values()}
        y = c1x1.dask.conv(da.from_zarr(tmp_path / "cube.zarr"), w)
        y.to_zarr(tmp_path / "result.zarr")
        answers = client.run(tell).values()
    # No worker was killed for its memory and started anew.
    assert {answer["pid"] for answer in answers} == pids
    assert all(answer["peak"] < WORKER_BYTES for answer in answers), answers
    # The filters were packed once in each.
    assert all(answer["unpickled"] <= 1 for answer in answers), answers
    assert len(psutil.Process().net_connections()) == connections

    result = zarr.open_array(tmp_path / "result.zarr", mode="r")
    assert result.shape == (*cube.shape[:2], 6) and result.dtype == np.float32
    for at in range(0, cube.shape[0], SLAB[0]):
        slab = slice(at, at + SLAB[0])
        np.testing.assert_array_equal(result[slab], c1x1.conv(cube[slab], w))


BENCH = Path(__file__).parents[1] / "bench/dask_cube.py"


@pytest.mark.skipif(not BENCH.is_file(), reason="the tests lie without the sources")
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read as on POSIX")
def test_the_benchmark_runs_and_cleans_up(tmp_path):
    need_a_cluster_and_zarr()
    (tmp_path / "there").mkdir()
    sizes = ["--gigabytes", "0.02", "--workers", "1", "--megabytes", "400", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, str(BENCH), *sizes, "--where", "there", "--json", "figures.json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "0.02 GB, 64 bands to 8, 1 workers" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["seconds"].keys() == {"read", "convolve", "store"}
    assert not list((tmp_path / "there").iterdir())
