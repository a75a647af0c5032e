"""What backdrops are made of: palettes, noise with the spectrum of photographs, patches, relief and occluding shapes."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

PALETTES = np.array([  # centres of outdoor and indoor colours, sRGB
    [[0.36, 0.42, 0.20], [0.22, 0.30, 0.12], [0.52, 0.52, 0.30], [0.16, 0.18, 0.10]],  # grass and leaves
    [[0.66, 0.56, 0.42], [0.78, 0.70, 0.56], [0.52, 0.42, 0.30], [0.44, 0.40, 0.28]],  # sand and dry earth
    [[0.50, 0.49, 0.47], [0.62, 0.61, 0.60], [0.36, 0.35, 0.35], [0.74, 0.73, 0.71]],  # stone and concrete
    [[0.38, 0.28, 0.20], [0.26, 0.19, 0.14], [0.52, 0.40, 0.28], [0.62, 0.52, 0.40]],  # wood and soil
    [[0.88, 0.90, 0.93], [0.76, 0.80, 0.86], [0.95, 0.95, 0.96], [0.62, 0.66, 0.72]],  # snow
    [[0.24, 0.32, 0.36], [0.14, 0.20, 0.22], [0.42, 0.50, 0.54], [0.30, 0.34, 0.26]],  # water
    [[0.80, 0.76, 0.70], [0.66, 0.60, 0.54], [0.90, 0.88, 0.84], [0.46, 0.42, 0.42]],  # rooms
])

SHEET = np.random.default_rng(11).standard_normal((1024, 1024), np.float32)


def palette(rng: np.random.Generator, count: int = 6) -> np.ndarray:
    """Colours (count, 3) about one of the palettes, each with its own brightness."""
    base = PALETTES[rng.integers(len(PALETTES))]
    colors = base[rng.integers(len(base), size=count)] + rng.normal(0, 0.035, (count, 3))
    if rng.random() < 0.03:
        colors = colors.mean(1, keepdims=True) + (colors - colors.mean(1, keepdims=True)) @ np.roll(np.eye(3), rng.integers(1, 3), 0)
    return np.clip(colors * rng.uniform(0.65, 1.25, (count, 1)), 0.01, 1.0)


def white(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Normal noise (rows, columns) float32: a random window of a fixed sheet, since drawing half a million numbers takes as long as a frame."""
    top, left = rng.integers(0, len(SHEET) - rows + 1), rng.integers(0, len(SHEET) - columns + 1)
    return SHEET[top:top + rows, left:left + columns][:: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))]


def fractal(rng: np.random.Generator, n: int, coarsest: int = 3, roughness: float = 0.55, aspect: float = 1.0) -> np.ndarray:
    """Noise (n, n) float32 with standard deviation near 1, power falling with frequency; aspect > 1 stretches it sideways."""
    level, amplitude, total = coarsest, 1.0, 0.0
    out = np.zeros((1, 1), np.float32)
    while True:
        rows, columns = min(n, int(level)), min(n, max(2, int(level / aspect)))
        out = np.atleast_2d(cv2.resize(out, (columns, rows), interpolation=cv2.INTER_LINEAR))
        out = out + np.float32(amplitude) * white(rng, rows, columns)
        total += amplitude ** 2
        if rows >= n:
            break
        level, amplitude = level * 2, amplitude * roughness
    return (cv2.resize(out, (n, n), interpolation=cv2.INTER_LINEAR) if columns < n else out) * np.float32(total ** -0.5)


@lru_cache(maxsize=24)
def _bank(n: int, coarsest: int, level: int, number: int) -> np.ndarray:
    """A stored field of fine noise, larger than a scene."""
    return fractal(np.random.default_rng((coarsest, level, number)), n * 5 // 4, coarsest, 0.55 + 0.15 * level)


def texture(rng: np.random.Generator, n: int) -> np.ndarray:
    """Fine noise (n, n) of random frequency and roughness: a window of a stored field, ten times as fast as a new one."""
    field = _bank(n, int(rng.choice([8, 20, 50])), int(rng.integers(3)), int(rng.integers(2)))
    top, left = rng.integers(0, len(field) - n + 1, 2)
    window = field[top:top + n, left:left + n]
    window = window.T if rng.random() < 0.5 else window
    return np.ascontiguousarray(window[:: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))])


