"""What a capture says: orientations and heads of every bone over time, in the armature frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Motion:
    """A captured motion. T frames, J bones, in the rig's bone order.

    times: (T,) float64 seconds since the clip's first frame, strictly increasing, not necessarily even.
    rotations: (T, J, 3, 3) float64 proper rotations, bone axes in the armature frame.
    heads: (T, J, 3) float64, armature frame.
    confidence: (T, J) float32 expected error of the bone's head once the middles of all heads are laid together, share of the rig's size (smaller is surer).
    joints_2d: (T, J, 2) float32 predicted pixels of the heads in the picture, NaN where unknown.
    """

    times: np.ndarray
    rotations: np.ndarray
    heads: np.ndarray
    confidence: np.ndarray
    joints_2d: np.ndarray

    def __post_init__(self) -> None:
        frames, bones = self.heads.shape[:2]
        if self.times.shape != (frames,) or self.rotations.shape != (frames, bones, 3, 3):
            raise ValueError("times, rotations and heads must agree in frames and bones")
        if self.confidence.shape != (frames, bones) or self.joints_2d.shape != (frames, bones, 2):
            raise ValueError("confidence and joints_2d must be (T, J) and (T, J, 2)")
        if frames > 1 and not (np.diff(self.times) > 0).all():
            raise ValueError("times must increase")
        if not np.isfinite(self.rotations).all() or not np.isfinite(self.heads).all():
            raise ValueError("rotations and heads must be finite")

    def __len__(self) -> int:
        return len(self.times)

    def with_pose(self, rotations: np.ndarray, heads: np.ndarray) -> Motion:
        """The same motion with another pose track."""
        return replace(self, rotations=rotations, heads=heads)
