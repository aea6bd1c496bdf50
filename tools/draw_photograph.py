"""Draws src/c1x1/data/photograph.png, the demo's picture: an evening lake with hot-air balloons.

Run `python tools/draw_photograph.py [PATH]` with c1x1 installed; the result is always the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from c1x1 import _png

WIDTH, HEIGHT, SCALE = 320, 240, 3
HORIZON = 0.60
SUN = (0.70, 0.50)
Plane = NDArray[np.float64]


def smooth_step(low: float, high: float, value: Plane) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(below: Plane, above: Plane | tuple[float, float, float], amount: Plane) -> Plane:
    """Blends two colours by a mask of shape (H, W)."""
    return below + (np.asarray(above) - below) * amount[..., None]


def noise(seed: int, x: Plane, y: Plane, octaves: int) -> Plane:
    """Value noise of about 0 to 1: random lattices, each twice as fine and half as strong."""
    total, weight = np.zeros(np.broadcast_shapes(x.shape, y.shape)), 0.0
    for octave in range(octaves):
        lattice = np.random.default_rng(seed + octave).random((64, 64))
        u, v = np.broadcast_arrays(x * 2**octave, y * 2**octave)
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        s, t = smooth_step(0, 1, u - i), smooth_step(0, 1, v - j)
        corners = [lattice[(j + dj) % 64, (i + di) % 64] for dj in (0, 1) for di in (0, 1)]
        top = corners[0] + (corners[1] - corners[0]) * s
        low = corners[2] + (corners[3] - corners[2]) * s
        total += (top + (low - top) * t) / 2**octave
        weight += 1 / 2**octave
    return total / weight


def sky(x: Plane, y: Plane) -> Plane:
    """Gradient, sun with its glow, and lit clouds."""
    height = np.clip(y / HORIZON, 0, 1)
    stops = np.array([0, 0.45, 0.75, 0.92, 1.0])
    colours = np.array(
        [
            [0.13, 0.26, 0.52],
            [0.36, 0.52, 0.74],
            [0.86, 0.68, 0.62],
            [1.00, 0.76, 0.48],
            [1.00, 0.84, 0.58],
        ]
    )
    image = np.stack([np.interp(height, stops, colours[:, c]) for c in range(3)], axis=-1)
    distance = np.hypot((x - SUN[0]) * 4 / 3, y - SUN[1])
    image += np.exp(-distance / 0.16)[..., None] * np.array([0.42, 0.24, 0.08])
    stretch = 1.0 + 5.0 * height
    billow = noise(11, x * 3.4, y * 3.0 * stretch, 6)
    cover = smooth_step(0.50, 0.72, billow) * smooth_step(0.0, 0.12, y)
    cover = cover * smooth_step(1.02, 0.6, height)
    underside = noise(11, x * 3.4 + 0.12 * (x - SUN[0]), (y + 0.02) * 3.0 * stretch, 6)
    lit = np.clip(0.55 + 5.0 * (underside - billow) + 0.4 * np.exp(-distance / 0.4), 0, 1)
    cloud = mix(np.broadcast_to([0.52, 0.46, 0.58], image.shape), (1.0, 0.88, 0.76), lit)
    image = mix(image, cloud, 0.8 * cover)
    disc = smooth_step(0.036, 0.030, distance)
    return mix(image, (1.0, 0.97, 0.86), disc)


def hills(image: Plane, x: Plane, y: Plane) -> Plane:
    """Four ridges, the far ones hazy, the near one wooded."""
    haze = np.array([0.88, 0.70, 0.60])
    ridges = [
        (21, 0.50, 0.150, 2.3, (0.38, 0.40, 0.56), 0.62),
        (33, 0.545, 0.120, 3.1, (0.28, 0.34, 0.42), 0.42),
        (45, 0.580, 0.090, 4.3, (0.20, 0.32, 0.26), 0.20),
        (57, 0.605, 0.060, 6.0, (0.11, 0.20, 0.11), 0.05),
    ]
    flat = np.zeros_like(x)
    for seed, level, relief, pitch, colour, veil in ridges:
        top = level - relief * (noise(seed, x * pitch, flat + 0.5, 6) - 0.35)
        depth = y - top
        rock = noise(seed + 7, x * 26, y * 52, 4)
        spurs = noise(seed, x * pitch * 2 + depth * 9, depth * 20, 4)
        slope = np.gradient(spurs, axis=1) * x.shape[1] / pitch / 6
        light = 0.74 + 0.50 * (rock - 0.5) + 0.40 * np.clip(slope, -0.6, 0.6)
        surface = (
            np.asarray(colour) * light[..., None]
            + np.array([0.10, 0.06, 0.0]) * np.clip(light - 0.7, 0, 1)[..., None]
        )
        surface = surface + (haze - surface) * veil
        surface = mix(surface, haze, 0.35 * smooth_step(0.0, 0.12, depth) * (veil + 0.1))
        if veil < 0.1:
            # Tree tops: thin, uneven spikes above the ridge.
            crowns = noise(seed + 3, x * 75, flat + 0.5, 2)
            depth = depth + 0.020 * np.clip(crowns - 0.25, 0, 1)
        image = mix(image, surface, smooth_step(-0.0015, 0.0015, depth))
    return image


def balloon(
    image: Plane,
    x: Plane,
    y: Plane,
    centre: tuple[float, float],
    radius: float,
    gores: list[tuple[float, float, float]],
) -> Plane:
    """A striped envelope shaded as a body of revolution, with its basket."""
    u = (x - centre[0]) * 4 / 3 / radius
    v = (y - centre[1]) / radius
    # Round above, tapering to the mouth below.
    waist = np.where(
        v < 0.15,
        np.sqrt(np.clip(1 - (v / 1.02) ** 2, 0, 1)),
        np.clip(
            0.99 - 0.62 * np.clip((v - 0.15) / 1.25, 0, 1) ** 1.6 - 0.06 * np.clip(v - 0.15, 0, 2),
            0,
            1,
        ),
    )
    across = u / np.maximum(waist, 1e-6)
    soft = 0.006 / radius
    edge = smooth_step(1 + soft, 1 - soft, abs(across)) * smooth_step(1.30 + soft, 1.30 - soft, v)
    edge = edge * smooth_step(-1.02 - soft, -1.02 + soft, v)
    longitude = np.arcsin(np.clip(across, -1, 1)) + 0.35
    index = np.floor(longitude / np.pi * 9).astype(int) % len(gores)
    paint = np.asarray(gores)[index]
    band = smooth_step(0.16, 0.18, abs(v - 0.25)) < 0.5
    paint = np.where((band & (index % 2 == 0))[..., None], np.array([0.98, 0.93, 0.80]), paint)
    seam = abs(longitude / np.pi * 9 % 1 - 0.5) > 0.46
    paint = np.where(seam[..., None], paint * 0.82, paint)
    normal_z = np.sqrt(np.clip(1 - across**2, 0, 1))
    side = np.sign(SUN[0] - centre[0]) or 1.0
    light = 0.42 + 0.42 * normal_z + 0.34 * across * side - 0.16 * v
    shaded = paint * light[..., None]
    glint = np.exp(-((across - 0.42 * side) ** 2 / 0.05 + (v + 0.38) ** 2 / 0.10))
    shaded = shaded + 0.22 * glint[..., None] * np.array([1.0, 0.9, 0.75])
    image = mix(image, shaded, edge)
    ropes = smooth_step(0.028, 0.010, abs(abs(u) - 0.18 - 0.10 * (1.75 - v))) * (
        (v > 1.30) & (v < 1.75)
    )
    image = mix(image, (0.16, 0.11, 0.08), 0.75 * ropes)
    basket = smooth_step(0.22, 0.19, abs(u)) * smooth_step(0.17, 0.14, abs(v - 1.87))
    weave = 0.8 + 0.2 * np.sin(v * 60)
    return mix(image, np.array([0.36, 0.22, 0.11]) * weave[..., None], basket)


def lake(image: Plane, x: Plane, y: Plane) -> Plane:
    """Mirrors what is above the shore, broken by waves that shorten with distance."""
    rows, columns = image.shape[:2]
    shore = 0.645
    below = y - shore
    near = np.clip(below / (1 - shore), 0, 1)
    ripple = noise(71, x * 9 / (0.25 + near), 14 / (0.05 + near), 5) - 0.5
    swell = noise(83, x * 3 + 4, 30 / (0.12 + near), 3) - 0.5
    source_y = shore - below * 0.92 + ripple * 0.10 * near + swell * 0.02
    source_x = x + ripple * 0.030 * near
    row = np.clip(source_y * rows, 0, shore * rows - 1).astype(int)
    column = np.clip(source_x * columns, 0, columns - 1).astype(int)
    mirror = image[row, column]
    water = mix(mirror, (0.10, 0.20, 0.26), 0.16 + 0.42 * near + 0.45 * np.clip(ripple, -0.3, 0.5))
    # The sun's road: glints where a wave faces it.
    road = np.exp(-(((x - SUN[0]) / (0.035 + 0.10 * near)) ** 2))
    road = road * smooth_step(0.02, 0.30, ripple + 0.1)
    water = water + road[..., None] * np.array([0.75, 0.50, 0.24]) * (1 - 0.35 * near)[..., None]
    image = mix(image, water, smooth_step(-0.001, 0.001, below))
    bank = smooth_step(0.006, 0.0, abs(below + 0.003))
    return mix(image, (0.10, 0.12, 0.07), 0.8 * bank)


def meadow(image: Plane, x: Plane, y: Plane) -> Plane:
    """A dark near bank with grass and flowers in the lower left corner."""
    flat = np.zeros_like(x)
    top = 0.80 + 0.26 * x + 0.03 * noise(91, x * 7, flat + 0.5, 4)
    blades = 0.045 * np.clip(noise(95, x * 110, flat + y * 4, 2) - 0.3, 0, 1)
    ground = smooth_step(-0.003, 0.003, y - top + blades)
    texture = noise(97, x * 90, y * 26, 3)
    grass = np.array([0.20, 0.30, 0.09]) * (0.25 + 1.25 * texture)[..., None]
    grass = (
        grass
        + np.array([0.30, 0.20, 0.05])
        * smooth_step(0.05, 0.0, y - top)[..., None]
        * texture[..., None]
    )
    image = mix(image, grass, ground)
    random = np.random.default_rng(5)
    petals = [(0.93, 0.24, 0.20), (0.98, 0.80, 0.22), (0.92, 0.88, 0.92), (0.66, 0.38, 0.80)]
    for _ in range(90):
        fx = random.random() * 0.72
        fy = 0.83 + 0.26 * fx + random.random() ** 1.3 * 0.26
        size = 0.0035 + 0.006 * np.clip(fy - 0.8, 0, 0.2) / 0.2
        spot = smooth_step(size, size * 0.5, np.hypot((x - fx) * 4 / 3, (y - fy) * 1.25))
        image = mix(
            image,
            np.array(petals[random.integers(4)]) * (0.7 + 0.3 * random.random()),
            spot * ground,
        )
    return image


def grade(image: Plane, x: Plane, y: Plane) -> NDArray[np.uint8]:
    """Vignette, a soft tone curve, grain of the luminance, 8 bits."""
    image = image * (1 - 0.38 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))[..., None]
    image = 1.06 * np.clip(image, 0, None)
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    shrunk = image.reshape(HEIGHT, SCALE, WIDTH, SCALE, 3).mean(axis=(1, 3))
    grain = np.random.default_rng(1).normal(0, 0.007, (HEIGHT, WIDTH, 1))
    return np.asarray(np.rint(np.clip(shrunk + grain, 0, 1) * 255), np.uint8)


def draw() -> NDArray[np.uint8]:
    """The picture, (240, 320, 3)."""
    y, x = np.meshgrid(
        (np.arange(HEIGHT * SCALE) + 0.5) / (HEIGHT * SCALE),
        (np.arange(WIDTH * SCALE) + 0.5) / (WIDTH * SCALE),
        indexing="ij",
    )
    image = hills(sky(x, y), x, y)
    red, gold, blue = (0.90, 0.16, 0.13), (1.00, 0.74, 0.12), (0.10, 0.34, 0.78)
    teal, plum, white = (0.06, 0.60, 0.58), (0.56, 0.18, 0.52), (0.97, 0.95, 0.92)
    image = balloon(image, x, y, (0.545, 0.375), 0.042, [teal, white])
    image = balloon(image, x, y, (0.86, 0.26), 0.072, [plum, gold, teal])
    image = balloon(image, x, y, (0.27, 0.245), 0.135, [red, gold, blue, gold])
    return grade(meadow(lake(image, x, y), x, y), x, y)


def main() -> None:
    """Write the picture to the path given, or to its place in the package."""
    default = Path(__file__).parents[1] / "src" / "c1x1" / "data" / "photograph.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    path.parent.mkdir(parents=True, exist_ok=True)
    _png.write(path, draw())


if __name__ == "__main__":
    main()
