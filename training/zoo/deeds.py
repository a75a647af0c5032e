"""Actions of the whole body. Each takes the motion, an envelope (T,) between 0 and 1, and its vigour, about 0.5 to 1.1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .actions import leg_length
from .motion import Motion
from .waves import raise_head, tuck

Deed = Callable[[Motion, np.ndarray, float], None]


def _hind(motion: Motion) -> np.ndarray:
    return np.array([leg.hind for leg in motion.body.legs], float)


def _carry(motion: Motion, share: np.ndarray, offset: np.ndarray | None = None) -> None:
    """Feet leave the ground and go with the body by share (T,), moved by an offset that grows with it."""
    motion.lift += np.clip(share, 0, 1)[:, None]
    if offset is not None:
        motion.reach += np.clip(share, 0, 1)[:, None, None] * offset


def bite(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    lunge = e**2
    motion.place[:, 0] += u(0.0, 0.25) * lunge
    motion.sway[:, 1] += u(-0.2, 0.3) * lunge
    motion.bend("neck", 1, u(-0.9, 0.9) * (lunge - 0.6 * (e * (1 - e) * 4)) * v)
    motion.bend("head", 1, u(-0.4, 0.4) * lunge)
    motion.bend("jaw", 1, u(0.3, 0.9) * 4 * e * (1 - e))


def sit(motion: Motion, e: np.ndarray, v: float) -> None:
    drop = 0.55 * leg_length(motion) * v
    motion.place[:, 2] -= drop * e
    motion.place[:, 0] += 0.1 * e * v
    motion.sway[:, 1] -= np.arcsin(min(0.9, drop * motion.uniform(0.8, 1.2))) * e
    motion.bend("neck", 1, 0.4 * e)
    motion.foot -= np.minimum(0.5 * e, 0.5)[:, None] * _hind(motion)


def sit_down(motion: Motion, e: np.ndarray, v: float) -> None:
    """As on a chair or a rock: hips down and back, trunk upright, arms on the knees."""
    scale, u = leg_length(motion), motion.uniform
    motion.place[:, 2] -= u(0.35, 0.7) * scale * e * v
    motion.place[:, 0] -= u(0.2, 0.5) * scale * e * v
    motion.bend("spine", 1, u(-0.1, 0.35) * e)
    motion.sided("arm", 0, x=0.1 * e, y=-u(0.2, 0.9) * e)
    motion.sided("arm", 1, y=-u(0.2, 1.2) * e)


def crouch(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    motion.place[:, 2] -= u(0.4, 0.75) * leg_length(motion) * v * e
    motion.sway[:, 0] += u(-0.15, 0.15) * e
    motion.sway[:, 1] += u(-0.1, 0.4) * e * (len(motion.body.legs) == 2)
    motion.bend("spine", 1, u(-0.1, 0.4) * e)


def rear(motion: Motion, e: np.ndarray, v: float) -> None:
    u, scale, legs = motion.uniform, leg_length(motion), motion.body.legs
    angle = u(0.4, 1.15) * v
    motion.sway[:, 1] -= angle * e
    motion.place[:, 2] += (0.0 if len(legs) <= 4 else 0.3 * scale) * e
    motion.bend("neck", 1, 0.5 * angle * e)
    front = 1 - _hind(motion)
    motion.lift += np.clip(1.2 * e, 0, 1)[:, None] * front
    pawing = 0.15 * np.sin(2 * np.pi * u(1, 3) * motion.times[:, None] + np.arange(len(legs))) * e[:, None]
    motion.reach += front[None, :, None] * (e[:, None, None] * np.array([u(-0.1, 0.3), 0, u(0.0, 0.3)]) + pawing[..., None] * np.array([1, 0, 1])) * scale


def threat(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    motion.sway[:, 1] -= u(0.2, 0.5) * v * e
    motion.place[:, 2] += 0.3 * leg_length(motion) * e
    motion.lift += np.clip(1.2 * e, 0, 1)[:, None] * (1 - _hind(motion))
    motion.sided("arm", 0, x=u(-0.3, 0.5) * e, y=-u(0.2, 1.0) * e, z=u(-0.3, 0.5) * e)


def jump(motion: Motion, e: np.ndarray, v: float) -> None:
    u, scale = motion.uniform, leg_length(motion)
    air = np.clip(2 * e - 1, 0, 1)
    motion.place[:, 2] += scale * (u(0.3, 1.2) * v * air - 0.35 * np.clip(1 - np.abs(2 * e - 0.7) / 0.7, 0, 1))
    motion.sway[:, 1] += u(-0.5, 0.3) * np.gradient(air) * 8 * v
    _carry(motion, 4 * air, np.array([u(-0.2, 0.3), 0, u(0.0, 0.4)]) * scale)
    motion.foot += air[:, None] * u(0, 0.8)
    motion.sided("arm", 0, x=u(0, 1.5) * air, y=-u(-0.5, 2.0) * air)


def somersault(motion: Motion, e: np.ndarray, v: float) -> None:
    """A roll on the ground or a flip in the air, forwards, backwards or sideways; or a pirouette."""
    u, scale = motion.uniform, leg_length(motion)
    axis = int(motion.rng.choice(3, p=[0.2, 0.5, 0.3]))
    turn = (1 if motion.chance(0.6) else -1) * 2 * np.pi * e * (1.0 if axis < 2 else motion.rng.choice([0.5, 1.0]))
    motion.sway[:, axis] += turn
    air = np.clip(4 * e * (1 - e), 0, 1)
    if axis < 2:
        high = motion.chance(0.5)
        motion.place[:, 2] += scale * air * (u(0.5, 1.2) if high else -0.45)
        _carry(motion, 3 * air, np.array([0.1, 0, u(0.2, 0.5)]) * scale)
        motion.bend("spine", 1, u(0.2, 0.9) * air)
        motion.bend("neck", 1, u(0.0, 0.6) * air)
    else:
        _carry(motion, np.full(motion.frames, 1.0))
        motion.place[:, 2] += 0.1 * scale * air


def fall(motion: Motion, e: np.ndarray, v: float) -> None:
    """Onto a side, forwards or backwards; limbs end where they may."""
    u, scale, legs = motion.uniform, leg_length(motion), motion.body.legs
    sign = float(motion.rng.choice([-1, 1]))
    axis = 0 if len(legs) > 2 or motion.chance(0.3) else 1
    motion.sway[:, axis] += sign * u(1.0, 1.6) * e
    motion.place[:, 2] -= u(0.6, 0.85) * scale * e
    motion.place[:, 1 - axis] -= sign * 0.4 * scale * e * (1 if axis == 0 else -1)
    _carry(motion, 2.5 * e, motion.rng.normal(size=(1, len(legs), 3)) * 0.2 * scale)
    for axis in range(3):
        for key in ("neck", "spine", "tail"):
            motion.bend(key, axis, motion.rng.normal() * 0.3 * e)
    for side in (1, -1):
        for bone in motion.body.chains.get(f"arm{side}", []):
            motion.rot[:, bone] += motion.rng.normal(size=3) * 0.5 * e[:, None]


def graze(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    motion.sway[:, 1] += u(0.1, 0.4) * v * e
    motion.place[:, 2] -= 0.1 * leg_length(motion) * e
    motion.bend("neck", 1, u(0.6, 1.5) * e * v)
    motion.bend("head", 1, u(-0.2, 0.5) * e)
    motion.bend("jaw", 1, 0.3 * e * (0.5 + 0.5 * np.sin(12 * motion.times)))


def stretch(motion: Motion, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    motion.sway[:, 1] += u(0.15, 0.5) * v * e
    motion.bend("neck", 1, u(-0.6, 0.0) * e * v)
    motion.bend("jaw", 1, u(0, 0.7) * e)
    motion.place[:, 0] -= u(0, 0.3) * leg_length(motion) * e


def kick(motion: Motion, e: np.ndarray, v: float) -> None:
    """One foot off the ground: paw, kick, scratch, shake."""
    u = motion.uniform
    n = int(motion.rng.integers(len(motion.body.legs)))
    shake = u(0, 0.15) * np.sin(2 * np.pi * u(1, 6) * motion.times) * e
    motion.reach[:, n] += (e[:, None] * np.array([u(-0.3, 0.8), u(-0.2, 0.2), u(0.25, 0.7)]) + shake[:, None] * np.array([1, 0, 1])) * leg_length(motion) * v
    motion.foot[:, n] -= u(-0.5, 0.8) * e
    motion.sway[:, 1] -= u(-0.1, 0.2) * e


def bow(motion: Motion, e: np.ndarray, v: float) -> None:
    motion.bend("spine", 1, motion.uniform(0.3, 1.2) * e * v)
    motion.bend("neck", 1, motion.uniform(0, 0.5) * e)


def crawl_low(motion: Motion, e: np.ndarray, v: float) -> None:
    """A biped on hands and knees, or lying: the trunk level, near the ground, limbs hanging."""
    u, scale = motion.uniform, leg_length(motion)
    level = 0.8 + 0.2 * e
    motion.sway[:, 1] += u(1.1, 1.6) * level * motion.rng.choice([1, 1, -1])
    motion.place[:, 2] -= u(0.4, 0.8) * scale * level
    motion.planted = False
    tuck(motion, u(0.0, 1.2))
    phase = 2 * np.pi * u(0.4, 1.5) * motion.times
    swing = u(0, 0.6) * v
    motion.sided("arm", 0, x=0.2, y=-u(0.5, 2.0) + swing * np.sin(phase), opposite=-1.2 - swing * np.sin(phase))
    for leg in motion.body.legs:
        motion.rot[:, leg.upper, 1] += swing * np.sin(phase + (np.pi if leg.side > 0 else 0))
    motion.bend("neck", 1, -u(0.0, 0.8) * level)


def cobra(motion: Motion, e: np.ndarray, v: float) -> None:
    raise_head(motion, motion.uniform(0.5, 1.6) * v, e)


def strike(motion: Motion, e: np.ndarray, v: float) -> None:
    bite(motion, e, v)
    raise_head(motion, motion.uniform(0.5, 1.6) * v, 1 - 0.7 * e)


def coil(motion: Motion, e: np.ndarray, v: float) -> None:
    turn = motion.uniform(2.0, 6.0) * v * motion.rng.choice([-1, 1])
    motion.bend("behind", 2, -turn * e, motion.uniform(-0.3, 0.8))
    motion.bend("front", 2, turn * (0.3 + 0.7 * e), motion.uniform(-0.5, 0.3))


FOUR_LEGS: dict[str, Deed] = {
    "sit": sit, "lie": crouch, "rear": rear, "jump": jump, "paw": kick, "fall": fall, "stretch": stretch, "graze": graze, "somersault": somersault,
}  # fmt: skip
TWO_LEGS: dict[str, Deed] = {
    "crouch": crouch, "jump": jump, "fall": fall, "kick": kick, "bow": bow, "graze": graze, "somersault": somersault, "sit": sit_down, "crawl": crawl_low,
}  # fmt: skip
CRAWLER: dict[str, Deed] = {"rear": rear, "jump": jump, "threat": threat, "crouch": crouch, "fall": fall, "paw": kick}
SNAKE: dict[str, Deed] = {"cobra": cobra, "coil": coil, "strike": strike}
