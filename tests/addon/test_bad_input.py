"""Each way an input can be bad: a clear line, nothing changed, nothing written. And inputs that only look bad: captured."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest

State = Callable[[], dict[str, object]]
Capture = Callable[..., tuple[int, str]]


def write_clip(path: Path, frames: int, size: tuple[int, int] = (160, 120), times: list[int] | None = None) -> Path:
    """A video of noise patches; times in 1/24 s."""
    import av

    generator = np.random.default_rng(0)
    patch = np.kron(generator.integers(0, 255, (size[1] // 40, size[0] // 40, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(patch, 4 * index, axis=1), format="rgb24")
            frame.pts = times[index] if times else index
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def scene_file(posed_rig: bpy.types.Object, tmp_path: Path) -> Path:
    path = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    return path


@pytest.fixture
def capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Capture:
    """Run a capture of a scene into out.blend; exit code and what was said on stderr, without progress."""
    from mocap_anything.addon.command_line import main

    def run(scene: Path, video: Path, *options: object, output: Path | None = None) -> tuple[int, str]:
        code = main(["capture", str(scene), "--video", str(video), "--output", str(output or tmp_path / "out.blend"), *(str(option) for option in options)])
        lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        return code, "\n".join(lines)

    return run


@pytest.fixture
def refused(scene_file: Path, capture: Capture, file_state: State, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A capture that must be refused: one line, exit code 1, the scene as it was, no file left."""

    def run(video: Path, *options: object, scene: Path = scene_file, output: Path | None = None) -> str:
        bpy.ops.wm.open_mainfile(filepath=str(scene), load_ui=False)
        before, files = file_state(), sorted(tmp_path.rglob("*"))
        code, error = capture(scene, video, *options, output=output)
        assert code == 1, error
        assert error.startswith("mocap_anything: error: ")
        assert len(error.splitlines()) == 1
        assert "unexpected" not in error
        after = file_state()
        assert [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)] == []
        assert sorted(tmp_path.rglob("*")) == files
        return error

    return run


def test_no_file(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path / "none.mp4")


