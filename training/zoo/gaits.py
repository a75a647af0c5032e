"""Locomotion on legs: footprints along a path, and how the body answers."""

from __future__ import annotations

import numpy as np

from .motion import Motion

QUADRUPED = {
    # phase of left front, right front, left hind, right hind; duty factor; strides a second for legs one unit long
    "walk": ((0.25, 0.75, 0.0, 0.5), (0.58, 0.75), (0.5, 1.1)),
    "trot": ((0.5, 0.0, 0.0, 0.5), (0.35, 0.52), (1.1, 2.0)),
    "pace": ((0.0, 0.5, 0.0, 0.5), (0.45, 0.6), (0.8, 1.4)),
    "canter": ((0.35, 0.7, 0.0, 0.35), (0.3, 0.42), (1.2, 1.8)),
    "gallop": ((0.55, 0.68, 0.0, 0.12), (0.2, 0.32), (1.5, 2.8)),
    "bound": ((0.5, 0.5, 0.0, 0.0), (0.22, 0.4), (1.2, 2.4)),
}


def phases(motion: Motion, gait: str | None = None) -> tuple[str, np.ndarray, float, float]:
    """Name, phase offset (L,), duty factor and strides a second of a gait that fits the number of legs: a random one, or that of four legs named."""
    legs = motion.body.legs
    pairs = 1 + max(leg.pair for leg in legs)
    if pairs == 2:
        name = gait or str(motion.rng.choice(list(QUADRUPED), p=[0.34, 0.24, 0.08, 0.1, 0.16, 0.08]))
        table, duty, rate = QUADRUPED[name]
        offset = np.array([table[2 * leg.pair + (leg.side < 0)] for leg in legs])
        return name, offset, motion.uniform(*duty), motion.uniform(*rate)
    if pairs == 1:
        name = str(motion.rng.choice(["walk", "run", "hop"], p=[0.52, 0.36, 0.12]))
        offset = np.array([0.0 if leg.side > 0 or name == "hop" else 0.5 for leg in legs])
        duty, rate = {"walk": ((0.55, 0.65), (0.6, 1.1)), "run": ((0.28, 0.42), (1.0, 1.8)), "hop": ((0.3, 0.45), (1.2, 2.2))}[name]
        return name, offset, motion.uniform(*duty), motion.uniform(*rate)
    if motion.chance(0.6):
        return "tripod", np.array([0.5 * ((leg.pair + (leg.side > 0)) % 2) for leg in legs]), motion.uniform(0.5, 0.7), motion.uniform(0.8, 2.5)
    lag = motion.uniform(-0.3, 0.3)
    offset = np.array([(leg.pair * lag + 0.5 * (leg.side > 0)) % 1.0 for leg in legs])
    return "ripple", offset, motion.uniform(0.5, 0.75), motion.uniform(0.7, 2.2)


def along(times: np.ndarray, speed: float, curve: float, drift: float) -> np.ndarray:
    """(..., 3) x, y, heading on a circular arc (turn rate `curve`); drift = sideways angle of travel against the heading."""
    heading = curve * times
    if abs(curve) < 1e-4:
        x, y = speed * times, np.zeros_like(times)
    else:
        x, y = speed / curve * np.sin(heading), speed / curve * (1 - np.cos(heading))
    c, s = np.cos(drift), np.sin(drift)
    return np.stack([c * x - s * y, s * x + c * y, heading], -1)


