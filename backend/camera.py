"""The camera that films the subject: intrinsics in pixels and where the armature stands before it, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera and the armature's place before it, one or many times.

    intrinsics: (..., 4) float64 fx, fy, cx, cy in pixels; the origin is the outer corner of the top left pixel.
    from_armature: (..., 4, 4) float64, armature frame to OpenCV camera frame (x right, y down, z forward). The linear part may scale
        and mirror (a scaled object, a mirrored parent).
    width, height: picture size in pixels.
    """

    intrinsics: np.ndarray
    from_armature: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.intrinsics.shape[-1] != 4 or self.from_armature.shape[-2:] != (4, 4):
            raise ValueError("intrinsics must be (..., 4) and from_armature (..., 4, 4)")
        if self.intrinsics.shape[:-1] != self.from_armature.shape[:-2]:
            raise ValueError("intrinsics and from_armature must have the same leading shape")
        if self.width <= 0 or self.height <= 0:
            raise ValueError("the picture must have a positive size")

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Armature points (..., N, 3) to camera frame (..., N, 3)."""
        m = self.from_armature
        return np.einsum("...na,...ba->...nb", points, m[..., :3, :3]) + m[..., None, :3, 3]  # not by BLAS, whose threads stand in others' way

    def project(self, points: np.ndarray) -> np.ndarray:
        """Armature points (..., N, 3) to pixels (..., N, 2); NaN behind the camera."""
        return project(self.intrinsics, self.to_camera(points))

    @property
    def rotation(self) -> np.ndarray:
        """(..., 3, 3) orthogonal part of from_armature (polar decomposition); determinant -1 where the armature is mirrored."""
        u, _, vt = np.linalg.svd(self.from_armature[..., :3, :3])
        return u @ vt

    @property
    def scale(self) -> np.ndarray:
        """(...) camera-frame length of one armature unit (cube root of the volume ratio)."""
        return np.abs(np.linalg.det(self.from_armature[..., :3, :3])) ** (1.0 / 3.0)

    def at(self, index: int | slice | np.ndarray) -> Camera:
        """The camera of one time, or of some, where there are many."""
        return Camera(self.intrinsics[index], self.from_armature[index], self.width, self.height)


def project(intrinsics: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Camera-frame points (..., N, 3) to pixels (..., N, 2) with intrinsics (..., 4); NaN where z is not positive."""
    z = points[..., 2:3]
    flat = points[..., :2] / np.where(z > 1e-9, z, np.nan)
    return flat * intrinsics[..., None, :2] + intrinsics[..., None, 2:]


def view_rotation(intrinsics: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) from the camera frame to the view frame whose z axis goes through a pixel (..., 2).

    The network sees a crop, so everything that it says is about this frame: a subject that walks across the picture without
    turning keeps its apparent orientation only in the view frame. The smallest rotation that takes the ray to z.
    """
    ray = np.concatenate([(pixel - intrinsics[..., 2:]) / intrinsics[..., :2], np.ones_like(pixel[..., :1])], -1)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    x, y, z = ray[..., 0], ray[..., 1], ray[..., 2]
    k = 1.0 / (1.0 + z)
    rows = [1 - k * x * x, -k * x * y, -x, -k * x * y, 1 - k * y * y, -y, x, y, z]
    return np.stack(rows, -1).reshape(*z.shape, 3, 3)
