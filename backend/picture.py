"""How a decoded frame becomes an array: scaled down where it is too large, mirrored and turned as the file's metadata says."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

log = logging.getLogger(__name__)


def _orientation(frame: VideoFrame, name: str) -> tuple[bool, int]:
    """(mirror first, quarter turns counter-clockwise) from the file's display matrix (x' = a x + c y, y' = b x + d y, y down)."""
    mirrored, angle = False, float(frame.rotation)
    data: Any = None
    with contextlib.suppress(ValueError):  # PyAV knows not every kind of side data (Exif) and then gives none
        data = frame.side_data.get("DISPLAYMATRIX")
    if data is not None:
        a, b, c, d = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].ravel() / 65536.0
        mirrored = bool(a * d - b * c < 0)
        angle = float(np.degrees(np.arctan2(b if mirrored else -b, -a if mirrored else a)))
    turns = round(angle / 90.0)
    if abs(angle - 90.0 * turns) > 1.0:
        log.warning("%s: its metadata asks for a rotation of %.0f°; only quarter turns are possible, %d° is used.", name, angle, 90 * turns)
    return mirrored, turns % 4


@dataclass(frozen=True)
class Picture:
    """How a decoded frame becomes an array.

    width, height: scaled size before turning; source_width, source_height: as decoded. Then mirroring, then quarter turns.
    """

    width: int
    height: int
    source_width: int
    source_height: int
    mirrored: bool
    turns: int

    @classmethod
    def of(cls, frame: VideoFrame, name: str, max_side: int) -> Picture:
        scale = min(1.0, max_side / max(frame.width, frame.height))
        if scale < 1.0:
            log.info("%s: %d × %d pixels are read at %.0f %% of the size.", name, frame.width, frame.height, 100 * scale)
        width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        return cls(width, height, frame.width, frame.height, *_orientation(frame, name))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the arrays."""
        return (self.height, self.width) if self.turns % 2 else (self.width, self.height)

    @property
    def full_size(self) -> tuple[int, int]:
        """Width and height of the arrays if nothing were scaled down."""
        return (self.source_height, self.source_width) if self.turns % 2 else (self.source_width, self.source_height)

    def array(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8, contiguous."""
        same = (frame.width, frame.height) == (self.width, self.height)
        image = frame.reformat(self.width, self.height, "rgb24", interpolation=None if same else "AREA").to_ndarray()
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, self.turns))
