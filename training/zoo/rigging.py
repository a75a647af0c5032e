"""A creature's skeleton turned into a rig as artists leave them: axes, names, units, control bones, detached feet, several roots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backend.rig import Mesh, Rig
from .body import Body
from .names import name_bones
from .perform import Performance
from .skin import Skin

STILL, PATH = -1, -2


@dataclass
class Layout:
    """Which bones the rig has. source: bone of the body that moves it, STILL in the armature, or PATH where it follows the creature on the ground.

    at: (K, 3) offset of the head from the source bone's head in the neutral stand (creature frame), tip: (K, 3) of the end.
    weighted: whether it may carry vertices; reason: why it is (not) driven.
    """

    names: list[str]
    parents: list[int]
    carriers: list[int]
    source: list[int]
    at: list[np.ndarray]
    tip: list[np.ndarray]
    driven: list[bool]
    reasons: list[str]

    def add(self, name: str, parent: int, source: int, at: np.ndarray, tip: np.ndarray, driven: bool, reason: str, carrier: int | None = None) -> int:
        self.names.append(name)
        self.parents.append(parent)
        self.carriers.append(parent if carrier is None else carrier)
        self.source.append(source)
        self.at.append(np.asarray(at, float))
        self.tip.append(np.asarray(tip, float))
        self.driven.append(driven)
        self.reasons.append(reason)
        return len(self.names) - 1


def plan_layout(body: Body, rng: np.random.Generator) -> tuple[Layout, np.ndarray]:
    """Bones of the rig, and (J,) the index of each body bone in it."""
    names = name_bones(body, rng)
    parents, heads, tails = body.arrays()
    layout = Layout([], [], [], [], [], [], [], [])
    zero = np.zeros(3)
    ground = -1
    if rng.random() < 0.55:
        ground = layout.add(
            str(rng.choice(["Root", "root", "Armature_Root", "Bone_Root", "master"])),
            -1,
            PATH if rng.random() < 0.4 else STILL,
            zero,
            np.array([0, 0, 0.2]),
            True,
            "carries bones that move vertices",
        )
    place = np.full(len(body), -1)
    loose_feet = rng.random() < 0.15
    feet = {leg.distal for leg in body.legs if leg.distal >= 0} if loose_feet else set()
    stray_root = int(rng.integers(1, len(body))) if rng.random() < 0.04 and len(body) > 3 else -1
    root = 0
    for j in range(len(body)):
        parent = int(parents[j])
        above = ground if parent < 0 else int(place[parent])
        tip = tails[j] - heads[j]
        reason = "moves vertices"
        if j in feet or j == stray_root:
            base = (ground if ground >= 0 else int(place[root])) if j in feet else -1
            place[j] = layout.add(names[j], base, j, zero, tip, True, reason, carrier=above)
        else:
            place[j] = layout.add(names[j], above, j, zero, tip, True, reason)
    _controls(layout, body, rng, place, tails - heads, ground)
    return layout, place


def _controls(layout: Layout, body: Body, rng: np.random.Generator, place: np.ndarray, extent: np.ndarray, ground: int) -> None:
    """Leaf end bones, targets and poles that no vertex follows."""
    unweighted = "no vertex follows it and it carries no bone that moves vertices"
    if rng.random() < 0.2:
        children = set(body.parent)
        for j in range(len(body)):
            if j not in children:
                layout.add(layout.names[place[j]] + "_end", int(place[j]), j, extent[j], extent[j] * 1.3, False, unweighted)
    if rng.random() < 0.2:
        for n, leg in enumerate(body.legs):
            offset = np.zeros(3)
            layout.add(f"IK{n}", ground, leg.distal if leg.distal >= 0 else leg.lower, offset, np.array([-0.1, 0, 0]), False, unweighted)
            if rng.random() < 0.5:
                layout.add(f"Pole{n}", ground, STILL, np.array([0.5, 0.2 * leg.side, 0.3]), np.array([0.6, 0.2 * leg.side, 0.3]), False, unweighted)
    if rng.random() < 0.15:
        for k in range(int(rng.integers(1, 4))):
            j = int(rng.integers(0, len(body)))
            spot = rng.normal(size=3) * 0.1
            layout.add(f"ctrl_{k}", int(place[j]), j, spot, spot + (0, 0, 0.1), False, unweighted)


def _axes(rng: np.random.Generator, directions: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """(K, 3, 3) bone axes as columns for unit directions (K, 3): along y mostly, or x, z, world-aligned, random."""
    kind = rng.choice(["y", "x", "z", "world", "any"], p=[0.6, 0.12, 0.08, 0.12, 0.08])
    count = len(directions)
    if kind == "any":
        return _random(rng, count)
    if kind == "world":
        return np.repeat(_random(rng, 1) if rng.random() < 0.3 else np.eye(3)[None], count, 0)
    side = lateral - directions * (lateral * directions).sum(1, keepdims=True)
    norm = np.linalg.norm(side, axis=1, keepdims=True)
    spare = np.cross(directions, np.where(np.abs(directions[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    side = np.where(norm > 0.1, side / np.maximum(norm, 1e-9), spare / np.linalg.norm(spare, axis=1, keepdims=True))
    other = np.cross(side, directions)
    roll = {0: np.zeros(count), 1: np.full(count, rng.uniform(0, 2 * np.pi)), 2: rng.uniform(0, 2 * np.pi, count)}[int(rng.choice(3, p=[0.5, 0.25, 0.25]))]
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    a, b = c * side + s * other, -s * side + c * other
    # side, direction, other is right-handed: side x direction = other
    if kind == "y":
        return np.stack([a, directions, b], -1)
    if kind == "x":
        return np.stack([directions, b, a], -1)
    return np.stack([b, a, directions], -1)


def _random(rng: np.random.Generator, count: int) -> np.ndarray:
    q = rng.normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return np.stack(rows, -1).reshape(count, 3, 3)


def orientation(rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray]:
    """Creature frame to armature frame: rotation (3, 3), scale, and the up axis of the armature (3,)."""
    yaw = float(rng.choice([-np.pi / 2, np.pi / 2, 0.0, np.pi, rng.uniform(0, 2 * np.pi)], p=[0.6, 0.15, 0.1, 0.05, 0.1]))
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    up = np.array([0, 0, 1.0])
    if rng.random() < 0.2:
        stand = np.array([[1, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
        turn, up = stand @ turn, np.array([0, 1.0, 0])
    scale = float(rng.choice([1.0, 100.0, 0.01], p=[0.65, 0.2, 0.15]) * np.exp(rng.normal() * 0.5))
    return turn, scale, up


def assemble(
    body: Body,
    rng: np.random.Generator,
    layout: Layout,
    place: np.ndarray,
    bind: tuple[np.ndarray, np.ndarray],
    skin: Skin,
    colors: np.ndarray,
    world: tuple[np.ndarray, float],
    axes: np.ndarray | None = None,
) -> Rig:
    """The rig; axes (K, 3, 3) of its bones at rest in the armature frame, random unless given."""
    turn_world, scale = world
    source = np.array(layout.source)
    moving = source >= 0
    at, tip = np.array(layout.at), np.array(layout.tip)
    turn, head = _source_frames(source, bind[0][None], bind[1][None])
    heads = (head[0] + np.einsum("kij,kj->ki", turn[0], at)) @ turn_world.T * scale
    ends = (head[0] + np.einsum("kij,kj->ki", turn[0], tip)) @ turn_world.T * scale
    lateral = np.where(moving[:, None], np.array(body.lateral, float)[np.maximum(source, 0)], [[0, 1.0, 0]])
    lateral = np.einsum("kij,kj->ki", turn[0], lateral) @ turn_world.T
    extent = ends - heads
    length = np.maximum(np.linalg.norm(extent, axis=1, keepdims=True), 1e-9)
    if axes is None:
        axes = _axes(rng, extent / length, lateral)
    if rng.random() < 0.35:
        ends = heads + axes[:, :, 1] * length
    rest = np.zeros((len(source), 4, 4))
    rest[:, :3, :3], rest[:, :3, 3], rest[:, 3, 3] = axes, heads, 1.0
    mesh = Mesh(
        (skin.vertices @ turn_world.T * scale).astype(np.float32), skin.triangles, place[skin.bones].astype(np.int32), skin.weights.astype(np.float32), colors
    )
    count = len(source)
    return Rig(
        tuple(layout.names),
        np.array(layout.parents, np.int32),
        np.array(layout.carriers, np.int32),
        rest,
        ends,
        np.array(layout.driven),
        tuple(layout.reasons),
        np.ones(count, bool),
        np.ones(count, bool),
        ("FULL",) * count,
        mesh,
    )


def _source_frames(source: np.ndarray, turn: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (T, K, 3, 3) and positions (T, K, 3) of the bodies' bones that move each rig bone; identity where none does."""
    moving = source >= 0
    index = np.maximum(source, 0)
    return np.where(moving[:, None, None], turn[:, index], np.eye(3)), np.where(moving[:, None], head[:, index], 0.0)


