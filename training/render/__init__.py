"""The compiled renderer that draws training clips on a CPU."""

import cv2

from . import compiled as _compiled  # noqa: F401  (first: it says where compiled code is cached)
from .appearance import Light, Look
from .augment import augment
from .background import Background
from .scene import Creature, Rendered, render_clip

cv2.setNumThreads(1)  # pictures are small and many makers of samples run beside a training: its threads would only wait for each other

__all__ = ["Background", "Creature", "Light", "Look", "Rendered", "augment", "render_clip"]
