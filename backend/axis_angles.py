"""Rotations as axis-angles in torch: exponential, logarithm, and how the logarithm changes; any leading batch dimensions, exact at zero."""

from __future__ import annotations

import torch
from torch import Tensor


def exp_rotation(v: Tensor) -> Tensor:
    """Rodrigues' formula, exact at zero: (…, 3) axis times radians to (…, 3, 3)."""
    angle = v.norm(dim=-1)[..., None, None]
    k = cross_matrix(v)
    # sin(a)/a and (1 - cos a)/a^2 through sinc, which needs no case for zero
    return torch.eye(3, dtype=v.dtype) + torch.sinc(angle / torch.pi) * k + 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2 * (k @ k)


def log_rotation(matrix: Tensor) -> Tensor:
    """Axis times radians (…, 3), at most pi long, of rotations (…, 3, 3); through the quaternion, which is exact at zero and at half turns."""
    m = matrix
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # four times q q^T; its widest column is the quaternion (Shepperd 1978)
    rows = [1 + a + b + c, x, y, z, x, 1 + a - b - c, xy, xz, y, xy, 1 - a + b - c, yz, z, xz, yz, 1 - a - b + c]
    outer = torch.stack(rows, -1).unflatten(-1, (4, 4))
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    q = q / q.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., :1] < 0, -q, q)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(sine > 1e-12, angle / sine.clamp(min=1e-12), 2.0)


def inverse_left_jacobian(v: Tensor) -> Tensor:
    """(…, 3, 3): log(exp(d) exp(v)) = v + J(v) d + …, for |v| below pi (Chirikjian 2011, eq. 10.86)."""
    angle = v.norm(dim=-1)[..., None, None].clamp(max=3.1)
    k = cross_matrix(v)
    half = angle / 2
    # 1/a^2 - (1 + cos a) / (2 a sin a) = (1 - half cot half) / a^2, near zero 1/12
    wide = (1 - half * torch.cos(half) / torch.sin(half).clamp(min=1e-9)) / (angle**2).clamp(min=1e-12)
    return torch.eye(3, dtype=v.dtype) - 0.5 * k + torch.where(angle > 1e-3, wide, 1 / 12) * (k @ k)


def cross_matrix(v: Tensor) -> Tensor:
    """(…, 3, 3) with K w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
