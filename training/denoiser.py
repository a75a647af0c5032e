"""What a fitted motion more likely was: a network over the rig's bones and the frames, which has seen how fits err (cf. SmoothNet, Zeng et al. 2022).

A fit knows each frame's pictures and little of how bodies move. From the turns that it found, and how surely, this one tells
turns as they would have been; the picture is not looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..backend.axis_angles import exp_rotation
from ..backend.fit import Fitted
from ..backend.model.attention import JointBlock, zero_head
from ..backend.model.motion_prior import padded, padded_graphs
from ..backend.model.rotations import along_carriers, matrix_to_6d
from .data.shots import Tensors
from .evidence import Evidence, evidence_of
from .weights import WeightsFile

_FILE = WeightsFile("mocap_anything.denoiser.v1", "denoiser", "training train_denoiser")
_CORE = 128  # frames that a window answers for

_UNIT = 0.4  # radians a unit of the answer: in tenths it learns half as fast, in whole ones unevenly
_SOON = 0.02  # seconds after the reference from which answers count
_NEAR = 4.0  # places are told in quarters of the rig's size
_FEATURES = 54


@dataclass(frozen=True)
class DenoiserConfig:
    """dim, head_dim: channels of a bone, and of a head of attention. layers: joint blocks. time_window: frames to either side that one of them sees."""

    dim: int = 96
    head_dim: int = 24
    layers: int = 4
    time_window: int = 6

    @property
    def receptive_field(self) -> int:
        """Frames to either side of a frame that its answer depends on."""
        return self.layers * self.time_window + 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DenoiserConfig:
        """Raises TypeError on an unknown field."""
        return cls(**values)


@dataclass(eq=False)
class Fits(Tensors):
    """Evidence (training/evidence.py) of B fits, padded to A bones and T frames, with the skeleton's graph hop, edge (B, A, A); bones (B, A), frames (B, T)
    tell which exist."""

    times: Tensor
    above: Tensor
    turn: Tensor
    spread: Tensor
    error: Tensor
    head: Tensor
    vector: Tensor
    sight: Tensor
    hop: Tensor
    edge: Tensor
    bones: Tensor
    frames: Tensor


def whole_turns(turn: Tensor, above: Tensor) -> Tensor:
    """(B, T, A, 3, 3) turns since the reference of axis-angles (B, T, A, 3) against the carriers."""
    return along_carriers(exp_rotation(turn), above)


def places(whole: Tensor, x: Fits) -> Tensor:
    """(B, T, A, 3) heads that whole turns (B, T, A, 3, 3) give, sizes of the rig; roots stay."""
    along = (x.edge <= 1).to(whole.dtype)  # itself and what carries it
    return torch.einsum("bij,btja->btia", along, (_carriers(whole, x) @ _links(x)[:, None, ..., None])[..., 0])


def _links(x: Fits) -> Tensor:
    """(B, A, 3) from the carrier's head, in the reference; of roots their place."""
    index = x.above.clamp_min(0)[..., None].expand(x.head.shape)
    return torch.where((x.above >= 0)[..., None], x.head - x.head.gather(1, index), x.head)


def _carriers(whole: Tensor, x: Fits) -> Tensor:
    """(B, T, A, 3, 3) how far each bone's carrier has turned."""
    index = x.above.clamp_min(0)[:, None, :, None, None].expand(whole.shape)
    return torch.where((x.above >= 0)[:, None, :, None, None], whole.gather(2, index), torch.eye(3, device=whole.device))


