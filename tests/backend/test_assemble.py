"""With the truth in the network's place the pipeline's geometry gives the truth back: what is wrong in a capture is the network's."""

import numpy as np
import pytest
from mocap_anything.backend.assemble import Track, assemble
from mocap_anything.backend.body_points import Crop, crop_around, read_body, view_orientations, view_points
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.kinematics import bone_rotations, carrier_offsets, heads_from_offsets
from mocap_anything.backend.reference import Reference
from mocap_anything.backend.settings import CaptureSettings
from mocap_anything.training.data.views import random_camera
from mocap_anything.training.zoo import make_creature

UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture(params=[("quadruped", False, 1.0), ("snake", True, 1.0), ("biped", True, -1.0)], ids=["still", "moving camera", "mirrored"])
def oracle(request):
    """A creature with rigid limbs, and the track that a perfect network would give from frame 10."""
    plan, moving, mirror = request.param
    rng = np.random.default_rng(7)
    asset = make_creature(rng, plan, frames=30)
    rig, pose = asset.rig, asset.clips[0].pose[:30].astype(np.float64)
    rotations = bone_rotations(pose)
    offsets = carrier_offsets(rig, rotations, pose[..., :3, 3])
    linked = rig.carriers >= 0
    offsets[:, linked] = offsets[10, linked]  # no limb stretches
    pose = np.tile(np.eye(4), (*pose.shape[:2], 1, 1))
    pose[..., :3, :3], pose[..., :3, 3] = rotations, heads_from_offsets(rig, rotations, offsets)
    times = np.arange(30) / 24
    camera = random_camera(rng, pose[:, :, :3, 3].mean(1), rig.size, np.asarray(asset.up), times if moving else np.zeros(30))
    matrix = camera.from_armature if moving else np.tile(camera.from_armature[:1], (30, 1, 1))
    camera = Camera(camera.intrinsics, matrix @ np.diag([mirror, 1, 1, 1]), camera.width, camera.height)
    body = read_body(rig, 3)
    points = body.points(pose)
    crop = crop_around(camera.project(points[:, body.mask]))
    uv, _ = view_points(body, camera, crop, points)
    seen = view_orientations(camera, crop, rotations[:, body.bones])
    turn = seen @ np.swapaxes(seen[10], -1, -2)
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    reference = Reference(image, camera.at(10), pose[10], float(times[10]))
    weight = np.broadcast_to(body.mask, (30, *body.mask.shape)).astype(float)
    track = Track(reference, Crop(crop.center[10], crop.side[10]), camera, crop, times, turn, uv, np.full((30, len(body.bones)), 0.01), weight)
    return rig, body, pose, track


def test_true_turns_and_pixels_give_the_true_motion(oracle):
    rig, body, pose, track = oracle
    motion = assemble(rig, body, [track], CaptureSettings(), UP)
    assert np.abs(motion.rotations[:, body.bones] - pose[:, body.bones][..., :3, :3]).max() < 1e-6
    seen, wanted = (track.camera.project(points[:, body.mask]) for points in (body.points(_posed(motion)), body.points(pose)))
    # depth comes from apparent size and is smoothed: the weakest part even of the truth, where a camera rushes past a snake
    miss = np.abs(seen - wanted).max(-1) / track.crop.side[:, None]
    assert np.median(miss) < 0.01
    assert miss.max() < 0.06
    off = np.linalg.norm(motion.heads[:, body.bones] - pose[:, body.bones][..., :3, 3], axis=-1) / rig.size
    assert np.median(off) < 0.03
    assert off.max() < 0.25


def test_in_place_keeps_the_roots_where_the_reference_has_them(oracle):
    rig, body, pose, track = oracle
    motion = assemble(rig, body, [track], CaptureSettings(root_travel="in_place"), UP)
    roots = rig.carriers < 0
    assert np.abs(motion.heads[:, roots] - pose[10, roots, :3, 3]).max() < 1e-9


def _posed(motion):
    pose = np.tile(np.eye(4), (*motion.heads.shape[:2], 1, 1))
    pose[..., :3, :3], pose[..., :3, 3] = motion.rotations, motion.heads
    return pose
