"""Body plans with two legs under a level body, with or without wings: birds, theropods."""

from __future__ import annotations

import numpy as np

from .body import Body, line
from .parts import head, leg, neck, tail, trunk


def wing(body: Body, parent: int, shoulder: np.ndarray, span: float, chord: float, side: int, joints: int, feathers: int) -> None:
    """A spread wing: arm bones out to the side, a broad thin surface that trails behind them, maybe feather bones."""
    flip = np.array([1.0, side, 1.0])
    s = shoulder * flip
    cuts = {1: [1.0], 2: [0.5, 1.0], 3: [0.28, 0.62, 1.0], 4: [0.22, 0.5, 0.75, 1.0]}[joints]
    points = [s] + [
        s + np.array([0.06 * np.sin(np.pi * c) * span - (0.1 * span if c == 1.0 else 0), side * c * span, 0.04 * span * np.sin(np.pi * c)]) for c in cuts
    ]
    bones = body.chain("wing", parent, points, side, lateral=(1, 0, 0), loose=(12, 8, 8), key=f"wing{side}")
    n, thick = len(bones), 0.022
    root, end = body.traits["wing_root"], body.traits["wing_tip"]
    rows = [
        (-0.08, chord * 0.5 * root, thick * 1.6, -chord * 0.45 * root),
        (n * 0.35, chord * 0.55, thick, -chord * 0.42),
        (n * 0.75, chord * 0.5 * (1 + end) / 2, thick * 0.7, -chord * 0.42),
        (n, chord * 0.28 * end, thick * 0.4, -chord * 0.25 * end),
    ]
    body.tube(bones, rows, 3 * n + 2, 6, anchor=parent, soft=0.5, tint="wing")
    for i in range(feathers):
        at = bones[min(n - 1, int((i + 0.5) * n / max(feathers, 1)))]
        base = (np.asarray(body.head[at]) + np.asarray(body.tail[at])) / 2 + (-chord * 0.5, 0, 0)
        quill = body.bone("feather", at, base, base + np.array([-chord * 0.8, side * 0.08 * span, 0]), side, lateral=(0, 1, 0), loose=(5, 7, 6))
        body.tube([quill], [(-0.2, chord * 0.25, thick * 0.5), (0.6, chord * 0.25, thick * 0.5), (1, chord * 0.1, thick * 0.3)], 4, 4, anchor=at, tint="wing")


def bat_wing(body: Body, parent: int, shoulder: np.ndarray, span: float, side: int, fingers: int) -> None:
    """A spread wing of skin: two arm bones, and fingers that fan out from the wrist, each carrying its share of the membrane."""
    flip = np.array([1.0, side, 1.0])
    s = shoulder * flip
    elbow = s + np.array([-0.1, side * 0.26, 0.06]) * span
    wrist = elbow + np.array([0.2, side * 0.22, 0.04]) * span
    arm = body.chain("wing", parent, [s, elbow, wrist], side, (1, 0, 0), (12, 8, 8), f"wing{side}")
    chord, thick = 0.3 * span, 0.018
    body.tube(
        arm,
        [(-0.05, chord * 0.5, thick, -chord * 0.45), (1, chord * 0.5, thick, -chord * 0.5), (2, chord * 0.35, thick, -chord * 0.3)],
        7,
        6,
        anchor=parent,
        tint="wing",
    )
    body.tube(arm, [(-0.1, thick * 2.4, thick * 2.4), (1, thick * 1.6, thick * 1.6), (2, thick * 1.3, thick * 1.3)], 6, 5, anchor=parent)
    start, stop = body.traits["fan"], body.traits["sweep"]
    half = (stop - start) / max(fingers, 1) / 2
    for i in range(fingers):
        yaw = start + (i + 0.5) * 2 * half
        d = np.array([-np.sin(yaw), side * np.cos(yaw), 0.0])
        long = span * (0.75 - 0.3 * i / max(fingers - 1, 1))
        joints = 2 if body.traits["knuckles"] else 1
        across = np.array([np.cos(yaw), side * np.sin(yaw), 0.0])
        finger = body.chain("wingfinger", arm[1], line(wrist, d, long, joints), side, tuple(across), (6, 5, 6), f"wingfinger{i}{side}")
        wide = long * np.tan(half) * 1.15
        body.tube(
            finger,
            [(0.0, 0.02, thick), (joints * 0.5, wide * 0.55, thick * 0.6), (joints * 0.85, wide * 0.9, thick * 0.5), (joints, wide * 0.5, thick * 0.3)],
            3 + 2 * joints,
            6,
            anchor=arm[1],
            tint="wing",
        )


