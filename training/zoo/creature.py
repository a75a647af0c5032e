"""A grown creature, and its way to a rig and to clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backend.rig import Rig
from ..data.asset import AssetClip
from .body import Body
from .coat import paint
from .perform import Performance
from .rigging import Layout, assemble, pose_rig
from .skin import build_mesh


@dataclass
class Creature:
    """bind: turns (J, 3, 3) and heads (J, 3) of the rest pose since the neutral stand. place: (J,) rig bone of each body bone.

    frame, scale, up: creature frame to armature frame, armature units per torso, what stands against gravity there.
    """

    body: Body
    bind: tuple[np.ndarray, np.ndarray]
    layout: Layout
    place: np.ndarray
    frame: np.ndarray
    scale: float
    up: np.ndarray


def dress(creature: Creature, rng: np.random.Generator, plan: str, axes: np.ndarray | None = None) -> Rig:
    """Skin, colours and the rig; axes (K, 3, 3) of the bones at rest in the armature frame, random unless given."""
    robot = plan == "robot"
    box = float(rng.choice([4.0, 8.0])) if robot or rng.random() < 0.1 else 2.0
    skin = build_mesh(creature.body, *creature.bind, rigid=bool(rng.random() < (0.9 if robot else 0.08)), box=box)
    colors = paint(rng, skin, parts=robot or bool(rng.random() < (0.4 if plan in ("biped", "blob") else 0.15)))
    return assemble(creature.body, rng, creature.layout, creature.place, creature.bind, skin, colors, (creature.frame, creature.scale), axes)


def move(creature: Creature, rig: Rig, done: Performance, index: int, fps: float) -> AssetClip:
    """A performance as a clip of the rig."""
    pose = pose_rig(creature.layout, rig.rest[:, :3, :3], creature.bind[0], done, (creature.frame, creature.scale))
    return AssetClip(f"{index}_{done.label}", fps, pose)
