"""The procedural zoo: endless creatures with a skeleton, a skinned body and motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.asset import Asset, AssetClip
from .arthropods import arthropod, centipede
from .biped import biped
from .body import Body
from .coat import paint
from .perform import bind_pose, perform
from .quadruped import dragon, lizard, quadruped
from .rigging import assemble, orientation, plan_layout, pose_rig
from .skin import build_mesh
from .strange import blob, chain, tentacles
from .swimmers import fish, snake
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


def make_creature(rng: np.random.Generator, plan: str | None = None, clips: int = 1, frames: int = 48, fps: float = 24.0) -> Asset:
    """A creature of a random or given body plan with `clips` animations of `frames` frames; the same generator state gives the same creature."""
    if plan is None:
        plan = str(rng.choice(PLANS, p=_SHARE / _SHARE.sum()))
    body = Body(rng)
    body.body_sides, body.limb_sides = int(rng.integers(7, 11)), int(rng.integers(5, 8))
    _BUILDERS[plan][0](body)
    bind = bind_pose(body, rng)
    robot = plan == "robot"
    skin = build_mesh(
        body, *bind, rigid=bool(rng.random() < (0.9 if robot else 0.08)), box=float(rng.choice([4.0, 8.0])) if robot or rng.random() < 0.1 else 2.0
    )
    colors = paint(rng, skin, parts=robot or bool(rng.random() < (0.4 if plan in ("biped", "blob") else 0.15)))
    layout, place = plan_layout(body, rng)
    turn_world, scale, up = orientation(rng)
    world = (turn_world, scale)
    rig, axes = assemble(body, rng, layout, place, bind, skin, colors, world)
    made = []
    for index in range(clips):
        done = perform(body, rng, frames, fps)
        made.append(AssetClip(f"{index}_{done.label}", fps, pose_rig(layout, axes, bind[0], done, world)))
    return Asset(f"{plan}_{rng.integers(1 << 31):08x}", rig, tuple(made), up, plan)
