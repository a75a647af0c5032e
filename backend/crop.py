"""Square crops of a picture, resized for the network, and the coordinates that go with them.

Convention: pixel coordinates have their origin at the outer corner of the top left pixel (pixel i covers [i, i + 1]). A crop is the square
around `center` (x, y) with side `side`, in pixels; crop units run 0..1 across it: u = (x - (cx - side / 2)) / side. The resized crop of
`size` pixels covers the same square, so that a crop pixel p covers [p, p + 1] / size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.nn import functional

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
    height, width = image.shape[:2]
    scale = size / side
    left, top = float(center[0]) - side / 2, float(center[1]) - side / 2
    x0, x1, across = _weights(left, scale, size, width)
    y0, y1, down = _weights(top, scale, size, height)
    background = torch.tensor(fill if fill is not None else border_mean(image), dtype=torch.float32)
    if x0 >= x1 or y0 >= y1:
        return background.round().to(torch.uint8)[:, None, None].expand(3, size, size).clone()
    window = torch.from_numpy(np.ascontiguousarray(image[y0:y1, x0:x1])).float()
    rows = (down @ window.reshape(y1 - y0, -1)).reshape(size, x1 - x0, 3)
    pixels = torch.einsum("px,yxc->cyp", across, rows)
    inside = down.sum(1)[:, None] * across.sum(1)[None]
    return (pixels + background[:, None, None] * (1 - inside)).round().clamp_(0, 255).to(torch.uint8)


def crops(images: Sequence[np.ndarray], centers: np.ndarray, sides: np.ndarray, size: int, fill: Fill = None) -> torch.Tensor:
    """(N, 3, size, size) uint8 crops of N pictures around centers (N, 2) with sides (N,)."""
    cut = [crop_square(image, center, float(side), size, fill) for image, center, side in zip(images, centers, sides, strict=True)]
    return torch.stack(cut) if cut else torch.empty(0, 3, size, size, dtype=torch.uint8)


def border_mean(image: np.ndarray) -> tuple[float, float, float]:
    """Mean colour of the outermost pixels of (H, W, 3), 0..255."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    red, green, blue = border.mean(0)
    return float(red), float(green), float(blue)


def _weights(start: float, scale: float, size: int, length: int) -> tuple[int, int, torch.Tensor]:
    """(first, past, weights (size, past - first)): the share of each picture pixel in each crop pixel along one axis.

    Rows sum to 1 where the filter lies inside the picture, to less where it reaches out of it.
    """
    reach = max(1.0, 1.0 / scale)
    centers = start + (torch.arange(size, dtype=torch.float64) + 0.5) / scale
    low, high = int(np.floor(start - reach)), int(np.ceil(start + size / scale + reach))
    pixels = torch.arange(low, high, dtype=torch.float64) + 0.5
    weights = (1.0 - (pixels[None] - centers[:, None]).abs() / reach).clamp_(min=0.0)
    weights /= weights.sum(1, keepdim=True)
    first, past = min(max(low, 0), length), max(min(high, length), 0)
    return first, past, weights[:, first - low : past - low].float() if past > first else weights[:, :0].float()
