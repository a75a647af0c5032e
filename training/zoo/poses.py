"""Sequences of random poses, and random motion of every joint: what no named action covers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .actions import leg_length, moments, tail_and_ears
from .motion import Motion, key_curve, smooth_noise
from .waves import tuck

Channel = Callable[[tuple[float, ...], float], np.ndarray]


_CHANNELS = (
    ("spine", (0.15, 0.3, 0.3)), ("neck", (0.2, 0.5, 0.5)), ("head", (0.25, 0.35, 0.4)), ("tail", (0.1, 0.6, 0.8)), ("abdomen", (0.1, 0.4, 0.3)),
    ("front", (0.3, 0.45, 1.6)), ("behind", (0.2, 0.12, 1.6)), ("trunknose", (0.2, 1.0, 0.6)), ("stub1", (0.2, 0.6, 0.3)), ("stub-1", (0.2, 0.6, 0.3)),
)  # fmt: skip


def poses(motion: Motion, vigour: float) -> None:
    """A sequence of random whole-body poses, feet planted as far as they reach; some feet lifted."""
    rng, body = motion.rng, motion.body
    scale = leg_length(motion)
    keys = moments(motion, motion.uniform(0.7, 4.0))
    count = len(keys)
    sharp = motion.uniform(1.0, 3.5)

    def channel(size: tuple[float, ...], keep: float) -> np.ndarray:
        values = rng.normal(size=(count, len(size))) * size * (rng.random((count, len(size))) < keep) * (0.3 + vigour)
        return key_curve(motion.times, keys, np.clip(values, -2.2 * np.array(size), 2.2 * np.array(size)), sharp)

    motion.sway += channel((0.1, 0.25, 0.2), 0.6)
    shift = channel((0.12, 0.08, 0.3), 0.6) * scale
    motion.place[:, :2] += shift[:, :2]
    motion.place[:, 2] += -np.abs(shift[:, 2]) * (1.0 if motion.chance(0.8) else -0.3)
    keep = motion.uniform(0.25, 0.8)
    stalks = tuple((key, (0.6, 1.2, 0.6)) for key in body.chains if key.startswith("stalk"))
    for key, size in (*_CHANNELS, *stalks):
        if key in body.chains:
            curve = channel(size, keep)
            taper = motion.uniform(-0.7, 0.7)
            for axis in range(3):
                motion.bend(key, axis, curve[:, axis], taper)
    if "jaw" in body.chains:
        motion.bend("jaw", 1, np.abs(channel((0.4,), 0.5)[:, 0]))
    _free_limbs(motion, channel)
    _lifted_feet(motion, keys, sharp, scale, vigour)
    tail_and_ears(motion, 0.4 * vigour)
    motion.label.append("poses")


def _free_limbs(motion: Motion, channel: Channel) -> None:
    """Arms, wings and fins through random poses, each side its own, elbows bending the way they can."""
    for side in (1, -1):
        for key, size in (("arm", (0.5, 0.9, 0.4)), ("wing", (0.5, 0.25, 0.45)), ("fin", (0.5, 0.3, 0.5))):
            bones = motion.body.chains.get(f"{key}{side}", [])
            for i, bone in enumerate(bones):
                c = channel(size, 0.8) * (1.0 if i == 0 else 0.5)
                if key == "arm" and i == 0:
                    c[:, 0] = np.abs(c[:, 0]) * 1.3
                    c[:, 1] -= 0.4
                if key == "arm" and i == 1 and len(motion.body.legs) <= 2:
                    c[:, 1] = -np.abs(c[:, 1]) * 2.2
                motion.rot[:, bone] += c * np.array([side, 1, side])
        for name in [k for k in motion.body.chains if k.startswith("finger") and k.endswith(str(side))]:
            motion.bend(name, 1, -np.abs(channel((1.0,), 0.7)[:, 0]))


def _lifted_feet(motion: Motion, keys: np.ndarray, sharp: float, scale: float, vigour: float) -> None:
    """Some feet leave the ground, one at a time in the main, and come back elsewhere."""
    legs = motion.body.legs
    if not legs:
        return
    n = len(legs)
    up = (motion.rng.random((len(keys), n)) < 0.25) * 1.0
    offset = motion.rng.normal(size=(len(keys), n, 3)) * np.array([0.3, 0.12, 0.2]) * scale
    offset[..., 2] = np.abs(offset[..., 2]) + 0.12 * scale
    reach = key_curve(motion.times, keys, offset * up[..., None], sharp) * (0.4 + 0.6 * vigour)
    motion.reach += reach
    lifted = key_curve(motion.times, keys, up, sharp)
    motion.foot += lifted * motion.uniform(0, 0.9)
    motion.toe += lifted * motion.uniform(-0.2, 0.8)


def fold_wings(motion: Motion, amount: np.ndarray) -> None:
    """Wings back against the body (amount 1) or spread (0); amount (T,)."""
    for side in (1, -1):
        bones = motion.body.chains.get(f"wing{side}", [])
        for i, bone in enumerate(bones):
            x, z = (-0.75, 1.3) if i == 0 else (0.0, (-0.45, 0.55, 0.1)[min(i - 1, 2)])
            motion.rot[:, bone, 0] += side * x * amount
            motion.rot[:, bone, 2] += side * z * amount
        fingers = [key for key in motion.body.chains if key.startswith("wingfinger") and key.endswith(str(side))]
        for i, key in enumerate(fingers):
            # the fan closes towards its last finger
            motion.rot[:, motion.body.chains[key][0], 2] += side * (0.9 - 0.5 * i) * amount


def shake(motion: Motion, vigour: float, asleep: float) -> None:
    """Smooth random motion on every joint within its own looseness, the mixture's last word; a share `asleep` of the bones is left out."""
    body, rng = motion.body, motion.rng
    loose = np.radians(np.array(body.loose))
    tempo = float(np.exp(rng.uniform(np.log(0.4), np.log(6.0))))
    noise = smooth_noise(rng, motion.frames, motion.seconds, tempo, (len(body), 3))
    own = rng.lognormal(-0.2, 0.5, (len(body), 1)) * (rng.random((len(body), 1)) >= asleep)
    motion.rot += np.clip(noise, -2.2, 2.2) * loose * own * vigour


def hang_loose(motion: Motion) -> None:
    """Nothing planted: the legs hang (used by creatures that neither walk nor stand in the clip)."""
    motion.planted = False
    tuck(motion, motion.uniform(0.0, 0.8))
