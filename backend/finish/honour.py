"""Honouring keyed frames: at an aligned reference the result is the animator's pose, and stays smooth between (design: capture)."""

from __future__ import annotations

import numpy as np

from ..kinematics import carrier_offsets, heads_from_offsets
from ..motion import Motion
from ..quaternions import interpolate
from ..rig import Rig
from .smoothing import from_local, nearest, to_local


def honour(rig: Rig, motion: Motion, times: np.ndarray, rotations: np.ndarray, heads: np.ndarray) -> Motion:
    """Bend a motion so that it passes through the animator's poses.

    times: (N,) seconds of the aligned references, sorted. rotations: (N, J, 3, 3), heads: (N, J, 3), armature frame. The residual of each
    parent-local rotation is interpolated spherically between neighbouring references and held outside them; that of each head linearly,
    in its carrier's axes.
    """
    if not len(times):
        return motion
    local, wanted = to_local(rig, motion.rotations), to_local(rig, rotations)
    index = np.array([int(np.abs(motion.times - t).argmin()) for t in times])
    residual = np.swapaxes(local[index], -1, -2) @ wanted
    offsets = carrier_offsets(rig, motion.rotations, motion.heads)
    shift = carrier_offsets(rig, rotations, heads) - offsets[index]
    for k in range(len(motion)):
        after = int(np.searchsorted(times, motion.times[k]))
        if after == 0 or after == len(times):
            n = min(after, len(times) - 1)
            local[k], offsets[k] = local[k] @ residual[n], offsets[k] + shift[n]
            continue
        share = (motion.times[k] - times[after - 1]) / (times[after] - times[after - 1])
        local[k] = local[k] @ interpolate(residual[after - 1], residual[after], share)
        offsets[k] += (1 - share) * shift[after - 1] + share * shift[after]
    # products of many rotations drift from orthogonality by rounding alone; the keys must not
    result = nearest(from_local(rig, local))
    return motion.with_pose(result, heads_from_offsets(rig, result, offsets))
