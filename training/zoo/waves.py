"""Motion without footprints: waves along snakes, fish and tentacles, wing beats, blobs that bounce."""

from __future__ import annotations

import numpy as np

from .gaits import along
from .motion import Motion, smooth_noise


def slither(motion: Motion, vigour: float) -> np.ndarray:
    """Lateral undulation (or a caterpillar's vertical one) for snakes, with the root riding the wave."""
    u = motion.uniform
    times = motion.times - motion.times[0]
    body = motion.body
    bones = body.chains["behind"][::-1] + body.chains["front"]
    n, root = len(bones), len(body.chains["behind"])
    heads, tails = np.array(body.head), np.array(body.tail)
    length = float(np.abs(heads[bones] - tails[bones]).sum())
    vertical = motion.chance(0.12)
    cycles, rate = u(0.6, 2.2), u(0.3, 1.4)
    angle = u(0.25, 1.2) * (0.4 + 0.6 * vigour) / max(1.0, cycles * 0.8) * (0.5 if vertical else 1)
    phase = rate * times + motion.rng.random()
    s = (np.arange(n) + 0.5) / n
    taper = 1 - u(0, 0.5) * np.abs(s - u(0.2, 0.8))
    heading = angle * taper * np.sin(2 * np.pi * (phase[:, None] + cycles * s))
    axis = 1 if vertical else 2
    difference = np.diff(heading, axis=1)
    motion.rot[:, bones[root + 1 :], axis] += difference[:, root:]
    if root:
        motion.rot[:, bones[:root], axis] -= difference[:, :root]
    motion.sway[:, axis] += heading[:, root]
    lateral = np.cumsum(np.sin(heading) * length / n, axis=1)
    offset = lateral[:, root] - lateral.mean(1)
    if vertical:
        motion.place[:, 2] += -offset + np.abs(lateral).max() * 0.5
    else:
        motion.place[:, 1] += offset
    speed = rate / cycles * length * u(0.5, 0.9) * (1 if motion.chance(0.8) else 0)
    curve = motion.rng.normal() * 0.4 if motion.chance(0.5) else 0.0
    motion.path += along(times, speed, curve, 0.0)
    if motion.chance(0.5):
        raise_head(motion, u(0.3, 1.3), np.ones(motion.frames))
    motion.label.append("crawl" if vertical else "slither")
    return phase


