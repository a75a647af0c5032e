"""Painted backdrops: each scene is one sRGB picture (N, N, 3) float32 0..1 with the statistics of a photograph rather than its content."""

from __future__ import annotations

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


def palette(rng: np.random.Generator, count: int = 6) -> np.ndarray:
    """Colours (count, 3) about one of the palettes, each with its own brightness."""
    base = PALETTES[rng.integers(len(PALETTES))]
    colors = base[rng.integers(len(base), size=count)] + rng.normal(0, 0.035, (count, 3))
    if rng.random() < 0.15:
        colors = colors.mean(1, keepdims=True) + (colors - colors.mean(1, keepdims=True)) @ np.roll(np.eye(3), rng.integers(1, 3), 0)
    return np.clip(colors * rng.uniform(0.65, 1.25, (count, 1)), 0.01, 1.0)


def fractal(rng: np.random.Generator, n: int, coarsest: int = 3, roughness: float = 0.55, aspect: float = 1.0) -> np.ndarray:
    """Noise (n, n) float32 with standard deviation near 1, power falling with frequency; aspect > 1 stretches it sideways."""
    level, amplitude, total = coarsest, 1.0, 0.0
    out = np.zeros((1, 1), np.float32)
    while True:
        rows, columns = min(n, int(level)), min(n, max(2, int(level / aspect)))
        out = cv2.resize(out, (columns, rows), interpolation=cv2.INTER_CUBIC)
        out = np.atleast_2d(out) + amplitude * rng.standard_normal((rows, columns), np.float32)
        total += amplitude ** 2
        if rows >= n:
            break
        level, amplitude = level * 2, amplitude * roughness
    return cv2.resize(out, (n, n), interpolation=cv2.INTER_CUBIC) / np.float32(total ** 0.5)


