"""pose2rot: from the points of each bone and their confidence to its turn since the reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..closed_form import turns_from_points
from .attention import JointBlock
from .batch import ModelInput
from .config import ModelConfig
from .rotations import along_carriers, matrix_from_6d, matrix_to_6d, relative_to_carrier
from .shapes import HEAD_SCALE, by_length, log_length


class Pose2Rot(nn.Module):
    """A closed-form start, shrunk by its expected error, and a learned correction that sees the whole skeleton and many frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.joint_dim
        geometry = 3 + 7 * (config.points - 1) + 7 + 3 * 6 + 1  # head, vectors now, then and their lengths, carried, three turns, error
        self.from_geometry = nn.Linear(geometry, dim)
        self.from_image = nn.Linear(dim, dim) if config.image_to_rot else None
        self.blocks = nn.ModuleList(JointBlock(dim, config.head_dim, config.time_window, config.attention) for _ in range(config.rot_layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 7))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def start(self, x: ModelInput, xyz: Tensor, log_error: Tensor) -> Tensor:
        """Closed-form turns (B, T, J, 3, 3), without gradient: they are an input, not a layer."""
        frames = xyz.shape[1]
        if not self.config.closed_form:
            return torch.eye(3, device=xyz.device).expand(*xyz.shape[:3], 3, 3)
        with torch.no_grad():
            ref = x.ref_xyz[:, :1]
            ref_vectors = (ref[..., 1:, :] - ref[..., :1, :]).expand(-1, frames, -1, -1, -1)
            now_vectors = xyz[..., 1:, :] - xyz[..., :1, :]
            weights = x.point_mask[:, None, :, 1:].expand(-1, frames, -1, -1).float()
            return turns_from_points(ref_vectors.float(), now_vectors.float(), weights, log_error.float().exp(), x.carriers)

    def forward(self, x: ModelInput, xyz: Tensor, log_error: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """xyz (B, T, J, K, 3), log_error (B, T, J), features (B, T, J, dim) or None to run from positions alone.

        Returns the turns (B, T, J, 3, 3) and the closed-form start.
        """
        frames = xyz.shape[1]
        start = self.start(x, xyz, log_error)
        mask = x.point_mask[:, None, :, 1:, None]
        head, ref_head = xyz[..., 0, :], x.ref_xyz[:, :1, :, 0]
        then = x.ref_xyz[:, :1, :, 1:] - ref_head[..., None, :]
        now = by_length(xyz[..., 1:, :] - head[..., None, :], then) * mask
        ref = (torch.cat([by_length(then, then), log_length(then)], -1) * mask).expand(-1, frames, -1, -1, -1)
        index = x.carriers.clamp_min(0)[:, None, :, None].expand(-1, frames, -1, 3)
        linked = (x.carriers >= 0)[:, None, :, None]
        ref_carried = (ref_head - ref_head.gather(2, index[:, :1])) * linked
        carried = by_length((head - head.gather(2, index)) * linked, ref_carried)
        ref_carried = torch.cat([by_length(ref_carried, ref_carried), log_length(ref_carried)], -1).expand(-1, frames, -1, -1)
        start6 = matrix_to_6d(start)
        rest6 = matrix_to_6d(x.rest_turn)[:, None].expand(-1, frames, -1, -1)
        carrier6 = start6.gather(2, x.carriers.clamp_min(0)[:, None, :, None].expand(-1, frames, -1, 6)) * linked
        parts = [head * HEAD_SCALE, now.flatten(3), ref.flatten(3), carried, ref_carried, start6, rest6, carrier6, log_error[..., None] + 3]
        geometry = torch.cat(parts, -1)
        joints = self.from_geometry(geometry)
        if self.from_image is not None and features is not None:
            joints = joints + self.from_image(features)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask)
        return self._turn(x, start, self.head(joints).float()), start

    def _turn(self, x: ModelInput, start: Tensor, answer: Tensor) -> Tensor:
        """Turns from the start and the head's (B, T, J, 7): a correction as 6D, and how much of the start is believed."""
        base = relative_to_carrier(start, x.carriers) if self.config.carried else start
        still = torch.tensor([1.0, 0, 0, 0, 1, 0], device=base.device)
        turn = matrix_from_6d(torch.lerp(still, matrix_to_6d(base), answer[..., 6:].sigmoid()) + answer[..., :6])
        return along_carriers(turn, x.carriers) if self.config.carried else turn
