"""What creatures do on the spot: idle, look round, sit, lie, rear, jump, bite, wave."""

from __future__ import annotations

import numpy as np

from .motion import Motion, key_curve, smooth_noise
from .waves import raise_head


def idle(motion: Motion, vigour: float) -> None:
    """Breathing, weight shifts, looking about, ears and tail that never rest."""
    u = motion.uniform
    breath = np.sin(2 * np.pi * (u(0.2, 0.8) * motion.times + u(0, 1)))
    scale = leg_length(motion)
    motion.place[:, 2] += scale * (0.012 * breath - u(0.0, 0.15))
    motion.place[:, :2] += scale * 0.06 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.5, (2,))
    motion.sway += 0.05 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.5, (3,))
    motion.bend("spine", 1, 0.03 * breath + 0.1 * vigour * motion.noise(0.5))
    look_about(motion, vigour)
    tail_and_ears(motion, vigour)
    motion.sided("arm", 0, x=u(0, 0.4), y=u(-0.3, 0.3) + 0.05 * breath)
    motion.sided("arm", 1, y=-u(0.0, 0.8))
    motion.label.append("idle")


def leg_length(motion: Motion) -> float:
    heads = motion.body.head
    lengths = [abs(heads[leg.upper][2] - leg.contact[2]) for leg in motion.body.legs]
    return float(np.mean(lengths)) if lengths else 0.5


def look_about(motion: Motion, vigour: float) -> None:
    """The neck and head hold a direction, then turn to another."""
    keys = moments(motion, motion.uniform(0.5, 2.0))
    count = len(keys)
    gaze = motion.rng.normal(size=(count, 3)) * np.array([0.15, 0.3, 0.55]) * (0.3 + vigour)
    curve = key_curve(motion.times, keys, gaze, motion.uniform(1.0, 3.0))
    for axis in range(3):
        motion.bend("neck", axis, curve[:, axis] * (0.8 if axis else 0.3))
        motion.bend("head", axis, curve[:, axis] * 0.6)
    if motion.chance(0.4):
        motion.bend("jaw", 1, 0.35 * np.clip(motion.noise(2.0), 0, 1.2))


def moments(motion: Motion, rate: float) -> np.ndarray:
    """Increasing key times that cover the clip, about `rate` a second."""
    count = max(3, int(motion.seconds * rate) + 2)
    gaps = motion.rng.uniform(0.4, 1.6, count)
    keys = np.cumsum(gaps)
    first, last = motion.times[0], motion.times[-1]
    return first + (keys - keys[0]) / (keys[-1] - keys[0]) * (last - first)


def tail_and_ears(motion: Motion, vigour: float) -> None:
    u = motion.uniform
    wag = u(0.3, 3.0) * motion.times + u(0, 1)
    motion.wave("tail", 2, u(0.1, 1.3) * vigour, u(0.1, 0.7), wag, 0.4)
    motion.bend("tail", 1, u(-0.6, 0.8) + 0.3 * vigour * motion.noise(0.7))
    for axis in (1, 2):
        motion.wave("trunknose", axis, u(0, 1.5) * vigour, u(0.1, 0.7), 0.3 * wag)
    for key in ("ear1", "ear-1"):
        motion.bend(key, 1, 0.35 * vigour * motion.noise(2.0))
        motion.bend(key, 2, 0.25 * vigour * motion.noise(2.0))
    for key in ("feeler1", "feeler-1"):
        motion.bend(key, 1, 0.5 * vigour * motion.noise(2.0))
        motion.bend(key, 2, 0.4 * vigour * motion.noise(2.0))


def _envelope(motion: Motion) -> np.ndarray:
    """(T,) one or several times up and down between 0 and 1, or up and held."""
    kind = motion.rng.integers(0, 3)
    t = (motion.times - motion.times[0]) / max(motion.times[-1] - motion.times[0], 1e-6)
    if kind == 0:
        a, b = motion.uniform(0.0, 0.35), motion.uniform(0.5, 0.95)
        x = np.clip((t - a) / (b - a), 0, 1)
    elif kind == 1:
        a, b, c = motion.uniform(0, 0.2), motion.uniform(0.3, 0.5), motion.uniform(0.6, 0.9)
        x = np.clip((t - a) / (b - a), 0, 1) * np.clip((1 - t) / (1 - c), 0, 1)
    else:
        cycles = motion.uniform(0.6, 3.5)
        return 0.5 - 0.5 * np.cos(2 * np.pi * (cycles * t + motion.rng.random()))
    x = x if motion.chance(0.7) else 1 - x
    return x * x * (3 - 2 * x)


