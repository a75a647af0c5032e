"""Fitted turns steadied over time: each by what its frame knows of it, and what no frame knows by those around."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 60
_ENOUGH = 1e-5


def steady(times: Tensor, angles: Tensor, information: Tensor, fixed: int, surge: float) -> Tensor:
    """Turns (T, A, 3) that are near the given ones, by information (T, A, 3, 3), and change their speed little; frame `fixed` stays.

    Minimises  sum (e - angles)^T information (e - angles) + sum |acceleration of e|^2 / surge^2  (a smoothing spline, Reinsch 1967), by
    preconditioned conjugate gradients for all bones at once. times: (T,) seconds, increasing. surge: radians / s^2 that are usual.
    """
    if len(times) < 3:
        return angles
    steps = times.diff()
    before, after = steps[:-1], steps[1:]
    half = (before + after) / 2
    rows = torch.stack([1 / (before * half), -1 / (before * half) - 1 / (after * half), 1 / (after * half)], 1)  # (T - 2, 3) second differences
    rows = rows * (half / half.median()).sqrt()[:, None] / surge  # an integral over time, not a sum over frames
    information = information.clone()
    information[fixed] += 1e6 * torch.eye(3, dtype=angles.dtype)

    def bend(x: Tensor) -> Tensor:
        """Half the gradient of the second term."""
        second = rows[:, 0, None, None] * x[:-2] + rows[:, 1, None, None] * x[1:-1] + rows[:, 2, None, None] * x[2:]
        out = torch.zeros_like(x)
        for k in range(3):
            out[k : len(x) - 2 + k] += rows[:, k, None, None] * second
        return out

    diagonal = torch.zeros(len(times), dtype=angles.dtype)
    for k in range(3):
        diagonal[k : len(times) - 2 + k] += rows[:, k].square()
    inverse = torch.linalg.inv(information + diagonal[:, None, None, None] * torch.eye(3, dtype=angles.dtype))
    x = angles.clone()
    residual = -bend(x)
    start = residual.square().sum().clamp(min=1e-30)
    guided = (inverse @ residual[..., None])[..., 0]
    direction, size = guided.clone(), (residual * guided).sum((0, 2))
    for _ in range(_ROUNDS):
        image = (information @ direction[..., None])[..., 0] + bend(direction)
        length = size / (direction * image).sum((0, 2)).clamp(min=1e-30)  # each bone is a problem of its own
        x += length[None, :, None] * direction
        residual = residual - length[None, :, None] * image
        if residual.square().sum() < _ENOUGH**2 * start:
            break
        guided = (inverse @ residual[..., None])[..., 0]
        fresh = (residual * guided).sum((0, 2))
        direction, size = guided + (fresh / size.clamp(min=1e-30))[None, :, None] * direction, fresh
    return x
