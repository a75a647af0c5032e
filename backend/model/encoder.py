"""The bundled image encoder: a small convolution and transformer hybrid, run once per frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import TokenLayer
from .config import ModelConfig


class ResidualConv(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, dim)
        self.first = nn.Conv2d(dim, dim, 3, padding=1)
        self.second = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(self.norm(x)))))


class ImageEncoder(nn.Module):
    """(B, 3, S, S) in 0..1 to tokens (B, (S/8)², token_dim) and fine features (B, stem_dims[1], S/4, S/4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second = config.stem_dims
        side = config.image_size // 8
        self.stem = nn.Sequential(nn.Conv2d(3, first, 5, 2, 2), nn.GroupNorm(8, first), nn.GELU(), nn.Conv2d(first, second, 3, 2, 1))
        self.residual = nn.Sequential(ResidualConv(second), ResidualConv(second))
        self.patch = nn.Sequential(nn.GroupNorm(8, second), nn.Conv2d(second, config.token_dim, 3, 2, 1))
        self.position = nn.Parameter(torch.randn(1, side * side, config.token_dim) * 0.02)
        self.layers = nn.ModuleList(TokenLayer(config.token_dim, config.token_head_dim) for _ in range(config.encoder_layers))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # each crop is normalised by its own mean and contrast: exposure carries nothing about pose
        mean = images.mean((1, 2, 3), keepdim=True)
        deviation = (images - mean).square().mean((1, 2, 3), keepdim=True).sqrt()
        x = ((images - mean) / (deviation + 0.05)).contiguous(memory_format=torch.channels_last)
        fine = self.residual(self.stem(x))
        tokens = self.patch(fine).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens, fine


def sample_map(features: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples (B, P, C) of maps (B, C, h, w) at uv (B, P, 2) in 0..1, clamped to the border."""
    grid = (uv * 2 - 1).clamp(-1.2, 1.2)[:, :, None]
    return F.grid_sample(features, grid.to(features.dtype), mode="bilinear", padding_mode="border", align_corners=False)[..., 0].transpose(1, 2)
