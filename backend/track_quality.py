"""What 3D tracks of joints say about themselves: how noisy they are, and which joints travel apart from the bone that carries them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .ik_chain import Targets
from .rig import Rig

_LEAST_NOISE = 0.002  # share of the size: even true joints of a skinned rig hang together no better than that
_TRAVELS = 0.01  # of the size, a link's change in length that is not noise
_STANDS_OUT = 4.0  # times what links usually change


def _link_lengths(rig: Rig, targets: Targets) -> dict[int, np.ndarray]:
    """By bone, the known distances (N,) of its head to its carrier's head, share of the rig's size; bones with less than two are left out."""
    at = {int(bone): p for p, bone in enumerate(targets.bones) if np.linalg.norm(targets.offsets[p]) < 1e-9 * rig.size}
    lengths = {}
    for bone, carrier in enumerate(rig.carriers.tolist()):
        if carrier >= 0 and bone in at and carrier in at:
            length = np.linalg.norm(targets.positions[:, at[bone]] - targets.positions[:, at[carrier]], axis=-1) / rig.size
            length = length[np.isfinite(length)]
            if len(length) > 1:
                lengths[bone] = length
    return lengths


def link_changes(rig: Rig, targets: Targets) -> dict[int, float]:
    """By bone, how much the distance of its head to its carrier's head changes, share of the rig's size: the 90 % range over time."""
    return {bone: float(np.percentile(length, 95) - np.percentile(length, 5)) for bone, length in _link_lengths(rig, targets).items()}


def _standing_out(values: dict[int, float]) -> np.ndarray:
    """Bones whose value is neither noise nor what is usual."""
    limit = max(_TRAVELS, _STANDS_OUT * float(np.median(list(values.values())))) if values else np.inf
    return np.array([bone for bone, value in values.items() if value > limit], int)


def track_noise(rig: Rig, targets: Targets) -> float:
    """Expected error of a track, share of the rig's size, from how much links that should be rigid change in length."""
    changes = list(link_changes(rig, targets).values())
    # of two ends with error s each, a length's 90 % range is 2 x 1.645 x sqrt(2) s
    return max(_LEAST_NOISE, float(np.median(changes)) / 4.65) if changes else _LEAST_NOISE


def sort_tracks(rig: Rig, targets: Targets, reference: np.ndarray) -> tuple[Rig, Targets]:
    """The rig and the tracks as the solver should take them, by how links change in length, and differ from the reference pose (J, 4, 4).

    A keyed bone that travels by location keys (hips under a resting root, a hat that comes off) is carried by nothing: forcing it onto its
    carrier would turn everything between, so it gets its own location, as roots do, and where nothing shows its turn it keeps it (held-out
    clips: 8.5° against 9.6° when it turns with its carrier). Tracks of bones that are not keyed and travel (pole
    targets, IK handles) belong to no body and are left out; those that do not travel (the tip of a finger) show how their carriers stand.
    """
    heads = reference[:, :3, 3] / rig.size
    # all links differ where another subject was tracked: only what stands out is a joint that was moved
    differ = {bone: abs(float(np.median(length) - np.linalg.norm(heads[bone] - heads[rig.carriers[bone]])))
              for bone, length in _link_lengths(rig, targets).items()}
    loose = np.union1d(_standing_out(link_changes(rig, targets)), _standing_out(differ)).astype(int)
    carriers = rig.carriers.copy()
    carriers[loose[rig.driven[loose]]] = -1
    gone = np.isin(targets.bones, loose[~rig.driven[loose]])
    return replace(rig, carriers=carriers), replace(targets, positions=np.where(gone[:, None], np.nan, targets.positions))