def test_not_a_video(refused: Callable[..., str], tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("these are notes, not pictures\n" * 100)
    assert "notes.mp4" in refused(text)


def test_empty_file(refused: Callable[..., str], tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "empty.mp4" in refused(empty)


def test_video_without_frames(refused: Callable[..., str], tmp_path: Path) -> None:
    import av

    path = tmp_path / "zero.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    assert "zero.mkv" in refused(path)


def test_truncated_before_its_index(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip_file.read_bytes()[: clip_file.stat().st_size // 2])
    assert "cut.mp4" in refused(path)


def test_reference_outside_the_clip(refused: Callable[..., str], clip_file: Path) -> None:
    assert "outside the video" in refused(clip_file, "--reference-frames", "400")


def test_trim_outside_the_clip(refused: Callable[..., str], clip_file: Path) -> None:
    assert "trim" in refused(clip_file, "--trim-start", "100")
    assert "trim" in refused(clip_file, "--trim-start", "0.5", "--trim-end", "0.2")


def test_missing_model(refused: Callable[..., str], clip_file: Path) -> None:
    assert "none.safetensors" in refused(clip_file, "--model", "none")


def test_corrupted_model(refused: Callable[..., str], clip_file: Path, model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "corrupted.safetensors"
    path.write_bytes(model_file.read_bytes()[:-1000])
    assert "damaged" in refused(clip_file, "--model", path)
    path.write_bytes(os.urandom(5000))
    assert "damaged" in refused(clip_file, "--model", path)


def test_model_of_another_version(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, str(path))
    assert "not a model of this extension" in refused(clip_file, "--model", path)


def test_device_that_is_not_there(refused: Callable[..., str], clip_file: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert "cuda" in refused(clip_file, "--device", "cuda")


def changed_scene(tmp_path: Path, change: Callable[[bpy.types.Object], None]) -> Path:
    change(bpy.data.objects["Worm"])
    path = tmp_path / "changed.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    return path


def test_no_armature(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    scene = changed_scene(tmp_path, lambda worm: bpy.data.objects.remove(worm))
    assert "no armature" in refused(clip_file, scene=scene)


def test_armature_without_bones(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    scene = changed_scene(tmp_path, lambda worm: setattr(worm, "data", bpy.data.armatures.new("Empty")))
    assert "has no bones" in refused(clip_file, scene=scene)


def test_linked_armature(refused: Callable[..., str], scene_file: Path, clip_file: Path, tmp_path: Path) -> None:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(scene_file), link=True) as (_, linked):
        linked.objects = ["Worm", "Tube"]
    for thing in linked.objects:
        bpy.context.scene.collection.objects.link(thing)
    path = tmp_path / "linking.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    assert "linked from another file" in refused(clip_file, scene=path)


def test_subject_outside_the_picture(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    scene = changed_scene(tmp_path, lambda worm: setattr(worm, "location", (100, 0, 0)))
    assert "outside the picture" in refused(clip_file, scene=scene)


def test_subject_behind_the_camera(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    scene = changed_scene(tmp_path, lambda worm: setattr(worm, "location", (0, -1000, 0)))
    assert "behind the camera" in refused(clip_file, scene=scene)


def test_output_that_cannot_be_written(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    assert "folder does not exist" in refused(clip_file, output=tmp_path / "none" / "out.blend")
    assert "could not be written" in refused(clip_file, output=Path("/proc/out.blend"))
    folder = tmp_path / "folder.blend"
    folder.mkdir()
    assert "is a folder" in refused(clip_file, output=folder)


def test_a_later_result_that_cannot_be_written_leaves_none(refused: Callable[..., str], clip_file: Path, tmp_path: Path) -> None:
    assert "could not be written" in refused(clip_file, "--report", "/proc/report.json")


@pytest.mark.parametrize("option", ["--output", "--export", "--preview", "--contact-sheet"])
def test_full_disk(scene_file: Path, clip_file: Path, tmp_path: Path, option: str) -> None:
    """A limit on file size stands for the disk: every write beyond it fails as it does on a full one."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    suffix = {"--output": "blend", "--export": "bvh", "--preview": "mp4", "--contact-sheet": "png"}[option]
    place = tmp_path / f"out.{suffix}"
    place.write_text("what was there before")
    command = [sys.executable, "-m", "mocap_anything", "capture", str(scene_file), "--video", str(clip_file), option, str(place)]
    if option != "--output":
        command += ["--export", str(tmp_path / "out.bvh")] if option != "--export" else []
    files = sorted(tmp_path.rglob("*"))
    # Python cuts the bytecode that it keeps beside the modules at the limit too, and would read the stump in every later process
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 1, result.stderr
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith("mocap_anything: error: ")
    assert "could not be written" in error
    assert place.read_text() == "what was there before"
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in files] == []


def test_full_disk_is_named(tmp_path: Path) -> None:
    from mocap_anything.addon.export import writing
    from mocap_anything.backend.errors import CaptureError

    with pytest.raises(CaptureError, match="the disk is full"), writing(tmp_path / "out.blend"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def keyed_frames() -> list[float]:
    from mocap_anything.addon.reference_reader import keyed_frames

    return keyed_frames(bpy.data.objects["Worm"])


def test_one_frame(scene_file: Path, capture: Capture, tmp_path: Path) -> None:
    assert capture(scene_file, write_clip(tmp_path / "one.mp4", 1), "--reference-frames", "1") == (0, "")


def test_8k_frames(scene_file: Path, capture: Capture, tmp_path: Path) -> None:
    assert capture(scene_file, write_clip(tmp_path / "large.mp4", 2, (7680, 5760)), "--reference-frames", "1") == (0, "")


def test_variable_frame_rate_is_keyed_by_time(scene_file: Path, capture: Capture, tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 8, 9, 14, 20]
    clip = write_clip(tmp_path / "variable.mp4", len(times), times=times)
    assert capture(scene_file, clip, "--reference-frames", "9") == (0, "")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out.blend"))
    assert [frame for frame in keyed_frames() if frame != 9] == pytest.approx([1.0 + time for time in times if time != 8], abs=1e-3)


def test_non_ascii_path(scene_file: Path, capture: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "Größe 馬 ő"
    folder.mkdir()
    clip = write_clip(folder / "clip é 動画.mp4", 6)
    scene = folder / "сцена.blend"
    scene.write_bytes(scene_file.read_bytes())
    assert capture(scene, clip, "--reference-frames", "1", output=folder / "résultat.blend") == (0, "")
    assert (folder / "résultat.blend").is_file()


def test_armature_without_mesh(scene_file: Path, capture: Capture, clip_file: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    scene = changed_scene(tmp_path, lambda worm: bpy.data.objects.remove(bpy.data.objects["Tube"]))
    assert capture(scene, clip_file) == (0, "")
    (tmp_path / "out.blend").unlink()
    assert "has no mesh to draw" in refused(clip_file, "--reference-kind", "rendered", scene=scene)
