"""Closed-form turns against a plain SVD, one matrix at a time, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mocap_anything.backend.closed_form import closed_form_motion, nearest_rotation, turns_from_points
from mocap_anything.backend.rig import Rig


def slow_nearest(matrix: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def slow_turns(ref: np.ndarray, now: np.ndarray, weights: np.ndarray, noise: np.ndarray, carriers: np.ndarray, spread: float) -> np.ndarray:
    out = np.zeros((*ref.shape[:-2], 3, 3))
    for index in np.ndindex(*ref.shape[:-3]):
        done: dict[int, np.ndarray] = {-1: np.eye(3)}
        while len(done) <= len(carriers):
            for j, carrier in enumerate(carriers):
                if j not in done and carrier in done:
                    m = sum(w * np.outer(b, a) for w, a, b in zip(weights[index][j], ref[index][j], now[index][j], strict=True))
                    done[j] = slow_nearest(m + noise[index][j] ** 2 / (2 * spread**2) * done[carrier])
                    out[index][j] = done[j]
    return out


def random_rotations(rng: np.random.Generator, *shape: int) -> np.ndarray:
    matrices = np.linalg.qr(rng.normal(size=(*shape, 3, 3)))[0]
    matrices[..., 0] *= np.linalg.det(matrices)[..., None]
    return matrices


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Geodesic angle in radians, exact for small ones too."""
    chord = np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8.0)
    return 2 * np.arcsin(np.clip(chord, 0, 1))


def axis_turn(axis: list[float], degrees: float) -> np.ndarray:
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    a = np.radians(degrees)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 3e-4)])
def test_nearest_rotation_is_the_svd_one(dtype: torch.dtype, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(4000, 3, 3)) * rng.uniform(0.001, 100, (4000, 1, 1))  # half of them are reflections
    want = np.stack([slow_nearest(m) for m in matrices])
    singular = np.linalg.svd(matrices)[1]
    sign = np.sign(np.linalg.det(matrices))
    got = nearest_rotation(torch.from_numpy(matrices).to(dtype)).double().numpy()
    assert np.allclose(got @ got.swapaxes(-1, -2), np.eye(3), atol=1e-5)
    assert (np.linalg.det(got) > 0.99).all()
    # How well the answer is determined; where two answers are nearly as good, they must only be as good.
    clear = (singular[:, 1] + sign * singular[:, 2]) / singular[:, 0] > 0.05
    assert clear.mean() > 0.9
    assert angle(got, want)[clear].max() < tolerance
    lost = np.einsum("nij,nij->n", want - got, matrices) / np.linalg.norm(matrices, axis=(1, 2))
    assert lost.max() < 1e-3


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 30.0, 90.0, 179.0, 180.0])
def test_one_direction_turns_the_shortest_way(degrees: float) -> None:
    before = torch.tensor([[[[0.3, 0.0, 0.0]]]], dtype=torch.float64)
    turn = axis_turn([0, 0, 1], degrees)
    now = before @ torch.from_numpy(turn).T
    got = turns_from_points(before, now, torch.ones(1, 1, 1), torch.zeros(1, 1), np.array([-1]))[0, 0].numpy()
    assert np.allclose(got @ before[0, 0, 0].numpy(), now[0, 0, 0].numpy(), atol=1e-6)
    assert abs(np.degrees(angle(got, np.eye(3))) - degrees) < 1e-3


def test_one_direction_keeps_the_carriers_twist() -> None:
    """A chain along x turned about x by its carrier: the child's single direction says nothing of twist, so it takes the carrier's."""
    twist = axis_turn([1, 0, 0], 50.0)
    ref = torch.zeros(1, 2, 2, 3, dtype=torch.float64)
    ref[0, 0] = torch.tensor([[0.2, 0, 0], [0, 0.2, 0]])
    ref[0, 1, 0] = torch.tensor([0.1, 0, 0])
    now = ref @ torch.from_numpy(twist).T
    weights = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    got = turns_from_points(ref, now, weights, torch.zeros(1, 2), np.array([-1, 0]))[0].numpy()
    assert angle(got, twist).max() < 1e-6


def test_coplanar_points_and_half_turns_are_exact() -> None:
    rng = np.random.default_rng(1)
    ref = rng.normal(size=(300, 1, 4, 3))
    ref[..., 2] = 0.0
    truth = random_rotations(rng, 300, 1)
    truth[0, 0], truth[1, 0] = axis_turn([1, 0, 0], 180), axis_turn([1, 2, 3], 180)
    now = ref @ truth.swapaxes(-1, -2)
    got = turns_from_points(torch.from_numpy(ref), torch.from_numpy(now), torch.ones(300, 1, 4), torch.zeros(300, 1), np.array([-1])).numpy()
    plane = np.linalg.svd(ref[:, 0])[1]
    clear = plane[:, 1] / plane[:, 0] > 0.15
    assert clear.sum() > 250
    assert angle(got[:, 0], truth[:, 0])[clear].max() < 1e-6


