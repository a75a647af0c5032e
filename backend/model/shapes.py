"""Positions as the network likes them: every number about one in size, so that a finger speaks as loud as a thigh."""

from __future__ import annotations

import torch
from torch import Tensor

from .batch import ModelInput

HEAD_SCALE = 5.0  # positions over the rig's size are a tenth or so
MOVE_SCALE = 10.0  # and so are displacements in the crop


def lengths(vectors: Tensor) -> Tensor:
    """(…, 1) lengths of vectors (…, 3), never zero: what is shorter than a thousandth of the size counts as that."""
    return vectors.norm(dim=-1, keepdim=True).clamp_min(1e-3)


def by_length(vectors: Tensor, reference: Tensor) -> Tensor:
    """Vectors (…, 3) in units of the reference's lengths, at most three long."""
    scaled = vectors / lengths(reference)
    return scaled / (scaled.norm(dim=-1, keepdim=True) / 3).clamp_min(1)


def log_length(reference: Tensor) -> Tensor:
    """(…, 1) log of the reference's length, centred on a twentieth of the size."""
    return torch.log(lengths(reference) * 20)


def linked(x: ModelInput, values: Tensor) -> Tensor:
    """values (B, T, J, c) less those of each bone's carrier; roots keep zero."""
    index = x.carriers.clamp_min(0)[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[-1])
    return (values - values.gather(2, index)) * (x.carriers >= 0)[:, None, :, None]


def spokes(x: ModelInput, points: Tensor) -> Tensor:
    """Per bone the link from its carrier's head, then the vectors from its head to its other points: (B, T, J, K, c) of points."""
    head = points[..., 0, :]
    return torch.cat([linked(x, head)[..., None, :], points[..., 1:, :] - head[..., None, :]], -2)
