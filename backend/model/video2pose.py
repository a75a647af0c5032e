"""video2pose: where every bone's points are in each frame, by matching against the references, in 2D and then in 3D."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .attention import JointBlock, TokenLayer
from .batch import ModelInput
from .config import ModelConfig
from .encoder import sample_map
from .lift import Lift
from .prompts import FineMap, Memory

_LEAST_MODE = 1e-6  # of the probability: what is less is no place at all


class Found(NamedTuple):
    """heat (B, T, J, K, cells) logits, uv (B, T, J, K, 2) where each point was found, certainty (B, T, J, K, 2), joints (B, T, J, dim)."""

    heat: Tensor
    uv: Tensor
    certainty: Tensor
    joints: Tensor


class Match(nn.Module):
    """Frames' tokens look at the references' tokens: (B, T, L, C), independent of other frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TokenLayer(config.token_dim, config.token_head_dim, with_source=True) for _ in range(config.match_layers))
        self.norm = nn.LayerNorm(config.token_dim)
        self.fine_map = FineMap(config)
        self.mask = nn.Conv2d(config.fine_dim, 1, 1)

    def forward(self, tokens: Tensor, fine: Tensor, source: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (B·T, L, C), fine (B·T, …), source (B, N·L, C) to tokens (B, T, L, C), a map (B·T, …) that knows the references, and mask
        logits (B, T, h, w)."""
        batch, length = source.shape[0], tokens.shape[1]
        for layer in self.layers:
            assert isinstance(layer, TokenLayer)
            # attention to the references flattens time into the queries: keys are computed once a clip, not once a frame
            y = tokens.unflatten(0, (batch, frames)).flatten(1, 2)
            y = layer.look(y, source)
            tokens = layer(y.unflatten(1, (frames, length)).flatten(0, 1))
        fine_map = self.fine_map(fine, tokens)
        mask = self.mask(fine_map)[:, 0].unflatten(0, (batch, frames))
        return self.norm(tokens).unflatten(0, (batch, frames)), fine_map, mask


def _window(index: Tensor, side: int, radius: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """The cells (…, n) around cell `index` (…) of a map side × side, which of them are on the map, and their centres' column and row."""
    span = torch.arange(-radius, radius + 1, device=index.device)
    row, column = (index // side)[..., None, None] + span[:, None], (index % side)[..., None, None] + span
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    cells = (row.clamp(0, side - 1) * side + column.clamp(0, side - 1)).flatten(-2)
    column, row = (part.expand(inside.shape).flatten(-2) + 0.5 for part in (column, row))
    return cells, inside.flatten(-2), (column, row)


def local_argmax(heat: Tensor, side: int, radius: int = 2) -> tuple[Tensor, Tensor]:
    """Sub-cell peak (…, 2) in 0..1 of logits (…, side²), and (…, 2) the probability near the peak and its share in the peak's own cell.

    The expectation is taken near the strongest cell alone, so that a second candidate does not pull it between the two. Only the
    window is read after the peak is known: the full map is large.
    """
    with torch.no_grad():
        peak = heat.argmax(-1)
        total = torch.logsumexp(heat, -1)
        cells, inside, centers = _window(peak, side, radius)
    near = (heat.gather(-1, cells) - total[..., None]).exp() * inside
    mass = near.sum(-1).clamp_min(1e-9)
    u, v = ((near * center).sum(-1) / mass / side for center in centers)
    return torch.stack([u, v], -1), torch.stack([mass, near[..., near.shape[-1] // 2] / mass], -1)


def local_modes(heat: Tensor, side: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` strongest places (…, count, 2) in 0..1 of logits (…, side²), each as `local_argmax` refines it, and the probability
    (…, count) near each, 0 where there are fewer: what else a point may be, as another leg."""
    chance = heat.float().softmax(-1).flatten(0, -2)
    high, index = torch.where(_peaks(chance.unflatten(-1, (side, side))).flatten(1) & (chance > _LEAST_MODE), chance, 0.0).topk(2 * count)
    cells, inside, centers = _window(index, side, 2)
    share = chance[:, None].expand(-1, 2 * count, -1).gather(-1, cells) * inside
    mass, order = (share.sum(-1) * (high > 0)).topk(count)
    pick = order[..., None].expand(-1, -1, share.shape[-1])
    share = share.gather(1, pick)
    share = share / share.sum(-1, keepdim=True).clamp_min(1e-12)
    place = [(share * center.gather(1, pick)).sum(-1) / side for center in centers]
    return torch.stack(place, -1).unflatten(0, heat.shape[:-1]), mass.clamp(max=1.0).unflatten(0, heat.shape[:-1])


def _peaks(maps: Tensor) -> Tensor:
    """Cells of maps (N, h, w) than which none of the eight around is higher; with shifted copies, for pooling is several times slower on CPUs."""
    highest = maps
    for dim in (1, 2):
        size, low = maps.shape[dim], highest
        highest = low.clone()
        for to, out in ((slice(1, size), slice(0, size - 1)), (slice(0, size - 1), slice(1, size))):
            here, there = ((slice(None),) * dim + (part,) for part in (to, out))
            torch.maximum(highest[here], low[there], out=highest[here])
    return maps == highest


class Video2Pose(nn.Module):
    """Joint queries through blocks of GL-GMHA, image and time attention; a correlation read-out (`find`); then lifting (`forward`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim, points = config.joint_dim, config.points
        self.memory = Memory(config)
        self.blocks = nn.ModuleList(
            JointBlock(dim, config.head_dim, config.time_window, config.attention, config.token_dim) for _ in range(config.pose_layers)
        )
        self.query = nn.Linear(dim, 2 * points * config.fine_dim)
        self.query_norms = nn.ModuleList(nn.LayerNorm(config.fine_dim) for _ in range(2))
        self.map_norms = nn.ModuleList(nn.GroupNorm(1, config.fine_dim) for _ in range(2))
        self.temperature = nn.Parameter(torch.tensor(0.0))
        self.lift = Lift(config)

    def read_out(self, joints: Tensor, samples: Tensor, fine_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heat (B, T, J, K, cells), uv (B, T, J, K, 2) and certainty (B, T, J, K, 2) by correlation with the frame's two maps.

        The appearance map is made by the same layers in the reference and in the frame, so what looks alike correlates from the first step
        on; the other one knows the references and what the joints have gathered.
        """
        batch, frames, count = joints.shape[:3]
        alike, known = self.query(joints).unflatten(-1, (2, self.config.points, -1)).unbind(-3)
        queries = [self.query_norms[0](alike * 0.1 + samples[:, None]), self.query_norms[1](known)]
        query = torch.cat([q.flatten(2, 3).flatten(0, 1) for q in queries], -1)
        keys = torch.cat([norm(part).flatten(2) for norm, part in zip(self.map_norms, fine_map.chunk(2, 1), strict=True)], 1)
        heat = torch.bmm(query, keys.to(query.dtype)).float() * (self.temperature.exp() / self.config.fine_dim**0.5)
        heat = heat.unflatten(0, (batch, frames)).unflatten(2, (count, self.config.points))
        uv, certainty = local_argmax(heat, fine_map.shape[-1])
        return heat, uv, certainty

    def find(self, x: ModelInput, tokens: Tensor, fine_map: Tensor, samples: Tensor, prompts: Tensor) -> Found:
        """Matching alone: tokens (B, T, L, C), fine_map (B·T, 2c, h, w), samples (B, N, J, K, c), prompts (B, N, J, dim)."""
        joints = self.gather(x, tokens, prompts)
        return Found(*self.read_out(joints, samples[:, 0], fine_map), joints)

    def gather(self, x: ModelInput, tokens: Tensor, prompts: Tensor) -> Tensor:
        """(B, T, J, dim) what the joints learn of the frames, before any place is read out."""
        joints = self.memory(prompts, x.times, x.ref_times)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask, tokens)
        return cast(Tensor, joints)

    def forward(self, x: ModelInput, found: Found, fine_map: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lifting what was found: uv, xyz, log_error (ModelOutput's) and the joint features (B, T, J, dim)."""
        uv, certainty = found.uv.detach(), found.certainty.detach()
        there = sample_map(fine_map, uv.flatten(0, 1).flatten(1, 2)).unflatten(0, uv.shape[:2]).unflatten(2, uv.shape[2:4])
        there = there.float() * x.point_mask[:, None, ..., None]
        xyz, shift, log_error, joints = self.lift(x, uv, certainty, torch.cat([found.joints, there.flatten(3)], -1))
        return found.uv + shift, xyz, log_error, joints