def _stand_on(path: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Footprints (..., 3): contact points (..., 3) of the neutral stand carried to places (..., 3) on the path."""
    c, s = np.cos(path[..., 2]), np.sin(path[..., 2])
    return np.stack(
        [c * contact[..., 0] - s * contact[..., 1] + path[..., 0], s * contact[..., 0] + c * contact[..., 1] + path[..., 1], contact[..., 2] + 0 * c], -1
    )


def locomote(motion: Motion, vigour: float, gait: str | None = None, curve: float | None = None) -> np.ndarray:
    """Footprints, swing, bob and sway of a gait; returns the cycle phase (T,) in turns.

    vigour: 0..1 from shy to extreme. gait, curve (turn rate in radians a second): random unless given.
    """
    body, times = motion.body, motion.times - motion.times[0]
    legs = body.legs
    contact = np.stack([leg.contact for leg in legs])
    heads = np.array(body.head)
    length = float(np.mean([np.linalg.norm(heads[leg.upper] - leg.contact) for leg in legs]))
    name, offset, duty, rate = phases(motion, gait)
    crawler = len(legs) > 4
    rate *= (1.0 if crawler else length**-0.5) * motion.uniform(0.7, 1.3)
    fast = name in ("run", "gallop", "bound", "hop", "canter", "trot")
    step = length * motion.uniform(0.25, 0.5 if crawler else (0.95 if fast else 0.75)) * (0.4 + 0.6 * vigour)
    backwards = motion.chance(0.06) and gait is None
    speed = step / duty * rate * (-1 if backwards else 1)
    if curve is None:
        curve = motion.rng.normal() * 0.5 if motion.chance(0.5) else 0.0
    drift = motion.uniform(0.6, 1.57) * motion.rng.choice([-1, 1]) if crawler and motion.chance(0.25) else 0.0
    cycle = rate * times + motion.rng.random()
    motion.path += along(times, speed, curve, drift)

    own = cycle[:, None] + offset
    count, part = np.floor(own), own - np.floor(own)
    start = cycle[0]

    def footprint(step_index: np.ndarray) -> np.ndarray:
        middle = (step_index + duty / 2 - offset - start) / rate
        return _stand_on(along(middle, speed, curve, drift), contact)

    swing = np.clip((part - duty) / (1 - duty), 0, 1)
    here, there = footprint(count), footprint(count + 1)
    ease = swing * swing * (3 - 2 * swing)
    height = length * motion.uniform(0.06, 0.32) * (0.4 + 0.6 * vigour)
    arc = np.sin(np.pi * np.clip(swing, 0, 1)) ** 1.2
    target = here + (there - here) * ease[..., None]
    hind = np.array([leg.hind for leg in legs])
    target[..., 2] += arc * height * np.where(hind, 1.0, motion.uniform(0.8, 1.3))
    motion.steps = target
    stance = np.clip(part / duty, 0, 1)
    curl = motion.uniform(0.5, 1.4) * (0.4 + 0.6 * vigour)
    roll_off = motion.uniform(0.1, 0.6) * (step / length)
    motion.foot += roll_off * (np.where(part < duty, np.maximum(stance - 0.45, -0.25) * 1.8, (1 - ease) * 1.0 - 0.45 * ease)) + curl * arc * (1 - swing * 0.6)
    motion.toe += -0.6 * roll_off * np.where(part < duty, np.maximum(stance - 0.45, 0) * 1.8, 0) + motion.uniform(0, 1.2) * arc
    _body_of_gait(motion, name, cycle, length, step, vigour, crawler)
    motion.label.append(name)
    return cycle


def _body_of_gait(motion: Motion, name: str, cycle: np.ndarray, length: float, step: float, vigour: float, crawler: bool) -> None:
    def s(k: float, lag: float) -> np.ndarray:
        return np.sin(2 * np.pi * (k * cycle + lag))

    def c(k: float, lag: float = 0.0) -> np.ndarray:
        return np.cos(2 * np.pi * (k * cycle + lag))

    u = motion.uniform
    asymmetric = name in ("gallop", "bound", "canter", "hop")
    beat = 1 if asymmetric else 2
    v = 0.3 + 0.7 * vigour
    drop = _needed_drop(motion, step) + length * 0.1 * motion.rng.random() ** 2
    lag = (
        u(0.0, 1.0)
        if crawler
        else {"walk": 0.1, "run": 0.65, "hop": 0.65, "trot": 0.6, "pace": 0.1, "canter": 0.5, "gallop": 0.45, "bound": 0.45}.get(name, 0.0)
    )
    bob = length * u(0.01, 0.05) * (u(1.5, 4.0) if name in ("run", "gallop", "hop", "bound", "canter") else 1.0) * v
    motion.place[:, 2] += -drop + bob * c(beat, -lag + u(-0.05, 0.05))
    motion.place[:, 1] += length * u(0, 0.04) * s(1, u(-0.1, 0.1)) * (not asymmetric)
    motion.sway[:, 0] += u(0, 0.1) * v * s(1, u(-0.1, 0.1)) * (not asymmetric)
    motion.sway[:, 2] += u(0, 0.14) * v * s(1, u(-0.1, 0.1))
    pitch = u(0.1, 0.3) if asymmetric and name != "hop" else u(0.0, 0.06)
    motion.sway[:, 1] += pitch * v * s(beat, u(0.4, 0.6))
    flex = u(0.1, 0.6) if asymmetric else u(0, 0.1)
    motion.bend("spine", 1, flex * v * s(beat, u(0.55, 0.85)))
    motion.bend("spine", 2, -u(0.0, 0.35) * v * s(1, u(-0.1, 0.1)))
    motion.bend("spine", 0, u(0.0, 0.2) * v * s(1, u(0, 1)))
    nod = u(0.0, 0.35) * v
    motion.bend("neck", 1, nod * s(beat, u(0, 1)) + u(-0.3, 0.4))
    motion.bend("head", 1, -0.6 * nod * s(beat, u(0, 1)) + u(-0.3, 0.3))
    motion.bend("neck", 2, u(0.0, 0.15) * s(1, u(0, 1)))
    motion.wave("tail", 2, u(0.1, 1.0) * v, u(0.1, 0.6), cycle * motion.rng.choice([1, 1, 2]), 0.3)
    motion.wave("tail", 1, u(0.05, 0.6) * v, u(0.1, 0.4), cycle * beat, 0.3)
    motion.bend("tail", 1, u(-0.6, 0.8))
    motion.wave("trunknose", 1, u(0, 0.8) * v, 0.4, cycle)
    for key in ("ear1", "ear-1"):
        motion.wave(key, 1, u(0, 0.4) * v, 0.2, cycle * beat)
    motion.wave("abdomen", 1, u(0, 0.3), 0.1, cycle * 2)
    motion.wave("abdomen", 2, u(0, 0.3), 0.1, cycle)
    for leg in motion.body.legs:
        if leg.blade >= 0 and not crawler:
            own = cycle + {0: 0.25}.get(leg.pair, 0.0) + (leg.side < 0) * 0.5
            motion.rot[:, leg.blade, 1] += 0.2 * v * np.sin(2 * np.pi * own)
    swing_arms(motion, cycle, name, v)


def _needed_drop(motion: Motion, step: float) -> float:
    """How far the body has to sink so that most legs reach both ends of a stance of length `step`."""
    heads = np.array(motion.body.head)
    missing = []
    for leg in motion.body.legs:
        ankle = heads[leg.distal] if leg.distal >= 0 else leg.contact
        long = np.linalg.norm(heads[leg.lower] - heads[leg.upper]) + np.linalg.norm(ankle - heads[leg.lower])
        rise, side = heads[leg.upper][2] - ankle[2], heads[leg.upper][1] - ankle[1]
        spare = (0.99 * long) ** 2 - side**2 - (0.45 * step) ** 2
        missing.append(rise - np.sqrt(max(spare, (0.5 * rise) ** 2)))
    return float(max(0.0, np.mean(missing)))


def swing_arms(motion: Motion, cycle: np.ndarray, name: str, v: float) -> None:
    """Arms against the legs of a biped; hands loosely closed."""
    u = motion.uniform
    if "arm1" not in motion.body.chains or len(motion.body.legs) > 2:
        return
    swing, elbow = u(0.1, 1.1) * v, u(0.1, 0.6) + (u(0.4, 1.4) if name in ("run", "hop") else 0.0)
    phase = 2 * np.pi * cycle
    both = name == "hop"
    left, right = np.cos(phase + np.pi * 0.0), np.cos(phase if both else phase + np.pi)
    motion.sided("arm", 0, x=u(-0.1, 0.2), y=swing * left + u(-0.2, 0.2), z=u(-0.2, 0.2), opposite=swing * right)
    motion.sided("arm", 1, y=-elbow - 0.35 * swing * (1 - left), opposite=-elbow - 0.35 * swing * (1 - right))
    motion.bend("spine", 2, u(0.0, 0.3) * v * np.cos(phase))
