"""Vertex colours: a base coat, a paler belly, stripes, spots or patches from three-dimensional noise, or parts painted each in its own."""

from __future__ import annotations

import colorsys

import numpy as np

from .skin import TINTS, Skin


def _color(rng: np.random.Generator) -> np.ndarray:
    """A base colour: mostly what animals wear, sometimes anything."""
    if rng.random() < 0.6:
        hue, saturation, value = rng.choice([0.06, 0.08, 0.1, 0.12, 0.03]) + rng.normal(0, 0.015), rng.uniform(0.0, 0.7), rng.uniform(0.12, 0.95)
    else:
        hue, saturation, value = rng.random(), rng.uniform(0.1, 0.95), rng.uniform(0.15, 1.0)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _noise(rng: np.random.Generator, points: np.ndarray, frequency: float, stretch: np.ndarray | None = None) -> np.ndarray:
    """Smooth noise (V,) of about unit deviation: a sum of plane waves."""
    waves = 7
    k = rng.normal(size=(3, waves)) * frequency
    if stretch is not None:
        k *= stretch[:, None]
    return np.sin(points @ k + rng.uniform(0, 2 * np.pi, waves)).sum(1) * np.sqrt(2.0 / waves)


def paint(rng: np.random.Generator, skin: Skin, parts: bool) -> np.ndarray:
    """(V, 3) float32 sRGB of a skin's vertices, patterns fixed to the neutral stand; parts: each part of the body in a colour of a small palette."""
    points, tints = skin.neutral, skin.tints
    base, third = _color(rng), _color(rng)
    color = _by_part(rng, skin, base) if parts else _coat(rng, skin, base)
    color *= (1 + rng.uniform(0, 0.12) * _noise(rng, points, rng.uniform(5, 30)))[:, None]
    dark = rng.uniform(0.02, 0.2)
    eye = np.full(3, dark) if rng.random() < 0.8 else np.array([0.95, 0.9, 0.6])
    fixed = {
        "eye": eye,
        "dark": np.full(3, dark),
        "hoof": base * rng.uniform(0.2, 0.7),
        "beak": third,
        "mane": base * rng.uniform(0.2, 0.9) if rng.random() < 0.7 else _color(rng),
    }
    for name, value in fixed.items():
        color[tints == TINTS.index(name)] = value
    if rng.random() < 0.5:
        wing = tints == TINTS.index("wing")
        color[wing] = 0.5 * color[wing] + 0.5 * third
    return np.clip(color, 0.01, 1).astype(np.float32)


def _by_part(rng: np.random.Generator, skin: Skin, base: np.ndarray) -> np.ndarray:
    palette = np.stack([base, _color(rng), _color(rng), base * 0.5, np.clip(base + 0.3, 0, 1)])
    count = int(skin.part.max()) + 1
    return palette[rng.integers(0, len(palette), count)][skin.part] * rng.uniform(0.85, 1.0, (count, 1))[skin.part]


def _coat(rng: np.random.Generator, skin: Skin, base: np.ndarray) -> np.ndarray:
    points, other = skin.neutral, _color(rng)
    color = np.repeat(base[None], len(points), 0)
    height = points[:, 2]
    level = np.clip((height - height.mean()) / max(float(height.std()), 1e-6), -1, 1)
    if rng.random() < 0.55:
        share = np.clip((rng.uniform(-0.7, 0.3) - level + 0.25 * _noise(rng, points, 4.0)) / 0.4 + 0.5, 0, 1)[:, None]
        color += share * (np.clip(base * 0.4 + 0.6 * rng.uniform(0.6, 1.0), 0, 1) - color)
    kind = int(rng.integers(0, 7))
    if kind < 4:
        stretch = np.array([1.0, 1.0, 1.0]) if kind < 2 else np.array([2.0, 0.25, 0.25])
        sharp = rng.uniform(1.5, 12)
        mark = _noise(rng, points, rng.uniform(3, 22), stretch)
        share = 1 / (1 + np.exp(-np.clip(sharp * (mark - rng.uniform(-0.3, 1.3)), -30, 30)))
        color += share[:, None] * (other - color)
    elif kind == 4:
        bones = skin.bones[np.arange(len(points)), skin.weights.argmax(1)]
        count = int(bones.max()) + 1
        tone = rng.uniform(0.6, 1.3, (count, 1)) * (base + rng.uniform(0, 0.5) * (rng.random((count, 3)) - 0.5))
        color = tone[bones]
    return color
