"""
Band maths on a satellite scene
===============================

An index such as NDVI is a ratio of weighted sums of bands, and so is the fraction of a pixel that
is water or forest. The sums are 1x1 convolutions: of 16-bit numbers as they come, with the offset
and scale of the product folded into the weights, and pixels without data kept apart.

The scene is made up: a map of five kinds of ground, each with its spectrum in the twelve bands of
a Sentinel-2 Level-2A product, mixed at their borders, with noise and the edge of the swath.
"""

# %%
# A scene of twelve bands
# -----------------------
# Values are reflectance times 10,000 plus 1,000, as in products since 2022. 0 means no data. (How
# the map is made is in the script, which stands at the end of this page.)

import matplotlib.pyplot as plt
import numpy as np

import c1x1

BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
GROUND = {  # percent of the light that comes back, band by band
    "water": [6, 6, 5, 3, 2.5, 2, 2, 1.5, 1.5, 1, 0.6, 0.4],
    "forest": [2, 2.5, 4, 3, 8, 20, 25, 27, 29, 29, 13, 6],
    "field": [3, 4, 8, 5, 13, 32, 40, 42, 44, 43, 23, 12],
    "soil": [8, 10, 14, 18, 21, 23, 25, 27, 29, 30, 37, 32],
    "town": [12, 14, 16, 18, 19, 20, 21, 22, 23, 23, 26, 24],
}
spectra = np.array(list(GROUND.values())) / 100  # (5, 12), as reflectance

# sphinx_gallery_start_ignore


def smooth_noise(rng, size, waves):
    """Between about -1 and 1: low frequencies only."""
    values = np.zeros((size, size))
    y, x = np.mgrid[:size, :size] / size
    for _ in range(40):
        frequency = rng.normal(0, waves, 2)
        phase = rng.uniform(0, 2 * np.pi)
        values += np.cos(2 * np.pi * (frequency[0] * y + frequency[1] * x) + phase)
    return values / 9


