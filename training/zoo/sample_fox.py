"""The fox of the sample scene: explicit proportions, a walk along an arc with a look about, colours by region. No Blender here."""

from __future__ import annotations

import numpy as np

from .body import Body, line
from .gaits import locomote
from .kinematics import accumulate, rotation
from .motion import Motion, key_curve
from .parts import leg, neck, tail, trunk
from .perform import run
from .skin import Skin, build_mesh

TALL = 0.7
ORANGE, WHITE, DARK, CREAM = (np.array(c) for c in ((0.80, 0.37, 0.12), (0.95, 0.92, 0.86), (0.10, 0.08, 0.08), (0.88, 0.62, 0.38)))


def build_fox() -> Body:
    """A fox of 33 bones in its neutral stand, one torso long."""
    body = Body(np.random.default_rng(1))
    body.body_sides, body.limb_sides = 16, 12
    bones = trunk(body, np.array([-0.5, 0, TALL + 0.02]), np.array([1, 0, -0.02]), 1.0, 3, (0, 0, 0.05))
    pelvis, chest = bones[0], bones[-1]
    necks = neck(body, chest, np.asarray(body.tail[chest]) + (0, 0, 0.03), np.array([1, 0, 0.85]), 0.3, 2)
    body.tube(
        bones + necks,
        [
            (-0.45, 0.05, 0.06),
            (-0.2, 0.1, 0.12),
            (0.3, 0.13, 0.165),
            (1.8, 0.125, 0.165, 0, -0.015),
            (3.0, 0.14, 0.2, 0, -0.045),
            (3.8, 0.125, 0.18, 0, -0.015),
            (4.6, 0.105, 0.14),
            (5.5, 0.09, 0.11),
            (6, 0.08, 0.085),
        ],
        40,
        16,
    )
    _head(body, necks[-1])
    tail(body, pelvis, (-0.56, 0, TALL + 0.08), (-1, 0, -0.3), 0.85, 6, 0.05, 0.5, (0, 0, 0.5))
    body.tubes[-1].rows = [
        (-0.3, 0.035, 0.035, 0, 0),
        (0.6, 0.05, 0.05, 0, 0),
        (2.2, 0.095, 0.1, 0, 0),
        (4.0, 0.11, 0.115, 0, 0),
        (5.3, 0.075, 0.075, 0, 0),
        (6.15, 0.012, 0.012, 0, 0),
    ]
    body.tubes[-1].rings = 24
    for side in (1, -1):
        front = [(0.38, 0.085, TALL * 0.82), (0.31, 0.092, TALL * 0.5), (0.325, 0.088, TALL * 0.16), (0.345, 0.088, 0.03)]
        leg(body, chest, front, side, 0, [0.085, 0.048, 0.033, 0.032], False, (0.33, 0.06, TALL * 1.04), 1, 0.07, ("upperarm", "forearm", "hand"))
        hind = [(-0.41, 0.088, TALL * 0.9), (-0.32, 0.1, TALL * 0.56), (-0.5, 0.09, TALL * 0.27), (-0.46, 0.09, 0.03)]
        leg(body, pelvis, hind, side, 1, [0.115, 0.06, 0.032, 0.032], True, None, 1, 0.07, ("thigh", "shin", "foot"))
    for tube in body.tubes:
        tube.sides, tube.rings = max(tube.sides, 10), tube.rings * 2
    return body


def _head(body: Body, parent: int) -> None:
    start = np.asarray(body.tail[parent])
    d = np.array([1, 0, -0.3]) / np.hypot(1, 0.3)
    skull = body.bone("head", parent, start, start + d * 0.36)
    body.chains["head"] = [skull]
    body.tube(
        [skull],
        [
            (-0.25, 0.06, 0.06),
            (0.0, 0.098, 0.09),
            (0.22, 0.108, 0.095),
            (0.42, 0.085, 0.072, 0, -0.012),
            (0.6, 0.05, 0.048, 0, -0.026),
            (0.88, 0.031, 0.032, 0, -0.036),
            (1.0, 0.02, 0.02, 0, -0.034),
        ],
        18,
        16,
        anchor=parent,
    )
    for side in (1, -1):
        cheek = [(0.05, 0.02, 0.02, side * 0.1, -0.035), (0.2, 0.05, 0.045, side * 0.085, -0.04), (0.42, 0.02, 0.02, side * 0.06, -0.04)]
        body.tube([skull], cheek, 8, 10)
        body.tube(
            [skull],
            [(0.40, 0.011, 0.011, side * 0.062, 0.03), (0.44, 0.017, 0.017, side * 0.064, 0.03), (0.48, 0.011, 0.011, side * 0.060, 0.029)],
            5,
            10,
            tint="eye",
        )
        up = np.cross(d, (0, 1, 0))
        base = start + d * 0.055 + up * 0.06 + np.array([0, side * 0.062, 0])
        ear = body.chain("ear", skull, line(base, up + d * -0.1 + np.array([0, side * 0.35, 0]), 0.17, 2), side, key=f"ear{side}")
        body.tube(ear, [(-0.2, 0.05, 0.03), (0.5, 0.052, 0.022), (1.2, 0.034, 0.016), (2.0, 0.008, 0.008)], 12, 10, anchor=skull)
    body.tube([skull], [(0.97, 0.014, 0.012, 0, -0.025), (1.02, 0.018, 0.016, 0, -0.025), (1.05, 0.009, 0.009, 0, -0.025)], 5, 10, tint="dark")


