"""Previews: what is written can be opened, keeps the video's times and shows the rig where it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.errors import CaptureCancelled, CaptureError
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.preview import contact_sheet, draw_skeleton, overlay, write_preview
from mocap_anything.backend.progress import CancelToken, Progress
from mocap_anything.backend.rasterizer import draw_rig
from mocap_anything.backend.rig import Mesh, Rig
from mocap_anything.backend.video import Clip, open_clip
from PIL import Image

STAMPS = [0, 40, 90, 120, 200, 240, 290, 330]
BLUE = (20, 40, 200)


@pytest.fixture
def rig() -> Rig:
    """One driven bone with a big white square on it, and one that is not driven."""
    rest = np.tile(np.eye(4), (2, 1, 1))
    rest[1, 2, 3] = 2
    corners = np.array([[-1, 0, -0.5], [1, 0, -0.5], [1, 0, 0.5], [-1, 0, 0.5]], np.float32)
    weights = np.tile(np.array([1, 0, 0, 0], np.float32), (4, 1))
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.zeros((4, 4), np.int32), weights, np.ones((4, 3), np.float32))
    parents, flags = np.array([-1, 0], np.int32), np.ones(2, bool)
    ends = np.array([[0.0, 0, 1], [0, 0, 3]])
    return Rig(("a", "b"), parents, parents, rest, ends, np.array([True, False]), ("", ""), flags, flags, ("FULL", "FULL"), mesh)


def camera(width: int, height: int) -> Camera:
    """Looks along the armature's y axis at its origin from ten units away, so that the picture is about four units wide."""
    matrix = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 10], [0, 0, 0, 1]])
    return Camera(np.array([2.5 * width, 2.5 * width, width / 2, height / 2]), matrix, width, height)


def movie(path: Path, size: tuple[int, int] = (96, 72), rotation: int = 0) -> Clip:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for stamp in STAMPS:
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), BLUE, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return open_clip(path)


def moving(clip: Clip, start: int = 0) -> tuple[Motion, np.ndarray]:
    """A motion to the right, 0.2 units a frame, from the clip's frame `start` on."""
    frames = len(clip) - start
    poses = np.tile(np.eye(4), (frames, 2, 1, 1))
    poses[:, :, 0, 3] = 0.2 * np.arange(start, len(clip))[:, None] - 0.7
    poses[:, 1, 2, 3] = 2
    motion = Motion(
        clip.times[start:], poses[..., :3, :3], poses[..., :3, 3], np.zeros((frames, 2), np.float32), np.full((frames, 2, 2), np.nan, np.float32)
    )
    return motion, poses


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [(frame.to_ndarray(format="rgb24"), float(frame.pts * stream.time_base)) for frame in container.decode(stream)]
    return [image for image, _ in frames], [time for _, time in frames]


def center_of_rig(right: np.ndarray) -> float:
    """Column of the white square's middle."""
    return float((right.min(2) > 150).nonzero()[1].mean() + 0.5)


def test_film_keeps_times_and_shows_the_rig(tmp_path: Path, rig: Rig) -> None:
    clip = movie(tmp_path / "clip.mp4")
    motion, poses = moving(clip)
    heard: list[Progress] = []
    path = tmp_path / "Просмотр.mp4"
    write_preview(path, clip, rig, motion, poses, camera(96, 72), progress=heard.append)
    images, times = read(path)
    assert np.allclose(np.array(times) - times[0], np.array(STAMPS) / 1000, atol=1e-4)
    assert [progress.frames_done for progress in heard] == list(range(1, 9))
    assert heard[-1].fraction == 1
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    for index, image in enumerate(images):
        assert image.shape == (72, 192, 3)
        assert np.abs(image[2:10, 2:90].mean((0, 1)) - BLUE).max() < 8, "the video on the left, its colours kept"
        assert abs(center_of_rig(image[:, 96:]) - (48 + 24 * poses[index, 0, 0, 3])) < 1.5
    assert not list(tmp_path.glob("*.part"))


