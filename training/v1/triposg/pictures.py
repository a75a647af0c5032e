"""Pictures as TripoSG was trained on: the subject alone on white, filling the square, then as its image encoder takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_PADDING = 0.1  # white on each side, over the longer side of the subject's box
_LEAST = 4  # pixels that a subject must have


@dataclass(frozen=True)
class Preprocessing:
    """What feature_extractor_dinov2/preprocessor_config.json says; resize, crop: pixels."""

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Raises KeyError where one is missing."""
        return cls(int(values["size"]["shortest_edge"]), int(values["crop_size"]["height"]), tuple(values["image_mean"]), tuple(values["image_std"]))

    def __call__(self, picture: Tensor) -> Tensor:
        """(3, S, S) 0..1 to (3, crop, crop) normalised."""
        picture = resized(picture, self.resize)
        start = (self.resize - self.crop) // 2
        mean, std = (torch.tensor(values, device=picture.device)[:, None, None] for values in (self.mean, self.std))
        return (picture[:, start : start + self.crop, start : start + self.crop] - mean) / std


def resized(picture: Tensor, side: int) -> Tensor:
    """(C, S, S) to (C, side, side), 0..1."""
    return F.interpolate(picture[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)


def on_white(picture: Tensor, mask: Tensor) -> Tensor:
    """The subject of a picture (3, S, S) under its mask (S, S) 0..1, alone on white in a square with a margin; the whole picture where there is none."""
    rows, columns = (torch.nonzero(mask.amax(axis) > 0.5)[:, 0] for axis in (1, 0))
    if min(len(rows), len(columns)) < _LEAST:
        return picture
    alone = picture * mask + (1 - mask)
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    height, width = bottom - top, right - left
    side = max(height, width) + 2 * int(_PADDING * max(height, width))
    above, before = (side - height) // 2, (side - width) // 2
    return F.pad(alone[:, top:bottom, left:right], (before, side - width - before, above, side - height - above), value=1.0)
