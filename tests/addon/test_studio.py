"""What a studio counts on: the same result for the same input, characters linked from a library, and files from elsewhere that run nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy

CAPTURE = [sys.executable, "-m", "mocap_anything", "capture"]


def capture(scene: Path, clip: Path, *options: object) -> None:
    """In a process of its own, as a farm runs it."""
    command = [*CAPTURE, str(scene), "--video", str(clip), "--trim-end", "0.4", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_same_input_gives_the_same_keys(posed_file: Path, clip_file: Path, tmp_path: Path) -> None:
    places = [tmp_path / f"{name}.bvh" for name in ("one", "two")]
    for place in places:
        capture(posed_file, clip_file, "--export", place)
    one, two = (place.read_bytes() for place in places)
    assert one == two
    assert len(set(one.decode().splitlines()[-4:])) > 1, "something moves"


def test_a_linked_character_is_captured_through_its_override(rig: bpy.types.Object, clip_file: Path, model_file: Path, tmp_path: Path) -> None:
    """The shot links the character, and its own choices for the override are kept in the shot; the library is not touched."""
    library, scene, out = (tmp_path / f"{name}.blend" for name in ("library", "shot", "out"))
    character = bpy.data.collections.new("Character")
    for thing in list(bpy.context.scene.objects):
        character.objects.link(thing)
    bpy.context.scene.collection.children.link(character)
    name = rig.name
    rig.mocap_anything.at_scene_start = True  # 5.0 stores no choice of an override where the library holds none at all
    bpy.ops.wm.save_as_mainfile(filepath=str(library), copy=True)
    before = library.read_bytes()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.collections = ["Character"]
    wanted.collections[0].override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    armature = next(thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE")
    assert armature.override_library is not None
    bpy.context.view_layer.objects.active = armature
    armature.mocap_anything.clip, armature.mocap_anything.model = str(clip_file), str(model_file)
    bpy.ops.scene.camera_from_video()
    bpy.context.scene.frame_set(9)
    bpy.ops.armature.capture_reference_add()
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    capture(scene, clip_file, "--armature", armature.name, "--output", out)
    assert library.read_bytes() == before
    bpy.ops.wm.open_mainfile(filepath=str(out))
    armature = next(thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE")
    assert armature.name == name
    assert armature.override_library is not None
    assert armature.mocap_anything.model == str(model_file)
    assert [reference.frame for reference in armature.mocap_anything.references] == [9]
    assert armature.animation_data.action.name == clip_file.stem
    assert armature.animation_data.action.library is None


def test_scripts_in_a_file_from_elsewhere_do_not_run(posed_rig: bpy.types.Object, clip_file: Path, tmp_path: Path) -> None:
    marker, scene = tmp_path / "ran.txt", tmp_path / "elsewhere.blend"
    text = bpy.data.texts.new("startup.py")
    text.write(f"open({str(marker)!r}, 'w').write('ran')")
    text.use_module = True
    bend = posed_rig.driver_add("location", 0).driver
    bend.type, bend.expression = "SCRIPTED", f"open({str(marker)!r}, 'w').write('driven') and 0"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    marker.unlink(missing_ok=True)  # Blender may have run the driver here, where it was made
    capture(scene, clip_file, "--export", tmp_path / "out.bvh")
    assert not marker.exists()