def bird(body: Body) -> None:
    """Sparrows, hens, crows, gulls, flamingos, ostriches."""
    u = body.uniform
    wader = body.chance(0.3)
    legs = u(0.9, 1.8) if wader else u(0.35, 0.75)
    girth = u(0.2, 0.42)
    steep = u(0.05, 0.9)
    long = u(0.5, 0.8)
    bones = trunk(body, np.array([-0.25, 0, legs + girth * 0.3]), np.array([1, 0, steep]), long, int(body.rng.integers(1, 4)))
    pelvis, chest, n = bones[0], bones[-1], len(bones)
    size = u(0.1, 0.24)
    length = u(0.4, 1.2) if wader else u(0.06, 0.3)
    m = int(body.rng.integers(2, 7)) if wader else int(body.rng.integers(1, 4))
    necks = neck(body, chest, np.asarray(body.tail[chest]), np.array([u(0.1, 1.0), 0, 1]), length, m, (u(-0.6, 0.6), 0, 0))
    nr = size * u(0.5, 0.9)
    body.tube(
        bones + necks,
        [
            (-0.5 * n / 2, girth * 0.25, girth * 0.22),
            (0, girth * 0.75, girth * 0.7),
            (n * 0.5, girth * 0.95, girth, 0, -girth * 0.15),
            (n * 0.9, girth * 0.7, girth * 0.75, 0, -girth * 0.1),
            (n + m * 0.35, nr * 1.3, nr * 1.4),
            (n + m, nr, nr),
        ],
        9 + m,
        body.body_sides,
    )
    head(body, necks[-1], np.asarray(body.tail[necks[-1]]), (1, 0, u(-0.5, 0.1)), size, size * u(0.6, 2.2), "bird")
    span, chord = u(0.5, 1.5), u(0.25, 0.5)
    body.traits["wing_root"], body.traits["wing_tip"] = u(0.6, 1.1), u(0.3, 1.1)
    joints, feathers = int(body.rng.integers(1, 5)), int(body.chance(0.25)) * int(u(2, 5))
    shoulder = np.asarray(body.tail[chest]) + (-0.12, girth * 0.6, girth * 0.25)
    for side in (1, -1):
        wing(body, chest, shoulder, span, chord, side, joints, feathers)
    fan, t = u(0.08, 0.25), int(body.rng.integers(1, 3))
    start = np.asarray(body.head[pelvis])
    rump = body.chain("tail", pelvis, line(start - (girth * 0.3, 0, 0), (-1, 0, u(-0.6, 0.6)), u(0.25, 0.6), t), loose=(6, 10, 10), key="tail")
    body.tube(rump, [(-0.4, girth * 0.4, girth * 0.25), (0.3 * t, fan * 0.8, 0.04), (t, fan, 0.015)], 5, 6, anchor=pelvis, tint="wing")
    _legs(body, pelvis, np.array([-0.12, girth * 0.45, legs]), legs, u(0.018, 0.035), int(body.rng.choice([1, 3, 4])), u(0.1, 0.2))
    body.traits["gait"] = 2