class Denoiser(nn.Module):
    """Fits to axis-angles (B, T, A, 3) against the carriers, in the same axes; untrained it answers what it was given."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Sequential(nn.Linear(_FEATURES, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, config.dim))
        self.blocks = nn.ModuleList(JointBlock(config.dim, config.head_dim, config.time_window) for _ in range(config.layers))
        self.head = zero_head(config.dim, 4)

    def forward(self, x: Fits) -> Tensor:
        with torch.autocast(x.turn.device.type, enabled=False):  # half precision has not the digits for products of turns
            features = self.features(x)
        joints = self.enter(features)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.bones, x.times, x.frames)
        # at the reference nothing was fitted, and what the animator keyed is true
        answer = self.head(joints).float() * (_UNIT * (1 - torch.exp(-x.times.abs() / _SOON)))[..., None, None]
        turn = x.turn * (1 + answer[..., 3:]) + answer[..., :3]  # so much more of the turn, and a turn of its own
        return turn * x.bones[:, None, :, None]

    def features(self, x: Fits) -> Tensor:
        """(B, T, A, features), all of about one."""
        whole = whole_turns(x.turn, x.above)
        carrier, link = _carriers(whole, x), _links(x)
        rate = x.turn.diff(dim=1)
        still = torch.zeros_like(x.turn[:, :1])
        length, reach = (v.norm(dim=-1, keepdim=True).clamp_min(1e-3) for v in (x.vector, link))
        now = (whole @ (x.vector / length)[:, None, ..., None])[..., 0]
        trace = x.spread.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True).clamp_min(1e-8)
        shape = x.spread[..., [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] / trace
        at_rest = torch.cat([
            _NEAR * x.head, x.vector / length, length.log() + 2, link / reach, reach.log() + 2, (x.above < 0)[..., None].float(),
            (x.edge == 2).sum(-1, keepdim=True).float().add(1).log(),
        ], -1)[:, None].expand(-1, x.turn.shape[1], -1, -1)  # fmt: skip
        when = torch.stack([x.times.clamp(-1, 1), x.times.abs().clamp(max=1), torch.exp(-8 * x.times.abs())], -1)
        seen = torch.cat([when, x.sight], -1)[:, :, None].expand(-1, -1, x.turn.shape[2], -1)
        return torch.cat([
            5 * x.turn, 20 * torch.cat([still, rate], 1), 20 * torch.cat([rate, still], 1), shape, trace.log() / 2,
            matrix_to_6d(carrier), matrix_to_6d(whole), _NEAR * places(whole, x), now, (x.error.clamp_min(1e-3).log() + 3)[..., None], at_rest, seen,
        ], -1)  # fmt: skip


def fits_of(evidence: Sequence[Evidence]) -> Fits:
    """A batch, padded to the longest and the largest."""
    names = ("times", "turn", "spread", "error", "head", "vector", "sight")
    hop, edge = padded_graphs([e.above for e in evidence])
    return Fits(
        above=padded([e.above for e in evidence], -1), hop=hop, edge=edge,
        bones=padded([np.ones(len(e.above), bool) for e in evidence]), frames=padded([np.ones(len(e.times), bool) for e in evidence]),
        **{name: padded([getattr(e, name) for e in evidence]) for name in names},
    )  # fmt: skip


class Settler:
    """A denoiser as a fit asks it."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model

    def __call__(self, fitted: Fitted) -> Tensor:
        """(T, A, 3) axis-angles in the carriers' axes."""
        evidence = evidence_of(fitted)
        return torch.from_numpy(evidence.in_carriers(self.settled(evidence)))

    def settled(self, evidence: Evidence) -> np.ndarray:
        """(T, A, 3) axis-angles in the evidence's axes; a frame's answer does not depend on where windows begin."""
        frames, halo = len(evidence.times), self.model.config.receptive_field
        told = []
        for start in range(0, frames, _CORE):
            low, stop = max(start - halo, 0), min(start + _CORE, frames)
            with torch.inference_mode():
                answer = self.model(fits_of([evidence.part(slice(low, min(stop + halo, frames)))]))
            told.append(answer[0, start - low : stop - low].numpy())
        return np.concatenate(told)


def save_denoiser(model: Denoiser, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write weights in float16, with the config in the file's own metadata."""
    _FILE.save(model, model.config.to_dict(), path, metadata)


def load_denoiser(path: Path) -> Denoiser:
    """Read what save_denoiser wrote; raises CaptureError where the file is missing or another."""
    config, state = _FILE.read(path)
    model = Denoiser(DenoiserConfig.from_dict(config))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)
