"""mesh2pose: from surface points and image tokens of a video, and a reference in which the pose is known, to joint positions.

MoCapAnything V1: the reference prompt encoder has a skeleton branch (graph attention), a mesh branch (surface points of the reference)
and an image branch (its tokens); the motion decoder turns these prompts into positions frame by frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...backend.model.attention import Attention, FeedForward, SkeletonAttention, TimeAttention, zero_head
from ...backend.model.batch import ModelInput
from ...backend.model.shapes import HEAD_SCALE, by_length, log_length
from .config import V1Config

_OCTAVES = 6
_WIDTHS = (-3.5, -0.7)  # logarithms of shares of the size: what the heads' nearness starts from


class PointTokens(nn.Module):
    """Surface points (…, M, 3) to tokens (…, M, dim) of their places, in several frequencies."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3 + 6 * _OCTAVES, dim), nn.GELU(), nn.Linear(dim, dim), nn.LayerNorm(dim))

    def forward(self, points: Tensor) -> Tensor:
        return self.net(places(points))


def places(points: Tensor) -> Tensor:
    """(…, 3) to (…, 3 + 6 · octaves): joints and points written alike, so that one finds the others near it."""
    waves = points[..., None, :] * (torch.pi * 2.0 ** torch.arange(_OCTAVES, device=points.device))[:, None]
    return torch.cat([points * HEAD_SCALE, waves.sin().flatten(-2), waves.cos().flatten(-2)], -1)


class Nearness(nn.Module):
    """Bias (…, heads, J, M) of attention by how far points (…, M, 3) are from where joints (…, J, 3) were, each head by a width that it learns.

    Not in the paper, whose training is thousands of times longer: without it nothing had been learned of the points after 5,000 clips.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.log_width = nn.Parameter(torch.linspace(*_WIDTHS, heads))

    def forward(self, joints: Tensor, points: Tensor) -> Tensor:
        apart = torch.cdist(joints.float(), points.float()).square()[..., None, :, :]
        return -apart / (2 * (2 * self.log_width).exp()[:, None, None])


class PromptLayer(nn.Module):
    """One layer of the reference prompt encoder: skeleton, mesh, image."""

    def __init__(self, config: V1Config, index: int) -> None:
        super().__init__()
        dim = config.dim
        self.skeleton = SkeletonAttention(dim, config.head_dim, "local" if index % 2 == 0 else "global")
        self.mesh_norm, self.image_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mesh = Attention(dim, config.head_dim)
        self.near = Nearness(dim // config.head_dim)
        self.image = Attention(dim, config.head_dim, config.encoder.token_dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Tensor, graph: tuple[Tensor, Tensor, Tensor], heads: Tensor, surface: tuple[Tensor, Tensor], tokens: Tensor) -> Tensor:
        """x (B, 1, J, dim); heads (B, 1, J, 3); surface: places (B, 1, M, 3) and tokens (B, 1, M, dim) of points; tokens (B, 1, L, C)."""
        x = self.skeleton(x, *graph)
        places_, points = surface
        x = x + self.mesh(self.mesh_norm(x), points, self.near(heads, places_))
        x = x + self.image(self.image_norm(x), tokens)
        return x + self.feed_forward(x)


class MotionLayer(nn.Module):
    """One layer of the motion decoder: skeleton, image tokens and point tokens of the frames about, time."""

    def __init__(self, config: V1Config, index: int) -> None:
        super().__init__()
        dim, self.window = config.dim, config.token_window
        self.skeleton = SkeletonAttention(dim, config.head_dim, "local" if index % 2 == 0 else "global")
        self.image_norm, self.mesh_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.image = Attention(dim, config.head_dim, config.encoder.token_dim)
        self.mesh = Attention(dim, config.head_dim)
        self.near = Nearness(dim // config.head_dim)
        self.time = TimeAttention(dim, config.head_dim, config.time_window)
        self.feed_forward = FeedForward(dim)

    def forward(
        self, x: Tensor, graph: tuple[Tensor, Tensor, Tensor], heads: Tensor, surface: tuple[Tensor, Tensor], tokens: Tensor, times: Tensor,
        frame_mask: Tensor,
    ) -> Tensor:  # fmt: skip
        """x (B, T, J, dim); heads (B, 1, J, 3) in the reference; surface: places (B, T, M, 3) and tokens (B, T, M, dim) of points; tokens (B, T, L, C)."""
        x = self.skeleton(x, *graph)
        x = x + self.image(self.image_norm(x), *windowed(tokens, frame_mask, self.window))
        (there, absent), (points, _) = (windowed(part, frame_mask, self.window) for part in surface)
        x = x + self.mesh(self.mesh_norm(x), points, self.near(heads.expand(-1, x.shape[1], -1, -1), there) + absent)
        x = self.time(x, times, frame_mask)
        return x + self.feed_forward(x)


def windowed(tokens: Tensor, frame_mask: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, (2w+1)·L, C) of each frame and its neighbours, and the bias (B, T, 1, 1, (2w+1)·L) that hides frames that are not there."""
    frames, length = tokens.shape[1:3]
    index = torch.arange(frames, device=tokens.device)[:, None] + torch.arange(-window, window + 1, device=tokens.device)
    there = (index >= 0) & (index < frames)
    index = index.clamp(0, frames - 1)
    there = there & frame_mask[:, index]  # (B, T, 2w+1)
    there = there | (torch.arange(2 * window + 1, device=tokens.device) == window)  # its own frame always: no row is empty
    bias = torch.zeros(there.shape, device=tokens.device).masked_fill(~there, -1e4)
    return tokens[:, index].flatten(2, 3), bias.repeat_interleave(length, -1)[:, :, None, None]


