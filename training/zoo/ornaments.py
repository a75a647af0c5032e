"""What sits on a body without being a limb: humps, manes, plates, trunks, hats, packs and things held in a hand."""

from __future__ import annotations

import numpy as np

from .body import Body, line


def hump(body: Body, bones: list[int], girth: float, size: float, count: int) -> None:
    """One or two humps on the back, each on the trunk bone below it."""
    for place in (0.5,) if count == 1 else (0.3, 0.72):
        bone = bones[int(place * len(bones))]
        t = place * len(bones) - bones.index(bone)
        r = girth * size * (0.75 if count == 1 else 0.55)
        length = float(np.linalg.norm(np.subtract(body.tail[bone], body.head[bone])))
        w = r * 0.9 / length
        body.tube(
            [bone],
            [
                (t - w, r * 0.3, r * 0.3, 0, girth * 0.75),
                (t - w * 0.5, r * 0.6, r * 0.8, 0, girth * 0.9),
                (t, r * 0.65, r, 0, girth),
                (t + w * 0.5, r * 0.6, r * 0.8, 0, girth * 0.9),
                (t + w, r * 0.3, r * 0.3, 0, girth * 0.75),
            ],
            5,
            7,
        )


def mane(body: Body, necks: list[int], skull: float, size: float) -> None:
    """A crest along the neck, or a ruff round it."""
    n = len(necks)
    ruff = size > 0.6
    r = skull * (0.8 + size * 0.6)
    if ruff:
        body.tube(necks, [(-0.1, r, r * 1.1), (n * 0.5, r * 1.25, r * 1.35), (n * 0.95, r, r)], 5, 7, tint="mane")
    else:
        body.tube(
            necks,
            [
                (0, skull * 0.15, skull * 0.3, 0, skull * 0.9),
                (n * 0.5, skull * 0.2, skull * 0.6, 0, skull * 0.9),
                (n * 1.0, skull * 0.12, skull * 0.4, 0, skull * 0.8),
            ],
            3 + n,
            5,
            tint="mane",
        )


def plates(body: Body, bones: list[int], girth: float) -> None:
    """Spikes or plates along the back."""
    u = body.uniform
    count = int(u(4, 9))
    tall, thin, long = girth * u(0.4, 1.2), girth * u(0.05, 0.15), u(0.03, 0.09)
    for i in range(count):
        at = (i + 0.5) / count * len(bones)
        bone = bones[int(at)]
        h, t = np.asarray(body.head[bone]), np.asarray(body.tail[bone])
        d = (t - h) / max(float(np.linalg.norm(t - h)), 1e-6)
        up = np.cross(d, (0, 1, 0))
        length = float(np.linalg.norm(t - h))
        size = tall * (1 - 1.4 * abs((i + 0.5) / count - 0.5))
        w = long / length
        f = at - int(at)
        low = girth * 0.8 if bone in body.chains.get("trunk", []) else girth * 0.4
        body.tube(
            [bone],
            [
                (f - w, thin, size * 0.1, 0, low),
                (f - w * 0.3, thin, size * 0.55, 0, low + size * 0.4),
                (f, thin * 0.8, size * 0.7, 0, low + size * 0.5 * float(up[2] > 0)),
                (f + w, thin, size * 0.1, 0, low),
            ],
            4,
            4,
            tint="beak",
        )


def trunk_nose(body: Body, skull: int, size: float, length: float) -> None:
    """An elephant's trunk, and tusks."""
    u = body.uniform
    start = np.asarray(body.tail[skull]) + (0, 0, -size * 0.15)
    count = int(body.rng.integers(3, 9))
    r = size * u(0.3, 0.45)
    bones = body.chain("trunk", skull, line(start, (1, 0, -1.2), length, count, (-1.2, 0, -1.0)), loose=(6, 12, 12), key="trunknose")
    body.tube(bones, [(-0.4, r * 1.3, r * 1.3), (count * 0.5, r * 0.75, r * 0.75), (count, r * 0.4, r * 0.4)], count * 2 + 1, 6, anchor=skull)
    if body.chance(0.7):
        length_share = 1.0 / float(np.linalg.norm(np.subtract(body.tail[skull], body.head[skull])))
        for side in (1, -1):
            reach = size * u(0.8, 1.8) * length_share
            body.tube(
                [skull],
                [
                    (0.7, size * 0.12, size * 0.12, side * size * 0.5, -size * 0.4),
                    (0.7 + reach * 0.6, size * 0.1, size * 0.1, side * size * 0.6, -size * 0.6),
                    (0.7 + reach, size * 0.03, size * 0.03, side * size * 0.6, -size * 0.4),
                ],
                4,
                5,
                tint="beak",
            )


def held(body: Body, hand: int, size: float) -> None:
    """A stick, sword or hammer in a hand, with or without a bone of its own."""
    u = body.uniform
    h, t = np.asarray(body.head[hand]), np.asarray(body.tail[hand])
    grip = h + (t - h) * 0.7
    direction = np.array([1.0, 0, u(-0.4, 0.6)])
    length = size * u(1.5, 5.0)
    bone = body.bone("prop", hand, grip - direction * length * 0.2, grip + direction * length * 0.8, body.side[hand], loose=(3, 4, 4))
    r, heavy = size * u(0.08, 0.16), u(1.0, 4.0)
    flat = u(0.2, 1.0)
    body.tube(
        [bone],
        [(0, r, r), (0.3, r, r), (0.32, r * heavy, r * flat * heavy), (0.9, r * heavy * u(0.6, 1.2), r * flat * heavy), (1.0, r * 0.3, r * 0.3)],
        5,
        5,
        anchor=hand,
        tint="beak",
    )


def hat(body: Body, skull: int, width: float) -> None:
    """A hat, a helmet or hair on a head whose bone points up."""
    u = body.uniform
    low, top, brim = u(0.45, 0.7), u(1.05, 1.5), u(0.95, 1.7)
    body.tube(
        [skull],
        [
            (low - 0.03, width * brim, width * brim),
            (low + 0.03, width * brim, width * brim),
            (low + 0.05, width * 1.08, width * 1.12),
            (0.95, width * 0.95, width),
            (top, width * u(0.05, 0.8), width * u(0.05, 0.8)),
        ],
        5,
        8,
        tint="mane",
    )


def pack(body: Body, chest: int, depth: float, width: float) -> None:
    """A rucksack or quiver on the chest bone."""
    u = body.uniform
    w, d = width * u(0.3, 0.8), depth * u(0.3, 0.9)
    body.tube(
        [chest],
        [(-0.2, w * 0.8, d, 0, depth + d * 0.7), (0.0, w, d, 0, depth + d * 0.8), (0.8, w, d, 0, depth + d * 0.8), (1.0, w * 0.7, d * 0.8, 0, depth + d * 0.7)],
        4,
        6,
        tint="mane",
    )


def skirt(body: Body, pelvis: int, width: float, depth: float, length: float) -> None:
    """Cloth round the hips that hangs from the pelvis bone, which points up."""
    u = body.uniform
    share = length / max(float(np.linalg.norm(np.subtract(body.tail[pelvis], body.head[pelvis]))), 1e-6)
    flare = u(1.2, 2.0)
    body.tube(
        [pelvis],
        [
            (-share, width * flare, depth * flare * 1.2),
            (-share * 0.5, width * (1 + flare) / 2 * 1.05, depth * (1 + flare) / 2 * 1.2),
            (0.3, width * 1.05, depth * 1.1),
            (0.8, width * 0.9, depth),
        ],
        5,
        9,
        tint="mane",
    )
