"""A creature before it becomes a rig: bones in a neutral stand, what they are, and the tubes of flesh round them.

Creature frame: x forward, y left, z up, ground at z = 0, lengths in torso lengths. Every bone's own frame is parallel to the creature's in
the neutral stand, so a local rotation vector reads (roll, pitch, yaw): positive pitch takes the nose down and a hanging leg backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Vector = Sequence[float] | np.ndarray


@dataclass
class Leg:
    """A limb that may stand on the ground.

    upper, lower: the two bones that inverse kinematics turns. distal: bone between the ankle and the contact point, or -1.
    toes: bones past the contact point. blade: shoulder blade or coxa above `upper`, or -1.
    phase: offset in the gait cycle is looked up by (pair, side); side is +1 left, -1 right; pair counts from the front.
    """

    upper: int
    lower: int
    distal: int
    toes: list[int]
    blade: int
    pair: int
    side: int
    contact: np.ndarray
    hind: bool = False


@dataclass
class Tube:
    """Rings of an elliptic cross-section along a chain of bones.

    rows: (at, radius along the bone's side vector, radius across it, shift along, shift across); at counts bones along the chain (0 = head of
    the first, n = tail of the last, beyond extrapolates). rings: how many rings are spread evenly over it, or one per row where equal.
    anchor: bone that the first ring blends into. soft: width of the blend at joints, in bones.
    """

    bones: list[int]
    rows: list[tuple[float, ...]]
    rings: int
    sides: int
    anchor: int = -1
    soft: float = 0.7
    tint: str = "coat"


@dataclass
class Body:
    """Lists that grow while a plan builds; indices are bones, parents come first."""

    rng: np.random.Generator
    part: list[str] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    head: list[Vector] = field(default_factory=list)
    tail: list[Vector] = field(default_factory=list)
    lateral: list[Vector] = field(default_factory=list)
    loose: list[Vector] = field(default_factory=list)
    tubes: list[Tube] = field(default_factory=list)
    chains: dict[str, list[int]] = field(default_factory=dict)
    legs: list[Leg] = field(default_factory=list)
    traits: dict[str, float] = field(default_factory=dict)
    limb_sides: int = 6
    body_sides: int = 9

    def __len__(self) -> int:
        return len(self.part)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def bone(self, part: str, parent: int, head: Vector, tail: Vector, side: int = 0, lateral: Vector = (0, 1, 0), loose: Vector = (5, 8, 8)) -> int:
        """Append one bone; loose = plausible random swing about x, y, z in degrees."""
        self.part.append(part)
        self.side.append(side)
        self.parent.append(parent)
        self.head.append(tuple(head))
        self.tail.append(tuple(tail))
        self.lateral.append(lateral)
        self.loose.append(loose)
        return len(self.part) - 1

    def chain(
        self, part: str, parent: int, points: Sequence[Vector], side: int = 0, lateral: Vector = (0, 1, 0), loose: Vector = (5, 8, 8), key: str = ""
    ) -> list[int]:
        """Append bones through the points, each the parent of the next; remembered under `key`."""
        bones = []
        for head, tail in zip(points[:-1], points[1:], strict=True):
            parent = self.bone(part, parent, head, tail, side, lateral, loose)
            bones.append(parent)
        if key:
            self.chains[key] = bones
        return bones

    def tube(self, bones: list[int], profile: Sequence[Vector], rings: int, sides: int, anchor: int = -1, soft: float = 0.7, tint: str = "coat") -> None:
        """Add a tube; profile rows may leave out the shifts."""
        rows = [(float(row[0]), float(row[1]), float(row[2]), *(float(x) for x in row[3:]), *[0.0] * (5 - len(row))) for row in profile]
        self.tubes.append(Tube(bones, rows, rings, sides, anchor, soft, tint))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(J,) parents, (J, 3) heads and (J, 3) tails in the neutral stand."""
        return np.array(self.parent, np.int64), np.array(self.head, float), np.array(self.tail, float)


def line(start: Vector, direction: Vector, length: float, count: int, bend: Vector = (0, 0, 0)) -> list[np.ndarray]:
    """count + 1 points from start along direction, curving by `bend` (added to the direction, linearly growing)."""
    f = np.linspace(0, 1, count + 1)
    d = np.asarray(direction, float)
    d = d / np.linalg.norm(d)
    step = d + np.asarray(bend, float) * ((f[:-1] + f[1:]) / 2)[:, None]
    step *= length / count / np.linalg.norm(step, axis=1, keepdims=True)
    return list(np.concatenate([np.zeros((1, 3)), np.cumsum(step, 0)]) + np.asarray(start, float))
