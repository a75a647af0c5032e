"""Meshes with fewer triangles whose vertices are still the mesh's own."""

from __future__ import annotations

import numpy as np

from .rig import Mesh


def thin_out(mesh: Mesh, max_triangles: int) -> Mesh:
    """The mesh with at most max_triangles triangles: of all vertices in one cell of a grid that mostly follow the same bone, one stays.

    The vertices that stay are the mesh's own, so places, weights and colours remain exact. The grid's step is found by bisection.
    """
    if len(mesh.triangles) <= max_triangles:
        return mesh
    low, high = 0.0, float(np.ptp(mesh.vertices, axis=0).max())
    best = _clustered(mesh, high)
    for _ in range(16):
        middle = (low + high) / 2
        trial = _clustered(mesh, middle)
        if len(trial.triangles) <= max_triangles:
            high, best = middle, trial
            if len(trial.triangles) > 0.95 * max_triangles:
                break
        else:
            low = middle
    return best


def _clustered(mesh: Mesh, step: float) -> Mesh:
    cell = np.floor((mesh.vertices - mesh.vertices.min(0)) / step).astype(np.int64)
    _, cell_index = np.unique((cell[:, 0] * (1 << 20) + cell[:, 1]) * (1 << 20) + cell[:, 2], return_inverse=True)
    leading = np.take_along_axis(mesh.bones, mesh.weights.argmax(1)[:, None], 1)[:, 0].astype(np.int64)
    shade = np.round(mesh.colors * 7).astype(np.int64) @ (1, 8, 64)
    _, owner = np.unique((cell_index.reshape(-1) * (leading.max() + 1) + leading) * 512 + shade, return_inverse=True)
    owner = owner.reshape(-1)
    count = owner.max() + 1
    center = np.stack([np.bincount(owner, mesh.vertices[:, axis], count) for axis in range(3)], 1) / np.bincount(owner, minlength=count)[:, None]
    away = np.linalg.norm(mesh.vertices - center[owner], axis=1)
    order = np.lexsort((away, owner))
    chosen = order[np.searchsorted(owner[order], np.arange(count))]
    triangles = owner[mesh.triangles]
    whole = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 0] != triangles[:, 2])
    triangles = triangles[whole]
    # Two flattened triangles on the same three vertices are one; which way round it faces stays as first met.
    _, unique = np.unique(np.sort(triangles, 1), axis=0, return_index=True)
    used, renamed = np.unique(triangles[np.sort(unique)], return_inverse=True)
    keep = chosen[used]
    return Mesh(mesh.vertices[keep], renamed.reshape(-1, 3).astype(np.int32), mesh.bones[keep], mesh.weights[keep], mesh.colors[keep])
