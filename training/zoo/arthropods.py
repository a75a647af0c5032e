"""Body plans with many legs: spiders, insects, crabs, centipedes."""

from __future__ import annotations

import numpy as np

from .body import Body, Leg, line


def radial_leg(
    body: Body,
    parent: int,
    side: int,
    pair: int,
    pairs: int,
    hip: np.ndarray,
    yaw: float,
    reach: float,
    peak: float,
    radius: float,
    foot_bone: bool,
    coxa: bool = True,
) -> None:
    """A leg that arches out sideways: coxa, femur up, tibia down, maybe a tarsus."""
    d = np.array([np.sin(yaw), side * np.cos(yaw), 0.0])
    knee = hip + d * reach * body.traits["femur"] + (0, 0, peak)
    ankle = hip + d * reach * (0.82 if foot_bone else 1.0)
    ankle[2] = max(0.18 * peak, 0.04) if foot_bone else radius
    foot = hip + d * reach
    foot[2] = radius
    base = body.bone("coxa", parent, hip - d * 0.09, hip, side, lateral=(d[1], -d[0], 0), loose=(3, 2, 5)) if coxa else parent
    points = [hip, knee, ankle, foot] if foot_bone else [hip, knee, ankle]
    across = (-d[1], d[0], 0.0)
    names = ("femur", "tibia", "tarsus")
    bones: list[int] = []
    for i, (h, t) in enumerate(zip(points[:-1], points[1:], strict=True)):
        bones.append(body.bone(names[i], bones[-1] if bones else base, h, t, side, across, loose=(7, 7, 7)))
    k, r = int(coxa), radius
    n = len(bones) + k
    body.tube(
        [base, *bones] if coxa else bones,
        [(-0.2, r, r), (k, r * 1.25, r * 1.25), (k + 0.5, r * 1.4, r * 1.4), (k + 1, r, r), (k + 1.5, r * 0.9, r * 0.95), (n, r * 0.3, r * 0.3)],
        3 * n,
        max(4, body.limb_sides - 1),
        anchor=parent,
        soft=0.45,
    )
    body.legs.append(Leg(bones[0], bones[1], bones[2] if foot_bone else -1, [], base if coxa else -1, pair, side, np.asarray(points[-1]), pair * 2 >= pairs))