def _legs(body: Body, pelvis: int, hip: np.ndarray, tall: float, thin: float, toes: int, toe_length: float, stout: float = 2.6) -> None:
    u = body.uniform
    knee_forward, hock_back = u(0.08, 0.18), u(0.0, 0.1)
    knee, hock = tall * u(0.6, 0.75), tall * u(0.28, 0.42)
    thigh = u(0.8, 1.2) * thin * stout
    for side in (1, -1):
        x, y = hip[0], hip[1]
        points = [(x, y, tall), (x + knee_forward, y * 1.1, knee), (x - hock_back, y * 1.05, hock), (x + 0.05, y, thin)]
        leg(body, pelvis, points, side, 0, [thigh * 1.4, thigh, thin * 1.15, thin], True, None, toes, toe_length, ("thigh", "shin", "foot"), False, 0.5)


def theropod(body: Body) -> None:
    """Two-legged dinosaurs, kangaroo-like beasts, raptors: level trunk, heavy tail, small arms."""
    u = body.uniform
    legs, girth = u(0.7, 1.2), u(0.15, 0.28)
    bones = trunk(body, np.array([-0.25, 0, legs + 0.05]), np.array([1, 0, u(0.0, 1.4)]), u(0.7, 1.0), int(body.rng.integers(1, 5)), (0, 0, u(-0.2, 0.4)))
    pelvis, chest, n = bones[0], bones[-1], len(bones)
    m = int(body.rng.integers(1, 5))
    necks = neck(body, chest, np.asarray(body.tail[chest]), np.array([1, 0, u(0.4, 1.6)]), u(0.2, 0.6), m, (u(0, 0.8), 0, 0))
    size = u(0.1, 0.24)
    nr = size * u(0.6, 1.0)
    body.tube(
        bones + necks,
        [
            (-0.3, girth * 0.6, girth * 0.6),
            (0.3, girth * 0.85, girth * 0.95),
            (n * 0.6, girth * 0.9, girth),
            (n, girth * 0.6, girth * 0.7),
            (n + m * 0.4, nr * 1.2, nr * 1.3),
            (n + m, nr, nr),
        ],
        10 + m,
        body.body_sides,
    )
    head(body, necks[-1], np.asarray(body.tail[necks[-1]]), (1, 0, u(-0.5, 0.2)), size, size * u(0.8, 2.6))
    tail(
        body,
        pelvis,
        (-0.25 - girth * 0.2, 0, legs + 0.08),
        (-1, 0, u(-0.6, 0.3)),
        u(0.6, 1.5),
        int(body.rng.integers(3, 10)),
        girth * u(0.5, 0.75),
        u(0.05, 0.2),
        (0, 0, u(-0.4, 0.6)),
        1.1,
    )
    _legs(body, pelvis, np.array([-0.15, girth * 0.7, legs]), legs, u(0.035, 0.06), int(body.rng.choice([1, 3])), u(0.15, 0.25), 2.4)
    arm, fore, thin = u(0.1, 0.25), u(0.08, 0.22), u(0.02, 0.04)
    for side in (1, -1):
        flip = np.array([1, side, 1])
        s = np.asarray(body.tail[chest]) * (1, 0, 1) + np.array([-0.1, girth * 0.6, -girth * 0.35]) * flip
        points = [
            s,
            s + np.array([-0.3, 0.2, -1]) * flip * arm,
            s + np.array([-0.3, 0.2, -1]) * flip * arm + np.array([0.9, 0, -0.5]) * fore,
        ]
        points.append(points[-1] + np.array([0.8, 0, -0.7]) * 0.08)
        chain = body.chain("upperarm", chest, points, side, loose=(10, 16, 10), key=f"arm{side}")
        body.part[chain[1]], body.part[chain[2]] = "forearm", "hand"
        body.tube(
            chain,
            [(-0.2, thin * 1.6, thin * 1.6), (1, thin * 1.1, thin * 1.1), (2, thin * 0.8, thin * 0.8), (2.5, thin, thin), (3, thin * 0.4, thin * 0.4)],
            8,
            5,
            anchor=chest,
        )
    body.traits["gait"] = 2
