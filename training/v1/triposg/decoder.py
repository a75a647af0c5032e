"""TripoSG's decoder: from latents to a field, positive inside, and from the field to points on the surface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.scene import sample_surface
from .config import DecoderConfig
from .layers import Block

_BOUND = 1.005  # the field is known within ± this
_AT_ONCE = 32768  # places asked for together
_NEAR = 0.95  # smaller values may have the surface beside them: the field is cut off at ± 1
_DOUBLINGS = 2  # of the grid, from a coarse one that is asked everywhere


class _FieldDecoder(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, heads = config.width_decoder, config.num_attention_heads
        blocks = [Block(width, heads, True, None) for _ in range(config.num_layers_decoder)]
        self.blocks = nn.ModuleList([*blocks, Block(width, heads, False, width, norm_source=True)])
        self.proj_query = nn.Linear(config.in_channels * (1 + 2 * config.embed_frequency), width)
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, 1)


class Decoder(nn.Module):
    """The decoding half of the published autoencoder."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.post_quant = nn.Linear(config.latent_channels, config.width_decoder)
        self.decoder = _FieldDecoder(config)

    def memory(self, latents: Tensor) -> Tensor:
        """Latents (T, N, C) to what places are asked of, (T, N, width)."""
        x = self.post_quant(latents.to(self.post_quant.weight.dtype))
        for block in self.decoder.blocks[:-1]:
            x = block(x)
        return x

    def field(self, memory: Tensor, places: Tensor) -> Tensor:
        """(T, P) at places (T, P, 3); the surface is where it is 0, inside it is positive."""
        octaves = 2.0 ** torch.arange(self.config.embed_frequency, device=places.device) * (torch.pi if self.config.embed_include_pi else 1.0)
        angle = (places.float()[..., None] * octaves).flatten(-2)
        embedded = torch.cat([places.float(), angle.sin(), angle.cos()], -1).to(memory.dtype)
        x = self.decoder.blocks[-1](self.decoder.proj_query(embedded), memory)
        return -self.decoder.proj_out(self.decoder.norm_out(x))[..., 0].float()

    def grid(self, memory: Tensor, resolution: int) -> Tensor:
        """The field (resolution + 1 along each axis) of one frame's memory (1, N, width)."""

        def asked(places: Tensor) -> Tensor:
            return torch.cat([self.field(memory, part[None])[0] for part in places.split(_AT_ONCE)])

        return sparse_grid(asked, resolution, memory.device)


def sparse_grid(field: Callable[[Tensor], Tensor], resolution: int, device: torch.device) -> Tensor:
    """(R + 1, R + 1, R + 1) values of a field of places (P, 3): asked everywhere on a grid four times as coarse, then near the surface alone."""
    cells = resolution >> _DOUBLINGS
    everywhere = torch.ones((cells + 1,) * 3, dtype=torch.bool, device=device)
    values = field(_places(everywhere)).reshape(everywhere.shape)
    for _ in range(_DOUBLINGS):
        low, high = (F.max_pool3d(sign * values[None, None], 3, 1, 1) for sign in (-1, 1))
        near = (values.abs() < _NEAR)[None, None] | ((low > 0) & (high > 0))
        cells *= 2
        wanted = F.interpolate(near.float(), (cells + 1,) * 3, mode="trilinear", align_corners=True)[0, 0] > 0
        values = F.interpolate(values[None, None], (cells + 1,) * 3, mode="trilinear", align_corners=True)[0, 0]
        if wanted.any():
            values[wanted] = field(_places(wanted))
    return values


def _places(wanted: Tensor) -> Tensor:
    """(P, 3) where the marked vertices of a cubic grid lie."""
    return (wanted.nonzero() / (len(wanted) - 1) * 2 - 1) * _BOUND


def surface_points(values: Tensor, count: int, seed: int = 0) -> np.ndarray | None:
    """(count, 3) points spread evenly over the area where a grid (R + 1, R + 1, R + 1) crosses 0, or None where it does not."""
    from skimage.measure import marching_cubes

    volume = values.cpu().numpy()
    if not volume.min() < 0 < volume.max():
        return None
    vertices, triangles, _, _ = marching_cubes(volume, 0.0, spacing=(2 * _BOUND / (len(volume) - 1),) * 3)
    vertices = vertices - _BOUND
    return sample_surface(np.random.default_rng(seed), vertices, triangles, vertices[None], count)[0]
