"""A backdrop that stays put in the world while the crop slides over it, and what may stand before the subject."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import scenery, textures

SPAN = 3.0  # sides of the virtual picture, in sides of the crop


@dataclass(eq=False)
class Background:
    """A random scene. It is painted when first seen, for the place and size of the crop there.

    seed: of the scene and of the occluders. occluder: kind of thing in front of the subject, "" for none. parallax: its speed against
    the backdrop. pan: (2,) speed of the scene in crop sides a frame (the camera follows the subject); shake: jitter in crop sides.
    """

    seed: int
    occluder: str
    parallax: float
    pan: np.ndarray
    shake: float
    picture: np.ndarray | None = None
    front: np.ndarray | None = None
    origin: np.ndarray | None = None
    side: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Background:
        """Draw a scene."""
        occluder = str(rng.choice(["bars", "blob", "box", "blades", "leaves"])) if rng.random() < 0.2 else ""
        pan = rng.normal(0, 0.03, 2) * np.array([1.0, 0.3]) if rng.random() < 0.4 else np.zeros(2)
        return cls(int(rng.integers(2 ** 62)), occluder, rng.uniform(1.0, 1.5), pan, rng.uniform(0, 0.006) if rng.random() < 0.3 else 0.0)

    def place(self, center: np.ndarray, side: float, size: int, horizon: float | None = None) -> None:
        """Paint the scene about a crop: center (2,), side and horizon (a height) in any one unit, size in pixels. What is painted stays."""
        self.origin, self.side = np.asarray(center, np.float64), float(side)
        if self.picture is not None:
            return
        rng = np.random.default_rng(self.seed)
        n = min(640, int(SPAN * size * 1.1))
        row = None if horizon is None else (horizon - center[1]) / side * n / SPAN + n / 2
        self.picture = scenery.paint(rng, n, row)
        self.front = paint_front(rng, n, self.occluder) if self.occluder else None

    def image(self, index: int, center: np.ndarray, side: float, size: int) -> np.ndarray:
        """The backdrop (size, size, 3) uint8 of frame index behind a crop with this center (2,) and side."""
        if self.picture is None:
            self.place(center, side, size)
        assert self.picture is not None
        return self._window(self.picture, index, center, side, size, 1.0, cv2.BORDER_REFLECT)

    def foreground(self, index: int, center: np.ndarray, side: float, size: int) -> np.ndarray | None:
        """What stands before the subject (size, size, 4) uint8, the last channel its coverage; None where nothing does."""
        return None if self.front is None else self._window(self.front, index, center, side, size, self.parallax, cv2.BORDER_CONSTANT)

    def mean_color(self) -> np.ndarray:
        """Mean sRGB (3,) 0..1 of the middle of the scene."""
        assert self.picture is not None
        n = len(self.picture)
        return self.picture[n // 3:2 * n // 3:4, n // 3:2 * n // 3:4].mean((0, 1)) / 255.0

    def _window(self, picture: np.ndarray, index: int, center: np.ndarray, side: float, size: int, speed: float, border: int) -> np.ndarray:
        n = len(picture)
        per_side = n / SPAN
        jitter = np.random.default_rng((self.seed, index)).normal(0, self.shake, 2) if self.shake > 0 else 0.0
        middle = ((np.asarray(center) - self.origin) / self.side + self.pan * index + jitter) * speed * per_side + n / 2
        scale = side / self.side * per_side / size
        corner = middle - scale * size / 2 + (scale - 1) / 2
        matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]], np.float64)
        window = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
        speed_px = self.pan * (size * 0.5)
        length = int(np.abs(speed_px).max())
        return _smear(window, speed_px, length) if length > 1 else window


def _smear(picture: np.ndarray, direction: np.ndarray, length: int) -> np.ndarray:
    """Blur along a direction (2,) over length pixels, as a panning camera does."""
    kernel = np.zeros((length * 2 + 1, length * 2 + 1), np.float32)
    step = direction / np.abs(direction).max()
    for k in np.linspace(-length / 2, length / 2, length * 2 + 1):
        kernel[int(round(length + step[1] * k)), int(round(length + step[0] * k))] = 1.0
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def paint_front(rng: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """Things before the subject (n, n, 4) uint8: bars, a blob, a box, blades of grass from below, a cluster of leaves."""
    crop = n / SPAN
    alpha = np.zeros((n, n, 3), np.uint8)
    if kind == "bars":
        step, width = crop * rng.uniform(0.25, 1.2), max(1, round(crop * rng.uniform(0.012, 0.09)))
        for x in np.arange(rng.uniform(0, step), n, step):
            cv2.line(alpha, (int(x), -5), (int(x + rng.normal(0, 0.02) * n), n + 5), (255,) * 3, width, cv2.LINE_AA)
        if rng.random() < 0.4:
            y = int(rng.uniform(0.35, 0.65) * n)
            cv2.line(alpha, (-5, y), (n + 5, y), (255,) * 3, width, cv2.LINE_AA)
    elif kind == "blades":
        height = rng.uniform(0.1, 0.35) / SPAN
        textures.shapes(rng, alpha, np.full((1, 3), 2.0), int(rng.integers(100, 400)), height * 0.4, height, "blade", 0.5 + 0.3 / SPAN, 0.5 + 0.8 / SPAN)
    else:
        form, count, small, large = {"blob": ("ellipse", 3, 0.06, 0.16), "box": ("box", 3, 0.06, 0.2), "leaves": ("ellipse", 80, 0.015, 0.06)}[kind]
        textures.shapes(rng, alpha, np.full((1, 3), 2.0), count, small, large, form, 0.3, 0.7)
    blur = float(np.exp(rng.uniform(np.log(0.3), np.log(0.02 * crop))))
    color = textures.ramp(textures.fractal(rng, n, 12, 0.7), textures.palette(rng, 3))
    return np.dstack([color, cv2.GaussianBlur(alpha[..., 0], (0, 0), blur)])
