"""The smoothing spline over fitted turns."""

import torch
from mocap_anything.backend.steady import steady


def spread(frames: int, value: float) -> torch.Tensor:
    return value * torch.eye(3, dtype=torch.float64).expand(frames, 2, 3, 3).clone()


def test_a_steady_turn_stays_however_frames_are_spaced():
    times = torch.tensor([0.0, 0.1, 0.15, 0.4, 0.45, 0.7, 1.0], dtype=torch.float64)
    turning = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64) * times[:, None, None] * torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    assert (steady(times, turning, spread(7, 10.0), 2, 50.0) - turning).abs().max() < 1e-9


def test_noise_goes_and_what_no_frame_knows_lies_between():
    generator = torch.Generator().manual_seed(0)
    times = torch.arange(60, dtype=torch.float64) / 30
    true = torch.sin(3 * times)[:, None, None].expand(60, 2, 3)
    seen = true + 0.1 * torch.randn(true.shape, generator=generator, dtype=torch.float64)
    knows = spread(60, 1 / 0.1**2)
    seen[20:30, 1], knows[20:30, 1] = 0, 1e-3 * torch.eye(3, dtype=torch.float64)
    found = steady(times, seen, knows, 0, 20.0)
    assert (found - true)[:, 0].square().mean() < 0.3 * (seen - true)[:, 0].square().mean()
    assert (found - true)[20:30, 1].abs().max() < 0.3


def test_the_fixed_frame_stays():
    generator = torch.Generator().manual_seed(1)
    seen = 0.3 * torch.randn(20, 2, 3, generator=generator, dtype=torch.float64)
    found = steady(torch.arange(20, dtype=torch.float64) / 24, seen, spread(20, 50.0), 7, 5.0)
    assert (found[7] - seen[7]).abs().max() < 1e-3
    assert (found - seen).abs().max() > 0.1


def test_two_frames_are_left_alone():
    seen = torch.rand(2, 2, 3, dtype=torch.float64)
    assert (steady(torch.tensor([0.0, 1.0], dtype=torch.float64), seen, spread(2, 1.0), 0, 1.0) == seen).all()
