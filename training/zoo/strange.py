"""Body plans without a natural model: blobs, tentacled things, plants and jointed machines."""

from __future__ import annotations

import numpy as np

from .body import Body, line
from .parts import ears


def blob(body: Body) -> None:
    """A round or boxy creature of few bones: stub feet, arms or wings, ears; some float."""
    u = body.uniform
    floats = body.chance(0.4)
    tall, wide, deep = u(0.25, 0.6), u(0.25, 0.5), u(0.22, 0.5)
    low = u(0.5, 1.0) if floats else u(0.03, 0.2)
    count = int(body.rng.integers(1, 4))
    points = line((0, 0, low), (u(-0.1, 0.1), 0, 1), 2 * tall, count)
    bones = body.chain("body", -1, points, loose=(8, 10, 10), key="spine")
    body.chains["trunk"] = bones
    body.chains["head"] = [bones[-1]] if count > 1 else []
    top, n = u(0.3, 1.0), count
    body.tube(
        bones,
        [
            (-0.02, wide * 0.35, deep * 0.35),
            (n * 0.15, wide * 0.8, deep * 0.8),
            (n * 0.45, wide, deep),
            (n * 0.8, wide * (0.5 + 0.4 * top), deep * (0.5 + 0.4 * top)),
            (n, wide * 0.4 * top, deep * 0.4 * top),
        ],
        10,
        body.body_sides + 2,
    )
    face = bones[-1] if count < 3 else bones[1]
    length = 2 * tall / n
    e = u(0.05, 0.14)
    for side in (1, -1):
        y = side * wide * u(0.25, 0.5)
        body.tube(
            [face],
            [(0.45 - e / length, e * 0.6, 0.02, y, -deep * 0.85), (0.45, e, 0.04, y, -deep * 0.95), (0.45 + e / length, e * 0.6, 0.02, y, -deep * 0.85)],
            3,
            6,
            tint="eye",
        )
    if body.chance(0.5):
        jaw = body.bone("jaw", bones[0], (deep * 0.2, 0, low + tall * 0.6), (deep * 1.05, 0, low + tall * 0.5), loose=(0, 8, 0))
        body.chains["jaw"] = [jaw]
        body.tube([jaw], [(0.3, wide * 0.6, tall * 0.18), (0.8, wide * 0.5, tall * 0.16), (1.0, wide * 0.3, tall * 0.1)], 3, 7, tint="belly")
    if body.chance(0.6):
        ears(body, bones[-1], min(wide, deep) * 0.8, u(0.1, 0.5), int(body.rng.integers(0, 3)))
    if body.chance(0.75):
        _stubs(body, bones, low, tall, wide, deep)
    if not floats and body.chance(0.85):
        r = u(0.06, 0.14)
        for side in (1, -1):
            hip = (0, side * wide * 0.5, low + r)
            foot = body.bone("foot", bones[0], hip, (r * 1.8, side * wide * 0.5, r * 0.3), side, loose=(10, 16, 8))
            body.chains[f"stub{side}"] = [foot]
            body.tube([foot], [(-0.5, r * 0.8, r * 0.7), (0.2, r, r * 0.9), (0.8, r, r * 0.8), (1.2, r * 0.5, r * 0.5)], 5, 6, tint="hoof")
    if body.chance(0.4):
        t = int(body.rng.integers(1, 6))
        chain = body.chain(
            "tail",
            bones[0],
            line((-deep * 0.8, 0, low + tall * 0.4), (-1, 0, u(-0.6, 0.8)), u(0.2, 0.8), t, (0, 0, u(-0.5, 1.0))),
            loose=(6, 12, 14),
            key="tail",
        )
        r = u(0.03, 0.1)
        body.tube(chain, [(-0.3, r, r), (t * 0.6, r, r), (t, r * 0.3, r * 0.3)], 3 + t, 6, anchor=bones[0])
    body.traits["gait"] = -3
    body.traits["floats"] = float(floats)


