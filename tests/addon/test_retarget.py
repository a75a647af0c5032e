"""Retargeting in a scene: the button, its list and presets, the command line, and artists' rigs of one template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "rigs"
SPECIES = {"q_dino_parasaurolophus": "Parasaurolophus", "q_dino_velociraptor": "Velociraptor"}
State = Callable[[], dict[str, object]]


def snake(name: str, segments: int, length: float, roll: float = 0.0) -> bpy.types.Object:
    """An armature that stands up, rolled and counted as its artist liked, without a mesh."""
    data = bpy.data.armatures.new(name)
    armature = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(segments):
        bone = data.edit_bones.new(f"{name} {index}")
        bone.head, bone.tail = (0, 0, length * index / segments), (0, 0, length * (index + 1) / segments)
        bone.parent, bone.roll, parent = parent, roll, bone
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


@pytest.fixture
def pair(scene: bpy.types.Scene) -> tuple[bpy.types.Object, bpy.types.Object]:
    """A snake of four bones that bows and walks between frames 5 and 15, and one of eight, three times as long; the second is active."""
    driving, target = snake("Adder", 4, 2.0), snake("Boa", 8, 6.0, 0.7)
    for frame, angle, place in ((5, 0.0, 0.0), (15, 0.3, 1.0)):
        for bone in driving.pose.bones:
            bone.rotation_mode = "XYZ"
            bone.rotation_euler = (angle, 0, 0)
            bone.keyframe_insert("rotation_euler", frame=frame)
        driving.pose.bones[0].location = (0, 0, place)  # the bone's Z, which is the armature's -Y
        driving.pose.bones[0].keyframe_insert("location", frame=frame)
    target.mocap_anything_retarget.driving = driving
    scene.frame_set(5)
    return driving, target


def tip(armature: bpy.types.Object, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Direction of the last bone and head of the first, on a frame."""
    bpy.context.scene.frame_set(frame)
    bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    return np.array(bones[-1].vector.normalized()), np.array(bones[0].head)


def test_the_button(pair: tuple[bpy.types.Object, bpy.types.Object]) -> None:
    driving, target = pair
    assert bpy.ops.armature.retarget_action() == {"FINISHED"}
    chosen = target.mocap_anything_retarget
    assert [(line.target, line.target_end, line.driving, line.driving_end) for line in chosen.links][0] == ("Boa 0", "", "Adder 0", "")
    assert (chosen.use_pair_frame, chosen.pair_frame) == (True, 5)
    assert target.animation_data.action.name == f"{driving.animation_data.action.name} on Boa"
    for frame in (5, 10, 15):
        (theirs, from_root), (mine, root) = tip(driving, frame), tip(target, frame)
        np.testing.assert_allclose(mine, theirs, atol=2e-4, err_msg="the tips point the same way")
        np.testing.assert_allclose(root, 3 * from_root, atol=1e-4, err_msg="and the body travels by its size")
    # again from anywhere: the pair's frame was kept
    bpy.context.scene.frame_set(15)
    before = tip(target, 12)
    bpy.context.scene.frame_set(15)
    assert bpy.ops.armature.retarget_action() == {"FINISHED"}
    np.testing.assert_allclose(tip(target, 12), before, atol=1e-5)


def test_reading_changes_nothing(pair: tuple[bpy.types.Object, bpy.types.Object], file_state: State) -> None:
    from mocap_anything.addon.retargeting import RetargetOptions, proposed_links, read_pair, retarget_action
    from mocap_anything.backend.errors import CaptureError
    from mocap_anything.backend.retarget.links import Link

    driving, target = pair
    target.pose.bones[2].rotation_quaternion = (0.8, 0, 0.6, 0)  # not keyed: a visit to another frame would drop it
    bpy.context.view_layer.update()
    before = file_state()
    read_pair(bpy.context.scene, target, driving, 12)
    proposed_links(bpy.context.scene, target, driving, 12)
    with pytest.raises(CaptureError, match="no bone 'Fin'"):
        retarget_action(bpy.context.scene, target, driving, RetargetOptions(links=[Link.bone("Fin", "Adder 0")]))
    after = file_state()
    assert [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)] == []


def test_the_list_and_its_presets(pair: tuple[bpy.types.Object, bpy.types.Object], tmp_path: Path) -> None:
    _, target = pair
    chosen = target.mocap_anything_retarget
    assert bpy.ops.armature.retarget_propose() == {"FINISHED"}
    count = len(chosen.links)
    assert bpy.ops.armature.retarget_link_add() == {"FINISHED"}
    assert bpy.ops.armature.retarget_link_remove() == {"FINISHED"}
    assert len(chosen.links) == count
    chosen.links[0].target = "Boa 3"
    assert bpy.ops.armature.retarget_preset_save(filepath=str(tmp_path / "boa")) == {"FINISHED"}
    chosen.links.clear()
    assert bpy.ops.armature.retarget_preset_load(filepath=str(tmp_path / "boa.json")) == {"FINISHED"}
    assert (len(chosen.links), chosen.links[0].target) == (count, "Boa 3")
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.armature.retarget_preset_load(filepath=str(tmp_path / "none.json"))
    assert len(chosen.links) == count


