"""Locomotion: footprints along a path for anything on legs, waves for what has none, wing beats for what flies."""

from __future__ import annotations

import numpy as np

from .motion import Motion, smooth_noise

QUADRUPED = {
    # phase of left front, right front, left hind, right hind; duty factor; strides a second for legs one unit long
    "walk": ((0.25, 0.75, 0.0, 0.5), (0.58, 0.75), (0.5, 1.1)),
    "trot": ((0.5, 0.0, 0.0, 0.5), (0.35, 0.52), (1.1, 2.0)),
    "pace": ((0.0, 0.5, 0.0, 0.5), (0.45, 0.6), (0.8, 1.4)),
    "canter": ((0.35, 0.7, 0.0, 0.35), (0.3, 0.42), (1.2, 1.8)),
    "gallop": ((0.55, 0.68, 0.0, 0.12), (0.2, 0.32), (1.5, 2.8)),
    "bound": ((0.5, 0.5, 0.0, 0.0), (0.22, 0.4), (1.2, 2.4)),
}


def phases(motion: Motion) -> tuple[str, np.ndarray, float, float]:
    """Name, phase offset (L,), duty factor and strides a second of a random gait that fits the number of legs."""
    legs = motion.body.legs
    pairs = 1 + max(leg.pair for leg in legs)
    if pairs == 2:
        name = str(motion.rng.choice(list(QUADRUPED), p=[0.34, 0.24, 0.08, 0.1, 0.16, 0.08]))
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


def _along(times: np.ndarray, speed: float, curve: float, drift: float) -> np.ndarray:
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
    return np.stack([c * contact[..., 0] - s * contact[..., 1] + path[..., 0], s * contact[..., 0] + c * contact[..., 1] + path[..., 1], contact[..., 2] + 0 * c], -1)


def locomote(motion: Motion, vigour: float) -> np.ndarray:
    """Footprints, swing, bob and sway of a gait; returns the cycle phase (T,) in turns. vigour 0..1 from shy to extreme."""
    body, times = motion.body, motion.times - motion.times[0]
    legs = body.legs
    contact = np.stack([leg.contact for leg in legs])
    heads = np.array(body.head)
    length = float(np.mean([np.linalg.norm(heads[leg.upper] - leg.contact) for leg in legs]))
    name, offset, duty, rate = phases(motion)
    crawler = len(legs) > 4
    rate *= (1.0 if crawler else length**-0.5) * motion.uniform(0.7, 1.3)
    fast = name in ("run", "gallop", "bound", "hop", "canter", "trot")
    step = length * motion.uniform(0.25, 0.5 if crawler else (0.95 if fast else 0.75)) * (0.4 + 0.6 * vigour)
    backwards = motion.chance(0.06)
    speed = step / duty * rate * (-1 if backwards else 1)
    curve = motion.rng.normal() * 0.5 if motion.chance(0.5) else 0.0
    drift = motion.uniform(0.6, 1.57) * motion.rng.choice([-1, 1]) if crawler and motion.chance(0.25) else 0.0
    cycle = rate * times + motion.rng.random()
    motion.path += _along(times, speed, curve, drift)

    own = cycle[:, None] + offset
    count, part = np.floor(own), own - np.floor(own)
    start = cycle[0]

    def footprint(step_index: np.ndarray) -> np.ndarray:
        middle = (step_index + duty / 2 - offset - start) / rate
        return _stand_on(_along(middle, speed, curve, drift), contact)

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
    lag = u(0.0, 1.0) if crawler else {"walk": 0.1, "run": 0.65, "hop": 0.65, "trot": 0.6, "pace": 0.1, "canter": 0.5, "gallop": 0.45, "bound": 0.45}.get(name, 0.0)
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


def slither(motion: Motion, vigour: float) -> np.ndarray:
    """Lateral undulation (or a caterpillar's vertical one) for snakes, with the root riding the wave."""
    u = motion.uniform
    times = motion.times - motion.times[0]
    body = motion.body
    bones = body.chains["behind"][::-1] + body.chains["front"]
    n, root = len(bones), len(body.chains["behind"])
    heads, tails = np.array(body.head), np.array(body.tail)
    length = float(np.abs(heads[bones] - tails[bones]).sum() )
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
    motion.path += _along(times, speed, curve, 0.0)
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
    motion.path += _along(times, rate * u(0.1, 0.6), curve, 0.0)
    motion.bend("spine", 2, -curve * u(0.1, 0.6))
    motion.sway[:, 1] += u(-0.35, 0.35) + 0.2 * smooth_noise_1(motion, 0.6)
    motion.place[:, 2] += 0.15 * smooth_noise_1(motion, 0.6)
    if motion.chance(0.6):
        motion.bend("jaw", 1, u(0, 0.4) * (0.5 - 0.5 * np.cos(2 * np.pi * phase * 0.5)))
    motion.label.append("swim")
    return phase


def smooth_noise_1(motion: Motion, tempo: float) -> np.ndarray:
    return smooth_noise(motion.rng, motion.frames, motion.seconds, tempo, ())


def fly(motion: Motion, vigour: float) -> np.ndarray:
    """Wing beats with lag along the wing and a folded upstroke, gliding in between, legs tucked."""
    u = motion.uniform
    times = motion.times - motion.times[0]
    insect = len(motion.body.legs) > 4
    rate = u(2.0, 6.0) if insect else u(0.8, 3.5)
    phase = rate * times + motion.rng.random()
    size = u(0.25, 1.0) * (0.4 + 0.6 * vigour)
    if motion.chance(0.35):
        size = size * np.clip(0.5 + smooth_noise_1(motion, 1.0), 0.05, 1.2)
    lag, fold, up = u(0.05, 0.18), u(0.0, 0.6), u(-0.1, 0.3)
    for i in range(4):
        beat = 2 * np.pi * (phase - lag * i)
        motion.sided("wing", i, x=size * np.cos(beat) * (1.0 if i == 0 else u(0.2, 0.6)) + (up if i == 0 else 0), y=0.25 * size * np.sin(beat) if i == 0 else 0,
                     z=(fold * (1 if i % 2 else -0.5) * np.clip(np.sin(beat + 0.5), 0, 1) * np.minimum(size, 1) if i else u(-0.1, 0.3)))
    motion.place[:, 2] += u(0.3, 1.2) - 0.08 * np.sin(2 * np.pi * phase) * size
    motion.sway[:, 1] += u(-0.5, 0.4) + 0.06 * np.cos(2 * np.pi * phase) * size
    curve = motion.rng.normal() * 0.6 if motion.chance(0.6) else 0.0
    motion.sway[:, 0] += -curve * u(0.2, 0.7) + 0.1 * smooth_noise_1(motion, 0.8)
    motion.path += _along(times, rate * u(0.0, 0.5), curve, 0.0)
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
        wobble = 0.1 * smooth_noise_1(motion, 1.0)
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
    motion.path += _along(times, u(0, 0.8) * motion.chance(0.6), curve, 0.0)
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
        motion.rot[:, 0, 2] += u(0, 1.0) * vigour * smooth_noise_1(motion, 0.6)
    else:
        motion.sway += 0.2 * vigour * smooth_noise(motion.rng, motion.frames, motion.seconds, 0.6, (3,))
        motion.place[:, 2] += 0.15 * np.sin(2 * np.pi * phase) * vigour
        motion.path += _along(times, u(0, 0.6), motion.rng.normal() * 0.4, 0.0)
    motion.bend("spine", 1, 0.3 * vigour * np.sin(2 * np.pi * phase))
    motion.label.append("writhe")
    return phase
