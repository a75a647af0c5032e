"""Square crops of a picture, resized for the network, and the coordinates that go with them.

Convention: pixel coordinates have their origin at the outer corner of the top left pixel (pixel i covers [i, i + 1]). A crop is the square
around `center` (x, y) with side `side`, in pixels; crop units run 0..1 across it: u = (x - (cx - side / 2)) / side. The resized crop of
`size` pixels covers the same square, so that a crop pixel p covers [p, p + 1] / size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = TypeVar("Array", np.ndarray, torch.Tensor)
Fill = tuple[float, float, float] | None


def to_crop(points: Array, center: Array, side: Array | float) -> Array:
    """Pixels (..., 2) to crop units 0..1 (..., 2); center (..., 2) and side (...,) broadcast against them."""
    return (points - center) / _column(side) + 0.5


def from_crop(units: Array, center: Array, side: Array | float) -> Array:
    """Crop units (..., 2) back to pixels (..., 2): the inverse of to_crop."""
    return (units - 0.5) * _column(side) + center


def _column(side: Array | float) -> Array | float:
    return side[..., None] if isinstance(side, np.ndarray | torch.Tensor) and side.ndim else side


def crop_square(image: np.ndarray, center: np.ndarray, side: float, size: int, fill: Fill = None) -> torch.Tensor:
    """Cut a square out of (H, W, 3) uint8 and resize it to (3, size, size) uint8.

    Each axis is resampled by a triangle filter as wide as the shrinking demands (antialiased; bilinear when enlarging), exact to a fraction
    of a pixel. What lies outside the picture is `fill` (three values 0..255), or where that is None the mean of the picture's border.
    """
    if not (np.isfinite(center).all() and np.isfinite(side) and side > 0):
        raise ValueError(f"a crop needs a finite centre and a positive side, not {center} and {side}")
    corner = np.asarray(center, np.float64) - side / 2
    reach = max(1.0, side / size) + 1
    low = np.floor(corner - reach).astype(int)
    high = np.ceil(corner + side + reach).astype(int)
    window = Image.fromarray(_window(image, low, high, fill))
    # Pillow's filter takes a box of fractional pixels and looks beyond its edges, which torch's interpolate cannot
    box = (*(corner - low), *(corner + side - low))
    resized = np.asarray(window.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0))
    return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))


def _window(image: np.ndarray, low: np.ndarray, high: np.ndarray, fill: Fill) -> np.ndarray:
    """Pixels [low, high) (x, y) of a picture, contiguous, with `fill` outside of it."""
    limits = np.array(image.shape[1::-1])
    first, past = np.clip(low, 0, limits), np.clip(high, 0, limits)
    part = image[first[1] : past[1], first[0] : past[0]]
    if (first == low).all() and (past == high).all():
        return np.ascontiguousarray(part)
    window = np.empty((high[1] - low[1], high[0] - low[0], 3), np.uint8)
    window[0] = np.round(fill if fill is not None else border_mean(image)).astype(np.uint8)
    window[1:] = window[0]  # whole rows: filling three bytes at a time is slower than the resizing
    x, y = np.clip(first - low, 0, high - low)
    window[y : y + part.shape[0], x : x + part.shape[1]] = part
    return window


def crops(images: Sequence[np.ndarray], centers: np.ndarray, sides: np.ndarray, size: int, fill: Fill = None) -> torch.Tensor:
    """(N, 3, size, size) uint8 crops of N pictures around centers (N, 2) with sides (N,)."""
    cut = [crop_square(image, center, float(side), size, fill) for image, center, side in zip(images, centers, sides, strict=True)]
    return torch.stack(cut) if cut else torch.empty(0, 3, size, size, dtype=torch.uint8)


def border_mean(image: np.ndarray) -> tuple[float, float, float]:
    """Mean colour of the outermost pixels of (H, W, 3), 0..255."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    red, green, blue = border.mean(0)
    return float(red), float(green), float(blue)
