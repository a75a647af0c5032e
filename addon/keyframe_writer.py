"""A captured motion becomes keys: one new action on the armature, the old one stashed, no operator called."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..backend.errors import CaptureError
from ..backend.kinematics import basis_from_pose
from ..backend.motion import Motion
from ..backend.rig import Rig
from . import blender_versions
from .bone_tracks import Basis, BoneTracks, bone_tracks, take_apart
from .rotation_modes import channel_of, channel_values

log = logging.getLogger(__name__)

# a bone that turns or moves less than this over the whole clip does not move (radians; share of the rig's size)
_TURN_RANGE = np.radians(0.005)
_TRAVEL_RANGE = 1e-5
# closer than this to rest, or to what a property already holds, is the same (single precision with room)
_SAME = 1e-5
_UNTURNED = np.array([1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class WriteResult:
    """action: the new one. bones: names of bones with keys. keys: how many key points there are on all curves."""

    action: bpy.types.Action
    bones: tuple[str, ...]
    keys: int


@dataclass(frozen=True, eq=False)
class Channel:
    """Values (K, n) of one property of a bone: K is the number of frames, or 1 where the value is constant."""

    bone: bpy.types.PoseBone
    name: str
    values: np.ndarray


def write_motion(
    armature: bpy.types.Object, rig: Rig, motion: Motion, reference_pose: np.ndarray, *, name: str, start_frame: float, scene_fps: float
) -> WriteResult:
    """Key a motion on the armature in a new action and stash the old one; on any failure the armature is as it was.

    reference_pose: (J, 4, 4) the first reference's pose, whose scales and constant locations are kept. Keys stand at
    start_frame + time * scene_fps. Raises CaptureError where the armature cannot be written to.
    """
    bones = _bones_to_write(armature, rig)
    present = np.array([bone.matrix_basis for bone in bones], np.float64)
    reference_pose = np.asarray(reference_pose, np.float64)
    tracks = bone_tracks(rig, motion, reference_pose, _static_basis(rig, bones, present, reference_pose))
    found = list(_channels(armature, rig, bones, tracks, take_apart(present)))
    return write_channels(armature, name, found, start_frame + motion.times * scene_fps)


def write_channels(armature: bpy.types.Object, name: str, found: Sequence[Channel], frames: np.ndarray) -> WriteResult:
    """Key channels on frames (K,) in a new action and stash the old one; on any failure the armature is as it was."""
    expect_writable(armature)
    action, slot = _new_action(armature, name)
    try:
        keys = _fill(blender_versions.channels(action, slot, ensure=True), found, frames)
        _exchange(armature, action, slot)
    except BaseException:
        bpy.data.actions.remove(action)
        raise
    written = tuple(dict.fromkeys(channel.bone.name for channel in found))
    log.info("%d keys on %d bones written to the action '%s'", keys, len(written), action.name)
    return WriteResult(action, written, keys)


def expect_writable(armature: bpy.types.Object) -> None:
    """Raise CaptureError where the armature cannot be keyed."""
    if armature.library is not None:
        raise CaptureError(
            f"'{armature.name}' is linked from another file and cannot be keyed here. "
            "Choose Object > Library Override > Make, and capture onto the override."
        )
    if armature.animation_data is not None and armature.animation_data.use_tweak_mode:
        raise CaptureError(
            f"An action of '{armature.name}' is being tweaked in the Nonlinear Animation editor. Leave tweak mode (Tab there), then capture again."
        )


def _bones_to_write(armature: bpy.types.Object, rig: Rig) -> list[bpy.types.PoseBone]:
    expect_writable(armature)
    missing = [bone for bone in rig.names if bone not in armature.pose.bones]
    if missing:
        raise CaptureError(f"The bone '{missing[0]}' of '{armature.name}' is gone since the capture began. Capture again.")
    return [armature.pose.bones[bone] for bone in rig.names]


def _static_basis(rig: Rig, bones: list[bpy.types.PoseBone], present: np.ndarray, reference_pose: np.ndarray) -> np.ndarray:
    """(J, 4, 4) basis of bones that are not keyed: their own properties, or the pose that constraints gave them in the reference."""
    constrained = np.array([any(not constraint.mute for constraint in bone.constraints) for bone in bones])
    return np.where(constrained[:, None, None], basis_from_pose(rig, reference_pose), present)


def _channels(
    armature: bpy.types.Object, rig: Rig, bones: list[bpy.types.PoseBone], tracks: BoneTracks, present: Basis
) -> Iterator[Channel]:
    """What is keyed: driven bones that move, and constants that would else be lost with the old action."""
    data = armature.animation_data
    layered = data is not None and any(not track.mute and len(track.strips) for track in data.nla_tracks)
    reference, still = tracks.reference, _still_rotations(tracks)
    travel = np.ptp(tracks.location, axis=0).max(-1) > _TRAVEL_RANGE * rig.size
    for index in np.flatnonzero(rig.driven):
        bone = bones[index]
        rotation = tracks.rotation[:, index] if still[index] is None else still[index][None]
        if len(rotation) > 1 or layered or not _same_rotation(rotation[0], present.rotation[index]) or not _same_rotation(rotation[0], _UNTURNED):
            yield Channel(bone, channel_of(bone.rotation_mode), channel_values(rotation, bone.rotation_mode))
        if not bone.bone.use_connect:
            location = tracks.location[:, index] if travel[index] else tracks.location[:1, index]
            if len(location) > 1 or layered or _differs(location[0], present.location[index], 0.0, rig.size):
                yield Channel(bone, "location", location)
        scale = reference.scale[index]
        if layered or _differs(scale, present.scale[index], 1.0, 1.0):
            yield Channel(bone, "scale", scale[None])


def _differs(value: np.ndarray, present: np.ndarray, rest: float, unit: float) -> bool:
    return bool(max(np.abs(value - present).max(), np.abs(value - rest).max()) > _SAME * unit)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Radians between rotations given as quaternions (..., 4)."""
    return 2 * np.arccos(np.clip(np.abs((a * b).sum(-1)), 0, 1))


