"""The only file that asks which Blender this is (4.2 to 5.2).

Actions are flat up to 4.3; from 4.4 their curves lie in one channel bag per slot, and 5.0 removed the flat interface.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    import numpy as np

SLOTTED = bpy.app.version >= (4, 4, 0)
GROUP_IN_NEW = bpy.app.version >= (5, 0, 0)
EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0, 0) else "BLENDER_EEVEE_NEXT"
INTERPOLATION: dict[str, int] = {item.identifier: item.value for item in bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items}


def assigned_action(owner: bpy.types.ID) -> tuple[bpy.types.Action | None, Any]:
    """The data-block's active action and its slot; the slot is None where Blender has none."""
    data = owner.animation_data
    if data is None or data.action is None:
        return None, None
    return data.action, data.action_slot if SLOTTED else None


def assign_action(owner: bpy.types.ID, action: bpy.types.Action | None, slot: Any) -> None:
    """Make an action the active one with exactly this slot."""
    data = owner.animation_data or owner.animation_data_create()
    data.action = action
    # setting a slot that Blender already picked by name crashes 5.0 on an armature whose pose is not built yet
    if SLOTTED and action is not None and data.action_slot != slot:
        data.action_slot = slot


def new_action(owner: bpy.types.ID, name: str) -> tuple[bpy.types.Action, Any]:
    """A new empty action, not yet assigned, with a slot for the data-block where Blender has slots."""
    action = bpy.data.actions.new(name)
    if SLOTTED:
        return action, action.slots.new(id_type=owner.id_type, name=owner.name)
    action.id_root = owner.id_type
    return action, None


def copy_action(action: bpy.types.Action, slot: Any, name: str) -> tuple[bpy.types.Action, Any]:
    """A copy that keeps the one slot, and that slot in the copy."""
    copy = action.copy()
    copy.name = name
    copy.use_fake_user = False
    if copy.asset_data is not None:
        copy.asset_clear()
    if not SLOTTED:
        return copy, None
    kept = copy.slots[slot.identifier]
    for other in [s for s in copy.slots if s != kept]:
        copy.slots.remove(other)
    return copy, copy.slots[slot.identifier]


def channels(action: bpy.types.Action, slot: Any, ensure: bool = False) -> Any:
    """What holds the slot's `fcurves` and `groups`: the channel bag, or the action itself before 4.4; None where there is none."""
    if not SLOTTED:
        return action
    if slot is None:
        return None
    if ensure and not len(action.layers):
        action.layers.new("Layer")
    if not len(action.layers):
        return None
    strips = action.layers[0].strips
    if ensure and not len(strips):
        strips.new(type="KEYFRAME")
    return strips[0].channelbag(slot, ensure=ensure) if len(strips) else None


def bags_of(action: bpy.types.Action) -> Iterator[Any]:
    """What `channels` returns of each of an action's slots that has curves."""
    yield from (bag for slot in (action.slots if SLOTTED else [None]) if (bag := channels(action, slot)) is not None)


def new_fcurve(bag: Any, path: str, index: int, group: str) -> bpy.types.FCurve:
    """A new curve in what `channels` returned, in a group of that name."""
    if not SLOTTED:
        return bag.fcurves.new(path, index=index, action_group=group)
    if GROUP_IN_NEW:
        return bag.fcurves.new(path, index=index, group_name=group)
    curve = bag.fcurves.new(path, index=index)
    curve.group = bag.groups.get(group) or bag.groups.new(group)
    return curve


def write_keys(curve: bpy.types.FCurve, coordinates: np.ndarray, interpolation: np.ndarray) -> None:
    """Fill an empty curve: coordinates (2N,) float32 of frame and value in turn, frames increasing; interpolation (N,) int32."""
    points = curve.keyframe_points
    points.add(len(interpolation))
    points.foreach_set("co", coordinates)
    points.foreach_set("interpolation", interpolation)
    curve.update()  # handles are at zero until then


def stash_action(owner: bpy.types.ID) -> bpy.types.NlaTrack | None:
    """Put the active action, with its slot, on a muted and locked NLA track named after it, so that it no longer plays and is not lost."""
    action, slot = assigned_action(owner)
    if action is None:
        return None
    data = owner.animation_data
    track = data.nla_tracks.new()
    track.name = action.name
    start, end = action.frame_range
    strip = track.strips.new(action.name, math.floor(start), action)
    # strips.new takes a whole frame; where the action starts between frames the strip must too, or unmuting it shifts the keys
    strip.frame_start_raw, strip.frame_end_raw = start, max(end, start + 1.0)
    if SLOTTED and slot is not None and strip.action_slot != slot:
        strip.action_slot = slot
    track.lock = True
    track.mute = True
    data.action = None
    return track


def is_bone_selected(bone: bpy.types.PoseBone) -> bool:
    """Whether a bone is selected in pose mode."""
    return bool(getattr(bone if hasattr(bone, "select") else bone.bone, "select"))  # noqa: B009 (the attribute moved in 5.0)


def select_bone(bone: bpy.types.PoseBone, selected: bool = True) -> None:
    """Select or deselect a bone in pose mode."""
    (bone if hasattr(bone, "select") else bone.bone).select = selected
