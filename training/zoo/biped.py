"""Upright bodies: people, toys with large heads, brutes with long arms, and whatever lies between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body, line
from .ornaments import hat, held, pack, skirt
from .parts import ears, horns, leg, neck, tail, trunk


@dataclass
class Figure:
    """Proportions; lengths in creature units with a torso of about 0.7. broad: shoulders in hip widths, stoop: lean of the trunk."""

    legs: float
    torso: float
    hips: float
    depth: float
    broad: float
    waist: float
    skull: float
    neck: float
    arm: float
    limb: float
    thigh: float
    foot: float
    hand: float
    stoop: float = 0.0


KINDS: dict[str, Figure] = {
    "human": Figure(1.12, 0.72, 0.165, 0.12, 1.25, 0.85, 0.15, 0.11, 0.38, 0.045, 0.1, 0.2, 0.12),
    "toy": Figure(0.6, 0.62, 0.2, 0.17, 1.0, 1.0, 0.36, 0.05, 0.27, 0.07, 0.11, 0.2, 0.12),
    "brute": Figure(0.7, 0.85, 0.22, 0.2, 1.6, 1.0, 0.17, 0.05, 0.5, 0.085, 0.14, 0.24, 0.18, 0.35),
    "stick": Figure(1.3, 0.7, 0.13, 0.09, 1.2, 0.8, 0.17, 0.12, 0.42, 0.028, 0.06, 0.18, 0.1),
}


def _figure(body: Body) -> Figure:
    rng = body.rng
    names = list(KINDS)
    one = KINDS[str(rng.choice(names, p=[0.45, 0.27, 0.18, 0.1]))]
    two = KINDS[names[int(rng.integers(len(names)))]]
    mix = 0.0 if body.chance(0.65) else body.uniform(0.2, 0.8)
    spread = float(rng.choice([0.07, 0.15, 0.28]))
    values = {key: (first + mix * (getattr(two, key) - first)) * float(np.exp(spread * rng.normal())) for key, first in vars(one).items()}
    return Figure(**values)


def biped(body: Body) -> None:
    """A figure on two legs with two arms."""
    u = body.uniform
    f = _figure(body)
    bones = trunk(body, np.array([0, 0, f.legs]), np.array([f.stoop + u(-0.03, 0.08), 0, 1]), f.torso, int(body.rng.integers(1, 5)))
    pelvis, chest, n = bones[0], bones[-1], len(bones)
    top = np.asarray(body.tail[chest])
    necks = neck(body, chest, top, np.array([0.15 + f.stoop, 0, 1]), f.neck, 1 if body.chance(0.85) else 2)
    shoulder, r = f.hips * f.broad, f.skull * u(0.35, 0.5)
    body.tube(
        bones + necks,
        [
            (-0.35 * n / 3, f.hips * 0.6, f.depth * 0.7),
            (0, f.hips, f.depth),
            (n * 0.4, f.hips * f.waist, f.depth * f.waist),
            (n * 0.78, shoulder, f.depth * 1.1),
            (n * 0.93, shoulder * 0.95, f.depth * 0.9),
            (n + 0.02, shoulder * 0.5, f.depth * 0.6),
            (n + 0.35, r, r),
            (n + len(necks), r * 0.9, r * 0.9),
        ],
        12,
        body.body_sides,
    )
    skull, width = _head(body, necks[-1], f.skull)
    if body.chance(0.2):
        pack(body, chest, f.depth, shoulder)
    if body.chance(0.15):
        skirt(body, pelvis, f.hips, f.depth, f.legs * u(0.2, 0.7))
    if body.chance(0.3):
        hat(body, skull, width)
    _limbs(body, f, pelvis, chest, top, shoulder)
    if body.chance(0.12):
        tail(body, pelvis, (-f.depth, 0, f.legs + 0.05), (-1, 0, u(-1, 0.5)), u(0.3, 1.0), int(body.rng.integers(2, 7)), u(0.03, 0.08), 0.4, (0, 0, u(-1, 1.5)))
    body.traits["gait"] = 2


def _head(body: Body, parent: int, size: float) -> tuple[int, float]:
    u = body.uniform
    base = np.asarray(body.tail[parent])
    skull = body.bone("head", parent, base, base + (0.02, 0, size * 1.9), loose=(9, 12, 16))
    body.chains["head"] = [skull]
    w, square = size * u(0.75, 1.05), u(0.4, 0.9)
    body.tube(
        [skull],
        [
            (-0.1, w * 0.4, size * 0.45),
            (0.15, w * 0.8, size * 0.85, 0, -size * 0.05),
            (0.5, w, size, 0, -size * 0.05),
            (0.8, w * (0.6 + 0.4 * square), size * (0.6 + 0.4 * square)),
            (1.02, w * 0.5 * square, size * 0.5 * square),
        ],
        8,
        body.body_sides,
        anchor=parent,
    )
    e, tall = size * u(0.08, 0.2), u(0.8, 2.0)
    for side in (1, -1):
        y = side * w * u(0.35, 0.5)
        step = e * tall / (size * 1.9)
        body.tube(
            [skull],
            [(0.52 - step, e * 0.6, e * 0.5, y, -size * 0.88), (0.52, e, e * 0.6, y, -size * 0.94), (0.52 + step, e * 0.6, e * 0.5, y, -size * 0.88)],
            3,
            5,
            tint="eye",
        )
    if body.chance(0.4):
        ears(body, skull, size, size * u(0.3, 1.2), int(body.chance(0.3)))
    if body.chance(0.08):
        horns(body, skull, size, size * u(0.5, 1.5))
    if body.chance(0.6):
        long = size * u(0.1, 0.5)
        body.tube(
            [skull],
            [(0.32, size * 0.1, long, 0, -size), (0.42, size * 0.14, long, 0, -size * 1.02), (0.5, size * 0.06, long * 0.5, 0, -size)],
            3,
            5,
            tint="coat",
        )
    if body.chance(0.3):
        jaw = body.bone("jaw", skull, base + (size * 0.1, 0, size * 0.45), base + (size * 1.0, 0, size * 0.2), loose=(0, 5, 0))
        body.chains["jaw"] = [jaw]
        body.tube([jaw], [(0.2, w * 0.6, size * 0.25), (0.7, w * 0.5, size * 0.22), (1.0, w * 0.3, size * 0.15)], 4, 6, anchor=skull, tint="belly")
    return skull, w


def _limbs(body: Body, f: Figure, pelvis: int, chest: int, top: np.ndarray, shoulder: float) -> None:
    u = body.uniform
    clavicle, fingers, splay = body.chance(0.7), int(body.rng.integers(0, 6)) if body.chance(0.7) else 0, u(0.05, 0.3)
    fore, shin, toe_bone = f.arm * u(0.8, 1.1), f.legs * u(0.46, 0.54), body.chance(0.8)
    hips, thin = f.hips * u(0.45, 0.62), f.limb
    carries = 0 if body.chance(0.75) else int(body.rng.choice([1, -1]))
    for side in (1, -1):
        palm = _arm(body, chest, side, top + (-f.stoop * 0.05, 0, -0.1 * f.torso), shoulder, (f.arm, fore, f.hand), thin, clavicle, fingers, splay)
        if carries == side:
            held(body, palm, f.hand)
        ankle = f.legs * 0.09 + 0.02
        points = [
            (0, hips, f.legs * 0.97),
            (0.035, hips * 1.05, f.legs - shin + ankle * 0.3),
            (-0.03, hips * 1.05, ankle),
            (-0.03 + f.foot * 0.7, hips * 1.1, 0.035),
        ]
        leg(
            body,
            pelvis,
            points,
            side,
            0,
            [f.thigh, f.thigh * 0.62, thin * 1.1, thin * 1.15],
            True,
            None,
            1,
            f.foot * 0.4 if toe_bone else 0.0,
            ("thigh", "shin", "foot"),
        )


def _arm(
    body: Body,
    chest: int,
    side: int,
    base: np.ndarray,
    shoulder: float,
    lengths: tuple[float, float, float],
    thin: float,
    clavicle: bool,
    fingers: int,
    splay: float,
) -> int:
    """An arm that hangs down, a little out; returns the hand's bone."""
    flip = np.array([1.0, side, 1.0])
    joint = base * flip + (0, side * shoulder * 0.97, 0)
    parent, lead = chest, []
    if clavicle:
        parent = body.bone("shoulder", chest, base + (0, side * 0.03, 0.02), joint, side, lateral=(1, 0, 0), loose=(6, 4, 6))
        lead = [parent]
    d = np.array([0.0, splay * side, -1.0]) / np.hypot(1, splay)
    elbow = joint + d * lengths[0]
    wrist = elbow + (d + (0.12, 0, 0)) * lengths[1]
    tip = wrist + (d + (0.1, 0, 0)) * lengths[2]
    along = (1.0, 0, 0)
    upper = body.bone("upperarm", parent, joint, elbow, side, along, (14, 18, 10))
    lower = body.bone("forearm", upper, elbow, wrist, side, along, (3, 12, 14))
    palm = body.bone("hand", lower, wrist, tip, side, along, (10, 12, 14))
    k, grip = len(lead), body.traits.setdefault("grip", body.uniform(0.9, 1.7))
    start = [(0.2, thin * 1.2, thin * 1.2)] if lead else [(-0.25, thin, thin)]
    body.tube(
        [*lead, upper, lower, palm],
        [
            *start,
            (k + 0.1, thin * 1.55, thin * 1.55),
            (k + 0.5, thin * 1.25, thin * 1.3),
            (k + 1, thin, thin * 1.05),
            (k + 1.3, thin * 1.1, thin * 1.1),
            (k + 2, thin * 0.75, thin * 0.75),
            (k + 2.35, thin * grip, thin * 0.6 * grip),
            (k + 3, thin * grip * 0.8, thin * 0.5 * grip),
        ],
        13 + k,
        body.limb_sides,
        anchor=chest,
    )
    body.chains[f"arm{side}"] = [upper, lower, palm]
    for i in range(fingers + 1 if fingers else 0):
        thumb = i == 0
        start_point = wrist + (tip - wrist) * (0.35 if thumb else 0.9) + (0.02 if thumb else thin * (0.9 - 1.8 * i / fingers), 0, 0)
        direction = d + ((0.9, 0, 0) if thumb else (0.25 - 0.35 * i / fingers, 0, 0))
        joints = 1 if fingers < 3 else 2 if fingers < 5 else 3
        chain = body.chain(
            "thumb" if thumb else f"finger{i}", palm, line(start_point, direction, lengths[2] * 0.7, joints), side, along, (4, 14, 4), f"finger{i}{side}"
        )
        body.tube(chain, [(-0.2, thin * 0.3, thin * 0.3), (joints * 0.5, thin * 0.3, thin * 0.3), (joints, thin * 0.2, thin * 0.2)], 2 + joints, 4, anchor=palm)
    return palm
