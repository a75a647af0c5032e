"""A reference: an image with the rig's exact pose in it (design: capture)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera


@dataclass(frozen=True, eq=False)
class Reference:
    """One keyed frame of the animator's.

    image: (H, W, 3) uint8 sRGB: the video frame (aligned) or the rig's own mesh drawn by the rasteriser (rendered).
    camera: of one time; its width and height are the image's.
    pose: (J, 4, 4) float64 bone to armature in the reference (Blender's `pose_bone.matrix`), scale included where the user scaled.
    time: seconds since the clip's first frame for an aligned reference, None for a rendered one.
    """

    image: np.ndarray
    camera: Camera
    pose: np.ndarray
    time: float | None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image must be (H, W, 3) uint8, not {self.image.shape} {self.image.dtype}")
        if self.image.shape[:2] != (self.camera.height, self.camera.width):
            raise ValueError("the camera's picture size must be the image's")
        if self.camera.from_armature.shape != (4, 4):
            raise ValueError("a reference has the camera of one time")
        if self.pose.ndim != 3 or self.pose.shape[1:] != (4, 4) or not np.isfinite(self.pose).all():
            raise ValueError("pose must be (J, 4, 4) and finite")
