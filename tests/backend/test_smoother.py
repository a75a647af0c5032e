"""Smoothing over all bones, beside the whole clip's least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mocap_anything.backend import smoother as module
from mocap_anything.backend.smoother import Smoother
from torch import Tensor

FRAMES, NUMBERS = 40, 3  # of one bone


def filtered(seen: Tensor, pace: Tensor, noise: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A Kalman filter of a walk that starts at zero: (T, 3) what it finds, and the gain of each step after the second frame."""
    found, gains = [torch.zeros(NUMBERS, dtype=torch.float64)], []
    unsure = torch.zeros(NUMBERS, NUMBERS, dtype=torch.float64)
    for place in seen[1:]:
        hold = torch.linalg.inv(unsure + pace)
        gains.append(unsure @ hold)
        covariance = torch.linalg.inv(hold + torch.linalg.inv(noise))
        found.append(found[-1] + covariance @ torch.linalg.solve(noise, place - found[-1]))
        unsure = covariance
    return torch.stack(found), gains[1:]


def smoothed(found: Tensor, gains: list[Tensor]) -> Tensor:
    turns = found[:, None].clone()
    smoother = Smoother(turns)
    for frame, gain in enumerate(gains, 2):
        smoother.add(frame - 1, frame, found[frame - 1][None], gain)
    smoother.finish()
    return turns[:, 0]


@pytest.fixture
def walk() -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(5)
    pace, noise = (torch.from_numpy(size * (m := rng.normal(size=(NUMBERS, NUMBERS))) @ m.T) for size in (1e-8, 1e-7))
    steps = rng.multivariate_normal(np.zeros(NUMBERS), pace.numpy(), FRAMES)
    steps[0] = 0
    seen = np.cumsum(steps, 0) + rng.multivariate_normal(np.zeros(NUMBERS), noise.numpy(), FRAMES)
    return torch.from_numpy(seen), pace, noise


def test_small_turns_are_what_all_frames_together_say(walk: tuple[Tensor, Tensor, Tensor]) -> None:
    """Where turns are so small that they add up, smoothing is the least squares of the whole way."""
    seen, pace, noise = walk
    found, gains = filtered(seen, pace, noise)
    firm, sure = (torch.linalg.inv(covariance).contiguous() for covariance in (pace, noise))
    chain = 2 * torch.eye(FRAMES - 1, dtype=torch.float64) - torch.diag(torch.ones(FRAMES - 2, dtype=torch.float64), 1)
    chain = chain - torch.diag(torch.ones(FRAMES - 2, dtype=torch.float64), -1)
    chain[-1, -1] = 1
    normal = torch.kron(chain, firm) + torch.kron(torch.eye(FRAMES - 1, dtype=torch.float64), sure)
    best = torch.linalg.solve(normal, (seen[1:] @ sure).flatten()).reshape(-1, NUMBERS)
    scale = best.abs().max()
    assert (smoothed(found, gains)[1:] - best).abs().max() < 2e-3 * scale
    assert (found[1:] - best).abs().max() > 0.05 * scale, "the filter alone is elsewhere"


def test_a_long_way_is_settled_a_stretch_at_a_time(walk: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    found, gains = filtered(*walk)
    whole = smoothed(found, gains)
    monkeypatch.setattr(module, "_STRETCH", 6)
    monkeypatch.setattr(module, "_BEYOND", 24)
    assert (smoothed(found, gains) - whole).abs().max() < 0.02 * whole.abs().max()
    assert (found - whole).abs().max() > 0.05 * whole.abs().max()
