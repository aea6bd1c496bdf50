"""
How 28x28x192 shrinks to 28x28x1
================================

A 1x1 convolution looks at one pixel at a time, so how can it make an image smaller? It does not
make it smaller in height or width. It *adds up the channels*: 192 numbers at a pixel become one.

This page does it with real numbers, draws each step, and shows why ``x * w`` alone does not shrink.
"""

# %%
# An image with 192 channels
# --------------------------
# We need an image of 28x28 pixels with 192 numbers at each. Here is one to look at: a photograph
# of 224x224 pixels, cut into 28x28 tiles. A tile has 8x8 points of red, green and blue, and 8 · 8
# · 3 = 192. From now on such a tile is *one pixel with 192 channels*.

from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Polygon, Rectangle

import c1x1

with (files("c1x1") / "data" / "photograph.png").open("rb") as file:
    photograph = plt.imread(file)[8:232, 20:244, :3]

tiles = photograph.reshape(28, 8, 28, 8, 3).swapaxes(1, 2)
x = np.ascontiguousarray(tiles).reshape(28, 28, 192)
print("photograph:", photograph.shape)
print("image x:   ", x.shape)

# %%
# The pixel in row 9 and column 7 is the framed tile. Written in a row, its 192 numbers are its
# channels.

row, column = 9, 7
# sphinx_gallery_thumbnail_number = 2
# sphinx_gallery_start_ignore
RGB = ["#d1495b", "#3a8d5d", "#2f6fb0"] * 64

figure = plt.figure(figsize=(7, 5.6), layout="constrained")
axes = figure.subplot_mosaic([["image", "tile"], ["numbers", "numbers"]], height_ratios=[2, 1])
axes["image"].imshow(photograph)
axes["image"].set_title("28x28 tiles")
for line in range(8, 224, 8):
    axes["image"].axhline(line - 0.5, color="white", linewidth=0.3)
    axes["image"].axvline(line - 0.5, color="white", linewidth=0.3)
corner = 8 * column - 0.5, 8 * row - 0.5
axes["image"].add_patch(Rectangle(corner, 8, 8, fill=False, edgecolor="red", linewidth=2))
axes["tile"].imshow(tiles[row, column])
axes["tile"].set_title(f"the one at ({row}, {column}): 8x8x3")
for name in ("image", "tile"):
    axes[name].set_axis_off()
axes["numbers"].bar(range(192), x[row, column], color=RGB, width=1.0)
axes["numbers"].set(xlim=(-0.5, 191.5), xlabel="channel", ylabel="value")
axes["numbers"].set_title(f"x[{row}, {column}]: 192 numbers")
# sphinx_gallery_end_ignore

# %%
# A filter is 192 numbers too
# ---------------------------
# One 1x1 filter is *not* one number. It has one weight per channel: its shape is ``(1, 1, 192)``.
# This one takes 21 % of red, 72 % of green and 7 % of blue, as the eye does, and the mean over
# the 64 points.
#
# The drawing has the whole story. Multiplying keeps all 192 channels. Adding them up leaves one.

w = np.tile(np.float32([0.2126, 0.7152, 0.0722]) / 64, 64).reshape(1, 1, 192)
print("filter w:", w.shape, " sum of its weights:", w.sum().round(4))

# sphinx_gallery_start_ignore


def draw_box(axes, left, bottom, width, height, depth, color, text):
    """A box seen from the front, its channels going back."""
    back = np.array([0.5 * depth, 0.36 * depth])
    up = np.array([0, height])
    a, b = np.array([left, bottom]), np.array([left + width, bottom])
    c, d = b + up, a + up
    for corners, light in [((a, b, c, d), 0.75), ((d, c, c + back, d + back), 0.45)]:
        axes.add_patch(Polygon(corners, facecolor=(color, light), edgecolor="#333333"))
    side = (b, b + back, c + back, c)
    axes.add_patch(Polygon(side, facecolor=(color, 0.6), edgecolor="#333333"))
    middle = left + width / 2 + back[0] / 2
    axes.text(middle, bottom - 0.2, text, ha="center", va="top", fontsize=12)


