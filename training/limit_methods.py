"""Inverse kinematics within the ranges that a rig's joints keep to in its other clips: what joint limits are worth."""

from __future__ import annotations

import numpy as np
import torch

from ..backend.joint_limits import JointLimits, euler_angles
from ..backend.rig import Rig
from .data.asset import Asset
from .methods import Method, inverse_kinematics
from .metrics import parent_local

_ORDER = "XYZ"
_PLAY = np.radians(5)  # beyond what the other clips show


def ranges_of_motion(asset: Asset, rig: Rig) -> JointLimits:
    """Euler ranges of driven bones that hang on their parents, over all clips that are not held out; the rig's carriers count."""
    bones = np.flatnonzero(rig.driven & (rig.parents >= 0) & (rig.carriers == rig.parents))
    rest = parent_local(rig, rig.rest[None])[0]
    local = np.concatenate([parent_local(rig, clip.pose.astype(np.float64)) for clip in asset.clips if not clip.held_out])
    angles = euler_angles(torch.from_numpy(np.swapaxes(rest, -1, -2) @ local), _ORDER).numpy()[:, bones]
    return JointLimits(bones, (_ORDER,) * len(bones), angles.min(0) - _PLAY, angles.max(0) + _PLAY)


def inverse_kinematics_in_ranges(noise: float = 0.0) -> Method:
    """The solver of `solve` on true heads with noise (share of the size), within the ranges of the rig's clips that are not held out."""
    return inverse_kinematics(noise, ranges_of_motion)
