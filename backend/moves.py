"""What a rig did in an action: arrays alone, so that the extension can read them without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rig import Rig

FRAME = 1 / 24  # seconds, in which bones' pace is told


@dataclass(frozen=True, eq=False)
class Moves:
    """name: of the action. rotations (N, J, 3, 3): of a rig's bones, armature frame, at some times; after (N, J, 3, 3): a `FRAME` later; keyed (J,): whether
    the action says anything of a bone; body: another body that did it (see library.py), or nothing."""

    name: str
    rotations: np.ndarray
    after: np.ndarray
    keyed: np.ndarray
    body: str = ""


def against_carriers(rig: Rig, bones: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(T, A, 3, 3) rotations of some bones (A,) in their carriers' axes, of orientations (T, J, 3, 3)."""
    carriers, rotations = rig.carriers[bones], np.asarray(rotations, np.float64)
    above = np.where((carriers >= 0)[:, None, None], rotations[:, carriers], np.eye(3))
    return np.swapaxes(above, -1, -2) @ rotations[:, bones]
