"""Four-legged body plans: sixteen kinds of animal to start from, jittered widely, and nothing in particular; lizards; winged dragons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body
from .ornaments import hump, mane, plates, trunk_nose
from .parts import ears, head, horns, leg, neck, tail, trunk
from .winged import bat_wing, wing


@dataclass
class Shape:
    """Proportions in torso lengths: leg, half height and width of the trunk, neck, skull radius, snout in skulls, ears in skulls, tail.

    rise, curl: slope of the neck and how it curves upward. nose: slope of the head. limb: leg radius. carpus, hock: heights in leg lengths.
    """

    leg: float
    girth: float
    width: float
    neck: float
    rise: float
    skull: float
    snout: float
    ear: float
    tail: float
    thick: float
    lift: float
    limb: float
    carpus: float
    hock: float
    nose: float = -0.4
    curl: float = 0.0
    hoof: bool = False
    horn: float = 0.0
    hump: float = 0.0
    mane: float = 0.0
    trunk: float = 0.0


KINDS: dict[str, Shape] = {
    "dog": Shape(0.75, 0.2, 0.75, 0.33, 0.9, 0.115, 1.6, 1.0, 0.55, 0.035, 0.3, 0.034, 0.13, 0.24),
    "wolf": Shape(0.8, 0.21, 0.75, 0.35, 0.5, 0.12, 1.7, 0.9, 0.55, 0.065, -0.6, 0.034, 0.13, 0.25, mane=0.5),
    "cat": Shape(0.58, 0.16, 0.85, 0.24, 0.6, 0.11, 0.6, 0.8, 0.9, 0.03, 0.2, 0.032, 0.12, 0.22),
    "lion": Shape(0.68, 0.2, 0.8, 0.28, 0.5, 0.14, 1.0, 0.5, 0.9, 0.025, -0.8, 0.045, 0.13, 0.22, mane=0.9),
    "horse": Shape(1.05, 0.22, 0.75, 0.65, 1.1, 0.105, 2.6, 0.7, 0.75, 0.06, -1.2, 0.033, 0.3, 0.33, -0.8, hoof=True, mane=0.4),
    "cow": Shape(0.85, 0.28, 0.85, 0.38, 0.35, 0.13, 2.0, 0.9, 0.75, 0.022, -2.0, 0.04, 0.27, 0.32, -0.6, hoof=True, horn=1.2),
    "camel": Shape(1.3, 0.27, 0.7, 0.95, -0.1, 0.095, 2.0, 0.6, 0.4, 0.025, -1.5, 0.036, 0.3, 0.34, -0.3, 2.2, hump=0.8),
    "deer": Shape(1.1, 0.2, 0.7, 0.52, 1.2, 0.09, 2.0, 1.2, 0.15, 0.03, 0.2, 0.025, 0.3, 0.34, -0.6, hoof=True, horn=2.8),
    "goat": Shape(0.8, 0.25, 0.8, 0.4, 0.9, 0.1, 1.8, 1.1, 0.18, 0.03, 0.8, 0.03, 0.27, 0.32, -0.6, hoof=True, horn=1.8),
    "sheep": Shape(0.65, 0.31, 0.9, 0.28, 0.7, 0.1, 1.5, 0.9, 0.2, 0.05, -0.8, 0.03, 0.25, 0.3, -0.6, hoof=True),
    "elephant": Shape(0.95, 0.38, 0.9, 0.18, 0.2, 0.22, 0.4, 1.6, 0.6, 0.025, -2.0, 0.095, 0.16, 0.18, -0.5, trunk=1.0),
    "bear": Shape(0.65, 0.3, 0.9, 0.24, 0.15, 0.16, 1.1, 0.4, 0.08, 0.04, -0.8, 0.065, 0.08, 0.12, -0.3),
    "pig": Shape(0.48, 0.27, 0.9, 0.14, 0.1, 0.15, 1.3, 0.9, 0.2, 0.02, 0.5, 0.04, 0.2, 0.28, -0.4, hoof=True),
    "giraffe": Shape(1.6, 0.26, 0.7, 1.6, 2.2, 0.1, 2.0, 0.7, 0.6, 0.02, -1.5, 0.04, 0.3, 0.33, -0.8, hoof=True, horn=0.4, mane=0.2),
    "rodent": Shape(0.32, 0.22, 0.9, 0.1, 0.3, 0.14, 0.9, 0.7, 0.9, 0.03, -0.2, 0.025, 0.1, 0.18, -0.2),
    "rabbit": Shape(0.42, 0.24, 0.85, 0.12, 0.8, 0.15, 0.5, 2.4, 0.08, 0.06, 0.5, 0.035, 0.1, 0.12, -0.3),
    "toy": Shape(0.4, 0.28, 1.0, 0.06, 0.6, 0.33, 0.25, 0.7, 0.35, 0.06, 0.6, 0.075, 0.12, 0.16, 0.0),
}


def _shape(body: Body) -> Shape:
    """A kind with every proportion jittered, a mixture of two kinds, or proportions from wide ranges."""
    u, rng = body.uniform, body.rng
    names = list(KINDS)
    one, two = (KINDS[names[int(i)]] for i in rng.integers(0, len(names), 2))
    mix = 0.0 if body.chance(0.65) else u(0.2, 0.8)
    spread = float(rng.choice([0.08, 0.18, 0.35]))
    values = {}
    for key, first in vars(one).items():
        second = getattr(two, key)
        if isinstance(first, bool):
            values[key] = bool(second) if mix > 0.5 else first
        elif key in ("rise", "nose", "lift", "curl"):
            values[key] = first + mix * (second - first) + spread * rng.normal()
        else:
            values[key] = (first + mix * (second - first)) * float(np.exp(spread * rng.normal()))
    shape = Shape(**values)  # type: ignore[arg-type]
    shape.carpus, shape.hock = min(shape.carpus, 0.36), min(shape.hock, 0.4)
    shape.limb, shape.leg, shape.width = min(shape.limb, 0.13), float(np.clip(shape.leg, 0.28, 1.9)), min(shape.width, 1.15)
    return shape


def quadruped(body: Body, shape: Shape | None = None) -> None:
    """Cats, dogs, horses, camels, cattle, elephants, rodents, toys, mixtures of them."""
    u = body.uniform
    s = shape or _shape(body)
    front, hind = s.leg, s.leg * u(0.92, 1.08)
    girth, width = s.girth, s.girth * s.width
    slope = np.array([1, 0, front - hind + u(-0.03, 0.06)])
    bones = trunk(body, np.array([-0.5, 0, hind + girth * 0.1]), slope, 1.0, int(body.rng.integers(0, 6)), (0, 0, u(-0.2, 0.2)))
    pelvis, chest = bones[0], bones[-1]
    point = np.asarray(body.tail[chest])
    necks = neck(
        body, chest, point + (0, 0, girth * 0.15), np.array([1, 0, s.rise]), s.neck, 1 + int(body.rng.random() ** 1.5 * 4.99), (-0.5 * abs(s.curl), 0, s.curl)
    )
    n, m = len(bones), len(necks)
    thin_neck = s.skull * u(0.6, 0.95)
    body.tube(
        bones + necks,
        [
            (-0.32 * n / 3, width * 0.5, girth * 0.55),
            (0, width * 0.9, girth * 0.85),
            (n * 0.4, width * u(0.8, 1.1), girth * u(0.8, 1.05), 0, -girth * 0.1),
            (n * 0.75, width, girth * 1.02, 0, -girth * u(0.1, 0.3)),
            (n, width * 0.72, girth * 0.82, 0, -girth * 0.12),
            (n + m * 0.35, thin_neck * 1.4, thin_neck * 1.75),
            (n + m, thin_neck, thin_neck * 1.1),
        ],
        max(10, n + 2 * m + 5),
        body.body_sides,
    )
    nose = np.array([1, 0, s.nose])
    skull = head(body, necks[-1], np.asarray(body.tail[necks[-1]]), nose, s.skull, s.skull * s.snout)
    _head_gear(body, skull, necks, bones, s)
    if s.tail > 0.05 and body.chance(0.95):
        curve = u(-1.5, 0.6) if s.lift > 0 else u(-0.6, 1.2)
        root = (-0.5 - girth * 0.28, 0, hind + girth * 0.35)
        tail(body, pelvis, root, (-1, 0, s.lift), s.tail, int(body.rng.integers(1, 8)), s.thick, u(0.2, 1.4) if body.chance(0.4) else 0.4, (0, 0, curve))
    _legs(body, s, pelvis, chest, front, hind, float(point[0]))
    body.traits["gait"] = 4


def _head_gear(body: Body, skull: int, necks: list[int], bones: list[int], s: Shape) -> None:
    u = body.uniform
    if body.chance(0.92):
        ears(body, skull, s.skull, s.skull * s.ear, int(body.chance(0.6)) + int(body.chance(0.15)))
    if s.horn > 0.1 and body.chance(0.7) or body.chance(0.04):
        horns(body, skull, s.skull, s.skull * max(s.horn, 0.8))
    if s.trunk > 0.3:
        trunk_nose(body, skull, s.skull, s.leg * u(0.75, 0.95))
    if s.hump > 0.2 and body.chance(0.85):
        hump(body, bones, s.girth, s.hump, 2 if body.chance(0.3) else 1)
    if s.mane > 0.15 and body.chance(0.7):
        mane(body, necks, s.skull, s.mane)
    if body.chance(0.05):
        plates(body, [*bones, *necks], s.girth)


def _legs(body: Body, s: Shape, pelvis: int, chest: int, front: float, hind: float, point: float) -> None:
    u = body.uniform
    width, thin = s.girth * s.width, s.limb
    y = width * u(0.62, 0.95)
    back, bend = front * u(0.05, 0.12), hind * u(0.07, 0.16)
    thigh = s.girth * u(0.4, 0.6)
    blade, toes, long = body.chance(0.5), 1 if body.chance(0.85) else int(body.rng.integers(2, 4)), 0.055 + thin
    toe_bone = body.chance(0.6)
    ground, carpus, hock = thin * 0.9, max(s.carpus * front, thin * 1.8), max(s.hock * hind, thin * 2.0)
    straight = s.limb > 0.08 and s.carpus > 0.1
    hind_names = ("thigh", "shin", "foot") if body.chance(0.8) else ("upperarm", "forearm", "hand")
    for side in (1, -1):
        x = point - 0.09
        toe = long if toe_bone else 0.0
        shoulder = (x, y, front * 0.84 - 0.02)
        points = [shoulder, (x - back * (0.4 if straight else 1.0), y * 1.02, front * 0.52), (x - 0.8 * back, y, carpus), (x - 0.75 * back, y, ground)]
        leg(
            body,
            chest,
            points,
            side,
            0,
            [thigh * 0.85, thin * 1.7, thin * 1.1, thin * (1.0 if toe_bone else 1.3)],
            False,
            (x - 0.07, y * 0.6, front * 1.06) if blade else None,
            toes,
            toe,
            ("upperarm", "forearm", "hand"),
            s.hoof,
        )
        knee = bend * (0.5 if straight else 1.0)
        points = [(-0.42, y * 0.95, hind * 0.93), (-0.42 + knee, y * 1.04, hind * 0.56), (-0.42 - knee * 0.8, y, hock), (-0.42 - knee * 0.35, y, ground)]
        leg(
            body, pelvis, points, side, 1, [thigh * 1.15, thin * 2.0, thin * 1.15, thin * (1.0 if toe_bone else 1.3)], True, None, toes, toe, hind_names, s.hoof
        )


def lizard(body: Body) -> None:
    """Low sprawlers: lizards, crocodiles, turtles, newts."""
    u = body.uniform
    tall, girth = u(0.12, 0.35), u(0.09, 0.2)
    width = girth * u(1.0, 1.7)
    bones = trunk(body, np.array([-0.5, 0, tall]), np.array([1, 0, u(-0.05, 0.1)]), 1.0, int(body.rng.integers(1, 6)))
    pelvis, chest, n = bones[0], bones[-1], len(bones)
    necks = neck(body, chest, np.asarray(body.tail[chest]), np.array([1, 0, u(-0.1, 0.8)]), u(0.08, 0.35), int(body.rng.integers(1, 3)))
    size, m = u(0.07, 0.16), len(necks)
    body.tube(
        bones + necks,
        [
            (-0.3, width * 0.5, girth * 0.6),
            (n * 0.2, width * 0.8, girth * 0.9),
            (n * 0.6, width, girth),
            (n, width * 0.7, girth * 0.8),
            (n + m, size * 0.8, size * 0.8),
        ],
        9 + m,
        body.body_sides,
    )
    head(body, necks[-1], np.asarray(body.tail[necks[-1]]), np.array([1, 0, u(-0.3, 0.05)]), size, size * u(0.8, 3.0))
    tail(
        body,
        pelvis,
        (-0.5 - girth * 0.3, 0, tall),
        (-1, 0, u(-0.3, 0.1)),
        u(0.3, 1.5),
        int(body.rng.integers(2, 10)),
        girth * u(0.4, 0.8),
        u(0.05, 0.3),
        (0, 0, u(-0.1, 0.3)),
    )
    if body.chance(0.2):
        plates(body, bones, girth)
    reach, radius, toes = u(0.16, 0.4), u(0.025, 0.05), int(body.rng.choice([0, 1, 3]))
    for side in (1, -1):
        for pair, (parent, x) in enumerate(((chest, float(body.tail[chest][0]) - 0.12), (pelvis, -0.45))):
            hip = np.array([x, width * 0.7, tall])
            knee = hip + (0.06 if pair else -0.06, reach * 0.75, 0.03)
            foot = np.array([x + (0.02 if pair else 0.05), knee[1] + reach * 0.2, radius])
            names = ("thigh", "shin", "foot") if pair else ("upperarm", "forearm", "hand")
            leg(body, parent, [hip, knee, foot], side, pair, [radius * 1.6, radius * 1.2, radius * 0.9], bool(pair), None, toes, 0.1, names, False, 0.5)
    body.traits["gait"] = 4


def dragon(body: Body) -> None:
    """A quadruped with wings on its chest: dragons, griffins, winged horses."""
    u = body.uniform
    quadruped(body)
    chest = body.chains["trunk"][-1]
    body.traits["wing_root"], body.traits["wing_tip"] = u(0.6, 1.1), u(0.3, 1.1)
    base = np.asarray(body.tail[chest]) + (-0.25, 0.12, u(0.05, 0.18))
    span, chord, joints, fingers = u(0.7, 1.7), u(0.3, 0.6), int(body.rng.integers(2, 5)), int(body.rng.integers(0, 4))
    body.traits |= {"fan": u(-0.3, 0.2), "sweep": u(1.1, 1.9), "knuckles": float(body.chance(0.4))}
    skin = body.chance(0.6)
    for side in (1, -1):
        if skin:
            bat_wing(body, chest, base, span, side, 2 + fingers // 2)
        else:
            wing(body, chest, base, span, chord, side, joints, fingers)
