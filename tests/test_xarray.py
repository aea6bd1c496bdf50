"""Promise: `c1x1.xarray.conv` finds the channels by name, anywhere, and keeps the labels."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

import c1x1

xr = pytest.importorskip("xarray", reason="xarray is not installed: pip install c1x1[xarray]")
pd = pytest.importorskip("pandas")

import c1x1.xarray  # noqa: E402

BANDS = ["blue", "green", "red", "nir"]
SIZES = {"time": 2, "band": 4, "y": 5, "x": 3}


@pytest.fixture(params=["numpy", "dask"])
def kind(request):
    """Of which arrays a DataArray is made."""
    if request.param == "dask":
        pytest.importorskip("dask.array", reason="dask is not installed: pip install c1x1[dask]")
    return request.param


def scene(rng, kind="numpy", dims=("band", "y", "x"), dtype="f4"):
    data = rng.integers(0, 100, tuple(SIZES[d] for d in dims)).astype(dtype)
    da = xr.DataArray(
        data,
        dims=dims,
        coords={"band": BANDS, "wavelength": ("band", [0.4, 0.5, 0.6, 0.8]), "orbit": 7},
        name="reflectance",
        attrs={"units": "1"},
    )
    if "y" in dims:
        da = da.assign_coords(y=("y", np.arange(5) * 10.0, {"axis": "Y"}))
    if {"x", "y"} <= set(dims):
        da = da.assign_coords(latitude=(("y", "x"), np.ones((5, 3))))
    return da if kind == "numpy" else da.chunk(dict.fromkeys(dims, 2))


def filters(rng, c_out=6):
    return rng.standard_normal((4, c_out)).astype("f4")


def whole(da, w, bias=None, dim="band", **keywords):
    """In memory, channels last, and back."""
    at = da.dims.index(dim)
    y = c1x1.conv(np.moveaxis(da.values, at, -1), w, bias, **keywords)
    return y if y.ndim < da.ndim else np.moveaxis(y, -1, at)


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dims", [*itertools.permutations(("band", "y", "x")), ("band",), ("x", "band")]
)
def test_any_order_of_dimensions(rng, kind, dims):
    da, w = scene(rng, kind, dims), filters(rng)
    y = c1x1.xarray.conv(da, w, np.arange(6))
    assert y.dims == dims
    assert (y.chunks is not None) == (kind == "dask")
    np.testing.assert_array_equal(y.values, whole(da, w, np.arange(6)))
    one = c1x1.xarray.conv(da, w[:, 0], 0.5)
    assert one.dims == tuple(d for d in dims if d != "band")
    np.testing.assert_array_equal(one.values, whole(da, w[:, 0], 0.5))


@pytest.mark.parametrize("dims", [("time", "band", "y", "x"), ("y", "time", "x", "band")])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_and_more_dimensions(rng, kind, dims, groups):
    da, w = scene(rng, kind, dims), filters(rng, 8)[: 4 // groups]
    np.testing.assert_array_equal(
        c1x1.xarray.conv(da, w, groups=groups).values, whole(da, w, groups=groups)
    )


@pytest.mark.parametrize("dtype", ["u1", "i8", "f8"])
def test_dtypes(rng, kind, dtype):
    da, w = scene(rng, kind, dtype=dtype), filters(rng)
    y = c1x1.xarray.conv(da, w)
    assert y.dtype == whole(da, w).dtype
    np.testing.assert_array_equal(y.values, whole(da, w))
    assert c1x1.xarray.conv(da, w, dtype="f2").dtype == "f2"


def test_the_image_is_neither_copied_nor_transposed(rng, monkeypatch):
    seen = []

    def spy(x, *arguments, **keywords):
        seen.append(x)
        return c1x1.conv(x, *arguments, **keywords)

    monkeypatch.setattr(c1x1.xarray, "_conv", spy)
    da = scene(rng)
    y = c1x1.xarray.conv(da, filters(rng))
    assert seen[0] is da.data
    assert y.data.flags.c_contiguous


def test_a_chunked_result_is_lazy(rng):
    pytest.importorskip("dask.array", reason="dask is not installed: pip install c1x1[dask]")

    def fail(block):
        raise AssertionError("computed")

    da = scene(rng, "dask")
    da = da.copy(data=da.data.map_blocks(fail, meta=da.data._meta))
    y = c1x1.xarray.conv(da, filters(rng))
    assert y.chunks == ((6,), (2, 2, 1), (2, 1))
    with pytest.raises(AssertionError, match="computed"):
        y.compute()


# ---- names and labels ----------------------------------------------------------------------------


def test_names_attributes_and_coordinates_stay(rng, kind):
    da = scene(rng, kind)
    y = c1x1.xarray.conv(da, filters(rng))
    assert y.name == "reflectance" and y.attrs == {"units": "1"}
    assert set(y.coords) == {"y", "latitude", "orbit"}
    assert y.y.attrs == {"axis": "Y"}
    for name in y.coords:
        xr.testing.assert_identical(y[name].variable, da[name].variable)
    assert y.sel(y=20.0).sizes == {"band": 6, "x": 3}


@pytest.mark.parametrize(("keep", "option", "kept"), [
    (None, "default", True), (None, True, True), (None, False, False),
    (True, False, True), (False, True, False),
])  # fmt: skip
def test_attributes_are_kept_as_xarray_is_told(rng, keep, option, kept):
    da = scene(rng)
    with xr.set_options(keep_attrs=option):
        y = c1x1.xarray.conv(da, filters(rng), keep_attrs=keep)
    assert y.attrs == ({"units": "1"} if kept else {})
    assert da.attrs == {"units": "1"}


@pytest.mark.parametrize("order", [("band", "component"), ("component", "band")])
def test_filters_with_names_name_the_result(rng, kind, order):
    da, plain = scene(rng, kind), filters(rng, 3)
    w = xr.DataArray(
        plain,
        dims=("band", "component"),
        coords={
            "band": BANDS,
            "component": ["a", "b", "c"],
            "variance": ("component", [3.0, 2.0, 1.0]),
            "both": (("band", "component"), plain),
            "when": 2020,
        },
    ).transpose(*order)
    y = c1x1.xarray.conv(da, w)
    assert y.dims == ("component", "y", "x")
    assert set(y.coords) == {"component", "variance", "y", "latitude", "orbit"}
    np.testing.assert_array_equal(y.values, whole(da, plain))
    np.testing.assert_array_equal(
        y.sel(component="b").values, c1x1.xarray.conv(da, plain).isel(band=1).values
    )
    y = c1x1.xarray.conv(da, w, output_dim="pc")
    assert y.dims == ("pc", "y", "x") and y.pc.values.tolist() == ["a", "b", "c"]
    assert y.variance.dims == ("pc",)
    y = c1x1.xarray.conv(da, w, coords=[1, 2, 3])
    assert y.component.values.tolist() == [1, 2, 3] and "variance" not in y.coords
    one = c1x1.xarray.conv(da, w.sel(component="c"))
    assert one.dims == ("y", "x") and set(one.coords) == {"y", "latitude", "orbit"}
    np.testing.assert_array_equal(one.values, whole(da, plain[:, 2]))


def test_the_output_may_be_renamed_and_labelled(rng, kind):
    da, w = scene(rng, kind), filters(rng, 2)
    assert c1x1.xarray.conv(da, w).dims == ("band", "y", "x")
    y = c1x1.xarray.conv(da, w, output_dim="index", coords=["ndvi", "ndwi"])
    assert y.dims == ("index", "y", "x") and y.sel(index="ndwi").shape == (5, 3)
    y = c1x1.xarray.conv(da.drop_vars("band"), w, coords=pd.Index([3, 4]))
    assert y.band.values.tolist() == [3, 4]


def test_labels_of_several_levels(rng):
    index = pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["level", "letter"])
    da = scene(rng).stack(pixel=("y", "x"))
    w = xr.DataArray(
        filters(rng, 3),
        dims=("band", "out"),
        coords=xr.Coordinates.from_pandas_multiindex(index, "out").assign({"band": BANDS}),
    )
    y = c1x1.xarray.conv(da, w)
    assert y.dims == ("out", "pixel")
    assert y.sel(level=1, letter="b").sizes == {"pixel": 15}
    assert y.unstack("pixel").sizes == {"out": 3, "y": 5, "x": 3}


def test_another_name_for_the_channels(rng, kind):
    da, w = scene(rng, kind).rename(band="λ"), filters(rng)
    y = c1x1.xarray.conv(da, w, dim="λ")
    assert y.dims == ("λ", "y", "x")
    np.testing.assert_array_equal(y.values, whole(da, w, dim="λ"))


def test_labels_on_one_side_only_are_no_obstacle(rng):
    da, plain = scene(rng), filters(rng, 3)
    w = xr.DataArray(plain, dims=("band", "out"))
    np.testing.assert_array_equal(c1x1.xarray.conv(da, w).values, whole(da, plain))
    w = w.assign_coords(band=BANDS)
    y = c1x1.xarray.conv(da.drop_vars("band"), w)
    np.testing.assert_array_equal(y.values, whole(da, plain))


def test_with_groups_the_labels_of_the_filters_mean_nothing(rng):
    da, plain = scene(rng), filters(rng, 6)[:2]
    w = xr.DataArray(plain, dims=("band", "out"), coords={"band": [0, 1]})
    y = c1x1.xarray.conv(da, w, groups=2)
    np.testing.assert_array_equal(y.values, whole(da, plain, groups=2))


def test_bias_with_names(rng):
    da, plain = scene(rng), filters(rng, 3)
    w = xr.DataArray(plain, dims=("band", "out"), coords={"out": ["a", "b", "c"]})
    bias = xr.DataArray([1.0, 2.0, 3.0], dims="out", coords={"out": ["a", "b", "c"]})
    y = c1x1.xarray.conv(da, w, bias)
    np.testing.assert_array_equal(y.values, whole(da, plain, [1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"bias and the result .*in another order"):
        c1x1.xarray.conv(da, w, bias[::-1])
    with pytest.raises(ValueError, match=r"bias has dimensions \('band',\)"):
        c1x1.xarray.conv(da, w, bias.rename(out="band"))


# ---- errors --------------------------------------------------------------------------------------


def named(rng, bands=BANDS, **coords):
    return xr.DataArray(filters(rng, 3), dims=("band", "out"), coords={"band": bands, **coords})


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda da, r: (da.to_dataset("band"), filters(r)),
            TypeError,
            r"pass da\.to_dataarray\('band'\)",
        ),
        (lambda da, r: (da.values, filters(r)), TypeError, "must be a DataArray, not ndarray"),
        (
            lambda da, r: (da.rename(band="z"), filters(r)),
            ValueError,
            r"no dimension 'band': .*'z'",
        ),
        (
            lambda da, r: (da, filters(r).T),
            ValueError,
            r"w of shape \(6, 4\) does not fit dimension 'band' of size 4: expected "
            r"\(C_in, C_out\) = \(4, C_out\) or \(4,\); pass w\.T",
        ),
        (lambda da, r: (da, filters(r)[None]), ValueError, r"w of shape \(1, 4, 6\) does not fit"),
        (lambda da, r: (da, filters(r)[:3, 0]), ValueError, r"w of shape \(3,\) does not fit"),
        (lambda da, _: (da, 1.0), ValueError, r"w of shape \(\) does not fit"),
        (
            lambda da, r: (da, named(r, BANDS[::-1])),
            ValueError,
            r"w and da have different labels along 'band': in another order: "
            r"pass w\.sel\(\{'band': da\['band'\]\}\)",
        ),
        (
            lambda da, r: (da, named(r, ["blue", "green", "red", "swir"])),
            ValueError,
            r"w lacks \['nir'\]: pass w\.drop_vars\('band'\) if the order is right",
        ),
        (
            lambda da, r: (da, named(r).rename(band="z")),
            ValueError,
            r"w has dimensions \('z', 'out'\); expected 'band' and at most one other",
        ),
        (lambda da, r: (da, named(r).expand_dims("more")), ValueError, "at most one other"),
        (lambda da, r: (da, named(r).rename(out="y")), ValueError, "already has a dimension 'y'"),
        (
            lambda da, r: (da, named(r, orbit=("out", [1, 2, 3]))),
            ValueError,
            "already has a coordinate 'orbit'",
        ),
        (lambda da, r: (da.astype(object), filters(r)), TypeError, "x has dtype object"),
        (lambda da, r: (da, filters(r), [1.0, 2.0]), ValueError, r"bias has shape \(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(rng, kind, call, error, words):
    with pytest.raises(error, match=words):
        c1x1.xarray.conv(*call(scene(rng, kind), rng))


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"coords": [1, 2]}, ValueError, r"coords has shape \(2,\); expected \(6,\)"),
        ({"output_dim": "x"}, ValueError, "already has a dimension 'x'"),
        ({"output_dim": "orbit"}, ValueError, "already has a coordinate 'orbit'"),
        ({"groups": 3}, ValueError, "3 groups do not divide"),
        ({"groups": 2}, ValueError, r"in 2 groups: expected \(C_in, C_out\) = \(2, C_out\)$"),
        ({"groups": "two"}, TypeError, "groups must be an int"),
        ({"groups": 0}, ValueError, "groups must be at least 1"),
        ({"dtype": "U1"}, TypeError, "cannot hold a result"),
    ],
    ids=str,
)
def test_keywords_that_do_not_fit(rng, kind, keywords, error, words):
    with pytest.raises(error, match=words):
        c1x1.xarray.conv(scene(rng, kind), filters(rng), **keywords)


def test_one_filter_leaves_nothing_to_name(rng):
    for keywords in [{"output_dim": "out"}, {"coords": [1]}]:
        with pytest.raises(ValueError, match=r"pass w\[:, None\]"):
            c1x1.xarray.conv(scene(rng), filters(rng)[:, 0], **keywords)


def test_filters_and_bias_must_be_in_memory(rng):
    pytest.importorskip("dask.array", reason="dask is not installed")
    da, w = scene(rng, "dask"), named(rng)
    with pytest.raises(TypeError, match=r"w is in chunks.*pass w\.compute\(\)"):
        c1x1.xarray.conv(da, w.chunk())
    with pytest.raises(TypeError, match=r"bias is in chunks"):
        c1x1.xarray.conv(da, w, xr.DataArray([1.0, 2.0, 3.0], dims="out").chunk())


def test_arrays_that_would_lose_something_are_refused(rng):
    class Quantity(np.lib.mixins.NDArrayOperatorsMixin):
        """The least that xarray takes for an array of its own kind."""

        shape, ndim, dtype = (4, 2), 2, np.dtype("f4")

        def __array_ufunc__(self, *arguments):
            return NotImplemented

        def __array_function__(self, *arguments):
            return NotImplemented

    da = xr.DataArray(Quantity(), dims=("band", "x"))
    with pytest.raises(TypeError, match=r"da holds a Quantity.*pass da\.as_numpy\(\)"):
        c1x1.xarray.conv(da, filters(rng))


# ---- what follows the sums -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "keywords",
    [
        {"scale": 2.0, "activation": "relu"},
        {"lut": np.linspace(0, 1, 256, dtype="f4")},
        {"nodata": 3, "precision": "high", "reproducible": True},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("dims", [("band", "y", "x"), ("y", "x", "band")])
def test_every_keyword_of_conv(rng, kind, dims, keywords):
    da, w = scene(rng, kind, dims, dtype="u1"), filters(rng)
    y = c1x1.xarray.conv(da, w, np.arange(6), **keywords)
    np.testing.assert_array_equal(y.values, whole(da, w, np.arange(6), **keywords))


def test_scale_with_names(rng):
    da, plain = scene(rng), filters(rng, 3)
    w = xr.DataArray(plain, dims=("band", "out"), coords={"out": ["a", "b", "c"]})
    scale = xr.DataArray([1.0, 2.0, 3.0], dims="out", coords={"out": ["a", "b", "c"]})
    y = c1x1.xarray.conv(da, w, scale=scale)
    np.testing.assert_array_equal(y.values, whole(da, plain, scale=[1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"scale and the result .*in another order"):
        c1x1.xarray.conv(da, w, scale=scale[::-1])


@pytest.mark.parametrize("dims", [("x", "out", "y"), ("y",), (), ("out",)], ids=str)
@pytest.mark.parametrize("kinds", ["numpy numpy", "dask numpy", "dask dask"])
def test_a_residual_is_aligned_by_name(rng, dims, kinds):
    kind, residual_kind = kinds.split()
    if kind == "dask":
        pytest.importorskip("dask.array", reason="dask is not installed: pip install c1x1[dask]")

    da, w = scene(rng, kind), filters(rng, 3)
    sizes = {"x": 3, "out": 3, "y": 5}
    shape = tuple(sizes[d] for d in dims)
    residual = xr.DataArray(rng.integers(0, 9, shape).astype("f4"), dims=dims)
    given = residual.chunk() if residual_kind == "dask" else residual
    y = c1x1.xarray.conv(da, w, output_dim="out", residual=given)
    assert y.dims == ("out", "y", "x")
    by_name = xr.DataArray(whole(da, w), dims=("out", "y", "x")) + residual
    np.testing.assert_allclose(y.values, by_name.values, rtol=1e-5, atol=1e-4)


def test_a_residual_that_does_not_fit(rng):
    da, w = scene(rng), filters(rng)
    with pytest.raises(ValueError, match=r"residual has dimensions \('z',\)"):
        c1x1.xarray.conv(da, w, residual=xr.DataArray([1.0], dims="z"))
    with pytest.raises(ValueError, match="residual does not fit the result"):
        c1x1.xarray.conv(da, w, residual=xr.DataArray(np.ones(5), dims="y", coords={"y": range(5)}))
    pytest.importorskip("dask.array", reason="dask is not installed")
    with pytest.raises(TypeError, match="residual is in chunks"):
        c1x1.xarray.conv(da, w, residual=xr.DataArray(np.ones(5), dims="y").chunk())


# ---- the import ----------------------------------------------------------------------------------


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_xarray_the_error_names_the_extra():
    done = python("import sys; sys.modules['xarray'] = None; import c1x1.xarray")
    assert done.returncode == 1
    assert "ImportError: c1x1.xarray needs xarray: pip install 'c1x1[xarray]'" in done.stderr


def test_without_chunks_dask_is_not_needed():
    done = python("""
import sys
sys.modules["dask"] = None
import numpy as np, xarray as xr, c1x1.xarray
da = xr.DataArray(np.ones((4, 3)), dims=("band", "x"))
print(c1x1.xarray.conv(da, np.ones((4, 2))).shape)
""")
    assert done.stdout == "(2, 3)\n", done.stderr