def arthropod(body: Body, pairs: int, crab: bool = False) -> None:
    """A thorax with `pairs` of legs, a head, an abdomen; maybe feelers, claws, a stinger."""
    u = body.uniform
    height, girth = u(0.12, 0.4), u(0.1, 0.2)
    width = girth * (u(1.6, 2.6) if crab else u(0.9, 1.4))
    long = u(0.25, 0.5)
    root = body.bone("thorax", -1, (-long / 2, 0, height), (long / 2, 0, height + u(-0.02, 0.05)), loose=(5, 6, 6))
    body.chains["trunk"] = [root]
    body.tube(
        [root],
        [
            (-0.3, width * 0.35, girth * 0.4),
            (0.1, width * 0.9, girth * 0.9),
            (0.5, width, girth),
            (0.9, width * 0.85, girth * 0.85),
            (1.25, width * 0.35, girth * 0.4),
        ],
        7,
        body.body_sides,
    )
    size = girth * u(0.5, 1.0)
    skull = body.bone("head", root, (long / 2, 0, height), (long / 2 + size * 1.6, 0, height - size * u(0, 0.6)), loose=(8, 10, 12))
    body.chains["head"] = [skull]
    body.tube([skull], [(-0.2, size * 0.5, size * 0.5), (0.4, size, size * 0.9), (1.05, size * 0.5, size * 0.45)], 5, body.body_sides, anchor=root)
    for side in (1, -1):
        body.tube(
            [skull],
            [
                (0.5, size * 0.15, size * 0.15, side * size * 0.6, size * 0.5),
                (0.62, size * 0.25, size * 0.25, side * size * 0.6, size * 0.5),
                (0.75, size * 0.15, size * 0.15, side * size * 0.6, size * 0.5),
            ],
            3,
            5,
            tint="eye",
        )
        if body.chance(0.6):
            joints, long_feeler = 1 + int(u(0, 3)), u(0.1, 0.5)
            points = line((long / 2 + size, side * size * 0.4, height + size * 0.3), (1, side * u(0.1, 0.8), u(-0.6, 0.8)), long_feeler, joints, (0, 0, -0.6))
            feeler = body.chain("feeler", skull, points, side, loose=(10, 14, 14), key=f"feeler{side}")
            body.tube(feeler, [(-0.1, 0.025, 0.025), (joints, 0.01, 0.01)], joints * 2 + 1, 4, anchor=skull)
    if not crab and body.chance(0.9):
        count, fat, length = int(u(1, 4)), girth * u(0.8, 1.9), u(0.3, 0.8)
        abdomen = body.chain(
            "abdomen", root, line((-long / 2, 0, height), (-1, 0, u(-0.2, 0.6)), length, count, (0, 0, u(-0.5, 0.5))), loose=(5, 9, 9), key="abdomen"
        )
        body.tube(
            abdomen,
            [(-0.1, fat * 0.3, fat * 0.3), (0.35 * count, fat * 0.95, fat * 0.9), (0.7 * count, fat * 0.9, fat * 0.85), (1.02 * count, fat * 0.25, fat * 0.2)],
            7,
            body.body_sides,
            anchor=root,
        )
    body.traits["femur"] = u(0.3, 0.5)
    reach, peak, radius, foot_bone = u(0.4, 0.9), u(0.05, 0.4), u(0.018, 0.045), body.chance(0.5)
    fan, stretch = u(0.5, 1.0), u(-0.25, 0.25)
    for pair in range(pairs):
        f = 0.5 - pair / max(pairs - 1, 1)
        for side in (1, -1):
            hip = np.array([f * long * 0.9, side * width * 0.75, height])
            radial_leg(body, root, side, pair, pairs, hip, 2 * f * fan, reach * (1 + stretch * 2 * f), peak, radius, foot_bone)
    if crab or body.chance(0.1):
        _claws(body, root, np.array([long * 0.45, width * 0.6, height]), radius * 1.6)
    if not crab and pairs > 2 and body.chance(0.25):
        insect_wings(body, root, np.array([0.0, girth * 0.4, height + girth * 0.8]))
    body.traits["gait"] = 6


def _claws(body: Body, parent: int, base: np.ndarray, radius: float) -> None:
    u = body.uniform
    a, b, c = u(0.15, 0.3), u(0.12, 0.3), u(0.15, 0.3)
    big = u(1.4, 2.6)
    for side in (1, -1):
        flip = np.array([1, side, 1])
        start = base * flip
        elbow = start + np.array([0.5, 0.85, 0.1]) * flip * a
        wrist = elbow + np.array([0.95, -0.25, 0.1]) * flip * b
        tip = wrist + np.array([0.9, -0.45, 0.0]) * flip * c
        arm = body.chain("arm", parent, [start, elbow, wrist, tip], side, loose=(10, 12, 14), key=f"arm{side}")
        body.part[arm[1]], body.part[arm[2]] = "forearm", "claw"
        r = radius
        body.tube(arm, [(-0.2, r, r), (1, r * 1.2, r * 1.2), (2, r, r), (2.4, r * big, r * big * 0.8), (3.02, r * 0.4, r * 0.4)], 12, 6, anchor=parent)
        thumb = body.bone(
            "pincer",
            arm[2],
            wrist + (tip - wrist) * 0.35 - np.array([0, side, 0]) * r * big * 0.6,
            tip - np.array([0, side, 0]) * r * 0.8,
            side,
            loose=(0, 0, 14),
        )
        body.tube([thumb], [(-0.1, r * 0.6, r * 0.6), (0.5, r * 0.7, r * 0.6), (1, r * 0.2, r * 0.2)], 4, 5, anchor=arm[2], tint="beak")


