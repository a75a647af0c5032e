"""Numbers to watch while training, each beside holding the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from ..backend.model.batch import ModelInput, ModelOutput
from ..backend.model.network import Video2Pose2Rot
from ..backend.model.rotations import geodesic, relative_to_carrier
from .data.sample import Truth

_MOVES = 1.0  # degrees: bones that stay closer to the reference in the whole clip are not counted


def _rotation_error(turn: Tensor, truth: Truth, x: ModelInput) -> float:
    """Mean parent-local error in degrees over the bones that move in the clip; turn (B, T, J, 3, 3)."""
    local = relative_to_carrier(truth.turn, x.carriers)
    moved = torch.rad2deg(geodesic(torch.eye(3, device=local.device).expand_as(local), local)).amax(1, keepdim=True) >= _MOVES
    counted = (moved & x.joint_mask[:, None]).expand(local.shape[:3])
    return float(torch.rad2deg(geodesic(relative_to_carrier(turn, x.carriers), local))[counted].mean())


def _distance(xyz: Tensor, truth: Truth, x: ModelInput) -> float:
    """Mean error (share of the rig's size) of head positions (B, T, J, 3)."""
    return float((xyz - truth.xyz[..., 0, :]).norm(dim=-1)[x.joint_mask[:, None].expand(xyz.shape[:3])].mean())


def _held(truth: Truth, x: ModelInput) -> dict[str, float]:
    return {"hold_xyz": _distance(x.ref_xyz[:, :1, :, 0].expand_as(truth.xyz[..., 0, :]), truth, x),
            "hold_local": _rotation_error(torch.eye(3, device=truth.turn.device).expand_as(truth.turn), truth, x)}


@torch.no_grad()
def clip_metrics(out: ModelOutput, truth: Truth, x: ModelInput) -> dict[str, float]:
    """PCK at 0.05/0.1 of the crop, 3D error, rotation errors."""
    joints = x.joint_mask[:, None].expand(-1, truth.turn.shape[1], -1)
    seen = joints & ((truth.uv[..., 0, :] > 0) & (truth.uv[..., 0, :] < 1)).all(-1)
    hold_uv = x.ref_uv[:, :1, :, 0].expand(-1, truth.uv.shape[1], -1, -1)
    error = (out.uv[..., 0, :] - truth.uv[..., 0, :]).norm(dim=-1)[seen]
    hold = (hold_uv - truth.uv[..., 0, :]).norm(dim=-1)[seen]
    return {
        "pck05": float((error < 0.05).float().mean()), "pck10": float((error < 0.1).float().mean()), "hold_pck10": float((hold < 0.1).float().mean()),
        "uv": float(error.mean()), "hold_uv": float(hold.mean()), "xyz": _distance(out.xyz[..., 0, :], truth, x),
        "local": _rotation_error(out.turn, truth, x), "start_local": _rotation_error(out.start, truth, x),
    } | _held(truth, x)


@torch.no_grad()
def motion_metrics(model: Video2Pose2Rot, truth: Truth, x: ModelInput) -> dict[str, float]:
    """Lifting and pose2rot from true tracks and from tracks with 1 % noise, pose2rot from true positions and with 2 % noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(truth.xyz.shape, generator=generator).to(truth.xyz.device)
    rows: dict[str, float] = {}
    for name, sigma in (("true", 0.0), ("noisy", 0.01)):
        uv = truth.uv.clamp(-1, 2) + sigma * noise[..., :2]
        xyz, _, turn = model.from_tracks(x, uv, torch.full_like(uv, 0.7))
        rows |= {f"tracks_{name}_xyz": _distance(xyz[..., 0, :], truth, x), f"tracks_{name}_local": _rotation_error(turn, truth, x)}
    for name, sigma in (("true", 0.0), ("noisy", 0.02)):
        log_error = torch.full(truth.xyz.shape[:3], max(sigma, 0.002), device=truth.xyz.device).log()
        turn, start = model.pose2rot(x, truth.xyz + sigma * noise, log_error, None)
        rows |= {f"points_{name}_local": _rotation_error(turn, truth, x), f"points_{name}_start": _rotation_error(start, truth, x)}
    return rows | {f"motion_{name}": value for name, value in _held(truth, x).items()}