def pose_rig(layout: Layout, axes: np.ndarray, bind_turn: np.ndarray, done: Performance, world: tuple[np.ndarray, float]) -> np.ndarray:
    """Bone to armature matrices (T, K, 4, 4) float32 of a performance."""
    turn_world, scale = world
    source = np.array(layout.source)
    t, h = _source_frames(source, done.turn, done.position)
    for k in np.flatnonzero(source == PATH):
        c, s = np.cos(done.path[:, 2]), np.sin(done.path[:, 2])
        t[:, k, 0, 0], t[:, k, 0, 1], t[:, k, 1, 0], t[:, k, 1, 1] = c, -s, s, c
        h[:, k, :2] = done.path[:, :2]
    base = np.where((source >= 0)[:, None, None], bind_turn[np.maximum(source, 0)], np.eye(3))
    # axes at bind = W T0 A, so axes in a pose = W T A with A = (W T0)^T axes
    own = np.swapaxes(turn_world @ base, -1, -2) @ axes
    out = np.zeros((*t.shape[:2], 4, 4), np.float32)
    out[..., :3, :3] = (turn_world @ t) @ own
    out[..., :3, 3] = (h + np.einsum("tkij,kj->tki", t, np.array(layout.at))) @ turn_world.T * scale
    out[..., 3, 3] = 1
    return out
