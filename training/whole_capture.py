"""A take through the whole pipeline, as a user has it: filmed before a still camera, followed, captured, fitted and finished."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ..backend.capture import CaptureRequest, CaptureResult, ModelLoader, capture
from ..backend.fit import Settle
from ..backend.progress import CancelToken, drain
from ..backend.rasterizer import draw_rig
from ..backend.reference import Reference
from ..backend.settings import CaptureSettings
from ..backend.video import open_clip
from .library import library_without
from .methods import Method, posed
from .still_camera import film, still_camera
from .takes import Take

_GREY = (128, 128, 128)


def request_of(take: Take, settings: CaptureSettings, folder: Path, seed: int = 0) -> CaptureRequest:
    """Film a take into a folder. Its reference is the clip's own frame, or of another clip the rig drawn from the same side.

    The same take and seed give the same video.
    """
    asset, pose, path = take.asset, take.pose, folder / "take.mp4"
    camera = still_camera(asset, pose, seed)
    film(path, asset, pose, take.clip.fps, camera, seed)
    clip = open_clip(path)
    if take.keyed is not None:
        moment = float(clip.times[take.keyed])
        reference = Reference(clip.frame_at(moment), camera, take.reference_pose, moment)
    else:
        before = still_camera(asset, take.reference_pose[None], seed)
        picture = draw_rig(asset.rig, take.reference_pose, before, (before.height, before.width), _GREY)[0]
        reference = Reference(picture, before, take.reference_pose, None)
    up = np.asarray(asset.up, np.float64)
    return CaptureRequest(asset.rig, clip, camera, (reference,), settings, (up[0], up[1], up[2]))


def captured(request: CaptureRequest, loader: ModelLoader | None = None, settle: Settle | None = None) -> CaptureResult:
    """Run a capture to its end; loader, settle: as `capture` has them."""
    return drain(capture(request, CancelToken(), loader, settle))


def whole_capture(model: str) -> Method:
    """The product with its default settings and a bundled model's name or a file; its own film, since a capture sees whole pictures."""

    def run(take: Take) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder, library_without(take.clip.name, take.asset.rig.names) as library:
            motion = captured(request_of(take, CaptureSettings(model=model, library=library), Path(folder))).motion
        return posed(motion.rotations, motion.heads)

    return run
