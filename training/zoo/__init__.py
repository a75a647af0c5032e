"""The procedural zoo: endless creatures with a skeleton, a skinned body and motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.asset import Asset, AssetClip
from .body import Body
from .coat import paint
from .crawlers import arthropod, fish, snake
from .legged import biped, quadruped
from .perform import bind_pose, perform
from .rigging import assemble, orientation, plan_layout, pose_rig
from .skin import build_mesh
from .winged import bird, theropod

_BUILDERS: dict[str, tuple[Callable[[Body], None], float]] = {
    "quadruped": (quadruped, 0.34),
    "biped": (biped, 0.16),
    "bird": (bird, 0.12),
    "theropod": (theropod, 0.08),
    "insect": (lambda body: arthropod(body, 3), 0.06),
    "spider": (lambda body: arthropod(body, 4), 0.06),
    "crab": (lambda body: arthropod(body, 4, crab=True), 0.03),
    "centipede": (lambda body: arthropod(body, 6), 0.01),
    "snake": (snake, 0.06),
    "fish": (fish, 0.08),
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
    blocky = rng.random() < 0.12
    skin = build_mesh(body, *bind, rigid=rng.random() < 0.1, box=4.0 if blocky else 2.0)
    colors = paint(rng, skin)
    layout, place, _ = plan_layout(body, rng)
    turn_world, scale, up = orientation(rng)
    world = (turn_world, scale)
    rig, _, axes = assemble(body, rng, layout, place, bind, skin, colors, world)
    made = []
    for index in range(clips):
        turn, head, label = perform(body, rng, frames, fps)
        made.append(AssetClip(f"{index}_{label}", fps, pose_rig(rig, layout, axes, bind[0], turn, head, world)))
    return Asset(f"{plan}_{rng.integers(1 << 31):08x}", rig, tuple(made), up, plan)