figure, axes = plt.subplots(figsize=(7, 5.4), layout="constrained")
draw_box(axes, 0.2, 5.2, 1.8, 1.8, 3.0, "#2f6fb0", "image x\n28 x 28 x 192")
axes.text(4.15, 6.5, "×", fontsize=26, ha="center", va="center")
draw_box(axes, 4.8, 6.0, 0.16, 0.16, 3.0, "#d1495b", "filter w\n1 x 1 x 192")
axes.text(7.15, 6.5, "=", fontsize=26, ha="center", va="center")
draw_box(axes, 7.9, 5.2, 1.8, 1.8, 3.0, "#8a5a9e", "x * w: products\n28 x 28 x 192, nothing shrank")
axes.annotate(
    "", xy=(9.4, 2.75), xytext=(9.4, 3.95), arrowprops={"arrowstyle": "-|>", "linewidth": 2}
)
axes.text(9.15, 3.35, "add up the 192 products of each pixel", ha="right", va="center", fontsize=12)
sum_in_words = "x[0] w[0] + x[1] w[1] + ... + x[191] w[191]  ="
axes.text(8.0, 1.65, sum_in_words, ha="right", va="center", fontsize=12)
draw_box(axes, 8.45, 0.75, 1.8, 1.8, 0.12, "#3a8d5d", "result y\n28 x 28 x 1")
axes.set(xlim=(0, 11.6), ylim=(-0.4, 8.3), aspect="equal")
axes.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# Multiplying does not shrink
# ---------------------------
# ``x * w`` gives every channel its weight, and that is all: 192 products at each pixel, as many
# numbers as before.

products = x * w
print("x * w:", products.shape)

# %%
# The convolution multiplies *and adds*. One sum at each pixel, one number left:

y = c1x1.conv(x, w)
print("conv(x, w):", y.shape)

# %%
# One pixel by hand
# -----------------
# The first terms of the sum at our pixel, and what all of them give.

values, weights, terms = x[row, column], w[0, 0], products[row, column]
for c in range(4):
    print(f"channel {c}: {values[c]:.4f} * {weights[c]:.6f} = {terms[c]:.6f}")
print("... 188 more channels ...")
print(f"sum of all 192: {terms.sum():.4f}    conv: {y[row, column, 0]:.4f}")

# %%
# The same in bars. Above, 192 values; then 192 weights; then 192 products, which are as many. At
# the bottom their sum grows from channel to channel, and its last value is the result.

sum_so_far = np.cumsum(terms)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(4, 1, figsize=(7, 7), sharex=True, layout="constrained")
rows = [
    (values, f"x[{row}, {column}]: 192 values"),
    (weights, "w: 192 weights"),
    (terms, "x * w: 192 products, still one per channel"),
]
for ax, (heights, title) in zip(axes, rows, strict=False):
    ax.bar(range(192), heights, color=RGB, width=1.0)
    ax.set_title(title)
axes[3].fill_between(range(192), sum_so_far, step="mid", color="#3a8d5d", alpha=0.5)
axes[3].plot(191, sum_so_far[-1], "o", color="#1d5a38", clip_on=False, zorder=3)
axes[3].annotate(
    f"y[{row}, {column}, 0] = {y[row, column, 0]:.4f}",
    xy=(191, sum_so_far[-1]),
    xytext=(-75, -2),
    textcoords="offset points",
    ha="right",
    va="center",
    arrowprops={"arrowstyle": "-", "color": "#1d5a38"},
)
axes[3].set(title="the sum so far: one number in the end", xlabel="channel", xlim=(-0.5, 191.5))
# sphinx_gallery_end_ignore

# %%
# All pixels
# ----------
# Above the 192 planes of ``x * w``, each 28x28 (square roots, to brighten them). A row of planes
# is a row of points in the tiles; its colours take turns, and green weighs most. Below the one
# plane that is left when all are added up: the photograph in grey, 28x28x1.

planes = products.transpose(2, 0, 1)  # 192 of 28x28
print(len(planes), "planes of", planes[0].shape, "add up to one:", planes.sum(axis=0).shape)

