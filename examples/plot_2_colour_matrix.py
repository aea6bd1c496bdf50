"""
A photograph through a colour matrix
====================================

A colour matrix is a 1x1 convolution from 3 channels to 3: each new channel is a weighted sum of
red, green and blue at the same pixel. Grey is one from 3 channels to 1.
"""

# %%
# The weights
# -----------
# One column per new channel. The first matrix raises the saturation by 35 % about the luminance
# of Rec. 709, then lifts red and lowers blue: a warm evening. Grey is the luminance itself.

from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np

import c1x1

with (files("c1x1") / "data" / "photograph.png").open("rb") as file:
    photograph = plt.imread(file)[:, :, :3]  # float32 from 0 to 1

luminance = np.float32([[0.2126], [0.7152], [0.0722]])
gains = np.float32([1.08, 1.0, 0.86])
warm = (1.35 * np.eye(3, dtype=np.float32) - 0.35 * luminance) * gains
print(warm.round(3))

# %%
# A picture of bytes
# ------------------
# Cameras and files give bytes. ``dtype=np.uint8`` rounds and saturates while the result is
# written, so no float image exists at any time.

picture = np.rint(photograph * 255).astype(np.uint8)
evening = c1x1.conv(picture, warm, dtype=np.uint8)
grey = c1x1.conv(picture, luminance, dtype=np.uint8)
print(picture.shape, "to", evening.shape, evening.dtype, "and", grey.shape, grey.dtype)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 2, figsize=(7, 5.5), layout="constrained")
small = c1x1.conv(picture, warm, dtype=np.uint8, stride=8)
panels = [
    (picture, "the photograph, 240x320x3"),
    (evening, "warm evening, 240x320x3"),
    (grey, "grey, 240x320x1"),
    (small, "warm, stride 8: 30x40x3"),
]
for ax, (image, title) in zip(axes.flat, panels, strict=True):
    ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    ax.set_title(title)
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The same in NumPy
# -----------------
# NumPy needs an image of floats, a product, a rounded one and a clipped one.

by_numpy = np.clip(np.rint(picture.astype(np.float32) @ warm), 0, 255).astype(np.uint8)
print("largest difference:", abs(evening.astype(int) - by_numpy).max())
assert abs(evening.astype(int) - by_numpy).max() <= 1

# %%
# In linear light
# ---------------
# Bytes of a photograph are not proportional to light. A table of 256 numbers makes them so, and
# ``lut`` looks each byte up on the way in, without a second image.

levels = np.arange(256) / 255
to_linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
linear_grey = c1x1.conv(picture, luminance, lut=to_linear.astype(np.float32))
print(
    "mean luminance:",
    linear_grey.mean().round(3),
    " of the bytes themselves:",
    (grey.mean() / 255).round(3),
)
