"""video2pose2rot: the two stages as one network, and its parts for streaming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..calibration import Calibration
from .batch import ModelInput, ModelOutput
from .config import ModelConfig
from .encoder import ImageEncoder
from .pose2rot import Pose2Rot
from .prompts import FineMap, References
from .video2pose import Found, Match, Video2Pose, local_modes

_READ = 8  # frames whose maps are there at once


@dataclass
class ReferenceState:
    """What the references leave behind: computed once a capture, seen by every window.

    source (B, N·L, C) normalised tokens; samples (B, N, J, K, c); prompts (B, N, J, dim).
    """

    source: Tensor
    samples: Tensor
    prompts: Tensor


class Answer(NamedTuple):
    """Of T frames: turn (T, J, 3, 3), uv (T, J, K, 2), log_error (T, J) as in ModelOutput; certainty (T, J, K) how surely each point was found; places
    (T, J, K, M, 2) and chances (T, J, K, M) of where else it may be, nowhere for points that do not exist."""

    turn: Tensor
    uv: Tensor
    log_error: Tensor
    certainty: Tensor
    places: Tensor
    chances: Tensor


class Video2Pose2Rot(nn.Module):
    """MoCapAnything V2's two stages, with turns since the reference and features sampled from the reference image."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.calibration = Calibration()  # no weight: how its own expected errors are to be read
        self.encoder = ImageEncoder(config)
        self.appearance = FineMap(config)
        self.references = References(config)
        self.match = Match(config)
        self.video2pose = Video2Pose(config)
        self.pose2rot = Pose2Rot(config)

    def encode_references(self, x: ModelInput) -> ReferenceState:
        tokens, fine = self.encoder(x.ref_images.flatten(0, 1))
        return ReferenceState(*self.references(x, tokens, self.appearance(fine, tokens)))

    def encode_frames(self, images: Tensor, state: ReferenceState) -> tuple[Tensor, Tensor, Tensor]:
        """images (B, T, 3, S, S) to tokens (B, T, L, C), fine maps (B, T, 2c, h, w) and mask logits (B, T, h, w); frame by frame independent."""
        frames = images.shape[1]
        tokens, fine = self.encoder(images.flatten(0, 1))
        alike = self.appearance(fine, tokens)
        tokens, known, mask = self.match(tokens, fine, state.source, frames)
        fine_map = torch.cat([alike, known.to(alike.dtype)], 1)
        return tokens, fine_map.unflatten(0, images.shape[:2]), mask

    def decode(self, x: ModelInput, state: ReferenceState, tokens: Tensor, fine_map: Tensor, core: slice, modes: int, turns: bool) -> Answer:
        """The joints' side over a window of encoded frames of one clip, told for those of `core` alone; the others are what their answers depend on.

        x.images is not looked at. Maps of all points are large: they are read a few frames at a time, and not kept. turns: whether rotations are wanted too,
        else none turns.
        """
        pose, shown, frames = self.video2pose, x.point_mask[0], tokens.shape[1]
        joints = pose.gather(x, tokens, state.prompts)
        places: list[Tensor] = []
        chances: list[Tensor] = []
        uv, certainty = [], []
        for start in range(0, frames, _READ):
            stop = min(start + _READ, frames)
            read = pose.read_out(joints[:, start:stop], state.samples[:, 0], fine_map[0, start:stop])
            uv.append(read[1])
            certainty.append(read[2])
            told = read[0][0, max(core.start - start, 0) : max(core.stop - start, 0)]
            if not len(told):
                continue
            for kept, value in zip((places, chances), local_modes(told[:, shown], fine_map.shape[-1], modes), strict=True):
                whole = value.new_zeros(*told.shape[:3], *value.shape[2:])
                whole[:, shown] = value
                kept.append(whole)
        found = Found(tokens.new_empty(0), torch.cat(uv, 1), torch.cat(certainty, 1), joints)
        told_uv, xyz, log_error, features = pose(x, found, fine_map[0])
        turn = self.pose2rot(x, xyz, log_error, features)[0] if turns else torch.eye(3, device=xyz.device).expand(*xyz.shape[:3], 3, 3)
        turn, told_uv, log_error, sure = (part[0, core] for part in (turn, told_uv, log_error, found.certainty[..., 0]))
        return Answer(turn, told_uv, log_error, sure, torch.cat(places), torch.cat(chances))

    def locate(self, x: ModelInput, state: ReferenceState, tokens: Tensor, fine_map: Tensor) -> tuple[Tensor, Tensor]:
        """Following: uv (B, T, J, K, 2) and the probability (B, T, J, K) near it, over a window of encoded frames, without rotations."""
        flat = fine_map.flatten(0, 1)
        found = self.video2pose.find(x, tokens, flat, state.samples, state.prompts)
        return self.video2pose(x, found, flat)[0], found.certainty[..., 0]

    def find(self, x: ModelInput) -> tuple[Found, Tensor, Tensor]:
        """Training: matching alone, with the fine maps (B·T, 2c, h, w) and mask logits (B, T, h, w)."""
        state = self.encode_references(x)
        tokens, fine_map, mask = self.encode_frames(x.images, state)
        flat = fine_map.flatten(0, 1)
        return self.video2pose.find(x, tokens, flat, state.samples, state.prompts), flat, mask

    def from_tracks(self, x: ModelInput, uv: Tensor, certainty: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lifting and pose2rot from 2D tracks alone, without a picture: uv, certainty (B, T, J, K, 2) to xyz, log_error and turn."""
        xyz, _, log_error, joints = self.video2pose.lift(x, uv, certainty, None)
        return xyz, log_error, self.pose2rot(x, xyz, log_error.detach(), joints)[0]

    def forward(self, x: ModelInput, given: Tensor | None = None, given_share: Tensor | None = None, drop_features: bool = False) -> ModelOutput:
        """Training: positions `given` (B, T, J, K, 3) replace the predicted ones in pose2rot for clips where given_share (B,) is True."""
        found, fine_map, mask = self.find(x)
        uv, xyz, log_error, features = self.video2pose(x, found, fine_map)
        points = xyz
        if given is not None and given_share is not None:
            points = torch.where(given_share[:, None, None, None, None], given, xyz)
        turn, start = self.pose2rot(x, points, log_error.detach(), None if drop_features else features)
        return ModelOutput(uv, found.heat, xyz, log_error, turn, start, mask)
