"""Vertex colours: a base coat, a paler belly, and stripes, spots or patches from three-dimensional noise."""

from __future__ import annotations

import colorsys

import numpy as np

from .skin import TINTS, Skin


def _color(rng: np.random.Generator) -> np.ndarray:
    """A base colour: mostly what animals wear, sometimes anything."""
    if rng.random() < 0.65:
        hsv = (rng.choice([0.06, 0.08, 0.1, 0.12, 0.03]) + rng.normal(0, 0.015), rng.uniform(0.0, 0.7), rng.uniform(0.12, 0.95))
    else:
        hsv = (rng.random(), rng.uniform(0.1, 0.95), rng.uniform(0.15, 1.0))
    return np.array(colorsys.hsv_to_rgb(hsv[0] % 1.0, *hsv[1:]))


def _noise(rng: np.random.Generator, points: np.ndarray, frequency: float, waves: int = 7, stretch: np.ndarray | None = None) -> np.ndarray:
    """Smooth noise (V,) of about unit deviation: a sum of plane waves."""
    k = rng.normal(size=(3, waves)) * frequency
    if stretch is not None:
        k *= stretch[:, None]
    return np.sin(points @ k + rng.uniform(0, 2 * np.pi, waves)).sum(1) * np.sqrt(2.0 / waves)


def paint(rng: np.random.Generator, skin: Skin) -> np.ndarray:
    """(V, 3) float32 sRGB of a skin's vertices, patterns fixed to the neutral stand."""
    points, tints = skin.neutral, skin.tints
    height = points[:, 2]
    normals_up = np.clip((height - height.mean()) / max(float(height.std()), 1e-6), -1, 1)
    bones = skin.bones[np.arange(len(points)), skin.weights.argmax(1)]
    base, other, third = _color(rng), _color(rng), _color(rng)
    color = np.repeat(base[None], len(points), 0)
    if rng.random() < 0.6:
        edge = rng.uniform(-0.7, 0.3)
        share = np.clip((edge - normals_up + 0.25 * _noise(rng, points, 4.0)) / 0.4 + 0.5, 0, 1)[:, None]
        color += share * (np.clip(base * 0.4 + 0.6 * rng.uniform(0.6, 1.0), 0, 1) - color)
    kind = rng.integers(0, 6)
    if kind < 4:
        frequency = rng.uniform(3, 22)
        stretch = np.array([1.0, 1.0, 1.0]) if kind < 2 else np.array([2.0, 0.25, 0.25])
        sharp = rng.uniform(1.5, 8)
        mark = _noise(rng, points, frequency, stretch=stretch)
        share = 1 / (1 + np.exp(-np.clip(sharp * (mark - rng.uniform(-0.3, 1.3)), -30, 30)))
        color += share[:, None] * (other - color)
    elif kind == 4:
        tone = rng.uniform(0.5, 1.5, (int(bones.max()) + 1, 1)) * (base + rng.uniform(0, 0.6) * (rng.random((int(bones.max()) + 1, 3)) - 0.5))
        color = tone[bones]
    color *= (1 + rng.uniform(0, 0.12) * _noise(rng, points, rng.uniform(5, 30)))[:, None]
    dark = rng.uniform(0.02, 0.2)
    fixed = {"eye": np.array([dark, dark, dark]) if rng.random() < 0.8 else np.array([0.95, 0.9, 0.6]), "dark": np.full(3, dark), "hoof": base * rng.uniform(0.2, 0.7), "beak": third}
    for name, value in fixed.items():
        color[tints == TINTS.index(name)] = value
    if rng.random() < 0.5:
        wing = tints == TINTS.index("wing")
        color[wing] = 0.5 * color[wing] + 0.5 * third
    return np.clip(color, 0.01, 1).astype(np.float32)