def test_refusals(pair: tuple[bpy.types.Object, bpy.types.Object]) -> None:
    driving, target = pair
    target.mocap_anything_retarget.driving = target
    with pytest.raises(RuntimeError, match="cannot drive itself"):
        bpy.ops.armature.retarget_action()
    target.mocap_anything_retarget.driving = driving
    driving.animation_data_clear()
    with pytest.raises(RuntimeError, match="has no action"):
        bpy.ops.armature.retarget_action()
    assert target.animation_data is None


def test_command_line(pair: tuple[bpy.types.Object, bpy.types.Object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mocap_anything.addon.command_line import main
    from PIL import Image

    scene = tmp_path / "snakes.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    places = ["--output", tmp_path / "out.blend", "--save-links", tmp_path / "links.json", "--contact-sheet", tmp_path / "sheet.png"]
    words = ["retarget", scene, "--armature", "Boa", "--driving", "Adder", "--pair-frame", "5", *places]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "links.json").read_text("utf-8"))["links"][0] == {"target": ["Boa 0", "Boa 0"], "driving": ["Adder 0", "Adder 0"]}
    assert Image.open(tmp_path / "sheet.png").height == 2 * 260
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out.blend"))
    np.testing.assert_allclose(tip(bpy.data.objects["Boa"], 15)[0], tip(bpy.data.objects["Adder"], 15)[0], atol=2e-4)
    assert main(["retarget", str(scene), "--armature", "Boa", "--driving", "Adder", "--action", "Jump"]) == 1
    assert "There is no action 'Jump'" in capsys.readouterr().err


def test_from_a_video(posed_rig: bpy.types.Object, clip_file: Path, tmp_path: Path) -> None:
    """Captured on the worm, whose reference stands on frame 9, and carried over from there."""
    from mocap_anything.addon.command_line import main

    snake("Boa", 3, 6.0, 0.7)
    posed_rig.mocap_anything.use_trim, posed_rig.mocap_anything.trim_end = True, 0.4
    scene = tmp_path / "video.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    words = ["retarget", str(scene), "--armature", "Boa", "--driving", "Worm", "--video", str(clip_file), "--no-contacts"]
    assert main(words) == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "video_retargeted.blend"))
    worm, boa = bpy.data.objects["Worm"], bpy.data.objects["Boa"]
    assert worm.animation_data.action.name == "bar"
    for frame in (1, 5, 9):
        np.testing.assert_allclose(tip(boa, frame)[0], tip(worm, frame)[0], atol=2e-3)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/rigs")
@pytest.mark.parametrize(("theirs", "mine", "clip", "most"), [
    ("qfbx_horse", "qfbx_zebra", "Walk", 0.1), ("q_animals_fox", "q_animals_wolf", "Gallop", 0.5), ("q_mech_mike", "q_mech_stan", "Dance", 0.5),
    ("q_dino_parasaurolophus", "q_dino_velociraptor", "Death", 1.5), ("q_animals_donkey", "q_animals_horse", "Walk", 3.0),
    ("q_animals_deer", "q_animals_stag", "Walk", 3.0),
])  # fmt: skip
def test_rigs_of_one_template(scene: bpy.types.Scene, theirs: str, mine: str, clip: str, most: float) -> None:
    """The same clip by the artist on both: what is carried over is within some degrees of what the artist keyed, as a mean over bones and frames."""
    from mocap_anything.addon.blender_versions import assign_action
    from mocap_anything.addon.retargeting import RetargetOptions, read_pair, retarget_action
    from mocap_anything.addon.rig_reader import read_rig
    from mocap_anything.backend.finish.smoothing import to_local
    from mocap_anything.backend.kinematics import bone_rotations
    armatures: list[bpy.types.Object] = []
    index = {entry["name"]: entry for entry in json.loads((SHARED / "index.json").read_text("utf-8"))}
    for name in (theirs, mine):
        actions, things = set(bpy.data.actions), set(bpy.data.objects)
        file = SHARED / name / index[name]["file"]
        (bpy.ops.import_scene.fbx if file.suffix == ".fbx" else bpy.ops.import_scene.gltf)(filepath=str(file))
        armatures.append(next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing not in things))
        wanted = f"{SPECIES[name]}_{clip}" if name in SPECIES else clip
        # as 4.2 names them, the armature comes last too
        wanted_names = (wanted, f"{wanted}_{armatures[-1].name.split('.')[0]}")
        action = next(a for a in bpy.data.actions if a not in actions and a.name.split("|")[-1].split(".")[0] in wanted_names)
        assign_action(armatures[-1], action, action.slots[0] if hasattr(action, "slots") else None)
    driving, target = armatures
    first, last = (int(frame) for frame in target.animation_data.action.frame_range)
    rig = read_rig(target)

    def poses() -> np.ndarray:
        return np.stack([read_pair(scene, target, driving, frame)[1].pose for frame in range(first, last + 1, 4)])

    truth = poses()
    retarget_action(scene, target, driving, RetargetOptions(pair_frame=first))
    found = poses()
    local = [to_local(rig, bone_rotations(pose)) for pose in (found, truth)]
    cosine = (np.trace(np.swapaxes(local[0], -1, -2) @ local[1], axis1=-2, axis2=-1) - 1) / 2
    error = np.degrees(np.arccos(np.clip(cosine, -1, 1)))[:, rig.driven]
    assert error.mean() < most
