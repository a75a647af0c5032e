"""One clip of a creature: choose what it does, add it up, and run it through the skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .actions import envelope, idle, look_about, tail_and_ears
from .arms import ARMS
from .body import Body
from .deeds import CRAWLER, FOUR_LEGS, SNAKE, TWO_LEGS, bite
from .gaits import locomote
from .kinematics import accumulate, rotation, solve_legs
from .motion import Motion, smooth_noise
from .poses import fold_wings, hang_loose, poses, shake
from .waves import bounce, fly, slither, swim, writhe


@dataclass
class Performance:
    """Turns since the neutral stand (T, J, 3, 3), head positions (T, J, 3), where the creature stands (T, 3: x, y, heading), what it did."""

    turn: np.ndarray
    position: np.ndarray
    path: np.ndarray
    label: str

    def carried_by(self, body: Body) -> Performance:
        """The same turns with the bone lengths of another body."""
        parents, heads, _ = body.arrays()
        above = np.maximum(parents, 0)
        local = np.where((parents >= 0)[:, None, None], np.swapaxes(self.turn[:, above], -1, -2) @ self.turn, self.turn)
        root = np.flatnonzero(parents < 0)[0]
        turn, position = accumulate(parents, heads, local, self.position[:, root] - heads[root])
        return Performance(turn, position, self.path, self.label)


def perform(body: Body, rng: np.random.Generator, frames: int, fps: float) -> Performance:
    """One clip: an activity, what goes with it, and random motion on top."""
    motion = Motion.start(body, rng, frames, fps)
    vigour = float(np.clip(1.25 * rng.beta(1.3, 1.3), 0, 1.25))
    winged = "wing1" in body.chains and bool(body.legs)
    choice = rng.random()
    flying = winged and rng.random() < (0.5 if len(body.legs) <= 4 else 0.3)
    if flying:
        fly(motion, vigour)
        look_about(motion, 0.4 * vigour)
    elif choice < 0.47:
        _travel(motion, vigour)
    elif choice < 0.62:
        act(motion, vigour)
    elif choice < 0.87:
        poses(motion, vigour)
    elif choice < 0.94:
        idle(motion, vigour)
    else:
        hang_loose(motion)
        motion.label.append("loose")
    if winged and not flying:
        rest = 0.9 if rng.random() < 0.7 else rng.random()
        fold_wings(motion, np.clip(rest + 0.25 * vigour * smooth_noise(rng, frames, motion.seconds, 0.8, ()), -0.2, 1.1))
    restless = 1.8 if motion.label[0] == "loose" else float(rng.choice([0.0, 0.3, 0.7, 1.4], p=[0.3, 0.3, 0.25, 0.15]))
    if restless:
        shake(motion, restless * (0.4 + vigour), rng.random() * (0.3 if motion.label[0] == "loose" else 0.8))
    turn, position = run(motion)
    if rng.random() < 0.55:
        turn, position = _in_place(motion, turn, position)
    return Performance(turn, position, motion.path, "+".join(motion.label))


def act(motion: Motion, vigour: float) -> None:
    """One named action that fits the body; its envelope rises and falls in the clip."""
    body = motion.body
    pairs = 1 + max((leg.pair for leg in body.legs), default=-1)
    deeds = {"bite": bite} | ({}, TWO_LEGS, FOUR_LEGS)[pairs] if pairs < 3 else {"bite": bite} | CRAWLER
    if "front" in body.chains:
        deeds |= SNAKE
    if "arm1" in body.chains and pairs == 1 and len(body.chains["arm1"]) > 2:
        deeds = deeds | ARMS if motion.chance(0.4) else dict(ARMS)
    name = str(motion.rng.choice(list(deeds)))
    idle(motion, 0.5 * vigour)
    motion.label[-1] = name
    deeds[name](motion, envelope(motion), 0.5 + 0.5 * vigour)


def _travel(motion: Motion, vigour: float) -> None:
    body = motion.body
    if body.legs:
        locomote(motion, vigour)
        if motion.chance(0.5):
            look_about(motion, 0.4)
    else:
        {0: slither, -1: swim, -2: writhe, -3: bounce}[int(body.traits["gait"])](motion, vigour)
    if motion.chance(0.3):
        tail_and_ears(motion, 0.5)


def _yaw(angle: np.ndarray) -> np.ndarray:
    out = np.zeros((len(angle), 1, 3))
    out[:, 0, 2] = angle
    return rotation(out)


def run(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Forward kinematics of the trunk, inverse kinematics of the legs, forward kinematics of all."""
    body = motion.body
    parents, heads, _ = body.arrays()
    for n, leg in enumerate(body.legs):
        for toe in leg.toes:
            motion.rot[:, toe, 1] += motion.toe[:, n]
    noise_on_legs = motion.rot.copy()
    local = rotation(motion.rot)
    heading = _yaw(motion.path[:, 2])
    if "front" in body.chains:
        motion.sway[:, :2] *= 0.3
    sway = rotation(motion.sway[:, None])
    local[:, 0] = (heading @ sway @ local[:, :1])[:, 0]
    place = motion.place.copy()
    place = (heading[:, 0] @ place[..., None])[..., 0]
    place[:, :2] += motion.path[:, :2]
    root = heads[0].copy()
    swung = (heading[:, 0] @ root[:, None])[..., 0]
    place += swung - root
    if not body.legs or not motion.planted:
        turn, position = accumulate(parents, heads, local, place)
        return turn, _on_ground(body, position) if "front" in body.chains else position
    turn, position = accumulate(parents, heads, local, place)
    contact = np.stack([leg.contact for leg in body.legs])
    ground = motion.steps if motion.steps is not None else _plant(motion, contact)
    carried = position[:, :1] + np.einsum("tij,lj->tli", turn[:, 0], contact - heads[0])
    target = ground + motion.lift[..., None] * (carried - ground)
    target += np.einsum("tij,tlj->tli", heading[:, 0], motion.reach)
    pitch = np.zeros((*motion.foot.shape, 3))
    pitch[..., 1] = motion.foot
    flat = heading @ rotation(pitch)
    lifted = motion.lift[..., None, None]
    flat = flat if not motion.lift.any() else _blend(flat, turn[:, :1] @ rotation(pitch), lifted)
    solve_legs(body.legs, parents, heads, local, turn, position, target, flat)
    driven = [b for leg in body.legs for b in (leg.upper, leg.lower, leg.distal) if b >= 0]
    local[:, driven] = local[:, driven] @ rotation(np.ascontiguousarray(noise_on_legs[:, driven]) * 0.6)
    return accumulate(parents, heads, local, place)