def ramp(field: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Colour a field (N, N), standard deviation 1, through a row of colours (K, 3)."""
    at = np.clip((field * 0.3 + 0.5) * 255, 0, 255).astype(np.uint8)
    stops = np.linspace(0, len(colors) - 1, 256)
    table = np.stack([np.interp(stops, np.arange(len(colors)), colors[:, c]) for c in range(3)], -1).astype(np.float32)
    return table[at]


def shapes(rng: np.random.Generator, picture: np.ndarray, colors: np.ndarray, count: int, smallest: float, largest: float, kind: str,
           top: float = -0.2, bottom: float = 1.2) -> None:
    """Paint occluding shapes with power-law sizes (the dead leaves model, which has the edges and spectrum of photographs)."""
    n = len(picture)
    sizes = np.sort(smallest * (1 - rng.random(count) * (1 - (smallest / largest) ** 1.5)) ** (-1 / 1.5))[::-1] * n
    for size in sizes:
        color = tuple(float(c) for c in np.clip(colors[rng.integers(len(colors))] * rng.uniform(0.6, 1.3), 0, 1))
        center = np.array([rng.uniform(-0.1, 1.1), rng.uniform(top, bottom)]) * n
        if kind == "ellipse":
            axes = (max(1, int(size * 0.5)), max(1, int(size * rng.uniform(0.12, 0.5))))
            cv2.ellipse(picture, (int(center[0]), int(center[1])), axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
            continue
        if kind == "box":
            half = np.array([rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6)]) * size
            corners = center + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        elif kind == "blade":
            lean, width = rng.normal(0, 0.35), size * 0.035 + 0.6
            corners = center + np.array([[-width, 0], [width, 0], [np.sin(lean) * size, -np.cos(lean) * size]])
        elif kind == "trunk":
            width, lean = size * rng.uniform(0.03, 0.12), rng.normal(0, 0.06) * n
            corners = np.array([[center[0] - width, -5], [center[0] + width, -5], [center[0] + width * 1.3 + lean, n + 5], [center[0] - width * 1.3 + lean, n + 5]])
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
            radii = size * rng.uniform(0.25, 0.6, len(angles))
            corners = center + np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None]
        cv2.fillPoly(picture, [np.round(corners * 16).astype(np.int32)], color, cv2.LINE_AA, 4)


def ground(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """A floor seen in perspective below a horizon (a row of the picture, may lie outside)."""
    flat = ramp(fractal(rng, n, int(rng.integers(3, 24)), rng.uniform(0.45, 0.85)), palette(rng, 4))
    if rng.random() < 0.25:  # tiles, planks, road marks
        step = int(rng.integers(n // 24, n // 6))
        line = (rng.uniform(0.4, 1.3) * flat.mean((0, 1))).astype(np.float32)
        flat[:, ::step] = line
        if rng.random() < 0.6:
            flat[::step, :] = line
    below = np.maximum(np.arange(n, dtype=np.float32) - horizon, 1.0)[:, None]
    eye = rng.uniform(0.5, 1.5) * n * max(0.5, (n - horizon) / n)
    x = (np.arange(n, dtype=np.float32)[None] - n / 2) * (eye / below) * 0.6 + n / 2
    y = np.broadcast_to(eye * n * 0.4 / below, (n, n)).astype(np.float32)
    warped = cv2.remap(flat, x.astype(np.float32), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    far = np.exp(-below / (0.06 * n))[..., None]
    return warped * (1 - far) + flat.mean((0, 1)) * far


def wall(rng: np.random.Generator, n: int) -> np.ndarray:
    """Something upright: planks, bricks, a fence, a hedge, woods, a plain wall or a hill side."""
    kind = rng.choice(["planks", "bricks", "leaves", "trunks", "plain", "boxes", "polygons"])
    colors = palette(rng)
    picture = np.ascontiguousarray(ramp(fractal(rng, n, 4, 0.6), colors[:3]))
    if kind == "planks":
        width = int(rng.integers(n // 50, n // 10))
        shade = np.repeat(rng.uniform(0.7, 1.15, n // width + 1), width)[:n]
        shade[::width] *= rng.uniform(0.2, 0.8)
        picture *= (shade[None, :, None] if rng.random() < 0.75 else shade[:, None, None]).astype(np.float32)
    elif kind == "bricks":
        height = int(rng.integers(n // 40, n // 14))
        for index, row in enumerate(range(0, n, height)):
            picture[row:row + height] *= np.repeat(rng.uniform(0.8, 1.15, n // (2 * height) + 2), 2 * height)[index % 2 * height:][:n][None, :, None]
            picture[row] *= 0.7
    elif kind != "plain":
        form = {"leaves": "ellipse", "trunks": "trunk", "boxes": "box", "polygons": "polygon"}[str(kind)]
        count, small, large = {"ellipse": (350, 0.012, 0.15), "trunk": (14, 0.1, 0.9), "box": (40, 0.04, 0.7), "polygon": (200, 0.02, 0.5)}[form]
        shapes(rng, picture, palette(rng, 10), count, small, large, form)
        if form == "box" and rng.random() < 0.4:
            picture *= 0.8 + 0.2 * np.sign(fractal(rng, n, 6, 0.4))[..., None]
    return picture * (1 + 0.10 * rng.random() * fractal(rng, n, 16, 0.8)[..., None])


def outdoors(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Sky or an upright scene above a ground that goes to the horizon."""
    picture = ground(rng, n, horizon)
    edge = horizon + rng.uniform(0.0, 0.14) * n
    rows = np.arange(n, dtype=np.float32)[:, None]
    if rng.random() < 0.3:
        top, low = np.array([0.45, 0.62, 0.88]) * rng.uniform(0.5, 1.1), np.array([0.85, 0.88, 0.92]) * rng.uniform(0.7, 1.1)
        share = np.clip(rows / max(edge, 1), 0, 1)[..., None]
        above = (top * (1 - share) + low * share + 0.06 * np.maximum(fractal(rng, n, 3, 0.6, 2.0), 0)[..., None]).astype(np.float32)
        edge = horizon
    else:
        above = wall(rng, n)
    bumps = fractal(rng, n, 4, 0.5)[0] * rng.uniform(0, 0.03) * n
    mask = np.clip(edge + bumps[None] - rows, 0, 1)[..., None]
    picture = picture * (1 - mask) + above * mask
    if rng.random() < 0.4:
        shapes(rng, picture, palette(rng, 5), int(rng.integers(60, 400)), 0.03, 0.25, "blade", max(0.0, edge / n), 1.2)
    if rng.random() < 0.5:
        shapes(rng, picture, palette(rng, 5), int(rng.integers(5, 60)), 0.015, 0.2, str(rng.choice(["polygon", "ellipse"])), edge / n - 0.05, 1.1)
    return picture


def studio(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Flat or gently graded, sometimes with a floor line."""
    one, other = palette(rng, 2) if rng.random() < 0.7 else np.repeat(rng.uniform(0, 1, (2, 1)), 3, 1)
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None, None] if rng.random() < 0.6 else np.hypot(*np.mgrid[-1:1:n * 1j, -1:1:n * 1j])[..., None].astype(np.float32)
    picture = np.broadcast_to(one + (other - one) * t * rng.uniform(0, 1), (n, n, 3)).astype(np.float32)
    if rng.random() < 0.4:
        picture = np.where((np.arange(n) > horizon)[:, None, None], picture * rng.uniform(0.6, 1.2), picture).astype(np.float32)
    return picture


def water(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Ripples: noise stretched sideways with bright crests."""
    waves = fractal(rng, n, int(rng.integers(4, 16)), rng.uniform(0.5, 0.8), rng.uniform(2, 6))
    picture = ramp(waves, palette(rng, 4))
    return picture + (np.maximum(waves - 1.2, 0) * rng.uniform(0, 0.6))[..., None]


def clutter(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Dead leaves of one or two kinds over fractal noise."""
    picture = np.ascontiguousarray(ramp(fractal(rng, n, 3, 0.6), palette(rng, 5)))
    for _ in range(int(rng.integers(1, 3))):
        shapes(rng, picture, palette(rng, 12), int(rng.integers(80, 350)), 0.015, 0.6, str(rng.choice(["ellipse", "polygon", "box", "polygon"])))
    return picture * (1 + 0.12 * fractal(rng, n, 24, 0.8)[..., None])


def clouds(rng: np.random.Generator, n: int, horizon: float) -> np.ndarray:
    """Coloured 1/f noise."""
    return ramp(fractal(rng, n, 3, rng.uniform(0.4, 0.8)), palette(rng, 8)) + 0.05 * rng.random() * fractal(rng, n, 4, 0.6)[..., None]


SCENES = {outdoors: 0.52, clutter: 0.16, clouds: 0.1, studio: 0.08, water: 0.07, lambda rng, n, horizon: wall(rng, n): 0.07}


def paint(rng: np.random.Generator, n: int, horizon: float | None) -> np.ndarray:
    """A random scene (n, n, 3) uint8; horizon is the row of the true horizon, or None where it is not known."""
    scene = rng.choice(len(SCENES), p=list(SCENES.values()))
    row = rng.uniform(0.05, 0.7) * n if horizon is None or rng.random() < 0.1 else float(np.clip(horizon, -4 * n, 0.9 * n))
    picture = list(SCENES)[scene](rng, n, row).astype(np.float32)
    if rng.random() < 0.65:
        picture = cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(np.log(0.4), np.log(0.014 * n)))))
    if rng.random() < 0.4:  # shade of trees, clouds, a window
        picture = picture * (1 + rng.uniform(0.1, 0.5) * np.tanh(2 * fractal(rng, n, int(rng.integers(2, 8)), 0.5)))[..., None]
    mean = picture.mean((0, 1))
    picture = (picture - mean) * rng.uniform(0.5, 1.25) + mean * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.02, 3)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)
