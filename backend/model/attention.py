"""Attention blocks: plain, over the skeleton (GL-GMHA), and along time."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .skeleton_graph import EDGES, HOPS


def _heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(-3, -2)


class Attention(nn.Module):
    """Multi-head attention of (…, L, dim) to (…, M, source_dim) with an optional additive bias (…, heads, L, M)."""

    def __init__(self, dim: int, head_dim: int, source_dim: int | None = None) -> None:
        super().__init__()
        self.heads = dim // head_dim
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(source_dim or dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor | None = None) -> Tensor:
        q = _heads(self.query(x), self.heads)
        k, v = (_heads(part, self.heads) for part in self.key_value(source).chunk(2, -1))
        bias = bias if bias is None else bias.to(q.dtype).expand(*q.shape[:-1], k.shape[-2]).flatten(0, -4)
        # the fused kernels take one batch dimension alone, and are several times faster
        y = F.scaled_dot_product_attention(q.flatten(0, -4), k.flatten(0, -4), v.flatten(0, -4), attn_mask=bias)
        return self.out(y.unflatten(0, q.shape[:-3]).transpose(-3, -2).flatten(-2))


class FeedForward(nn.Sequential):
    def __init__(self, dim: int, factor: int = 4) -> None:
        super().__init__(nn.LayerNorm(dim), nn.Linear(dim, factor * dim), nn.GELU(), nn.Linear(factor * dim, dim))


def zero_head(dim: int, out: int) -> nn.Sequential:
    """A read-out of (…, dim) to (…, out) that answers zero before it is trained."""
    hidden, last = nn.Linear(dim, dim), nn.Linear(dim, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(dim), hidden, nn.GELU(), last)


class TokenLayer(nn.Module):
    """Pre-norm transformer layer over the image tokens of one frame; with a source, `look` comes first: attention to the references' tokens."""

    def __init__(self, dim: int, head_dim: int, with_source: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, head_dim)
        self.feed_forward = FeedForward(dim, 3)
        self.source_norm = nn.LayerNorm(dim) if with_source else None
        self.source_attention = Attention(dim, head_dim) if with_source else None

    def look(self, x: Tensor, source: Tensor) -> Tensor:
        """First part of a layer with a source: x (…, L, dim) attends to source (…, M, dim), already normalised."""
        assert self.source_attention is not None
        assert self.source_norm is not None
        return x + self.source_attention(self.source_norm(x), source)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y)
        return x + self.feed_forward(x)


class SkeletonAttention(nn.Module):
    """Graph multi-head attention: hop and edge kinds bias the scores; local sees itself and its ancestors, global sees all.

    MoCapAnything V2's GL-GMHA; here the graph enters as a learned bias a head, which the fused attention kernels take.
    """

    def __init__(self, dim: int, head_dim: int, scope: Literal["local", "global"]) -> None:
        super().__init__()
        self.scope = scope
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, head_dim)
        self.hop_bias = nn.Embedding(HOPS, dim // head_dim)
        self.edge_bias = nn.Embedding(EDGES, dim // head_dim)
        nn.init.zeros_(self.edge_bias.weight)
        nn.init.zeros_(self.hop_bias.weight)

    def forward(self, x: Tensor, hop: Tensor, edge: Tensor, joint_mask: Tensor) -> Tensor:
        """x (B, T, J, dim); hop, edge (B, J, J); joint_mask (B, J)."""
        bias = (self.hop_bias(hop) + self.edge_bias(edge)).permute(0, 3, 1, 2)  # (B, heads, J, J)
        allowed = joint_mask[:, None, None, :]
        if self.scope == "local":
            allowed = allowed & (edge <= 1)[:, None]
        # a padded joint may look at itself, so that no row is empty
        allowed = allowed | torch.eye(hop.shape[1], dtype=torch.bool, device=hop.device)
        bias = bias.masked_fill(~allowed, -1e4)
        y = self.norm(x)
        return x + self.attention(y, y, bias[:, None].expand(-1, x.shape[1], -1, -1, -1))


class TimeAttention(nn.Module):
    """Attention of each joint to itself along time, within a hard window of frames, biased by the distance in seconds."""

    def __init__(self, dim: int, head_dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, head_dim)
        self.time_bias = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, dim // head_dim))

    def forward(self, x: Tensor, times: Tensor, frame_mask: Tensor) -> Tensor:
        """x (B, T, J, dim); times (B, T) seconds; frame_mask (B, T)."""
        delta = times[:, None, :] - times[:, :, None]
        features = torch.stack([delta.clamp(-1, 1), delta.abs().clamp(max=1), torch.exp(-delta.abs() * 8), torch.exp(-delta.abs() * 30)], -1)
        bias = self.time_bias(features).permute(0, 3, 1, 2)  # (B, heads, T, T)
        index = torch.arange(x.shape[1], device=x.device)
        allowed = (index[:, None] - index[None]).abs() <= self.window
        allowed = (allowed & frame_mask[:, None, :]) | torch.eye(len(index), dtype=torch.bool, device=x.device)
        bias = bias.masked_fill(~allowed[:, None], -1e4)
        y = self.norm(x).transpose(1, 2)  # (B, J, T, dim)
        return x + self.attention(y, y, bias[:, None].expand(-1, y.shape[1], -1, -1, -1)).transpose(1, 2)


class JointBlock(nn.Module):
    """Local graph attention, optional attention to image tokens, time, global graph attention, feed-forward."""

    def __init__(self, dim: int, head_dim: int, window: int, attention: str = "both", token_dim: int | None = None) -> None:
        super().__init__()
        scopes: list[Literal["local", "global"]] = ["local", "global"]
        if attention != "both":
            scopes = ["local", "local"] if attention == "local" else ["global", "global"]
        self.first = SkeletonAttention(dim, head_dim, scopes[0])
        self.token_norm = nn.LayerNorm(dim) if token_dim else None
        self.token_attention = Attention(dim, head_dim, token_dim) if token_dim else None
        self.time = TimeAttention(dim, head_dim, window) if window else None
        self.second = SkeletonAttention(dim, head_dim, scopes[1])
        self.feed_forward = FeedForward(dim, 3)

    def forward(
        self, x: Tensor, hop: Tensor, edge: Tensor, joint_mask: Tensor, times: Tensor | None, frame_mask: Tensor | None, tokens: Tensor | None = None
    ) -> Tensor:
        """x (B, T, J, dim); tokens (B, T, L, token_dim)."""
        x = self.first(x, hop, edge, joint_mask)
        if self.token_attention is not None and self.token_norm is not None and tokens is not None:
            x = x + self.token_attention(self.token_norm(x), tokens)
        if self.time is not None and times is not None and frame_mask is not None:
            x = self.time(x, times, frame_mask)
        x = self.second(x, hop, edge, joint_mask)
        return x + self.feed_forward(x)