def _same_rotation(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(_angles(a, b) < _SAME)


def _still_rotations(tracks: BoneTracks) -> list[np.ndarray | None]:
    """For each bone the rotation (4,) it holds all the time, the reference's if that is near enough, or None if it turns."""
    middle = tracks.rotation[len(tracks.rotation) // 2]
    turns = _angles(tracks.rotation, middle).max(0) > _TURN_RANGE / 2
    near = _angles(tracks.rotation, tracks.reference.rotation).max(0) <= _TURN_RANGE
    return [None if moves else (tracks.reference.rotation[j] if near[j] else middle[j]) for j, moves in enumerate(turns)]


def _new_action(armature: bpy.types.Object, name: str) -> tuple[bpy.types.Action, Any]:
    """An action for the keys. Where the old one also animates the object itself, that part is taken over: the rig still walks its path."""
    old, old_slot = blender_versions.assigned_action(armature)
    bag = blender_versions.channels(old, old_slot) if old is not None else None
    if bag is None or all(_is_of_bone(curve) for curve in bag.fcurves):
        return blender_versions.new_action(armature, name)
    action, slot = blender_versions.copy_action(old, old_slot, name)
    bag = blender_versions.channels(action, slot)
    for curve in [c for c in bag.fcurves if _is_of_bone(c)]:
        bag.fcurves.remove(curve)
    for group in [g for g in bag.groups if not len(g.channels)]:
        bag.groups.remove(group)
    return action, slot


def _is_of_bone(curve: bpy.types.FCurve) -> bool:
    return str(curve.data_path).startswith("pose.bones[")


def _fill(bag: Any, found: Sequence[Channel], frames: np.ndarray) -> int:
    """Write all curves and return the number of keys. Linear, since there is a key for every frame of the clip."""
    coordinates = np.empty((len(frames), 2), np.float32)
    coordinates[:, 0] = frames
    linear = np.full(len(frames), blender_versions.INTERPOLATION["LINEAR"], np.int32)
    keys = 0
    for channel in found:
        count, components = channel.values.shape
        # a custom property is `["name"]`, one of a constraint's `constraints["name"].property`
        path = f"{channel.bone.path_from_id()}{'' if channel.name.startswith('[') else '.'}{channel.name}"
        for component in range(components):
            coordinates[:count, 1] = channel.values[:, component]
            curve = blender_versions.new_fcurve(bag, path, component, channel.bone.name)
            curve.color_mode = "AUTO_YRGB" if components == 4 else "AUTO_RGB"
            blender_versions.write_keys(curve, coordinates[:count].ravel(), linear[:count])
        keys += count * components
    return keys


def _exchange(armature: bpy.types.Object, action: bpy.types.Action, slot: Any) -> None:
    """Stash the old action and assign the new one, or leave everything as it was."""
    fresh = armature.animation_data is None
    data = armature.animation_data or armature.animation_data_create()
    old, old_slot = blender_versions.assigned_action(armature)
    blending = (data.action_blend_type, data.action_influence, data.action_extrapolation)
    before = len(data.nla_tracks)
    try:
        blender_versions.stash_action(armature)
        blender_versions.assign_action(armature, action, slot)
        data.action_blend_type, data.action_influence, data.action_extrapolation = "REPLACE", 1.0, "HOLD"
    except BaseException:
        for track in list(data.nla_tracks)[before:]:
            data.nla_tracks.remove(track)
        blender_versions.assign_action(armature, old, old_slot)
        data.action_blend_type, data.action_influence, data.action_extrapolation = blending
        if fresh:
            armature.animation_data_clear()
        raise
