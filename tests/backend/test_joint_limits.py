"""Limits of joints: Blender's parameters there and back, projections, and solutions that keep within them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mocap_anything.backend import inverse_kinematics as ik
from mocap_anything.backend.axis_angles import exp_rotation, log_rotation
from mocap_anything.backend.habits import Habits
from mocap_anything.backend.ik_chain import Chain, end_offsets, head_targets
from mocap_anything.backend.joint_limits import HELD, ORDERS, SWING, Bounds, JointLimits, clamp_euler, euler_angles, from_euler, from_swing_twist, swing_twist
from mocap_anything.backend.kinematics import pose_along_carriers
from mocap_anything.backend.model.checkpoint import bundled_prior
from mocap_anything.backend.rig import Rig

FREE = np.inf
TIMES = np.arange(48) / 24
HABITS = Habits(bundled_prior(), np.array([0.0, 0, 1]))
NAMES = ("hips", "thigh", "shin", "foot")


@pytest.fixture
def leg() -> Rig:
    """Hips, thigh, shin and foot, the knee bent a little; every bone's x goes across the leg."""
    heads = np.array([[0, 0, 1.0], [0.1, 0, 0.9], [0.1, -0.01, 0.5], [0.1, 0, 0.1]])
    ends = np.array([[0, 0, 1.3], heads[2], heads[3], [0.1, -0.2, 0.05]])
    rest = np.tile(np.eye(4), (4, 1, 1))
    for bone in range(4):
        along = (ends[bone] - heads[bone]) / np.linalg.norm(ends[bone] - heads[bone])
        across = np.array([1.0, 0, 0]) - along[0] * along
        across /= np.linalg.norm(across)
        rest[bone, :3, :3] = np.stack([across, along, np.cross(across, along)], 1)
    rest[:, :3, 3] = heads
    parents, yes = np.array([-1, 0, 1, 2], np.int32), np.ones(4, bool)
    return Rig(NAMES, parents, parents, rest, ends, yes, ("",) * 4, yes, yes, ("FULL",) * 4)


