"""Fitted turns steadied over time: each by what its frame knows of it, and what no frame knows by those around."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 60
_TOGETHER = 8  # bones: of long clips their information is what takes memory
_ENOUGH = 1e-5


def steady(times: Tensor, angles: Tensor, information: Tensor, fixed: int | None, surge: float) -> Tensor:
    """Turns (T, A, 3) that are near the given ones, by information (T, A, 3, 3), and change their speed little; frame `fixed`, if
    there is one, stays.

    Minimises  sum (e - angles)^T information (e - angles) + sum |acceleration of e|^2 / surge^2  (a smoothing spline, Reinsch 1967), by
    preconditioned conjugate gradients for all bones at once. times: (T,) seconds, increasing. surge: radians / s^2 that are usual.
    """
    if len(times) < 3 or not angles.shape[1]:
        return angles
    rows = _second_differences(times) / surge
    bones = range(0, angles.shape[1], _TOGETHER)
    return torch.cat([_solve(rows, angles[:, k : k + _TOGETHER], information[:, k : k + _TOGETHER], fixed) for k in bones], 1)


def surety(covariance: Tensor, change: Tensor) -> Tensor:
    """(T, A, 3, 3) how surely each of A bones' axis-angles are known, whatever the others are: the inverse of its block of the covariance.

    covariance: (T, 3A + n, 3A + n) of turns in the carriers' axes. change: (T, A, 3, 3) how axis-angles change with those.
    """
    active = change.shape[1]
    index = torch.arange(active)
    spread = covariance[:, : 3 * active, : 3 * active].unflatten(2, (active, 3)).unflatten(1, (active, 3))[:, index, :, index]
    return torch.linalg.inv(change @ spread.transpose(0, 1) @ change.transpose(-1, -2))


def _second_differences(times: Tensor) -> Tensor:
    """(T - 2, 3) coefficients by which neighbours give the acceleration of each inner frame, weighted as an integral over time is."""
    steps = times.diff()
    before, after = steps[:-1], steps[1:]
    half = (before + after) / 2
    rows = torch.stack([1 / (before * half), -1 / (before * half) - 1 / (after * half), 1 / (after * half)], 1)
    return rows * (half / half.median()).sqrt()[:, None]


def _solve(rows: Tensor, angles: Tensor, information: Tensor, fixed: int | None) -> Tensor:
    """Some bones."""
    information = information.to(angles.dtype, copy=True)
    if fixed is not None:
        information[fixed] += 1e6 * torch.eye(3, dtype=angles.dtype)

    def bend(x: Tensor) -> Tensor:
        """Half the gradient of the second term."""
        second = rows[:, 0, None, None] * x[:-2] + rows[:, 1, None, None] * x[1:-1] + rows[:, 2, None, None] * x[2:]
        out = torch.zeros_like(x)
        for k in range(3):
            out[k : len(x) - 2 + k] += rows[:, k, None, None] * second
        return out

    diagonal = torch.zeros(len(angles), dtype=angles.dtype)
    for k in range(3):
        diagonal[k : len(angles) - 2 + k] += rows[:, k].square()
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
