"""A take before a camera, drawn by the training renderer: what a network sees of it, and the way from its answers back to poses."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..backend.assemble import Track, assemble
from ..backend.body_points import Body, Crop, read_body
from ..backend.camera import Camera, view_rotation
from ..backend.model.batch import ModelInput
from ..backend.model.config import SURFACE_POINTS
from ..backend.model.prepare import images_to_tensor, model_input
from ..backend.motion import Motion
from ..backend.reference import Reference
from ..backend.settings import CaptureSettings
from .data.sample import SampleConfig, SampleMaker, Shot
from .data.scene import coat_of
from .takes import Take


@dataclass(frozen=True, eq=False)
class Filmed:
    """A take as pictures.

    x: the networks' input. body: of all driven bones. camera, crop: of the T frames. reference: its pose and camera (its picture lies in x).
    reference_crop: its window. surface (T, M, 3), ref_surface (M, 3): true points of the skin as training.data.sample.Truth has them.
    """

    x: ModelInput
    body: Body
    camera: Camera
    crop: Crop
    reference: Reference
    reference_crop: Crop
    surface: Tensor | None
    ref_surface: Tensor | None


def film(take: Take, image_size: int, surface_samples: int = 0, seed: int = 0) -> Filmed:
    """Draw a take with its reference: the clip's own frame before the same camera, or of another clip a plain picture from elsewhere, in the same coat.

    The same take and seed give the same pictures.
    """
    asset = take.asset
    rng = np.random.default_rng([zlib.crc32(f"{asset.name} {take.clip.name}".encode()), seed])
    frames = len(take.frames)
    maker = SampleMaker(SampleConfig(frames=frames, references=1, image_size=image_size, loose_share=0.0, surface_samples=surface_samples))
    body = read_body(asset.rig, SURFACE_POINTS)
    clip, frame = take.reference
    aligned = take.keyed is not None
    look = None if aligned else coat_of(rng, asset)
    drawn = None if aligned else maker.shoot(rng, asset, clip, body, np.array([frame]), 1, plain=True, look=look)
    shot = maker.shoot(rng, asset, take.clip, body, np.concatenate([[frame if aligned else take.frames[0]], take.frames]), 1, plain=False, look=look)
    other = shot if drawn is None else drawn
    references = maker.references(rng, body, other, 1, aligned)
    after = slice(1, None)
    camera = Camera(shot.camera.intrinsics[after], shot.camera.from_armature[after], shot.camera.width, shot.camera.height)
    crop = shot.crop.at(after)
    x = model_input(body, references, images_to_tensor(shot.images[after]), shot.times[after], crop.side)
    surface, ref_surface = (None if s.surface is None else torch.from_numpy(s.surface).float() for s in (shot, other))
    return Filmed(x, body, camera, crop, _reference(other, take), other.crop.at(0), None if surface is None else surface[after],
                  None if ref_surface is None else ref_surface[0])


def _reference(shot: Shot, take: Take) -> Reference:
    camera = shot.camera.at(0)
    time = float(shot.times[0]) if take.keyed is not None else None
    return Reference(np.zeros((camera.height, camera.width, 3), np.uint8), camera, take.reference_pose, time)


def motion_of_turns(take: Take, filmed: Filmed, turn: np.ndarray, uv: np.ndarray, error: np.ndarray) -> Motion:
    """A capture's own way from turns (T, J, 3, 3), points found uv (T, J, K, 2) and expected errors (T, J) to the armature, travel included."""
    weight = np.broadcast_to(filmed.body.mask.astype(np.float32), uv.shape[:3])
    track = Track(filmed.reference, filmed.reference_crop, filmed.camera, filmed.crop, take.times, turn, uv, error, weight)
    return assemble(take.asset.rig, filmed.body, [track], CaptureSettings(), np.asarray(take.asset.up))


def heads_of_positions(filmed: Filmed, xyz: np.ndarray) -> np.ndarray:
    """(T, J, 3) heads of the body's bones in the armature frame from xyz (T, J, 3) as a network says them; their centroid is the reference's,
    since root-relative positions say nothing of travel."""
    view = view_rotation(filmed.camera.intrinsics, filmed.crop.center) @ filmed.camera.rotation
    return xyz.astype(np.float64) @ view * filmed.body.size + filmed.reference.pose[filmed.body.bones, :3, 3].mean(0)
