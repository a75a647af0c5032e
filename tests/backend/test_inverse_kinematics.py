"""Inverse kinematics: its parts against plain arithmetic, and whole solutions against motions that made the tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend import inverse_kinematics as ik
from mocap_anything.backend.axis_angles import cross_matrix, exp_rotation, inverse_left_jacobian, log_rotation
from mocap_anything.backend.closed_form import closed_form_motion
from mocap_anything.backend.habits import Habits
from mocap_anything.backend.ik_chain import Chain, end_offsets, head_targets
from mocap_anything.backend.kinematics import pose_along_carriers
from mocap_anything.backend.model.checkpoint import bundled_prior
from mocap_anything.backend.rig import Rig
from mocap_anything.backend.track_quality import sort_tracks, track_noise
from mocap_anything.training.metrics import geodesic

TIMES = np.arange(12) / 24
HABITS = Habits(bundled_prior(), np.array([0.0, 0, 1]))


def axis_turn(v: np.ndarray) -> np.ndarray:
    return exp_rotation(torch.as_tensor(np.asarray(v, float))).numpy()


@pytest.fixture
def walker() -> Rig:
    """A root with two bent legs of three bones each and a neck with a head, nothing in one line; bones rolled at random."""
    leg = np.array([[0.2, 0, 0.9], [0.25, 0.1, 0.5], [0.25, -0.05, 0.1]])
    heads = np.array([[0, 0, 1], *leg, *leg * [-1, 1, 1], [0, 0.3, 1.2], [0, 0.5, 1.3]])
    ends = np.array([[0, 0.3, 1.2], heads[2], heads[3], [0.25, 0.2, 0.05], heads[5], heads[6], [-0.25, 0.2, 0.05], heads[8], [0, 0.8, 1.25]])
    parents = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7], np.int32)
    rest = np.tile(np.eye(4), (9, 1, 1))
    rest[:, :3, :3] = axis_turn(np.random.default_rng(2).normal(size=(9, 3)))
    rest[:, :3, 3] = heads
    yes = np.ones(9, bool)
    return Rig(tuple("abcdefghi"), parents, parents, rest, ends.astype(float), yes, ("",) * 9, yes, yes, ("FULL",) * 9)


def motion(rig: Rig, turns: np.ndarray, travel: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, J, 3, 3) and heads of axis-angles (T, J, 3) against the parents."""
    rotations = np.empty((*turns.shape[:2], 3, 3))
    for bone, parent in enumerate(rig.parents):
        local = rig.rest[bone, :3, :3] if parent < 0 else rig.rest[parent, :3, :3].T @ rig.rest[bone, :3, :3]
        above = np.eye(3) if parent < 0 else rotations[:, parent]
        rotations[:, bone] = above @ axis_turn(turns[:, bone]) @ local
    roots = np.zeros((len(turns), len(rig), 3)) + rig.rest[:, :3, 3]
    roots[..., 0] += travel * np.arange(len(turns))[:, None] / len(turns)
    return rotations, pose_along_carriers(rig, rotations, rig.rest, roots)


def swings(rig: Rig, size: float, seed: int = 0) -> np.ndarray:
    """(T, J, 3) smooth bends of every bone, without any twist along it; in the parent's axes."""
    rng = np.random.default_rng(seed)
    along = rig.ends - rig.rest[:, :3, 3]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    axes = np.cross(rng.normal(size=(len(rig), 3)), along)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for bone, parent in enumerate(rig.parents):
        axes[bone] = axes[bone] if parent < 0 else rig.rest[parent, :3, :3].T @ axes[bone]
    return size * np.sin(np.linspace(0, 3, len(TIMES)))[:, None, None] * rng.uniform(0.5, 1, (len(rig), 1)) * axes


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 3.0, np.pi - 1e-6, np.pi])
def test_logarithm_and_exponential_undo_each_other(angle: float) -> None:
    axes = np.random.default_rng(0).normal(size=(50, 3))
    v = torch.from_numpy(angle * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    turn = exp_rotation(v)
    torch.testing.assert_close(turn, torch.matrix_exp(cross_matrix(v)))
    back = log_rotation(turn)
    torch.testing.assert_close(exp_rotation(back), turn, atol=1e-9, rtol=0)
    if angle < np.pi - 1e-3:
        torch.testing.assert_close(back, v, atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 0.3, 2.9])
