"""More motions than there are clips: what is made of them is still a motion of that rig."""

from dataclasses import replace

import numpy as np
import pytest
from mocap_anything.backend.kinematics import bone_rotations, carrier_offsets, skin
from mocap_anything.training.data.asset import Asset
from mocap_anything.training.data.sample import SampleConfig
from mocap_anything.training.data.stream import SampleStream, StreamConfig
from mocap_anything.training.data.vary import carried, layered, mirrored, varied, warped
from mocap_anything.training.zoo import make_creature


@pytest.fixture(scope="module")
def beast() -> Asset:
    return make_creature(np.random.default_rng(3), "quadruped", clips=2, frames=24)


def lengths(asset: Asset, pose: np.ndarray) -> np.ndarray:
    pose = pose.astype(np.float64)
    return np.linalg.norm(carrier_offsets(asset.rig, bone_rotations(pose), pose[..., :3, 3]), axis=-1)[:, asset.rig.carriers >= 0]


def test_a_warped_clip_begins_and_ends_the_same_and_keeps_the_bones(beast: Asset) -> None:
    clip = beast.clips[0]
    found = warped(np.random.default_rng(1), clip)
    assert found.pose.shape == clip.pose.shape
    np.testing.assert_allclose(found.pose[[0, -1]], clip.pose[[0, -1]], atol=1e-4 * beast.rig.size)
    assert np.abs(found.pose - clip.pose).max() > 1e-3
    linear = found.pose[..., :3, :3].astype(np.float64)
    expected = np.linalg.norm(clip.pose[..., :3, :3], axis=-2).mean(0)
    np.testing.assert_allclose(np.linalg.norm(linear, axis=-2).mean(0), expected, rtol=1e-3)


def test_a_layered_clip_has_one_branch_of_another(beast: Asset) -> None:
    first, second = beast.clips
    found = layered(np.random.default_rng(2), beast, first, second)
    same = np.isclose(found.pose, first.pose, atol=1e-5 * beast.rig.size).all((0, 2, 3))
    assert 0 < (~same).sum() < 0.8 * len(beast.rig)
    moved = np.flatnonzero(~same)
    # lengths inside the branch are the other clip's, everywhere else this one's
    np.testing.assert_allclose(
        np.minimum(np.abs(lengths(beast, found.pose) - lengths(beast, first.pose)), np.abs(lengths(beast, found.pose) - lengths(beast, second.pose))), 0,
        atol=1e-3 * beast.rig.size)  # fmt: skip
    tops = [bone for bone in moved if beast.rig.carriers[bone] not in moved]
    assert len(tops) == 1


def test_a_mirrored_body_is_the_mirror_image(beast: Asset) -> None:
    other = mirrored(beast)
    seen = skin(beast.rig.mesh, beast.rig, beast.clips[0].pose[5].astype(np.float64)) * [-1, 1, 1]
    np.testing.assert_allclose(skin(other.rig.mesh, other.rig, other.clips[0].pose[5].astype(np.float64)), seen, atol=1e-4 * beast.rig.size)
    assert (np.linalg.det(other.rig.rest[:, :3, :3]) > 0).all()
    assert other.rig.size == pytest.approx(beast.rig.size)


def test_a_motion_is_carried_onto_another_body_of_the_plan(beast: Asset) -> None:
    other = make_creature(np.random.default_rng(11), "quadruped", frames=24)
    clip = carried(beast, beast.clips[0], other)
    assert clip is not None
    assert clip.pose.shape == (24, len(other.rig), 4, 4)
    stand = lengths(other, other.clips[0].pose[:1])
    np.testing.assert_allclose(lengths(other, clip.pose), np.broadcast_to(stand, (24, stand.shape[1])), atol=1e-3 * other.rig.size)
    assert np.ptp(bone_rotations(clip.pose.astype(np.float64)), axis=0).max() > 0.1
    assert carried(beast, replace(beast.clips[0], pose=np.repeat(beast.clips[0].pose[:1], 8, 0)), other) is None, "what stands still is no motion"


def turned(asset: Asset, turn: np.ndarray) -> Asset:
    """In other axes of its armature."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    mesh = asset.rig.mesh
    assert mesh is not None
    mesh = replace(mesh, vertices=(mesh.vertices @ turn.T).astype(np.float32))
    rig = replace(asset.rig, rest=matrix @ asset.rig.rest, ends=asset.rig.ends @ turn.T, mesh=mesh)
    clips = tuple(replace(clip, pose=(matrix @ clip.pose).astype(np.float32)) for clip in asset.clips)
    return replace(asset, rig=rig, clips=clips, up=turn @ asset.up)


@pytest.mark.parametrize("plan", ["quadruped", "fish"])
def test_a_motion_is_carried_alike_where_an_armature_lies_on_its_back(plan: str) -> None:
    driver, target = (make_creature(np.random.default_rng(seed), plan, frames=12) for seed in (3, 8))
    back = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # what was up is -Y
    assert np.allclose(driver.front, [0, -1, 0])
    assert np.allclose(turned(driver, back).front, back @ driver.front)
    first = carried(driver, driver.clips[0], target)
    second = carried(turned(driver, back), turned(driver, back).clips[0], target)
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(second.pose, first.pose, atol=1e-3 * target.rig.size)


def test_the_stream_varies_baked_rigs_and_is_the_same_for_the_same_seed(beast: Asset) -> None:
    config = StreamConfig(batch=0, motion_batch=6, motion_frames=4, baked_share=0.9, carried=0.5, sample=SampleConfig(frames=2, image_size=64))
    named = replace(beast, name="baked", plan="humanoid creature")
    first, again = (next(iter(SampleStream(config, [beast, named]))).motion[1].turn for _ in range(2))
    assert first.isfinite().all()
    assert (first == again).all()
    one = varied(np.random.default_rng(0), beast)
    assert len(one.clips) == 1