# sphinx_gallery_start_ignore
sheet = planes.reshape(8, 24, 28, 28).swapaxes(1, 2).reshape(8 * 28, 24 * 28)
figure, axes = plt.subplots(2, 1, figsize=(7, 5.6), layout="constrained")
axes[0].imshow(np.sqrt(sheet), cmap="gray")
axes[0].set_title("x * w: 192 planes of 28x28")
axes[1].imshow(y[:, :, 0], cmap="gray", vmin=0, vmax=1)
axes[1].set_title("conv(x, w): one plane of 28x28")
for ax in axes:
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The same in NumPy
# -----------------
# Each of these lines adds up the channels. The first makes all 192 planes of products before it
# does; ``conv`` keeps a sum in a register and writes the result only.

by_sum = (x * w).sum(axis=-1, keepdims=True)
by_tensordot = np.tensordot(x, w[0, 0], axes=1)[:, :, None]
by_einsum = np.einsum("hwc,c->hw", x, w[0, 0])[:, :, None]
for other in (by_sum, by_tensordot, by_einsum):
    assert other.shape == y.shape
    np.testing.assert_allclose(other, y, rtol=1e-5)
print(f"products in memory: {products.nbytes:,} bytes; result: {y.nbytes:,} bytes")

# %%
# More filters, more channels
# ---------------------------
# One filter leaves one channel. With k filters there are k sums at each pixel, and these are the
# new channels: the number of *filters* decides, whatever the number of channels was. Filters
# stand side by side as columns, ``(192, k)``.
#
# Five of them: means of red, green and blue, and the differences right minus left and bottom
# minus top.

filters = np.zeros((8, 8, 3, 5), np.float32)
for channel in range(3):
    filters[:, :, channel, channel] = 1 / 64
filters[:, :4, :, 3], filters[:, 4:, :, 3] = -1 / 96, 1 / 96
filters[:4, :, :, 4], filters[4:, :, :, 4] = -1 / 96, 1 / 96
filters = filters.reshape(192, 5)

features = c1x1.conv(x, filters)
print(x.shape, "by", filters.shape, "gives", features.shape)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 3, figsize=(7, 2.7), layout="constrained")
axes[0].imshow(features[:, :, :3].clip(0, 1))
axes[0].set_title("channels 0, 1, 2")
for ax, channel, title in [(axes[1], 3, "3: right - left"), (axes[2], 4, "4: bottom - top")]:
    ax.imshow(features[:, :, channel], cmap="RdBu_r", vmin=-0.3, vmax=0.3)
    ax.set_title(title)
for ax in axes:
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# Small enough for pencil and paper
# ---------------------------------
# Two channels of 2x2 pixels and the weights 2 and 3. At every pixel: 2 times the number in
# channel 0 plus 3 times the number in channel 1.

image = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])  # channels first
small = c1x1.conv(image, np.array([[[2.0]], [[3.0]]]), layout="CHW")
print(small)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(figsize=(7, 2.9), layout="constrained")
planes = [
    (0.0, image[0], "channel 0", "#2f6fb0"),
    (3.8, image[1], "channel 1", "#2f6fb0"),
    (7.6, small[0], "result", "#3a8d5d"),
]
for left, plane, title, color in planes:
    for i, j in np.ndindex(2, 2):
        is_first = (i, j) == (0, 0)
        face = (color, 0.45 if is_first else 0.15)
        axes.add_patch(Rectangle((left + j, 1 - i), 1, 1, facecolor=face, edgecolor="#333333"))
        text = f"{plane[i, j]:.0f}"
        axes.text(left + j + 0.5, 1.5 - i, text, ha="center", va="center", fontsize=17)
    axes.text(left + 1, 2.15, title, ha="center", va="bottom", fontsize=13)
for place, sign in [(-0.5, "2 ×"), (2.9, "+ 3 ×"), (6.7, "=")]:
    axes.text(place, 1, sign, ha="center", va="center", fontsize=17)
axes.text(4.3, -0.5, "top left: 2 · 1 + 3 · 5 = 17", ha="center", fontsize=14)
axes.set(xlim=(-1.1, 9.8), ylim=(-0.8, 2.8), aspect="equal")
axes.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# What to remember
# ----------------
# - A 1x1 filter on 192 channels has 192 weights.
# - ``x * w`` multiplies, so the shape stays. The sum over channels is what shrinks.
# - The result has as many channels as there are filters, at each of the 28x28 pixels.
#
# ``c1x1.explain`` tells the same of any call, with the numbers of one pixel:

print("\n".join(c1x1.explain(x, w, pixel=(row, column)).splitlines()[:6]))
