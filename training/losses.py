"""What the network is trained to do, each term masked to what exists and is in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backend.model.batch import ModelInput, ModelOutput
from ..backend.model.rotations import relative_to_carrier
from .data.sample import Truth


@dataclass(frozen=True)
class LossWeights:
    heat: float = 0.25
    uv: float = 6.0
    xyz: float = 6.0
    velocity: float = 2.0
    error: float = 0.1
    turn: float = 1.0
    local: float = 1.5
    mask: float = 0.3


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    mask = mask.expand_as(values).to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp_min(1)


def heat_loss(heat: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of (…, cells) logits against the bilinear weights of uv (…, 2) on the cell centres."""
    side = round(heat.shape[-1] ** 0.5)
    position = (uv * side - 0.5).clamp(0, side - 1.001)
    corner = position.floor().long()
    part = position - corner
    total = torch.logsumexp(heat, -1)
    for du, wu in ((0, 1 - part[..., 0]), (1, part[..., 0])):
        for dv, wv in ((0, 1 - part[..., 1]), (1, part[..., 1])):
            cell = (corner[..., 1] + dv).clamp(max=side - 1) * side + (corner[..., 0] + du).clamp(max=side - 1)
            total = total - wu * wv * heat.gather(-1, cell[..., None])[..., 0]
    return _mean(total, mask)


def chord(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius distance (…) of rotations: 2√2 sin(angle/2), smooth at 0."""
    return ((a - b).square().sum((-1, -2)) + 1e-6).sqrt()


def rotation_terms(turn: Tensor, truth: Truth, x: ModelInput) -> dict[str, Tensor]:
    joints = x.joint_mask[:, None]
    local = chord(relative_to_carrier(turn, x.carriers), relative_to_carrier(truth.turn, x.carriers))
    return {"turn": _mean(chord(turn, truth.turn), joints), "local": _mean(local, joints)}


def match_terms(uv: Tensor, heat: Tensor, mask_logits: Tensor, truth: Truth, x: ModelInput) -> dict[str, Tensor]:
    """Where the points are in the picture, as a distribution and as a place, and the subject's mask."""
    points = x.point_mask[:, None]
    inside = ((truth.uv > 0) & (truth.uv < 1)).all(-1) & points
    near = ((truth.uv > -0.5) & (truth.uv < 1.5)).all(-1) & points
    return {
        "heat": heat_loss(heat, truth.uv, inside),
        "uv": _mean(F.smooth_l1_loss(uv, truth.uv, beta=0.02, reduction="none").sum(-1), near),
        "mask": F.binary_cross_entropy_with_logits(mask_logits.float(), truth.mask),
    }


def clip_losses(out: ModelOutput, truth: Truth, x: ModelInput) -> dict[str, Tensor]:
    """All terms of a rendered clip, unweighted."""
    terms = match_terms(out.uv, out.heat, out.mask_logits, truth, x)
    return terms | position_terms(out.xyz, out.log_error, truth, x) | rotation_terms(out.turn, truth, x)


def position_terms(xyz: Tensor, log_error: Tensor, truth: Truth, x: ModelInput) -> dict[str, Tensor]:
    """Positions, their change from frame to frame, and the error that the network expects of itself."""
    points = x.point_mask[:, None]
    terms = {"xyz": _mean((xyz - truth.xyz).square().sum(-1).add(1e-8).sqrt(), points)}
    if xyz.shape[1] > 1:
        terms["velocity"] = _mean((xyz.diff(dim=1) - truth.xyz.diff(dim=1)).square().sum(-1).add(1e-8).sqrt(), points)
    head_error = (xyz[..., 0, :] - truth.xyz[..., 0, :]).norm(dim=-1).detach()
    scaled = head_error * torch.exp(-log_error) + log_error  # Laplace negative log-likelihood
    return terms | {"error": _mean(scaled, x.joint_mask[:, None])}


def weigh(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
