"""Lifting: from where every point was found in the picture to where it is in space, along the rig's own bones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import JointBlock, zero_head
from .batch import ModelInput
from .config import ModelConfig
from .rotations import matrix_to_6d
from .shapes import HEAD_SCALE, MOVE_SCALE, by_length, lengths, linked, log_length, spokes

_LEAST = 0.02  # of the rig's size: shorter links still may move this far a unit of the network
_ROOT = 0.2  # what a root's own offset counts, of the rig's size


def _centred(values: Tensor, heads: Tensor, x: ModelInput) -> Tensor:
    """values (B, T, J, K, c) less the mean of the existing heads (B, T, J, c)."""
    mask = x.joint_mask[:, None, :, None].to(heads.dtype)
    return values - ((heads * mask).sum(2) / mask.sum(2).clamp_min(1))[:, :, None, None]


def plane_positions(x: ModelInput, uv: Tensor, trust: Tensor, log_zoom: Tensor | None = None) -> Tensor:
    """xy (B, T, J, K, 2) over the rig's size that a weak perspective camera gives for uv (B, T, J, K, 2).

    The reference tells how large the subject is in its crop, `zoom` how much wider the frame's crop is, log_zoom (B, T) how much farther
    away the subject is now; the origin is where the heads, weighed by trust (B, T, J), lie round their reference on average.
    """
    mask = x.joint_mask[:, None, :, None].float()
    ref_uv, ref_xy = x.ref_uv[:, :1, :, 0], x.ref_xyz[:, :1, :, 0, :2]
    spread = (ref_uv - (ref_uv * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp_min(1)) * mask
    scale = ((spread * ref_xy).sum((2, 3)) / spread.square().sum((2, 3)).clamp_min(1e-4)).clamp(0.2, 5)
    scale = scale * x.zoom * (1 if log_zoom is None else log_zoom.exp())
    weight = trust[..., None] * mask + 1e-6
    flat = uv * scale[:, :, None, None, None]
    centre = ((flat[..., 0, :] - ref_xy) * weight).sum(2) / weight.sum(2)
    return flat - centre[:, :, None, None]


class Lift(nn.Module):
    """Points in the picture to points in space.

    Depth is spoken of bone by bone, in lengths of the bone and its link to its carrier, and summed up along the skeleton: how a bone
    tilts is seen where the bone is, whatever rig it belongs to. Across the picture a learned gate chooses between what was found and
    what the skeleton says.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, self.points = config.joint_dim, config.points
        # head, vectors and their lengths, link and its length, rest turn, as the reference has them
        self.from_geometry = nn.Sequential(nn.Linear(3 + 4 * self.points + 6, dim), nn.GELU(), nn.Linear(dim, dim))
        self.from_tracks = nn.Linear(self.points * 11, dim)
        self.from_image = nn.Linear(dim + 2 * config.fine_dim * self.points, dim)
        nn.init.zeros_(self.from_image.weight)  # lifting is learned without pictures first, and must not be disturbed when they come
        self.blocks = nn.ModuleList(JointBlock(dim, config.head_dim, config.time_window, config.attention) for _ in range(config.lift_layers))
        self.head = zero_head(dim, self.points * 6 + 2)

    def _geometry(self, x: ModelInput) -> Tensor:
        """The primary reference's pose (B, 1, J, geometry), as points and a turn, never as the bone's own axes."""
        head, then = x.ref_xyz[:, :1, :, 0], spokes(x, x.ref_xyz[:, :1])
        shown = x.point_mask[:, None, ..., None]
        pose = torch.cat([by_length(then, then), log_length(then)], -1) * shown
        return torch.cat([head * HEAD_SCALE, pose.flatten(3), matrix_to_6d(x.rest_turn)[:, None]], -1)

    def _foreshortened(self, x: ModelInput, plane: Tensor) -> Tensor:
        """(B, T, J, K, 5): each spoke as seen, in units of its length in space, the depth that this leaves it on the side where it was in
        the reference, its depth then, and how much of it is seen."""
        ref = spokes(x, x.ref_xyz[:, :1])
        seen = spokes(x, plane)
        seen = by_length(torch.cat([seen, torch.zeros_like(seen[..., :1])], -1), ref)[..., :2]
        share = seen.square().sum(-1, keepdim=True)
        then = by_length(ref, ref)[..., 2:].expand(share.shape)
        left = (1 - share).clamp_min(0).sqrt() * then.sign()
        return torch.cat([seen, left, then, share], -1)

    def _place(self, x: ModelInput, plane: Tensor, gate: Tensor, offset: Tensor) -> Tensor:
        """xyz (B, T, J, K, 3) of offsets (B, T, J, K, 3) in lengths, and of xy in the plane where the gate (B, T, J, K) is open."""
        ref_head = x.ref_xyz[:, :1, :, 0]
        vectors = x.ref_xyz[:, :1, :, 1:] - ref_head[..., None, :]
        length = torch.where((x.carriers >= 0)[:, None, :, None], lengths(linked(x, ref_head)).clamp_min(_LEAST), _ROOT)
        along = (x.edge <= 1).to(offset.dtype)  # itself and what carries it
        head = ref_head + torch.einsum("bij,btjc->btic", along, offset[..., 0, :] * length)
        head = self._gated(_centred(head[..., None, :], head, x), plane[..., :1, :], gate[..., :1])
        rest = head + vectors + offset[..., 1:, :] * lengths(vectors).clamp_min(_LEAST)
        rest = self._gated(rest, plane[..., 1:, :], gate[..., 1:])
        return _centred(torch.cat([head, rest], -2), head[..., 0, :], x)

    @staticmethod
    def _gated(xyz: Tensor, plane: Tensor, gate: Tensor) -> Tensor:
        return torch.cat([torch.lerp(xyz[..., :2], plane, gate[..., None]), xyz[..., 2:]], -1)

    def forward(self, x: ModelInput, uv: Tensor, certainty: Tensor, image: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uv, certainty (B, T, J, K, 2); image (B, T, J, dim + K·2c): what the joint gathered and what stands where it was found, or None.

        Returns xyz (B, T, J, K, 3), a correction of uv, the log of the expected head error (B, T, J) and the joint features.
        """
        trust = certainty[..., 0, 0].float()
        plane = plane_positions(x, uv, trust)
        moved = (uv - x.ref_uv[:, :1]) * MOVE_SCALE
        tracks = torch.cat([uv * 4 - 2, moved, certainty, self._foreshortened(x, plane)], -1) * x.point_mask[:, None, ..., None]
        joints = self.from_geometry(self._geometry(x)) + self.from_tracks(tracks.flatten(3))
        if image is not None:
            joints = joints + self.from_image(image)
        for block in self.blocks:
            joints = block(joints, x.hop, x.edge, x.joint_mask, x.times, x.frame_mask)
        out = self.head(joints).float()
        offset, shift, gate, log_zoom, log_error = out.split([self.points * 3, self.points * 2, self.points, 1, 1], -1)
        mask = x.joint_mask[:, None, :, None]
        log_zoom = (log_zoom * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)
        shift, gate = shift.unflatten(-1, (self.points, 2)), gate.sigmoid()
        plane = plane_positions(x, uv + shift, gate[..., 0], log_zoom)
        xyz = self._place(x, plane, gate, offset.unflatten(-1, (self.points, 3)))
        return xyz, shift, log_error[..., 0] - 3.0, joints