def act(motion: Motion, vigour: float) -> None:
    """One named action that fits the body; its envelope rises and falls in the clip."""
    legs = motion.body.legs
    pairs = 1 + max((leg.pair for leg in legs), default=-1)
    names = ["bite"]
    if pairs == 2:
        names += ["sit", "lie", "rear", "jump", "paw", "fall", "stretch", "graze"]
    elif pairs == 1:
        names += ["crouch", "jump", "fall", "kick", "bow", "graze"]
        if "arm1" in motion.body.chains:
            names += ["wave", "punch", "dance", "reach", "wave", "punch"]
    elif pairs > 2:
        names += ["rear", "jump", "threat", "crouch", "fall"]
    if "front" in motion.body.chains:
        names += ["cobra", "coil", "strike"]
    name = str(motion.rng.choice(names))
    e = _envelope(motion)
    idle(motion, 0.5 * vigour)
    motion.label[-1] = name
    _posture(motion, name, e, (0.5 + 0.5 * vigour) * motion.uniform(0.8, 1.15))
    _gesture(motion, name, e, 0.5 + 0.5 * vigour)


def _posture(motion: Motion, name: str, e: np.ndarray, v: float) -> None:
    """Actions of the trunk, feet planted or carried along."""
    scale, u = leg_length(motion), motion.uniform
    legs = motion.body.legs
    hind = np.array([leg.hind for leg in legs], float)
    if name == "sit":
        drop = 0.55 * scale * v
        motion.place[:, 2] -= drop * e
        motion.sway[:, 1] -= np.arcsin(min(0.9, drop * u(0.8, 1.2))) * e
        motion.place[:, 0] += 0.1 * e * v
        motion.bend("neck", 1, 0.4 * e)
        motion.foot -= np.minimum(0.5 * e, 0.5)[:, None] * hind
    elif name in ("lie", "crouch"):
        motion.place[:, 2] -= u(0.4, 0.75) * scale * v * e
        motion.sway[:, 0] += u(-0.15, 0.15) * e
        motion.bend("spine", 1, u(-0.1, 0.4) * e)
    elif name in ("rear", "threat"):
        angle = (u(0.4, 1.15) if name == "rear" else u(0.2, 0.5)) * v
        motion.sway[:, 1] -= angle * e
        motion.place[:, 2] += (0.0 if len(legs) <= 4 else 0.3 * scale) * e
        motion.bend("neck", 1, 0.5 * angle * e)
        motion.lift += np.clip(1.2 * e, 0, 1)[:, None] * (1 - hind)
        front = 1 - hind
        motion.reach += front[None, :, None] * (e[:, None, None] * np.array([u(-0.1, 0.3), 0, u(0.0, 0.3)]) * scale)
    elif name == "jump":
        air = np.clip(2 * e - 1, 0, 1)
        motion.place[:, 2] += scale * (u(0.3, 1.2) * v * air - 0.35 * np.clip(1 - np.abs(2 * e - 0.7) / 0.7, 0, 1))
        motion.sway[:, 1] += u(-0.5, 0.3) * np.gradient(air) * 8 * v
        motion.lift += np.clip(4 * air, 0, 1)[:, None]
        motion.reach += air[:, None, None] * np.array([u(-0.2, 0.3), 0, u(0.0, 0.4)]) * scale
        motion.foot += air[:, None] * u(0, 0.8)
    elif name == "fall":
        side = motion.rng.choice([-1, 1])
        motion.sway[:, 0] += side * u(1.0, 1.6) * e
        motion.place[:, 2] -= u(0.6, 0.85) * scale * e
        motion.place[:, 1] -= side * 0.4 * scale * e
        motion.lift += np.clip(2.5 * e, 0, 1)[:, None]
        motion.reach += e[:, None, None] * motion.rng.normal(size=(1, len(legs), 3)) * 0.2 * scale
    elif name in ("stretch", "graze"):
        angle = u(0.15, 0.5) * v
        motion.sway[:, 1] += angle * e
        motion.place[:, 2] += (0.0 if name == "stretch" else -0.1 * scale) * e
        motion.bend("neck", 1, (u(-0.6, 0.0) if name == "stretch" else u(0.6, 1.5)) * e * v)
        motion.bend("head", 1, u(-0.2, 0.5) * e)
        motion.bend("jaw", 1, 0.3 * e * (0.5 + 0.5 * np.sin(12 * motion.times)))
    elif name in ("paw", "kick"):
        n = int(motion.rng.integers(len(legs)))
        motion.reach[:, n] += e[:, None] * np.array([u(0.2, 0.8), 0, u(0.25, 0.7)]) * scale * v
        motion.foot[:, n] -= u(-0.5, 0.8) * e
        motion.sway[:, 1] -= 0.1 * e
    elif name == "bow":
        motion.bend("spine", 1, u(0.3, 1.2) * e * v)
        motion.bend("neck", 1, u(0, 0.5) * e)


