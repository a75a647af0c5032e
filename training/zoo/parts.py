"""Limbs and heads that several body plans share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .body import Body, Leg, Vector, line


def trunk(body: Body, start: np.ndarray, direction: np.ndarray, length: float, count: int, bend: tuple[float, float, float] = (0, 0, 0)) -> list[int]:
    """Pelvis and spine bones; the pelvis is the creature's moving root."""
    points = line(start, direction, length, count + 1, bend)
    pelvis = body.bone("pelvis", -1, points[0], points[1], loose=(3, 4, 5))
    spine = body.chain("spine", pelvis, points[1:], loose=(5, 6, 7), key="spine")
    body.chains["trunk"] = [pelvis, *spine]
    return body.chains["trunk"]


def neck(
    body: Body, parent: int, start: np.ndarray, direction: np.ndarray, length: float, count: int, bend: tuple[float, float, float] = (0, 0, 0)
) -> list[int]:
    return body.chain("neck", parent, line(start, direction, length, count, bend), loose=(5, 9, 9), key="neck")


def leg(
    body: Body,
    parent: int,
    points: Sequence[Vector],
    side: int,
    pair: int,
    radii: list[float],
    hind: bool = False,
    blade: Vector | None = None,
    toes: int = 1,
    toe_length: float = 0.08,
    names: tuple[str, str, str] = ("thigh", "shin", "foot"),
    hoof: bool = False,
    splay: float = 0.3,
) -> None:
    """A leg through points hip, knee, ankle[, contact]; mirrored by `side`. radii: at hip, knee, ankle, contact."""
    flip = np.array([1.0, side, 1.0])
    pts = [np.asarray(p, float) * flip for p in points]
    loose = (5.0, 9.0, 5.0)
    root = parent
    shoulder = -1
    if blade is not None:
        shoulder = parent = body.bone("shoulder", parent, np.asarray(blade) * flip, pts[0], side, loose=(3, 6, 3))
    bones = []
    for i, (h, t) in enumerate(zip(pts[:-1], pts[1:], strict=True)):
        parent = body.bone(names[i], parent, h, t, side, loose=loose)
        bones.append(parent)
    distal = bones[2] if len(bones) > 2 else -1
    contact = pts[-1]
    toe_bones: list[int] = []
    n = len(bones)
    r = radii
    bulge = body.uniform(1.0, 1.3)
    profile = [
        (-0.3, r[0] * 0.75, r[0] * 0.9),
        (0.0, r[0] * 0.95, r[0] * 1.15),
        (0.45, (r[0] + r[1]) / 2 * bulge * 0.9, (r[0] + r[1]) / 2 * bulge),
        (1, r[1], r[1] * 1.05),
    ]
    profile += [(1.35, (r[1] * 0.65 + r[2] * 0.35) * bulge, (r[1] * 0.65 + r[2] * 0.35) * bulge), (2, r[2], r[2] * 1.1)]
    if n > 2:
        profile.append((3, r[3], r[3] * 1.1))
    body.tube(bones, profile, 4 * n + 1, body.limb_sides, anchor=shoulder if shoulder >= 0 else root, soft=0.6)
    if toes and toe_length > 0:
        spread = np.linspace(-splay, splay, toes) if toes > 1 else [0.0]
        width = r[-1] if n > 2 else r[2]
        for angle in spread:
            d = np.array([np.cos(angle), np.sin(angle), -min(0.6, contact[2] / toe_length * 0.8)])
            tip = contact + d * toe_length
            bone = body.bone("toe", bones[-1], contact, tip, side, loose=(3, 10, 3))
            toe_bones.append(bone)
            w = width * (1.25 if toes == 1 else 0.7)
            body.tube(
                [bone],
                [(-0.35, w * 0.8, w * 0.7), (0.2, w, w * 0.85), (0.75, w * 0.95, w * 0.6), (1.0, w * 0.6, w * 0.4)],
                4,
                max(4, body.limb_sides - 1),
                anchor=bones[-1],
                tint="hoof" if hoof else "coat",
            )
    body.legs.append(Leg(bones[0], bones[1], distal, toe_bones, shoulder, pair, side, contact, hind))


def tail(
    body: Body,
    parent: int,
    start: Vector,
    direction: Vector,
    length: float,
    count: int,
    radius: float,
    tip: float,
    bend: Vector = (0, 0, 0),
    belly: float = 1.0,
) -> None:
    """A tail chain with its tube; tip is the radius at the end as a share of the radius at the root."""
    bones = body.chain("tail", parent, line(start, direction, length, count, bend), loose=(4, 9, 14), key="tail")
    n = len(bones)
    mid = body.uniform(0.6, 1.2) if tip > 0.5 else (1 + tip) / 2
    body.tube(
        bones,
        [
            (-0.3, radius * 0.9, radius * 0.9 * belly),
            (0, radius, radius * belly),
            (n * 0.55, radius * mid, radius * mid * belly),
            (n, radius * tip, radius * tip),
        ],
        max(5, min(2 * n + 1, 12)),
        6,
        anchor=parent,
    )


