"""Rotations in torch: 6D with Gram-Schmidt, geodesic angles, axis-angle; any leading batch dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_from_6d(x: Tensor) -> Tensor:
    """(…, 6) to (…, 3, 3): the first two columns, orthonormalised (Zhou et al. 2019, eq. 15)."""
    a, b = x[..., :3], x[..., 3:]
    a = a / a.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    b = b - (a * b).sum(-1, keepdim=True) * a
    b = b / b.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return torch.stack([a, b, torch.linalg.cross(a, b)], -1)


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """(…, 3, 3) to (…, 6): the first two columns one after the other."""
    return torch.cat([matrix[..., 0], matrix[..., 1]], -1)


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle (…) in radians between rotations (…, 3, 3); accurate at 0 and at pi, with a finite gradient.

    Through the chord: |a - b|_F = 2 sqrt(2) sin(angle / 2).
    """
    half = (a - b).square().sum((-1, -2)).clamp_min(1e-12).sqrt() / (2 * 2**0.5)
    return 2 * torch.asin(half.clamp(max=1 - 1e-6))


def matrix_from_axis_angle(v: Tensor) -> Tensor:
    """Rodrigues: (…, 3) axis times radians to (…, 3, 3)."""
    angle = v.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    x, y, z = (v / angle).unbind(-1)
    s, c = torch.sin(angle[..., 0]), torch.cos(angle[..., 0])
    k = 1 - c
    rows = [
        c + k * x * x, k * x * y - s * z, k * x * z + s * y,
        k * x * y + s * z, c + k * y * y, k * y * z - s * x,
        k * x * z - s * y, k * y * z + s * x, c + k * z * z,
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def relative_to_carrier(turn: Tensor, carriers: Tensor) -> Tensor:
    """R_carrierᵀ R (B, T, J, 3, 3) of turns since the reference; roots keep their own. Its geodesic error is the parent-local rotation error."""
    index = carriers.clamp_min(0)[:, None, :, None, None].expand(*turn.shape[:3], 3, 3)
    with torch.autocast(turn.device.type, enabled=False):  # half precision has not the digits for this
        relative = turn.gather(2, index).transpose(-1, -2) @ turn
    return torch.where((carriers >= 0)[:, None, :, None, None], relative, turn)


def along_carriers(relative: Tensor, carriers: Tensor) -> Tensor:
    """The inverse of relative_to_carrier: products (B, T, J, 3, 3) from the root down, in as many steps as the depth has binary digits."""
    turn, above = relative, carriers
    with torch.autocast(turn.device.type, enabled=False):
        while bool((above >= 0).any()):
            index = above.clamp_min(0)
            whole = turn.gather(2, index[:, None, :, None, None].expand(turn.shape)) @ turn
            turn = torch.where((above >= 0)[:, None, :, None, None], whole, turn)
            above = torch.where(above >= 0, above.gather(1, index), above)
    return turn
