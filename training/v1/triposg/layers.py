"""The block that both of TripoSG's networks are made of. Names of parameters are the published weights' own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Float32LayerNorm(nn.LayerNorm):
    """Computed in float32, whatever the weights are kept in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


class Attention(nn.Module):
    """Attention of (T, N, dim) to itself, or to a source (T, M, source_dim).

    Its weights were trained with all projections side by side and cut into heads afterwards: a head's query, key and value are neighbours
    in that row, not each in its own third.
    """

    def __init__(self, dim: int, heads: int, source_dim: int | None, norm_heads: bool, norm_source: bool) -> None:
        super().__init__()
        self.heads, self.itself = heads, source_dim is None
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(source_dim or dim, dim, bias=False)
        self.to_v = nn.Linear(source_dim or dim, dim, bias=False)
        self.norm_q: nn.Module = nn.RMSNorm(dim // heads, eps=1e-6) if norm_heads else nn.Identity()
        self.norm_k: nn.Module = nn.RMSNorm(dim // heads, eps=1e-6) if norm_heads else nn.Identity()
        self.norm_cross: nn.Module = nn.LayerNorm(source_dim or dim) if norm_source else nn.Identity()
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, x: Tensor, source: Tensor | None = None, window: int = 0) -> Tensor:
        """window: frames to either side whose keys and values a frame sees."""
        source = x if source is None else self.norm_cross(source)
        query, key, value = self.to_q(x), self.to_k(source), self.to_v(source)
        if self.itself:
            query, key, value = torch.cat([query, key, value], -1).unflatten(-1, (self.heads, 3, -1)).unbind(-2)
        else:
            query = query.unflatten(-1, (self.heads, -1))
            key, value = torch.cat([key, value], -1).unflatten(-1, (self.heads, 2, -1)).unbind(-2)
        query, key, value = (part.transpose(-3, -2) for part in (self.norm_q(query), self.norm_k(key), value))
        return self.to_out[0](seen_along_time(query, key, value, window).transpose(-3, -2).flatten(-2))


def seen_along_time(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """(T, heads, N, d): each frame attends to the keys and values (T, heads, M, d) of the frames that lie within the window and exist."""
    if window == 0:
        return F.scaled_dot_product_attention(query, key, value)
    # frame by frame and without a mask, which would keep the fast kernels from being used
    rows = []
    for frame in range(len(query)):
        near = slice(max(0, frame - window), frame + window + 1)
        keys, values = (part[near].transpose(0, 1).flatten(1, 2)[None] for part in (key, value))
        rows.append(F.scaled_dot_product_attention(query[frame : frame + 1], keys, values))
    return torch.cat(rows)


class _Gelu(nn.Module):
    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """Four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gelu(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """What a layer has of: a long skip joined in front, attention to itself, attention to a source; and a feed-forward."""

    def __init__(
        self, dim: int, heads: int, itself: bool, source_dim: int | None, norm_heads: bool = False, norm_source: bool = False, skip: bool = False
    ) -> None:
        super().__init__()
        self.itself, self.sees_source, self.skips = itself, source_dim is not None, skip
        if skip:
            self.skip_linear, self.skip_norm = nn.Linear(2 * dim, dim), Float32LayerNorm(dim)
        if itself:
            self.norm1, self.attn1 = Float32LayerNorm(dim), Attention(dim, heads, None, norm_heads, False)
        if source_dim is not None:
            self.norm2, self.attn2 = Float32LayerNorm(dim), Attention(dim, heads, source_dim, norm_heads, norm_source)
        self.norm3, self.ff = Float32LayerNorm(dim), FeedForward(dim)

    def forward(self, x: Tensor, source: Tensor | None = None, skip: Tensor | None = None, window: int = 0) -> Tensor:
        """x, skip (T, N, dim); source (T, M, source_dim)."""
        if self.skips:
            assert skip is not None
            x = self.skip_norm(self.skip_linear(torch.cat([skip, x], -1)))
        if self.itself:
            x = x + self.attn1(self.norm1(x), window=window)
        if self.sees_source:
            x = x + self.attn2(self.norm2(x), source)
        return x + self.ff(self.norm3(x))