def insect_wings(body: Body, parent: int, base: np.ndarray) -> None:
    """Two thin stiff wings, mostly of one or two bones."""
    u = body.uniform
    long, wide, joints, back = u(0.4, 0.9), u(0.08, 0.2), int(body.rng.integers(1, 3)), u(0.1, 1.5)
    for side in (1, -1):
        wing = body.chain(
            "wing", parent, line(base * (1, side, 1), (-back, side, 0.15), long, joints), side, lateral=(1, 0, 0), loose=(14, 8, 8), key=f"wing{side}"
        )
        body.tube(
            wing, [(0, wide * 0.3, 0.012), (joints * 0.35, wide * 0.8, 0.012), (joints * 0.75, wide, 0.01), (joints, wide * 0.4, 0.006)], 6, 4, tint="wing"
        )


def centipede(body: Body) -> None:
    """A long segmented body, a pair of legs on most segments."""
    u = body.uniform
    segments = int(body.rng.integers(5, 11))
    length, r, height = u(1.2, 2.2), u(0.06, 0.13), u(0.1, 0.2)
    points = line((-length * 0.1, 0, height), (1, 0, 0), length * 0.45, segments // 2)
    root = body.bone("body", -1, points[0], points[1], loose=(3, 4, 6))
    front = [root, *body.chain("body", root, points[1:], loose=(4, 5, 7))]
    behind = body.chain("body", root, line(points[0], (-1, 0, 0), length * 0.55, segments - segments // 2), loose=(4, 5, 7))
    body.chains |= {"spine": front[1:], "abdomen": behind, "trunk": [root]}
    n, m = len(front), len(behind)
    wide = r * u(1.0, 1.6)
    body.tube(front, [(-0.1, wide, r), (n * 0.9, wide, r), (n, wide * 0.6, r * 0.6)], 2 * n + 2, 7)
    body.tube(behind, [(-0.1, wide, r), (m * 0.8, wide * 0.85, r * 0.85), (m, wide * 0.2, r * 0.2)], 2 * m + 2, 7, anchor=root)
    skull = body.bone("head", front[-1], points[-1], np.asarray(points[-1]) + (r * 2, 0, 0), loose=(6, 8, 10))
    body.chains["head"] = [skull]
    body.tube([skull], [(-0.2, r * 0.7, r * 0.6), (0.4, r * 1.2, r * 0.9), (1, r * 0.5, r * 0.5)], 5, 7, anchor=front[-1])
    for side in (1, -1):
        feeler = body.chain(
            "feeler",
            skull,
            line(np.asarray(points[-1]) + (r * 1.8, side * r * 0.4, r * 0.4), (1, side * 0.5, 0.4), u(0.2, 0.5), 2),
            side,
            loose=(8, 12, 14),
            key=f"feeler{side}",
        )
        body.tube(feeler, [(0, 0.02, 0.02), (2, 0.008, 0.008)], 4, 4, anchor=skull)
    body.traits["femur"] = u(0.3, 0.5)
    reach, peak, thin = u(0.2, 0.45), u(0.02, 0.2), u(0.014, 0.03)
    chain_all = front[::-1] + behind
    order = sorted(chain_all, key=lambda b: -(body.head[b][0] + body.tail[b][0]))
    for pair, bone in enumerate(order[: 9 if len(order) > 9 else len(order)]):
        middle = (np.asarray(body.head[bone]) + np.asarray(body.tail[bone])) / 2
        for side in (1, -1):
            radial_leg(
                body, bone, side, pair, len(order), middle + (0, side * wide * 0.7, 0), 0.3 * (1 - 2 * pair / len(order)), reach, peak, thin, False, coxa=False
            )
    body.traits["gait"] = 6
