"""Body plans that stand on legs: quadrupeds and bipeds."""

from __future__ import annotations

import numpy as np

from .body import Body, line
from .parts import ears, head, horns, leg, tail


def trunk(body: Body, start: np.ndarray, direction: np.ndarray, length: float, count: int, bend: tuple[float, float, float] = (0, 0, 0)) -> list[int]:
    """Pelvis and spine bones; the pelvis is the creature's moving root."""
    points = line(start, direction, length, count + 1, bend)
    pelvis = body.bone("pelvis", -1, points[0], points[1], loose=(3, 4, 5))
    spine = body.chain("spine", pelvis, points[1:], loose=(5, 6, 7), key="spine")
    body.chains["trunk"] = [pelvis, *spine]
    return body.chains["trunk"]


def neck(body: Body, parent: int, start: np.ndarray, direction: np.ndarray, length: float, count: int, bend: tuple[float, float, float] = (0, 0, 0)) -> list[int]:
    return body.chain("neck", parent, line(start, direction, length, count, bend), loose=(5, 9, 9), key="neck")


def quadruped(body: Body) -> None:
    """Cats, dogs, horses, camels, cattle, bears, rodents, lizards and nothing in particular."""
    u = body.uniform
    lizard = body.chance(0.12)
    tall = u(0.25, 0.45) if lizard else u(0.45, 1.25)
    hind, front = tall * u(0.9, 1.1), tall
    girth = u(0.13, 0.27)
    width = girth * u(0.65, 1.0)
    spread = width * u(0.6, 1.0) + (u(0.15, 0.35) if lizard else 0.0)
    bones = trunk(body, np.array([-0.5, 0, hind + girth * 0.15]), np.array([1, 0, front - hind + u(-0.03, 0.08)]), 1.0, body.rng.integers(1, 6), (0, 0, u(-0.25, 0.25)))
    chest, pelvis = bones[-1], bones[0]
    front_point = np.asarray(body.tail[chest])
    neck_length, steep = u(0.12, 0.9) * (0.4 + 0.6 * tall), u(-0.1, 1.8)
    head_size = u(0.09, 0.2)
    necks = neck(body, chest, front_point, np.array([1, 0, steep]), neck_length, body.rng.integers(1, 5), (0, 0, u(-0.8, 0.6)))
    n, m = len(bones), len(necks)
    waist = u(0.7, 1.15)
    nr = head_size * u(0.55, 0.95)
    body.tube(
        bones + necks,
        [(-0.35 * n / 3, width * 0.45, girth * 0.5), (0, width * 0.85, girth * 0.85), (n * 0.35, width * waist, girth * waist, 0, -girth * 0.1), (n * 0.75, width, girth, 0, -girth * u(0.1, 0.4)),
         (n, width * 0.7, girth * 0.75, 0, -girth * 0.1), (n + m * 0.4, nr * 1.3, nr * 1.5), (n + m, nr, nr)],
        max(10, n + 2 * m + 5), body.body_sides,
    )
    skull = head(body, necks[-1], np.asarray(body.tail[necks[-1]]), np.array([1, 0, u(-1.0, 0.2)]), head_size, head_size * u(0.3, 2.8))
    if body.chance(0.9) and not lizard:
        ears(body, skull, head_size, head_size * u(0.5, 2.2), int(body.chance(0.6)) + int(body.chance(0.15)))
    if body.chance(0.25):
        horns(body, skull, head_size, head_size * u(0.8, 2.5))
    if body.chance(0.93):
        thick = u(0.02, 0.09) if not lizard else girth * 0.6
        tail(body, pelvis, (-0.5 - girth * 0.3, 0, hind + girth * 0.4), (-1, 0, u(-1.2, 0.8)), u(0.15, 1.1), body.rng.integers(1, 8), thick, u(0.2, 1.4) if body.chance(0.4) else 0.3, (0, 0, u(-1.5, 1.5)))
    hoof = body.chance(0.35)
    toes = 1 if not lizard or body.chance(0.5) else 3
    thigh, thin = girth * u(0.35, 0.6), u(0.025, 0.055)
    blade = body.chance(0.5)
    for side in (1, -1):
        x = front_point[0] - u(0.0, 0.02) - 0.08
        if lizard:
            _sprawl(body, chest, side, 0, np.array([x, width * 0.7, front]), spread, thin * 1.2, toes, False)
            _sprawl(body, pelvis, side, 1, np.array([-0.45, width * 0.7, hind]), spread, thin * 1.2, toes, True)
            continue
        back = body.traits.setdefault("elbow", u(0.03, 0.12)) * tall
        pastern = body.traits.setdefault("pastern", u(0.06, 0.3)) * tall
        knee = body.traits.setdefault("stifle", u(0.05, 0.16)) * tall
        hock = body.traits.setdefault("hock", u(0.16, 0.34)) * tall
        y = spread
        shoulder = (x, y, front * 0.82 - 0.03)
        body_front = [shoulder, (x - back, y * 1.02, front * 0.5), (x + 0.2 * back, y, pastern), (x + 0.2 * back, y, thin * 0.9)]
        leg(body, chest, body_front, side, 0, [thigh * 0.85, thin * 1.7, thin * 1.1, thin], False,
            (x - 0.06, y * 0.55, front * 1.05) if blade else None, toes, 0.06 + thin, ("upperarm", "forearm", "hand"), hoof)
        hip = (-0.42, y * 0.95, hind * 0.92)
        body_hind = [hip, (-0.42 + knee, y * 1.05, hind * 0.55), (-0.42 - knee * 0.8, y, hock), (-0.42 - knee * 0.4, y, thin * 0.9)]
        leg(body, pelvis, body_hind, side, 1, [thigh * 1.15, thin * 1.9, thin * 1.1, thin], True, None, toes, 0.06 + thin, ("thigh", "shin", "foot"), hoof)
    body.traits["gait"] = 4


