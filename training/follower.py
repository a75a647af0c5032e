"""Optical flow that has learned how bodies move: what dense inverse search found between two pictures, mended, and how surely.

Dense inverse search is right where the picture has structure; inside a plain limb it makes too little of the motion, and at a rim it takes the
background's. Features of both pictures, correlated around where the search went at two scales (PWC-Net, Sun et al. 2018, section 3), and
attention over all cells, by which a limb's inside learns of its rim (GMA, Jiang et al. 2021), say what is wrong with it. The answer is a
distribution: an elliptical Laplace, whose axes need not be the picture's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backend.flow import calc, grey, make_search
from ..backend.model.attention import Attention, FeedForward
from ..backend.model.eye import Block, Eye, Match, double, window
from .weights import WeightsFile

_FILE = WeightsFile("mocap_anything.follower.v1", "follower", "training train_follower")
NEAR, WIDE = 3, 4  # cells of a correlation window to each side, at quarter size and at eighth
UNIT = 0.05  # of the picture: flow enters the network in it
MENDS = (0.005, 0.005, 0.2, 0.2, 0.2)  # of what a step of the optimiser may change an answer by: in UNIT it had thrown flows about
SHARP = 4.6  # log of how sure it is of an answer before anything was learned: a hundredth of the picture
SHUT = 2.5  # of what the windows say, one in 13 is believed before anything was learned
COVARIANCE = 3.0  # of the elliptical Laplace of scale one: half of its mean square radius


@dataclass(frozen=True)
class FollowerConfig:
    """image_size: pixels of the pictures' side. widths: channels at a half, quarter, eighth and sixteenth of it. layers: of attention."""

    image_size: int = 192
    widths: tuple[int, int, int, int] = (24, 56, 80, 112)
    layers: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FollowerConfig:
        return cls(int(values["image_size"]), tuple(values["widths"]), int(values["layers"]))


def carried(picture: Tensor, flow: Tensor) -> Tensor:
    """(B, C, h, w) of a picture where the flow (B, 2, h, w), shares of the picture, goes."""
    height, width = picture.shape[-2:]
    x = (torch.arange(width, device=flow.device) + 0.5) / width
    y = (torch.arange(height, device=flow.device) + 0.5) / height
    place = torch.stack([x + flow[:, 0], y[:, None] + flow[:, 1]], -1) * 2 - 1
    return F.grid_sample(picture.float(), place.float(), padding_mode="border", align_corners=False).to(picture.dtype)


