"""Batches of how bones turned in clips, for the motion prior: between a reference and other frames, and from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...backend.axis_angles import log_rotation
from ...backend.bone_features import BonesAtRest, bones_at_rest
from ...backend.carriers import descendants
from ...backend.kinematics import bone_rotations
from ...backend.model.motion_prior import padded, prior_inputs
from ...backend.moves import FRAME, against_carriers
from ...backend.rig import Rig
from .asset import Asset, AssetClip
from .shots import ShotStream, Tensors

_NEARBY = (0.3, 2.5)  # seconds to either side of the reference
_MIDDLE = 0.5  # references in the middle of their clip
_YAW = 0.12  # radians by which bodies are not quite taken to face ahead
_STRETCH = 0.2  # logarithm of other proportions
_NAMELESS = 0.4  # of rigs whose names are not told
_MOST_BONES = 120
_SKINNED = 0.02  # weight from which skin counts


@dataclass(frozen=True)
class TurnConfig:
    """As ShotConfig; shots: clips a batch; turns: of each kind, a clip."""

    seed: int = 0
    shots: int = 8
    turns: int = 16
    baked_share: float = 0.75


@dataclass
class TurnBatch(Tensors):
    """What the prior reads (features, hop, edge, bones) and what it should expect: turns (B, 2, S, A, 3), axis-angles in the body's axes since a reference
    and in a 24th of a second."""

    features: Tensor
    hop: Tensor
    edge: Tensor
    bones: Tensor
    turns: Tensor


def moving_bones(rig: Rig) -> np.ndarray:
    """Driven bones that carry skin, or bones that do."""
    skinned = np.zeros(len(rig), bool)
    if rig.mesh is not None:
        skinned[rig.mesh.bones[rig.mesh.weights > _SKINNED]] = True
    return np.flatnonzero(rig.driven & descendants(rig.carriers)[:, skinned].any(1))


@lru_cache(maxsize=512)
def _bones_of(asset: Asset) -> tuple[np.ndarray, BonesAtRest]:
    active = moving_bones(asset.rig)
    return active, bones_at_rest(asset.rig, active, np.asarray(asset.up))


def turns_of(rng: np.random.Generator, rig: Rig, active: np.ndarray, clip: AssetClip, count: int) -> np.ndarray:
    """(2, count, A, 3) axis-angles in the carriers' axes around some frame of a clip: since that frame, and in a 24th of a second."""
    frames, every = len(clip.pose), max(1, round(FRAME * clip.fps))
    middle = frames // 2 if rng.random() < _MIDDLE else int(rng.integers(frames))
    span = int(rng.uniform(*_NEARBY) * clip.fps)
    low, high = max(middle - span, 0), min(middle + span + 1, frames)
    begin = rng.integers(low, max(high - every, low + 1), count)
    rows = np.concatenate([[middle], rng.integers(low, high, count), begin, np.minimum(begin + every, frames - 1)])
    turned = torch.from_numpy(against_carriers(rig, active, bone_rotations(clip.pose[rows].astype(np.float64))))
    since = log_rotation(turned[1 : count + 1] @ turned[:1].transpose(-1, -2))
    step = log_rotation(turned[-count:] @ turned[count + 1 : -count].transpose(-1, -2)) * (FRAME * clip.fps / every)
    return torch.stack([since, step]).numpy()


def another(rng: np.random.Generator, body: BonesAtRest) -> BonesAtRest:
    """The body with other proportions, facing a little aside, half of the time its mirror image, and some of the time without names."""
    link = body.link * np.exp(rng.normal(0, _STRETCH, (len(body.above), 1)))
    head = np.where((body.above < 0)[:, None], body.head, 0.0)
    for bone in np.argsort(body.depth, kind="stable"):
        if body.above[bone] >= 0:
            head[bone] = head[body.above[bone]] + link[bone]
    vector = body.vector * np.exp(rng.normal(0, _STRETCH, (len(body.above), 1)))
    said = body.said * (rng.random() >= _NAMELESS)
    yaw = rng.normal(0, _YAW)
    place = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    changed = replace(body, head=head - head.mean(0), vector=vector, said=said).placed(place)
    return changed.mirrored() if rng.random() < 0.5 else changed


class TurnStream(ShotStream[TurnConfig, TurnBatch]):
    """See ShotStream."""

    kind = 6
    varies = True

    def batch(self, rng: np.random.Generator, pool: list[Asset]) -> TurnBatch:
        bodies: list[BonesAtRest] = []
        turns: list[np.ndarray] = []
        while len(bodies) < self.config.shots:
            asset = self.pick(rng, pool)
            active, body = _bones_of(asset)
            if not 0 < len(active) <= _MOST_BONES:
                continue
            clip = asset.clips[rng.integers(len(asset.clips))]
            body = another(rng, body) if self.varies else body
            bodies.append(body)
            done = turns_of(rng, asset.rig, active, clip, self.config.turns)
            turns.append(np.einsum("jab,stjb->stja", body.axes, done).astype(np.float32))
        return TurnBatch(*prior_inputs(bodies), padded(turns))


class PlainTurnStream(TurnStream):
    """Of bodies as they are, to validate."""

    varies = False
