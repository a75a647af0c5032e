"""The posed mesh as it shows in a crop, painted with what another picture shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_HIDDEN = 0.02  # of the body's extent: farther behind what the reference shows there, a point is hidden in it


@dataclass(frozen=True, eq=False)
class Visible:
    """The N pixels of a crop of size × size at which a mesh shows: pixel (N,) row-major, triangle (N,), weights (N, 3) of its corners."""

    size: int
    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    @property
    def centers(self) -> Floats:
        """(N, 2) pixel centres, pixels of the crop."""
        return np.stack([self.pixel % self.size + 0.5, self.pixel // self.size + 0.5], 1).astype(np.float32)

    def depth(self, vertices: np.ndarray, triangles: np.ndarray) -> Floats:
        """(size, size) z of what shows, inf elsewhere; vertices (V, 3) camera frame."""
        full = np.full(self.size**2, np.inf, np.float32)
        full[self.pixel] = self.blend(vertices[:, 2], triangles)
        return full.reshape(self.size, self.size)

    def blend(self, values: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """(N, ...) of values (V, ...) at the vertices."""
        corners = values[triangles[self.triangle]]
        return np.einsum("nk,nk...->n...", self.weights, corners)


def project(vertices: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Camera-frame (..., 3) to pixels (..., 2); intrinsics (4,)."""
    return vertices[..., :2] / np.maximum(vertices[..., 2:], 1e-6) * intrinsics[:2] + intrinsics[2:]


@dataclass(frozen=True, eq=False)
class Painted:
    """What a picture knows of the surface: image (S, S, 3) uint8, its intrinsics (4,), the mesh before it (V, 3), depth (S, S)."""

    image: np.ndarray
    intrinsics: np.ndarray
    vertices: np.ndarray
    depth: Floats

    def sample(self, visible: Visible, triangles: np.ndarray, extent: float) -> Floats:
        """(N, 4) colour 0..1 about the middle grey and whether the picture shows it; zeros where not."""
        points = visible.blend(self.vertices, triangles)
        place = project(points, self.intrinsics) - 0.5
        size = len(self.image)
        inside = ((place >= 0) & (place <= size - 1)).all(1)
        low = np.clip(np.floor(place).astype(int), 0, size - 2)
        share = np.clip(place - low, 0, 1)[:, :, None]
        x, y = low.T
        rows = [self.image[y + k, x] * (1 - share[:, 0]) + self.image[y + k, x + 1] * share[:, 0] for k in (0, 1)]
        color = (rows[0] * (1 - share[:, 1]) + rows[1] * share[:, 1]) / 255 - 0.5
        nearest = np.minimum(np.minimum(self.depth[y, x], self.depth[y + 1, x]), np.minimum(self.depth[y, x + 1], self.depth[y + 1, x + 1]))
        shown = inside & np.isfinite(nearest) & (points[:, 2] < nearest + _HIDDEN * extent)
        return (np.concatenate([color, np.ones((len(color), 1))], 1) * shown[:, None]).astype(np.float32)
