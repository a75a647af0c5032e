"""Dense optical flow between two frames, there and back, worked out by two threads of its own while others look elsewhere."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

_ROOM = 0.25  # of the subject's longer side: flow is worked out so far around it
_SMALLEST = 64  # pixels
_PATCHES = 16  # pixels that flow needs at least


@dataclass(frozen=True, eq=False)
class Part:
    """Of a picture: grey (H, W) whose corner lies at `corner` (2,)."""

    corner: np.ndarray
    grey: np.ndarray

    @cached_property
    def structure(self) -> np.ndarray:
        """(H, W, 3) float32 structure tensor xx, xy, yy, (grey levels a pixel)² (Förstner 1986)."""
        smooth = cv2.GaussianBlur(self.grey.astype(np.float32), (0, 0), 0.7)
        x, y = (cv2.Sobel(smooth, cv2.CV_32F, *axis, ksize=3) / 8 for axis in ((1, 0), (0, 1)))
        return np.stack([cv2.GaussianBlur(product, (0, 0), 1.5) for product in (x * x, x * y, y * y)], -1)


@dataclass(frozen=True, eq=False)
class Flow:
    """From a part of a picture to the same part of another: onward and back (H, W, 2) pixels."""

    then: Part
    onward: np.ndarray
    back: np.ndarray


@dataclass(frozen=True, eq=False)
class _Pending:
    """Flow that is being worked out, and between which pictures."""

    pictures: tuple[np.ndarray, np.ndarray]
    then: Part
    ways: tuple[Future[np.ndarray], Future[np.ndarray]]


class FlowWorker:
    """Dense inverse search (Kroeger et al. 2016, ECCV) at full size, and without smoothing afterwards, which on plain skin makes too little of the motion."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(2, "flow")
        self.searches = (make_search(), make_search())  # each has buffers of its own
        self.pending: _Pending | None = None

    def begin(self, then: np.ndarray, now: np.ndarray, scale: float, box: np.ndarray) -> None:
        """Start on the flow from one picture (H, W, 3), shrunk by `scale`, to the next, around a box (2, 2), unless it works on these two already."""
        if self.began(then, now):
            return
        self.drop()
        first = part_around(then, scale, box)
        height, width = first.grey.shape
        if min(height, width) < _PATCHES:
            return
        x, y = first.corner
        second = grey(now[y : y + height, x : x + width])
        pairs = ((first.grey, second), (second, first.grey))
        onward, back = (self.threads.submit(calc, search, *pair) for search, pair in zip(self.searches, pairs, strict=True))
        self.pending = _Pending((then, now), first, (onward, back))

    def began(self, then: np.ndarray, now: np.ndarray) -> bool:
        """Whether it works on these two."""
        return self.pending is not None and self.pending.pictures[0] is then and self.pending.pictures[1] is now

    def part(self, picture: np.ndarray, scale: float, box: np.ndarray) -> Part:
        """The part that flow starts from, if it does from this picture, else the one around the box."""
        if self.pending is not None and self.pending.pictures[0] is picture:
            return self.pending.then
        return part_around(picture, scale, box)

    def take(self) -> Flow | None:
        """What was begun; None where the part was too small."""
        pending, self.pending = self.pending, None
        return None if pending is None else Flow(pending.then, pending.ways[0].result(), pending.ways[1].result())

    def drop(self) -> None:
        """Wait for what was begun, and forget it: its threads' searches must not be used by two at once."""
        self.take()

    def close(self) -> None:
        """End the threads."""
        self.threads.shutdown()


def make_search() -> cv2.DISOpticalFlow:
    """A dense inverse search, for one thread at a time."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setPatchStride(6)
    search.setGradientDescentIterations(12)
    search.setVariationalRefinementIterations(0)
    return search


def calc(search: cv2.DISOpticalFlow, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) pixels."""
    return search.calc(first, second, np.zeros((*first.shape, 2), np.float32))


def part_around(picture: np.ndarray, scale: float, box: np.ndarray) -> Part:
    """The part of a picture, shrunk by `scale`, in which what is in a box (its low and high corner, pixels of the clip) may move; never less than a patch
    needs."""
    size = np.array([picture.shape[1], picture.shape[0]])
    room = _ROOM * float(np.ptp(box, axis=0).max())
    middle = box.mean(0) * scale
    half = np.maximum((np.ptp(box, axis=0) / 2 + room) * scale, _SMALLEST / 2)
    low = np.clip(np.floor(middle - half), 0, np.maximum(size - _SMALLEST, 0)).astype(int)
    high = np.minimum(np.maximum(np.ceil(middle + half).astype(int), low + _SMALLEST), size)
    return Part(low, grey(picture[low[1] : high[1], low[0] : high[0]]))


def grey(picture: np.ndarray) -> np.ndarray:
    """(H, W) of (H, W, 3)."""
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
