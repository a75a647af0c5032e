"""Holding contacts: the root travels so that feet on the ground stand still; no bone's rotation changes."""

from __future__ import annotations

import numpy as np

from ..motion import Motion
from ..rig import Rig
from .smoothing import gaussian_in_time

_GROUND = 0.04  # of the size above the lowest point of the moment: a foot this low may be in contact
_SLOW = 0.35  # sizes a second: a foot faster than this is in swing
_FORGET = 1.0  # seconds after which the camera's evidence of where the subject is outweighs the feet
_SETTLE = 0.04  # seconds over which contact is made or lifted


def foot_points(rig: Rig, motion: Motion) -> np.ndarray:
    """(T, F, 3) ends of driven bones that carry no driven bone: what can touch the ground."""
    last = leaves(rig)
    inverse = np.linalg.inv(rig.rest[last])
    local = np.einsum("jab,jb->ja", inverse[:, :3, :3], rig.ends[last]) + inverse[:, :3, 3]
    return motion.heads[:, last] + np.einsum("tjab,jb->tja", motion.rotations[:, last], local)


def leaves(rig: Rig) -> np.ndarray:
    """(F,) driven bones that carry no driven bone, the bones of `foot_points`."""
    busy = np.zeros(len(rig), bool)
    carriers = rig.carriers[rig.driven]
    busy[carriers[carriers >= 0]] = True
    return np.flatnonzero(rig.driven & ~busy)


def contact_weights(points: np.ndarray, times: np.ndarray, up: np.ndarray, size: float) -> np.ndarray:
    """(T, F) 0..1, how surely a point stands on the ground: low among the points of its moment, and slow."""
    height = points @ up
    low = np.clip(2 - (height - height.min(1, keepdims=True)) / (_GROUND * size), 0, 1)
    speed = np.linalg.norm(np.gradient(points, times, axis=0), axis=-1) / size
    slow = np.clip(2 - speed / _SLOW, 0, 1)
    return gaussian_in_time(times, low * slow, _SETTLE)


def hold_contacts(rig: Rig, motion: Motion, up: np.ndarray, weights: np.ndarray | None = None) -> Motion:
    """Shift all heads along the ground so that points in contact slide less.

    weights: (T, F) as of `contact_weights`, where they are known from elsewhere.
    The shift's velocity is the opposite of the contacts' mean slide, and decays over a second: what the camera saw stays true on average.
    """
    if len(motion) < 3:
        return motion
    points = foot_points(rig, motion)
    if weights is None:
        weights = contact_weights(points, motion.times, up, rig.size)
    velocity = np.gradient(points, motion.times, axis=0)
    velocity = velocity - (velocity @ up)[..., None] * up
    mass = weights.sum(1)
    slide = (weights[..., None] * velocity).sum(1) / np.maximum(mass, 1e-9)[:, None] * np.clip(mass, 0, 1)[:, None]
    shift = np.zeros((len(motion), 3))
    for k in range(1, len(motion)):
        step = motion.times[k] - motion.times[k - 1]
        shift[k] = (shift[k - 1] - slide[k] * step) * np.exp(-step / _FORGET)
    return motion.with_pose(motion.rotations, motion.heads + shift[:, None])
