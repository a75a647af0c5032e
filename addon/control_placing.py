"""Putting a control where it is wanted, and seeing how far deform bones are from there."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.rig import Rig
from .control_probe import evaluated_bones

Place = tuple[Vector, Quaternion, Vector]
"""Location, rotation and scale of a control."""


def place_of(basis: Matrix) -> Place:
    """Where a control's keys would have it."""
    place, turn, size = basis.decompose()
    return place, turn, size


def place_control(armature: bpy.types.Object, name: str, wanted: Matrix, bones: bpy.types.bpy_prop_collection, *, location: bool) -> None:
    """Put a bone where it is wanted, given where its keys and what it hangs from have it now."""
    bone = armature.pose.bones[name]
    above, before = bone.parent, bone.matrix_basis
    # knows of bones whose location is not along their own axes
    parents = {"parent_matrix": bones[above.name].matrix, "parent_matrix_local": above.bone.matrix_local} if above is not None else {}
    place = bone.bone.convert_local_to_pose(wanted, bone.bone.matrix_local, invert=True, **parents).to_translation()
    # a turn on top of the present one: a constraint may add to it
    turn = before.to_quaternion() @ bones[name].matrix.to_quaternion().inverted() @ wanted.to_quaternion()
    set_control(armature, name, Matrix.Translation(place) @ turn.to_matrix().to_4x4(), location=location)


def set_control(armature: bpy.types.Object, name: str, basis: Matrix, *, location: bool) -> None:
    """Set a control's rotation, and its location if asked for."""
    bone = armature.pose.bones[name]
    before = bone.matrix_basis
    place = basis.to_translation() if location else before.to_translation()
    bone.matrix_basis = Matrix.LocRotScale(place, basis.to_quaternion(), before.to_scale())


def how_far_off(armature: bpy.types.Object, rig: Rig, wanted: Sequence[Matrix]) -> np.ndarray:
    """(2, J) degrees and shares of the size by which each deform bone stands elsewhere than wanted."""
    bones = evaluated_bones(armature)
    stand = [bones[name].matrix for name in rig.names]
    # of a small angle the cosine knows nothing in single precision
    angles = np.array([a.to_quaternion().rotation_difference(b.to_quaternion()).to_exponential_map().length for a, b in zip(stand, wanted, strict=True)])
    apart = np.array([(a.to_translation() - b.to_translation()).length for a, b in zip(stand, wanted, strict=True)])
    return np.stack([np.degrees(np.minimum(angles, 2 * np.pi - angles)), apart / rig.size])


def twist_about(turn: Quaternion, axis: Vector) -> float:
    """Radians of a turn about an axis, -pi to pi."""
    angle = 2 * np.arctan2(Vector((turn.x, turn.y, turn.z)).dot(axis), turn.w)
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
