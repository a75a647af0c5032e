"""A rig's motion as a video file before a still camera, drawn by the training renderer: what a capture of the whole pipeline needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from ..backend.camera import Camera
from ..backend.kinematics import skin
from .cases import SENSOR, aim, plan_take, seed_of
from .data.asset import Asset
from .render import Background, Look, render_clip
from .video_file import write_video

SIDE = 320  # pixels of the square picture


def still_camera(asset: Asset, pose: np.ndarray, seed: int) -> Camera:
    """The camera of one time that holds poses (T, J, 4, 4) throughout, from a side that the rig's name and the seed draw."""
    take = plan_take(seed_of(asset.name, seed), asset.rig, pose, len(pose))
    upright = np.eye(4)
    upright[:3, :3] = _upright(np.asarray(asset.up, np.float64))
    points = _vertices(asset, pose)[:, :: max(1, _count(asset) // 400)] @ upright[:3, :3].T
    flip = np.diag([1.0, -1, -1, 1])  # Blender's cameras look along -z with y up
    focal = take.focal / SENSOR * SIDE
    return Camera(np.array([focal, focal, SIDE / 2, SIDE / 2]), flip @ np.linalg.inv(aim(take, points, SIDE, SIDE)) @ upright, SIDE, SIDE)


def film(path: Path, asset: Asset, pose: np.ndarray, fps: float, camera: Camera, seed: int) -> None:
    """Write poses (T, J, 4, 4) as an H.264 file; look, light and scenery are the seed's."""
    mesh, rng = asset.rig.mesh, seed_of(f"{asset.name} film", seed)
    assert mesh is not None, f"{asset.name} has no mesh to film"
    seen = camera.to_camera(_vertices(asset, pose)).astype(np.float32)
    still = replace(Background.random(rng), occluder="", pan=np.zeros(2), shake=0.0)
    drawn = render_clip(
        seen, mesh.triangles.astype(np.int32), mesh.vertices.astype(np.float32), np.tile(camera.intrinsics, (len(pose), 1)), SIDE,
        Look.random(rng, mesh.colors, mesh.vertices, np.asarray(asset.up)), still, rng, camera.rotation @ np.asarray(asset.up), company=0.0,
    )
    pictures = (av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in drawn.images)
    write_video(path, pictures, fps, (SIDE, SIDE))


def _vertices(asset: Asset, pose: np.ndarray) -> np.ndarray:
    assert asset.rig.mesh is not None
    return skin(asset.rig.mesh, asset.rig, pose)


def _count(asset: Asset) -> int:
    return len(asset.rig.mesh.vertices) if asset.rig.mesh is not None else 0


def _upright(up: np.ndarray) -> np.ndarray:
    """(3, 3) that lays an armature's up along z."""
    side = np.array([1.0, 0, 0]) if abs(up[0]) < 0.9 else np.array([0, 0, 1.0])
    across = side - side @ up * up
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])
