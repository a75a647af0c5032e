"""A motion from one armature of the scene onto another, the same for the button and the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bpy
import numpy as np
from mathutils import Vector

from ..backend.errors import CaptureError
from ..backend.kinematics import bone_rotations
from ..backend.motion import Motion
from .blender_versions import assigned_action
from .control_writer import read_rig_or_controls, write_controls
from .keyframe_writer import WriteResult, write_motion
from .reference_reader import read_pose
from .scene_camera import go_to, scene_fps, visiting_frames
from .scene_capture import armature_problem, scene_unchanged

if TYPE_CHECKING:
    from ..backend.retarget.links import Link
    from ..backend.retarget.transfer import Posed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetargetOptions:
    """What to carry over, and how.

    pair_frame: scene frame on which the two armatures' poses mean the same, None for the current one. links: none to propose them.
    frames: first and last scene frame, None for the driving action's. scale: of the travel, None for the ratio of the legs.
    limbs: FK or IK, by which limbs of a control rig play that can be switched.
    """

    pair_frame: float | None = None
    links: Sequence[Link] = ()
    frames: tuple[int, int] | None = None
    scale: float | None = None
    travel: bool = True
    contacts: bool = True
    limbs: str = "FK"


@dataclass(frozen=True, eq=False)
class Retargeted:
    """What was written, and what a picture of it needs. poses: (T, J, 4, 4) of the driving rig, in the frame of its pair pose."""

    written: WriteResult
    links: tuple[Link, ...]
    driving: Posed
    target: Posed
    motion: Motion
    poses: np.ndarray = field(repr=False)


def pair_problem(target: bpy.types.Object | None, driving: bpy.types.Object | None) -> str:
    """Why nothing can be carried from one to the other, empty if it can."""
    if problem := armature_problem(target):
        return problem
    if driving is None or driving.type != "ARMATURE":
        return "Choose the armature that drives"
    if driving == target:
        return "An armature cannot drive itself. Choose another one"
    return "" if driving.data.bones else f"'{driving.name}' has no bones"


def read_pair(scene: bpy.types.Scene, target: bpy.types.Object, driving: bpy.types.Object, frame: float | None) -> tuple[Posed, Posed]:
    """Both rigs as they stand on the pair's frame (driving, target); the scene is left as it was."""
    with _untouched(scene, target, driving):
        if frame is not None:
            go_to(scene, frame)
        return _posed(driving), _posed(target)


def proposed_links(scene: bpy.types.Scene, target: bpy.types.Object, driving: bpy.types.Object, frame: float | None) -> tuple[Link, ...]:
    """Which bones seem to mean the same. Raises CaptureError."""
    from ..backend.retarget.correspondence import propose

    if problem := pair_problem(target, driving):
        raise CaptureError(f"{problem}.")
    theirs, mine = read_pair(scene, target, driving, frame)
    return propose(mine.anatomy(), theirs.anatomy())


def retarget_action(scene: bpy.types.Scene, target: bpy.types.Object, driving: bpy.types.Object, options: RetargetOptions) -> Retargeted:
    """Key what the driving armature does on the target in a new action; the old one is stashed. Raises CaptureError."""
    from ..backend.retarget.correspondence import propose
    from ..backend.retarget.transfer import RetargetSettings, retarget

    if problem := pair_problem(target, driving):
        raise CaptureError(f"{problem}.")
    first, last = options.frames or _range(driving)
    theirs, mine = read_pair(scene, target, driving, options.pair_frame)
    _, controls = read_rig_or_controls(target)
    links = tuple(options.links) or propose(mine.anatomy(), theirs.anatomy())
    poses = _driving_poses(scene, target, driving, theirs, range(first, last + 1), options.pair_frame)
    motion = retarget(theirs, mine, links, _motion(poses, scene_fps(scene)), RetargetSettings(options.scale, options.travel, options.contacts))
    action, _ = assigned_action(driving)
    name = f"{action.name if action else driving.name} on {target.name}"
    fps = scene_fps(scene)
    if controls is not None:
        written, _ = write_controls(target, controls, motion, name=name, start_frame=first, scene_fps=fps, limbs=options.limbs)
    else:
        written = write_motion(target, mine.rig, motion, mine.pose, name=name, start_frame=first, scene_fps=fps)
    return Retargeted(written, links, theirs, mine, motion, poses)


def _posed(armature: bpy.types.Object) -> Posed:
    from ..backend.retarget.transfer import Posed

    rig, _ = read_rig_or_controls(armature)
    if not rig.driven.any():
        raise CaptureError(f"No bone of '{armature.name}' can be used: {rig.reasons[0]}. Bind a mesh to the armature, or choose another armature.")
    # as it stands at that time, which may move
    turn = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world.to_3x3().inverted_safe()
    up, front = (np.array((turn @ Vector(axis)).normalized()) for axis in ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)))
    return Posed(rig, read_pose(armature, rig), up, front)


def _range(driving: bpy.types.Object) -> tuple[int, int]:
    action, _ = assigned_action(driving)
    if action is None:
        raise CaptureError(f"'{driving.name}' has no action to carry over. Give it one, or choose the frames.")
    first, last = action.frame_range
    return int(np.floor(first)), int(np.ceil(last))


def _driving_poses(
    scene: bpy.types.Scene, target: bpy.types.Object, driving: bpy.types.Object, posed: Posed, frames: range, pair_frame: float | None
) -> np.ndarray:
    """(T, J, 4, 4) poses of the driving rig on each frame; where its object moves, as seen from where it stands on the pair's frame."""
    poses = np.empty((len(frames), len(posed.rig), 4, 4))
    with _untouched(scene, target, driving):
        go_to(scene, scene.frame_current + scene.frame_subframe if pair_frame is None else pair_frame)
        home = np.linalg.inv(_place(driving))
        for row, frame in enumerate(frames):
            scene.frame_set(frame)  # also where the scene is there already: what is not keyed is no part of the motion
            poses[row] = home @ _place(driving) @ read_pose(driving, posed.rig)
    return poses


def _place(armature: bpy.types.Object) -> np.ndarray:
    return np.array(armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world, np.float64)


def _motion(poses: np.ndarray, fps: float) -> Motion:
    frames, bones = poses.shape[:2]
    unknown = np.full((frames, bones, 2), np.nan, np.float32)
    return Motion(np.arange(frames) / fps, bone_rotations(poses), poses[..., :3, 3].copy(), np.zeros((frames, bones), np.float32), unknown)


@contextmanager
def _untouched(scene: bpy.types.Scene, *armatures: bpy.types.Object) -> Iterator[None]:
    """Frames may be visited inside; poses that are not keyed come back."""
    with ExitStack() as stack:
        stack.enter_context(visiting_frames(scene))
        for armature in armatures:
            stack.enter_context(scene_unchanged(scene, armature))
        yield
