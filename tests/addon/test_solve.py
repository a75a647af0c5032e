"""`solve` from tracks to keys, and the formats that come out: BVH of any rate and channel order, tracks that go in again."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    from mocap_anything.addon.command_line import main

    code = main([str(argument) for argument in arguments])
    return code, "\n".join(line for line in capsys.readouterr().err.splitlines() if line and "%" not in line[:5])


@pytest.fixture
def moving(rig: bpy.types.Object) -> bpy.types.Object:
    """The worm, placed and turned in the world, bending and travelling over frames 1 to 13."""
    rig.location, rig.rotation_euler, rig.scale = (1, 2, 3), (0.3, 0.2, 1.0), (2, 2, 2)
    rig.animation_data_create()
    for index, bone in enumerate(rig.pose.bones):
        bone.rotation_mode = "XYZ"
        for frame, angle in ((1, 0.0), (7, 0.5), (13, 0.2)):
            bone.rotation_euler = (angle, 0, (index - 1) * angle)
            bone.keyframe_insert("rotation_euler", frame=frame)
    root = rig.pose.bones[0]
    for frame, place in ((1, 0.0), (13, 1.0)):
        root.location = (place, 0, 0)
        root.keyframe_insert("location", frame=frame)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 13
    bpy.context.scene.frame_set(1)
    return rig


def heads_at(name: str, frames: range) -> np.ndarray:
    """(T, J + 1, 3) heads and the last tail in the world."""
    out = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        thing = bpy.data.objects[name]
        points = [thing.matrix_world @ bone.head for bone in thing.pose.bones]
        out.append([*points, thing.matrix_world @ thing.pose.bones[-1].tail])
    return np.array(out)


def tracks_of(armature: bpy.types.Object, path: Path, fps: float | None = None) -> None:
    from mocap_anything.addon.joint_export import export_joints

    export_joints(path, armature, (1.0, 13.0), 1.0, fps, "ZXY")


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_exported_joints_solve_to_the_same_motion(moving: bpy.types.Object, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    tracks, scene, out, report = (tmp_path / name for name in (f"joints.{suffix}", "scene.blend", "out.blend", "report.json"))
    tracks_of(moving, tracks)
    truth = heads_at("Worm", range(1, 14))
    moving.animation_data.action = None
    for bone in moving.pose.bones:
        bone.rotation_euler, bone.location = (0, 0, 0), (0, 0, 0)
    bpy.context.scene.frame_set(1)
    bpy.ops.wm.save_as_mainfile(filepath=str(scene), copy=True)
    places = ("--output", out, "--report", report, "--export", tmp_path / "again.csv")
    assert run("solve", scene, "--joints", tracks, "--start-frame", 1, *places, capsys=capsys) == (0, "")
    told = json.loads(report.read_text())
    assert told["frames"] == {"first": 1.0, "last": 13.0, "scene_fps": 24.0}
    assert told["error"]["largest"] < 0.002
    assert told["bones"]["keyed"] == ["Segment 0", "Segment 1", "Segment 2"]
    bpy.ops.wm.open_mainfile(filepath=str(out))
    assert bpy.data.objects["Worm"].animation_data.action.name == "joints"
    size = 2 * 3.1
    assert np.abs(heads_at("Worm", range(1, 14)) - truth).max() < 0.005 * size
    from mocap_anything.backend.joint_tracks import read_tracks

    again, given = read_tracks(tmp_path / "again.csv"), read_tracks(tracks)
    assert again.joints == given.joints
    np.testing.assert_allclose(again.times, given.times, atol=1e-5)
    np.testing.assert_allclose(again.positions, given.positions, atol=0.005 * size)


def test_axes_units_and_missing_joints(moving: bpy.types.Object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tracks in centimetres with y up, of the first head and the last end alone, beside one that is no bone."""
    from mocap_anything.backend.joint_tracks import JointTracks, read_tracks, write_tracks

    tracks_of(moving, tmp_path / "all.npz")
    given = read_tracks(tmp_path / "all.npz")
    keep = [given.joints.index(name) for name in ("Segment 0", "Segment 2:end")]
    points = 100 * given.positions[:, keep] @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    some = np.concatenate([points, points[:, :1]], 1)
    write_tracks(tmp_path / "some.csv", JointTracks(given.times, ("Segment 0", "Segment 2:end", "camera"), some))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    arguments = ("solve", tmp_path / "scene.blend", "--joints", tmp_path / "some.csv", "--up", "y")
    code, error = run(*arguments, capsys=capsys)
    assert code == 1
    assert "--scale 0.01" in error
    report = tmp_path / "report.json"
    assert run(*arguments, "--scale", 0.01, "--report", report, capsys=capsys) == (0, "")
    told = json.loads(report.read_text())
    assert told["tracks"]["not bones"] == ["camera"]
    assert told["error"]["largest"] < 0.01
    assert (tmp_path / "scene_solved.blend").is_file()


