"""What can be pressed, when it cannot be and why, and what it leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
State = Callable[[], dict[str, object]]


def why_not(operator: object) -> str:
    with pytest.raises(RuntimeError) as refused:
        operator()
    return str(refused.value)


def keyed(armature: bpy.types.Object) -> set[tuple[str, float]]:
    from mocap_anything.addon.blender_versions import assigned_action, channels

    return {(curve.data_path, key.co[0]) for curve in channels(*assigned_action(armature)).fcurves for key in curve.keyframe_points}


def test_every_button_says_why_it_cannot_be_pressed(scene: bpy.types.Scene) -> None:
    assert "Select an armature" in why_not(bpy.ops.armature.capture_from_video)
    empty = bpy.data.objects.new("Empty Rig", bpy.data.armatures.new("Empty Rig"))
    scene.collection.objects.link(empty)
    bpy.context.view_layer.objects.active = empty
    assert "no bones" in why_not(bpy.ops.armature.capture_from_video)
    assert "no bones" in why_not(bpy.ops.armature.capture_reference_add)


def test_buttons_ask_for_what_is_missing(rig: bpy.types.Object) -> None:
    assert "Choose a video first" in why_not(bpy.ops.armature.capture_from_video)
    assert "Choose a video first" in why_not(bpy.ops.scene.camera_from_video)
    assert "no reference" in why_not(bpy.ops.armature.capture_reference_remove)
    assert "Nothing was captured" in why_not(bpy.ops.armature.capture_use_result)
    assert "No capture is running" in why_not(bpy.ops.armature.capture_cancel)
    bpy.ops.object.mode_set(mode="EDIT")
    assert "Edit Mode" in why_not(bpy.ops.armature.capture_reference_add)
    bpy.ops.object.mode_set(mode="OBJECT")


def test_linked_armature_is_refused(rig: bpy.types.Object, tmp_path: Path) -> None:
    library = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library), copy=True)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(library), link=True) as (_, linked):
        linked.objects = ["Worm"]
    bpy.context.scene.collection.objects.link(linked.objects[0])
    bpy.context.view_layer.objects.active = linked.objects[0]
    assert "linked from another file" in why_not(bpy.ops.armature.capture_from_video)


def test_the_mesh_stands_for_its_armature(rig: bpy.types.Object) -> None:
    bpy.context.view_layer.objects.active = bpy.data.objects["Tube"]
    assert bpy.ops.armature.capture_reference_add() == {"FINISHED"}
    assert len(rig.mocap_anything.references) == 1


def test_references_are_keyed_and_listed_in_time(rig: bpy.types.Object) -> None:
    scene = bpy.context.scene
    modes = ("QUATERNION", "XYZ", "AXIS_ANGLE")
    for bone, mode in zip(rig.pose.bones, modes, strict=True):
        bone.rotation_mode = mode
    for frame in (20, 5, 12, 5):
        scene.frame_set(frame)
        assert bpy.ops.armature.capture_reference_add() == {"FINISHED"}
    assert [reference.frame for reference in rig.mocap_anything.references] == [5, 12, 20]
    assert rig.mocap_anything.reference_index == 0
    wanted = {"rotation_quaternion", "rotation_euler", "rotation_axis_angle", "location", "scale"}
    found = keyed(rig)
    assert {path.rpartition(".")[2] for path, _ in found} == wanted
    assert {frame for _, frame in found} == {5.0, 12.0, 20.0}
    assert len({path for path, _ in found}) == 9  # three bones, three channels each

    rig.mocap_anything.reference_index = 1
    assert bpy.ops.armature.capture_reference_remove() == {"FINISHED"}
    assert [reference.frame for reference in rig.mocap_anything.references] == [5, 20]
    assert {frame for _, frame in keyed(rig)} == {5.0, 12.0, 20.0}, "the keys stay"
    assert bpy.ops.armature.capture_reference_go(frame=20) == {"FINISHED"}
    assert scene.frame_current == 20


def test_adding_a_reference_keeps_the_pose(rig: bpy.types.Object) -> None:
    scene = bpy.context.scene
    rig.pose.bones[1].rotation_quaternion = (0.8, 0.6, 0, 0)
    bpy.ops.armature.capture_reference_add()
    scene.frame_set(scene.frame_current + 10)
    scene.frame_set(scene.frame_current - 10)
    np.testing.assert_allclose(rig.pose.bones[1].rotation_quaternion, (0.8, 0.6, 0, 0), atol=1e-6)


def test_camera_from_video_shows_the_clip(rig: bpy.types.Object, clip_file: Path) -> None:
    scene = bpy.context.scene
    rig.mocap_anything.clip = str(clip_file)
    assert bpy.ops.scene.camera_from_video() == {"FINISHED"}
    assert (scene.render.resolution_x, scene.render.resolution_y) == (160, 120)
    assert scene.camera.data.background_images[0].clip.filepath == str(clip_file)
    assert scene.frame_end - scene.frame_start + 1 == round(12 / 12 * scene.render.fps)


def test_camera_from_a_bad_file_changes_nothing(rig: bpy.types.Object, tmp_path: Path, file_state: State) -> None:
    rig.mocap_anything.clip = str(tmp_path / "no such.mp4")
    before = file_state()
    with pytest.raises(RuntimeError, match="no such"):
        bpy.ops.scene.camera_from_video()
    assert file_state() == before


def test_dropping_a_video_chooses_it(rig: bpy.types.Object, clip_file: Path) -> None:
    assert bpy.ops.armature.capture_drop_video(filepath=str(clip_file)) == {"FINISHED"}
    assert rig.mocap_anything.clip == str(clip_file)


def test_capture_without_a_window(posed_rig: bpy.types.Object) -> None:
    assert bpy.ops.armature.capture_from_video() == {"FINISHED"}
    chosen = posed_rig.mocap_anything
    assert posed_rig.animation_data.action == chosen.finished_action
    assert chosen.finished_action.name == "bar"
    assert chosen.raw_action.name == "bar raw"
    assert chosen.summary.startswith("12 frames on 3 bones")
    assert re.match(r"Look first at frames? \d+(–\d+)?: Segment \d", chosen.least_sure)
    assert [track.strips[0].action.name for track in posed_rig.animation_data.nla_tracks] == ["WormAction"], "the raw result is not stashed below"

    assert bpy.ops.armature.capture_use_result(result="RAW") == {"FINISHED"}
    assert posed_rig.animation_data.action == chosen.raw_action
    raw = head_at(posed_rig, 20)
    assert bpy.ops.armature.capture_use_result(result="FINISHED") == {"FINISHED"}
    assert posed_rig.animation_data.action == chosen.finished_action
    assert np.abs(head_at(posed_rig, 20) - raw).max() > 1e-6, "the results differ, and the one chosen plays"


def test_the_frame_of_the_first_capture_stays_its_reference(posed_rig: bpy.types.Object) -> None:
    posed_rig.mocap_anything.references.clear()
    posed_rig.mocap_anything.use_trim = True
    posed_rig.mocap_anything.trim_end = 0.4
    for _ in range(2):
        assert bpy.ops.armature.capture_from_video() == {"FINISHED"}
        assert [reference.frame for reference in posed_rig.mocap_anything.references] == [9]
        bpy.context.scene.frame_set(2)


def head_at(armature: bpy.types.Object, frame: int) -> np.ndarray:
    bpy.context.scene.frame_set(frame)
    return np.array(armature.pose.bones[-1].matrix)


def test_diagnostics_name_what_a_bug_report_needs(extension: None) -> None:
    from mocap_anything.addon.diagnostics import diagnostics

    text = diagnostics()
    for needed in ("Capture from Video", f"Blender {bpy.app.version_string}", "torch 2", "av ", "devices: cpu", "log:"):
        assert needed in text


WITHOUT_TORCH = """
import sys, bpy, addon_utils
assert addon_utils.enable("mocap_anything") is not None
data = bpy.data.armatures.new("A"); armature = bpy.data.objects.new("A", data)
bpy.context.collection.objects.link(armature); bpy.context.view_layer.objects.active = armature
bpy.ops.object.mode_set(mode="EDIT"); bone = data.edit_bones.new("B"); bone.tail = (0, 0, 1); bpy.ops.object.mode_set(mode="OBJECT")
armature.mocap_anything.clip = sys.argv[1]
print(bpy.ops.scene.camera_from_video(), bpy.ops.armature.capture_reference_add())
try:
    bpy.ops.armature.capture_from_video()
