"""The command line: what it takes, what it refuses in one line, and with which exit code."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

State = Callable[[], dict[str, object]]


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
        (("capture", "a.blend", "--video", "b.mp4", "--confidence", "c.json"), ".csv or .npz"),
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
    options = ("--video", "--armature", "--reference-frames", "--start-frame", "--output", "--export", "--report", "--preview", "--model", "--device")
    for option in (*options, "--confidence"):
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


def test_every_result_is_written(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file_state: State) -> None:
    import av
    from PIL import Image

    places = {"--output": "out.blend", "--export": "out.bvh", "--report": "out.json", "--preview": "out.mp4", "--contact-sheet": "out.png"}
    places = {option: tmp_path / name for option, name in places.items()}
    bpy.ops.wm.open_mainfile(filepath=str(posed_file))
    before = file_state()
    assert run("capture", posed_file, "--video", clip_file, *[word for pair in places.items() for word in pair], capsys=capsys) == (0, "")

    report = json.loads(places["--report"].read_text("utf-8"))
    assert report["references"] == {"frames": [9.0], "kind": "aligned"}
    assert report["frames"]["captured"] == 12
    assert [bone["bone"] for bone in report["bones"] if bone["driven"]] == ["Segment 0", "Segment 1", "Segment 2"]
    with av.open(str(places["--preview"])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 12
    assert Image.open(places["--contact-sheet"]).width > 100
    motion = places["--export"].read_text()
    assert motion.count("JOINT") + motion.count("ROOT") == 3

    bpy.ops.wm.open_mainfile(filepath=str(places["--output"]))
    after = file_state()
    touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    # matrices and dimensions follow from the pose
    allowed = ("objects[Worm].animation_data", "objects[Worm].pose.bones", "actions[", "objects[Worm].matrix", "objects[Worm].dimensions")
    assert [key for key in touched if not key.startswith(allowed)] == []
    worm = bpy.data.objects["Worm"]
    assert worm.animation_data.action.name == "bar"
    assert [(track.mute, track.strips[0].action.name) for track in worm.animation_data.nla_tracks] == [(True, "WormAction")]
    keys = {key.co[0] for curve in channels_of(worm) for key in curve.keyframe_points}
    assert keys == {1.0 + 2 * frame for frame in range(12)}, "12 frames a second in a scene of 24"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_how_sure_a_capture_is_can_be_read(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, bones = tmp_path / "out.json", ["Segment 0", "Segment 1", "Segment 2"]
    for place in (tmp_path / "sure.csv", tmp_path / "sure.npz"):
        options = ("--confidence", place, "--report", report, "--export", tmp_path / "joints.csv", "--trim-end", "0.7")
        assert run("capture", posed_file, "--video", clip_file, *options, capsys=capsys) == (0, "")
    rows = list(csv.DictReader((tmp_path / "sure.csv").open(encoding="utf-8", newline="")))
    with np.load(tmp_path / "sure.npz", allow_pickle=False) as data:
        percent, frames, times = data["expected_error_percent"], data["frame"], data["time"]
        assert data["bone"].tolist() == bones
    assert frames.tolist() == [1.0 + 2 * frame for frame in range(len(frames))], "12 frames a second in a scene of 24"
    assert times == pytest.approx((frames - 1) / 24)
    assert [row["bone"] for row in rows[:3]] == bones
    assert np.array([float(row["expected_error_percent"]) for row in rows]).reshape(percent.shape) == pytest.approx(percent, abs=1e-4)
    assert percent[frames == 9].tolist() == [[0.0] * 3], "on the reference's frame the animator's pose is kept"
    assert (percent[frames != 9] > 0).all()

    told = json.loads(report.read_text("utf-8"))
    assert [bone["expected_error_percent"] for bone in told["bones"] if bone["driven"]] == pytest.approx(percent.mean(0).tolist(), abs=1e-3)
    assert told["confidence"]["calibrated"] is False, "nobody measured this model"
    stretch = told["confidence"]["least_sure"][0]
    assert set(stretch["bones"]) <= set(bones)
    inside = (frames >= stretch["first"]) & (frames <= stretch["last"])
    assert percent[inside].max() == percent.max()
    assert "joint" in (tmp_path / "joints.csv").read_text().splitlines()[0], "beside it, not over it"


def test_two_results_in_one_file_are_refused(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "out.csv"
    code, error = run("capture", posed_file, "--video", clip_file, "--export", place, "--confidence", place, capsys=capsys)
    assert code == 1
    assert error.endswith("is to hold two results. Give each a name of its own.")
    assert not place.exists()


def channels_of(armature: bpy.types.Object) -> bpy.types.bpy_prop_collection:
    from mocap_anything.addon.blender_versions import assigned_action, channels

    return channels(*assigned_action(armature)).fcurves


@pytest.mark.parametrize(("suffix", "load"), [("glb", "import_scene.gltf"), ("fbx", "import_scene.fbx")])
def test_exports_come_back(posed_file: Path, clip_file: Path, tmp_path: Path, suffix: str, load: str) -> None:
    """In a process of its own: 4.2 as a module crashes on exit after a glTF export, which the command line must survive."""
    place = tmp_path / f"out.{suffix}"
    options = ["--video", str(clip_file), "--trim-end", "0.3", "--reference-frames", "1", "--export", str(place)]
    result = subprocess.run([sys.executable, "-m", "mocap_anything", "capture", str(posed_file), *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "posed_captured.blend").exists(), "only what was asked for"
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    module, name = load.split(".")
    getattr(getattr(bpy.ops, module), name)(filepath=str(place))
    (armature,) = (thing for thing in bpy.data.objects if thing.type == "ARMATURE")
    assert {bone.name for bone in armature.data.bones} >= {"Segment 0", "Segment 1", "Segment 2"}
    assert armature.animation_data.action is not None
    assert any(thing.type == "MESH" and thing.find_armature() == armature for thing in bpy.data.objects)


def test_defaults_and_what_overrules_them(posed_file: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stored on the armature: the model and the reference. Typed: where the clip starts, and the trim."""
    report = tmp_path / "report.json"
    options = ("--start-frame", "101", "--reference-frames", "103", "--trim-end", "0.4", "--keep-raw", "--report", report)
    assert run("capture", posed_file, "--video", clip_file, *options, capsys=capsys) == (0, "")
    told = json.loads(report.read_text("utf-8"))
    assert told["frames"] == {"captured": 5, "first": 101.0, "last": 109.0, "scene_fps": 24.0}
    assert told["settings"]["model"].endswith("untrained.safetensors")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "posed_captured.blend"))
    assert {"bar", "bar raw"} <= {action.name for action in bpy.data.actions}


def test_rendered_references_need_no_camera(posed_rig: bpy.types.Object, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bpy.data.objects.remove(bpy.context.scene.camera)
    path, report = tmp_path / "free.blend", tmp_path / "report.json"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    code, said = run("capture", path, "--video", clip_file, "--trim-end", "0.2", "--report", report, capsys=capsys)
    assert (code, len(said.splitlines())) == (0, 1), said
    assert "rough guess" in said or "found by the subject's outline" in said
    told = json.loads(report.read_text("utf-8"))
    assert told["references"]["kind"] == "rendered"
    assert told["camera"].startswith("assumed")


def test_interrupting_leaves_nothing(posed_file: Path, clip_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mocap_anything", "capture", str(posed_file), "--video", str(clip_file)]

    def listen() -> None:
        # a suite started in the background inherits an ignored interrupt, and would hand it on
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=listen) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Following" in line:
                process.send_signal(signal.SIGINT)
                break
        last = process.stderr.read().strip().splitlines()[-1]
    assert process.returncode == 130
    assert last == "mocap_anything: error: cancelled, nothing was written"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["posed.blend"]
