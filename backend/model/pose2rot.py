"""pose2rot: from the points of each bone and their confidence to its turn since the reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..closed_form import turns_from_points
from .attention import JointBlock, zero_head
from .batch import ModelInput
from .config import ModelConfig
from .rotations import along_carriers, matrix_from_6d, matrix_to_6d, relative_to_carrier
from .shapes import HEAD_SCALE, by_length, log_length, spokes

_SHARP = 0.25  # the second start believes the points this much more than their expected error says


def _turned(then: Tensor, now: Tensor) -> Tensor:
    """(…, 4) of vectors (…, 3) in the same unit: their cross product, which is the axis times the sine of the turn, and their dot product."""
    then = then.expand_as(now)
    return torch.cat([torch.linalg.cross(then, now), (then * now).sum(-1, keepdim=True)], -1)


class Pose2Rot(nn.Module):
    """Closed-form starts, shrunk by their expected error, and a learned choice and correction that see the whole skeleton and many frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.joint_dim
        # head, error; spokes now, their turn, their turn since the carrier's, then and their lengths; rest, two starts, the carrier's
        geometry = 4 + config.points * (3 + 4 + 4 + 4) + 4 * 6
        self.from_geometry = nn.Sequential(nn.Linear(geometry, dim), nn.GELU(), nn.Linear(dim, dim))
        self.from_image = nn.Linear(dim, dim) if config.image_to_rot else None
        self.blocks = nn.ModuleList(JointBlock(dim, config.head_dim, config.time_window, config.attention) for _ in range(config.rot_layers))
        self.head = zero_head(dim, 9)

    def starts(self, x: ModelInput, xyz: Tensor, log_error: Tensor) -> tuple[Tensor, Tensor]:
        """Closed-form turns (B, T, J, 3, 3), as careful as the error says and bolder, without gradient: they are an input, not a layer."""
        frames = xyz.shape[1]
        if not self.config.closed_form:
            still = torch.eye(3, device=xyz.device).expand(*xyz.shape[:3], 3, 3)
            return still, still
        with torch.no_grad():
            ref = x.ref_xyz[:, :1]
            ref_vectors = (ref[..., 1:, :] - ref[..., :1, :]).expand(-1, frames, -1, -1, -1).float()
            now_vectors = (xyz[..., 1:, :] - xyz[..., :1, :]).float()
            weights = x.point_mask[:, None, :, 1:].expand(-1, frames, -1, -1).float()
            error = log_error.float().exp()
            careful, bold = (turns_from_points(ref_vectors, now_vectors, weights, error * part, x.carriers) for part in (1.0, _SHARP))
            return careful, bold

    def _geometry(self, x: ModelInput, xyz: Tensor, log_error: Tensor, careful: Tensor, bold: Tensor) -> Tensor:
        """(B, T, J, geometry) of positions (B, T, J, K, 3), each vector in units of its length in the reference."""
        frames = xyz.shape[1]
        linked = (x.carriers >= 0)[:, None, :, None]
        shown = x.point_mask[:, None, ..., None]
        index = x.carriers.clamp_min(0)[:, None, :, None].expand(-1, frames, -1, 6)
        then = spokes(x, x.ref_xyz[:, :1])
        now, unit = by_length(spokes(x, xyz), then) * shown, by_length(then, then) * shown
        carrier6 = matrix_to_6d(careful).gather(2, index) * linked
        carrier = careful.gather(2, x.carriers.clamp_min(0)[:, None, :, None, None].expand(-1, frames, -1, 3, 3))
        with torch.autocast(xyz.device.type, enabled=False):
            since = torch.where(linked[..., None], (now.float() @ carrier), now.float())  # Cᵀ v, written for rows
        ref = torch.cat([unit, log_length(then) * shown], -1).expand(-1, frames, -1, -1, -1)
        turned = torch.cat([now, _turned(unit, now), _turned(unit, since), ref], -1).flatten(3)
        rest6 = matrix_to_6d(x.rest_turn)[:, None].expand(-1, frames, -1, -1)
        head = xyz[..., 0, :] * HEAD_SCALE
        return torch.cat([head, log_error[..., None] + 3, turned, rest6, matrix_to_6d(careful), matrix_to_6d(bold), carrier6], -1)

    def forward(self, x: ModelInput, xyz: Tensor, log_error: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """xyz (B, T, J, K, 3), log_error (B, T, J), features (B, T, J, dim) or None to run from positions alone.

        Returns the turns (B, T, J, 3, 3) and the careful closed-form start.
        """
        careful, bold = self.starts(x, xyz, log_error)
        joints = self.from_geometry(self._geometry(x, xyz, log_error, careful, bold))
        if self.from_image is not None and features is not None:
            joints = joints + self.from_image(features)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask)
        return self._turn(x, careful, bold, self.head(joints).float()), careful

    def _turn(self, x: ModelInput, careful: Tensor, bold: Tensor, answer: Tensor) -> Tensor:
        """Turns from the head's (B, T, J, 9): a correction as 6D, and how much standing still and each start is believed."""
        still = torch.eye(3, device=careful.device).expand_as(careful)
        start = matrix_to_6d(still)
        if self.config.since_reference:
            if self.config.carried:
                careful, bold = relative_to_carrier(careful, x.carriers), relative_to_carrier(bold, x.carriers)
            choices = torch.stack([start, matrix_to_6d(careful), matrix_to_6d(bold)], -1)
            start = (choices * answer[..., None, 6:].softmax(-1)).sum(-1)
        turn = matrix_from_6d(start + answer[..., :6])
        turn = along_carriers(turn, x.carriers) if self.config.carried else turn
        return turn if self.config.since_reference else turn @ x.rest_turn[:, None].transpose(-1, -2)
