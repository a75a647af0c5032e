"""What a capture looks like: the rig over the video, as a film side by side and as a sheet of frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .bone_shapes import bone_mesh, bone_tips
from .camera import Camera
from .errors import CaptureError
from .kinematics import inverse_affine
from .motion import Motion
from .progress import CancelToken, OnProgress, Progress
from .rasterizer import render_rig
from .rig import Rig
from .video import Clip

log = logging.getLogger(__name__)

LONG_SIDE = 960
_ALPHA = 0.55
_TINT, _PALE = (0.3, 0.7, 1.0), (0.85, 0.85, 0.85)  # mixed into a rig's own colours, which may be as dark as the video's shadows
_TICKS = 90_000  # of the film's time base in a second: exact enough for any frame rate
_BT709 = 1
_BONE, _OUTLINE, _JOINT = (255, 196, 64), (20, 20, 20), (255, 255, 255)
_GREY = (105, 105, 105)
_PAPER, _INK = (32, 33, 36), (225, 225, 225)


def overlay(image: np.ndarray, rig: Rig, pose: np.ndarray, camera: Camera, *, alpha: float = _ALPHA, bones: bool = True) -> np.ndarray:
    """(H, W, 3) uint8: the rig in pose (J, 4, 4), seen through the camera of one time, blended over the picture that it films."""
    tinted = _recolored(rig, _TINT, 0.5)
    blended = render_rig(tinted, pose, camera, (image.shape[0], image.shape[1])).over(image, alpha)
    return draw_skeleton(blended, rig, pose, camera) if bones else blended


def draw_skeleton(image: np.ndarray, rig: Rig, pose: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8: a line from each driven bone's head to its tip, drawn over a picture of any size that the camera films."""
    height, width = image.shape[:2]
    moved = np.asarray(pose, np.float64) @ inverse_affine(rig.rest)
    ends = np.einsum("jab,jb->ja", moved[:, :3, :3], bone_tips(rig)) + moved[:, :3, 3]
    scale = [width / camera.width, height / camera.height]
    lines = np.stack([camera.project(np.asarray(pose)[:, :3, 3]), camera.project(ends)], 1) * scale
    shown = (rig.driven if rig.driven.any() else np.ones(len(rig), bool)) & (np.abs(lines) < 20 * max(width, height)).all((1, 2))
    thick = max(1, round(max(height, width) / 400))
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for color, extra in ((_OUTLINE, 2), (_BONE, 0)):
        for line in lines[shown]:
            pen.line([tuple(point) for point in line], color, thick + extra)
    for x, y in lines[shown, 0]:
        pen.ellipse([x - thick - 1, y - thick - 1, x + thick + 1, y + thick + 1], _JOINT, _OUTLINE)
    return np.asarray(picture)


