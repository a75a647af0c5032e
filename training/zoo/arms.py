"""What bipeds do with their arms. Each takes the motion, an envelope (T,) between 0 and 1, and its vigour."""

from __future__ import annotations

import numpy as np

from .deeds import Deed
from .motion import Motion


def _pair(motion: Motion) -> tuple[int, list[int], list[int]]:
    """The side that leads, its arm and the other one."""
    side = int(motion.rng.choice([-1, 1]))
    return side, motion.body.chains[f"arm{side}"], motion.body.chains[f"arm{-side}"]


def dance(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    beat = 2 * np.pi * u(0.8, 2.5) * motion.times
    motion.place[:, 2] += 0.06 * (np.cos(beat) - 1) * v
    motion.sway[:, 2] += 0.4 * np.sin(beat / 2) * v
    motion.sway[:, 0] += 0.12 * np.sin(beat / 2 + u(0, 6)) * v
    motion.bend("spine", 2, -0.5 * np.sin(beat / 2 + u(0, 2)) * v)
    left, right = np.sin(beat), np.sin(beat + u(0, 6))
    motion.sided("arm", 0, x=u(0.2, 1.6) + 0.4 * np.sin(beat / 2 + u(0, 6)), y=u(-0.8, 0.4) + 0.5 * left, opposite=u(-0.8, 0.4) + 0.5 * right)
    motion.sided("arm", 1, y=-u(0.2, 1.6) - 0.4 * np.sin(beat))


def punch(motion: Motion, e: np.ndarray, v: float) -> None:
    side, arm, other = _pair(motion)
    beat = 2 * np.pi * motion.uniform(0.8, 2.5) * motion.times
    hit = np.clip(np.sin(beat), 0, 1) ** 2
    second = np.clip(-np.sin(beat), 0, 1) ** 2 * motion.chance(0.5)
    for chain, h in ((arm, hit), (other, second)):
        motion.rot[:, chain[0], 1] += -0.5 - 1.0 * h * v
        motion.rot[:, chain[1], 1] += -2.0 + 1.9 * h * v
    motion.sway[:, 2] += 0.3 * side * -hit * v
    motion.bend("spine", 2, 0.5 * side * -hit * v)
    motion.place[:, 0] += 0.1 * hit * v


def slash(motion: Motion, e: np.ndarray, v: float) -> None:
    """Wind up and swing one arm or both across, over the head or from the side."""
    u = motion.uniform
    side, arm, other = _pair(motion)
    swing = u(0.5, 1.5) * (motion.times - motion.times[0]) + u(0, 1)
    f = swing - np.floor(swing)
    wind = np.clip(f / 0.45, 0, 1)
    blow = np.clip((f - 0.5) / 0.18, 0, 1) * np.clip((1 - f) / 0.25, 0, 1)
    ready = wind * (f < 0.5) + np.clip((0.68 - f) / 0.18, 0, 1) * (f >= 0.5)
    over = motion.chance(0.5)
    for chain, s in ((arm, side), (other, -side)) if motion.chance(0.35) else ((arm, side),):
        motion.rot[:, chain[0], 1] += -u(1.6, 2.8) * ready * v * over - u(0.2, 0.9) * blow
        motion.rot[:, chain[0], 0] += s * u(0.6, 1.6) * ready * v * (not over)
        motion.rot[:, chain[0], 2] += s * (u(0.2, 0.8) * ready - u(0.4, 1.2) * blow) * v
        motion.rot[:, chain[1], 1] += -u(0.6, 1.6) * ready - 0.2
        motion.rot[:, chain[2], 1] += u(-0.6, 0.6) * blow
    motion.bend("spine", 2, side * (0.4 * ready - 0.6 * blow) * v)
    motion.bend("spine", 1, (-0.15 * ready + 0.4 * blow) * v)
    motion.sway[:, 2] += side * (0.2 * ready - 0.35 * blow) * v
    motion.place[:, 0] += 0.15 * blow * v
    motion.place[:, 2] -= 0.1 * blow * v


def wave(motion: Motion, e: np.ndarray, v: float) -> None:
    side, arm, _ = _pair(motion)
    beat = 2 * np.pi * motion.uniform(0.8, 2.5) * motion.times
    _raise(motion, side, arm, motion.uniform(1.2, 2.6), e, v)
    motion.rot[:, arm[1], 0] += 0.6 * np.sin(beat) * e
    motion.rot[:, arm[2], 0] += 0.4 * np.sin(beat - 0.7) * e


def reach(motion: Motion, e: np.ndarray, v: float) -> None:
    side, arm, _ = _pair(motion)
    _raise(motion, side, arm, motion.uniform(0.4, 1.8), e, v)
    motion.place[:, 2] -= motion.uniform(-0.05, 0.3) * e * v
    motion.bend("spine", 1, motion.uniform(-0.1, 0.7) * e * v)


def _raise(motion: Motion, side: int, arm: list[int], angle: float, e: np.ndarray, v: float) -> None:
    if motion.chance(0.6):
        motion.rot[:, arm[0], 0] += side * angle * e * v
    else:
        motion.rot[:, arm[0], 1] -= angle * e * v
    motion.rot[:, arm[1], 1] -= motion.uniform(0.2, 1.3) * e
    motion.bend("spine", 0, -0.12 * side * e)


def both_up(motion: Motion, e: np.ndarray, v: float) -> None:
    """Cheer, surrender, lift, clap, spread: both arms alike, maybe in a rhythm."""
    u = motion.uniform
    beat = 0.3 * np.sin(2 * np.pi * u(0.8, 3.0) * motion.times) * motion.chance(0.6)
    front = motion.chance(0.5)
    size = u(0.8, 2.7) * v
    motion.sided("arm", 0, x=(0.2 if front else size) * e + beat * (not front) * e, y=-(size if front else 0.2) * e + beat * front * e, z=u(-0.4, 0.4) * e)
    motion.sided("arm", 1, x=u(-0.3, 0.3) * e, y=-u(0.0, 1.6) * e - beat * e)
    motion.bend("spine", 1, u(-0.3, 0.2) * e)


def shoot(motion: Motion, e: np.ndarray, v: float) -> None:
    """Both arms forward, a recoil now and then, the trunk turns to aim."""
    u = motion.uniform
    shot = np.clip(1 - 8 * np.mod(motion.times * u(0.7, 3.0), 1.0), 0, 1)
    motion.sided("arm", 0, x=-0.1, y=-u(1.0, 1.6) * e - 0.25 * shot, z=-u(0.1, 0.5) * e)
    motion.sided("arm", 1, y=-u(0.1, 0.8) * e - 0.3 * shot)
    motion.bend("spine", 2, 0.5 * motion.noise(0.8) * e)
    motion.bend("spine", 1, -0.12 * shot)


ARMS: dict[str, Deed] = {"wave": wave, "punch": punch, "dance": dance, "reach": reach, "slash": slash, "arms": both_up, "shoot": shoot}
