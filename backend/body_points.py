"""Points that show how a bone stands: its head, its end, and a few surface points off its axis; all rigid in the bone's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera, project, view_rotation
from .carriers import nearest_above
from .crop import from_crop, to_crop
from .rig import Rig

_LEAST_OFFSET = 0.004  # of the rig's size: a point closer to the axis shows no twist


@dataclass(frozen=True, eq=False)
class Body:
    """The driven bones of a rig as the network sees them. J driven bones, K points each.

    bones: (J,) index into the rig. carriers: (J,) index into `bones`, -1 for roots (undriven bones between are skipped).
    offsets: (J, K, 3) points in the bone's own frame, armature units. mask: (J, K) bool, which exist.
    rest: (J, 3, 3) rest orientation, armature frame. size: the rig's.
    """

    bones: np.ndarray
    carriers: np.ndarray
    offsets: np.ndarray
    mask: np.ndarray
    rest: np.ndarray
    size: float

    def points(self, pose: np.ndarray) -> np.ndarray:
        """Armature-frame points (…, J, K, 3) of poses (…, all bones, 4, 4)."""
        m = pose[..., self.bones, :, :]
        return self.offsets @ np.swapaxes(m[..., :3, :3], -1, -2) + m[..., None, :3, 3]


def read_body(rig: Rig, surface_points: int, keep: np.ndarray | None = None) -> Body:
    """The body of a rig; `keep` (all bones,) bool restricts the driven bones further (a training augmentation)."""
    driven = rig.driven if keep is None else rig.driven & keep
    bones = np.flatnonzero(driven)
    carriers = nearest_above(rig.carriers, bones)
    offsets = np.zeros((len(bones), 2 + surface_points, 3))
    mask = np.zeros((len(bones), 2 + surface_points), bool)
    mask[:, :2] = True
    inverse = np.linalg.inv(rig.rest[bones])
    offsets[:, 1] = np.einsum("jab,jb->ja", inverse[:, :3, :3], rig.ends[bones]) + inverse[:, :3, 3]
    if rig.mesh is not None and surface_points:
        chief = rig.mesh.bones[np.arange(len(rig.mesh.bones)), rig.mesh.weights.argmax(1)]
        sure = rig.mesh.weights.max(1) > 0.5
        for row, bone in enumerate(bones):
            near = rig.mesh.vertices[(chief == bone) & sure].astype(np.float64)
            if len(near):
                # chosen in the armature's frame: the bone's own axes must not decide between equals
                chosen = _spread(near, rig.rest[bone, :3, 3], rig.ends[bone], surface_points, _LEAST_OFFSET * rig.size)
                offsets[row, 2 : 2 + len(chosen)] = chosen @ inverse[row, :3, :3].T + inverse[row, :3, 3]
                mask[row, 2 : 2 + len(chosen)] = True
    return Body(bones, carriers, offsets, mask, rig.rest[bones, :3, :3], rig.size)


def _spread(points: np.ndarray, head: np.ndarray, end: np.ndarray, count: int, least: float) -> np.ndarray:
    """Up to `count` of the points (V, 3), far from the segment head–end and from each other (farthest point sampling)."""
    length = float(np.linalg.norm(end - head))
    axis = (end - head) / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    across = points - head - np.clip((points - head) @ axis, 0, length)[:, None] * axis
    distance = np.linalg.norm(across, axis=1)
    # symmetric bodies are full of ties: the earlier vertex wins by a hair, whatever the rounding
    early = 1 - 1e-3 * np.arange(len(points)) / len(points)
    chosen: list[int] = []
    while len(chosen) < count and distance.max() > least:
        pick = int((distance * early).argmax())
        chosen.append(pick)
        distance = np.minimum(distance, np.linalg.norm(points - points[pick], axis=1))
    return points[chosen]


@dataclass(frozen=True, eq=False)
class Crop:
    """Square windows of a picture: center (…, 2) and side (…) in pixels."""

    center: np.ndarray
    side: np.ndarray

    def to_unit(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (…, P, 2) to crop units 0..1."""
        return to_crop(pixels, self.center[..., None, :], self.side[..., None])

    def to_pixels(self, unit: np.ndarray) -> np.ndarray:
        """Crop units (…, P, 2) to pixels."""
        return from_crop(unit, self.center[..., None, :], self.side[..., None])

    def at(self, index: int | slice | np.ndarray) -> Crop:
        """One crop, or some, of many."""
        return Crop(self.center[index], self.side[index])


def crop_around(pixels: np.ndarray, margin: float = 1.3) -> Crop:
    """The square around points (…, P, 2), NaN ignored, its side `margin` times their larger extent."""
    low, high = np.nanmin(pixels, axis=-2), np.nanmax(pixels, axis=-2)
    return Crop((low + high) / 2, np.asarray(np.maximum((high - low).max(-1), 2.0) * margin))


def view_points(body: Body, camera: Camera, crop: Crop, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop units (…, J, K, 2) and view-frame positions (…, J, K, 3), from the heads' centroid, over the rig's size.

    points: (…, J, K, 3) armature frame; the camera's and the crop's leading dimensions are the points'.
    """
    flat = points.reshape(*points.shape[:-3], -1, 3)
    seen = camera.to_camera(flat)
    uv = crop.to_unit(project(camera.intrinsics, seen))
    view = view_rotation(camera.intrinsics, crop.center)
    xyz = (seen @ np.swapaxes(view, -1, -2)).reshape(points.shape)
    xyz = xyz - xyz[..., 0, :].mean(-2)[..., None, None, :]
    return uv.reshape(*points.shape[:-1], 2), xyz / (body.size * camera.scale)[..., None, None, None]


def view_orientations(camera: Camera, crop: Crop, rotations: np.ndarray) -> np.ndarray:
    """Armature-frame orientations (…, J, 3, 3) in the view frame; the determinant is -1 where the armature is mirrored."""
    return (view_rotation(camera.intrinsics, crop.center) @ camera.rotation)[..., None, :, :] @ rotations
