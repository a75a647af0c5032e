"""video2mesh: from a video's tokens to a fixed number of points on the subject's surface in every frame.

The paper reconstructs a mesh per frame with a pretrained image-to-3D model made temporal by attention over frames. This is a small
reconstructor of our own in its place, which can be trained here: the same output, a point set, and the same attention along time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...backend.model.attention import Attention, FeedForward, TimeAttention
from .config import V1Config


class _Layer(nn.Module):
    """Point queries look at their frame's image tokens, at each other, and along time."""

    def __init__(self, config: V1Config) -> None:
        super().__init__()
        dim = config.dim
        self.image_norm, self.self_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.image = Attention(dim, config.head_dim, config.encoder.token_dim)
        self.points = Attention(dim, config.head_dim)
        self.time = TimeAttention(dim, config.head_dim, config.time_window)
        self.feed_forward = FeedForward(dim, 3)

    def forward(self, x: Tensor, tokens: Tensor, times: Tensor, frame_mask: Tensor) -> Tensor:
        """x (B, T, M, dim); tokens (B, T, L, token_dim)."""
        x = x + self.image(self.image_norm(x), tokens)
        y = self.self_norm(x)
        x = x + self.points(y, y)
        x = self.time(x, times, frame_mask)
        return x + self.feed_forward(x)


class Video2Mesh(nn.Module):
    """Image tokens (B, T, L, C) to surface points (B, T, M, 3): view frame, from the heads' centroid, over the rig's size."""

    def __init__(self, config: V1Config) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.surface_points, config.dim) * 0.5)
        # points start spread over a ball of the size of a body: from one place they could not be told apart by the chamfer distance
        self.start = nn.Parameter(_ball(config.surface_points) * 0.3)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.mesh_layers))
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, config.dim), nn.GELU(), nn.Linear(config.dim, 3))

    def forward(self, tokens: Tensor, times: Tensor, frame_mask: Tensor) -> Tensor:
        x = self.queries.expand(*tokens.shape[:2], -1, -1)
        for layer in self.layers:
            x = layer(x, tokens, times, frame_mask)
        return self.start + self.head(x).float()


def _ball(count: int) -> Tensor:
    """(count, 3) points spread through the unit ball, Fibonacci spirals in shells."""
    index = torch.arange(count) + 0.5
    polar, azimuth = torch.acos(1 - 2 * index / count), torch.pi * (1 + 5**0.5) * index
    shell = ((index * 0.754877666) % 1) ** (1 / 3)
    return shell[:, None] * torch.stack([azimuth.cos() * polar.sin(), azimuth.sin() * polar.sin(), polar.cos()], -1)


def chamfer(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distance (...) from points (..., M, 3) to the nearest of truth (..., N, 3), and from truth to the nearest point."""
    apart = torch.cdist(points, truth)
    return apart.amin(-1).mean(-1), apart.amin(-2).mean(-1)
