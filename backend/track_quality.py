"""What 3D tracks of joints say about themselves: how noisy they are, and which joints travel apart from the bone that carries them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .inverse_kinematics import Targets
from .rig import Rig

_LEAST_NOISE = 0.002  # share of the size: even true joints of a skinned rig hang together no better than that
_TRAVELS = 0.01  # of the size, a link's change in length that is not noise
_STANDS_OUT = 4.0  # times what links usually change


def link_changes(rig: Rig, targets: Targets) -> dict[int, float]:
    """By bone, how much the distance of its head to its carrier's head changes, share of the rig's size: the 90 % range over time.

    Only links of which both heads are tracked together in two frames or more.
    """
    at = {int(bone): p for p, bone in enumerate(targets.bones) if np.linalg.norm(targets.offsets[p]) < 1e-9 * rig.size}
    changes = {}
    for bone, carrier in enumerate(rig.carriers.tolist()):
        if carrier >= 0 and bone in at and carrier in at:
            length = np.linalg.norm(targets.positions[:, at[bone]] - targets.positions[:, at[carrier]], axis=-1)
            length = length[np.isfinite(length)]
            if len(length) > 1:
                changes[bone] = float(np.percentile(length, 95) - np.percentile(length, 5)) / rig.size
    return changes


def track_noise(rig: Rig, targets: Targets) -> float:
    """Expected error of a track, share of the rig's size, from how much links that should be rigid change in length."""
    changes = list(link_changes(rig, targets).values())
    # of two ends with error s each, a length's 90 % range is 2 x 1.645 x sqrt(2) s
    return max(_LEAST_NOISE, float(np.median(changes)) / 4.65) if changes else _LEAST_NOISE


def sort_tracks(rig: Rig, targets: Targets) -> tuple[Rig, Targets]:
    """The rig and the tracks as the solver should take them, by how links change in length.

    A keyed bone that travels by location keys (hips under a resting root, a hat that comes off) is carried by nothing: forcing it onto its
    carrier would turn everything between, so it gets its own location, as roots do, and where nothing shows its turn it keeps it (held-out
    clips: 8.5° against 9.6° when it turns with its carrier). Tracks of bones that are not keyed and travel (pole
    targets, IK handles) belong to no body and are left out; those that do not travel (the tip of a finger) show how their carriers stand.
    """
    changes = link_changes(rig, targets)
    limit = max(_TRAVELS, _STANDS_OUT * float(np.median(list(changes.values())))) if changes else np.inf
    loose = np.array([bone for bone, change in changes.items() if change > limit], int)
    carriers = rig.carriers.copy()
    carriers[loose[rig.driven[loose]]] = -1
    gone = np.isin(targets.bones, loose[~rig.driven[loose]])
    return replace(rig, carriers=carriers), replace(targets, positions=np.where(gone[:, None], np.nan, targets.positions))
