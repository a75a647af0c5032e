"""What cameras, encoders and networks do to a video, applied to rendered frames."""

from __future__ import annotations

import cv2
import numpy as np

from .compiled import compiled
from .textures import SHEET

SOFT_SHEET = cv2.GaussianBlur(SHEET, (0, 0), 0.7) * 2.2


@compiled()
def develop(images, table, sheet, strength, offsets, out):  # type: ignore[no-untyped-def]
    """Tone curve per frame and channel, then grain, half of it alike in all channels.

    images (T, S, S, 3) uint8, table (T, 3, 256) float32, sheet: normal noise, offsets (T, 4, 2): windows of it, out like images.
    """
    for t in range(images.shape[0]):
        for i in range(images.shape[1]):
            for j in range(images.shape[2]):
                shared = sheet[i + offsets[t, 3, 0], j + offsets[t, 3, 1]]
                for c in range(3):
                    own = sheet[i + offsets[t, c, 0], j + offsets[t, c, 1]]
                    value = table[t, c, images[t, i, j, c]] + strength * (shared + np.float32(0.5) * own) + np.float32(0.5)
                    out[t, i, j, c] = np.uint8(min(np.float32(255.0), max(np.float32(0.0), value)))


def augment(images: np.ndarray, rng: np.random.Generator, mask: np.ndarray | None = None, outside: np.ndarray | None = None) -> np.ndarray:
    """Degrade a clip (T, S, S, 3) uint8 as one camera and one encoder would; returns new images.

    A mask (T, S, S) uint8 is updated in place where something is laid over the picture. outside (T, S, S) marks what lies beyond the
    video's own picture: it is filled with one clean colour, as backend/crop.py does.
    """
    result = _film(images, rng, mask)
    if outside is not None and outside.any():
        inside = result[~outside]
        result[outside] = np.clip(inside.mean(0) + rng.normal(0, 12, 3), 0, 255) if len(inside) else 128
    return result


def _film(images: np.ndarray, rng: np.random.Generator, mask: np.ndarray | None) -> np.ndarray:
    """Lens, sensor, scaling and encoder in the order in which a picture meets them."""
    blurred = _blur(images, rng)
    toned = _tone(blurred, rng)
    if rng.random() < 0.3:
        toned = _resample(toned, rng)
    if rng.random() < 0.7:
        toned = _compress(toned, rng)
    return _overlay(toned, rng, mask) if rng.random() < 0.06 else toned


def _blur(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Defocus, which breathes over the clip, or a shaken camera."""
    kind, size = rng.random(), images.shape[1]
    if kind < 0.4:
        sigma = size / 128 * np.exp(rng.uniform(np.log(0.25), np.log(1.5))) * np.exp(0.15 * _drift(rng, len(images)))
        return np.stack([cv2.GaussianBlur(image, (0, 0), float(s)) for image, s in zip(images, sigma, strict=True)])
    if kind < 0.5:
        length, angle = size / 128 * rng.uniform(1, 5), rng.uniform(0, np.pi)
        amounts = np.clip(length * (1 + 0.6 * _drift(rng, len(images))), 0, 9)
        return np.stack([_streak(image, float(a), angle) for image, a in zip(images, amounts, strict=True)])
    return images


def _streak(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blur along a line of length pixels."""
    radius = int(np.ceil(length / 2))
    if radius < 1:
        return image
    kernel = np.zeros((2 * radius + 1,) * 2, np.float32)
    for k in np.linspace(-length / 2, length / 2, 4 * radius + 1):
        kernel[int(round(radius + np.sin(angle) * k)), int(round(radius + np.cos(angle) * k))] += 1.0
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _drift(rng: np.random.Generator, count: int) -> np.ndarray:
    """A slow random curve (count,) of about unit size."""
    t = np.arange(count)
    return np.sin(t * rng.uniform(0.03, 0.3) + rng.uniform(0, 6.3)) * rng.uniform(0.3, 1.0)


def _tone(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, gamma, contrast, saturation by channel gains, sometimes grey, and grain."""
    count = len(images)
    if rng.random() < 0.03:
        images = np.repeat((images @ np.array([0.3, 0.59, 0.11])).astype(np.uint8)[..., None], 3, -1)
    level = np.arange(256) / 255.0
    gamma, gain, lift = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.12)), max(0.0, rng.normal(0, 0.03))
    tint = np.exp(rng.normal(0, 0.04, 3))
    mean = float(images[:, ::4, ::4].mean()) / 255  # cameras choose their exposure by the picture
    gain *= float(np.clip((0.44 / max(mean, 0.02)) ** (0.9 * np.sqrt(rng.random())), 0.5, 4.0))
    exposure = np.exp(0.05 * rng.random() * _drift(rng, count))[:, None, None] * tint[None, :, None]
    curve = level ** gamma * gain
    if rng.random() < 0.4:
        curve = curve + rng.uniform(-0.12, 0.3) * (curve * curve * (3 - 2 * np.minimum(curve, 1)) - curve)
    table = ((curve * (1 - lift) + lift)[None, None] * exposure * 255.0).astype(np.float32)
    strength = np.exp(rng.uniform(np.log(0.4), np.log(9.0))) if rng.random() < 0.75 else 0.0
    sheet = SOFT_SHEET if rng.random() < 0.5 else SHEET
    out = np.empty_like(images)
    offsets = rng.integers(0, len(sheet) - images.shape[1], (count, 4, 2))
    develop(np.ascontiguousarray(images), table, sheet, np.float32(strength), offsets, out)
    return out


def _resample(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smaller video enlarged: down and up again."""
    size = images.shape[1]
    small = max(16, int(size * rng.uniform(0.35, 0.9)))
    up = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.55, 0.35, 0.1]))
    return np.stack([cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=up) for image in images])


def _compress(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG blocks and colour subsampling; every fourth to twelfth frame is a better one, as in a video."""
    quality, period = int(rng.integers(12, 85)), int(rng.integers(4, 13))
    out = np.empty_like(images)
    for t, image in enumerate(images):
        level = min(95, quality + 15) if t % period == 0 else quality
        out[t] = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, level])[1], cv2.IMREAD_COLOR)
    return out


def _overlay(images: np.ndarray, rng: np.random.Generator, mask: np.ndarray | None) -> np.ndarray:
    """A bar or a mark that stays in the picture: letterbox, caption, logo."""
    size = images.shape[1]
    height, width = int(size * rng.uniform(0.03, 0.14)), int(size * rng.uniform(0.15, 1.0))
    top = 0 if rng.random() < 0.5 else size - height
    left = 0 if width > 0.6 * size else int(rng.uniform(0, size - width))
    width = size if left == 0 else width
    images = images.copy()
    images[:, top:top + height, left:left + width] = rng.integers(0, 256, 3) if rng.random() < 0.4 else 0
    if mask is not None:
        mask[:, top:top + height, left:left + width] = 0
    return images
