"""How the bones of a rig usually turn, told from the rig alone: a network over its bones at rest that has seen many rigs move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bone_features import FEATURES, BonesAtRest
from .attention import JointBlock
from .skeleton_graph import EDGES, HOPS, skeleton_graph

_SHAPE = 6  # numbers of a triangular 3 x 3 matrix
_USUAL = (0.07, 0.02)  # radians before training: since the reference, and in a frame
_LEAST = (0.02, 0.01)  # radians that every bone turns
_WIDEST = 3.5  # logarithm of the most and the least that training makes of the usual
_ASKEW = 0.3


@dataclass(frozen=True)
class PriorConfig:
    """dim, head_dim: channels of a bone, and of a head of attention. layers: joint blocks."""

    dim: int = 48
    head_dim: int = 24
    layers: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PriorConfig:
        """Raises TypeError on an unknown field."""
        return cls(**values)


class MotionPrior(nn.Module):
    """Bones (B, A, features) with their graph to covariances (B, 2, A, 3, 3), in the body's axes, of their axis-angles against the carriers: since a
    reference, and in a 24th of a second. They are the scales of Student's t, of `freedom` (2,) degrees."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Sequential(nn.Linear(FEATURES, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, config.dim))
        self.blocks = nn.ModuleList(JointBlock(config.dim, config.head_dim, 0) for _ in range(config.layers))
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, config.dim), nn.GELU(), nn.Linear(config.dim, 2 * _SHAPE))
        self.freedom_log = nn.Parameter(torch.ones(2))

    @property
    def freedom(self) -> Tensor:
        return 2 + self.freedom_log.exp()

    def forward(self, features: Tensor, hop: Tensor, edge: Tensor, bones: Tensor) -> Tensor:
        """features (B, A, F), hop, edge (B, A, A), bones (B, A) which exist."""
        joints = self.enter(features)[:, None]
        for block in self.blocks:
            joints = block(joints, hop, edge, bones, None, None)
        answer = self.head(joints[:, 0]).float().unflatten(-1, (2, _SHAPE)).transpose(1, 2)
        usual = torch.tensor(_USUAL, device=answer.device)[:, None, None]
        root = torch.diag_embed(usual * answer[..., :3].clamp(-_WIDEST, _WIDEST).exp())
        root[..., [1, 2, 2], [0, 0, 1]] = _ASKEW * usual * answer[..., 3:]
        least = torch.tensor(_LEAST, device=answer.device).square()[:, None, None, None] * torch.eye(3, device=answer.device)
        return root @ root.transpose(-1, -2) + least


def padded(arrays: Sequence[np.ndarray], fill: int = 0) -> Tensor:
    """(B, …) arrays filled up to the largest of each axis."""
    whole = np.full((len(arrays), *np.max([a.shape for a in arrays], axis=0)), fill, arrays[0].dtype)
    for row, array in enumerate(arrays):
        whole[(row, *(slice(size) for size in array.shape))] = array
    return torch.from_numpy(whole)


def padded_graphs(above: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Hop and edge kinds (B, A, A) of skeletons of which `above` (A,) says what carries each bone."""
    hops, edges = zip(*(skeleton_graph(one) for one in above), strict=True)
    return padded(hops, HOPS - 1), padded(edges, EDGES - 1)


def prior_inputs(bodies: Sequence[BonesAtRest]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What MotionPrior reads of bodies, padded to the largest."""
    hop, edge = padded_graphs([body.above for body in bodies])
    return padded([body.features for body in bodies]), hop, edge, padded([np.ones(len(body.above), bool) for body in bodies])


@torch.inference_mode()
def usual_turns(model: MotionPrior, body: BonesAtRest) -> tuple[Tensor, Tensor]:
    """(A, 3, 3) float64 covariances of each bone's axis-angles in its carrier's axes: since a reference, and in a 24th of a second; as the body and as its
    mirror image tell."""
    twins = [body, body.mirrored()]
    found = model(*prior_inputs(twins)).double()
    told = sum(torch.from_numpy(twin.axes).transpose(-1, -2) @ found[row] @ torch.from_numpy(twin.axes) / 2 for row, twin in enumerate(twins))
    assert isinstance(told, Tensor)
    return told[0], told[1]
