"""Smoothing in seconds, not frames: even for uneven time stamps."""

from __future__ import annotations

import numpy as np

from ..kinematics import bone_rotations, carrier_offsets, heads_from_offsets
from ..motion import Motion
from ..rig import Rig

_CHUNK = 1 << 16  # matrices worked on at once


def gaussian_in_time(times: np.ndarray, values: np.ndarray, seconds: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted Gaussian mean (T, …) of values (T, …) at times (T,), standard deviation in seconds; memory stays that of the values.

    weights: (T,) or None.
    """
    if seconds <= 0 or len(times) < 2:
        return values.copy()
    reach = 3 * seconds
    step = float(np.median(np.diff(times)))
    span = int(np.ceil(reach / max(step, 1e-6)))
    span = min(span, len(times) - 1)
    weight = np.ones(len(times)) if weights is None else weights
    shape = (-1,) + (1,) * (values.ndim - 1)
    total = np.zeros_like(values, dtype=np.float64)
    mass = np.zeros(len(times))
    for offset in range(-span, span + 1):
        to = slice(max(0, -offset), len(times) - max(0, offset))
        of = slice(max(0, offset), len(times) - max(0, -offset))
        kernel = np.exp(-0.5 * ((times[of] - times[to]) / seconds) ** 2) * weight[of]
        total[to] += kernel.reshape(shape) * values[of]
        mass[to] += kernel
    return total / mass.reshape(shape)


def mean_rotations(times: np.ndarray, rotations: np.ndarray, seconds: float) -> np.ndarray:
    """Gaussian mean of rotations (T, …, 3, 3): the mean of the matrices, projected back (the chordal mean)."""
    if seconds <= 0 or len(times) < 2:
        return rotations.copy()
    return nearest(gaussian_in_time(times, rotations, seconds))


def nearest(matrices: np.ndarray) -> np.ndarray:
    """Nearest proper rotations (…, 3, 3)."""
    flat = matrices.reshape(-1, 3, 3)
    result = np.empty(flat.shape)
    for part in (slice(k, k + _CHUNK) for k in range(0, len(flat), _CHUNK)):  # a long clip's are many
        padded = np.zeros((len(flat[part]), 4, 4))
        padded[:, :3, :3] = flat[part]
        result[part] = bone_rotations(padded)
    return result.reshape(matrices.shape)


def to_local(rig: Rig, rotations: np.ndarray) -> np.ndarray:
    """Orientations (…, J, 3, 3) relative to the carriers; roots keep their own."""
    local = rotations.copy()
    for bone in np.flatnonzero(rig.carriers >= 0):
        local[..., bone, :, :] = np.swapaxes(rotations[..., rig.carriers[bone], :, :], -1, -2) @ rotations[..., bone, :, :]
    return local


def from_local(rig: Rig, local: np.ndarray) -> np.ndarray:
    """The inverse of to_local."""
    rotations = local.copy()
    for bone in rig.carrier_order:
        carrier = rig.carriers[bone]
        if carrier >= 0:
            rotations[..., bone, :, :] = rotations[..., carrier, :, :] @ local[..., bone, :, :]
    return rotations


def smooth(rig: Rig, motion: Motion, seconds: float) -> Motion:
    """Parent-local rotations, and heads in their carriers' axes, each by its own Gaussian: no limb comes apart."""
    if seconds <= 0 or len(motion) < 2:
        return motion
    local = to_local(rig, motion.rotations)
    for bone in range(len(rig)):
        local[:, bone] = mean_rotations(motion.times, local[:, bone], seconds)
    rotations = from_local(rig, local)
    offsets = gaussian_in_time(motion.times, carrier_offsets(rig, motion.rotations, motion.heads), seconds)
    return motion.with_pose(rotations, heads_from_offsets(rig, rotations, offsets))
