"""Render and compare: where in the frame each drawn point of the posed rig really is (DeepIM, Li et al. 2018, with dense flow as answer).

The rig, posed as it is believed to stand and painted with the reference's picture and with the frame before, is compared with the frame by
correlating the features of both around every place at two scales (PWC-Net, Sun et al. 2018, section 3); a U-Net makes of that the flow and how
sure it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..drawn import CHANNELS, PAINTS

REACH = 4  # cells of a correlation window to each side: 16 pixels at quarter size, 32 at eighth


@dataclass(frozen=True)
class RefinerConfig:
    """image_size: pixels of a crop. widths: channels at a half, quarter, eighth and sixteenth of it."""

    image_size: int = 128
    widths: tuple[int, int, int, int] = (24, 56, 80, 112)

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
        self.at_half = nn.Sequential(nn.Conv2d(channels, half, 5, stride=2, padding=2), nn.ReLU())
        self.at_quarter = nn.Sequential(nn.Conv2d(half, quarter, 3, stride=2, padding=1), _Block(quarter))
        self.at_eighth = nn.Sequential(nn.Conv2d(quarter, eighth, 3, stride=2, padding=1), _Block(eighth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        return half, quarter, self.at_eighth(quarter)


def correlate(mine: Tensor, theirs: Tensor, reach: int = REACH) -> Tensor:
    """(B, (2 reach + 1)², h, w) cosines of features (B, C, h, w) and those up to `reach` cells away, which are 0 outside."""
    batch, _, height, width = mine.shape
    span = 2 * reach + 1
    padded = F.pad(F.normalize(theirs, dim=1), (reach,) * 4)
    wide = width + 2 * reach
    every = F.normalize(mine, dim=1).flatten(2).transpose(1, 2) @ padded.flatten(2)  # (B, h w, all places)
    row, column = torch.arange(height, device=mine.device), torch.arange(width, device=mine.device)
    step = torch.arange(span, device=mine.device)
    place = (row[:, None, None, None] + step[:, None]) * wide + column[:, None, None] + step  # (h, w, span, span)
    near = every.gather(2, place.view(1, height * width, span**2).expand(batch, -1, -1))
    return near.transpose(1, 2).reshape(batch, span**2, height, width)


class _Match(nn.Module):
    """How alike a picture's cells are to those of the frame around them, sharpened, and the mean place of the likeliest, cells."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.feature = nn.Conv2d(width, width, 1)
        self.contrast = nn.Parameter(torch.tensor(2.5))
        step = torch.arange(-REACH, REACH + 1).float()
        self.register_buffer("offset", torch.stack([step.repeat(len(step)), step.repeat_interleave(len(step))]), persistent=False)

    def forward(self, mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        window = correlate(self.feature(mine), self.feature(theirs)).float() * self.contrast.exp()
        return window, torch.einsum("bnhw,cn->bchw", window.softmax(1), self.offset)


class Refiner(nn.Module):
    """drawn (B, CHANNELS, S, S) and frame (B, 3, S, S), -0.5..0.5, to flow (B, 2, S/2, S/2) in shares of S and log of its scale (B, S/2, S/2).

    Both are about the pixels of the drawn rig with even row and column; elsewhere they mean nothing. The same eye sees the rig's colours and
    the frame's, so that they are alike before anything was learned; the rig's shape has an eye of its own.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth, deep = config.widths
        seen = PAINTS * ((2 * REACH + 1) ** 2 + 2)
        self.eye = _Eye(3, config.widths)
        self.shape_half = nn.Sequential(nn.Conv2d(CHANNELS - 3 * PAINTS, half, 5, stride=2, padding=2), nn.ReLU())
        self.shape_quarter = nn.Sequential(nn.Conv2d(half, quarter // 2, 3, stride=2, padding=1), nn.ReLU())
        self.match_quarter, self.match_eighth = _Match(quarter), _Match(eighth)
        self.join_quarter = nn.Sequential(nn.Conv2d(2 * quarter + quarter // 2 + seen, quarter, 3, padding=1), _Block(quarter))
        self.join_eighth = nn.Sequential(nn.Conv2d(2 * eighth + seen + quarter, eighth, 3, padding=1), _Block(eighth))
        self.down = nn.Conv2d(quarter, quarter, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(eighth, deep, 3, stride=2, padding=1), _Block(deep), _Block(deep))
        self.up_eighth = nn.Sequential(nn.Conv2d(deep + eighth, eighth, 3, padding=1), _Block(eighth))
        self.up_quarter = nn.Sequential(nn.Conv2d(eighth + quarter, quarter, 3, padding=1), _Block(quarter))
        self.thin = nn.Conv2d(quarter, half, 1)
        self.up_half = nn.Sequential(nn.Conv2d(4 * half, half, 3, padding=1), _Block(half))
        self.coarse, self.fine = nn.Conv2d(quarter, 3, 3, padding=1), nn.Conv2d(half, 3, 3, padding=1)

    def forward(self, drawn: Tensor, frame: Tensor) -> tuple[Tensor, Tensor, tuple[list[Tensor], list[Tensor]]]:
        """Flow, log of its scale, and each paint's windows (B, (2 REACH + 1)², h, w) at a quarter and an eighth, as logits, to learn from."""
        drawn, frame = (x.contiguous(memory_format=torch.channels_last) for x in (drawn, frame))
        paints = drawn[:, : 3 * PAINTS].unflatten(1, (PAINTS, 3)).transpose(0, 1).flatten(0, 1)
        halves, quarters, eighths = (x.chunk(PAINTS + 1) for x in self.eye(torch.cat([paints, frame])))
        shape_half = self.shape_half(drawn[:, 3 * PAINTS :])
        near = [self.match_quarter(x, quarters[-1]) for x in quarters[:-1]]
        shape = self.shape_quarter(shape_half)
        quarter = self.join_quarter(torch.cat([quarters[-2], quarters[-1], shape, *(x / 8 for x, _ in near), *(place for _, place in near)], 1))
        wide = [self.match_eighth(x, eighths[-1]) for x in eighths[:-1]]
        eighth = torch.cat([eighths[-2], eighths[-1], self.down(quarter), *(x / 8 for x, _ in wide), *(place for _, place in wide)], 1)
        eighth = self.join_eighth(eighth)
        eighth = self.up_eighth(torch.cat([_double(self.deep(eighth)), eighth], 1))
        quarter = self.up_quarter(torch.cat([_double(eighth), quarter], 1))
        half = self.up_half(torch.cat([_double(self.thin(quarter)), halves[-2], halves[-1], shape_half], 1))
        out = (_double(self.coarse(quarter)) + self.fine(half)).float()
        return out[:, :2] * 0.1, out[:, 2].clamp(-4, 4) - 4, ([x for x, _ in near], [x for x, _ in wide])


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
