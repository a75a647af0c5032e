"""The command line: what it takes, what it refuses in one line, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what was said on stderr, without progress."""
    from mocap_anything.addon.command_line import main

    code = main([str(argument) for argument in arguments])
    lines = [line for line in capsys.readouterr().err.splitlines() if line and "%" not in line[:5]]
    return code, "\n".join(lines)


@pytest.fixture
def scene_file(rig: bpy.types.Object, tmp_path: Path) -> Path:
    path = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("capture",), "--video"),
        (("capture", "a.blend", "--video", "b.mp4", "--device", "abacus"), "abacus"),
        (("capture", "a.blend", "--video", "b.mp4", "--export", "c.obj"), ".bvh or .glb or .fbx"),
        (("capture", "a.blend", "--video", "b.mp4", "--reference-frames", "1,x"), "1,x"),
        (("capture", "a.blend", "--video", "b.mp4", "--no-such-thing"), "--no-such-thing"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], extension: None) -> None:
    code, error = run(*arguments, capsys=capsys)
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1


def test_help_names_every_option(capsys: pytest.CaptureFixture[str], extension: None) -> None:
    from mocap_anything.addon.command_line import main

    assert main(["capture", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--video", "--armature", "--reference-frames", "--start-frame", "--output", "--export", "--report", "--preview", "--model", "--device"):
        assert option in text


def test_missing_scene(tmp_path: Path, clip_file: Path, capsys: pytest.CaptureFixture[str], extension: None) -> None:
    code, error = run("capture", tmp_path / "none.blend", "--video", clip_file, capsys=capsys)
    assert code == 1
    assert "There is no file at" in error
    assert len(error.splitlines()) == 1


def test_scene_that_is_none(tmp_path: Path, clip_file: Path, capsys: pytest.CaptureFixture[str], extension: None) -> None:
    fake = tmp_path / "fake.blend"
    fake.write_bytes(b"not a scene")
    code, error = run("capture", fake, "--video", clip_file, capsys=capsys)
    assert code == 1
    assert "is not a scene" in error.splitlines()[-1]


def test_armature_is_found_by_name_or_alone(scene_file: Path, clip_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = run("capture", scene_file, "--video", clip_file, "--armature", "Snake", capsys=capsys)
    assert code == 1
    assert error.endswith("There is no armature 'Snake' in the scene, only 'Worm'.")


def test_several_armatures_need_a_name(rig: bpy.types.Object, tmp_path: Path, clip_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = rig.copy()
    bpy.context.scene.collection.objects.link(other)
    bpy.context.view_layer.objects.active = bpy.data.objects["Tube"]
    path = tmp_path / "two.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    code, error = run("capture", path, "--video", clip_file, capsys=capsys)
    assert code == 1
    assert "'Worm', 'Worm.001'" in error
    assert "--armature" in error


def test_files_are_opened_with_scripts_disabled(rig: bpy.types.Object, tmp_path: Path, clip_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = bpy.data.texts.new("start.py")
    text.write(f"open({str(tmp_path / 'was run')!r}, 'w').close()")
    text.use_module = True
    path = tmp_path / "scripted.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    run("capture", path, "--video", tmp_path / "none.mp4", capsys=capsys)
    assert bpy.data.texts["start.py"].use_module
    assert not (tmp_path / "was run").exists()


def test_as_a_module_from_any_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "mocap_anything", "capture", "none.blend", "--video", "none.mp4"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == "mocap_anything: error: There is no file at 'none.blend'. Give the path of a .blend file."
    assert "Traceback" not in result.stderr
