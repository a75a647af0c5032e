"""Which bone carries which: a foot that hangs off the root for its IK still belongs to a leg, and must stay on it."""

from __future__ import annotations

import numpy as np

from .rig import Mesh


def infer_carriers(parents: np.ndarray, rest: np.ndarray, ends: np.ndarray, driven: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    """(J,) int32 carriers: the parent, save for driven bones whose skin and head join another limb than the parent's; -1 for roots."""
    carriers = parents.astype(np.int32).copy()
    if mesh is None:
        return carriers
    shared = shared_skin(mesh, len(parents))
    heads = rest[:, :3, 3]
    size = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    below = descendants(parents)
    for bone in np.flatnonzero(driven):
        parent = parents[bone]
        others = np.flatnonzero(driven & ~below[bone])
        if not len(others):
            continue
        best = others[shared[bone, others].argmax()]
        if shared[bone, best] <= 0 or best == parent or (parent >= 0 and shared[bone, parent] > 0.1 * shared[bone, best]):
            continue
        near = segment_distance(heads[bone], heads[best], ends[best])
        if near < 0.1 * size and (parent < 0 or near < 0.3 * segment_distance(heads[bone], heads[parent], ends[parent])):
            carriers[bone] = best
            if _has_cycle(carriers, bone):
                carriers[bone] = parent
    return carriers


def shared_skin(mesh: Mesh, count: int) -> np.ndarray:
    """(J, J) how much skin two bones have in common: over the triangles' welded corners, the sum of products of their mean weights."""
    rounded = np.round(mesh.vertices / max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-12) * 1e5).astype(np.int64)
    _, place = np.unique(rounded, axis=0, return_inverse=True)
    place = place.reshape(-1)
    weight = np.zeros((place.max() + 1, count))
    np.add.at(weight, (place[:, None], mesh.bones), mesh.weights)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1e-12)
    mean = weight[place[mesh.triangles]].mean(1)
    return mean.T @ mean


def descendants(parents: np.ndarray) -> np.ndarray:
    """(J, J) bool, [a, b] true where b is a or hangs below it."""
    below = np.eye(len(parents), dtype=bool)
    for bone in range(len(parents) - 1, -1, -1):
        if parents[bone] >= 0:
            below[parents[bone]] |= below[bone]
    return below


def segment_distance(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Distance of a point (3,) to the segment from start to end."""
    along = end - start
    share = np.clip((point - start) @ along / max(float(along @ along), 1e-24), 0, 1)
    return float(np.linalg.norm(point - start - share * along))


def _has_cycle(carriers: np.ndarray, start: int) -> bool:
    bone = carriers[start]
    for _ in range(len(carriers)):
        if bone < 0:
            return False
        if bone == start:
            return True
        bone = carriers[bone]
    return True
