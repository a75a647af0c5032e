"""TripoSG's rectified-flow transformer over a clip, and the way from noise to latents along it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Settings, TransformerConfig
from .layers import Block

_TIMES = 1000.0  # what the transformer is told for the noise itself
_EVERY = 2  # layers of which one looks along time: those of V1's published configuration


class _TimeEmbedding(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(x)))


def waves(time: Tensor, dim: int) -> Tensor:
    """(…,) to (…, dim): sines, then cosines, of wavelengths from 2π to 20,000π."""
    octave = torch.arange(dim // 2, device=time.device, dtype=torch.float32) / (dim // 2)
    angle = time.float()[..., None] * 10000.0**-octave
    return torch.cat([angle.sin(), angle.cos()], -1)


class Transformer(nn.Module):
    """Latents (T, N, C), their time (0: shape, 1000: noise) and image tokens (T, L, cross_attention_dim) to their velocity towards the shape (T, N, C).

    The second half of the layers is joined by the first, last by first; the time is a token in front of the latents.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width, heads, half = config.width, config.num_attention_heads, config.num_layers // 2
        self.time_proj = _TimeEmbedding(width)
        self.proj_in = nn.Linear(config.in_channels, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, True, config.cross_attention_dim, norm_heads=True, skip=index > half) for index in range(config.num_layers)
        )
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, config.in_channels)

    def forward(self, latents: Tensor, time: Tensor, tokens: Tensor, window: int = 0) -> Tensor:
        """window: frames to either side that every other layer's latents look at; time (T,)."""
        embedded = self.time_proj(waves(time, self.config.width).to(latents.dtype))
        x = torch.cat([embedded[:, None], self.proj_in(latents)], 1)
        half, skips = self.config.num_layers // 2, list[Tensor]()
        for index, block in enumerate(self.blocks):
            x = block(x, tokens, skips.pop() if index > half else None, window if index % _EVERY == 0 else 0)
            if index < half:
                skips.append(x)
        return self.proj_out(self.norm_out(x)[:, 1:])


def noise_levels(steps: int, shift: float = 1.0) -> Tensor:
    """(steps + 1,) from 1, noise, to 0, the shape; shift bends them towards noise."""
    level = 1 - torch.arange(steps, dtype=torch.float64) / steps
    return torch.cat([shift * level / (1 + (shift - 1) * level), torch.zeros(1, dtype=torch.float64)]).float()


def denoise(model: Transformer, noise: Tensor, tokens: Tensor, settings: Settings, shift: float = 1.0) -> Tensor:
    """Latents (T, N, C) float32 of T frames from noise (T, N, C) and image tokens (T, L, D), by Euler steps along the guided velocity."""
    levels, latents = noise_levels(settings.steps, shift).to(noise.device), noise.float()
    for now, after in zip(levels[:-1], levels[1:], strict=True):
        time = (_TIMES * now).expand(len(noise))
        seen = model(latents.to(tokens.dtype), time, tokens, settings.window).float()
        if settings.guidance > 1:
            unseen = model(latents.to(tokens.dtype), time, torch.zeros_like(tokens), settings.window).float()
            seen = unseen + settings.guidance * (seen - unseen)
        latents = latents + (now - after) * seen
    return latents
