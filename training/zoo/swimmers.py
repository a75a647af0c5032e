"""Body plans without legs: snakes and fish."""

from __future__ import annotations

import numpy as np

from .body import Body, line
from .parts import head


def snake(body: Body) -> None:
    """A snake, worm or eel on the ground; the root is its tail end, its middle or its neck."""
    u = body.uniform
    count = int(body.rng.integers(7, 25))
    length, radius = u(1.8, 3.2), u(0.04, 0.1)
    middle = count // 2 if body.chance(0.5) else 0
    x = np.linspace(-length / 2, length / 2, count + 1)
    points = np.stack([x, np.zeros_like(x), np.full_like(x, radius)], 1)
    root = body.bone("body", -1, points[middle], points[middle + 1], loose=(3, 5, 8))
    ahead = body.chain("body", root, list(points[middle + 1 :]), loose=(4, 6, 9))
    front = [root, *ahead]
    body.chains["front"] = front
    behind = body.chain("tail", root, list(points[middle::-1]), loose=(4, 6, 9)) if middle else []
    body.chains["behind"] = behind
    body.chains["trunk"] = [root]
    thin, fat = u(0.4, 0.9), u(0.9, 1.3)
    n, m = len(front), len(behind)
    end = radius * u(0.08, 0.4)
    start = [(0, radius * fat, radius * fat)] if m else [(-0.1, end, end), (n * 0.4, radius * fat, radius * fat)]
    body.tube(front, [*start, (n * 0.85, radius, radius), (n, radius * thin, radius * thin)], min(26, 2 * n + 2), body.body_sides - 1)
    if m:
        body.tube(behind, [(-0.02, radius * fat, radius * fat), (m * 0.4, radius, radius), (m, end, end)], min(22, 2 * m + 2), body.body_sides - 1, anchor=root)
    size = radius * u(1.1, 1.8)
    head(body, front[-1], points[-1], (1, 0, 0), size, size * u(0.6, 1.8))
    if body.chance(0.2):
        rows = [(n * 0.6, radius, radius * 0.5), (n * 0.8, radius * u(2.0, 3.5), radius * 0.5), (n * 0.95, radius, radius * 0.5)]
        body.tube(front, rows, 7, 6)
    body.traits["gait"] = 0


def fish(body: Body) -> None:
    """Fish, sharks and whales: a flexible spine, fins, a tail that beats sideways or, for whales, up and down."""
    u = body.uniform
    whale = body.chance(0.2)
    count, ahead = int(body.rng.integers(2, 9)), int(body.rng.integers(0, 3))
    tall, wide = u(0.12, 0.4), u(0.06, 0.2)
    if body.chance(0.1):
        tall, wide = u(0.06, 0.1), u(0.2, 0.4)
    z = 1.0
    root = body.bone("body", -1, (0.1, 0, z), (-0.08, 0, z), loose=(5, 5, 7))
    body.chains["trunk"] = [root]
    spine = body.chain("spine", root, line((-0.08, 0, z), (-1, 0, 0), u(0.55, 0.9), count), loose=(4, 5, 9), key="spine")
    front = body.chain("neck", root, line((0.1, 0, z), (1, 0, 0), 0.12 * ahead, ahead), loose=(4, 5, 6), key="neck") if ahead else []
    stem = u(0.15, 0.35)
    n = count + 1
    body.tube(
        [root, *spine],
        [(-0.2, wide * 0.9, tall * 0.95), (0.5, wide, tall), (n * 0.55, wide * 0.7, tall * 0.7), (n, wide * stem * 0.7, tall * stem)],
        max(7, n + 3),
        body.body_sides,
    )
    last = front[-1] if front else root
    nose = np.array([0.1 + 0.12 * ahead, 0, z])
    face = u(0.2, 0.45)
    skull = body.bone("head", last, nose, nose + (face, 0, u(-0.05, 0.05)), loose=(4, 6, 8))
    body.chains["head"] = [skull]
    body.tube(
        [*front, skull],
        [
            (-0.4, wide * 0.9, tall * 0.95),
            (0, wide * 0.98, tall * 0.98),
            (ahead + 0.4, wide * 0.85, tall * 0.75),
            (ahead + 0.8, wide * 0.55, tall * 0.42),
            (ahead + 1, wide * 0.25, tall * 0.15),
        ],
        7 + ahead,
        body.body_sides,
        anchor=root if not front else last,
    )
    e = tall * u(0.08, 0.18)
    for side in (1, -1):
        x = 0.35
        body.tube(
            [skull],
            [
                (x - e / face, e * 0.6, e * 0.6, side * wide * 0.85, tall * 0.15),
                (x, e, e, side * wide * 0.85, tall * 0.15),
                (x + e / face, e * 0.6, e * 0.6, side * wide * 0.85, tall * 0.15),
            ],
            3,
            5,
            tint="eye",
        )
    if body.chance(0.5):
        jaw = body.bone("jaw", skull, nose + (face * 0.2, 0, -tall * 0.4), nose + (face * 0.95, 0, -tall * 0.25), loose=(0, 8, 0))
        body.chains["jaw"] = [jaw]
        body.tube([jaw], [(-0.1, wide * 0.5, tall * 0.2), (0.5, wide * 0.45, tall * 0.15), (1, wide * 0.2, tall * 0.08)], 4, 6, tint="belly")
    _tail_fin(body, spine[-1], whale, tall)
    _fins(body, root, spine, tall, wide, z)
    body.traits["gait"] = -1
    body.traits["whale"] = float(whale)