def posed(rig: Rig, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (T, J, 3, 3), heads and ends (T, J, 3) of rotations (T, J, 3, 3) relative to rest and parent."""
    rotations = np.empty_like(basis)
    for bone, parent in enumerate(rig.parents):
        local = rig.rest[bone, :3, :3] if parent < 0 else rig.rest[parent, :3, :3].T @ rig.rest[bone, :3, :3]
        rotations[:, bone] = (np.eye(3) if parent < 0 else rotations[:, parent]) @ local @ basis[:, bone]
    heads = pose_along_carriers(rig, rotations, rig.rest, np.broadcast_to(rig.rest[:, :3, 3], (len(basis), len(rig), 3)))
    return rotations, heads, heads + np.einsum("tjab,jb->tja", rotations, end_offsets(rig))


def relative(rig: Rig, rotations: np.ndarray, bone: int) -> torch.Tensor:
    """(T, 3, 3) of a bone, relative to rest and parent."""
    parent = rig.parents[bone]
    return torch.from_numpy(rig.rest[bone, :3, :3].T @ rig.rest[parent, :3, :3] @ np.swapaxes(rotations[:, parent], -1, -2) @ rotations[:, bone])


def walk(rig: Rig) -> np.ndarray:
    """(T, J, 3, 3) thigh and foot swing, the knee bends one way."""
    angles = np.zeros((len(TIMES), 4, 3))
    phase = 4 * TIMES
    angles[:, 1, 0], angles[:, 2, 0], angles[:, 3, 0] = 0.5 * np.sin(phase), np.maximum(0, 0.6 * np.cos(phase)), 0.2 * np.sin(phase)
    return exp_rotation(torch.from_numpy(angles)).numpy()


def test_swing_and_twist_make_the_rotation_again() -> None:
    turns = exp_rotation(torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3))))
    found = swing_twist(turns)
    torch.testing.assert_close(from_swing_twist(found), turns)
    plain = swing_twist(exp_rotation(torch.tensor([[0.4, 0, 0], [0, -0.7, 0], [0, 0, 1.1]], dtype=torch.float64)))
    torch.testing.assert_close(plain, torch.diag(torch.tensor([2 * np.sin(0.2), -0.7, 2 * np.sin(0.55)], dtype=torch.float64)))


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_make_the_rotation_again(order: str) -> None:
    turns = exp_rotation(torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3))))
    torch.testing.assert_close(from_euler(euler_angles(turns, order), order), turns)
    level = from_euler(torch.tensor([[0.3, np.pi / 2, -0.2]], dtype=torch.float64), order)  # at and about gimbal lock
    torch.testing.assert_close(from_euler(euler_angles(level, order), order), level, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("angle", "low", "high", "clamped"), [
    (50, -20, 30, 30), (-50, -20, 30, -20), (10, -20, 30, 10), (170, -20, 30, 30), (-175, 90, 200, -175), (-100, 90, 200, -160), (120, -FREE, FREE, 120),
    (120, -200, 200, 120), (50, 10, 10, 10), (50, 10, -10, 10),
])
def test_euler_angles_are_clamped_the_short_way_round(angle: float, low: float, high: float, clamped: float) -> None:
    found = clamp_euler(*(torch.deg2rad(torch.tensor([value], dtype=torch.float64)) for value in (angle, low, high)))
    assert float(torch.rad2deg(found)) % 360 == pytest.approx(clamped % 360)


def bounds(rig: Rig, limits: JointLimits, reference: np.ndarray | None = None) -> Bounds:
    reference = rig.rest if reference is None else reference
    return Bounds(Chain(rig, reference, head_targets(rig, reference[None, :, :3, 3], TIMES[:1], rig.ends[None])), limits, 100)


def test_a_swing_limited_about_two_axes_stays_in_an_ellipse(leg: Rig) -> None:
    """Half a turn's sine counts: 60° and 40°, beyond both, comes to the rim on the line to the middle."""
    limits = JointLimits(np.array([2]), (SWING,), np.radians([[-30, -FREE, -20.0]]), np.radians([[60, FREE, 40.0]]))
    group = bounds(leg, limits).groups[0]
    inside, outside = (from_swing_twist(torch.tensor([2 * np.sin(np.radians(30)) * share, 0.9, 2 * np.sin(np.radians(20)) * share])) for share in (0.7, 1.0))
    torch.testing.assert_close(group.projected(inside[None, None].double())[0, 0], inside.double(), atol=1e-6, rtol=0)
    found = swing_twist(group.projected(outside[None, None].double())[0, 0]).numpy()
    np.testing.assert_allclose(found, [2 * np.sin(np.radians(30)) / 2**0.5, 0.9, 2 * np.sin(np.radians(20)) / 2**0.5], atol=1e-6)


def test_projections_are_within_and_leave_alone_what_is_within(leg: Rig) -> None:
    rng = np.random.default_rng(1)
    bones, kinds = np.array([0, 1, 1, 2, 3]), (SWING, "ZXY", "XYZ", SWING, HELD)
    lower, upper = -rng.uniform(0, 1, (5, 3)), rng.uniform(0, 1, (5, 3))
    lower[3], upper[3] = [0, 0, 0], [2, 0, 0]
    keeper = bounds(leg, JointLimits(bones, kinds, lower, upper))
    angles = torch.from_numpy(rng.normal(size=(100, 4, 3)))
    once = keeper.project(angles)
    assert (once - angles).abs().max() > 0.5
    assert once[:, 3].abs().max() < 1e-6
    assert all(part.isfinite().all() for line in keeper.linear(torch.zeros_like(angles)) for part in (line.value, line.jacobian))
    single = bounds(leg, JointLimits(bones[[0, 3]], (SWING, SWING), lower[[0, 3]], upper[[0, 3]]))
    kept = single.project(angles)
    torch.testing.assert_close(single.project(kept), kept, atol=1e-7, rtol=0)
    assert torch.equal(single.project(angles)[:, [1, 3]], angles[:, [1, 3]])
    assert all(bool(group.inside(group.rotations(exp_rotation(kept[:, group.rows]))).all()) for group in single.groups)


def test_values_change_as_their_jacobian_says(leg: Rig) -> None:
    rng = np.random.default_rng(2)
    lower = np.array([[-0.3, -0.2, -0.4], [-0.2] * 3, [0, 0, 0]])
    keeper = bounds(leg, JointLimits(np.array([1, 2, 3]), (SWING, "YZX", SWING), lower, np.array([[0.3, 0.2, 0.4], [0.1] * 3, [1, 0, 0]])))
    angles, turns = torch.from_numpy(rng.normal(size=(100, 4, 3)) * 0.5), torch.from_numpy(rng.normal(size=(100, 4, 3)) * 1e-5)
    after = keeper.linear(log_rotation(exp_rotation(turns) @ exp_rotation(angles)))
    for group, before, then in zip(keeper.groups, keeper.linear(angles), after, strict=True):
        torch.testing.assert_close(before.after(turns[:, group.rows]), then.value, atol=1e-8, rtol=0)
        assert (before.value - then.value).abs().max() > 1e-6


def test_what_a_step_would_pass_is_held_and_what_it_leaves_is_let_go(leg: Rig) -> None:
    """A hinge of -0.2 to 0.5 about x: its other axes always hold; x does beyond one end, and the term puts it onto that end."""
    keeper = bounds(leg, JointLimits(np.array([2]), (SWING,), np.array([[-0.2, 0, 0]]), np.array([[0.5, 0, 0]])))
    angles = torch.zeros(3, 4, 3, dtype=torch.float64)
    turns = torch.zeros_like(angles)
    turns[:, 2, 0] = torch.tensor([0.3, 0.6, -0.4])  # a shin's x is the thigh's here
    about = keeper.linear(angles)
    keeper.hold(about, slice(0, 3), turns)
    assert keeper.held[0][:3, 0].tolist() == [[0, 1, 1], [1, 1, 1], [-1, 1, 1]]
    normal, gradient = keeper.term(about, slice(0, 3), angles)
    found = torch.linalg.solve(normal[1:, 2], gradient[1:, 2])
    torch.testing.assert_close(found[:, 0], 2 * torch.sin(torch.tensor([0.5, -0.2], dtype=torch.float64) / 2))
    keeper.hold(about, slice(0, 3), 0.1 * turns)
    assert keeper.held[0][:3, 0].tolist() == [[0, 1, 1]] * 3


@pytest.mark.parametrize("kind", [SWING, "XYZ"])
@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_noisy_tracks_bend_no_knee_backwards(leg: Rig, kind: str, noise: float) -> None:
    _, heads, ends = posed(leg, walk(leg))
    rng = np.random.default_rng(0)
    seen = [points + rng.normal(size=points.shape) * noise * leg.size for points in (heads, ends)]
    targets = head_targets(leg, seen[0], TIMES, seen[1])
    hinge = JointLimits(np.array([2]), (kind,), np.zeros((1, 3)), np.array([[2.5, 0, 0]]))
    free, kept = (ik.solve(leg, leg.rest, targets, HABITS, ik.IKSettings(noise=noise), limits=limits) for limits in (None, hinge))
    bends = [swing_twist(relative(leg, found.rotations, 2)).numpy() for found in (free, kept)]
    assert bends[0][:, 0].min() < -5 * noise  # without limits it bends backwards, sideways and twists
    assert np.abs(bends[0][:, 1:]).max() > 0.02
    assert bends[1][:, 0].min() > -1e-6
    assert np.abs(bends[1][:, 1:]).max() < 1e-6
    far, near = (np.linalg.norm(found.heads - heads, axis=-1).mean() for found in (free, kept))
    assert near < 1.05 * far
    assert np.nanmean(kept.error) < 1.1 * np.nanmean(free.error)


def test_tracks_of_a_backward_knee_are_met_as_nearly_as_the_limit_lets(leg: Rig) -> None:
    """The rest of the leg makes up for the knee: better than the free solution with its knee put straight afterwards."""
    basis = walk(leg)
    basis[:, 2] = np.swapaxes(basis[:, 2], -1, -2)  # the knee bends backwards by up to 0.6
    _, heads, ends = posed(leg, basis)
    targets = head_targets(leg, heads, TIMES, ends)
    hinge = JointLimits(np.array([2]), (SWING,), np.zeros((1, 3)), np.array([[2.5, 0, 0]]))
    free, kept = (ik.solve(leg, leg.rest, targets, HABITS, limits=limits) for limits in (None, hinge))
    assert swing_twist(relative(leg, kept.rotations, 2))[:, 0].min() > -1e-6
    after = basis.copy()
    after[:, 2] = np.eye(3)
    _, cut, cut_ends = posed(leg, after)
    cut_error = np.linalg.norm(np.concatenate([cut, cut_ends], 1) - targets.positions, axis=-1)
    assert np.square(free.error).mean() < 1e-4
    assert np.square(kept.error).mean() < 0.6 * np.square(cut_error).mean()


def test_a_motion_within_all_limits_is_found_within_them(leg: Rig) -> None:
    rng = np.random.default_rng(4)
    wave = np.sin(3 * TIMES[:, None, None] + rng.uniform(0, 6, (4, 3)))
    basis = from_euler(torch.from_numpy(0.5 * wave), "XYZ").numpy()
    _, heads, ends = posed(leg, basis)
    limits = JointLimits(np.arange(4), ("XYZ",) * 4, np.full((4, 3), -0.5), np.full((4, 3), 0.5))
    found = ik.solve(leg, leg.rest, head_targets(leg, heads, TIMES, ends), HABITS, limits=limits)
    assert found.error.max() < 0.002 * leg.size
    for bone in range(1, 4):
        assert euler_angles(relative(leg, found.rotations, bone), "XYZ").abs().max() < 0.5 + 1e-6


def test_no_limits_change_nothing_at_all(leg: Rig) -> None:
    _, heads, ends = posed(leg, walk(leg))
    targets = head_targets(leg, heads, TIMES, ends)
    none = JointLimits(np.zeros(0, int), (), np.zeros((0, 3)), np.zeros((0, 3)))
    wide = JointLimits(np.arange(4), (SWING, "XYZ", SWING, "ZYX"), np.full((4, 3), -FREE), np.full((4, 3), FREE))
    plain = ik.solve(leg, leg.rest, targets, HABITS)
    for limits in (none, wide):
        found = ik.solve(leg, leg.rest, targets, HABITS, limits=limits)
        assert np.array_equal(found.rotations, plain.rotations)
        assert np.array_equal(found.heads, plain.heads)


def test_limits_that_make_no_sense_are_refused(leg: Rig) -> None:
    with pytest.raises(ValueError, match="agree"):
        JointLimits(np.arange(2), (SWING,), np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="XXY"):
        JointLimits(np.arange(1), ("XXY",), np.zeros((1, 3)), np.zeros((1, 3)))
    loose = Rig(**{**vars(leg), "carriers": np.array([-1, 0, -1, 2], np.int32)})
    with pytest.raises(ValueError, match="shin"):
        bounds(loose, JointLimits(np.array([2]), (SWING,), np.zeros((1, 3)), np.zeros((1, 3))))
