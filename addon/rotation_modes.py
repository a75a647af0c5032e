"""Rotation tracks in each of Blender's rotation modes, free of flips: pure arithmetic on whole tracks."""

from __future__ import annotations

import numpy as np

from ..backend.quaternions import matrices, quaternions_of

__all__ = ["channel_of", "channel_values", "matrices", "quaternions_of"]

# first, second, third axis turned about, and whether the order is an odd permutation of XYZ
_EULER_ORDERS = {"XYZ": (0, 1, 2, 1), "XZY": (0, 2, 1, -1), "YXZ": (1, 0, 2, -1), "YZX": (1, 2, 0, 1), "ZXY": (2, 0, 1, 1), "ZYX": (2, 1, 0, -1)}
_GIMBAL_LOCK = 1e-7
CHANNELS = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}


def channel_of(mode: str) -> str:
    """The pose bone's property that a rotation mode reads."""
    return CHANNELS.get(mode, "rotation_euler")


def channel_values(quaternions: np.ndarray, mode: str) -> np.ndarray:
    """(T, 4 or 3) values of `channel_of(mode)` for a track of quaternions (T, 4), continuous over time."""
    if mode == "QUATERNION":
        return continuous_quaternions(quaternions)
    if mode == "AXIS_ANGLE":
        return continuous_axis_angles(quaternions)
    return continuous_eulers(matrices(quaternions), mode)


def continuous_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations (T, 4), each in the hemisphere of the one before: curves interpolate components. The first has w >= 0."""
    return quaternions * _running_sign(quaternions)[:, None] * (-1.0 if quaternions[0, 0] < 0 else 1.0)


def continuous_axis_angles(quaternions: np.ndarray) -> np.ndarray:
    """(T, 4) angle, x, y, z; the axis never jumps to its opposite and the angle never by a whole turn.

    At rest the axis is not defined: it is held from the frame before (or after, at the start; Y where the bone never turns).
    """
    length = np.linalg.norm(quaternions[:, 1:], axis=-1)
    defined = length > 1e-9
    if not defined.any():
        return np.tile([0.0, 0.0, 1.0, 0.0], (len(quaternions), 1))
    nearest = _held(defined)
    axes = quaternions[nearest, 1:] / length[nearest, None]
    sign = _running_sign(axes)
    angles = np.unwrap(2 * np.arctan2(length * sign, quaternions[:, 0]))
    return np.concatenate([(angles - 2 * np.pi * np.round(angles[0] / (2 * np.pi)))[:, None], axes * sign[:, None]], -1)


def continuous_eulers(rotations: np.ndarray, order: str) -> np.ndarray:
    """(T, 3) x, y, z angles of rotations (T, 3, 3) in one of Blender's six orders, each frame the nearest to the one before.

    Every rotation has two sets of angles, (a, b, c) and (a + pi, pi - b, c + pi), each up to whole turns. Changing set from one frame
    to the next costs the same whichever set one is in, so the best set of every frame is a running parity. At gimbal lock, where only
    the sum or difference of the first and third angle is known, the third is held.
    """
    i, j, k, parity = _EULER_ORDERS[order]
    cosine = np.hypot(rotations[:, i, i], rotations[:, j, i])
    second = np.arctan2(-rotations[:, k, i], cosine)
    angles = np.stack([np.arctan2(rotations[:, k, j], rotations[:, k, k]), second, np.arctan2(rotations[:, j, i], rotations[:, i, i])], -1)
    free = cosine > _GIMBAL_LOCK
    if free.any():
        angles[free] = _nearest_sets(angles[free])
        third = angles[_held(free), 2]
    else:
        third = np.zeros(len(angles))
    locked = ~free
    alone = np.arctan2(-rotations[:, j, k], rotations[:, j, j])  # the first angle where the third is zero
    angles[locked, 0] = (alone + np.sign(second) * third)[locked]
    angles[locked, 2] = third[locked]
    out = np.empty_like(angles)
    out[:, [i, j, k]] = np.unwrap(angles, axis=0) * parity
    return out


def _nearest_sets(angles: np.ndarray) -> np.ndarray:
    """Choose between the two sets of angles (T, 3) frame by frame; whole turns are left to the caller."""
    other = np.stack([angles[:, 0] + np.pi, np.pi - angles[:, 1], angles[:, 2] + np.pi], -1)
    stay, change = _apart(angles[1:], angles[:-1]), _apart(other[1:], angles[:-1])
    first = _apart(other[:1], np.zeros((1, 3))) < _apart(angles[:1], np.zeros((1, 3)))
    use_other = np.cumsum(np.concatenate([first, change < stay])) % 2 == 1
    return np.where(use_other[:, None], other, angles)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs((a - b + np.pi) % (2 * np.pi) - np.pi).sum(-1)


def _running_sign(vectors: np.ndarray) -> np.ndarray:
    """(T,) signs that put each vector (T, n) into the hemisphere of the one before."""
    opposite = (vectors[1:] * vectors[:-1]).sum(-1) < 0
    return np.cumprod(np.concatenate([[1.0], np.where(opposite, -1.0, 1.0)]))


def _held(valid: np.ndarray) -> np.ndarray:
    """(T,) index of the last valid frame up to each, the first valid one before that."""
    index = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), -1))
    return np.where(index < 0, int(valid.argmax()), index)
