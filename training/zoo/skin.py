"""Tubes of flesh to one triangle mesh with smooth skin weights, in the bind pose."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .body import Body

TINTS = ("coat", "belly", "dark", "eye", "hoof", "beak", "wing")


@lru_cache(maxsize=512)
def _tube_triangles(rings: int, sides: int) -> np.ndarray:
    """(F, 3) triangles of rings * sides vertices followed by the two poles, wound so that normals point outward."""
    k = np.arange(sides)
    n = (k + 1) % sides
    base = np.arange(rings - 1)[:, None] * sides
    a, b, c, d = base + k, base + n, base + sides + k, base + sides + n
    walls = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    first, last, top = rings * sides, rings * sides + 1, (rings - 1) * sides
    caps = np.concatenate([np.stack([np.full(sides, first), n, k], 1), np.stack([np.full(sides, last), top + k, top + n], 1)])
    return np.concatenate([walls, caps]).astype(np.int32)


def _ease(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _ring_weights(body: Body, bones: np.ndarray, at: np.ndarray, anchor: int, soft: float) -> tuple[np.ndarray, np.ndarray]:
    """(m, 3) bones and weights of rings: the bone behind, the bone itself, the bone ahead. soft = width of a joint in bones."""
    n = len(bones)
    k = np.clip(np.floor(at), 0, n - 1).astype(int)
    f = at - k
    behind = np.where(k > 0, bones[np.maximum(k - 1, 0)], anchor if anchor >= 0 else bones[0])
    ahead = bones[np.minimum(k + 1, n - 1)]
    has_behind = (k > 0) | (anchor >= 0)
    w0 = np.where(has_behind, 1 - _ease(f / soft + 0.5), 0)
    w2 = np.where(k < n - 1, _ease((f - 1) / soft + 0.5), 0)
    return np.stack([behind, bones[k], ahead], 1), np.stack([w0, np.maximum(1 - w0 - w2, 0), w2], 1)


def build_mesh(
    body: Body, turn: np.ndarray, position: np.ndarray, rigid: bool = False, box: float = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Skin in the bind pose given by turns (J, 3, 3) and heads (J, 3) since the neutral stand.

    Returns vertices (V, 3), neutral-stand vertices (V, 3) for patterns, triangles (F, 3), bones (V, 4), weights (V, 4), tints (V,).
    box: exponent of the cross-section, 2 is an ellipse, larger is boxier.
    """
    _, heads, tails = body.arrays()
    extent = tails - heads
    lateral = np.array(body.lateral, float)
    ring_bone, ring_t, ring_w, ring_k, radii, shift, spans = [], [], [], [], [], [], []
    for tube in body.tubes:
        bones = np.array(tube.bones)
        k, w = _ring_weights(body, bones, tube.at, tube.anchor, 0.02 if rigid else tube.soft)
        index = np.clip(np.floor(tube.at + 1e-6), 0, len(bones) - 1).astype(int)
        ring_bone.append(bones[index])
        ring_t.append(tube.at - index)
        if tube.anchor >= 0:
            mix = w.copy()
            first = index == 0
            mix[first, 1] += mix[first, 0]
            mix[first, 0] = 0
        else:
            mix = w
        ring_k.append((k, w, mix))
        radii.append(np.stack([tube.wide, tube.high], 1))
        shift.append(tube.shift)
        spans.append(len(tube.at))
    bone, t = np.concatenate(ring_bone), np.concatenate(ring_t)
    around = np.concatenate([k for k, _, _ in ring_k])
    weight = np.concatenate([w for _, w, _ in ring_k])
    mix = np.concatenate([m for _, _, m in ring_k])
    radius, offset = np.concatenate(radii), np.concatenate(shift)

    neutral = _place_rings(extent, lateral, heads, bone, t, around, mix, offset)
    posed_extent = np.einsum("jab,jb->ja", turn, extent)
    posed_lateral = np.einsum("jab,jb->ja", turn, lateral)
    posed = _place_rings(posed_extent, posed_lateral, position, bone, t, around, mix, offset)
    return _sweep(body, posed, neutral, radius, around, weight, spans, box)


def _place_rings(
    extent: np.ndarray, lateral: np.ndarray, heads: np.ndarray, bone: np.ndarray, t: np.ndarray, around: np.ndarray, mix: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centres, side axes, cross axes and directions (m, 3) of rings."""
    length = np.linalg.norm(extent, axis=1, keepdims=True)
    unit = extent / np.maximum(length, 1e-9)
    d = np.einsum("mk,mka->ma", mix, unit[around])
    d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9)
    u = np.einsum("mk,mka->ma", mix, lateral[around])
    u -= d * (u * d).sum(1, keepdims=True)
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-9)
    v = np.cross(d, u)
    centre = heads[bone] + extent[bone] * t[:, None] + u * offset[:, :1] + v * offset[:, 1:]
    return centre, u, v, d


def _sweep(
    body: Body, posed: tuple[np.ndarray, ...], neutral: tuple[np.ndarray, ...], radius: np.ndarray, around: np.ndarray, weight: np.ndarray, spans: list[int], box: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    vertices, patterns, triangles, bones, weights, tints = [], [], [], [], [], []
    first, count = 0, 0
    for tube, rings in zip(body.tubes, spans, strict=True):
        sides = tube.sides
        ring = slice(first, first + rings)
        first += rings
        cos, sin = _circle(sides, box)
        ends = [ring.start, ring.stop - 1]
        for (centre, u, v, d), out in ((posed, vertices), (neutral, patterns)):
            a, b = radius[ring, :1], radius[ring, 1:]
            wall = centre[ring, None] + (a * cos)[..., None] * u[ring, None] + (b * sin)[..., None] * v[ring, None]
            bulge = 0.35 * radius[ends].min(1, keepdims=True) * np.array([[-1.0], [1.0]])
            out += [wall.reshape(-1, 3), centre[ends] + d[ends] * bulge]
        k, w = around[ring], weight[ring]
        bones += [np.repeat(k, sides, 0), k[[0, -1]]]
        weights += [np.repeat(w, sides, 0), w[[0, -1]]]
        triangles.append(_tube_triangles(rings, sides) + count)
        total = rings * sides + 2
        tints.append(np.full(total, TINTS.index(tube.tint), np.int8))
        count += total
    index = np.concatenate(bones)
    value = np.concatenate(weights)
    pad = np.zeros((len(index), 1))
    index = np.concatenate([index, index[:, 1:2]], 1).astype(np.int32)
    value = np.concatenate([value, pad], 1)
    index = np.where(value > 0, index, index[:, 1:2])
    value /= value.sum(1, keepdims=True)
    return np.concatenate(vertices), np.concatenate(patterns), np.concatenate(triangles), index, value, np.concatenate(tints)


@lru_cache(maxsize=64)
def _circle(sides: int, box: float) -> tuple[np.ndarray, np.ndarray]:
    angle = (np.arange(sides) + 0.5) / sides * 2 * np.pi
    c, s = np.cos(angle), np.sin(angle)
    power = 2.0 / box
    return np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