def _gesture(motion: Motion, name: str, e: np.ndarray, v: float) -> None:
    """Actions of the head, the arms and the limbless."""
    u = motion.uniform
    if name in ("bite", "strike"):
        lunge = e**2
        motion.place[:, 0] += u(0.0, 0.25) * lunge
        motion.sway[:, 1] += u(-0.2, 0.3) * lunge
        motion.bend("neck", 1, u(-0.9, 0.9) * (lunge - 0.6 * (e * (1 - e) * 4)) * v)
        motion.bend("head", 1, u(-0.4, 0.4) * lunge)
        motion.bend("jaw", 1, u(0.3, 0.9) * 4 * e * (1 - e))
    if name in ("cobra", "strike"):
        raise_head(motion, u(0.5, 1.6) * v, e if name == "cobra" else 1 - 0.7 * e)
    if name == "coil":
        turn = u(2.0, 6.0) * v * motion.rng.choice([-1, 1])
        motion.bend("behind", 2, -turn * e, u(-0.3, 0.8))
        motion.bend("front", 2, turn * (0.3 + 0.7 * e), u(-0.5, 0.3))
    if name == "threat":
        motion.sided("arm", 0, x=u(-0.3, 0.5) * e, y=-u(0.2, 1.0) * e, z=u(-0.3, 0.5) * e)
    if name in ("wave", "reach", "punch", "dance"):
        _arms(motion, name, e, v)


def _arms(motion: Motion, name: str, e: np.ndarray, v: float) -> None:
    u = motion.uniform
    beat = 2 * np.pi * u(0.8, 2.5) * motion.times
    if name == "dance":
        motion.place[:, 2] += 0.06 * (np.cos(beat) - 1) * v
        motion.sway[:, 2] += 0.4 * np.sin(beat / 2) * v
        motion.sway[:, 0] += 0.12 * np.sin(beat / 2 + u(0, 6)) * v
        motion.bend("spine", 2, -0.5 * np.sin(beat / 2 + u(0, 2)) * v)
        motion.sided(
            "arm",
            0,
            x=u(0.2, 1.6) + 0.4 * np.sin(beat / 2 + u(0, 6)),
            y=u(-0.8, 0.4) + 0.5 * np.sin(beat),
            opposite=u(-0.8, 0.4) + 0.5 * np.sin(beat + u(0, 6)),
        )
        motion.sided("arm", 1, y=-u(0.2, 1.6) - 0.4 * np.sin(beat))
        return
    side = motion.rng.choice([-1, 1])
    arm = motion.body.chains[f"arm{side}"]
    other = motion.body.chains[f"arm{-side}"]
    if name == "punch":
        hit = np.clip(np.sin(beat), 0, 1) ** 2
        for chain, h in ((arm, hit), (other, np.clip(-np.sin(beat), 0, 1) ** 2 if motion.chance(0.5) else 0 * hit)):
            motion.rot[:, chain[0], 1] += -0.5 - 1.0 * h * v
            motion.rot[:, chain[1], 1] += -2.0 + 1.9 * h * v
        motion.sway[:, 2] += 0.3 * side * -hit * v
        motion.bend("spine", 2, 0.5 * side * -hit * v)
        return
    raised = u(1.2, 2.6) if name == "wave" else u(0.4, 1.6)
    if motion.chance(0.6):
        motion.rot[:, arm[0], 0] += side * raised * e * v
    else:
        motion.rot[:, arm[0], 1] -= raised * e * v
    motion.rot[:, arm[1], 1] -= u(0.2, 1.3) * e
    if name == "wave":
        motion.rot[:, arm[1], 0] += 0.6 * np.sin(beat) * e
        motion.rot[:, arm[2], 0] += 0.4 * np.sin(beat - 0.7) * e
    motion.bend("spine", 0, -0.12 * side * e)
