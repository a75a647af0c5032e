"""Errors as the stages make them, for training a later stage on geometry alone."""

from __future__ import annotations

import torch
from torch import Tensor

_LOST = 0.08  # share of a clip's bones that are found where another bone is, for a while


def noisy_positions(xyz: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions (B, T, J, K, 3) as a first stage would give them, and their log expected error (B, T, J).

    Errors of a tracker are alike within a bone and along time: a share of the noise is common to the bone's points and to the clip.
    """
    batch, frames, joints, points = xyz.shape[:4]

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, 3, generator=generator)

    sigma = torch.exp(torch.empty(batch, 1, joints, 1, 1).uniform_(-6.0, -2.8, generator=generator))
    smooth = noise(batch, frames // 4 + 2, joints, points).transpose(1, -1)
    smooth = torch.nn.functional.interpolate(smooth.flatten(2, 3), size=(smooth.shape[2] * smooth.shape[3], frames), mode="bilinear", align_corners=True)
    smooth = smooth.unflatten(2, (points, joints)).permute(0, 4, 3, 2, 1)
    of_bone = 0.3 * noise(batch, frames, joints, 1) + 0.6 * noise(batch, 1, joints, 1)
    of_point = 0.4 * noise(batch, 1, joints, points) + 0.25 * noise(batch, frames, joints, points)
    total = of_bone + of_point + 0.5 * smooth
    log_error = (sigma[..., 0, 0].log() + 0.2 * torch.randn(batch, frames, joints, generator=generator)).expand(-1, frames, -1)
    return xyz + sigma * total, log_error


def noisy_tracks(uv: Tensor, noise: Tensor, log_error: Tensor, joint_mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tracks uv (B, T, J, K, 2) as matching finds them, and its certainty (B, T, J, K, 2).

    noise (B, T, J, K, 3): errors in space, which seen from the front are those in the picture; a sure track is mostly a good one. For a
    while some bones are taken for another one, as a left leg for a right, and only sometimes does the certainty tell.
    """
    batch, frames, joints = uv.shape[:3]
    uv = uv.clamp(-1, 2) + noise[..., :2]
    lost = torch.rand(batch, 1, joints, generator=generator) < _LOST
    edges = torch.rand(batch, 2, joints, generator=generator).sort(dim=1).values * 1.6 - 0.3
    when = torch.linspace(0, 1, frames)[None, :, None]
    lost = lost & (when >= edges[:, :1]) & (when <= edges[:, 1:])
    other = (torch.rand(batch, joints, generator=generator) * joint_mask.sum(1, keepdim=True)).long()
    uv = torch.where(lost[..., None, None], uv.gather(2, other[:, None, :, None, None].expand_as(uv)), uv)
    doubt = torch.rand(batch, frames, joints, generator=generator)
    sure = torch.exp(-20 * log_error.exp()) * (1 - 0.5 * doubt) * torch.where(lost, 0.3 + 0.7 * doubt, 1.0)
    share = 0.3 + 0.4 * torch.rand(batch, frames, joints, generator=generator)
    return uv, torch.stack([sure, share], -1)[..., None, :].expand_as(uv)