def _sprawl(body: Body, parent: int, side: int, pair: int, hip: np.ndarray, reach: float, radius: float, toes: int, hind: bool) -> None:
    knee = hip + (0.06 if hind else -0.06, reach * 0.75, 0.03)
    foot = np.array([hip[0] + (0.02 if hind else 0.05), knee[1] + reach * 0.2, radius])
    names = ("thigh", "shin", "foot") if hind else ("upperarm", "forearm", "hand")
    leg(body, parent, [tuple(hip), tuple(knee), tuple(foot)], side, pair, [radius * 1.6, radius * 1.2, radius * 0.9], hind, None, toes, 0.12, names, False, 0.5)


def biped(body: Body) -> None:
    """People, trolls, apes that walk upright, cartoon characters with large heads."""
    u = body.uniform
    cartoon = body.chance(0.35)
    legs = u(0.5, 0.9) if cartoon else u(0.95, 1.3)
    torso = u(0.65, 0.85)
    width, depth = u(0.13, 0.24), u(0.1, 0.18)
    bones = trunk(body, np.array([0, 0, legs]), np.array([u(-0.05, 0.1), 0, 1]), torso, body.rng.integers(1, 5))
    chest, pelvis = bones[-1], bones[0]
    n = len(bones)
    top = np.asarray(body.tail[chest])
    size = u(0.22, 0.42) if cartoon else u(0.13, 0.2)
    necks = neck(body, chest, top, np.array([0.1, 0, 1]), u(0.06, 0.14), 1 if body.chance(0.8) else 2)
    waist = u(0.65, 1.15)
    shoulder = width * u(0.95, 1.45)
    body.tube(bones + necks, [(-0.3, width * 0.6, depth * 0.7), (0, width * 0.95, depth * 0.95), (n * 0.4, width * waist, depth * waist), (n * 0.8, shoulder * 0.95, depth * 1.05), (n, shoulder * 0.5, depth * 0.7), (n + 0.3, size * 0.45, size * 0.45), (n + 1, size * 0.4, size * 0.4)], 11, body.body_sides)
    neck_top = np.asarray(body.tail[necks[-1]])
    skull = body.bone("head", necks[-1], neck_top, neck_top + (0.02, 0, size * 1.9), loose=(9, 12, 16))
    body.chains["head"] = [skull]
    w = size * u(0.75, 1.0)
    body.tube([skull], [(-0.1, w * 0.4, size * 0.45), (0.15, w * 0.8, size * 0.85, 0, -size * 0.05), (0.5, w, size, 0, -size * 0.05), (0.8, w * 0.85, size * 0.85), (1.02, w * 0.4, size * 0.4)], 8, body.body_sides, anchor=necks[-1])
    for side in (1, -1):
        e = size * u(0.09, 0.16)
        body.tube([skull], [(0.45, e * 0.6, e * 0.5, side * w * 0.4, -size * 0.92), (0.52, e, e * 0.6, side * w * 0.4, -size * 0.95), (0.6, e * 0.6, e * 0.5, side * w * 0.4, -size * 0.92)], 3, 5, tint="eye")
    if body.chance(0.4):
        ears(body, skull, size, size * u(0.3, 1.0), int(body.chance(0.3)))
    if body.chance(0.5):
        body.tube([skull], [(0.3, size * 0.1, size * 0.2, 0, -size), (0.4, size * 0.14, size * 0.22, 0, -size * 1.02), (0.5, size * 0.06, size * 0.1, 0, -size)], 3, 5, tint="coat")
    arm, thin, thigh = u(0.28, 0.42), u(0.035, 0.075), u(0.08, 0.13)
    fore, hand, clavicle, fingers, splay = arm * u(0.8, 1.1), u(0.08, 0.15), body.chance(0.75), body.rng.integers(0, 5), u(0.05, 0.3)
    hips, shin, foot = width * u(0.4, 0.6), legs * u(0.46, 0.54), u(0.14, 0.26)
    for side in (1, -1):
        _arm(body, chest, side, top + (0, 0, -0.09), shoulder, arm, fore, hand, thin, clavicle, int(fingers), splay)
        ankle = legs * 0.09 + 0.02
        points = [(0, hips, legs * 0.97), (0.035, hips * 1.05, legs - shin + ankle * 0.3), (-0.03, hips * 1.05, ankle), (-0.03 + foot * 0.7, hips * 1.1, 0.035)]
        leg(body, pelvis, points, side, 0, [thigh, thigh * 0.62, thin * 1.05, thin * 1.1], True, None, 1 if body.chance(0.8) or side < 0 and body.legs[0].toes else 0, foot * 0.4, ("thigh", "shin", "foot"))
    if body.chance(0.15):
        tail(body, pelvis, (-depth, 0, legs + 0.05), (-1, 0, u(-1, 0.5)), u(0.3, 1.0), body.rng.integers(2, 7), u(0.03, 0.08), 0.4, (0, 0, u(-1, 1.5)))
    body.traits["gait"] = 2


