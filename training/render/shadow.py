"""Shadow maps: what the sun sees, and how much of the sky each vertex sees."""

from __future__ import annotations

import numpy as np

from . import raster, shading

SIDE = 112
SKY_SIDE = 40
AWAY = 12.0  # radii of the scene at which the light stands; far enough for nearly parallel rays, near enough for float32


def light_view(low: np.ndarray, high: np.ndarray, toward: np.ndarray, side: int) -> tuple[np.ndarray, float, float]:
    """A view from the direction `toward` that holds a box: matrix (3, 4) to the light, focal length in texels, texels per unit length."""
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2 + 1e-9
    away = AWAY * radius
    x, y, z = toward
    across = np.array([-y, x, 0.0]) if abs(z) < 0.9 else np.array([0.0, -z, y])
    across /= np.linalg.norm(across)
    ux, uy, uz = across
    rotation = np.array([across, [uy * z - uz * y, uz * x - ux * z, ux * y - uy * x], [-x, -y, -z]])
    focal = side / 2 * (away - radius) / radius
    matrix = np.concatenate([rotation, -rotation @ (middle + toward * away)[:, None]], 1)
    return matrix.astype(np.float32), focal, focal / away


class Sun:
    """The shadow map (SIDE, SIDE) of inverse depths, the matrix (3, 4) and focal length that lead to it, and its texels per unit length."""

    def __init__(self) -> None:
        self.map, self.ids = np.zeros((SIDE, SIDE), np.float32), np.empty((SIDE, SIDE), np.int32)
        self.matrix, self.focal, self.texels = np.zeros((3, 4), np.float32), 1.0, 1.0

    def cast(self, points: np.ndarray, triangles: np.ndarray, box: np.ndarray, toward: np.ndarray, draws: bool) -> None:
        """Look at camera-frame points (V, 3) in a box (2, 3) from the unit direction `toward`."""
        self.matrix, self.focal, self.texels = light_view(box[0], box[1], toward, SIDE)
        self.map[:] = 0.0
        if draws:
            draw(points, triangles, self.matrix, self.focal, self.map, self.ids)


def draw(points: np.ndarray, triangles: np.ndarray, matrix: np.ndarray, focal: float, into: np.ndarray, ids: np.ndarray) -> None:
    """Rasterise the inverse depths seen from a light."""
    seen = points @ matrix[:, :3].T + matrix[:, 3]
    half = len(into) / 2
    raster.rasterize(seen, triangles, 0, focal, focal, half, half, 1, 0, 0, 1e-9, into, ids)


def sky_occlusion(rest: np.ndarray, triangles: np.ndarray, normals: np.ndarray, box: np.ndarray, directions: int = 9) -> np.ndarray:
    """Share (V,) float32 of the light from all round that reaches the vertices of a body at rest, of size 1: armpits are darker than backs."""
    total, weight = np.full(len(rest), 0.05, np.float32), np.full(len(rest), 0.05, np.float32)
    seen, ids = np.zeros((SKY_SIDE, SKY_SIDE), np.float32), np.empty((SKY_SIDE, SKY_SIDE), np.int32)
    for k in range(directions):
        z = 1 - 2 * (k + 0.5) / directions
        turn = k * np.pi * (3 - 5 ** 0.5)
        toward = np.array([np.cos(turn) * (1 - z * z) ** 0.5, np.sin(turn) * (1 - z * z) ** 0.5, z])
        matrix, focal, _ = light_view(box[0], box[1], toward, SKY_SIDE)
        seen[:] = 0.0
        draw(rest, triangles, matrix, focal, seen, ids)
        shading.seen_from(rest, normals, seen, matrix, focal, toward, 0.05, total, weight)
    return total / weight
