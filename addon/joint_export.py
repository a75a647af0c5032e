"""The armature's motion as it plays, as BVH of any rate and channel order, or as 3D tracks of joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ..backend.bvh import BvhOptions, write_bvh
from ..backend.rig import Rig
from .reference_reader import read_pose
from .rig_reader import read_rig
from .scene_camera import scene_fps, visiting_frames

SUFFIXES = (".bvh", ".npz", ".csv")


def poses_at(scene: bpy.types.Scene, armature: bpy.types.Object, rig: Rig, frames: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(T, J, 4, 4) bone to armature and (T, 4, 4) armature to world on scene frames, as Blender evaluates them."""
    poses, worlds = np.empty((len(frames), len(rig), 4, 4)), np.empty((len(frames), 4, 4))
    with visiting_frames(scene):
        for row, frame in enumerate(frames):
            # always anew: on the current frame Blender would still show the pose from before the keys
            whole = int(np.floor(frame + 1e-5))
            scene.frame_set(whole, subframe=max(float(frame) - whole, 0.0))
            poses[row] = read_pose(armature, rig)
            worlds[row] = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world
    return poses, worlds


def export_joints(path: Path, armature: bpy.types.Object, frames: tuple[float, float], start_frame: float, fps: float | None, order: str) -> None:
    """Write the scene's frames from first to last, by the suffix.

    fps: frames a second, None for the scene's. order: of a BVH's rotation channels. Tracks are those of all driven bones' heads and ends in
    the world, their times seconds since start_frame.
    """
    scene, rig = bpy.context.scene, read_rig(armature)
    own = scene_fps(scene)
    rate = fps or own
    count = int(np.floor((frames[1] - frames[0]) / own * rate + 1e-6)) + 1
    visited = frames[0] + np.arange(count) * own / rate
    poses, worlds = poses_at(scene, armature, rig, visited.tolist())
    if path.suffix == ".bvh":
        # the object's own way, if it is animated, goes into the roots
        write_bvh(path, rig, np.linalg.inv(worlds[0]) @ worlds[:, None] @ poses, BvhOptions(rate, order), worlds[0])
        return
    from ..backend.joint_tracks import END, JointTracks, write_tracks

    driven = np.flatnonzero(rig.driven)
    ends = np.linalg.inv(rig.rest[driven]) @ np.concatenate([rig.ends[driven], np.ones((len(driven), 1))], 1)[..., None]
    points = np.concatenate([poses[:, driven][..., :3, 3], (poses[:, driven] @ ends)[..., :3, 0]], 1)
    points = points @ np.swapaxes(worlds[:, :3, :3], -1, -2) + worlds[:, None, :3, 3]
    names = (*(rig.names[bone] for bone in driven), *(rig.names[bone] + END for bone in driven))
    write_tracks(path, JointTracks((visited - start_frame) / own, names, points))