def _arm(body: Body, chest: int, side: int, base: np.ndarray, shoulder: float, arm: float, fore: float, hand: float, thin: float, clavicle: bool, fingers: int, splay: float) -> None:
    flip = np.array([1.0, side, 1.0])
    joint = base * flip + (0, side * (shoulder + thin * 0.3), 0)
    parent = chest
    if clavicle:
        parent = body.bone("shoulder", chest, base + (0, side * 0.03, 0.02), joint, side, lateral=(1, 0, 0), loose=(6, 4, 6))
    d = np.array([0.0, splay * side, -1.0]) / np.hypot(1, splay)
    elbow = joint + d * arm
    wrist = elbow + (d + (0.12, 0, 0)) * fore
    tip = wrist + (d + (0.1, 0, 0)) * hand
    bones = body.chain("upperarm", parent, [joint, elbow], side, loose=(14, 18, 10)) + body.chain("forearm", len(body) - 1, [elbow, wrist], side, loose=(3, 12, 14))
    body.part[bones[-1]] = "forearm"
    palm = body.bone("hand", bones[-1], wrist, tip, side, loose=(10, 12, 14))
    body.tube([*bones, palm], [(-0.15, thin * 1.2, thin * 1.2), (0.05, thin * 1.5, thin * 1.5), (0.5, thin * 1.25, thin * 1.3), (1, thin, thin * 1.05), (1.3, thin * 1.1, thin * 1.1), (2, thin * 0.75, thin * 0.75), (2.3, thin * 0.6, thin * 1.1), (3, thin * 0.5, thin * 1.0)], 12, body.limb_sides, anchor=parent)
    body.chains[f"arm{side}"] = [*bones, palm]
    for i in range(fingers + 1 if fingers else 0):
        thumb = i == 0
        start = wrist + (tip - wrist) * (0.35 if thumb else 0.9) + (0.02 if thumb else thin * (0.9 - 1.8 * i / max(fingers, 1)), 0, 0)
        direction = d + ((0.9, 0, 0) if thumb else (0.25 - 0.35 * i / fingers, 0, 0))
        joints = 1 if fingers < 3 else 2
        chain = body.chain("thumb" if thumb else f"finger{i}", palm, line(start, direction, hand * 0.7, joints), side, loose=(4, 14, 4), key=f"finger{i}{side}")
        body.tube(chain, [(-0.2, thin * 0.3, thin * 0.3), (joints * 0.5, thin * 0.3, thin * 0.3), (joints, thin * 0.2, thin * 0.2)], 2 + joints, 4, anchor=palm)