def test_film_of_a_trimmed_motion_with_a_moving_camera(tmp_path: Path, rig: Rig) -> None:
    clip = movie(tmp_path / "clip.mp4")
    motion, poses = moving(clip, start=3)
    still = camera(96, 72)
    follow = np.tile(still.from_armature, (len(clip), 1, 1))
    follow[:, 0, 3] = 0.7 - 0.2 * np.arange(len(clip))
    intrinsics = np.tile(still.intrinsics, (len(clip), 1))
    whole = Camera(intrinsics, follow, 96, 72)
    part = Camera(intrinsics[3:], follow[3:], 96, 72)
    for track in (whole, part):
        write_preview(tmp_path / "out.mp4", clip, rig, motion, poses, track, skeleton=False)
        images, times = read(tmp_path / "out.mp4")
        assert len(images) == 5
        assert np.allclose(np.array(times) - times[0], np.array(STAMPS[3:]) / 1000 - STAMPS[3] / 1000, atol=1e-4)
        assert all(abs(center_of_rig(image[:, 96:]) - 48) < 1 for image in images)


def test_large_and_odd_pictures_are_fitted(tmp_path: Path, rig: Rig) -> None:
    clip = movie(tmp_path / "tall.mp4", (1202, 54), rotation=90)
    assert (clip.width, clip.height) == (54, 1202)
    motion, poses = moving(clip, start=6)
    write_preview(tmp_path / "out.mp4", clip, rig, motion, poses, camera(54, 1202))
    assert read(tmp_path / "out.mp4")[0][0].shape == (960, 88, 3)
    for index in range(2):
        Image.fromarray(np.full((33, 51, 3), 90, np.uint8)).save(tmp_path / f"{index}.png")
    odd = open_clip(tmp_path / "0.png")
    motion, poses = moving(odd)
    write_preview(tmp_path / "out.mp4", odd, rig, motion, poses, camera(51, 33))
    assert len(read(tmp_path / "out.mp4")[0]) == 2


def test_contact_sheet(tmp_path: Path, rig: Rig) -> None:
    clip = movie(tmp_path / "clip.mp4")
    motion, poses = moving(clip)
    contact_sheet(tmp_path / "sheet.png", clip, rig, motion, poses, camera(96, 72), count=6, cell=80)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 4 * 80
    blue = (np.abs(sheet.astype(int) - BLUE) < 12).all(2)
    assert 6 * 80 * 60 < blue.sum() < 12 * 80 * 60, "six pictures of video, six more under the rig"
    one, pose = moving(clip, start=7)
    contact_sheet(tmp_path / "one.png", clip, rig, one, pose, camera(96, 72), cell=80)
    assert Image.open(tmp_path / "one.png").width < 2 * 80


def test_overlay_blends_the_rig_over_the_picture(rig: Rig) -> None:
    image = np.full((72, 96, 3), BLUE, np.uint8)
    pose, view = np.stack([np.eye(4), np.eye(4)]), camera(96, 72)
    mask = draw_rig(rig, pose, view, (72, 96), BLUE)[1]
    shown = overlay(image, rig, pose, view, bones=False)
    assert np.array_equal(shown[~mask], image[~mask])
    assert (shown[mask].astype(int)[:, 0] > BLUE[0] + 30).all()
    assert (shown[mask][:, 0] < 200).all(), "the picture shows through"
    lines = (draw_skeleton(image, rig, pose, view) != image).any(2)
    rows, columns = lines.nonzero()
    assert abs(columns.mean() + 0.5 - 48) < 1
    assert rows.min() < 14, "the driven bone goes up from the middle"
    assert rows.max() < 42, "the other one is not drawn"


def test_bones_behind_the_camera_are_left_out(rig: Rig) -> None:
    image = np.full((72, 96, 3), BLUE, np.uint8)
    behind = np.stack([np.eye(4), np.eye(4)])
    behind[:, 1, 3] = -30
    assert np.array_equal(overlay(image, rig, behind, camera(96, 72)), image)


def test_cancel_and_failure_leave_nothing_behind(tmp_path: Path, rig: Rig) -> None:
    clip = movie(tmp_path / "clip.mp4")
    motion, poses = moving(clip)
    path = tmp_path / "out.mp4"
    path.write_bytes(b"what was there before")
    token = CancelToken()
    with pytest.raises(CaptureCancelled):
        write_preview(path, clip, rig, motion, poses, camera(96, 72), cancel=token, progress=lambda _: token.cancel())
    with pytest.raises(CaptureCancelled):
        contact_sheet(path, clip, rig, motion, poses, camera(96, 72), cancel=token)
    assert path.read_bytes() == b"what was there before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]
    for write in (write_preview, contact_sheet):
        with pytest.raises(CaptureError, match="could not be written"):
            write(tmp_path / "nowhere" / "out.mp4", clip, rig, motion, poses, camera(96, 72))
