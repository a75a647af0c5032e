"""The procedural zoo: endless creatures with a skeleton, a skinned body and motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.asset import Asset
from .arthropods import arthropod, centipede
from .biped import biped
from .body import Body
from .creature import Creature, dress, move
from .perform import bind_pose, perform
from .quadruped import dragon, lizard, quadruped
from .rigging import orientation, plan_layout
from .strange import blob, chain, tentacles
from .swimmers import fish, snake
from .variant import vary
from .winged import bird, theropod


def _robot(body: Body) -> None:
    builder = (biped, biped, quadruped, theropod, lambda b: arthropod(b, int(b.rng.integers(2, 5))))[int(body.rng.integers(0, 5))]
    builder(body)


_BUILDERS: dict[str, tuple[Callable[[Body], None], float]] = {
    "quadruped": (quadruped, 0.29),
    "biped": (biped, 0.16),
    "bird": (bird, 0.1),
    "theropod": (theropod, 0.06),
    "lizard": (lizard, 0.03),
    "dragon": (dragon, 0.04),
    "insect": (lambda body: arthropod(body, 3), 0.04),
    "spider": (lambda body: arthropod(body, 4), 0.04),
    "crab": (lambda body: arthropod(body, 4, crab=True), 0.02),
    "centipede": (centipede, 0.02),
    "snake": (snake, 0.04),
    "fish": (fish, 0.07),
    "blob": (blob, 0.05),
    "tentacles": (tentacles, 0.02),
    "chain": (chain, 0.02),
    "robot": (_robot, 0.05),
}
PLANS: tuple[str, ...] = tuple(_BUILDERS)
_SHARE = np.array([share for _, share in _BUILDERS.values()])


def _grow(rng: np.random.Generator, plan: str | None) -> tuple[str, Creature]:
    if plan is None:
        plan = str(rng.choice(PLANS, p=_SHARE / _SHARE.sum()))
    body = Body(rng)
    body.body_sides, body.limb_sides = int(rng.integers(7, 11)), int(rng.integers(5, 8))
    _BUILDERS[plan][0](body)
    bind = bind_pose(body, rng)
    layout, place = plan_layout(body, rng)
    return plan, Creature(body, bind, layout, place, *orientation(rng))


def make_creature(rng: np.random.Generator, plan: str | None = None, clips: int = 1, frames: int = 48, fps: float = 24.0) -> Asset:
    """A creature of a random or given body plan with `clips` animations of `frames` frames; the same generator state gives the same creature."""
    plan, creature = _grow(rng, plan)
    rig = dress(creature, rng, plan)
    made = tuple(move(creature, rig, perform(creature.body, rng, frames, fps), index, fps) for index in range(clips))
    return Asset(f"{plan}_{rng.integers(1 << 31):08x}", rig, made, creature.up, plan)


def make_pair(
    rng: np.random.Generator, plan: str | None = None, clips: int = 1, frames: int = 48, fps: float = 24.0, change: float = 0.2
) -> tuple[Asset, Asset]:
    """Two creatures of one skeleton whose bones turn alike, with other proportions and another coat: a rig and the animal that the video shows.

    change: spread of the logarithm of the second one's proportions.
    """
    plan, creature = _grow(rng, plan)
    other = vary(creature, rng, change)
    rig = dress(creature, rng, plan)
    twin = dress(other, rng, plan, axes=rig.rest[:, :3, :3])
    done = [perform(creature.body, rng, frames, fps) for _ in range(clips)]
    first = tuple(move(creature, rig, d, index, fps) for index, d in enumerate(done))
    second = tuple(move(other, twin, d.carried_by(other.body), index, fps) for index, d in enumerate(done))
    name = f"{plan}_{rng.integers(1 << 31):08x}"
    return Asset(name, rig, first, creature.up, plan), Asset(name + "_other", twin, second, creature.up, plan)
