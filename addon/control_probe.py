"""Turning a rig's controls a little to see what follows, and leaving everything as it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.rig import Rig
from .blender_versions import assign_action, assigned_action

_PROBE = 0.1  # radians by which a control is turned to see what follows
_PROBE_AXES = ((0.48, 0.6, 0.64), (-0.64, 0.48, 0.6))
_RIGID = 0.05  # share of the probe that a bone may differ from it and still count as turned by it
SWING = 0.9  # a bone that takes a control's direction but not its twist
TWIST = 0.7  # a bone that takes a control's twist about the bone's own length
_STILL = 0.02  # share of the probe below which a bone does not follow
POSE_CHANNELS = ("location", "rotation_quaternion", "rotation_axis_angle", "rotation_euler", "scale")
# what Rigify and others call the property that chooses between IK and FK
FK, IK = 1.0, 0.0
SWITCHES = ("IK_FK",)


@contextmanager
def posing(armature: bpy.types.Object) -> Iterator[None]:
    """Poses may be set inside, and nothing plays over them; action, pose and properties of bones come back."""
    action, slot = assigned_action(armature)
    data = armature.animation_data
    tracks = [(track, track.mute) for track in data.nla_tracks] if data is not None else []
    poses = {bone.name: {channel: tuple(getattr(bone, channel)) for channel in POSE_CHANNELS} for bone in armature.pose.bones}
    influences = [(constraint, constraint.influence) for bone in armature.pose.bones for constraint in bone.constraints]
    properties = {(bone.name, key): bone[key] for bone in armature.pose.bones for key in SWITCHES if key in bone}
    try:
        if action is not None:
            assign_action(armature, None, None)
        for track, _ in tracks:
            track.mute = True
        yield
    finally:
        for name, channels in poses.items():
            for channel, value in channels.items():
                if tuple(getattr(armature.pose.bones[name], channel)) != value:
                    setattr(armature.pose.bones[name], channel, value)
        for (name, key), value in properties.items():
            armature.pose.bones[name][key] = value
        for constraint, influence in influences:
            if constraint.influence != influence:
                constraint.influence = influence
        for track, mute in tracks:
            track.mute = mute
        if action is not None:
            assign_action(armature, action, slot)
        armature.update_tag()
        bpy.context.view_layer.update()


def evaluated_bones(armature: bpy.types.Object) -> bpy.types.bpy_prop_collection:
    """Pose bones as constraints and drivers have them now."""
    bpy.context.view_layer.update()
    return armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones


def switches_of(armature: bpy.types.Object) -> tuple[tuple[str, str], ...]:
    """(bone, property) of all that choose between IK and FK."""
    return tuple((bone.name, key) for bone in armature.pose.bones for key in SWITCHES if key in bone)


def set_switches(armature: bpy.types.Object, switches: Mapping[tuple[str, str], float]) -> None:
    """Choose between IK and FK for each (bone, property)."""
    for (bone, key), value in switches.items():
        armature.pose.bones[bone][key] = value
    armature.update_tag()


def is_control(bone: bpy.types.PoseBone, deform: bool) -> bool:
    """Whether an animator may turn it: nothing else does, it is not locked, and it is shown or has a shape."""
    if any(not c.mute and c.influence > 0 and c.type in _TURNING and not _adds(c) for c in bone.constraints) or all(bone.lock_rotation):
        return False
    shown = not bone.bone.collections or any(collection.is_visible for collection in bone.bone.collections)
    return bone.custom_shape is not None or deform or (shown and not bone.name.startswith(("MCH-", "ORG-", "DEF-")))


def _adds(constraint: bpy.types.Constraint) -> bool:
    """Whether it turns the bone on top of its own turn, as one tail control does the next."""
    return constraint.type == "COPY_ROTATION" and constraint.mix_mode != "REPLACE"


_TURNING = frozenset({
    "COPY_ROTATION", "COPY_TRANSFORMS", "CHILD_OF", "ARMATURE", "DAMPED_TRACK", "TRACK_TO", "LOCKED_TRACK", "STRETCH_TO", "TRANSFORM", "ACTION",
    "FOLLOW_PATH", "PIVOT", "TRANSFORM_CACHE", "IK", "SPLINE_IK",
})  # fmt: skip


def probe(armature: bpy.types.Object, deform: tuple[str, ...], among: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """(J,) for each control: 1 for a deform bone that turns with it, 0.9 for one that does so in direction, 0.7 for one that does so about its
    length alone, 0.5 for one that follows otherwise, else 0. among: the controls to ask, all without it.

    Limbs with several segments spread a twist along them, so what a bone does about its own length is not asked for.
    """
    own = set(deform)

    def orientations() -> list[Quaternion]:
        bones = evaluated_bones(armature)
        return [bones[name].matrix.to_quaternion() for name in deform]

    before = orientations()
    along = np.array([turn @ Vector((0, 1, 0)) for turn in before])
    place = {bone.name: bone.matrix.to_quaternion() for bone in evaluated_bones(armature)}
    follows: dict[str, np.ndarray] = {}
    for bone in armature.pose.bones:
        if bone.name not in among if among is not None else not is_control(bone, bone.name in own):
            continue
        basis, moved = bone.matrix_basis.copy(), np.zeros(len(deform), bool)
        whole, turned, rolled = np.ones((3, len(deform)), bool)
        for axis in _PROBE_AXES:
            turn = Quaternion(axis, _PROBE)
            bone.matrix_basis = basis @ turn.to_matrix().to_4x4()
            change = [now @ then.inverted() for now, then in zip(orientations(), before, strict=True)]
            wanted = place[bone.name] @ turn @ place[bone.name].inverted()
            asked, done = _vector(wanted) / _PROBE, np.array([_vector(step) for step in change]) / _PROBE
            apart = done - asked
            whole &= np.linalg.norm(apart, axis=1) < _RIGID
            turned &= np.linalg.norm(apart - (apart * along).sum(1, keepdims=True) * along, axis=1) < _RIGID
            rolled &= np.linalg.norm(done - (along @ asked)[:, None] * along, axis=1) < _RIGID
            moved |= np.linalg.norm(done, axis=1) > _STILL
        bone.matrix_basis = basis
        follows[bone.name] = np.select([whole, turned, rolled & moved, moved], [1.0, SWING, TWIST, 0.5])
    evaluated_bones(armature)
    return follows


def _vector(turn: Quaternion) -> np.ndarray:
    """(3,) axis times angle."""
    # of a turn's two quaternions the one for less than half a turn
    return np.array((turn if turn.w >= 0 else -turn).to_exponential_map())


def rigid(matrix: Matrix) -> Matrix:
    """A pose without its scale."""
    return Matrix.Translation(matrix.to_translation()) @ matrix.to_quaternion().to_matrix().to_4x4()


def way_up(rig: Rig, row: int) -> Iterator[int]:
    """A row, what carries it, and so on to the body."""
    while row >= 0:
        yield row
        row = int(rig.carriers[row])
