"""The posed mesh as the refiner sees it: what of it shows in a crop, painted with what other pictures show of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PAINTS = 2  # the reference's picture, and the frame before
CHANNELS = 4 * PAINTS + 8  # each paint's colour, whether each shows it, coverage, nearness, normal 3, place in the reference 3
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


def draw(visible: Visible, vertices: np.ndarray, triangles: np.ndarray, paints: tuple[Painted, Painted], extent: float) -> Floats:
    """(CHANNELS, size, size) float32 of a mesh before the camera; vertices (V, 3) camera frame, extent: of the body before the camera.

    Which part of the body a pixel shows is told by where that stood in the reference, the first paint: in the armature's own axes it would
    depend on how the rig was imported.
    """
    first = paints[0].vertices
    middle = (first.min(0) + first.max(0)) / 2
    corners = vertices[triangles[visible.triangle]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    depth = visible.blend(vertices[:, 2], triangles)
    view = np.concatenate([project(corners[:, 0], np.array([1.0, 1, 0, 0])), np.ones((len(corners), 1))], 1)
    normal *= -np.sign((normal * view).sum(1, keepdims=True) + 1e-12)  # both sides of a triangle are drawn: the one that is seen
    near = (np.median(depth) - depth if len(depth) else depth) / extent
    colors = [paint.sample(visible, triangles, extent) for paint in paints]
    shape = [np.ones((len(depth), 1)), 2 * near[:, None], normal, visible.blend((first - middle) / extent, triangles)]
    values = np.concatenate([c[:, :3] for c in colors] + [c[:, 3:] for c in colors] + shape, 1)
    full = np.zeros((CHANNELS, visible.size**2), np.float32)
    full[:, visible.pixel] = values.T
    return full.reshape(CHANNELS, visible.size, visible.size)
