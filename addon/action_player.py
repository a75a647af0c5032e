"""What a control rig does in the file's other actions: its controls are put as the curves say, and Blender poses the deform bones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from ..backend.kinematics import bone_rotations
from ..backend.moves import FRAME, Moves
from ..backend.rig import Rig
from .action_reader import LEAST_BONES, OWN_BONES, other_actions, times_of
from .blender_versions import bags_of
from .control_probe import POSE_CHANNELS, SWITCHES, posing
from .reference_reader import read_pose

log = logging.getLogger(__name__)

_FEWEST_CONTROLS = 3
_MOST_TIMES = 12  # each costs two evaluations of the rig
_MOST_ACTIONS = 16
_STILL = 1e-3  # radians, nearly: a bone that turns less does not move

Curves = dict[tuple[str, str], list[bpy.types.FCurve]]  # by control and property


def played_moves(armature: bpy.types.Object, rig: Rig, fps: float) -> tuple[Moves, ...]:
    """As `read_moves`, of the deform bones of a rig with controls; the armature comes back as it was. Of many actions some are played, spread over all."""
    paths = {f'pose.bones["{bpy.utils.escape_identifier(bone.name)}"]': bone for bone in armature.pose.bones}
    told = [(action.name, max((_curves(bag, paths) for bag in bags_of(action)), key=len, default={})) for action in other_actions(armature)]
    told = [(name, curves) for name, curves in told if curves]
    chosen = [told[row] for row in np.linspace(0, len(told) - 1, min(len(told), _MOST_ACTIONS)).round().astype(int)]
    found = []
    with posing(armature):
        stood = {bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones}
        for name, curves in chosen:
            for bone in armature.pose.bones:
                bone.matrix_basis = stood[bone.name]
            if (moves := _moves(name, curves, armature, rig, fps)) is not None:
                found.append(moves)
    log.info("learned from %d actions how %s moves", len(found), armature.name)
    return tuple(found)


def _curves(bag: Any, paths: dict[str, bpy.types.PoseBone]) -> Curves:
    """The curves of the rig's own bones; none where the bones are another rig's, or hardly any."""
    curves: Curves = {}
    named: set[str] = set()
    for curve in bag.fcurves:
        if curve.data_path.startswith("pose.bones["):
            path, _, channel = curve.data_path.partition('"]')
            path, channel = f'{path}"]', channel.removeprefix(".")
            named.add(path)
            switch = channel.removeprefix('["').removesuffix('"]')
            if path in paths and (channel in POSE_CHANNELS or (switch in SWITCHES and switch in paths[path])):
                curves.setdefault((paths[path].name, switch), []).append(curve)
    own = {name for name, _ in curves}
    return curves if len(own) >= _FEWEST_CONTROLS and len(own) >= OWN_BONES * len(named) else {}


def _moves(name: str, curves: Curves, armature: bpy.types.Object, rig: Rig, fps: float) -> Moves | None:
    every = [curve for own in curves.values() for curve in own]
    frames = times_of(every, fps, _MOST_TIMES)
    if frames is None:
        return None
    before, after = (np.stack(list(_rotations(curves, armature, rig, frames + late))) for late in (0.0, FRAME * fps))
    turned = np.abs(before - before[:1]).max((0, 2, 3)) > _STILL
    if turned[rig.driven].sum() < LEAST_BONES * rig.driven.sum():
        return None
    return Moves(name, before, after, rig.driven.copy())


def _rotations(curves: Curves, armature: bpy.types.Object, rig: Rig, frames: np.ndarray) -> Iterator[np.ndarray]:
    """(J, 3, 3) orientations of the deform bones, armature frame, with the controls as at each of the frames."""
    for frame in frames:
        for (name, channel), own in curves.items():
            bone = armature.pose.bones[name]
            if channel in SWITCHES:
                bone[channel] = own[0].evaluate(float(frame))
                continue
            values = list(getattr(bone, channel))
            for curve in own:
                values[curve.array_index] = curve.evaluate(float(frame))
            setattr(bone, channel, values)
        armature.update_tag()
        bpy.context.view_layer.update()
        yield bone_rotations(read_pose(armature, rig)).astype(np.float32)
