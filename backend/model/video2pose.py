"""video2pose: where every bone's points are in each frame, by matching against the references, in 2D and then in 3D."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import JointBlock, TokenLayer
from .batch import ModelInput
from .config import ModelConfig
from .encoder import sample_map
from .prompts import FineMap, Memory
from .shapes import MOVE_SCALE


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


def local_argmax(heat: Tensor, side: int, radius: int = 2) -> tuple[Tensor, Tensor]:
    """Sub-cell peak (…, 2) in 0..1 of logits (…, side²), and (…, 2) the probability near the peak and its share in the peak's own cell.

    The expectation is taken near the strongest cell alone, so that a second candidate does not pull it between the two. Only the
    window is read after the peak is known: the full map is large.
    """
    with torch.no_grad():
        peak = heat.argmax(-1)
        total = torch.logsumexp(heat, -1)
        span = torch.arange(-radius, radius + 1, device=heat.device)
        row, column = (peak // side)[..., None, None] + span[:, None], (peak % side)[..., None, None] + span
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        cells = (row.clamp(0, side - 1) * side + column.clamp(0, side - 1)).flatten(-2)
    near = (heat.gather(-1, cells) - total[..., None]).exp() * inside.flatten(-2)
    mass = near.sum(-1).clamp_min(1e-9)
    u = (near * (column.expand(inside.shape).flatten(-2) + 0.5)).sum(-1) / mass / side
    v = (near * (row.expand(inside.shape).flatten(-2) + 0.5)).sum(-1) / mass / side
    return torch.stack([u, v], -1), torch.stack([mass, near[..., near.shape[-1] // 2] / mass], -1)


class Video2Pose(nn.Module):
    """Joint queries through blocks of GL-GMHA, image and time attention; a correlation read-out; then lifting."""

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
        self.from_match = nn.Linear(points * (2 * config.fine_dim + 6), dim)
        self.lift = nn.ModuleList(JointBlock(dim, config.head_dim, config.time_window, config.attention) for _ in range(config.lift_layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, points * 5 + 1))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

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

    def forward(
        self, x: ModelInput, tokens: Tensor, fine_map: Tensor, samples: Tensor, prompts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """tokens (B, T, L, C), fine_map (B·T, 2c, h, w), samples (B, N, J, K, c), prompts (B, N, J, dim).

        Returns uv, heat, xyz, log_error (ModelOutput's) and the joint features (B, T, J, dim).
        """
        batch, frames = x.times.shape
        count, points = x.point_mask.shape[1:]
        joints = self.memory(prompts, x.times, x.ref_times)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask, tokens)
        heat, uv, certainty = self.read_out(joints, samples[:, 0], fine_map)
        found = sample_map(fine_map, uv.detach().flatten(0, 1).flatten(1, 2)).unflatten(0, (batch, frames)).unflatten(2, (count, points))
        xyz, shift, log_error, joints = self.lift_points(x, joints, uv.detach(), certainty.detach(), found.float())
        return uv + shift, heat, xyz, log_error, joints

    def lift_points(self, x: ModelInput, joints: Tensor, uv: Tensor, certainty: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """From where points were found to where they are: uv, certainty (B, T, J, K, 2), image features found (B, T, J, K, 2c) there.

        Returns xyz (B, T, J, K, 3), a correction of uv, the log of the expected head error (B, T, J) and the joint features.
        """
        points = self.config.points
        moved = (uv - x.ref_uv[:, :1]) * MOVE_SCALE
        match = torch.cat([found, uv * 4 - 2, moved, certainty], -1) * x.point_mask[:, None, ..., None]
        joints = joints + self.from_match(match.flatten(3))
        for block in self.lift:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask)
        out = self.head(joints).float()
        offset, shift, log_error = out.split([points * 3, points * 2, 1], -1)
        xyz = x.ref_xyz[:, :1] + offset.unflatten(-1, (points, 3))
        return xyz, shift.unflatten(-1, (points, 2)), log_error[..., 0] - 3.0, joints