def _on_ground(body: Body, position: np.ndarray) -> np.ndarray:
    """Snakes lie on the ground: the lowest head of each frame at its height in the neutral stand."""
    low = position[..., 2].min(1) - body.head[0][2]
    position[..., 2] -= low[:, None]
    return position


def _blend(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotation matrices between a and b by Gram-Schmidt of the linear mixture."""
    m = a + share * (b - a)
    x = m[..., 0] / np.maximum(np.linalg.norm(m[..., 0], axis=-1, keepdims=True), 1e-6)
    y = m[..., 1] - x * (m[..., 1] * x).sum(-1, keepdims=True)
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-6)
    return np.stack([x, y, np.cross(x, y)], -1)


def _plant(motion: Motion, contact: np.ndarray) -> np.ndarray:
    return np.broadcast_to(contact, (motion.frames, *contact.shape)).copy()


def _in_place(motion: Motion, turn: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the travel out, as most game animations have it; the heading too, half the time."""
    position = position.copy()
    position[..., :2] -= motion.path[:, None, :2]
    motion.path[:, :2] = 0
    if motion.rng.random() < 0.6 and np.ptp(motion.path[:, 2]) > 1e-3:
        back = _yaw(-motion.path[:, 2])
        turn = back @ turn
        position = (back @ position[..., None])[..., 0]
        motion.path[:, 2] = 0
    return turn, position


def bind_pose(body: Body, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rest pose: the neutral stand, arms out, wings folded or a little curled. (J, 3, 3) turns and (J, 3) heads."""
    rot = np.zeros((1, len(body), 3))
    if "arm1" in body.chains and body.traits.get("gait") == 2 and rng.random() < 0.8:
        spread = rng.uniform(0.3, 1.5)
        for side in (1, -1):
            rot[0, body.chains[f"arm{side}"][0], 0] += side * spread
    if "wing1" in body.chains and rng.random() < 0.15:
        motion = Motion.start(body, rng, 1, 24.0)
        fold_wings(motion, np.full(1, rng.uniform(0.3, 1.0)))
        rot += motion.rot
    curl = rng.choice([0.0, 0.3, 1.0, 2.0], p=[0.4, 0.3, 0.2, 0.1])
    rot[0] += rng.normal(size=(len(body), 3)) * np.radians(np.array(body.loose)) * 0.5 * curl
    if "front" in body.chains and rng.random() < 0.4:
        bend = rng.normal(size=2) * rng.uniform(0.5, 3.0)
        for key, value in (("front", bend[0]), ("behind", bend[1])):
            if body.chains[key]:
                rot[0, body.chains[key], 2] += value / len(body.chains[key])
    rot[0, 0] = 0
    parents, heads, _ = body.arrays()
    turn, position = accumulate(parents, heads, rotation(rot), np.zeros((1, 3)))
    return turn[0], position[0]
