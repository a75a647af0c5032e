"""Random cameras and crops for training: every view that a capture may meet."""

from __future__ import annotations

import numpy as np

from ...backend.body_points import Crop, crop_around
from ...backend.camera import Camera


def _look_at(eye: np.ndarray, target: np.ndarray, up: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """World-to-camera rotations (P, 3, 3), OpenCV axes."""
    z = target - eye
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    x = np.cross(z, up)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-9)
    y = np.cross(z, x)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * x + s * y, c * y - s * x, z], -2)


def random_camera(rng: np.random.Generator, center: np.ndarray, size: float, up: np.ndarray, times: np.ndarray) -> Camera:
    """A camera for each picture: orbiting (the same as a subject that turns), following, drifting or still.

    center: (P, 3) where the subject is, armature frame. times: (P,) seconds.
    """
    height = float(rng.choice([360, 480, 720]))
    width = height * float(rng.choice([1.0, 4 / 3, 16 / 9]))
    focal = height * np.exp(rng.uniform(np.log(0.9), np.log(3.5)))
    phase = times - times.mean()
    nearing = np.clip(rng.normal(0, 0.3 if rng.random() < 0.3 else 0.03) * phase, -0.7, 0.7)  # it comes closer or goes away
    distance = focal * size / (height * rng.uniform(0.3, 0.9)) * np.exp(nearing)
    yaw = np.full(times.shape, rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.5:
        yaw += rng.normal(0, 0.7) * phase
    if rng.random() < 0.3:
        yaw += 0.4 * np.sin(rng.uniform(1, 4) * phase + rng.uniform(0, 6))
    pitch = np.broadcast_to(np.deg2rad(np.clip(rng.normal(10, 16), -25, 65)), times.shape)
    side = np.cross(up, [1.0, 0, 0] if abs(up[0]) < 0.9 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    front = np.cross(side, up)
    flat = np.cos(yaw)[:, None] * side + np.sin(yaw)[:, None] * front
    direction = np.cos(pitch)[:, None] * flat + np.sin(pitch)[:, None] * up
    follow = rng.random() < 0.5
    anchor = center if follow else np.broadcast_to(center.mean(0), center.shape)
    target = anchor + rng.normal(0, 0.08, 3) * size + rng.normal(0, 0.03, 3) * size * phase[:, None]
    roll = np.broadcast_to(rng.normal(0, 0.06), times.shape)
    rotation = _look_at(target + direction * distance[:, None], target, up, roll)
    matrix = np.tile(np.eye(4), (len(times), 1, 1))
    matrix[:, :3, :3] = rotation
    matrix[:, :3, 3] = -np.einsum("pab,pb->pa", rotation, target + direction * distance[:, None])
    intrinsics = np.tile([focal, focal, width / 2, height / 2], (len(times), 1))
    return Camera(intrinsics, matrix, int(width), int(height))


def random_crop(rng: np.random.Generator, pixels: np.ndarray, references: int) -> Crop:
    """Crops (P,) round the points (P, N, 2): off-centre and of uneven tightness for frames, tight for references."""
    crop = crop_around(pixels)
    count = len(pixels)
    drift = rng.normal(0, 0.05, 2) + rng.normal(0, 0.03, (count, 2))
    zoom = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.06, count))
    drift[:references] *= 0.2
    zoom[:references] = zoom[:references] ** 0.3
    return Crop(crop.center + drift * crop.side[:, None], crop.side * zoom)


def crop_intrinsics(camera: Camera, crop: Crop, size: int) -> np.ndarray:
    """(P, 4) intrinsics of the crops' own pictures."""
    scale = size / crop.side
    focal = camera.intrinsics[:, :2] * scale[:, None]
    centre = (camera.intrinsics[:, 2:] - crop.center) * scale[:, None] + size / 2
    return np.concatenate([focal, centre], 1).astype(np.float32)


def picture_in_crop(camera: Camera, crop: Crop, size: int) -> np.ndarray:
    """(P, 4) left, top, right, bottom of the video's picture in the crops' pixels: beyond it a capture sees one flat colour."""
    corners = np.broadcast_to(np.array([[0.0, 0], [camera.width, camera.height]]), (len(crop.center), 2, 2))
    return crop.to_unit(corners).reshape(-1, 4) * size