def make_scene(size=480):
    """Bands (size, size, 12) in uint16, and the fractions (size, size, 5) they were mixed from."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:size, :size] / size
    river = 0.04 - abs(y - 0.55 - 0.12 * np.sin(5 * x) - 0.02 * np.sin(19 * x))
    wood, dry = smooth_noise(rng, size, 2), smooth_noise(rng, size, 3)
    plots = np.floor(9 * x + 0.6 * y) * 3 + np.floor(11 * y - 0.5 * x)  # parcels
    ploughed = np.sin(12.9898 * plots) > 0.35
    town = 0.16 - np.hypot(x - 0.72, y - 0.3) + 0.03 * smooth_noise(rng, size, 8)
    score = np.stack(
        [
            400 * river,
            8 * wood - 1,
            3 + 0 * x - 6 * ploughed,
            3 - 6 * ~ploughed + dry,
            60 * town + 4 * smooth_noise(rng, size, 30),
        ],
        axis=-1,
    )
    score -= score.max(axis=-1, keepdims=True)
    fractions = np.exp(score) / np.exp(score).sum(axis=-1, keepdims=True)
    light = 1 + 0.08 * smooth_noise(rng, size, 12)[..., None]
    reflectance = light * (fractions @ spectra) + rng.normal(0, 0.003, (size, size, 12))
    bands = np.rint(np.clip(reflectance, 0.0001, 1) * 10_000 + 1_000).astype(np.uint16)
    bands[x + 0.22 * y > 1.08] = 0  # beyond the swath
    return bands, fractions


# sphinx_gallery_end_ignore
scene, truth = make_scene()
print("scene:", scene.shape, scene.dtype, f"{scene.nbytes / 1e6:.1f} MB")

# sphinx_gallery_thumbnail_number = 2
# sphinx_gallery_start_ignore
color = np.clip((scene[..., [3, 2, 1]].astype(float) - 1000) / 2600, 0, 1)
color[scene[..., 0] == 0] = 1
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
axes[0].imshow(color**0.6)
axes[0].set_title("bands 4, 3, 2; white: no data")
axes[0].set_axis_off()
for name, spectrum, line in zip(
    GROUND, spectra, ["#2f6fb0", "#1d5a38", "#7fb347", "#a5692a", "#777777"], strict=True
):
    axes[1].plot(range(12), spectrum, "o-", color=line, markersize=3, label=name)
axes[1].set_xticks(range(12), BANDS, rotation=90)
axes[1].set_title("reflectance of the ground")
axes[1].legend()
# sphinx_gallery_end_ignore

# %%
# NDVI and NDWI
# -------------
# Both are differences over sums of two bands: four filters, one pass over the scene. The layer is
# written for reflectances. ``fold_normalization`` turns it into one that takes the numbers of the
# file: ``(number - 1000) / 10000`` is then a part of weights and bias, and costs nothing.

near, red, green = BANDS.index("B08"), BANDS.index("B04"), BANDS.index("B03")
weights = np.zeros((12, 4), np.float32)
weights[near, 0], weights[red, 0] = 1, -1  # NDVI: difference
weights[near, 1], weights[red, 1] = 1, 1  # and sum
weights[green, 2], weights[near, 2] = 1, -1  # NDWI: difference
weights[green, 3], weights[near, 3] = 1, 1  # and sum

layer = c1x1.Pointwise(weights, x_dtype=np.uint16).fold_normalization(mean=1_000, std=10_000)
terms = layer(scene, nodata=0)
print(terms.shape, terms.dtype)

# %%
# ``nodata=0`` names the value that stands for nothing. A pixel that has it in any band has it in
# every channel of the result: where all four sums are 0, there is no data.

has_data = terms.any(axis=-1)
ratio = np.full((*terms.shape[:2], 2), np.nan, np.float32)
np.divide(terms[..., ::2], terms[..., 1::2], out=ratio, where=has_data[..., None])
ndvi, ndwi = ratio[..., 0], ratio[..., 1]
print(f"{np.mean(~has_data):.1%} of the pixels are without data")

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
for ax, index, title, colors in [
    (axes[0], ndvi, "NDVI", "RdYlGn"),
    (axes[1], ndwi, "NDWI", "BrBG"),
]:
    shown = ax.imshow(index, cmap=colors, vmin=-1, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
    figure.colorbar(shown, ax=ax, orientation="horizontal", shrink=0.8)
# sphinx_gallery_end_ignore

# %%
# Against NumPy, which needs a float copy of the scene, and a mask made beforehand:

reflectance = (scene.astype(np.float64) - 1_000) / 10_000
with np.errstate(invalid="ignore"):
    expected = (reflectance[..., near] - reflectance[..., red]) / (
        reflectance[..., near] + reflectance[..., red]
    )
expected[(scene == 0).any(axis=-1)] = np.nan
np.testing.assert_allclose(ndvi, expected, atol=1e-4)
print(f"float64 copy: {reflectance.nbytes / 1e6:.1f} MB")

# %%
# How much of a pixel is what
# ---------------------------
# At borders a pixel is a mixture of spectra. The least-squares fractions are the spectrum times
# the pseudo-inverse of the five spectra: a filter for each kind of ground, and again the offset
# and scale of the file are folded in.

unmix = np.linalg.pinv(spectra).astype(np.float32)  # (12, 5)
unmixer = c1x1.Pointwise(unmix, x_dtype=np.uint16, activation=("clip", 0.0, 1.0))
fractions = unmixer.fold_normalization(1_000, 10_000)(scene, nodata=0)

error = abs(fractions - truth)[has_data]
for name, mean in zip(GROUND, error.mean(axis=0), strict=True):
    print(f"{name:>7}: mean error of the fraction {mean:.3f}")
assert error.mean() < 0.1

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 5, figsize=(7, 3.3), layout="constrained")
for column, name in enumerate(GROUND):
    for ax, values in [
        (axes[0, column], truth[..., column]),
        (axes[1, column], fractions[..., column]),
    ]:
        ax.imshow(np.where(has_data, values, np.nan), cmap="viridis", vmin=0, vmax=1)
        ax.set_axis_off()
    axes[0, column].set_title(name)
for ax, text in [(axes[0, 0], "made of"), (axes[1, 0], "found")]:
    ax.text(-0.08, 0.5, text, rotation=90, ha="right", va="center", transform=ax.transAxes)
# sphinx_gallery_end_ignore

# %%
# Bands in files of their own
# ---------------------------
# Satellite products often come band by band, channels first. ``layout="CHW"`` takes them as they
# lie, with filters as rows; the result has the same bits.

bands = np.ascontiguousarray(scene.transpose(2, 0, 1))  # (12, 480, 480)
first = c1x1.conv(bands, layer.weight.T, layer.bias, layout="CHW", nodata=0)
assert np.array_equal(first.transpose(1, 2, 0), terms)
print(bands.shape, "to", first.shape)
