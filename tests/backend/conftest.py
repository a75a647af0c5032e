"""What a perfect network would say of a creature's clip."""

import numpy as np
import pytest
from mocap_anything.backend.assemble import Track
from mocap_anything.backend.body_points import Crop, crop_around, read_body, view_orientations, view_points
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.kinematics import bone_rotations, carrier_offsets, heads_from_offsets
from mocap_anything.backend.reference import Reference
from mocap_anything.training.data.views import random_camera
from mocap_anything.training.zoo import make_creature


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
