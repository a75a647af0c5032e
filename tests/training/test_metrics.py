"""Every metric against a case worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mocap_anything.backend.rig import Mesh, Rig
from mocap_anything.training import metrics


def turn_z(degrees: float | np.ndarray) -> np.ndarray:
    a = np.radians(np.asarray(degrees, float))
    m = np.zeros((*a.shape, 3, 3))
    m[..., 0, 0], m[..., 0, 1], m[..., 1, 0], m[..., 1, 1], m[..., 2, 2] = np.cos(a), -np.sin(a), np.sin(a), np.cos(a), 1
    return m


@pytest.fixture
def arm() -> Rig:
    """Root at the origin, elbow at x=1, hand at x=2 with its end at x=3, and a control bone without vertices at y=5. Box 3 x 4 x 0: size 5."""
    rest = np.tile(np.eye(4), (4, 1, 1))
    rest[:, :3, 3] = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 5, 0]]
    ends = np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0], [0, 6, 0]], float)
    parents = np.array([-1, 0, 1, -1], np.int32)
    yes = np.ones(4, bool)
    mesh = Mesh(
        np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0]], np.float32), np.array([[0, 1, 2]], np.int32),
        np.array([[0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]], np.int32), np.tile(np.array([1, 0, 0, 0], np.float32), (3, 1)), np.zeros((3, 3), np.float32),
    )
    return Rig(("root", "elbow", "hand", "control"), parents, parents, rest, ends, yes, ("",) * 4, yes, yes, ("FULL",) * 4, mesh)


def bend(rig: Rig, root: list[float], elbow: list[float], hand: list[float], travel: list[float] | None = None) -> np.ndarray:
    """Pose track (T, 4, 4, 4) of turns about z in degrees; the root may travel along x."""
    pose = np.tile(np.eye(4), (len(root), 4, 1, 1))
    heading = np.zeros(len(root))
    place = np.zeros((len(root), 3))
    place[:, 0] = travel or 0
    for bone, angles in enumerate((root, elbow, hand)):
        heading = heading + np.array(angles)
        pose[:, bone, :3, :3] = turn_z(heading)
        pose[:, bone, :3, 3] = place
        place = place + turn_z(heading)[:, :, 0]
    pose[:, 3, :3, 3] = [0, 5, 0]
    return pose


def test_rig_facts(arm: Rig) -> None:
    assert arm.size == 5
    assert metrics.centimetres(arm) == pytest.approx(125)  # 5 units where 4 are a metre
    assert metrics.counted_bones(arm).tolist() == [True, True, True, False]  # the elbow only by its descendant
    assert metrics.leaf_bones(arm, metrics.counted_bones(arm)).tolist() == [False, False, True, False]
    assert metrics.main_root(arm, metrics.counted_bones(arm)) == 0
    assert metrics.counted_bones(replace(arm, mesh=None)).all()


def test_rotation_error_is_parent_local_over_moving_bones(arm: Rig) -> None:
    truth = bend(arm, [0, 0, 0], [0, 20, 40], [0, 0, 0.5])  # the root rests, the hand moves less than a degree
    held = bend(arm, [0, 0, 0], [0, 0, 0], [0, 0, 0])
    got = metrics.score(arm, truth, held, 24, np.array([0.0, 1, 0]))
    assert got["moving_bones"] == 1
    assert got["rotation"] == pytest.approx(20)  # (0 + 20 + 40) / 3
    assert np.isnan(got["rotation_root"])
    assert np.isnan(got["rotation_leaves"])
    assert got["rotation_velocity"] == pytest.approx(20)
    without = metrics.score(arm, truth, held, 24, np.array([0.0, 1, 0]), reference=0)
    assert without["rotation"] == pytest.approx(30)
    assert without["at_reference"] == pytest.approx(0)
    assert metrics.score(arm, truth, held, 24, np.array([0.0, 1, 0]), reference=1)["at_reference"] == pytest.approx(20)
    # A wrong root leaves the children's parent-local rotations right.
    both = metrics.score(arm, bend(arm, [0, 30, 0], [0, 20, 40], [0, 0, 9]), bend(arm, [0, 0, 0], [0, 20, 40], [0, 0, 0]), 24, np.array([0.0, 1, 0]))
    assert both["rotation_root"] == pytest.approx(10)
    assert both["rotation_leaves"] == pytest.approx(3)
    assert both["rotation"] == pytest.approx((30 + 9) / 9)


def test_rotation_error_is_free_of_bone_axes_and_scale(arm: Rig) -> None:
    rng = np.random.default_rng(0)
    truth, got = bend(arm, [0, 10, 5], [3, 20, 40], [0, 5, 9]), bend(arm, [0, 7, 2], [0, 10, 60], [0, 0, 3])
    rolls = np.tile(np.eye(4), (4, 1, 1))
    rolls[:, :3, :3] = np.linalg.qr(rng.normal(size=(4, 3, 3)))[0]
    rolls[..., :3, 0] *= np.linalg.det(rolls[:, :3, :3])[:, None]
    up = np.array([0.0, 1, 0])
    plain = metrics.score(arm, truth, got, 24, up)
    rolled = metrics.score(replace(arm, rest=arm.rest @ rolls), truth @ rolls, got @ rolls * np.array([2, 2, 2, 1]), 24, up)
    assert rolled["rotation"] == pytest.approx(plain["rotation"])
    assert rolled["rotation_velocity"] == pytest.approx(plain["rotation_velocity"])


def test_rotation_range_is_between_any_two_frames() -> None:
    local = turn_z(np.array([[0.0], [-30], [30], [100]]))
    assert metrics.rotation_range(local)[0] == pytest.approx(130)


def test_positions_are_root_relative(arm: Rig) -> None:
    truth = bend(arm, [0, 0], [0, 90], [0, 0], travel=[0, 0])
    held = bend(arm, [0, 0], [0, 0], [0, 0], travel=[1, 2])
    got = metrics.score(arm, truth, held, 24, np.array([0.0, 1, 0]))
    # Only the hand errs, by sqrt(2) of 5 in one of two frames: a share of 0.2 sqrt(2) over 6 joints and frames.
    assert got["mpjpe"] == pytest.approx(100 * 0.2 * np.sqrt(2) / 6)
    assert got["mpjpe_cm"] == pytest.approx(125 * 0.2 * np.sqrt(2) / 6)
    assert got["mpjve"] == pytest.approx(100 * 0.2 * np.sqrt(2) / 3)
    assert got["root_position"] == pytest.approx(100 * (0.2 + 0.4) / 2)


def test_jitter_is_the_third_difference(arm: Rig) -> None:
    travel = np.array([0.0, 0, 0, 1, 1, 1])[:, None, None] * np.array([1.0, 0, 0])
    assert metrics.jitter(travel) == pytest.approx((1 + 2 + 1) / 3)
    assert metrics.jitter(np.arange(9.0)[:, None, None] ** 2 * np.ones(3)) == pytest.approx(0)
    assert metrics.jitter(travel[:3]) == 0


def test_cd_skeleton_does_not_mind_joints_sliding_along_bones(arm: Rig) -> None:
    heads = arm.rest[None, :, :3, 3].copy()
    slid = heads.copy()
    slid[0, 1, 0] = 1.5
    counted = metrics.counted_bones(arm)
    assert metrics.cd_skeleton(arm, heads, slid, counted) == pytest.approx(0)
    lifted = heads + np.array([0, 0, 0.3])
    assert metrics.cd_skeleton(arm, heads, lifted, counted) == pytest.approx(0.3)


def test_pck_takes_the_box_of_each_frame() -> None:
    truth = np.array([[[0, 0], [100, 0], [0, 25], [np.nan, np.nan]], [[0, 0], [10, 0], [0, 10], [5, 5]]], float)  # sqrt(area) 50 and 10
    got = truth + np.array([[[4.9, 0], [0, 5.1], [9, 0], [0, 0]], [[0, 0], [1.1, 0], [2.1, 0], [np.nan, 0]]])
    assert metrics.pck(truth, got, 0.1) == pytest.approx(2 / 7)
    assert metrics.pck(truth, got, 0.2) == pytest.approx(5 / 7)


def test_pck_of_a_rig_is_seen_from_aside_and_root_relative(arm: Rig) -> None:
    up = np.array([0.0, 0, 1])
    seen = metrics.seen_from_aside(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), up)
    c, s, high = np.cos(np.radians(30)), np.sin(np.radians(30)), np.sin(np.radians(10))
    np.testing.assert_allclose(seen, [[c, -s * high], [s, c * high], [0, np.cos(np.radians(10))]], atol=1e-12)
    # joints at 0, 1 and (1, 1): the box is c + s wide; a hand that points on instead is off by more than a fifth of it, and travel does not count
    truth = bend(arm, [0, 0], [0, 90], [0, 0], travel=[0, 0])
    held = bend(arm, [0, 0], [0, 0], [0, 0], travel=[1, 2])
    got = metrics.score(arm, truth[1:], held[1:], 24, up)
    assert got["pck_10"] == pytest.approx(2 / 3)
    assert got["pck_20"] == pytest.approx(2 / 3)
    assert metrics.score(arm, truth[1:], truth[1:], 24, up)["pck_10"] == 1


def test_foot_slip_counts_the_slide_of_standing_feet(arm: Rig) -> None:
    still = bend(arm, [0] * 4, [0] * 4, [0] * 4)
    slides = bend(arm, [0] * 4, [0] * 4, [0] * 4, travel=[0, 0.01, 0.02, 0.03])
    up = np.array([0.0, 1, 0])
    # 0.01 of 4 units-a-metre a frame is 0.25 cm, 24 times a second.
    assert metrics.foot_slip(arm, still, slides, 24, up) == pytest.approx(6)
    assert metrics.foot_slip(arm, still, still, 24, up) == 0
    walking = bend(arm, [0] * 4, [0] * 4, [0] * 4, travel=[0, 1, 2, 3])
    assert np.isnan(metrics.foot_slip(arm, walking, still, 24, up))


def test_the_truth_scores_perfectly(arm: Rig) -> None:
    truth = bend(arm, [0, 10, 5, 0, 3], [3, 20, 40, 2, 1], [0, 5, 9, 8, 8])
    got = metrics.score(arm, truth, truth.copy(), 30, np.array([0.0, 1, 0]))
    assert max(got["rotation"], got["mpjpe"], got["rotation_velocity"]) < 1e-5
    assert got["cd_skeleton"] < 1e-9
    assert got["jitter_ratio"] == pytest.approx(1)
