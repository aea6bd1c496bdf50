"""What plot_6_network_per_pixel.py shows, on the side of PyTorch: the training of its network.

    python pixel_classifier.py [FILE]

trains on strokes painted on the photograph of the package and writes the weights as plain arrays,
into `classifier.npz` beside it unless told otherwise. PyTorch is needed for that only.
"""

import sys
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

WEIGHTS = Path(__file__).with_name("classifier.npz")
CLASSES = ["sky", "hills", "water", "grass", "balloon"]

# Class, then top, bottom, left and right of a painted rectangle.
STROKES = [
    *[(0, 8, 14, 130, 310), (0, 100, 108, 10, 150), (0, 60, 66, 130, 240), (0, 98, 106, 200, 310)],
    *[(0, 40, 92, 126, 158), (0, 72, 96, 188, 250), (0, 60, 95, 10, 50), (0, 104, 110, 60, 110)],
    *[(0, 30, 60, 5, 40), (0, 100, 114, 200, 230), (0, 12, 100, 305, 318)],
    *[(1, 128, 133, 20, 300), (1, 142, 152, 10, 310), (1, 122, 126, 120, 180)],
    *[
        (2, 172, 184, 5, 75),
        (2, 176, 200, 100, 300),
        (2, 205, 222, 120, 150),
        (2, 205, 225, 200, 250),
    ],
    *[(3, 208, 238, 4, 60), (3, 222, 238, 60, 110), (3, 232, 239, 130, 180)],
    *[(4, 34, 92, 62, 72), (4, 32, 94, 78, 94), (4, 40, 90, 100, 110), (4, 82, 100, 168, 180)],
    *[(4, 50, 82, 262, 270), (4, 50, 84, 272, 288)],
]


def photograph():
    """(240, 320, 3), float32 from 0 to 1."""
    with (files("c1x1") / "data" / "photograph.png").open("rb") as file:
        return plt.imread(file)[:, :, :3]


def features():
    """(240, 320, 5): red, green, blue, and how far down and to the right the pixel lies."""
    image = photograph()
    down, right = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    place = np.stack([down / image.shape[0], right / image.shape[1]], axis=-1)
    return np.concatenate([image, place], axis=-1)


def painted():
    """(240, 320): the class of each painted pixel, -1 for all others."""
    labels = np.full((240, 320), -1)
    for kind, top, bottom, left, right in STROKES:
        labels[top:bottom, left:right] = kind
    return labels


def train(steps=800):
    """A network of three linear layers."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    labels = painted()
    known = np.flatnonzero(labels >= 0)[::5]
    x, y = (
        torch.from_numpy(features().reshape(-1, 5)[known]),
        torch.from_numpy(labels.ravel()[known]),
    )
    model = nn.Sequential(
        nn.Linear(5, 24), nn.SiLU(), nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, len(CLASSES))
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()
    return model


def save(model, path):
    """The model's state as arrays: "0.weight", "0.bias", "2.weight" and so on."""
    np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})


if __name__ == "__main__":
    save(train(), Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS)
