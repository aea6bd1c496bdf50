"""
A MobileNet block in NumPy
==========================

The block that MobileNetV2 is built of, the *inverted residual*: a 1x1 convolution to six times the
channels, a 3x3 convolution of each channel on its own, a 1x1 convolution back, and the input added.
Its two 1x1 convolutions do most of the work. With them in c1x1, the rest is a few lines of NumPy.
"""

# %%
# Weights with batch normalisation
# --------------------------------
# A trained network brings a normalisation after each convolution. For inference it is a factor and
# a constant for each channel, which ``fold_batchnorm`` moves into weights and bias. The numbers
# here are random, in the shapes of the block for 24 channels at 56x56.

import matplotlib.pyplot as plt
import numpy as np

import c1x1

rng = np.random.default_rng(0)
CHANNELS, EXPANDED = 24, 144


def normalisation(channels):
    """gamma, beta, mean and variance, as a trained layer has them."""
    return (
        rng.uniform(0.5, 1.5, channels).astype(np.float32),
        rng.normal(0, 0.3, channels).astype(np.float32),
        rng.normal(0, 0.3, channels).astype(np.float32),
        rng.uniform(0.5, 2, channels).astype(np.float32),
    )


w_expand = rng.normal(0, 0.3, (CHANNELS, EXPANDED)).astype(np.float32)
w_depth = rng.normal(0, 0.3, (3, 3, EXPANDED)).astype(np.float32)
w_project = rng.normal(0, 0.1, (EXPANDED, CHANNELS)).astype(np.float32)
n_expand, n_depth, n_project = map(normalisation, (EXPANDED, EXPANDED, CHANNELS))

# %%
# The block
# ---------
# A folded layer has no activation, so that what follows stays a sum: the clip to 0..6 is given to
# the layer that is made of the folded weights. The last layer adds the input, ``residual=x``, while
# it writes its result.

expand = c1x1.Pointwise(w_expand).fold_batchnorm(*n_expand, eps=1e-5)
expand = c1x1.Pointwise(expand.weight, expand.bias, activation="relu6")
project = c1x1.Pointwise(w_project).fold_batchnorm(*n_project, eps=1e-5)


def depthwise(x, w, normalisation, eps=1e-5):
    """3x3 convolution of each channel on its own: nine shifted images, weighted and added."""
    gamma, beta, mean, var = normalisation
    factor = gamma / np.sqrt(var + eps)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = x.shape[1:3]
    y = np.zeros_like(x)
    for i, j in np.ndindex(3, 3):
        y += padded[:, i : i + height, j : j + width] * (w[i, j] * factor)
    return np.clip(y + (beta - mean * factor), 0, 6)


def inverted_residual(x):
    """(N, H, W, 24) to the same shape."""
    return project(depthwise(expand(x), w_depth, n_depth), residual=x)


x = rng.normal(0, 1, (1, 56, 56, CHANNELS)).astype(np.float32)
y = inverted_residual(x)
print(x.shape, "to", expand(x).shape, "to", y.shape)

# %%
# Is it right?
# ------------
# The same in float64, step by step as the paper has it: convolution, normalisation, activation.


def normalise(x, normalisation, eps=1e-5):
    gamma, beta, mean, var = (value.astype(np.float64) for value in normalisation)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def reference(x):
    x = x.astype(np.float64)
    wide = np.clip(normalise(x @ w_expand, n_expand), 0, 6)
    padded = np.pad(wide, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    filtered = np.einsum("nhwcij,ijc->nhwc", windows, w_depth.astype(np.float64))
    wide = np.clip(normalise(filtered, n_depth), 0, 6)
    return normalise(wide @ w_project, n_project) + x


error = abs(y - reference(x)).max()
print(f"largest difference from float64: {error:.1e}")
assert error < 1e-4

# %%
# Where the work is
# -----------------
# Multiply-adds of the block. The 3x3 convolution has nine for each of the 144 channels, the 1x1
# convolutions have 24 for each: the 1x1 ones are more than four fifths.

pixels = 56 * 56
work = {
    "expand, 1x1": pixels * CHANNELS * EXPANDED,
    "depthwise, 3x3": pixels * 9 * EXPANDED,
    "project, 1x1": pixels * EXPANDED * CHANNELS,
}
for name, count in work.items():
    print(f"{name:>15}: {count / 1e6:5.2f} million, {count / sum(work.values()):.0%}")

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(2, 1, figsize=(7, 4.2), layout="constrained", height_ratios=[2, 1.2])
shapes = [
    ("x", 24),
    ("expand\n1x1, relu6", 144),
    ("depthwise\n3x3, relu6", 144),
    ("project\n1x1, + x", 24),
]
for place, (name, channels) in enumerate(shapes):
    height = channels / 144
    color = "#7a7a7a" if place in (0, 2) else "#2f6fb0"
    axes[0].bar(2 * place, height, bottom=-height / 2, width=0.9, color=color, alpha=0.75)
    axes[0].text(2 * place, 0.56, f"56x56x{channels}", ha="center", va="bottom")
    axes[0].text(2 * place, -0.58, name, ha="center", va="top")
    if place:
        axes[0].annotate(
            "",
            xy=(2 * place - 0.55, 0),
            xytext=(2 * place - 1.45, 0),
            arrowprops={"arrowstyle": "-|>"},
        )
SKIP = {"color": "#d1495b", "linestyle": "--", "linewidth": 1.2}
axes[0].plot([0, 0, 6], [-0.8, -1.2, -1.2], **SKIP)
axes[0].annotate("", xy=(6, -0.92), xytext=(6, -1.21), arrowprops={"arrowstyle": "-|>", **SKIP})
axes[0].set(xlim=(-0.8, 6.8), ylim=(-1.3, 0.75))
axes[0].set_axis_off()
left = 0
for (name, count), color in zip(work.items(), ["#2f6fb0", "#7a7a7a", "#5b93cc"], strict=True):
    axes[1].barh(0, count / 1e6, left=left, color=color)
    axes[1].text(left + count / 2e6, 0, name, ha="center", va="center", color="white", fontsize=8)
    left += count / 1e6
axes[1].set(xlim=(0, left), yticks=[], xlabel="million multiply-adds")
# sphinx_gallery_end_ignore

# %%
# Block after block
# -----------------
# A network is a list of such calls. Whole networks with other operations belong into a framework;
# this is for the case where the framework weighs more than the network does.

for _ in range(3):
    x = inverted_residual(x)
assert np.isfinite(x).all()
print("after three blocks:", x.shape)
