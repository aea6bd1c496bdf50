"""
A network at every pixel
========================

A multilayer perceptron applied to each pixel is a stack of 1x1 convolutions. This one was trained
in PyTorch to tell sky, hills, water, grass and balloons from a pixel's colour and place. Here it
runs on the whole image from a file of 5 KB, without PyTorch.
"""

# %%
# What it was trained on
# ----------------------
# Strokes on the photograph of the package, as one paints them in a tool for labelling. The script
# that trains is ``examples/pixel_classifier.py``; its last line is
#
# .. code-block:: text
#
#     np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})

import matplotlib.pyplot as plt
import numpy as np
from pixel_classifier import CLASSES, WEIGHTS, features, painted, photograph

import c1x1

x = features()
print("red, green, blue, row, column:", x.shape, x.dtype)

# sphinx_gallery_thumbnail_number = 2
# sphinx_gallery_start_ignore
COLORS = np.array([[155, 190, 230], [95, 85, 120], [50, 90, 140], [110, 160, 60], [215, 80, 60]])
strokes = painted()
canvas = photograph() * 0.6 + 0.25
canvas[strokes >= 0] = COLORS[strokes[strokes >= 0]] / 255
figure, ax = plt.subplots(figsize=(7, 5.3), layout="constrained")
ax.imshow(canvas.clip(0, 1))
for kind, name in enumerate(CLASSES):
    ax.plot([], [], "s", color=COLORS[kind] / 255, label=name)
ax.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.01))
ax.set_title(f"painted: {np.mean(strokes >= 0):.0%} of the pixels")
ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The network from its file
# -------------------------
# Three linear layers. PyTorch keeps weights as ``(C_out, C_in)``; for an image with its channels
# last c1x1 takes ``(C_in, C_out)``, so they are transposed. ``Chain`` runs all layers on one block
# of pixels before the next.

state = np.load(WEIGHTS)
for name in state.files:
    print(name, state[name].shape)

network = c1x1.Chain(
    [
        c1x1.Pointwise(state["0.weight"].T, state["0.bias"], activation="silu"),
        c1x1.Pointwise(state["2.weight"].T, state["2.bias"], activation="silu"),
        c1x1.Pointwise(state["4.weight"].T, state["4.bias"]),
    ]
)
logits = network(x)
classes = logits.argmax(axis=-1)
print(x.shape, "to", logits.shape, "and", classes.shape)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
axes[0].imshow(photograph())
axes[0].set_title("the photograph")
axes[1].imshow(COLORS[classes])
axes[1].set_title("what the network says")
for ax in axes:
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# It agrees with the strokes it learned from, and PyTorch was not imported:

agrees = np.mean((classes == strokes)[strokes >= 0])
print(f"agrees with {agrees:.1%} of the painted pixels")
assert agrees > 0.97

# %%
# How sure it is
# --------------
# Of the numbers of one pixel, softmax makes shares. It looks at all classes of a pixel at once and
# is a line of NumPy.

shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
shares /= shares.sum(axis=-1, keepdims=True)

# sphinx_gallery_start_ignore
figure, axes = plt.subplots(1, 5, figsize=(7, 1.5), layout="constrained")
for kind, ax in enumerate(axes):
    ax.imshow(shares[..., kind], cmap="magma", vmin=0, vmax=1)
    ax.set_title(CLASSES[kind])
    ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The same in NumPy
# -----------------
# Step by step, with an image of 24 channels after each:


def silu(values):
    return values / (1 + np.exp(-values))


hidden = silu(x @ state["0.weight"].T + state["0.bias"])
hidden = silu(hidden @ state["2.weight"].T + state["2.bias"])
expected = hidden @ state["4.weight"].T + state["4.bias"]
np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
print(f"one such image: {hidden.nbytes / 1e6:.1f} MB; the result: {logits.nbytes / 1e6:.1f} MB")

# %%
# Where PyTorch is at hand
# ------------------------
# ``Pointwise.from_torch`` takes a layer as it is, transposed weights and all:
#
# .. code-block:: text
#
#     first = c1x1.Pointwise.from_torch(model[0])
#
# A test trains the network again and compares both ways with PyTorch's own result.