def test_equals_the_slow_way_over_any_batch_shape_and_carrier_order() -> None:
    rng = np.random.default_rng(2)
    carriers = np.array([2, -1, 1, 0, 2, -1])  # not in index order, two roots
    ref = rng.normal(size=(2, 3, 6, 4, 3))
    now = ref @ random_rotations(rng, 2, 3, 6).swapaxes(-1, -2) + 0.1 * rng.normal(size=ref.shape)
    weights = rng.uniform(0, 1, (2, 3, 6, 4)) * (rng.uniform(size=(2, 3, 6, 4)) > 0.3)
    noise = rng.uniform(0.1, 1.0, (2, 3, 6))
    want = slow_turns(ref, now, weights, noise, carriers, 0.155)
    args = [torch.from_numpy(a) for a in (ref, now, weights, noise)]
    assert angle(turns_from_points(*args, carriers).numpy(), want).max() < 1e-6
    both = np.stack([carriers, carriers])
    assert angle(turns_from_points(*args, both).numpy(), want).max() < 1e-6


def test_rigs_of_a_batch_keep_their_own_carriers() -> None:
    rng = np.random.default_rng(3)
    carriers = np.array([[-1, 0, 1], [1, -1, 1]])
    ref, now = rng.normal(size=(2, 2, 5, 3, 2, 3))
    args = [ref, now, np.ones((2, 5, 3, 2)), np.full((2, 5, 3), 0.3)]
    got = turns_from_points(*[torch.from_numpy(a) for a in args], carriers).numpy()
    for rig in range(2):
        assert angle(got[rig], slow_turns(*[a[rig] for a in args], carriers[rig], 0.155)).max() < 1e-6


def test_shrinks_to_the_carrier_without_points_and_with_great_noise() -> None:
    rng = np.random.default_rng(4)
    ref = rng.normal(size=(1, 3, 3, 3))
    turn = axis_turn([1, 1, 0], 70)
    now = np.concatenate([ref[:, :1] @ turn.T, rng.normal(size=(1, 2, 3, 3))], 1)
    weights = np.ones((1, 3, 3))
    weights[0, 1] = 0.0
    noise = np.array([[0.0, 0.1, 1e4]])
    got = turns_from_points(*[torch.from_numpy(a) for a in (ref, now, weights, noise)], np.array([-1, 0, 1])).numpy()[0]
    assert angle(got, turn).max() < 1e-5


def test_gradient_is_the_numerical_one() -> None:
    torch.manual_seed(0)
    ref, now = torch.randn(2, 2, 3, 4, 3, dtype=torch.float64)
    weights, noise = torch.rand(2, 3, 4, dtype=torch.float64) + 0.2, torch.rand(2, 3, dtype=torch.float64) + 0.1
    carriers = np.array([-1, 0, 1])

    def run(now: torch.Tensor, weights: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return turns_from_points(ref, now, weights, noise, carriers)

    inputs = [a.requires_grad_() for a in (now, weights, noise)]
    # The damping of the Newton step costs a ten-thousandth.
    assert torch.autograd.gradcheck(run, inputs, rtol=5e-3, atol=5e-3)


def test_gradients_stay_finite_at_the_edges() -> None:
    ref = torch.zeros(1, 3, 2, 3)
    ref[0, 1, 0, 0] = 0.1
    now = ref.clone()
    now[0, 1, 0] = torch.tensor([-0.1, 0.0, 0.0])
    now.requires_grad_()
    turns_from_points(ref, now, torch.ones(1, 3, 2), torch.zeros(1, 3), np.array([-1, 0, 1])).square().mul(torch.randn(3, 3)).sum().backward()
    assert torch.isfinite(now.grad).all()


def test_positions_alone_tell_a_rigid_limb() -> None:
    """A root with two children off one line is told exactly; its leaves only with their ends."""
    rest = np.tile(np.eye(4), (3, 1, 1))
    rest[1, :3, 3], rest[2, :3, 3] = [1, 0, 0], [0, 1, 0]
    ends = np.array([[0, 0, 1], [2, 0, 0], [0, 2, 0]], float)
    flags = np.ones(3, bool)
    parents = np.array([-1, 0, 0], np.int32)
    rig = Rig(("a", "b", "c"), parents, parents, rest, ends, flags, ("",) * 3, flags, flags, ("FULL",) * 3)
    whole, bent = axis_turn([1, 2, 3], 80), axis_turn([0, 0, 1], 40)
    rotations = np.stack([whole, whole @ bent, whole])
    heads = (rest[:, :3, 3] @ whole.T)[None]
    tips = heads + np.einsum("jab,jb->ja", rotations, ends - rest[:, :3, 3])
    assert angle(closed_form_motion(rig, rest, heads, tips)[0], rotations).max() < 1e-6
    blind = closed_form_motion(rig, rest, heads)[0]
    assert angle(blind[[0, 2]], rotations[[0, 2]]).max() < 1e-6
    assert abs(np.degrees(angle(blind[1], rotations[1])) - 40) < 1e-4
