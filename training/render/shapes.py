"""Simple bodies made of balls, for tests, benchmarks and as things that happen to be in the picture."""

from __future__ import annotations

import numpy as np


def ball(levels: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit icosphere: vertices (V, 3) and triangles (20·4^levels, 3) int32."""
    g = (1 + 5 ** 0.5) / 2
    vertices = np.array([[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g], [0, -1, -g], [0, 1, -g],
                         [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]])
    triangles = np.array([[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6], [7, 1, 8],
                          [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]])
    vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(levels):
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
        unique, index = np.unique(edges, axis=0, return_inverse=True)
        middles = vertices[unique].sum(1)
        x, y, z = (index.reshape(3, -1) + len(vertices))
        a, b, c = triangles.T
        triangles = np.concatenate([np.stack(t, 1) for t in ((a, x, z), (x, b, y), (z, y, c), (x, y, z))])
        vertices = np.concatenate([vertices, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
    return vertices, triangles.astype(np.int32)


def limbs(levels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A four-legged body of seven stretched balls, standing on z = 0 and facing -y."""
    sphere, faces = ball(levels)
    parts: list[tuple[tuple[float, float, float], tuple[float, float, float]]]
    parts = [((0, 0, 0.9), (0.35, 0.8, 0.35)), ((0, -1, 1.25), (0.2, 0.35, 0.22)), ((0, 1, 1.1), (0.06, 0.4, 0.06))]
    parts += [((x, y, 0.45), (0.09, 0.09, 0.45)) for x in (-0.22, 0.22) for y in (-0.6, 0.6)]
    vertices = np.concatenate([sphere * scale + np.array(center) for center, scale in parts])
    return vertices, np.concatenate([faces + index * len(sphere) for index in range(len(parts))]).astype(np.int32)


def staged(rest: np.ndarray, frames: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A body (V, 3), up +z, that walks before a random camera: vertices (T, V, 3) and up (3,) in the camera frame, crop intrinsics (T, 4)."""
    yaw, pitch = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.6)
    c, s = np.cos(pitch), np.sin(pitch)
    upright = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    extent = float(np.ptp(rest, axis=0).max())
    c, s = np.cos(yaw), np.sin(yaw)
    turn = upright @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    path = rng.uniform(0, 0.02) * extent * np.arange(frames)[:, None] * np.array([0.0, -1.0, 0.0])
    vertices = ((rest - rest.mean(0))[None] + path[:, None]) @ turn.T + [0, 0, 3.0 * extent]
    flat = vertices[..., :2] / vertices[..., 2:]
    low, high = flat.min(1), flat.max(1)
    focal = size / (1.3 * (high - low).max(1, keepdims=True))
    return vertices.astype(np.float32), turn[:, 2], np.concatenate([focal, focal, size / 2 - (low + high) / 2 * focal], 1)
