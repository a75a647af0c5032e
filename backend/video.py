"""A clip: where the frames come from, each with its exact time. Decoding itself is in `movie` and `stills`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import CaptureError

DEFAULT_RATE = 24.0
DEFAULT_MAX_SIDE = 2160


class Source(Protocol):
    """What a clip reads from.

    times: (T,) seconds since the first frame. size: width and height of what is read. full_size: before scaling down.
    """

    @property
    def times(self) -> np.ndarray: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def full_size(self) -> tuple[int, int]: ...

    @property
    def fps(self) -> float: ...

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Decode frames [start, stop), each exactly once and in order, (H, W, 3) uint8."""
        ...


@dataclass(frozen=True, eq=False)
class Clip:
    """A moving picture of T frames, decoded anew at each reading: it holds no frame, and threads may share it.

    path: what was opened.
    times: (T,) float64 seconds since the first frame, strictly increasing, not necessarily even.
    width, height: of every frame that comes out, in pixels: after the file's rotation metadata, and after scaling down to `max_side`
        (see open_clip). Camera, crop and reference are about this picture. Pixels are taken as square.
    source_width, source_height: the same before scaling down.
    fps: average frames per second. duration: seconds, the last frame's included.
    """

    path: Path
    times: np.ndarray
    width: int
    height: int
    source_width: int
    source_height: int
    fps: float
    duration: float
    source: Source

    def __len__(self) -> int:
        return len(self.times)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index, (H, W, 3) uint8 sRGB) of frames [start, stop), one picture in memory at a time.

        A frame that the index promises and the decoder then fails to give is replaced by the one before it, so that indices and times
        always agree. Raises CaptureError if the file can no longer be read.
        """
        start, stop = max(start, 0), len(self) if stop is None else min(stop, len(self))
        if start < stop:
            yield from enumerate(self.source.read(start, stop), start)

    def index_at(self, time: float) -> int:
        """The frame nearest to a time in seconds since the first frame (the earlier of two equally near)."""
        return int(np.argmin(np.abs(self.times - time)))

    def frame_at(self, time: float) -> np.ndarray:
        """(H, W, 3) uint8 picture of the frame nearest to a time."""
        index = self.index_at(time)
        return next(self.frames(index, index + 1))[1]


def open_clip(path: str | Path, *, frame_rate: float | None = None, max_side: int = DEFAULT_MAX_SIDE) -> Clip:
    """Open a video file, a folder of images, one of several numbered images (`shot_0001.png`: all of them), or a single picture.

    frame_rate: frames per second of images (default 24) and of the few video files that carry no time stamps; else unused.
    max_side: frames whose longer side exceeds it are scaled down to it as they are decoded (4K and 8K footage carries more than the
        network's crop can hold, at the price of memory and time); `width` and `height` are then the scaled ones.
    Raises CaptureError if there is no file, or nothing in it can be decoded as pictures.
    """
    from .movie import open_movie  # here, so that the types can be imported where PyAV is not installed
    from .stills import IMAGE_SUFFIXES, open_stills

    path = Path(path)
    if frame_rate is not None and not frame_rate > 0:
        raise CaptureError(f"The frame rate must be positive, not {frame_rate}.")
    if not path.exists():
        raise CaptureError(f"There is no file at '{path}'. Choose the video again.")
    images = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    source: Source = open_stills(path, frame_rate or DEFAULT_RATE, max_side) if images else open_movie(path, frame_rate, max_side)
    times = source.times
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / source.fps
    return Clip(path, times, *source.size, *source.full_size, source.fps, float(times[-1]) + last, source)