def _stubs(body: Body, bones: list[int], low: float, tall: float, wide: float, deep: float) -> None:
    u = body.uniform
    wings, joints = body.chance(0.5), int(body.rng.integers(1, 4))
    long, r, at = u(0.15, 0.7), u(0.04, 0.1), low + tall * u(0.7, 1.3)
    parent = bones[min(len(bones) - 1, len(bones) // 2)]
    drop = u(-0.2, 0.4) if wings else u(-1.2, 0.1)
    for side in (1, -1):
        points = line((0 if not wings else -deep * 0.3, side * wide * 0.85, at), (u(-0.1, 0.1) * 0, side, drop), long, joints)
        chain = body.chain("wing" if wings else "upperarm", parent, points, side, (1, 0, 0), (14, 14, 12), f"{'wing' if wings else 'arm'}{side}")
        chord = long * 0.35
        rows = (
            [(-0.2, chord * 0.6, r * 0.4), (joints * 0.5, chord, r * 0.3), (joints, chord * 0.4, r * 0.15)]
            if wings
            else [(-0.2, r, r), (joints * 0.6, r * 0.9, r * 0.9), (joints, r * 0.8, r * 0.8)]
        )
        body.tube(chain, rows, 3 + 2 * joints, 6, anchor=parent, tint="wing" if wings else "coat")


def tentacles(body: Body) -> None:
    """Octopuses, squids, hydras, many-tailed things: a bulb with arms all round."""
    u = body.uniform
    up = body.chance(0.35)
    r, tall = u(0.15, 0.35), u(0.2, 0.6)
    low = 0.1 if up else u(0.4, 1.2)
    bulb = body.chain("body", -1, line((0, 0, low), (u(-0.6, 0.3), 0, 1), tall, int(body.rng.integers(1, 3))), loose=(6, 8, 8), key="spine")
    n = len(bulb)
    body.chains["trunk"] = bulb
    body.tube(bulb, [(-0.2, r * 0.5, r * 0.5), (n * 0.2, r * 0.9, r * 0.9), (n * 0.6, r, r), (n * 1.05, r * 0.4, r * 0.4)], 7, body.body_sides)
    for side in (1, -1):
        e = r * u(0.12, 0.25)
        body.tube(
            [bulb[0]],
            [(0.3, e * 0.6, 0.02, side * r * 0.5, -r * 0.8), (0.45, e, 0.03, side * r * 0.5, -r * 0.9), (0.6, e * 0.6, 0.02, side * r * 0.5, -r * 0.8)],
            3,
            5,
            tint="eye",
        )
    arms, joints, length = int(body.rng.integers(3, 9)), int(body.rng.integers(3, 9)), u(0.5, 1.4)
    joints = min(joints, 60 // arms)
    thick, end, slope, bend = r * u(0.2, 0.45), u(0.1, 0.6), u(-0.9, 0.2), u(-1.0, 1.0)
    z = low + (tall * 0.8 if up else 0.0)
    for i in range(arms):
        yaw = 2 * np.pi * (i + 0.5) / arms
        d = np.array([np.cos(yaw), np.sin(yaw), 0])
        slant = abs(slope) + 0.3 if up else slope
        chain = body.chain(
            "tentacle",
            bulb[-1] if up else bulb[0],
            line(np.array([0, 0, z]) + d * r * 0.7, d + (0, 0, slant), length, joints, (0, 0, bend)),
            1 if np.sin(yaw) > 0 else -1,
            (-d[1], d[0], 0),
            (8, 12, 12),
            f"stalk{i}",
        )
        body.tube(
            chain,
            [(-0.4, thick, thick), (joints * 0.5, thick * (1 + end) / 2, thick * (1 + end) / 2), (joints, thick * end, thick * end)],
            min(2 * joints + 1, 12),
            5,
            anchor=bulb[-1] if up else bulb[0],
        )
    body.traits["gait"] = -2


def chain(body: Body) -> None:
    """A jointed arm on a base, a plant or a worm that stands: one or a few stalks, leaves or a gripper."""
    u = body.uniform
    base = body.bone("base", -1, (0, 0, 0), (0, 0, u(0.05, 0.3)), loose=(1, 1, 12))
    body.chains["trunk"] = [base]
    wide, plant = u(0.1, 0.35), body.chance(0.5)
    body.tube([base], [(0, wide, wide), (0.5, wide * 0.9, wide * 0.9), (1.1, wide * u(0.4, 0.9), wide * u(0.4, 0.9))], 4, 8, tint="mane")
    stalks = 1 if body.chance(0.6) else int(body.rng.integers(2, 5))
    joints = int(body.rng.integers(3, 13 if stalks == 1 else 6))
    start = np.asarray(body.tail[base])
    thick, end = wide * u(0.2, 0.6), u(0.3, 1.0)
    for i in range(stalks):
        yaw = 2 * np.pi * i / stalks + u(0, 1)
        lean = np.array([np.cos(yaw), np.sin(yaw), 0]) * (u(0.3, 1.0) if stalks > 1 else u(0, 0.3))
        length = u(0.8, 1.6)
        bones = body.chain(
            "stalk", base, line(start, lean + (0, 0, 1), length, joints, (u(-0.8, 0.8), u(-0.8, 0.8) * (stalks > 1), 0)), 0, (0, 1, 0), (8, 11, 11), f"stalk{i}"
        )
        if plant:
            body.tube(bones, [(-0.2, thick, thick), (joints, thick * end, thick * end)], min(2 * joints + 1, 16), 6, anchor=base)
        else:
            for bone in bones:
                body.tube(
                    [bone],
                    [(0.02, thick * 0.8, thick * 0.8), (0.12, thick, thick), (0.8, thick * 0.8, thick * 0.7), (0.95, thick * 0.5, thick * 0.5)],
                    4,
                    6,
                    anchor=-1,
                    soft=0.05,
                )
        _tip(body, bones, plant, thick)
    body.traits["gait"] = -2


def _tip(body: Body, bones: list[int], plant: bool, thick: float) -> None:
    u = body.uniform
    last = bones[-1]
    end = np.asarray(body.tail[last])
    if plant and body.chance(0.7):
        r = thick * u(1.5, 4.0)
        body.tube([last], [(0.7, r * 0.4, r * 0.4), (1.1, r, r), (1.5, r * 0.8, r * 0.8), (1.7, r * 0.3, r * 0.3)], 5, 7, tint="beak")
    for _i in range(int(u(0, 5)) if plant else int(u(0, 4))):
        yaw = u(0, 2 * np.pi)
        d = np.array([np.cos(yaw), np.sin(yaw), u(0.0, 0.8)])
        at = bones[int(u(0, len(bones)))] if plant else last
        root = np.asarray(body.tail[at]) if plant else end
        long, wide = u(0.15, 0.4), u(0.05, 0.12)
        leaf = body.bone("leaf" if plant else "grip", at, root, root + d * long, 0, (-np.sin(yaw), np.cos(yaw), 0), (8, 14, 10))
        body.chains.setdefault("leaves", []).append(leaf)
        flat = 0.015 if plant else wide * 0.6
        body.tube(
            [leaf], [(0, 0.02, flat), (0.4, wide if plant else wide * 0.6, flat), (1, 0.015, flat * 0.6)], 4, 5, anchor=at, tint="wing" if plant else "beak"
        )