def ramp(field: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Colour a field (N, N), standard deviation 1, through a row of colours (K, 3); (N, N, 3) uint8."""
    at = cv2.convertScaleAbs(np.clip(field, -1.66, 1.66) + 1.66, alpha=76.5)
    stops = np.linspace(0, len(colors) - 1, 256)
    table = np.stack([np.interp(stops, np.arange(len(colors)), colors[:, c]) for c in range(3)], -1)
    return cv2.LUT(cv2.merge([at, at, at]), np.clip(table * 255, 0, 255).astype(np.uint8)[None])


def modulate(picture: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply a picture (N, N, 3) uint8 by a field (N, N), (1, N) or (N, 1)."""
    n = len(picture)
    field = np.ascontiguousarray(np.broadcast_to(factor.astype(np.float32), (n, n)))
    return cv2.multiply(picture, cv2.merge([field, field, field]), dtype=cv2.CV_8U)


def mosaic(rng: np.random.Generator, n: int, cell: float, aspect: float = 1.0) -> np.ndarray:
    """Patches of random colour with frayed edges (n, n, 3) uint8: leaves, rocks, rubble, a crowd; cell pixels wide, aspect times as high."""
    colors = palette(rng, 8)
    columns, rows = int(n / cell) + 4, int(n / (cell * aspect)) + 4
    coarse = np.clip(colors[rng.integers(len(colors), size=(rows, columns))] * rng.uniform(140, 320, (rows, columns, 1)), 0, 255).astype(np.uint8)
    fray, line = rng.uniform(0.2, 0.7), np.arange(n, dtype=np.float32)
    x = texture(rng, n) * np.float32(fray) + (line / np.float32(cell) + 2)
    y = texture(rng, n) * np.float32(fray) + (line / np.float32(cell * aspect) + 2)[:, None]
    return cv2.remap(coarse, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)


def relief(rng: np.random.Generator, picture: np.ndarray, strength: float) -> np.ndarray:
    """Light a picture as if it were bumpy: the slope of a noise field towards the light brightens it."""
    kernel = np.zeros((3, 3), np.float32)
    kernel[2, int(rng.integers(3))], kernel[1, 1] = -1.5 * strength, 1.5 * strength
    return modulate(picture, np.maximum(cv2.filter2D(texture(rng, len(picture)), -1, kernel, delta=1.0), 0))


def cutouts(rng: np.random.Generator, picture: np.ndarray, texture: np.ndarray, count: int, smallest: float, largest: float, kind: str,
            top: float, bottom: float) -> None:
    """Shapes cut out of a texture and laid on a picture: bushes, boulders, furniture, panels."""
    paint_ = np.zeros_like(picture)
    shapes(rng, paint_, np.full((1, 3), 0.5), count, smallest, largest, kind, top, bottom)
    level = np.ascontiguousarray(paint_[..., 0])
    cv2.copyTo(modulate(texture, level.astype(np.float32) / 120), level, picture)


def shapes(rng: np.random.Generator, picture: np.ndarray, colors: np.ndarray, count: int, smallest: float, largest: float, kind: str,
           top: float = -0.2, bottom: float = 1.2) -> None:
    """Paint occluding shapes with power-law sizes (the dead leaves model, which has the edges and spectrum of photographs)."""
    n = len(picture)
    sizes = np.sort(smallest * (1 - rng.random(count) * (1 - (smallest / largest) ** 1.5)) ** (-1 / 1.5))[::-1] * n
    paints = np.clip(colors[rng.integers(len(colors), size=count)] * rng.uniform(150, 330, (count, 1)), 0, 255).tolist()
    centers = np.stack([rng.uniform(-0.1, 1.1, count), rng.uniform(top, bottom, count)], -1) * n
    if kind == "ellipse":
        axes = np.maximum(np.stack([sizes * 0.5, sizes * rng.uniform(0.12, 0.5, count)], -1), 1).astype(int).tolist()
        angles = rng.uniform(0, 180, count).tolist()
        for center, axis, angle, paint_ in zip(centers.astype(int).tolist(), axes, angles, paints, strict=True):
            cv2.ellipse(picture, center, axis, angle, 0, 360, paint_, -1, cv2.LINE_AA)
        return
    outlines = np.round(_outlines(rng, kind, sizes, centers, n) * 16).astype(np.int32)
    for outline, paint_ in zip(outlines, paints, strict=True):
        cv2.fillPoly(picture, [outline], paint_, cv2.LINE_AA, 4)


def _outlines(rng: np.random.Generator, kind: str, sizes: np.ndarray, centers: np.ndarray, n: int) -> np.ndarray:
    """Corners (count, K, 2) in pixels of boxes, blades, trunks or polygons."""
    count = len(sizes)
    if kind == "box":
        half = rng.uniform(0.2, 0.6, (count, 1, 2)) * sizes[:, None, None]
        return centers[:, None] + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    if kind == "blade":
        lean, width, zero = rng.normal(0, 0.35, count), sizes * 0.035 + 0.6, np.zeros(count)
        x, y = np.stack([-width, width, np.sin(lean) * sizes], -1), np.stack([zero, zero, -np.cos(lean) * sizes], -1)
        return centers[:, None] + np.stack([x, y], -1)
    if kind == "trunk":
        width, lean, x = sizes * rng.uniform(0.03, 0.12, count), rng.normal(0, 0.06, count) * n, centers[:, 0]
        across = np.stack([x - width, x + width, x + width * 1.3 + lean, x - width * 1.3 + lean], -1)
        return np.stack([across, np.broadcast_to([-5, -5, n + 5, n + 5], across.shape)], -1)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (count, 7)), 1)
    radii = sizes[:, None] * rng.uniform(0.25, 0.6, (count, 7))
    return centers[:, None] + np.stack([np.cos(angles), np.sin(angles)], -1) * radii[..., None]
