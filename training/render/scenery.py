"""Painted backdrops: each scene is one sRGB picture (N, N, 3) uint8 with the statistics of a photograph rather than its content."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .compiled import compiled
from .textures import cutouts, fractal, modulate, mosaic, palette, ramp, relief, shapes, texture


@compiled()
def lay_floor(flat, mean, horizon, eye, haze, out):  # type: ignore[no-untyped-def]
    """Draw a texture (N, N, 3) uint8, mirrored at its edges, as a floor below the row `horizon`; it fades into its mean (3,) far away."""
    n = flat.shape[0]
    period = 2.0 * (n - 1)
    for row in range(n):
        below = row + 0.5 - horizon
        if below < 1.0:
            for column in range(n):
                for c in range(3):
                    out[row, column, c] = np.uint8(mean[c])
            continue
        v = eye * n * 0.4 / below
        v = abs(v - period * math.floor(v / period) - (n - 1))
        i = min(int(v), n - 2)
        v -= i
        far = math.exp(-below / haze)
        for column in range(n):
            u = (column - 0.5 * n) * 0.6 * eye / below + 0.5 * n
            u = abs(u - period * math.floor(u / period) - (n - 1))
            j = min(int(u), n - 2)
            fraction = u - j
            for c in range(3):
                upper = flat[i, j, c] + fraction * (float(flat[i, j + 1, c]) - flat[i, j, c])
                lower = flat[i + 1, j, c] + fraction * (float(flat[i + 1, j + 1, c]) - flat[i + 1, j, c])
                value = upper + v * (lower - upper)
                out[row, column, c] = np.uint8(value + far * (mean[c] - value))


def ground(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """A floor seen in perspective below a horizon (a row of the picture, may lie outside)."""
    if rng.random() < 0.3:
        flat = mosaic(rng, n, np.exp(rng.uniform(np.log(4), np.log(40))))
    else:
        flat = ramp(fractal(rng, n, int(rng.integers(3, 24)), rng.uniform(0.55, 0.95)), palette(rng, 4))
    if rng.random() < 0.6:
        flat = relief(rng, flat, rng.uniform(0.1, 0.6))
    mean = cv2.mean(flat)[:3]
    if rng.random() < 0.25:  # tiles, planks, road marks
        step = int(rng.integers(n // 24, n // 6))
        line = np.clip(rng.uniform(0.4, 1.3) * np.array(mean), 0, 255).astype(np.uint8)
        flat[:, ::step] = line
        if rng.random() < 0.6:
            flat[::step, :] = line
    eye = rng.uniform(0.5, 1.5) * n * max(0.5, (n - horizon) / n)
    picture = np.empty_like(flat)
    lay_floor(flat, np.array(mean), float(horizon), eye, 0.06 * n, picture)
    return picture


def wall(rng: np.random.Generator, n: int) -> np.ndarray:
    """Something upright: planks, bricks, a hedge, a crowd, woods, a plain wall or a hill side."""
    kind = str(rng.choice(["planks", "bricks", "leaves", "trunks", "plain", "boxes", "polygons", "thicket", "crowd", "hedge"]))
    if kind in ("thicket", "crowd"):
        cell = np.exp(rng.uniform(np.log(0.012), np.log(0.06))) * n
        picture = mosaic(rng, n, cell, rng.uniform(1.5, 4.0) if kind == "crowd" else rng.uniform(0.7, 1.4))
    else:
        picture = ramp(fractal(rng, n, 4, rng.uniform(0.55, 0.9)), palette(rng)[:3])
    if kind == "planks":
        picture = modulate(picture, _planks(rng, n))
    elif kind == "bricks":
        picture = modulate(picture, _bricks(rng, n))
    elif kind in ("leaves", "trunks", "boxes", "polygons"):
        form, count, small, large = {"leaves": ("ellipse", 400, 0.012, 0.12), "trunks": ("trunk", 14, 0.1, 0.9), "boxes": ("box", 40, 0.04, 0.7),
                                     "polygons": ("polygon", 200, 0.02, 0.5)}[kind]
        shapes(rng, picture, palette(rng, 10), count, small, large, form)
    elif kind == "hedge":
        cutouts(rng, picture, mosaic(rng, n, rng.uniform(4, 16)), 12, 0.15, 0.6, "ellipse", 0.0, 1.0)
    if rng.random() < 0.5:
        picture = relief(rng, picture, rng.uniform(0.1, 0.7))
    return modulate(picture, 1 + np.float32(0.12 * rng.random()) * texture(rng, n))


def _planks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Brightness of boards, standing or lying, with their gaps and grain: (n, n)."""
    width = int(rng.integers(n // 50, n // 10))
    shade = np.repeat(rng.uniform(0.7, 1.15, n // width + 1), width)[:n]
    shade[::width] *= rng.uniform(0.2, 0.8)
    grain = 1 + np.float32(rng.uniform(0, 0.12)) * cv2.blur(texture(rng, n), (1, 9)) * 2
    boards = shade[None] * grain
    return boards if rng.random() < 0.75 else boards.T


def _bricks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Brightness of a bond of bricks (n, n)."""
    height = int(rng.integers(n // 40, n // 14))
    tone = rng.uniform(0.8, 1.15, (n // height + 1, n // (2 * height) + 2))
    tone = np.repeat(np.repeat(tone, height, 0), 2 * height, 1)
    tone[:, ::2 * height] *= 0.75
    for row in range(height, len(tone), 2 * height):
        tone[row:row + height] = np.roll(tone[row:row + height], height, 1)
    tone[::height] *= 0.7
    return tone[:n, :n]


def outdoors(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Sky or an upright scene above a ground that goes to the horizon."""
    picture = ground(rng, n, horizon)
    edge = horizon + rng.uniform(0.0, 0.14) * n
    sky = rng.random() < 0.3
    if sky:
        edge = horizon
        top, low = np.array([0.45, 0.62, 0.88]) * rng.uniform(0.5, 1.1), np.array([0.85, 0.88, 0.92]) * rng.uniform(0.7, 1.1)
        share = np.clip(np.arange(n) / max(edge, 1), 0, 1)[:, None]
        graded = np.clip((top * (1 - share) + low * share) * 255, 0, 255).astype(np.uint8)
        above = modulate(np.repeat(graded[:, None], n, 1), 1 + 0.06 * np.maximum(fractal(rng, n, 3, 0.6, 2.0), 0))
    else:
        above = wall(rng, n)
    bumps = np.interp(np.arange(n), np.linspace(0, n, 40), rng.normal(0, 1, 40).cumsum() * rng.uniform(0, 0.006) * n)
    mask = (edge + bumps[None] > np.arange(n)[:, None]).astype(np.uint8)
    cv2.copyTo(above, mask, picture)
    if rng.random() < 0.35:  # bushes, boulders, furniture where wall and ground meet
        stuff = mosaic(rng, n, rng.uniform(4, 20)) if rng.random() < 0.5 else relief(rng, ramp(fractal(rng, n, 6, 0.8), palette(rng, 3)), 0.5)
        cutouts(rng, picture, stuff, int(rng.integers(3, 25)), 0.05, 0.35, str(rng.choice(["ellipse", "polygon", "box"])), edge / n - 0.1, edge / n + 0.25)
    if rng.random() < 0.35:
        shapes(rng, picture, palette(rng, 6), int(rng.integers(100, 600)), 0.03, 0.2, "blade", max(0.0, edge / n), 1.2)
    if rng.random() < 0.35:
        shapes(rng, picture, palette(rng, 5), int(rng.integers(5, 60)), 0.015, 0.15, str(rng.choice(["polygon", "ellipse"])), edge / n - 0.05, 1.1)
    return picture


def studio(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Flat or gently graded, sometimes with a floor line."""
    one, other = palette(rng, 2) if rng.random() < 0.7 else np.repeat(rng.uniform(0, 1, (2, 1)), 3, 1)
    line = np.linspace(-1, 1, n)
    t = np.abs(line)[:, None] + 0 * line if rng.random() < 0.6 else line[:, None] ** 2 + line ** 2
    picture = ramp(((t - 0.5) * 3).astype(np.float32), np.stack([one, one + (other - one) * rng.uniform(0, 1)]))
    if rng.random() < 0.4:
        picture = modulate(picture, np.where(np.arange(n) > horizon, rng.uniform(0.6, 1.2), 1.0)[:, None])
    return picture


def water(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Ripples: noise stretched sideways with bright crests."""
    waves = fractal(rng, n, int(rng.integers(4, 16)), rng.uniform(0.5, 0.8), rng.uniform(2, 6))
    return modulate(ramp(waves, palette(rng, 4)), 1 + np.maximum(waves - 1.2, 0) * rng.uniform(0, 1.2))


def clutter(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Dead leaves of one or two kinds over fractal noise."""
    picture = ramp(fractal(rng, n, 3, 0.6), palette(rng, 5)) if rng.random() < 0.5 else mosaic(rng, n, np.exp(rng.uniform(np.log(5), np.log(60))))
    for _ in range(int(rng.integers(0, 3))):
        shapes(rng, picture, palette(rng, 12), int(rng.integers(80, 350)), 0.015, 0.6, str(rng.choice(["ellipse", "polygon", "box", "polygon"])))
    return relief(rng, modulate(picture, 1 + np.float32(0.12) * texture(rng, n)), rng.uniform(0, 0.6))


def clouds(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Coloured 1/f noise."""
    return ramp(fractal(rng, n, 3, rng.uniform(0.4, 0.8)), palette(rng, 8))


def upright(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """A wall or a thicket that fills the picture."""
    return wall(rng, n)


SCENES = {outdoors: 0.56, clutter: 0.17, clouds: 0.07, studio: 0.06, water: 0.06, upright: 0.08}


def paint(rng: np.random.Generator, n: int, horizon: float | None) -> np.ndarray:
    """A random scene (n, n, 3) uint8; horizon is the row of the true horizon, or None where it is not known."""
    scene = rng.choice(len(SCENES), p=list(SCENES.values()))
    row = rng.uniform(0.05, 0.7) * n if horizon is None or rng.random() < 0.1 else float(np.clip(horizon, -4 * n, 0.9 * n))
    picture = list(SCENES)[scene](rng, n, row)
    if rng.random() < 0.65:
        picture = cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(np.log(0.4), np.log(0.014 * n)))))
    if rng.random() < 0.4:  # shade of trees, clouds, a window
        shade = np.tanh(2 * fractal(rng, n // 4, int(rng.integers(2, 8)), 0.5))
        picture = modulate(picture, 1 + rng.uniform(0.1, 0.5) * cv2.resize(shade, (n, n)))
    mean = np.array(cv2.mean(picture)[:3])
    level = (np.arange(256)[:, None] - mean) * rng.uniform(0.5, 1.25) + mean * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 5, 3)
    return cv2.LUT(picture, np.clip(level, 0, 255).astype(np.uint8)[None])
