"""From TripoSG's own frame to the rig's: the similarity that lays what it made of the reference onto the rig's skin there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

_FEW, _FIRST, _LAST = 400, 12, 60  # points and steps of every start, steps of the best one


@dataclass(frozen=True)
class Similarity:
    """x to scale · rotation · x + offset."""

    scale: float
    rotation: np.ndarray
    offset: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(…, 3) to (…, 3)."""
        return self.scale * points @ self.rotation.T + self.offset


def procrustes(points: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity, without reflection, that takes points (N, 3) closest to their targets (N, 3) in the least squares (Umeyama)."""
    center, aim = points.mean(0), target.mean(0)
    u, s, vt = np.linalg.svd((target - aim).T @ (points - center))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / max(((points - center) ** 2).sum(), 1e-12))
    return Similarity(scale, rotation, aim - scale * rotation @ center)


def align(points: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity that lays a surface's points (N, 3) onto another's (M, 3), whatever way round they start.

    Iterated closest points, in both directions so that the scale does not shrink, from each of the cube's 24 rotations; the one that ends
    nearest goes on. Bodies that look alike from two sides are laid either way.
    """
    few, aims = points[:: max(1, len(points) // _FEW)], target[:: max(1, len(target) // _FEW)]
    starts = [_start(few, aims, rotation) for rotation in Rotation.create_group("O").as_matrix()]
    found = [_refined(few, aims, start, _FIRST) for start in starts]
    best, _ = min(found, key=lambda pair: pair[1])
    return _refined(points, target, best, _LAST)[0]


def _start(points: np.ndarray, target: np.ndarray, rotation: np.ndarray) -> Similarity:
    center, aim = points.mean(0), target.mean(0)
    scale = float(np.sqrt(((target - aim) ** 2).sum(1).mean() / max(((points - center) ** 2).sum(1).mean(), 1e-12)))
    return Similarity(scale, rotation, aim - scale * rotation @ center)


def _refined(points: np.ndarray, target: np.ndarray, start: Similarity, steps: int) -> tuple[Similarity, float]:
    """After so many steps of closest points, and how far apart the two then are (the mean of both directions)."""
    tree, now, error = cKDTree(target), start, np.inf
    for _ in range(steps):
        moved = now(points)
        there, nearest = tree.query(moved)
        back, beside = cKDTree(moved).query(target)
        before, error = error, float(there.mean() + back.mean()) / 2
        if error > before * (1 - 1e-5):
            break
        now = procrustes(np.concatenate([points, points[beside]]), np.concatenate([target[nearest], target]))
    return now, error
