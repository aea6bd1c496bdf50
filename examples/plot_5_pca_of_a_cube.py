"""
Principal components of a hyperspectral cube
============================================

An imaging spectrometer takes 224 bands at each pixel, and most of them tell the same. Principal
components keep what differs in a few numbers: ``(x - mean) @ components``, a 1x1 convolution from
224 channels to 6.

scikit-learn finds the components. ``Pointwise.from_sklearn`` applies them to the cube as it lies.
"""

# %%
# A cube of 224 bands
# -------------------
# Made up: five minerals with smooth spectra and absorption bands, in layers that fold, with noise
# in every band. Numbers are 16-bit, as such instruments deliver them. (How it is made is in the
# script, which stands at the end of this page.)

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

import c1x1

WAVELENGTHS = np.linspace(400, 2500, 224)  # nanometres

# sphinx_gallery_start_ignore


def make_spectra():
    """Five reflectances: a slope with a few absorption bands."""
    bands = {  # level, slope, then (centre, width, depth) of absorptions
        "kaolinite": (0.62, 0.10, [(1400, 25, 0.2), (2165, 30, 0.18), (2205, 25, 0.3)]),
        "goethite": (0.50, 0.12, [(480, 70, 0.25), (670, 60, 0.06), (930, 120, 0.18)]),
        "calcite": (0.75, 0.02, [(1900, 40, 0.1), (2340, 45, 0.32)]),
        "alunite": (0.66, -0.05, [(1430, 40, 0.22), (1760, 30, 0.18), (2170, 45, 0.3)]),
        "basalt": (0.12, 0.03, [(1000, 200, 0.03)]),
    }
    spectra = []
    for level, slope, absorptions in bands.values():
        spectrum = level + slope * (WAVELENGTHS - 1450) / 1050
        for centre, width, depth in absorptions:
            spectrum -= depth * np.exp(-(((WAVELENGTHS - centre) / width) ** 2))
        spectra.append(spectrum)
    return list(bands), np.array(spectra)


def make_cube(height=160, width=240):
    """Cube (height, width, 224) in uint16, and the same without noise."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width] / height
    fold = y + 0.18 * np.sin(4.2 * x + 1) + 0.07 * np.sin(11 * x - 3 * y) + 0.35 * x
    score = np.stack([np.cos(2 * np.pi * (fold * 1.3 - k / 5)) * 5 for k in range(5)], axis=-1)
    share = np.exp(score) / np.exp(score).sum(axis=-1, keepdims=True)
    light = 0.8 + 0.2 * np.cos(9 * fold + 2 * y)[..., None]  # slopes in the sun and in shade
    clean = 10_000 * light * (share @ make_spectra()[1])
    noisy = clean + rng.normal(0, 250, clean.shape)
    return np.rint(noisy.clip(0, 65535)).astype(np.uint16), clean.astype(np.float32)


# sphinx_gallery_end_ignore
cube, clean = make_cube()
print("cube:", cube.shape, cube.dtype, f"{cube.nbytes / 1e6:.0f} MB")

# sphinx_gallery_thumbnail_number = 2
# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
visible = [int(abs(WAVELENGTHS - nm).argmin()) for nm in (640, 550, 460)]
axes[0].imshow(np.clip(cube[..., visible] / 7500, 0, 1))
axes[0].set_title("640, 550 and 460 nm")
axes[0].set_axis_off()
for name, spectrum in zip(*make_spectra(), strict=True):
    axes[1].plot(WAVELENGTHS, spectrum, label=name)
axes[1].set(title="spectra of the minerals", xlabel="nanometres", ylim=(0, 1.15))
axes[1].legend(fontsize="small", ncols=2)
# sphinx_gallery_end_ignore

# %%
# Fit on some pixels, apply to all
# --------------------------------
# Components need a few thousand pixels, not all. Then each pixel is independent of the others.

pixels = cube.reshape(-1, 224)
pca = PCA(6, svd_solver="covariance_eigh").fit(pixels[::10].astype(np.float32))
layer = c1x1.Pointwise.from_sklearn(pca)
scores = layer(cube)
print(layer)
print(cube.shape, "to", scores.shape, scores.dtype)
print("share of the variance:", pca.explained_variance_ratio_.round(4))

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 3, figsize=(7, 3.8), layout="constrained")
for k, ax in enumerate(axes.flat):
    limit = np.percentile(abs(scores[..., k]), 99)
    ax.imshow(scores[..., k], cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(f"component {k + 1}: {pca.explained_variance_ratio_[k]:.2%}")
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The same in scikit-learn
# ------------------------
# ``transform`` wants two axes and makes a float copy of the cube, less the mean, before it
# multiplies. Here the numbers are converted a block of pixels at a time, and the mean is part of
# the bias.

expected = pca.transform(pixels.astype(np.float64)).reshape(scores.shape)
error = abs(scores - expected).max() / abs(expected).max()
print(f"largest difference: {error:.1e} of the largest score")
assert error < 1e-5
print(f"scores: {scores.nbytes / 1e6:.1f} MB; the cube in float64: {8 * cube.size / 1e6:.0f} MB")

# %%
# And back: less noise
# --------------------
# Six numbers hold the minerals; the noise of 224 bands is left behind. ``inverse_transform`` is a
# 1x1 convolution too, from 6 channels to 224. In a ``Chain`` both run on one block of pixels
# before the next, and the result is rounded to 16 bits on the way out.

back = c1x1.Pointwise(pca.components_.astype(np.float32), pca.mean_, dtype=np.uint16)
denoised = c1x1.Chain([layer, back])(cube)
before, after = (np.sqrt(np.mean((c - clean) ** 2)) for c in (cube, denoised))
print(denoised.shape, denoised.dtype, f"error before {before:.0f}, after {after:.0f}")
assert after < before / 4

# sphinx_gallery_start_ignore
row, column = 80, 60
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(WAVELENGTHS, cube[row, column], color="#bbbbbb", label="the cube")
ax.plot(WAVELENGTHS, clean[row, column], color="#333333", linewidth=2, label="without noise")
ax.plot(WAVELENGTHS, denoised[row, column], color="#d1495b", label="from 6 components")
ax.set(title=f"pixel ({row}, {column})", xlabel="nanometres")
ax.legend()
# sphinx_gallery_end_ignore