def raise_head(motion: Motion, angle: float, envelope: np.ndarray) -> None:
    """The front third of a snake goes up, the head stays level; envelope (T,) 0..1."""
    front = motion.body.chains["front"]
    n = max(2, len(front) // 3)
    base = len(front) - n
    motion.rot[:, front[base : base + max(1, n // 2)], 1] -= angle * envelope[:, None] / max(1, n // 2)
    motion.rot[:, front[base + max(1, n // 2) :], 1] += 0.7 * angle * envelope[:, None] / max(1, n - n // 2)
    motion.bend("head", 1, 0.4 * angle * envelope)


def swim(motion: Motion, vigour: float) -> np.ndarray:
    """A wave that grows towards the tail, fins that row, the body that answers."""
    u = motion.uniform
    times = motion.times - motion.times[0]
    axis = 1 if motion.body.traits.get("whale") else 2
    rate = u(0.5, 3.0)
    phase = rate * times + motion.rng.random()
    size = u(0.2, 1.5) * (0.4 + 0.6 * vigour)
    cycles, grow = u(0.2, 0.9), u(0.2, 0.9)
    motion.wave("spine", axis, size, cycles, phase, grow)
    motion.wave("tailfin", axis, u(0.1, 0.7) * (0.4 + 0.6 * vigour), 0.1, phase - cycles - u(0.05, 0.2), 0, total=False)
    motion.sway[:, axis] += -u(0.02, 0.2) * size * np.sin(2 * np.pi * phase)
    motion.bend("neck", axis, -u(0.02, 0.25) * size * np.sin(2 * np.pi * (phase + 0.05)))
    motion.bend("head", axis, -u(0.02, 0.25) * size * np.sin(2 * np.pi * (phase + 0.1)))
    beat = 2 * np.pi * (phase * motion.rng.choice([0.5, 1, 1, 2]) + u(0, 1))
    row, lag = u(0.0, 0.8), u(0, 1.5)
    for i in range(3):
        motion.sided("fin", i, x=row * np.sin(beat - lag * i) * (0.5 if i else 1), z=0.5 * row * np.cos(beat - lag * i) + (u(0, 0.5) if not i else 0))
    curve = motion.rng.normal() * 0.6 if motion.chance(0.6) else 0.0
    motion.path += along(times, rate * u(0.1, 0.6), curve, 0.0)
    motion.bend("spine", 2, -curve * u(0.1, 0.6))
    motion.sway[:, 1] += u(-0.35, 0.35) + 0.2 * motion.noise(0.6)
    motion.place[:, 2] += 0.15 * motion.noise(0.6)
    if motion.chance(0.6):
        motion.bend("jaw", 1, u(0, 0.4) * (0.5 - 0.5 * np.cos(2 * np.pi * phase * 0.5)))
    motion.label.append("swim")
    return phase


def fly(motion: Motion, vigour: float) -> np.ndarray:
    """Wing beats with lag along the wing and a folded upstroke, gliding in between, legs tucked."""
    u = motion.uniform
    times = motion.times - motion.times[0]
    insect = len(motion.body.legs) > 4
    rate = u(2.0, 6.0) if insect else u(0.8, 3.5)
    phase = rate * times + motion.rng.random()
    size = np.full(motion.frames, u(0.25, 1.0) * (0.4 + 0.6 * vigour))
    if motion.chance(0.35):
        size = size * np.clip(0.5 + motion.noise(1.0), 0.05, 1.2)
    lag, fold, up = u(0.05, 0.18), u(0.0, 0.6), u(-0.1, 0.3)
    for i in range(4):
        beat = 2 * np.pi * (phase - lag * i)
        motion.sided(
            "wing",
            i,
            x=size * np.cos(beat) * (1.0 if i == 0 else u(0.2, 0.6)) + (up if i == 0 else 0),
            y=0.25 * size * np.sin(beat) if i == 0 else 0,
            z=(fold * (1 if i % 2 else -0.5) * np.clip(np.sin(beat + 0.5), 0, 1) * np.minimum(size, 1) if i else u(-0.1, 0.3)),
        )
    motion.place[:, 2] += u(0.3, 1.2) - 0.08 * np.sin(2 * np.pi * phase) * size
    motion.sway[:, 1] += u(-0.5, 0.4) + 0.06 * np.cos(2 * np.pi * phase) * size
    curve = motion.rng.normal() * 0.6 if motion.chance(0.6) else 0.0
    motion.sway[:, 0] += -curve * u(0.2, 0.7) + 0.1 * motion.noise(0.8)
    motion.path += along(times, rate * u(0.0, 0.5), curve, 0.0)
    motion.planted = False
    tuck(motion, u(0.2, 1.2))
    motion.bend("neck", 1, u(-0.2, 0.9))
    motion.bend("head", 1, u(-0.5, 0.2))
    motion.bend("tail", 1, u(-0.3, 0.4) + 0.15 * np.sin(2 * np.pi * phase))
    motion.label.append("fly")
    return phase


def tuck(motion: Motion, amount: float) -> None:
    """Legs folded under a flying or falling body; those that stand out sideways fold downwards about their own hinge."""
    body = motion.body
    crawler = len(body.legs) > 4
    for leg in body.legs:
        wobble = 0.1 * motion.noise(1.0)
        if crawler:
            hinge = np.asarray(body.lateral[leg.upper], float)
            motion.rot[:, leg.upper] += hinge * (0.5 * amount + wobble)[:, None]
            motion.rot[:, leg.lower] += hinge * (0.5 * amount + wobble)[:, None]
            continue
        motion.rot[:, leg.upper, 1] += (-0.8 if not leg.hind else 0.9 * np.sign(amount - 0.6)) * amount + wobble
        motion.rot[:, leg.lower, 1] += 0.7 * amount + wobble
        if leg.distal >= 0:
            motion.rot[:, leg.distal, 1] += 0.4 * amount
        for toe in leg.toes:
            motion.rot[:, toe, 1] += 0.5 * amount


def bounce(motion: Motion, vigour: float) -> np.ndarray:
    """Blobs hop, wobble or hover; stub feet, arms and wings keep time."""
    u = motion.uniform
    body, times = motion.body, motion.times - motion.times[0]
    phase = u(0.6, 2.5) * times + motion.rng.random()
    hop = np.abs(np.sin(np.pi * phase)) if motion.chance(0.5) and not body.traits["floats"] else 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    v = 0.3 + 0.7 * vigour
    motion.place[:, 2] += u(0.05, 0.4) * v * hop
    for axis, size in ((0, 0.35), (1, 0.4), (2, 0.5)):
        motion.sway[:, axis] += u(0, size) * v * np.sin(2 * np.pi * (phase * motion.rng.choice([0.5, 1.0]) + u(0, 1)))
        motion.bend("spine", axis, u(0, size) * v * np.sin(2 * np.pi * (phase + u(0, 1))))
    swing = 2 * np.pi * phase * motion.rng.choice([0.5, 1.0, 2.0])
    lag = u(0, 1)
    for key in ("arm", "wing"):
        for i in range(3):
            beat = np.sin(swing - lag * i)
            motion.sided(key, i, x=u(0, 0.9) * v * beat + (u(-0.4, 0.6) if i == 0 else 0), y=u(0, 0.5) * v * beat)
    step = u(0, 0.9) * v
    motion.sided("stub", 0, y=step * np.sin(swing), opposite=step * np.sin(swing + motion.rng.choice([0, np.pi])))
    motion.wave("tail", 2, u(0, 1.2) * v, u(0.1, 0.5), phase)
    motion.bend("jaw", 1, np.clip(u(-0.3, 0.6) * np.sin(swing), 0, 1))
    for key in ("ear1", "ear-1"):
        motion.wave(key, 1, u(0, 0.6) * v, 0.2, phase)
    curve = motion.rng.normal() * 0.8 if motion.chance(0.4) else 0.0
    motion.path += along(times, u(0, 0.8) * motion.chance(0.6), curve, 0.0)
    motion.label.append("bounce")
    return phase


def writhe(motion: Motion, vigour: float) -> np.ndarray:
    """Tentacles, stalks and jointed arms: waves that run along them, each with its own phase, or all together."""
    u = motion.uniform
    body, times = motion.body, motion.times - motion.times[0]
    phase = u(0.2, 1.4) * times + motion.rng.random()
    stalks = [key for key in body.chains if key.startswith("stalk")]
    size, cycles, together = u(0.4, 2.2) * (0.3 + 0.7 * vigour), u(0.1, 0.9), motion.chance(0.4)
    radial = u(0, 1.5) * (0.3 + 0.7 * vigour)
    for key in stalks:
        own = phase + (0 if together else u(0, 1))
        first = body.chains[key][0]
        hinge = np.asarray(body.lateral[first], float)
        bones = body.chains[key]
        s = (np.arange(len(bones)) + 0.5) / len(bones)
        wave = np.sin(2 * np.pi * (own[:, None] - cycles * s)) * radial / len(bones) * (0.5 + s)
        motion.rot[:, bones] += wave[..., None] * hinge
        for axis in (0, 1, 2):
            motion.wave(key, axis, u(0, size * 0.6), cycles, own + u(0, 1), u(-0.4, 0.8))
    for leaf in body.chains.get("leaves", []):
        motion.rot[:, leaf] += 0.4 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 1.5, (3,))
    if body.part[0] == "base":
        motion.rot[:, 0, 2] += u(0, 1.0) * vigour * motion.noise(0.6)
    else:
        motion.sway += 0.2 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.6, (3,))
        motion.place[:, 2] += 0.15 * np.sin(2 * np.pi * phase) * vigour
        motion.path += along(times, u(0, 0.6), motion.rng.normal() * 0.4, 0.0)
    motion.bend("spine", 1, 0.3 * vigour * np.sin(2 * np.pi * phase))
    motion.label.append("writhe")
    return phase
