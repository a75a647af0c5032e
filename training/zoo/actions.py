"""What creatures do on the spot: idle, look about, or one of the deeds."""

from __future__ import annotations

import numpy as np

from .motion import Motion, key_curve, smooth_noise


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


def envelope(motion: Motion) -> np.ndarray:
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
