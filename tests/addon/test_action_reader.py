"""What a rig's other actions tell: as Blender plays them, in every rotation mode, and nothing of actions that are not motions of this rig."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

TURNS = ((1, 0.0), (5, 0.5), (9, -0.3), (14, 0.8), (20, 0.1))


def key(rig: bpy.types.Object, name: str, turns: tuple[tuple[int, float], ...] = TURNS) -> bpy.types.Action:
    """An action that bends the bones, left without a user beyond its fake one."""
    from mocap_anything.addon.blender_versions import assign_action, new_action
    from mocap_anything.addon.rotation_modes import channel_of

    action, slot = new_action(rig, name)
    assign_action(rig, action, slot)
    action.use_fake_user = True
    for index, bone in enumerate(rig.pose.bones):
        path = channel_of(bone.rotation_mode)
        for frame, angle in turns:
            values = {"rotation_quaternion": (1.0, angle, 0.2 * index, 0.0), "rotation_axis_angle": (angle, 0.3, 0.0, 0.5)}
            setattr(bone, path, values.get(path, (angle, 0.3 * index, -angle)))
            bone.keyframe_insert(path, frame=frame)
    return action


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "ZYX", "AXIS_ANGLE"])
def test_moves_are_what_blender_plays(rig: bpy.types.Object, mode: str, as_played: Callable[..., None]) -> None:
    from mocap_anything.addon.action_reader import read_moves
    from mocap_anything.addon.blender_versions import assign_action
    from mocap_anything.addon.rig_reader import read_rig

    for bone in rig.pose.bones:
        bone.rotation_mode = mode
    action = key(rig, "Walk")
    slot = getattr(rig.animation_data, "action_slot", None)
    read = read_rig(rig)
    assert read_moves(rig, read, 24.0) == ()  # the active one holds the references
    assign_action(rig, None, None)
    (moves,) = read_moves(rig, read, 24.0)
    assert moves.name == "Walk"
    assert moves.keyed.tolist() == read.driven.tolist()
    assign_action(rig, action, slot)
    as_played(rig, read, moves)


def test_what_is_no_motion_of_the_rig_is_left_out(rig: bpy.types.Object) -> None:
    from mocap_anything.addon.action_reader import CAPTURED, read_moves
    from mocap_anything.addon.blender_versions import assign_action
    from mocap_anything.addon.rig_reader import read_rig

    key(rig, "Run")
    key(rig, "Pose", TURNS[:1])
    key(rig, "References", ((1, 0.0), (40, 0.5)))
    key(rig, "Captured before")[CAPTURED] = "1.0.0"
    other = rig.copy()
    other.data = rig.data.copy()
    bpy.context.scene.collection.objects.link(other)
    for bone in other.data.bones:
        bone.name = f"other {bone.name}"
    other.animation_data_clear()
    key(other, "Somebody else's")
    assign_action(rig, None, None)
    before = {action.name for action in bpy.data.actions}
    assert [moves.name for moves in read_moves(rig, read_rig(rig), 24.0)] == ["Run"]
    assert rig.animation_data.action is None
    assert {action.name for action in bpy.data.actions} == before


def test_captures_say_what_they_learned_from(posed_rig: bpy.types.Object, clip_file: Path, tmp_path: Path) -> None:
    from mocap_anything.addon.blender_versions import assign_action, assigned_action
    from mocap_anything.addon.command_line import main

    kept = assigned_action(posed_rig)
    key(posed_rig, "Walk")
    assign_action(posed_rig, *kept)
    scene, out, report = (tmp_path / name for name in ("scene.blend", "out.blend", "report.json"))
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    told = {}
    for options in ((), ("--no-own-actions",), ("--library", "none")):
        assert main(["capture", str(scene), "--video", str(clip_file), "--output", str(out), "--report", str(report), *options]) == 0
        said = json.loads(report.read_text())["capture"]
        told[options] = said["own_actions"], bool(said["moves_like"])
    assert told == {(): (["Walk"], True), ("--no-own-actions",): ([], True), ("--library", "none"): (["Walk"], False)}
    # what was captured is not learned from
    bpy.ops.wm.open_mainfile(filepath=str(out))
    captured = bpy.data.objects["Worm"]
    assign_action(captured, None, None)
    from mocap_anything.addon.action_reader import read_moves
    from mocap_anything.addon.rig_reader import read_rig

    assert [moves.name for moves in read_moves(captured, read_rig(captured), 24.0)] == ["Walk"]
