"""Decoding: every frame once, at its exact time, upright; and a clear word for every file that cannot be."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.video import Clip, open_clip
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def picture(index: int, width: int, height: int) -> np.ndarray:
    """A frame that carries its index as the grey of eight bars, with a red top left corner to tell which way is up."""
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        image[:, bit * width // 8 : (bit + 1) * width // 8] = 235 if index >> bit & 1 else 20
    image[: height // 4] = [0, 0, 200]
    image[: height // 4, : width // 4] = [220, 0, 0]
    return image


def index_of(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    return sum(1 << bit for bit in range(8) if image[height // 2 :, (2 * bit + 1) * width // 16].mean() > 128)


def write_movie(path: Path, count: int = 40, size: tuple[int, int] = (64, 48), *, codec: str = "libx264", pix_fmt: str = "yuv420p",
                stamps: list[int] | None = None, base: Fraction = Fraction(1, 24), rotation: float | None = None, mirrored: bool = False,
                options: dict[str, str] | None = None, faststart: bool = False) -> Path:  # fmt: skip
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, pix_fmt, base
        stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame.pts, frame.time_base = stamps[index] if stamps else index, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def indices(clip: Clip, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    return [(index, index_of(image)) for index, image in clip.frames(start, stop)]


def check_all(clip: Clip, count: int) -> None:
    """Every frame is there once, in order, also when reading begins in the middle or ends early."""
    assert len(clip) == count
    assert (np.diff(clip.times) > 0).all()
    assert clip.times[0] == 0
    assert indices(clip) == [(i, i) for i in range(count)]
    for start in {0, 1, count // 3, count // 2, max(count - 2, 0), count - 1}:
        assert indices(clip, start, start + 3) == [(i, i) for i in range(start, min(start + 3, count))]
    assert list(clip.frames(count)) == []


CONTAINERS = {
    "b-frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "open-gop.mp4": {"options": {"bf": "3", "g": "12", "x264-params": "open-gop=1:scenecut=0"}},
    "intra-refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=10"}},
    "b-frames.mkv": {"options": {"bf": "3", "g": "12"}},
    "transport.ts": {"options": {"bf": "2", "g": "12"}},
    "raw.h264": {"options": {"bf": "0", "g": "12"}},
    "old.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "motion.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "lossless.mkv": {"codec": "ffv1"},
    "hidden.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12", "b": "500k"}},
    "nine.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12", "cpu-used": "8"}},
    "hevc.mp4": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "keyint=12:log-level=none"}},
    "program.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_frame_once(tmp_path: Path, name: str) -> None:
    clip = open_clip(write_movie(tmp_path / name, **CONTAINERS[name]))
    check_all(clip, 40)
    loose = name == "program.mpg"  # two of its stamps stumble
    assert clip.fps == pytest.approx(24, rel=0.06 if loose else 0.01)
    assert clip.duration == pytest.approx(40 / 24, rel=0.06 if loose else 0.01)
    assert np.abs(clip.times - np.arange(40) / 24).max() < (2.1 / 24 if loose else 1e-3)


def test_variable_frame_rate_keeps_exact_times(tmp_path: Path) -> None:
    stamps = np.cumsum([0] + [16, 17, 33, 83, 40] * 8)[:40].tolist()
    clip = open_clip(write_movie(tmp_path / "vfr.mp4", stamps=stamps, base=Fraction(1, 1000), options={"bf": "2"}))
    check_all(clip, 40)
    assert np.abs(clip.times - np.array(stamps) / 1000).max() < 1e-9
    assert clip.fps == pytest.approx(39 / (stamps[-1] / 1000))
    assert index_of(clip.frame_at(stamps[7] / 1000 + 0.004)) == 7
    assert clip.index_at(-5) == 0
    assert clip.index_at(1e9) == 39


def test_first_stamp_need_not_be_zero(tmp_path: Path) -> None:
    check_all(open_clip(write_movie(tmp_path / "late.mkv", stamps=list(range(100, 140)))), 40)


@pytest.mark.parametrize(("rotation", "mirrored", "corner"), [
    (0, False, (0, 0)), (90, False, (1, 0)), (180, False, (1, 1)), (270, False, (0, 1)), (45.5, False, (1, 0)), (10, False, (0, 0)), (0, True, (0, 1)),
])  # fmt: skip
def test_rotation_metadata(tmp_path: Path, caplog: pytest.LogCaptureFixture, rotation: float, mirrored: bool, corner: tuple[int, int]) -> None:
    path = write_movie(tmp_path / "turned.mp4", 5, (64, 48), rotation=rotation, mirrored=mirrored)
    with caplog.at_level(logging.WARNING):
        clip = open_clip(path)
    image = clip.frame_at(0)
    assert image.shape == (clip.height, clip.width, 3)
    assert (clip.width, clip.height) == ((48, 64) if rotation in (90, 270, 45.5) else (64, 48))
    red = image[..., 0].astype(int) - image[..., 2]
    assert red[-2 if corner[0] else 1, -2 if corner[1] else 1] > 150
    assert ("rotation" in caplog.text) == (rotation % 90 != 0)


def test_large_frames_are_scaled_down(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "8k.mp4", 3, (7680, 4320), options={"preset": "ultrafast"}, rotation=90)
    clip = open_clip(path)
    assert (clip.width, clip.height, clip.source_width, clip.source_height) == (1215, 2160, 4320, 7680)
    assert next(clip.frames())[1].shape == (2160, 1215, 3)
    small = open_clip(write_movie(tmp_path / "small.mp4", 3, (640, 480)), max_side=100)
    assert small.frame_at(0).shape == (75, 100, 3)


def test_non_ascii_path_and_one_frame(tmp_path: Path) -> None:
    folder = tmp_path / "Видео %03d 動画"
    folder.mkdir()
    clip = open_clip(str(write_movie(folder / "Kätzchen ⚡.mp4", 1)))
    check_all(clip, 1)
    assert clip.duration == pytest.approx(1 / 24)


def test_numbered_images(tmp_path: Path) -> None:
    folder = tmp_path / "кадры %d"
    folder.mkdir()
    for index in (0, 1, 2, 5, 9, 10, 11):
        Image.fromarray(picture(index, 32, 24)).save(folder / f"shot_{index + 8}.png")
    Image.fromarray(picture(0, 32, 24)).save(folder / "cover.png")
    for path in (folder, folder / "shot_10.png"):
        clip = open_clip(path, frame_rate=10)
        assert [found for _, found in indices(clip)] == [0, 1, 2, 5, 9, 10, 11]
        assert np.allclose(clip.times, np.array([0, 1, 2, 5, 9, 10, 11]) / 10)
        assert indices(clip, 3, 5) == [(3, 5), (4, 9)]
    alone = open_clip(folder / "cover.png")
    assert len(alone) == 1
    assert alone.fps == 24
    assert np.array_equal(alone.frame_at(3.0), picture(0, 32, 24))


def test_images_of_other_kinds(tmp_path: Path) -> None:
    sixteen = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(sixteen).save(tmp_path / "deep.png")
    assert np.abs(open_clip(tmp_path / "deep.png").frame_at(0)[..., 1].astype(int) - sixteen // 257).max() <= 2
    tag = Image.Exif()
    tag[0x0112] = 6  # turn clockwise to show
    Image.fromarray(picture(5, 64, 48)).save(tmp_path / "phone.jpg", exif=tag, quality=95)
    turned = open_clip(tmp_path / "phone.jpg")
    assert (turned.width, turned.height) == (48, 64)
    assert turned.frame_at(0)[2, -3, 0] > 150


def test_damaged_image_repeats_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(4):
        Image.fromarray(picture(index, 32, 24)).save(tmp_path / f"{index}.png")
    clip = open_clip(tmp_path)
    (tmp_path / "2.png").write_bytes(b"nothing")
    assert [found for _, found in indices(clip)] == [0, 1, 1, 3]
    assert "2.png" in caplog.text


def test_truncated_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = write_movie(tmp_path / "whole.mkv", 40, (320, 240), options={"g": "10", "bf": "2"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    clip = open_clip(cut)
    assert 5 < len(clip) < 40
    assert len(list(clip.frames())) == len(clip)
    assert indices(clip, 0, 10) == [(i, i) for i in range(10)]
    moved = write_movie(tmp_path / "moved.mp4", 40, (320, 240), options={"g": "10", "bf": "2"}, faststart=True)
    check_all(open_clip(moved), 40)
    short = tmp_path / "short.mp4"
    short.write_bytes(moved.read_bytes()[: moved.stat().st_size * 6 // 10])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        clip = open_clip(short)
    assert 5 < len(clip) < 40
    assert len(list(clip.frames())) == len(clip)
    assert caplog.text


def test_a_file_that_vanishes_or_is_cut_while_in_use(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "clip.mkv", 40, (320, 240), options={"g": "10"})
    clip = open_clip(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(list(clip.frames())) == 40
    path.unlink()
    with pytest.raises(CaptureError):
        list(clip.frames())


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_bad_input_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 50)
    (tmp_path / "notes.txt").write_text("This is no film.\n" * 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "folder").mkdir()
    write_movie(tmp_path / "whole.mp4")
    (tmp_path / "no-index.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:600])
    with av.open(str(tmp_path / "zero.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    write_sound(tmp_path / "sound.m4a")
    expected = {
        "missing.mp4": "no file", "text.mp4": "not a video", "notes.txt": "no video", "empty.mp4": "empty", "bad.png": "cannot be read",
        "folder": "no image", "no-index.mp4": "not a video", "zero.mkv": "not a video", "sound.m4a": "only sound",
    }  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(CaptureError, match=words) as caught:
            open_clip(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(CaptureError, match="frame rate"):
        open_clip(tmp_path / "whole.mp4", frame_rate=0)


def test_frames_do_not_pile_up(tmp_path: Path) -> None:
    import tracemalloc

    clip = open_clip(write_movie(tmp_path / "long.mp4", 200, (320, 240)))
    tracemalloc.start()
    for index, _ in clip.frames():
        if index == 20:
            early = tracemalloc.get_traced_memory()[0]
    late = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert late < early + 6 * 320 * 240 * 3


@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="needs ../shared/footage")
def test_real_footage_matches_another_decoder() -> None:
    import cv2

    path = SHARED / "footage" / "camel" / "clip.mp4"
    clip = open_clip(path)
    assert (len(clip), clip.width, clip.height, clip.fps) == (90, 854, 480, 24.0)
    capture = cv2.VideoCapture(str(path))
    for index, image in clip.frames(0, 30):
        other = capture.read()[1][..., ::-1].astype(int)
        assert np.abs(image - other).mean() < 2, index


