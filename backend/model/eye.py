"""What the networks that compare two pictures see with: features of both at three scales, and how alike those around a place are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3×3 convolutions with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.relu(self.one(F.relu(self.norm(x)))))


class Eye(nn.Module):
    """Features of a picture at a half, a quarter and an eighth of its size."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        half, quarter, eighth = widths[:3]
        self.at_half = nn.Sequential(nn.Conv2d(channels, half, 5, stride=2, padding=2), nn.ReLU())
        self.at_quarter = nn.Sequential(nn.Conv2d(half, quarter, 3, stride=2, padding=1), Block(quarter))
        self.at_eighth = nn.Sequential(nn.Conv2d(quarter, eighth, 3, stride=2, padding=1), Block(eighth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        return half, quarter, self.at_eighth(quarter)


def window(mine: Tensor, theirs: Tensor, reach: int) -> Tensor:
    """(B, (2 reach + 1)², h, w) cosines of features (B, C, h, w) and those up to `reach` cells away, which are 0 outside.

    Row by row as products of matrices, of which the band beside the diagonal is taken: the rest is faster worked out than left out.
    """
    mine = F.normalize(mine, dim=1).permute(0, 2, 3, 1).contiguous()  # (B, h, w, C)
    theirs = F.pad(F.normalize(theirs, dim=1).permute(0, 2, 3, 1), (0, 0, *(reach,) * 4)).transpose(2, 3)  # (B, h + 2 reach, C, w + 2 reach)
    height, width = mine.shape[1:3]
    span, wide = 2 * reach + 1, width + 2 * reach
    bands = []
    for row in range(span):
        every = (mine @ theirs[:, row : row + height]).contiguous()  # (B, h, w, w + 2 reach)
        bands.append(every.as_strided((len(every), height, width, span), (height * width * wide, width * wide, wide + 1, 1)))
    return torch.cat(bands, -1).permute(0, 3, 1, 2)


class Match(nn.Module):
    """How alike a picture's cells are to those of the other around them, sharpened, and the mean place of the likeliest, cells."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.feature, self.reach = nn.Conv2d(width, width, 1), reach
        self.contrast = nn.Parameter(torch.tensor(2.5))
        step = torch.arange(-reach, reach + 1).float()
        self.register_buffer("offset", torch.stack([step.repeat(len(step)), step.repeat_interleave(len(step))]), persistent=False)

    def forward(self, mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, (2 reach + 1)², h, w) and place (B, 2, h, w)."""
        logits = window(self.feature(mine), self.feature(theirs), self.reach).float() * self.contrast.exp()
        return logits, torch.einsum("bnhw,cn->bchw", logits.softmax(1), self.offset)


def double(x: Tensor) -> Tensor:
    """(B, C, 2h, 2w) of (B, C, h, w)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
