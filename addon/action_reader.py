"""What a rig does in the file's other actions, read from their curves: no action is assigned, and nothing is evaluated."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

from ..backend.kinematics import bone_rotations, forward
from ..backend.moves import FRAME, Moves
from ..backend.rig import Rig
from .blender_versions import assigned_action, bags_of
from .rotation_modes import channel_of, matrices

log = logging.getLogger(__name__)

CAPTURED = "mocap_anything"  # property of actions that captures and `solve` wrote, from which nothing is to be learned
_FEWEST_KEYS = 4  # fewer are poses and no motion
LEAST_BONES = 0.25  # of those that are driven: actions that key fewer are of a part, such as the face
OWN_BONES = 0.9  # of the bones that an action keys: else it is another rig's
_MOST_TIMES = 32  # that are looked at, an action
_MOST_ACTIONS = 100
_REST = {"rotation_quaternion": (1.0, 0.0, 0.0, 0.0), "rotation_axis_angle": (0.0, 0.0, 1.0, 0.0), "rotation_euler": (0.0, 0.0, 0.0)}

Curves = dict[int, dict[int, bpy.types.FCurve]]  # by bone and index


def read_moves(armature: bpy.types.Object, rig: Rig, fps: float) -> tuple[Moves, ...]:
    """Motions of the rig in all other actions that key enough of its bones.

    fps: the scene's. Bones that constraints or controls turn are not told by their own curves (see action_player.py).
    """
    paths = {f'pose.bones["{bpy.utils.escape_identifier(name)}"].{channel_of(armature.pose.bones[name].rotation_mode)}': bone
             for bone, name in enumerate(rig.names)}  # fmt: skip
    found: list[Moves] = []
    for action in other_actions(armature):
        curves = max((_curves(bag, paths) for bag in bags_of(action)), key=len, default={})
        turned = sum(bool(rig.driven[bone]) for bone in curves)
        if turned and turned >= LEAST_BONES * rig.driven.sum() and (moves := _moves(action.name, curves, armature, rig, fps)):
            found.append(moves)
        if len(found) == _MOST_ACTIONS:
            break
    log.info("learned from %d actions how %s moves", len(found), armature.name)
    return tuple(found)


def other_actions(armature: bpy.types.Object) -> Iterator[bpy.types.Action]:
    """All actions of the file but the active one, which holds the references, and former captures, by name."""
    active, _ = assigned_action(armature)
    yield from (action for action in sorted(bpy.data.actions, key=lambda action: str(action.name)) if action != active and CAPTURED not in action)


def _curves(bag: Any, paths: dict[str, int]) -> Curves:
    """The rotation curves of the rig's bones; none where the bones are another rig's."""
    curves: Curves = {}
    named, strange = set(), set()
    for curve in bag.fcurves:
        if curve.data_path.startswith("pose.bones["):
            bone, _, channel = curve.data_path.rpartition(".")
            named.add(bone)
            if curve.data_path in paths:
                curves.setdefault(paths[curve.data_path], {})[curve.array_index] = curve
            elif channel in _REST:
                strange.add(bone)
    return curves if len(strange) <= (1 - OWN_BONES) * len(named) else {}


def times_of(curves: Sequence[bpy.types.FCurve], fps: float, most: int) -> np.ndarray | None:
    """(N,) frames spread over curves, each with a `FRAME` after it; None where there are too few keys for a motion."""
    step = FRAME * fps
    first, last = min(curve.range()[0] for curve in curves), max(curve.range()[1] for curve in curves)
    if max(len(curve.keyframe_points) for curve in curves) < _FEWEST_KEYS or last - first < _FEWEST_KEYS * step:
        return None
    return np.linspace(first, last - step, int(np.clip((last - first) / step, _FEWEST_KEYS, most)))


def _moves(name: str, curves: Curves, armature: bpy.types.Object, rig: Rig, fps: float) -> Moves | None:
    """What the curves do at times that are spread over them; None where there are too few keys for a motion."""
    frames = times_of([curve for own in curves.values() for curve in own.values()], fps, _MOST_TIMES)
    if frames is None:
        return None
    before, after = (_rotations(curves, armature, rig, frames + late) for late in (0.0, FRAME * fps))
    keyed = np.zeros(len(rig), bool)
    keyed[list(curves)] = True
    return Moves(name, before, after, keyed)


def _rotations(curves: Curves, armature: bpy.types.Object, rig: Rig, frames: np.ndarray) -> np.ndarray:
    """(N, J, 3, 3) orientations, armature frame, at frames (N,); bones without curves as at rest."""
    basis = np.broadcast_to(np.eye(4), (len(frames), len(rig), 4, 4)).copy()
    for bone, own in curves.items():
        mode = armature.pose.bones[rig.names[bone]].rotation_mode
        values = np.tile(_REST[channel_of(mode)], (len(frames), 1))
        for index, curve in own.items():
            values[:, index] = [curve.evaluate(float(frame)) for frame in frames]
        basis[:, bone, :3, :3] = _matrices(values, mode)
    return bone_rotations(forward(rig, basis)).astype(np.float32)


def _matrices(values: np.ndarray, mode: str) -> np.ndarray:
    """(N, 3, 3) of a rotation channel's values, as Blender reads them."""
    if mode == "QUATERNION":
        length = np.linalg.norm(values, axis=1, keepdims=True)
        return matrices(np.where(length > 0, values / np.where(length > 0, length, 1), _REST["rotation_quaternion"]))
    if mode == "AXIS_ANGLE":
        return np.array([Matrix.Rotation(angle, 3, Vector(axis)) if any(axis) else np.eye(3) for angle, *axis in values])
    return np.array([Euler(value, mode).to_matrix() for value in values])
