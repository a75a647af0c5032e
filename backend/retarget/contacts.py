"""Feet of the target stand as the driver's of the same limbs do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..finish.contacts import contact_weights, foot_points, hold_contacts, leaves
from ..motion import Motion
from .anatomy import Anatomy

# bones of the target and of the driver that are linked, each a chain
Pairs = Sequence[tuple[tuple[int, ...], tuple[int, ...]]]

_FOOT = 0.15  # of the size above the lowest end of a bone: what may be a foot
_FEW = 6  # leaves below a bone that may still be one foot's


def carry_contacts(driving: Anatomy, target: Anatomy, pairs: Pairs, motion: Motion, result: Motion, across: np.ndarray) -> Motion:
    """The result, its roots shifted along the ground so that feet slide, while the driver's stand, as little as those do.

    motion, result: the driver's and the target's, of the same times. across: (3, 3) lengths and directions of the driver's armature frame in
    the target's. The driver's own slide counts as meant: one that walks on the spot is not made to walk away.
    """
    weights, drivers = _feet(driving, target, pairs, motion)
    theirs = weights @ np.eye(len(leaves(driving.rig)))[drivers]
    held = hold_contacts(target.rig, result, target.facing[:, 2], weights)
    # what would hold the driver's feet too is no fault of the target's
    meant = hold_contacts(driving.rig, motion, driving.facing[:, 2], theirs).heads - motion.heads
    return held.with_pose(held.rotations, held.heads - meant[:, :1] @ across.T)


def _feet(driving: Anatomy, target: Anatomy, pairs: Pairs, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """How surely each of the target's F feet stands (T, F), and the driver's foot of the same limb (F,), both in the order of `leaves`."""
    up = driving.up / np.linalg.norm(driving.up)
    every = leaves(driving.rig)
    stands = contact_weights(foot_points(driving.rig, motion), motion.times, up, driving.rig.size)
    # what stands high when the poses are paired is no foot
    height = driving.ends @ up
    low = height[every] < height[driving.rig.driven].min() + _FOOT * driving.size
    driver_of = {bone: drivers[-1] for bones, drivers in pairs for bone in bones}
    mine = leaves(target.rig)
    weights, chosen = np.zeros((len(motion), len(mine))), np.zeros(len(mine), np.int64)
    for column, foot in enumerate(mine):
        step = int(foot)
        while step >= 0 and step not in driver_of:
            step = int(target.rig.carriers[step])
        same = np.flatnonzero(low & driving.below[driver_of[step], every]) if step in driver_of else np.zeros(0, int)
        # above the last branch of a body stands no foot of its own
        if 0 < len(same) <= _FEW:
            chosen[column] = same[stands[:, same].sum(0).argmax()]
            weights[:, column] = stands[:, same].max(1)
    return weights, chosen