class _Everywhere(nn.Module):
    """Attention of every cell to all others, which know where they are."""

    def __init__(self, width: int, cells: int, heads: int = 4) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(cells, width))
        self.norm, self.attention, self.feed_forward = nn.LayerNorm(width), Attention(width, width // heads), FeedForward(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2).transpose(1, 2)
        seen = self.norm(flat + self.place)
        flat = flat + self.attention(seen, seen)
        flat = flat + self.feed_forward(flat)
        return flat.transpose(1, 2).reshape(x.shape)


class _Alike(nn.Module):
    """What looks alike and is near moves alike: a part of each cell's flow is the mean of those around it, by likeness and by how far each is believed."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.feature, self.reach = nn.Conv2d(width, width, 1), reach
        self.contrast = nn.Parameter(torch.tensor(1.4))
        self.say = nn.Conv2d(width, 2, 3, padding=1)  # how far a cell is to be believed, and how much it takes from others
        nn.init.zeros_(self.say.weight)
        nn.init.zeros_(self.say.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, flow: Tensor) -> Tensor:
        """Features (B, C, h, w) and flow (B, 2, h, w) to a calmer flow."""
        feature, said = self.feature(x), self.say(x).float()
        logits = window(feature, feature, self.reach).float() * self.contrast.exp() + self._around(said[:, :1])[:, 0]
        mean = (self._around(flow) * logits.softmax(1)[:, None]).sum(2)
        return flow + torch.sigmoid(said[:, 1:]) * (mean - flow)

    def _around(self, x: Tensor) -> Tensor:
        """(B, C, (2 reach + 1)², h, w) of (B, C, h, w)."""
        padded = F.pad(x, (self.reach,) * 4, mode="replicate")
        return F.unfold(padded, 2 * self.reach + 1).view(len(x), x.shape[1], -1, *x.shape[2:])


class Follower(nn.Module):
    """Pictures (B, 3, S, S) -0.5..0.5, before and after, and a first flow (B, 2, S/4, S/4) in shares of S, to a better one.

    It answers (B, 5, S/2, S/2) about the pixels of even row and column: flow in shares of S, and the root of its precision, log of the diagonal and
    the rest of an upper triangle R, |R e| being the error e in units of its scale.
    """

    def __init__(self, config: FollowerConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth, deep = config.widths
        near, wide = (2 * NEAR + 1) ** 2 + 2, (2 * WIDE + 1) ** 2 + 2
        self.eye = Eye(3, config.widths)
        self.near, self.wide = Match(quarter, NEAR), Match(eighth, WIDE)
        self.join_quarter = nn.Sequential(nn.Conv2d(2 * quarter + near + 2, quarter, 3, padding=1), Block(quarter))
        self.down = nn.Conv2d(quarter, quarter, 3, stride=2, padding=1)
        self.join_eighth = nn.Sequential(nn.Conv2d(2 * eighth + wide + 2 + quarter, eighth, 3, padding=1), Block(eighth))
        self.to_deep = nn.Sequential(nn.Conv2d(eighth, deep, 3, stride=2, padding=1), Block(deep))
        self.everywhere = nn.Sequential(*(_Everywhere(deep, (config.image_size // 16) ** 2) for _ in range(config.layers)), Block(deep))
        self.up_eighth = nn.Sequential(nn.Conv2d(deep + eighth, eighth, 3, padding=1), Block(eighth))
        self.up_quarter = nn.Sequential(nn.Conv2d(eighth + quarter, quarter, 3, padding=1), Block(quarter))
        self.again = nn.Sequential(nn.Conv2d(2 * quarter + near + 2, quarter, 3, padding=1), Block(quarter))
        self.alike = _Alike(quarter, NEAR)
        self.thin = nn.Conv2d(quarter, half, 1)
        self.up_half = nn.Sequential(nn.Conv2d(3 * half, half, 3, padding=1), Block(half))
        self.first, self.second, self.fine = nn.Conv2d(quarter, 4, 3, padding=1), nn.Conv2d(quarter, 6, 3, padding=1), nn.Conv2d(half, 5, 3, padding=1)
        for head in (self.first, self.second, self.fine):  # what the search found is the start, before and after anything was learned
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, before: Tensor, after: Tensor, start: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor]:
        """The answer; the logits of every window with the flow (B, 2, h, w) that it was about, to learn from; and the flow of the first look."""
        pictures = torch.cat([before, after]).contiguous(memory_format=torch.channels_last)
        (half, half_after), (mine, theirs), (mine_eighth, theirs_eighth) = (x.chunk(2) for x in self.eye(pictures))
        start_eighth = F.avg_pool2d(start, 2)
        gone = carried(theirs, start)
        near, nearby = self.near(mine, gone)
        quarter = self.join_quarter(torch.cat([mine, mine - gone, near / 8, nearby, start / UNIT], 1))
        gone = carried(theirs_eighth, start_eighth)
        wide, afar = self.wide(mine_eighth, gone)
        eighth = self.join_eighth(torch.cat([mine_eighth, mine_eighth - gone, wide / 8, afar, start_eighth / UNIT, self.down(quarter)], 1))
        eighth = self.up_eighth(torch.cat([double(self.everywhere(self.to_deep(eighth))), eighth], 1))
        quarter = self.up_quarter(torch.cat([double(eighth), quarter], 1))
        scale, cells = start.new_tensor(MENDS)[:, None, None], quarter.shape[-1]
        first = self.first(quarter).float()
        flow = start + _believed(first[:, :1], nearby / cells) + _believed(first[:, 1:2], double(afar) / cells * 2) + first[:, 2:] * scale[:2]
        now = flow.detach()
        gone = carried(theirs, now)
        nearer, nearby = self.near(mine, gone)
        quarter = quarter + self.again(torch.cat([quarter, mine - gone, nearer / 8, nearby, now / UNIT], 1))
        second = self.second(quarter).float()
        now = now + _believed(second[:, :1], nearby / cells)
        second = second[:, 1:] * scale
        rough = double(torch.cat([self.alike(quarter, now + second[:, :2]), second[:, 2:]], 1))
        fine = self.fine(self.up_half(torch.cat([double(self.thin(quarter)), half, half - carried(half_after, rough[:, :2].detach())], 1))).float()
        answer = rough + fine * scale
        answer = torch.cat([answer[:, :2], (answer[:, 2:4] + SHARP).clamp(0, 8), answer[:, 4:]], 1)
        return answer, [(near, start), (wide, start_eighth), (nearer, now)], flow


def _believed(gate: Tensor, step: Tensor) -> Tensor:
    """As much of a step (B, 2, h, w) as a gate (B, 1, h, w) lets through, which at first is little."""
    return torch.sigmoid(gate * MENDS[-1] - SHUT) * step


def unlikely(answer: Tensor, truth: Tensor) -> Tensor:
    """(B, h, w) negative log likelihood of flows (B, 2, h, w) under the answers (B, 5, h, w), elliptical Laplace of the plane."""
    x, y = (truth - answer[:, :2]).unbind(1)
    a, c = answer[:, 2].exp(), answer[:, 3].exp()
    across, along = a * (x + answer[:, 4] * y), c * y
    return (across.square() + along.square() + 1e-6).sqrt() - answer[:, 2] - answer[:, 3]


def covariance(answer: Tensor) -> Tensor:
    """(B, 3, h, w) xx, xy, yy of answers (B, 5, h, w), shares of the picture squared."""
    a, c, lean = (-answer[:, 2]).exp().square(), (-answer[:, 3]).exp().square(), answer[:, 4]
    return COVARIANCE * torch.stack([a + lean.square() * c, -lean * c, c], 1)


def first_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What it starts from (2, S/4, S/4), float32 shares of S, between pictures (S, S, 3) uint8: dense inverse search (Kroeger et al. 2016, ECCV)."""
    size = len(before)
    flow = calc(make_search(), grey(before), grey(after))
    return np.ascontiguousarray(cv2.resize(flow, (size // 4, size // 4), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)) / size


def save_follower(model: Follower, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Weights in float16 with the config in the file's own metadata."""
    _FILE.save(model, model.config.to_dict(), path, metadata)


def load_follower(path: Path) -> Follower:
    """Read what save_follower wrote; raises CaptureError where the file is missing or another."""
    config, state = _FILE.read(path)
    model = Follower(FollowerConfig.from_dict(config))
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False)
