"""The rig's silhouette in a crop: which part of a reference is the subject."""

from __future__ import annotations

import numpy as np
import torch

from .body_points import Body, Crop
from .camera import Camera
from .kinematics import skin
from .rasterizer import rasterize
from .rig import Rig


def crop_camera(camera: Camera, crop: Crop, size: int) -> np.ndarray:
    """Intrinsics (4,) of a crop's own picture of size × size pixels."""
    scale = size / float(crop.side)
    fx, fy, cx, cy = camera.intrinsics
    corner = crop.center - crop.side / 2
    return np.array([fx * scale, fy * scale, (cx - corner[0]) * scale, (cy - corner[1]) * scale])


def silhouette(rig: Rig, body: Body, pose: np.ndarray, camera: Camera, crop: Crop, size: int) -> np.ndarray:
    """(size, size) float32 coverage 0..1 of the posed mesh, or of thick lines along the bones where there is no mesh."""
    if rig.mesh is None:
        uv = crop.to_unit(camera.project(body.points(pose)[:, :2])) * size
        return _lines(uv, size)
    seen = camera.to_camera(skin(rig.mesh, rig, pose))
    intrinsics = crop_camera(camera, crop, 2 * size)
    triangles = torch.from_numpy(rig.mesh.triangles.astype(np.int64))
    buffers = rasterize(torch.from_numpy(seen).float()[None], triangles, torch.from_numpy(intrinsics).float()[None], (2 * size, 2 * size))
    cover = np.zeros(4 * size * size, np.float32)
    cover[buffers.pixel.numpy()] = 1
    return cover.reshape(size, 2, size, 2).mean((1, 3))


def _lines(segments: np.ndarray, size: int) -> np.ndarray:
    """Segments (J, 2, 2) in pixels as soft lines a twelfth of the crop wide."""
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    nearest = np.full((size, size), np.inf)
    for a, b in segments:
        along = b - a
        share = np.clip(((grid - a) @ along) / max(float(along @ along), 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(grid - a - share[..., None] * along, axis=-1))
    return np.clip(size / 24 + 0.5 - nearest, 0, 1).astype(np.float32)
