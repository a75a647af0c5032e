"""Which reference answers for which frames of a clip, and where following the subject starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .body_points import Body, Crop, crop_around
from .errors import CaptureError
from .reference import Reference

if TYPE_CHECKING:
    from .capture import CaptureRequest

_INSIDE = 0.1  # share of a reference's points that must lie in its picture


@dataclass(frozen=True, eq=False)
class Plan:
    """One reference, the frames that it answers for, the frame from which following starts, and its first crop."""

    reference: Reference
    frames: range
    seed: int
    start: Crop
    crop: Crop

    def prompts(self, request: CaptureRequest, body: Body, size: int) -> list[Any]:
        """What the network is shown of the reference, in pictures of size² pixels."""
        from .crop import crop_square
        from .model.prepare import posed_crop
        from .silhouette import silhouette

        reference = self.reference
        image = crop_square(reference.image, self.crop.center, float(self.crop.side), size).permute(1, 2, 0).numpy()
        mask = silhouette(request.rig, body, reference.pose, reference.camera, self.crop, size)
        when = float("nan") if reference.time is None else reference.time
        return [posed_crop(body, reference.camera, self.crop, reference.pose, image, mask, when)]


def aligned_times(request: CaptureRequest) -> np.ndarray:
    """(N,) seconds of aligned references, in order."""
    return np.array(sorted(r.time for r in request.references if r.time is not None))


def plans_of(request: CaptureRequest, body: Body, frames: range) -> list[Plan]:
    """Which reference answers for which frames: each reaches to its neighbours, where two answers are blended."""
    aligned = sorted((r for r in request.references if r.time is not None), key=lambda r: r.time or 0.0)
    rendered = [r for r in request.references if r.time is None]
    if not aligned and not rendered:
        raise CaptureError("There is no reference. Pose the rig on one frame, go to that frame and press Add Reference.")
    times = request.clip.times
    plans = []
    for n, reference in enumerate(aligned):
        assert reference.time is not None
        crop = reference_crop(body, reference)
        low = frames.start if n == 0 else max(frames.start, int(np.searchsorted(times, aligned[n - 1].time or 0.0)))
        high = frames.stop if n == len(aligned) - 1 else min(frames.stop, int(np.searchsorted(times, (aligned[n + 1].time or 0.0) + 1e-6)))
        seed = request.clip.index_at(reference.time)
        low, high = min(low, seed), max(high, seed + 1)  # a reference outside the trim is still followed from
        start = crop if request.settings.crop is None else _user_crop(request.settings.crop)
        plans.append(Plan(reference, range(low, high), seed, start, crop))
    if plans:
        return plans
    whole = Crop(np.array([request.clip.width / 2, request.clip.height / 2]), np.asarray(float(max(request.clip.width, request.clip.height))))
    start = whole if request.settings.crop is None else _user_crop(request.settings.crop)
    return [Plan(reference, frames, frames.start, start, reference_crop(body, reference)) for reference in rendered]


def _user_crop(box: tuple[float, float, float, float]) -> Crop:
    x, y, width, height = box
    return Crop(np.array([x + width / 2, y + height / 2]), np.asarray(max(width, height) * 1.15))


def reference_crop(body: Body, reference: Reference) -> Crop:
    """The window around the posed rig; raises CaptureError where it is not in the picture."""
    pixels = reference.camera.project(body.points(reference.pose)[body.mask])
    where = "the reference" if reference.time is None else f"the reference at {reference.time:.2f} s"
    if not np.isfinite(pixels).all():
        raise CaptureError(f"Part of the rig is behind the camera in {where}. Move the rig or the camera until it stands over the subject in the picture.")
    inside = ((pixels > 0) & (pixels < [reference.camera.width, reference.camera.height])).all(-1).mean()
    if inside < _INSIDE:
        raise CaptureError(f"The rig is outside the picture in {where}. Pose it over the subject as the camera sees it, or choose another reference frame.")
    return crop_around(pixels)
