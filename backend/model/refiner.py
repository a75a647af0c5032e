"""Render and compare: where in the frame each drawn point of the posed rig really is (DeepIM, Li et al. 2018, with dense flow as answer).

The rig, posed as it is believed to stand and painted with the reference's picture, is compared with the frame by correlating the features of
both around every place at two scales (PWC-Net, Sun et al. 2018, section 3); a U-Net makes of that the flow and how sure it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..drawn import CHANNELS

REACH = 4  # cells of a correlation window to each side: 16 pixels at quarter size, 32 at eighth


@dataclass(frozen=True)
class RefinerConfig:
    """image_size: pixels of a crop. widths: channels at a half, quarter, eighth and sixteenth of it."""

    image_size: int = 128
    widths: tuple[int, int, int, int] = (24, 64, 96, 128)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RefinerConfig:
        return cls(int(values["image_size"]), tuple(values["widths"]))


class _Block(nn.Module):
    """Two 3×3 convolutions with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.relu(self.one(F.relu(self.norm(x)))))


class _Eye(nn.Module):
    """Features of a picture at a half, a quarter and an eighth of its size."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        half, quarter, eighth = widths[:3]
        self.at_half = nn.Sequential(nn.Conv2d(channels, half, 5, stride=2, padding=2), nn.ReLU(), _Block(half))
        self.at_quarter = nn.Sequential(nn.Conv2d(half, quarter, 3, stride=2, padding=1), _Block(quarter))
        self.at_eighth = nn.Sequential(nn.Conv2d(quarter, eighth, 3, stride=2, padding=1), _Block(eighth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        return half, quarter, self.at_eighth(quarter)


def correlate(mine: Tensor, theirs: Tensor, reach: int = REACH) -> Tensor:
    """(B, (2 reach + 1)², h, w) scalar products of features (B, C, h, w) with those up to `reach` cells away, which are 0 outside."""
    batch, channels, height, width = mine.shape
    span = 2 * reach + 1
    padded = F.pad(theirs, (reach,) * 4)
    wide = width + 2 * reach
    every = (mine / channels**0.5).flatten(2).transpose(1, 2) @ padded.flatten(2)  # (B, h w, all places)
    row, column = torch.arange(height, device=mine.device), torch.arange(width, device=mine.device)
    step = torch.arange(span, device=mine.device)
    place = (row[:, None, None, None] + step[:, None]) * wide + column[:, None, None] + step  # (h, w, span, span)
    near = every.gather(2, place.view(1, height * width, span**2).expand(batch, -1, -1))
    return near.transpose(1, 2).reshape(batch, span**2, height, width)


class Refiner(nn.Module):
    """drawn (B, CHANNELS, S, S) and frame (B, 3, S, S), -0.5..0.5, to flow (B, 2, S/2, S/2) in shares of S and log of its scale (B, S/2, S/2).

    Both are about the pixels of the drawn rig with even row and column; elsewhere they mean nothing.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth, deep = config.widths
        window = (2 * REACH + 1) ** 2
        self.drawn, self.frame = _Eye(CHANNELS, config.widths), _Eye(3, config.widths)
        self.match_quarter, self.match_eighth = (nn.ModuleList([nn.Conv2d(w, w, 1), nn.Conv2d(w, w, 1)]) for w in (quarter, eighth))
        self.join_quarter = nn.Conv2d(2 * quarter + window, quarter, 3, padding=1)
        self.join_eighth = nn.Sequential(nn.Conv2d(2 * eighth + window + quarter, eighth, 3, padding=1), _Block(eighth))
        self.down = nn.Conv2d(quarter, quarter, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(eighth, deep, 3, stride=2, padding=1), _Block(deep), _Block(deep))
        self.up_eighth = nn.Sequential(nn.Conv2d(deep + eighth, eighth, 3, padding=1), _Block(eighth))
        self.up_quarter = nn.Sequential(nn.Conv2d(eighth + quarter, quarter, 3, padding=1), _Block(quarter))
        self.up_half = nn.Sequential(nn.Conv2d(quarter + 2 * half, half, 3, padding=1), _Block(half))
        self.coarse, self.fine = nn.Conv2d(quarter, 3, 3, padding=1), nn.Conv2d(half, 3, 3, padding=1)

    def forward(self, drawn: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        mine, theirs = self.drawn(drawn), self.frame(frame)
        joined = []
        for layers, a, b in zip((self.match_quarter, self.match_eighth), mine[1:], theirs[1:], strict=True):
            joined.append(torch.cat([a, b, correlate(layers[0](a), layers[1](b))], 1))
        quarter = self.join_quarter(joined[0])
        eighth = self.join_eighth(torch.cat([joined[1], self.down(quarter)], 1))
        deep = self.deep(eighth)
        eighth = self.up_eighth(torch.cat([_double(deep), eighth], 1))
        quarter = self.up_quarter(torch.cat([_double(eighth), quarter], 1))
        coarse = self.coarse(quarter)
        half = self.up_half(torch.cat([_double(quarter), mine[0], theirs[0]], 1))
        out = (_double(coarse) + self.fine(half)).float()
        return out[:, :2] * 0.1, out[:, 2].clamp(-4, 4) - 4


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
