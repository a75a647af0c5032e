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

from ..drawn import CHANNELS, PAINTS
from .eye import Block, Eye, Match, double

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
        self.eye = Eye(3, config.widths)
        self.shape_half = nn.Sequential(nn.Conv2d(CHANNELS - 3 * PAINTS, half, 5, stride=2, padding=2), nn.ReLU())
        self.shape_quarter = nn.Sequential(nn.Conv2d(half, quarter // 2, 3, stride=2, padding=1), nn.ReLU())
        self.match_quarter, self.match_eighth = Match(quarter, REACH), Match(eighth, REACH)
        self.join_quarter = nn.Sequential(nn.Conv2d(2 * quarter + quarter // 2 + seen, quarter, 3, padding=1), Block(quarter))
        self.join_eighth = nn.Sequential(nn.Conv2d(2 * eighth + seen + quarter, eighth, 3, padding=1), Block(eighth))
        self.down = nn.Conv2d(quarter, quarter, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(eighth, deep, 3, stride=2, padding=1), Block(deep), Block(deep))
        self.up_eighth = nn.Sequential(nn.Conv2d(deep + eighth, eighth, 3, padding=1), Block(eighth))
        self.up_quarter = nn.Sequential(nn.Conv2d(eighth + quarter, quarter, 3, padding=1), Block(quarter))
        self.thin = nn.Conv2d(quarter, half, 1)
        self.up_half = nn.Sequential(nn.Conv2d(4 * half, half, 3, padding=1), Block(half))
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
        eighth = self.up_eighth(torch.cat([double(self.deep(eighth)), eighth], 1))
        quarter = self.up_quarter(torch.cat([double(eighth), quarter], 1))
        half = self.up_half(torch.cat([double(self.thin(quarter)), halves[-2], halves[-1], shape_half], 1))
        out = (double(self.coarse(quarter)) + self.fine(half)).float()
        return out[:, :2] * 0.1, out[:, 2].clamp(-4, 4) - 4, ([x for x, _ in near], [x for x, _ in wide])
