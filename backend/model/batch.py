"""What the network sees: references and frames as crops, the rig as points, all rotations as turns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class ModelInput:
    """B clips, N references (the first is the primary one), T frames, J driven bones, K points a bone (head, end, surface).

    Pixels are in crop units (0..1 from the crop's top left corner); xyz is in the view frame of its own crop, relative to the
    centroid of the valid heads, divided by the rig's size.

    ref_images (B, N, 3, S, S) and images (B, T, 3, S, S): 0..1. ref_masks (B, N, 1, S, S): the rig's silhouette.
    ref_uv (B, N, J, K, 2), ref_xyz (B, N, J, K, 3), ref_turn (B, N, J, 3, 3): orientation since the primary reference.
    rest_turn (B, J, 3, 3): the primary reference's orientation since the rest pose.
    point_mask (B, J, K), joint_mask (B, J): bool, what exists.
    carriers (B, J): index among the J bones, -1 for roots. hop (B, J, J): 0..HOPS-1 along carriers. edge (B, J, J): EDGES kinds.
    ref_times (B, N) seconds, NaN where the reference is not from the clip; times (B, T) seconds; frame_mask (B, T) bool.
    zoom (B, T): side of the frame's crop over that of the primary reference's, 1 where they are not of one camera.
    """

    ref_images: Tensor
    ref_masks: Tensor
    ref_uv: Tensor
    ref_xyz: Tensor
    ref_turn: Tensor
    rest_turn: Tensor
    point_mask: Tensor
    joint_mask: Tensor
    carriers: Tensor
    hop: Tensor
    edge: Tensor
    ref_times: Tensor
    images: Tensor
    times: Tensor
    frame_mask: Tensor
    zoom: Tensor

    def to(self, device: torch.device | str) -> ModelInput:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass
class ModelOutput:
    """uv (B, T, J, K, 2) crop units; heat (B, T, J, K, h*w) correlation logits; xyz (B, T, J, K, 3); log_error (B, T, J) natural
    log of the expected head error; turn (B, T, J, 3, 3) since the primary reference; start: the closed-form turn that
    pose2rot began from; mask_logits (B, T, h, w) the subject.
    """

    uv: Tensor
    heat: Tensor
    xyz: Tensor
    log_error: Tensor
    turn: Tensor
    start: Tensor
    mask_logits: Tensor
