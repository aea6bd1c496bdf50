"""
Stains of a tissue section
==========================

A pathologist's slide is a photograph of dyes. How much of each dye a pixel holds is a 1x1
convolution: the *optical density* of red, green and blue, times a 3x3 matrix.

The image is one that scikit-image ships: colon tissue, its nuclei coloured blue by haematoxylin,
and one protein (FHL2) brown by DAB.
"""

# %%
# Three steps, one pass
# ---------------------
# Light fades exponentially in a dye, so the logarithm of a pixel is proportional to the amount of
# dye. The pixel is a byte: a table of 256 logarithms, ``lut``, is the whole first step. The matrix
# is scikit-image's inverse of the colours of three dyes. The last step sets what comes out
# negative to zero, which is ``activation="relu"``.

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.color import hed_from_rgb, separate_stains

import c1x1

slide = data.immunohistochemistry()  # ships with scikit-image
levels = np.maximum(np.arange(256) / 255, 1e-6)
density = (np.log(levels) / np.log(1e-6)).astype(np.float32)
matrix = hed_from_rgb.astype(np.float32)

stains = c1x1.conv(slide, matrix, lut=density, activation="relu")
print(slide.shape, slide.dtype, "to", stains.shape, stains.dtype)

# sphinx_gallery_thumbnail_number = 1
# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 2, figsize=(7, 7), layout="constrained")
axes[0, 0].imshow(slide)
axes[0, 0].set_title("the slide: red, green, blue")
panels = [(axes[0, 1], 0, "haematoxylin", "Blues"), (axes[1, 0], 1, "eosin", "RdPu")]
panels += [(axes[1, 1], 2, "DAB", "YlOrBr")]
for ax, stain, title, colors in panels:
    ax.imshow(stains[..., stain], cmap=colors, vmin=0, vmax=0.07 if stain == 0 else 0.14)
    ax.set_title(title)
for ax in axes.flat:
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# This section was not stained with eosin, and next to none is found. The matrix wants three colours
# and takes it as the third.

print("mean of each stain:", stains.mean(axis=(0, 1)).round(4))

# %%
# One pixel by hand
# -----------------

row, column = 120, 60
values, weights = density[slide[row, column]], matrix[:, 2]
for name, value, weight in zip(["red", "green", "blue"], values, weights, strict=True):
    print(f"{name:>5}: {value:.4f} * {weight:6.3f} = {value * weight:7.4f}")
print(f"  sum: {values @ weights:.4f}   DAB by conv: {stains[row, column, 2]:.4f}")

# %%
# The same in scikit-image
# ------------------------
# ``separate_stains`` gives the same numbers. It makes a float copy of the slide, its logarithm,
# the product and the clipped product; each is as large as the result. A whole slide has
# 100,000x100,000 pixels. ``tracemalloc`` tells what either call takes.


def peak_bytes(call):
    """The most that was allocated while `call` ran, and what it returned."""
    tracemalloc.start()
    result = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, result


image = slide / 255
ours, stains = peak_bytes(lambda: c1x1.conv(slide, matrix, lut=density, activation="relu"))
theirs, reference = peak_bytes(lambda: separate_stains(image, hed_from_rgb))
print(f"bytes a pixel: c1x1 {ours / slide[..., 0].size:.0f}, ", end="")
print(f"scikit-image {theirs / slide[..., 0].size:.0f} (in float64)")
print("largest difference:", abs(stains - reference).max())
assert abs(stains - reference).max() < 1e-6

# %%
# A byte for each stain
# ---------------------
# For a viewer or a file bytes are enough. ``scale`` and ``dtype`` round and saturate in the same
# pass, and ``out`` may be a part of something larger, such as a memory-mapped file: with strips of
# 128 rows no array of the slide's size is ever in memory.

full = 0.25  # the amount that becomes 255; there is hardly more
sheet = np.zeros((512, 512, 3), np.uint8)  # np.memmap does as well
for top in range(0, 512, 128):
    rows = slice(top, top + 128)
    c1x1.conv(
        slide[rows],
        matrix,
        scale=255 / full,
        lut=density,
        activation="relu",
        dtype=np.uint8,
        out=sheet[rows],
    )
assert abs(sheet - (255 / full * stains).clip(0, 255)).max() <= 0.501
print(sheet.shape, sheet.dtype, f"{np.mean(sheet == 255):.2%} of the bytes are full")

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
dab = sheet[..., 2]
axes[0].hist(dab[dab > 0], bins=64, color="#9c6b30")
axes[0].set(title="bytes of DAB", xlabel="value", ylabel="pixels")
axes[0].axvline(60, color="#333333", linestyle="--")
axes[1].imshow(slide)
axes[1].contour(dab > 60, levels=[0.5], colors="#111111", linewidths=0.4)
axes[1].set_title(f"DAB above 60: {np.mean(dab > 60):.0%} of the pixels")
axes[1].set_axis_off()
# sphinx_gallery_end_ignore
