"""What limits a rig's joints: IK limits and locks of its pose bones, and Limit Rotation constraints in local space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..backend.rig import Rig

if TYPE_CHECKING:
    from ..backend.joint_limits import JointLimits

_Range = tuple[str, list[float], list[float]]


def read_limits(armature: bpy.types.Object, rig: Rig) -> tuple[JointLimits, dict[str, str]]:
    """The limits of the driven bones, IK limits first and constraints in their order, and why those of some bones are not obeyed, by name.

    The rig's carriers are those that the solver will use: limits are relative to the parent, so its parent has to carry a bone.
    """
    from ..backend.joint_limits import JointLimits

    found: list[tuple[int, _Range]] = []
    reasons: dict[str, str] = {}
    for bone, name in enumerate(rig.names):
        if not rig.driven[bone]:
            continue
        pose_bone = armature.pose.bones[name]
        ranges = [limit for limit in (_ik_range(pose_bone), *_constraint_ranges(pose_bone, reasons)) if limit is not None]
        if ranges and rig.carriers[bone] != rig.parents[bone]:
            reasons[name] = "it does not hang on its parent, which the limits are relative to"
            continue
        found += [(bone, limit) for limit in ranges]
    lower, upper = (np.array([limit[side] for _, limit in found], np.float64).reshape(-1, 3) for side in (1, 2))
    return JointLimits(np.array([bone for bone, _ in found], int), tuple(limit[0] for _, limit in found), lower, upper), reasons


def _ik_range(bone: bpy.types.PoseBone) -> _Range | None:
    """As Blender's IK solver takes them: a locked axis stays as at rest, a bone with all three locked as in the reference."""
    from ..backend.joint_limits import HELD, SWING

    locked = [getattr(bone, f"lock_ik_{axis}") for axis in "xyz"]
    limited = [getattr(bone, f"use_ik_limit_{axis}") for axis in "xyz"]
    if not any(locked) and not any(limited):
        return None
    lower = [0.0 if lock else getattr(bone, f"ik_min_{axis}") if limit else -np.inf for axis, lock, limit in zip("xyz", locked, limited, strict=True)]
    upper = [0.0 if lock else getattr(bone, f"ik_max_{axis}") if limit else np.inf for axis, lock, limit in zip("xyz", locked, limited, strict=True)]
    return (HELD if all(locked) else SWING), lower, upper


def _constraint_ranges(bone: bpy.types.PoseBone, reasons: dict[str, str]) -> list[_Range]:
    """Those that hold whatever the pose; why others are left out goes to the reasons."""
    from ..backend.joint_limits import ORDERS

    ranges = []
    for constraint in bone.constraints:
        if constraint.type != "LIMIT_ROTATION" or constraint.mute or constraint.influence == 0:
            continue
        used = [getattr(constraint, f"use_limit_{axis}") for axis in "xyz"]
        if not any(used):
            continue
        if why := _why_not(bone, constraint):
            reasons[bone.name] = why
            continue
        order = constraint.euler_order if constraint.euler_order != "AUTO" else bone.rotation_mode
        lower, upper = ([getattr(constraint, f"{end}_{axis}") if use else free for axis, use in zip("xyz", used, strict=True)]
                        for end, free in (("min", -np.inf), ("max", np.inf)))
        ranges.append((order if order in ORDERS else "XYZ", lower, upper))  # quaternions and axis-angles are clamped as XYZ
    return ranges


def _why_not(bone: bpy.types.PoseBone, constraint: bpy.types.Constraint) -> str:
    """Why a Limit Rotation does not say how a bone may stand against its parent; empty where it does."""
    if constraint.owner_space != "LOCAL":
        return f'its constraint "{constraint.name}" is not in local space'
    if constraint.influence < 1:
        return f'its constraint "{constraint.name}" has not its full influence'
    return "" if bone.bone.use_inherit_rotation else f'its constraint "{constraint.name}" is not relative to its parent, whose rotation it does not inherit'
