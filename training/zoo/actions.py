"""What creatures do on the spot: idle, look round, sit, lie, rear, jump, bite, wave, and sequences of random poses."""

from __future__ import annotations

import numpy as np

from .gaits import raise_head, smooth_noise_1, tuck
from .motion import Motion, key_curve, smooth_noise


def idle(motion: Motion, vigour: float) -> None:
    """Breathing, weight shifts, looking about, ears and tail that never rest."""
    u = motion.uniform
    breath = np.sin(2 * np.pi * (u(0.2, 0.8) * motion.times + u(0, 1)))
    scale = _leg_length(motion)
    motion.place[:, 2] += scale * (0.012 * breath - u(0.0, 0.15))
    motion.place[:, :2] += scale * 0.06 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.5, (2,))
    motion.sway += 0.05 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.5, (3,))
    motion.bend("spine", 1, 0.03 * breath + 0.1 * vigour * smooth_noise_1(motion, 0.5))
    look_about(motion, vigour)
    tail_and_ears(motion, vigour)
    motion.sided("arm", 0, x=u(0, 0.4), y=u(-0.3, 0.3) + 0.05 * breath)
    motion.sided("arm", 1, y=-u(0.0, 0.8))
    motion.label.append("idle")


def _leg_length(motion: Motion) -> float:
    heads = motion.body.head
    lengths = [abs(heads[leg.upper][2] - leg.contact[2]) for leg in motion.body.legs]
    return float(np.mean(lengths)) if lengths else 0.5


def look_about(motion: Motion, vigour: float) -> None:
    """The neck and head hold a direction, then turn to another."""
    keys = _moments(motion, motion.uniform(0.5, 2.0))
    count = len(keys)
    gaze = motion.rng.normal(size=(count, 3)) * np.array([0.15, 0.3, 0.55]) * (0.3 + vigour)
    curve = key_curve(motion.rng, motion.times, keys, gaze, motion.uniform(1.0, 3.0))
    for axis in range(3):
        motion.bend("neck", axis, curve[:, axis] * (0.8 if axis else 0.3))
        motion.bend("head", axis, curve[:, axis] * 0.6)
    if motion.chance(0.4):
        motion.bend("jaw", 1, 0.35 * np.clip(smooth_noise_1(motion, 2.0), 0, 1.2))


def _moments(motion: Motion, rate: float) -> np.ndarray:
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
    motion.bend("tail", 1, u(-0.6, 0.8) + 0.3 * vigour * smooth_noise_1(motion, 0.7))
    for axis in (1, 2):
        motion.wave("trunknose", axis, u(0, 1.5) * vigour, u(0.1, 0.7), 0.3 * wag)
    for key in ("ear1", "ear-1"):
        motion.bend(key, 1, 0.35 * vigour * smooth_noise_1(motion, 2.0))
        motion.bend(key, 2, 0.25 * vigour * smooth_noise_1(motion, 2.0))
    for key in ("feeler1", "feeler-1"):
        motion.bend(key, 1, 0.5 * vigour * smooth_noise_1(motion, 2.0))
        motion.bend(key, 2, 0.4 * vigour * smooth_noise_1(motion, 2.0))


_CHANNELS = (
    ("spine", (0.15, 0.3, 0.3)), ("neck", (0.2, 0.5, 0.5)), ("head", (0.25, 0.35, 0.4)), ("tail", (0.1, 0.6, 0.8)), ("abdomen", (0.1, 0.4, 0.3)),
    ("front", (0.3, 0.45, 1.6)), ("behind", (0.2, 0.12, 1.6)), ("trunknose", (0.2, 1.0, 0.6)), ("stub1", (0.2, 0.6, 0.3)), ("stub-1", (0.2, 0.6, 0.3)),
)  # fmt: skip


def poses(motion: Motion, vigour: float) -> None:
    """A sequence of random whole-body poses, feet planted as far as they reach; some feet lifted."""
    rng, body = motion.rng, motion.body
    scale = _leg_length(motion)
    keys = _moments(motion, motion.uniform(0.7, 4.0))
    count = len(keys)
    sharp = motion.uniform(1.0, 3.5)

    def channel(size: tuple[float, ...], keep: float) -> np.ndarray:
        values = rng.normal(size=(count, len(size))) * size * (rng.random((count, len(size))) < keep) * (0.3 + vigour)
        return key_curve(rng, motion.times, keys, np.clip(values, -2.2 * np.array(size), 2.2 * np.array(size)), sharp)

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


def _free_limbs(motion: Motion, channel) -> None:  # type: ignore[no-untyped-def]
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
    reach = key_curve(motion.rng, motion.times, keys, offset * up[..., None], sharp) * (0.4 + 0.6 * vigour)
    motion.reach += reach
    lifted = key_curve(motion.rng, motion.times, keys, up, sharp)
    motion.foot += lifted * motion.uniform(0, 0.9)
    motion.toe += lifted * motion.uniform(-0.2, 0.8)


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
    scale, u = _leg_length(motion), motion.uniform
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
        motion.sided("arm", 0, x=u(0.2, 1.6) + 0.4 * np.sin(beat / 2 + u(0, 6)), y=u(-0.8, 0.4) + 0.5 * np.sin(beat), opposite=u(-0.8, 0.4) + 0.5 * np.sin(beat + u(0, 6)))
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


def fold_wings(motion: Motion, amount: np.ndarray) -> None:
    """Wings back against the body (amount 1) or spread (0); amount (T,)."""
    for side in (1, -1):
        bones = motion.body.chains.get(f"wing{side}", [])
        for i, bone in enumerate(bones):
            x, z = (-0.75, 1.3) if i == 0 else (0.0, (-0.45, 0.55, 0.1)[min(i - 1, 2)])
            motion.rot[:, bone, 0] += side * x * amount
            motion.rot[:, bone, 2] += side * z * amount


def shake(motion: Motion, vigour: float, asleep: float) -> None:
    """Smooth random motion on every joint within its own looseness, the mixture's last word; a share `asleep` of the bones is left out."""
    body, rng = motion.body, motion.rng
    loose = np.radians(np.array(body.loose))
    tempo = float(np.exp(rng.uniform(np.log(0.4), np.log(6.0))))
    noise = smooth_noise(rng, motion.frames, motion.seconds, tempo, (len(body), 3))
    own = rng.lognormal(-0.2, 0.5, (len(body), 1)) * (rng.random((len(body), 1)) >= asleep)
    motion.rot += np.clip(noise, -2.2, 2.2) * loose * own * vigour


def fall_asleep_in_air(motion: Motion) -> None:
    """Nothing planted: the legs hang (used by creatures that neither walk nor stand in the clip)."""
    motion.planted = False
    tuck(motion, motion.uniform(0.0, 0.8))
