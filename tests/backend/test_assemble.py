"""With the truth in the network's place the pipeline's geometry gives the truth back: what is wrong in a capture is the network's."""

import numpy as np
from mocap_anything.backend.assemble import assemble
from mocap_anything.backend.settings import CaptureSettings

UP = np.array([0.0, 0.0, 1.0])


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
