"""How far flows miss the truth: what the trainings of the networks that compare two pictures share."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def misses(flow: Tensor, truth: Tensor) -> Tensor:
    """(B, h, w) distance of flows (B, 2, h, w)."""
    return (flow - truth).square().sum(1).add(1e-10).sqrt()


def missed_cell(logits: Tensor, truth: Tensor, known: Tensor, about: Tensor | None = None) -> Tensor:
    """Mean cross entropy of the cells to which flows (B, 2, H, W), shares of the picture, go in windows of logits (B, n², h, w); known (B, H, W).

    about: the flow (B, 2, h, w) that the windows are around, by default none.
    """
    width = logits.shape[-1]
    every = truth.shape[-1] // width
    truth, known = truth[..., ::every, ::every], known[:, ::every, ::every]
    span = math.isqrt(logits.shape[1])
    cells = ((truth if about is None else truth - about) * width).round() + span // 2
    known = known & ((cells >= 0) & (cells < span)).all(1)
    index = (cells[:, 1] * span + cells[:, 0]).long().masked_fill(~known, 0)
    loss = F.cross_entropy(logits, index, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