def head(body: Body, parent: int, start: Vector, direction: Vector, size: float, snout: float, kind: str = "beast", joint: int = -1) -> int:
    """A head of skull radius `size` on its own bone: eyes, ears or horns or beak, maybe a jaw. Returns the bone."""
    d = np.asarray(direction, float)
    d = d / np.linalg.norm(d)
    start = np.asarray(start, float)
    length = size * 1.5 + snout
    up = np.cross(d, (0, 1, 0))
    bone = joint if joint >= 0 else body.bone("head", parent, start, start + d * length, loose=(9, 14, 18))
    body.chains.setdefault("head", []).append(bone)
    w, s = size * body.uniform(0.8, 1.05), snout / length
    muzzle = body.uniform(0.4, 0.75)
    drop = -size * body.uniform(0.05, 0.3)
    rows: list[Vector]
    if kind == "bird":
        rows = [(-0.25, w * 0.5, size * 0.5), (0.05, w, size), (0.35, w, size), (1 - s, w * 0.45, size * 0.5)]
        body.tube([bone], rows, 6, body.body_sides, anchor=parent)
        b = size * body.uniform(0.25, 0.5)
        body.tube([bone], [(0.9 - s, b, b, 0, drop), (1 - s * 0.5, b * 0.7, b * 0.6, 0, drop), (1.0, b * 0.12, b * 0.12, 0, drop * 1.5)], 4, 5, tint="beak")
    else:
        rows = [
            (-0.25, w * 0.5, size * 0.55),
            (0.0, w * 0.9, size * 0.95),
            (0.3, w, size),
            (max(0.45, 1 - s), w * muzzle * 1.15, size * muzzle * 1.2, 0, drop * 0.6),
            (0.88, w * muzzle, size * muzzle * 0.8, 0, drop),
            (1.0, w * muzzle * 0.6, size * muzzle * 0.45, 0, drop),
        ]
        body.tube([bone], rows, 8, body.body_sides, anchor=parent)
        body.tube([bone], [(0.97, size * 0.14, size * 0.14, 0, drop * 0.3), (1.04, size * 0.1, size * 0.1, 0, drop * 0.3)], 2, 5, tint="dark")
    if body.chance(0.75) and snout > 0.3 * size:
        base = start + d * length * 0.3 - up * size * 0.45
        tip = start + d * length * 0.95 + up * (drop - size * 0.3)
        jaw = body.bone("jaw", bone, base, tip, loose=(0, 6, 0))
        body.chains["jaw"] = [jaw]
        j = size * muzzle * 0.6
        body.tube([jaw], [(-0.1, j * 1.1, j * 0.6), (0.5, j, j * 0.5), (1.0, j * 0.6, j * 0.3)], 4, 6, tint="beak" if kind == "bird" else "belly")
    _eyes(body, bone, size, w, length)
    return bone


def _eyes(body: Body, bone: int, size: float, width: float, length: float) -> None:
    e = size * body.uniform(0.1, 0.22)
    at = body.uniform(0.35, 0.5) * min(1.0, 2.0 * size / length)
    spread, lift, step = width * body.uniform(0.6, 0.85), size * body.uniform(0.3, 0.6), e / length
    for side in (1, -1):
        body.tube(
            [bone],
            [(at - step, e * 0.6, e * 0.6, side * spread, lift), (at, e, e, side * spread, lift), (at + step, e * 0.6, e * 0.6, side * spread, lift)],
            3,
            5,
            tint="eye",
        )


def ears(body: Body, bone: int, size: float, length: float, joints: int) -> None:
    """A pair of flat ears on a head bone, with or without bones of their own."""
    h, t = np.asarray(body.head[bone], float), np.asarray(body.tail[bone], float)
    d = (t - h) / np.linalg.norm(t - h)
    up = np.cross(d, (0, 1, 0))
    back, out = body.uniform(-0.2, 0.7), body.uniform(0.2, 1.2)
    droop = body.uniform(-0.5, 0.1) if body.chance(0.25) else 0.0
    wide = length * body.uniform(0.2, 0.4)
    for side in (1, -1):
        base = h + d * size * 0.35 + up * size * 0.65 + np.array([0, side, 0]) * size * 0.5
        points = line(base, up - d * back + np.array([0, side * out, 0]), length, max(joints, 1), (0, 0, droop * 3))
        bones = (
            body.chain("ear", bone, points, side, loose=(10, 12, 10), key=f"ear{side}")
            if joints
            else [body.bone("ear", bone, points[0], points[-1], side, loose=(9, 12, 9))]
        )
        n = len(bones)
        body.tube(
            bones,
            [(-0.1, wide * 0.8, wide * 0.35), (0.4 * n, wide, wide * 0.25), (0.8 * n, wide * 0.6, wide * 0.15), (n, wide * 0.15, wide * 0.1)],
            4 + n,
            5,
            anchor=bone,
            tint="coat",
        )


def horns(body: Body, bone: int, size: float, length: float) -> None:
    """A pair of horns that belong to the head's bone."""
    up0 = body.uniform(0.5, 1.2)
    r = size * body.uniform(0.12, 0.25)
    reach = length / max(float(np.linalg.norm(np.subtract(body.tail[bone], body.head[bone]))), 1e-6)
    curve = body.uniform(0.3, 1.0)
    for side in (1, -1):
        rows = [
            (0.15, r, r, side * size * 0.4, size * up0 * 0.7),
            (0.15 - reach * 0.3 * curve, r * 0.8, r * 0.8, side * size * 0.7, size * up0 * 0.7 + length * 0.5),
            (0.15 - reach * 0.75 * curve, r * 0.4, r * 0.4, side * size * 0.9, size * up0 * 0.7 + length * 0.75),
        ]
        rows = rows[::-1]
        body.tube([bone], rows, 5, 5, tint="beak")
