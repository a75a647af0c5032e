"""Frames that lie in image files: a folder, numbered names, or one picture."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from .errors import CaptureError
from .picture import Picture

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".tga", ".exr", ".dpx", ".jp2"}


@dataclass(frozen=True, eq=False)
class Stills:
    """Image files, one a frame (a video.Source)."""

    paths: tuple[Path, ...]
    times: np.ndarray
    fps: float
    max_side: int
    size: tuple[int, int]
    full_size: tuple[int, int]

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        before: np.ndarray | None = None
        for path in self.paths[start:stop]:
            try:
                frame = _decode_still(path)
                picture = Picture.of(frame, path.name, self.max_side)
                if picture.size != self.size:
                    log.warning("%s is %d × %d, not as the first image %d × %d; it is stretched.", path.name, *picture.size, *self.size)
                    width, height = self.size[::-1] if picture.turns % 2 else self.size
                    picture = replace(picture, width=width, height=height)
                before = picture.array(frame)
            except CaptureError:
                if before is None:
                    raise
                log.warning("%s cannot be read and repeats the image before.", path.name)
            yield before.copy()


def _decode_still(path: Path) -> VideoFrame:
    """One image; scene-linear EXR comes out in sRGB."""
    try:
        with path.open("rb") as file, av.open(file, "r", options={"apply_trc": "iec61966_2_1"} if path.suffix.lower() == ".exr" else {}) as container:
            return next(container.decode(video=0))
    except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
        raise CaptureError(f"'{path.name}' cannot be read as an image: it is missing, damaged or of an unknown kind.") from error


def _numbered(paths: list[Path]) -> dict[tuple[str, str], dict[int, Path]]:
    """Groups of images whose names differ in their last number alone: (before, after) → number → path."""
    groups: dict[tuple[str, str], dict[int, Path]] = {}
    for path in sorted(paths):
        match = re.fullmatch(r"(.*?)(\d+)(\D*)", path.name)
        if match:
            groups.setdefault((match[1], match[3]), {}).setdefault(int(match[2]), path)
    return groups


def open_stills(path: Path, rate: float, max_side: int) -> Stills:
    """Find the images that belong together; see video.open_clip."""
    folder = path if path.is_dir() else path.parent
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and not p.name.startswith("."))
    if not images:
        raise CaptureError(f"There is no image in the folder '{path.name}'. Choose a video or a folder of numbered images.")
    groups = _numbered(images)
    if path.is_dir():
        group = max(groups.values(), key=len, default={})
        chosen = group if len(group) > 1 else dict(enumerate(images))
        if len(chosen) < len(images):
            log.warning("%s: %d images that do not belong to the longest numbered sequence are left out.", path.name, len(images) - len(chosen))
    else:
        chosen = next((g for g in groups.values() if path in g.values()), {0: path})
    numbers = sorted(chosen)
    paths = tuple(chosen[n] for n in numbers)
    times = (np.array(numbers, np.float64) - numbers[0]) / rate  # a gap in the numbers is a gap in time
    first = _decode_still(paths[0])
    picture = Picture.of(first, paths[0].name, max_side)
    return Stills(paths, times, rate, max_side, picture.size, picture.full_size)
