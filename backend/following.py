"""Points carried from frame to frame by the follower, which works in a thread of its own while others look elsewhere."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .body_points import Crop
from .crop import crop_square
from .device import fast_bfloat16
from .model.follower import COVARIANCE, Follower

ROOM = 1.05  # of the crop: motion is looked for within this


def first_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What the follower starts from (2, S/4, S/4), float32 shares of S, between pictures (S, S, 3) uint8: dense inverse search (Kroeger et al. 2016, ECCV)."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setPatchStride(4)
    search.setVariationalRefinementIterations(0)
    first, second = (cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) for picture in (before, after))
    size = len(before)
    flow = search.calc(first, second, np.zeros((size, size, 2), np.float32))
    return np.ascontiguousarray(cv2.resize(flow, (size // 4, size // 4), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)) / size


@dataclass(frozen=True, eq=False)
class Step:
    """What the follower said (S/2, S/2, 5) of the window about `center` (2,) of `side`, pixels of the clip."""

    answer: np.ndarray
    center: np.ndarray
    side: float

    def at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where points (N, 2) pixels of the clip go (N, 2), the covariance of that (N, 2, 2) pixels squared, and which were and stay in the window."""
        start = (place - self.center) / self.side + 0.5
        # the pixels that it is about are the even ones of the picture
        said = _sample(self.answer, start * len(self.answer) + 0.25)
        end = start + said[:, :2]
        a, c, lean = np.exp(-2 * said[:, 2]), np.exp(-2 * said[:, 3]), said[:, 4]
        covariance = np.stack([a + lean**2 * c, -lean * c, -lean * c, c], 1).reshape(-1, 2, 2)
        inside = ((np.minimum(start, end) >= 0) & (np.maximum(start, end) <= 1)).all(1)
        return (end - 0.5) * self.side + self.center, COVARIANCE * self.side**2 * covariance, inside


def _sample(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N, C) of values (H, W, C) at places (N, 2) in pixels, whose centres are at halves."""
    if not len(place):
        return np.zeros((0, values.shape[2]))
    x, y = (place - 0.5).astype(np.float32).T[:, :, None]
    channels = (np.ascontiguousarray(values[..., k]) for k in range(values.shape[2]))
    return np.concatenate([cv2.remap(c, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for c in channels], 1).astype(np.float64)


class FollowWorker:
    """One thread that works out steps ahead of who asks for them."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.device = next(follower.parameters()).device
        self.thread = ThreadPoolExecutor(1, "follow")
        self.pending: tuple[np.ndarray, np.ndarray, Future[Step]] | None = None

    def begin(self, then: np.ndarray, now: np.ndarray, scale: float, crop: Crop) -> None:
        """Start on the step from one picture (H, W, 3), shrunk by `scale`, to the next, around a crop, unless it works on these two already."""
        if self.began(then, now):
            return
        self.drop()
        self.pending = (then, now, self.thread.submit(self._step, then, now, scale, crop))

    def began(self, then: np.ndarray, now: np.ndarray) -> bool:
        """Whether it works on these two."""
        return self.pending is not None and self.pending[0] is then and self.pending[1] is now

    def take(self) -> Step | None:
        """What was begun."""
        pending, self.pending = self.pending, None
        return None if pending is None else pending[2].result()

    def drop(self) -> None:
        """Forget what was begun."""
        if self.pending is not None:
            self.pending[2].cancel()
        self.pending = None

    def close(self) -> None:
        """End the thread."""
        self.thread.shutdown()

    def _step(self, then: np.ndarray, now: np.ndarray, scale: float, crop: Crop) -> Step:
        side, size = float(crop.side) * ROOM, self.follower.config.image_size
        pictures = [crop_square(picture, crop.center * scale, side * scale, size) for picture in (then, now)]
        start = first_flow(*(picture.permute(1, 2, 0).numpy() for picture in pictures))
        before, after = (picture[None].to(self.device).float() / 255 - 0.5 for picture in pictures)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=fast_bfloat16(self.device)):
            answer, _, _ = self.follower(before, after, torch.from_numpy(start)[None].to(self.device))
        return Step(answer[0].permute(1, 2, 0).float().cpu().contiguous().numpy(), np.asarray(crop.center, np.float64), side)