def write_preview(
    path: str | Path, clip: Clip, rig: Rig, motion: Motion, poses: np.ndarray, camera: Camera, *, skeleton: bool = True,
    cancel: CancelToken | None = None, progress: OnProgress | None = None,
) -> None:  # fmt: skip
    """Write an MP4 (H.264): on the left the video with the bones over it, on the right the rig in the same camera over the dimmed video.

    poses: (T, J, 4, 4) bone to armature at motion.times. camera: of one time where nothing moves, else of each of the clip's or of the
    motion's frames. Frames stand at the video's own times. Raises CaptureError where the file cannot be written.
    """
    width, height = _fitted(clip, LONG_SIDE)
    pale = _recolored(rig, _PALE, 0.25)
    with _writing(Path(path)) as part, av.open(part, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps).limit_denominator(1001), options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 2 * width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, _TICKS)
        context.thread_count = min(4, os.cpu_count() or 1)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        for done, (image, pose, view) in enumerate(_shots(clip, motion, poses, camera)):
            if cancel is not None:
                cancel.check()
            picture = _resized(image, width, height)
            left = draw_skeleton(picture, rig, pose, view) if skeleton else picture
            frame = av.VideoFrame.from_ndarray(np.concatenate([left, _posed(picture, pale, pose, view)], 1), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = round(float(motion.times[done] - motion.times[0]) * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
            if progress is not None:
                progress(Progress("Writing the preview", (done + 1) / len(motion), done + 1, len(motion)))
        container.mux(stream.encode(None))


def contact_sheet(
    path: str | Path, clip: Clip, rig: Rig, motion: Motion, poses: np.ndarray, camera: Camera, *, count: int = 12, cell: int = 400,
    cancel: CancelToken | None = None, progress: OnProgress | None = None,
) -> None:  # fmt: skip
    """Write a PNG of `count` frames evenly chosen, the video above, the rig laid over it below, each with its time.

    cell: the longer side of a picture in pixels. The other arguments are write_preview's.
    """
    width, height = _fitted(clip, cell)
    chosen = np.unique(np.linspace(0, len(motion) - 1, min(count, len(motion))).round().astype(int))
    columns = min(len(chosen), 4 if width >= height else 6)
    rows = -(-len(chosen) // columns)
    gap, font = max(4, cell // 50), ImageFont.load_default(max(12, cell // 22))
    label = max(18, cell // 14)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (2 * height + label + 2 * gap) + gap), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, index in enumerate(chosen):
        if cancel is not None:
            cancel.check()
        image, pose, view = next(_shots(clip, motion, poses, camera, int(index)))
        picture = _resized(image, width, height)
        x, y = gap + place % columns * (width + gap), gap + place // columns * (2 * height + label + 2 * gap)
        sheet.paste(Image.fromarray(picture), (x, y))
        sheet.paste(Image.fromarray(overlay(picture, rig, pose, view)), (x, y + height + gap // 2))
        pen.text((x + 2, y + 2 * height + gap // 2 + 2), f"{motion.times[index]:.2f} s   frame {clip.index_at(motion.times[index]) + 1}", _INK, font)
        if progress is not None:
            progress(Progress("Drawing the contact sheet", (place + 1) / len(chosen), place + 1, len(chosen)))
    with _writing(Path(path)) as part:
        sheet.save(part, "PNG")


def _shots(clip: Clip, motion: Motion, poses: np.ndarray, camera: Camera, only: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray, Camera]]:
    """(picture, pose, camera) of each frame of a motion in turn, or of one alone."""
    wanted = range(len(motion)) if only is None else range(only, only + 1)
    places = [clip.index_at(motion.times[index]) for index in wanted]
    pictures = clip.frames(places[0], places[-1] + 1)
    shown, image = next(pictures)
    for index, place in zip(wanted, places, strict=True):
        while shown < place:
            shown, image = next(pictures)
        yield image, poses[index], _camera_at(camera, index, place, len(motion))


def _camera_at(camera: Camera, index: int, place: int, frames: int) -> Camera:
    """The camera of a motion's frame `index`, which is the clip's frame `place`."""
    if camera.from_armature.ndim == 2:
        return camera
    return camera.at(index if len(camera.from_armature) == frames else place)


def _posed(picture: np.ndarray, rig: Rig, pose: np.ndarray, camera: Camera) -> np.ndarray:
    """The rig over a dim and pale version of the picture, so that it is seen clearly and its place still shows."""
    image = Image.fromarray(picture)
    dim = Image.blend(Image.blend(image, image.convert("L").convert("RGB"), 0.5), Image.new("RGB", image.size, _GREY), 0.7)
    return render_rig(rig, pose, camera, (picture.shape[0], picture.shape[1])).over(np.asarray(dim))


def _recolored(rig: Rig, color: tuple[float, float, float], share: float) -> Rig:
    """The rig with a share of one colour in its mesh's (in its bones' octahedra where it has no mesh)."""
    mesh = rig.mesh if rig.mesh is not None and len(rig.mesh.triangles) else bone_mesh(rig)
    colors = (1 - share) * mesh.colors + share * np.array(color, np.float32)
    return replace(rig, mesh=replace(mesh, colors=colors.astype(np.float32)))


def _fitted(clip: Clip, long_side: int) -> tuple[int, int]:
    """Width and height, both even as H.264 wants them, of a picture of the clip that is no longer than `long_side`."""
    scale = min(1.0, long_side / max(clip.width, clip.height))
    return max(2, round(clip.width * scale / 2) * 2), max(2, round(clip.height * scale / 2) * 2)


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


@contextmanager
def _writing(path: Path) -> Iterator[str]:
    """A file beside the wanted one, which takes its place when all went well: a failure leaves whatever was there."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield str(part)
        part.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise CaptureError(f"'{path}' could not be written ({error}). Check that the folder exists, is not read-only and has room.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
