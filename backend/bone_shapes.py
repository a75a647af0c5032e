"""A body for rigs that have none: Blender's octahedral bones as a mesh."""

from __future__ import annotations

import numpy as np

from .rig import Mesh, Rig

_GIRTH = 0.1  # of the bone's length, as Blender draws them
_WAIST = 0.1
_LEAST = 0.01  # of the rig's size: a bone without length still shows
_COLORS = np.array([[0.80, 0.62, 0.38], [0.45, 0.62, 0.78], [0.56, 0.72, 0.47], [0.76, 0.50, 0.52]], np.float32)
# corners: head, four around the waist, tip; counter-clockwise seen from outside
_FACES = np.array([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4], [5, 1, 2], [5, 2, 3], [5, 3, 4], [5, 4, 1]])


def bone_tips(rig: Rig) -> np.ndarray:
    """(J, 3) armature frame at rest: where a drawn bone ends. Its end, but for stubs (after many imports) the farthest head that it carries."""
    heads = rig.rest[:, :3, 3]
    tips, reach = rig.ends.astype(np.float64), 2 * np.linalg.norm(rig.ends - heads, axis=1)
    for bone, carrier in enumerate(rig.carriers):
        if carrier >= 0 and rig.driven[bone] and (distance := float(np.linalg.norm(heads[bone] - heads[carrier]))) > reach[carrier]:
            tips[carrier], reach[carrier] = heads[bone], distance
    return tips


def bone_mesh(rig: Rig) -> Mesh:
    """An octahedron from each bone's head to its tip at rest, bound to that bone alone, with flat faces (no shared vertices)."""
    heads = rig.rest[:, :3, 3]
    along = bone_tips(rig) - heads
    length = np.linalg.norm(along, axis=1)
    least = _LEAST * rig.size
    axis = np.where(length[:, None] > 1e-9 * rig.size, along / np.maximum(length, 1e-300)[:, None], rig.rest[:, :3, 1])
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-300)
    length = np.maximum(length, least)
    helper = np.eye(3)[np.abs(axis).argmin(1)]
    side = np.cross(axis, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(axis, side)
    girth = np.maximum(_GIRTH * length, 0.5 * least)[:, None]
    waist = heads + axis * np.maximum(_WAIST * length, 0.5 * least)[:, None]
    corners = np.stack([heads, waist + side * girth, waist + other * girth, waist - side * girth, waist - other * girth, heads + axis * length[:, None]], 1)
    bones, faces = len(rig), len(_FACES)
    vertices = corners[:, _FACES].reshape(-1, 3).astype(np.float32)
    owner = np.repeat(np.arange(bones), 3 * faces)
    indices = np.zeros((len(vertices), 4), np.int32)
    indices[:, 0] = owner
    weights = np.zeros((len(vertices), 4), np.float32)
    weights[:, 0] = 1
    triangles = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    return Mesh(vertices, triangles, indices, weights, _COLORS[owner % len(_COLORS)])