except RuntimeError as error:
    print("REFUSED", error)
from mocap_anything.addon.diagnostics import missing_message
print("MESSAGE", missing_message())
addon_utils.disable("mocap_anything")
"""


def test_without_torch_everything_works_up_to_the_button(clip_file: Path, tmp_path: Path) -> None:
    """A Python that has Blender and numpy and nothing else."""
    packages = tmp_path / "packages"
    packages.mkdir()
    site = Path(np.__file__).parent.parent
    for name in ("bpy", "numpy", "numpy.libs"):
        if (site / name).exists():
            (packages / name).symlink_to(site / name)
    (packages / "mocap_anything").symlink_to(ROOT)
    environment = {**os.environ, "PYTHONPATH": str(packages), "BLENDER_USER_RESOURCES": str(tmp_path / "user")}
    base = getattr(sys, "_base_executable", sys.executable)
    result = subprocess.run([base, "-S", "-c", WITHOUT_TORCH, str(clip_file)], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "{'FINISHED'} {'FINISHED'}" in result.stdout
    refusal, _, message = result.stdout.partition("REFUSED")[2].partition("MESSAGE")
    assert "torch, av, safetensors, pillow, opencv-python-headless missing in Blender" in refusal  # Blender cuts what it raises, not what it shows
    assert "-m pip install torch av safetensors pillow opencv-python-headless numpy==" in message