class Mesh2Pose(nn.Module):
    """Positions of the heads (B, T, J, 3): view frame, from their centroid, over the rig's size."""

    def __init__(self, config: V1Config) -> None:
        super().__init__()
        dim = config.dim
        self.points = PointTokens(dim)
        self.pose = nn.Sequential(nn.Linear(3 + 6 * _OCTAVES + 4, dim), nn.GELU(), nn.Linear(dim, dim))  # where a joint is, and its link to its carrier
        self.prompts = nn.ModuleList(PromptLayer(config, i) for i in range(config.prompt_layers))
        self.layers = nn.ModuleList(MotionLayer(config, i) for i in range(config.motion_layers))
        self.head = zero_head(dim, 3)

    def forward(self, x: ModelInput, ref_tokens: Tensor, ref_surface: Tensor, tokens: Tensor, surface: Tensor) -> Tensor:
        """ref_tokens (B, L, C), ref_surface (B, M, 3) of the primary reference; tokens (B, T, L, C), surface (B, T, M, 3) of the frames."""
        graph = (x.hop, x.edge, x.joint_mask)
        head = x.ref_xyz[:, :1, :, 0]
        above = head.gather(2, x.carriers.clamp_min(0)[:, None, :, None].expand(-1, 1, -1, 3))
        link = (head - above) * (x.carriers >= 0)[:, None, :, None]
        prompt = self.pose(torch.cat([places(head), by_length(link, link), log_length(link)], -1))
        reference = ref_surface[:, None], self.points(ref_surface)[:, None]
        for layer in self.prompts:
            prompt = layer(prompt, graph, head, reference, ref_tokens[:, None])
        seen = surface, self.points(surface)
        joints = prompt.expand(-1, tokens.shape[1], -1, -1)
        for layer in self.layers:
            joints = layer(joints, graph, head, seen, tokens, x.times, x.frame_mask)
        found = head + self.head(joints).float()
        mask = x.joint_mask[:, None, :, None].to(found.dtype)
        return found - (found * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp_min(1)