def _tail_fin(body: Body, parent: int, whale: bool, tall: float) -> None:
    u = body.uniform
    start = np.asarray(body.tail[parent])
    long, spread, thin = u(0.15, 0.35), u(0.4, 1.1), 0.012
    lobes = body.chance(0.5)
    up = np.array([0, 1.0, 0]) if whale else np.array([0, 0, 1.0])
    lateral = (-1.0, 0, 0)
    parts = [(1, "fin_up"), (-1, "fin_down")] if lobes else [(0, "fin_tail")]
    for sign, name in parts:
        d = np.array([-1.0, 0, 0]) + sign * up * spread
        side = sign if whale else 0
        if not lobes:
            bone = body.bone(name, parent, start, start + d * long, 0, tuple(up), (4, 6, 14))
            body.tube(
                [bone],
                [(-0.25, tall * 0.2, thin * 2), (0.3, long * spread * 0.6, thin), (0.85, long * spread * 0.9, thin), (1, long * spread * 0.7, thin * 0.6)],
                5,
                6,
                anchor=parent,
                tint="wing",
            )
        else:
            bone = body.bone(name, parent, start, start + d * long, side, lateral, (6, 6, 12))
            body.tube([bone], [(-0.15, tall * 0.15, thin * 2), (0.4, long * 0.35, thin), (1, long * 0.12, thin * 0.6)], 5, 6, anchor=parent, tint="wing")
        body.chains.setdefault("tailfin", []).append(bone)


def _fins(body: Body, root: int, spine: list[int], tall: float, wide: float, z: float) -> None:
    u = body.uniform
    long, chord, joints = u(0.12, 0.5), u(0.05, 0.13), int(body.rng.integers(1, 4))
    low, sweep, drop = u(-0.5, 0.0) * tall, u(0.2, 1.5), u(-0.5, 0.1)
    for side in (1, -1):
        points = line((0.12, side * wide * 0.8, z + low), (-sweep, side, drop), long, joints)
        fin = body.chain("fin", root, points, side, lateral=(1, 0, 0), loose=(14, 10, 12), key=f"fin{side}")
        body.tube(fin, [(-0.1, chord * 0.8, 0.015), (joints * 0.5, chord, 0.012), (joints, chord * 0.35, 0.006)], 4 + joints, 6, anchor=root, tint="wing")
    if body.chance(0.85):
        at = spine[min(len(spine) - 1, int(u(0, 2)))] if body.chance(0.5) else root
        base = np.asarray(body.head[at]) + (0, 0, tall * 0.75)
        top = base + np.array([-u(0.3, 1.0), 0, 1.0]) * u(0.1, 0.35)
        dorsal = body.bone("fin_dorsal", at, base, top, 0, lateral=(1, 0, 0), loose=(6, 3, 3))
        body.tube([dorsal], [(-0.2, u(0.1, 0.25), 0.015), (0.5, u(0.08, 0.15), 0.012), (1, 0.04, 0.006)], 5, 6, anchor=at, tint="wing")