def test_the_inverse_left_jacobian_is_the_numerical_one(angle: float) -> None:
    v = angle * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    def after(d: torch.Tensor) -> torch.Tensor:
        return log_rotation(exp_rotation(d) @ exp_rotation(v))

    numeric = torch.stack([(after(d) - after(-d)) / 2e-6 for d in 1e-6 * torch.eye(3, dtype=torch.float64)], -1)
    torch.testing.assert_close(inverse_left_jacobian(v), numeric, atol=1e-6, rtol=1e-6)


def test_the_jacobian_of_points_is_the_numerical_one(walker: Rig) -> None:
    rotations, heads = motion(walker, swings(walker, 0.8))
    targets = head_targets(walker, heads[3:4], TIMES[:1], heads[3:4])
    chain = Chain(walker, walker.rest, targets)
    angles, roots = torch.from_numpy(swings(walker, 0.5, 1)[5:6]), chain.ref_heads[None].clone()

    def points(angles: torch.Tensor, roots: torch.Tensor) -> torch.Tensor:
        return chain.points(*chain.pose(ik._State(angles, roots).turns(chain), roots))[0].flatten()

    turned, placed = chain.pose(ik._State(angles, roots).turns(chain), roots)
    jacobian = ik._jacobian(chain, turned, placed, chain.points(turned, placed))[0]
    for column in range(3 * 9 + 3):
        sides = []
        for sign in (1e-6, -1e-6):
            if column < 27:
                d = torch.zeros(1, 9, 3, dtype=torch.float64)
                d.view(-1)[column] = sign
                sides.append(points(log_rotation(exp_rotation(d) @ exp_rotation(angles)), roots))
            else:
                moved = roots.clone()
                moved[0, 0, column - 27] += sign
                sides.append(points(angles, moved))
        torch.testing.assert_close(jacobian[:, column], (sides[0] - sides[1]) / 2e-6, atol=1e-6, rtol=1e-5)


def test_a_motion_without_twist_comes_back_from_heads_and_ends(walker: Rig) -> None:
    rotations, heads = motion(walker, swings(walker, 0.7))
    ends = heads + np.einsum("tjab,jb->tja", rotations, end_offsets(walker))
    found = ik.solve(walker, walker.rest, head_targets(walker, heads, TIMES, ends), HABITS)
    assert np.abs(found.heads - heads).max() < 2e-3 * walker.size
    assert found.error.max() < 2e-3 * walker.size
    apart = geodesic(found.rotations, rotations)
    assert apart.mean() < 8  # heads and ends do not tell twist, and real limbs do twist
    assert geodesic(walker.rest[:, :3, :3], rotations).mean() > 20


def test_a_few_joints_tell_the_limbs_between(walker: Rig) -> None:
    """Root, feet and head alone: inner joints are found near where they were, though nothing tracked them."""
    rotations, heads = motion(walker, swings(walker, 0.5))
    some = heads.copy()
    some[:, [1, 2, 4, 5, 7]] = np.nan
    some[3:6, 3] = np.nan  # a foot that is lost for a while
    found = ik.solve(walker, walker.rest, head_targets(walker, some, TIMES), HABITS)
    tracked = np.isfinite(some).all(-1)
    assert np.linalg.norm(found.heads - heads, axis=-1)[tracked].max() < 0.01 * walker.size
    held = np.linalg.norm(heads - heads[:1] - (heads[:, :1] - heads[:1, :1]), axis=-1)
    assert np.linalg.norm(found.heads - heads, axis=-1)[:, [2, 5]].mean() < 0.5 * held[:, [2, 5]].mean()
    assert np.isnan(found.error[~tracked]).all()
    # the lost foot moves on smoothly
    assert np.linalg.norm(np.diff(found.heads[:, 3], axis=0), axis=-1).max() < 2 * np.linalg.norm(np.diff(heads[:, 3], axis=0), axis=-1).max()


def test_noisy_tracks_are_better_solved_together_than_bone_by_bone(walker: Rig) -> None:
    rotations, heads = motion(walker, swings(walker, 0.7))
    noisy = heads + np.random.default_rng(0).normal(size=heads.shape) * 0.01 * walker.size
    targets = head_targets(walker, noisy, TIMES)
    noise = track_noise(walker, targets)
    assert 0.005 < noise < 0.02
    together = ik.solve(walker, walker.rest, targets, HABITS, replace(ik.IKSettings(), noise=noise))
    alone = closed_form_motion(walker, walker.rest, noisy, None, noise)
    assert geodesic(together.rotations, rotations).mean() < geodesic(alone, rotations).mean()
    apart = [np.linalg.norm(found - heads, axis=-1).mean() for found in (together.heads, pose_along_carriers(walker, alone, walker.rest, noisy))]
    assert apart[0] < 0.75 * apart[1]