@pytest.mark.parametrize(("arguments", "said"), [
    (("--joints", "none.csv"), "There is no file"), (("--joints", "t.csv", "--scale", "0"), "above zero"),
    (("--joints", "t.csv", "--armature", "Ant"), "'Ant'"),
    (("--joints", "t.csv", "--noise", "3"), "share of the rig's size"), (("--joints", "t.csv"), "No joint in the tracks"),
])
def test_what_is_wrong_is_said_in_one_line(
    rig: bpy.types.Object, arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("time,joint,x,y,z\n0,nose,1,2,3\n")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    code, error = run("solve", "scene.blend", *arguments, capsys=capsys)
    assert code == 1
    assert said in error
    assert len(error.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "scene.blend"}


@pytest.mark.parametrize(("order", "fps"), [("ZXY", 24), ("XYZ", 30), ("YZX", 12), ("ZYX", 60), ("XZY", 24), ("YXZ", 10)])
def test_bvh_comes_back_as_it_stood(moving: bpy.types.Object, tmp_path: Path, order: str, fps: float) -> None:
    from mocap_anything.addon.joint_export import export_joints

    export_joints(tmp_path / "worm.bvh", moving, (1.0, 13.0), 1.0, fps, order)
    truth = heads_at("Worm", range(1, 14))
    text = (tmp_path / "worm.bvh").read_text()
    count = int(text.split("Frames: ")[1].split()[0])
    assert count == int(12 / 24 * fps) + 1
    assert float(text.split("Frame Time: ")[1].split()[0]) == pytest.approx(1 / fps)
    assert "End Site" in text
    assert f"{order[0]}rotation {order[1]}rotation {order[2]}rotation" in text
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.import_anim.bvh(filepath=str(tmp_path / "worm.bvh"), update_scene_fps=True)
    back = heads_at("worm", range(1, count + 1))
    at = np.arange(count) * 24 / fps
    whole = [row for row, frame in enumerate(at) if abs(frame - round(frame)) < 1e-6]
    np.testing.assert_allclose(back[whole], truth[[round(at[row]) for row in whole]], atol=2e-3)


def test_bvh_of_several_roots_and_bones_that_move_apart(moving: bpy.types.Object, tmp_path: Path) -> None:
    from mocap_anything.addon.joint_export import export_joints

    bpy.ops.object.mode_set(mode="EDIT")
    extra = moving.data.edit_bones.new("Pole target")
    extra.head, extra.tail = (0, 2, 0), (0, 2, 1)
    moving.data.edit_bones["Segment 2"].use_connect = False
    bpy.ops.object.mode_set(mode="OBJECT")
    loose = moving.pose.bones["Segment 2"]
    for frame, place in ((1, 0.0), (13, 0.7)):
        loose.location = (0, place, 0)
        loose.keyframe_insert("location", frame=frame)
    export_joints(tmp_path / "worm.bvh", moving, (1.0, 13.0), 1.0, None, "ZXY")
    truth = heads_at("Worm", range(1, 14))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.import_anim.bvh(filepath=str(tmp_path / "worm.bvh"))
    bones = bpy.data.objects["worm"].pose.bones
    assert [bone.name for bone in bones] == ["Roots", "Segment_0", "Segment_1", "Segment_2", "Pole_target"]
    back = []
    for frame in range(1, 14):
        bpy.context.scene.frame_set(frame)
        back.append([bones[name].head[:] for name in ("Segment_0", "Segment_1", "Segment_2")])
    np.testing.assert_allclose(back, truth[:, :3], atol=2e-3)