def neutral_skin(body: Body) -> Skin:
    parents, heads, _ = body.arrays()
    turn, position = accumulate(parents, heads, rotation(np.zeros((1, len(body), 3))), np.zeros((1, 3)))
    return build_mesh(body, turn[0], position[0])


def walk(body: Body, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Turns (T, J, 3, 3) and heads (T, J, 3): a brisk walk on an arc, the head looks left, ears and tail follow."""
    motion = Motion.start(body, np.random.default_rng(12), frames, fps)
    motion.times = np.arange(frames) / fps
    locomote(motion, 1.0, gait="walk", curve=-0.26)
    keys = np.array([0.0, 0.7, 1.3, 2.0, 2.6, 3.1])
    gaze = key_curve(motion.times, keys, np.radians([[0, 0], [0, 5], [-8, -36], [-10, -40], [12, 14], [8, 18]]), 1.3)
    motion.bend("neck", 1, 0.5 * gaze[:, 0])
    motion.bend("head", 1, 0.6 * gaze[:, 0])
    motion.bend("neck", 2, 0.6 * gaze[:, 1])
    motion.bend("head", 2, 0.6 * gaze[:, 1])
    motion.wave("tail", 2, 0.9, 0.35, 1.1 * motion.times, 0.3)
    for side in (1, -1):
        motion.bend(f"ear{side}", 1, 0.25 * np.sin(5.0 * motion.times + side))
    return run(motion)


def paint_fox(points: np.ndarray, normals: np.ndarray, part: np.ndarray, eye: np.ndarray, nose: np.ndarray) -> np.ndarray:
    """(V, 3) sRGB by region: points and normals (V, 3) in the neutral stand, part (V,) name of the strongest bone, eye and nose (V,) bool."""
    x, z = points[:, 0], points[:, 2]
    color = np.repeat(ORANGE[None], len(points), 0)

    def lay(share: np.ndarray, tone: np.ndarray) -> None:
        color[:] += np.clip(share, 0, 1)[:, None] * (tone - color)

    def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
        f = np.clip((value - low) / (high - low), 0, 1)
        return f * f * (3 - 2 * f)

    torso = np.isin(part, ["pelvis", "spine", "neck", "shoulder"])
    lay(torso * ramp(-normals[:, 2], 0.25, 0.75), CREAM)
    lay(torso * ramp(x, 0.32, 0.5) * ramp(-normals[:, 2] + 0.7 * normals[:, 0], 0.1, 0.8), WHITE)
    lay(torso * ramp(z, TALL + 0.09, TALL + 0.2) * 0.35, ORANGE * 0.55)
    limbs = np.isin(part, ["upperarm", "forearm", "hand", "thigh", "shin", "foot", "toe"])
    lay(limbs * ramp(-z, -0.40, -0.24), DARK)
    tail_bone = part == "tail"
    lay(tail_bone * ramp(-x, 1.08, 1.2), WHITE)
    head = part == "head"
    top = points[head].max(0) if head.any() else np.zeros(3)
    low = points[head].min(0) if head.any() else np.zeros(3)
    share = (x - low[0]) / max(top[0] - low[0], 1e-6)
    lay(head * ramp(-normals[:, 2] + 0.25 * np.abs(normals[:, 1]), 0.0, 0.5) * ramp(share, 0.15, 0.35), WHITE)
    ear = part == "ear"
    lay(ear * ramp(normals[:, 0], 0.2, 0.7), CREAM)
    lay(
        ear
        * ramp(-normals[:, 0], -0.1, 0.5)
        * ramp(z, float(np.quantile(z[ear], 0.35)) if ear.any() else 0, float(np.quantile(z[ear], 0.7)) if ear.any() else 1),
        DARK,
    )
    color[eye] = np.array([0.06, 0.04, 0.03])
    color[nose] = np.array([0.04, 0.035, 0.04])
    return np.clip(color, 0, 1)