def test_bone_axes_do_not_matter(walker: Rig) -> None:
    _, heads = motion(walker, swings(walker, 0.7))
    rolls = np.tile(np.eye(4), (9, 1, 1))
    rolls[:, :3, :3] = axis_turn(np.random.default_rng(5).normal(size=(9, 3)))
    plain = ik.solve(walker, walker.rest, head_targets(walker, heads, TIMES), HABITS)
    rolled = replace(walker, rest=walker.rest @ rolls)
    other = ik.solve(rolled, rolled.rest, head_targets(rolled, heads, TIMES), HABITS)
    np.testing.assert_allclose(other.heads, plain.heads, atol=1e-6)
    assert geodesic(other.rotations, plain.rotations @ rolls[:, :3, :3]).max() < 1e-3


def test_a_bone_that_travels_gets_its_own_location(walker: Rig) -> None:
    rotations, heads = motion(walker, swings(walker, 0.5))
    away = heads.copy()
    away[:, 7:] += np.linspace(0, 0.5, len(heads))[:, None, None] * np.array([0, 0, 1.0])  # the neck leaves the body
    targets = head_targets(walker, away, TIMES)
    free, sure = sort_tracks(walker, targets, walker.rest)
    assert np.flatnonzero(free.carriers != walker.carriers).tolist() == [7]
    found = ik.solve(free, walker.rest, sure, HABITS)
    assert np.abs(found.heads - away).max() < 0.01 * walker.size
    # the same where it stays away all the time
    shifted = heads.copy()
    shifted[:, 7:] += [0, 0, 0.4]
    free, _ = sort_tracks(walker, head_targets(walker, shifted, TIMES), walker.rest)
    assert np.flatnonzero(free.carriers != walker.carriers).tolist() == [7]
    # a subject of other proportions has no loose bones
    free, _ = sort_tracks(walker, head_targets(walker, 1.2 * heads, TIMES), walker.rest)
    assert (free.carriers == walker.carriers).all()
    driven = np.ones(9, bool)
    driven[7:] = False
    free, sure = sort_tracks(replace(walker, driven=driven), targets, walker.rest)
    assert (free.carriers == walker.carriers).all()
    assert np.isnan(sure.positions[:, 7]).all()
    assert np.isfinite(sure.positions[:, 8]).all()


def test_a_root_that_is_lost_goes_from_where_it_was_to_where_it_is_again(walker: Rig) -> None:
    _, heads = motion(walker, 0 * swings(walker, 1), travel=3)
    gone = heads.copy()
    gone[4:8] = np.nan
    found = ik.solve(walker, walker.rest, head_targets(walker, gone, TIMES), HABITS)
    assert np.abs(found.heads - heads).max() < 0.01 * walker.size


def test_nothing_tracked_holds_the_reference(walker: Rig) -> None:
    found = ik.solve(walker, walker.rest, head_targets(walker, np.full((3, 9, 3), np.nan), TIMES[:3]), HABITS)
    np.testing.assert_allclose(found.heads, np.broadcast_to(walker.rest[:, :3, 3], (3, 9, 3)), atol=1e-9)


def test_the_caller_hears_how_far_it_is_and_may_stop_it(walker: Rig) -> None:
    _, heads = motion(walker, swings(walker, 0.5))
    shares: list[float] = []
    ik.solve(walker, walker.rest, head_targets(walker, heads, TIMES), HABITS, check=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ik.solve(walker, walker.rest, head_targets(walker, heads, TIMES), HABITS, check=stop)


def test_of_noisy_tracks_what_rests_stays_and_what_moves_moves_smoothly(walker: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = swings(walker, 0.7)
    turns[:, [4, 5, 6]] = 0  # one limb rests
    rotations, heads = motion(walker, turns)
    noise = 0.02
    ends = heads + np.einsum("tjab,jb->tja", rotations, end_offsets(walker))
    rng = np.random.default_rng(3)
    seen = [points + rng.normal(size=points.shape) * noise * walker.size for points in (heads, ends)]
    errors, leaps = [], []
    for noisy in (1.0, ik._NOISY):  # without and with
        monkeypatch.setattr(ik, "_NOISY", noisy)
        found = ik.solve(walker, walker.rest, head_targets(walker, seen[0], TIMES, seen[1]), HABITS, ik.IKSettings(noise=noise))
        errors.append(geodesic(found.rotations, rotations)[:, [4, 5, 6]].mean())
        leaps.append(np.linalg.norm(np.diff(found.heads, 2, axis=0), axis=-1).mean())
    assert errors[1] < 0.8 * errors[0]
    assert leaps[1] < 0.9 * leaps[0]
