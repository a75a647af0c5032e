"""Tubes of flesh to one triangle mesh with smooth skin weights, in the bind pose. Compiled: a creature has some 150 rings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .body import Body

TINTS = ("coat", "belly", "dark", "eye", "hoof", "beak", "wing", "mane")


@dataclass
class Skin:
    """vertices (V, 3) in the bind pose, neutral (V, 3) the same in the neutral stand, triangles (F, 3), bones and weights (V, 4),
    tints (V,) index TINTS, part (V,) what the tube of each vertex is on (the same number left and right). All in the creature's frame.
    """

    vertices: np.ndarray
    neutral: np.ndarray
    triangles: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    tints: np.ndarray
    part: np.ndarray


def build_mesh(body: Body, turn: np.ndarray, position: np.ndarray, rigid: bool = False, box: float = 2.0) -> Skin:
    """Skin for a bind pose given by turns (J, 3, 3) and heads (J, 3) since the neutral stand.

    rigid: no blending at joints, as in robots and low-poly figures. box: exponent of the cross-section, 2 an ellipse, larger boxier.
    """
    _, heads, tails = body.arrays()
    tubes = body.tubes
    rows = np.array([row for tube in tubes for row in tube.rows])
    row_start = np.cumsum([0] + [len(tube.rows) for tube in tubes])
    chain = np.array([bone for tube in tubes for bone in tube.bones])
    chain_start = np.cumsum([0] + [len(tube.bones) for tube in tubes])
    rings = np.array([tube.rings for tube in tubes])
    sides = np.array([tube.sides for tube in tubes])
    anchor = np.array([tube.anchor for tube in tubes])
    soft = np.array([0.02 if rigid else tube.soft for tube in tubes])
    extent, lateral = tails - heads, np.array(body.lateral, float)
    # (2, J, 4, 3): extent, unit extent, lateral, head of each bone, in the bind pose and in the neutral stand
    frames = np.empty((2, len(body), 4, 3))
    for k, (e, side, h) in enumerate(((np.einsum("jab,jb->ja", turn, extent), np.einsum("jab,jb->ja", turn, lateral), position), (extent, lateral, heads))):
        frames[k, :, 0], frames[k, :, 2], frames[k, :, 3] = e, side, h
        frames[k, :, 1] = e / np.maximum(np.sqrt((e * e).sum(1, keepdims=True)), 1e-9)
    points, bones, weights, triangles = _sweep(rows, row_start, chain, chain_start, rings, sides, anchor, soft, frames, 2.0 / box)
    tube = np.repeat(np.arange(len(tubes)), rings * sides + 2)
    known: dict[str, int] = {}
    part = np.array([known.setdefault(body.part[t.bones[0]], len(known)) for t in tubes])
    return Skin(points[0], points[1], triangles, bones, weights, np.array([TINTS.index(t.tint) for t in tubes])[tube], part[tube])


@njit(cache=True)
def _profile(rows: np.ndarray, at: float) -> np.ndarray:
    """Radii and shifts (4,) at a place along the chain: eased interpolation between rows (at, wide, high, shift, shift)."""
    k = 0
    while k < len(rows) - 2 and at >= rows[k + 1, 0]:
        k += 1
    f = min(max((at - rows[k, 0]) / max(rows[k + 1, 0] - rows[k, 0], 1e-9), 0.0), 1.0)
    f = 0.5 * f + 0.5 * f * f * (3 - 2 * f)
    return rows[k, 1:] + (rows[k + 1, 1:] - rows[k, 1:]) * f


@njit(cache=True)
def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


@njit(cache=True)
def _ring_frame(frame: np.ndarray, around: np.ndarray, mix: np.ndarray, bone: int, t: float, shift: np.ndarray) -> np.ndarray:
    """Centre, side axis, cross axis and direction (4, 3) of a ring at share t of a bone; mix = weights (3,) of the bones around."""
    d, u = np.zeros(3), np.zeros(3)
    for k in range(3):
        d += mix[k] * frame[around[k], 1]
        u += mix[k] * frame[around[k], 2]
    d /= max(np.sqrt((d * d).sum()), 1e-9)
    u -= d * (u * d).sum()
    u /= max(np.sqrt((u * u).sum()), 1e-9)
    v = np.array([d[1] * u[2] - d[2] * u[1], d[2] * u[0] - d[0] * u[2], d[0] * u[1] - d[1] * u[0]])
    out = np.empty((4, 3))
    out[0] = frame[bone, 3] + frame[bone, 0] * t + u * shift[0] + v * shift[1]
    out[1], out[2], out[3] = u, v, d
    return out


@njit(cache=True)
def _sweep(
    rows: np.ndarray, row_start: np.ndarray, chain: np.ndarray, chain_start: np.ndarray, rings: np.ndarray, sides: np.ndarray, anchor: np.ndarray,
    soft: np.ndarray, frames: np.ndarray, power: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Vertices (2, V, 3) in bind pose and neutral stand, bones (V, 4), weights (V, 4), triangles (F, 3)."""
    total, faces = (rings * sides + 2).sum(), (2 * rings * sides).sum()
    points, bones, weights = np.empty((2, total, 3)), np.zeros((total, 4), np.int32), np.zeros((total, 4))
    triangles = np.empty((faces, 3), np.int32)
    vertex, face = 0, 0
    around, mix = np.empty(3, np.int64), np.empty(3)
    for tube in range(len(rings)):
        profile = rows[row_start[tube] : row_start[tube + 1]]
        own = chain[chain_start[tube] : chain_start[tube + 1]]
        n, m, count = len(own), rings[tube], sides[tube]
        first, last = profile[0, 0], profile[-1, 0]
        cap = 0.35 * min(profile[0, 1], profile[0, 2], 1e9), 0.35 * min(profile[-1, 1], profile[-1, 2])
        for ring in range(m):
            at = profile[ring, 0] if m == len(profile) else first + (last - first) * ring / (m - 1)
            size = _profile(profile, at)
            k = int(min(max(np.floor(at + 1e-6), 0), n - 1))
            f = at - k
            around[0] = own[k - 1] if k > 0 else (anchor[tube] if anchor[tube] >= 0 else own[0])
            around[1], around[2] = own[k], own[min(k + 1, n - 1)]
            w0 = 1 - _ease(f / soft[tube] + 0.5) if k > 0 or anchor[tube] >= 0 else 0.0
            w2 = _ease((f - 1) / soft[tube] + 0.5) if k < n - 1 else 0.0
            w1 = max(1 - w0 - w2, 0.0)
            mix[0], mix[1], mix[2] = (w0, w1, w2) if k > 0 else (0.0, w1 + w0, w2)
            for which in range(2):
                frame = _ring_frame(frames[which], around, mix, own[k], f, size[2:])
                for i in range(count):
                    angle = (i + 0.5) / count * 2 * np.pi
                    c, s = np.cos(angle), np.sin(angle)
                    c, s = np.sign(c) * abs(c) ** power * size[0], np.sign(s) * abs(s) ** power * size[1]
                    points[which, vertex + ring * count + i] = frame[0] + c * frame[1] + s * frame[2]
                if ring == 0:
                    points[which, vertex + m * count] = frame[0] - cap[0] * frame[3]
                if ring == m - 1:
                    points[which, vertex + m * count + 1] = frame[0] + cap[1] * frame[3]
            for i in range(count + 1):
                target = vertex + ring * count + i
                if i == count:
                    if ring != 0 and ring != m - 1:
                        continue
                    target = vertex + m * count + (0 if ring == 0 else 1)
                bones[target, 3] = around[1]
                for j, w in enumerate((w0, w1, w2)):
                    bones[target, j] = around[j] if w > 0 else around[1]
                    weights[target, j] = w / (w0 + w1 + w2)
        face = _join(triangles, face, vertex, m, count)
        vertex += m * count + 2
    return points, bones, weights, triangles


@njit(cache=True)
def _join(triangles: np.ndarray, face: int, vertex: int, rings: int, sides: int) -> int:
    """Write the walls and caps of one tube, wound so that normals point outward; returns the next free face."""
    bottom, top = vertex + rings * sides, vertex + rings * sides + 1
    last = vertex + (rings - 1) * sides
    for k in range(sides):
        n = (k + 1) % sides
        for ring in range(rings - 1):
            a, b = vertex + ring * sides + k, vertex + ring * sides + n
            triangles[face] = (a, b, a + sides)
            triangles[face + 1] = (b, b + sides, a + sides)
            face += 2
        triangles[face] = (bottom, vertex + n, vertex + k)
        triangles[face + 1] = (top, last + k, last + n)
        face += 2
    return face
