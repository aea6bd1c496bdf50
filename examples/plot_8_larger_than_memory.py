"""
A scene larger than memory
==========================

A stack of satellite images in a Zarr store may be larger than the memory there is. xarray opens it
without reading; ``c1x1.xarray.conv`` says what is to be computed; writing the result reads,
computes and stores one chunk after the other.
"""

# %%
# A store of chunks
# -----------------
# To keep this page quick the stack is small: six dates of 300x400 pixels in twelve bands, 17 MB.
# What follows is the same for 17 TB. All bands of a pixel lie in one chunk: a sum needs them all.
# (How the images are made is in the script, which stands at the end of this page.)

import tempfile
from pathlib import Path

import dask
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import c1x1.xarray

folder = tempfile.TemporaryDirectory()
store = Path(folder.name) / "stack.zarr"
BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]

# sphinx_gallery_start_ignore


def make_stack(dates=6, height=300, width=400):
    """A field that greens and is cut, a lake, soil; clouds have no data."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width] / height
    soil = np.array([9, 11, 15, 19, 22, 24, 26, 28, 30, 31, 37, 32]) / 100
    plant = np.array([2, 3, 7, 4, 11, 30, 40, 43, 45, 44, 20, 9]) / 100
    water = np.array([6, 6, 5, 3, 2.5, 2, 2, 1.5, 1.5, 1, 0.6, 0.4]) / 100
    around = np.arctan2(y - 0.5, x - 0.95)
    lake = np.hypot(x - 0.95, 0.8 * (y - 0.5)) < 0.18 + 0.03 * np.sin(2 * around + 1)
    field = 7 * np.floor(5 * x + 0.4 * y) + np.floor(6 * y - 0.3 * x)
    sown = 1 + 1.5 * np.modf(field * 0.618)[0]
    stack = np.empty((dates, 12, height, width), np.uint16)
    for date in range(dates):
        green = np.exp(-(((date / 1.6 - sown) / 0.9) ** 2))[..., None]
        ground = np.where(lake[..., None], water, green * plant + (1 - green) * soil)
        ground = ground + rng.normal(0, 0.004, ground.shape)
        cloud = np.hypot(x - 0.25 * date, y - 0.2 - 0.1 * date) < 0.11
        stack[date] = np.rint(ground.clip(0.0001) * 10_000).astype(np.uint16).transpose(2, 0, 1)
        stack[date][:, cloud] = 0
    return stack


# sphinx_gallery_end_ignore
stack = xr.DataArray(make_stack(), dims=("time", "band", "y", "x"), name="numbers")
stack["time"] = np.arange("2026-03", "2026-09", dtype="datetime64[M]").astype("datetime64[ns]")
stack.chunk({"time": 1, "band": 12, "y": 100, "x": 200}).to_zarr(store, consolidated=False)
del stack

# %%
# What is to be computed
# ----------------------
# Opening reads the labels only. The weights carry labels too: bands are matched by name, and one
# that is missing or misspelt is an error.

scene = xr.open_zarr(store, consolidated=False)["numbers"].assign_coords(band=BANDS)
weights = xr.DataArray(
    np.zeros((12, 2), np.float32),
    dims=("band", "term"),
    coords={"band": BANDS, "term": ["difference", "sum"]},
)
weights.loc[{"band": "B08"}] = 1
weights.loc[{"band": "B04", "term": "difference"}] = -1
weights.loc[{"band": "B04", "term": "sum"}] = 1

terms = c1x1.xarray.conv(scene, weights, dim="band", nodata=0)
print(terms.dims, terms.shape, terms.dtype)
print("chunks:", terms.data.numblocks, "of", terms.data.chunksize)

# %%
# Nothing was computed yet. The ratio is lazy as well, and so is what ``where`` leaves out: clouds,
# whose numbers are 0 in every band.

total = terms.sel(term="sum", drop=True)
ndvi = (terms.sel(term="difference", drop=True) / total.where(total != 0)).rename("ndvi")
ndvi.attrs = {}
assert dask.is_dask_collection(ndvi.data)

# %%
# Chunk by chunk
# --------------
# Writing computes. At any time each of dask's threads holds one chunk of the scene and what becomes
# of it; ``conv`` takes one thread in each, so that they do not get in each other's way. With
# ``dask.distributed`` the workers may be other machines.

result = Path(folder.name) / "ndvi.zarr"
ndvi.to_zarr(result, consolidated=False)
written = xr.open_zarr(result, consolidated=False)["ndvi"]
chunk = scene.data.blocks[0, 0, 0, 0].nbytes
print(f"scene: {scene.nbytes / 1e6:.1f} MB, a chunk of it: {chunk / 1e6:.1f} MB")
print("clouds:", f"{float(written.isnull().mean()):.1%}")

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 3, figsize=(7, 4.1), layout="constrained")
for ax, (date, image) in zip(axes.flat, written.groupby("time"), strict=True):
    shown = ax.imshow(image.squeeze(), cmap="RdYlGn", vmin=-0.2, vmax=1)
    ax.set_title(f"{date:%B}" if hasattr(date, "strftime") else str(date)[:7])
    ax.set_axis_off()
figure.colorbar(shown, ax=axes, shrink=0.7, label="NDVI")
# sphinx_gallery_end_ignore

# %%
# The same bits as in memory
# --------------------------
# How an array is cut into chunks changes no bit of the result.

whole = c1x1.xarray.conv(scene.compute(), weights, dim="band", nodata=0)
assert np.array_equal(whole.values, terms.values)
one = whole.isel(time=2)
expected = one.sel(term="difference") / one.sel(term="sum").where(lambda values: values != 0)
np.testing.assert_array_equal(expected.values, written.isel(time=2).values)
folder.cleanup()
