"""Training of the V1 baseline with V2's own trainer, on V2's own stream: the same clips, the same budget."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ..data.stream import Batch, StreamConfig
from ..train import TrainConfig, Trainer
from .config import V1Config
from .network import MoCapV1, V1Output, save_v1
from .video2mesh import chamfer


@dataclass(frozen=True)
class V1TrainConfig(TrainConfig):
    """As V2's, with the baseline's sizes. given_share: clips whose joints are told from the true mesh, at the start and in the end."""

    v1: V1Config = field(default_factory=V1Config)
    given_share: tuple[float, float] = (1.0, 0.3)
    given_steps: int = 1000


def v1_config(stream: StreamConfig, v1: V1Config | None = None) -> V1TrainConfig:
    """The stream as V1 needs it: with the rig's own skin in true points, without clips of geometry alone, at the encoder's picture size."""
    v1 = v1 or V1Config()
    sample = replace(stream.sample, surface_samples=v1.surface_points, image_size=v1.encoder.image_size, references=1)
    return V1TrainConfig(stream=replace(stream, sample=sample, motion_batch=0, other_subject=0.0), model=v1.encoder, v1=v1)


def v1_terms(out: V1Output, surface: Tensor, xyz: Tensor, joint_mask: Tensor) -> dict[str, Tensor]:
    """Unweighted losses: the two halves of the chamfer distance, and the paper's L1 of positions (and of their change from frame to frame).

    surface (B, T, M, 3) and heads xyz (B, T, J, 3) are the truth; joint_mask (B, J).
    """
    there, back = chamfer(out.surface.float(), surface)
    mask = joint_mask[:, None, :, None].float()

    def l1(error: Tensor) -> Tensor:
        return (error.abs() * mask).sum() / (mask.sum() * error.shape[1] * 3).clamp_min(1)

    terms = {"accuracy": there.mean(), "completeness": back.mean(), "position": l1(out.xyz - xyz)}
    return terms | ({"change": l1((out.xyz - xyz).diff(dim=1))} if xyz.shape[1] > 1 else {})


class V1Trainer(Trainer):
    """The trainer with another model, its losses and what is watched."""

    config: V1TrainConfig

    def make_model(self) -> torch.nn.Module:
        return MoCapV1(self.config.v1)

    def write_model(self, path: Path) -> None:
        save_v1(cast(MoCapV1, self.average), path, {"step": str(self.step)})

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """video2mesh from the pictures; mesh2pose from true points at first, then more and more from those that video2mesh found."""
        clips = batch.to(self.device).clips
        assert clips is not None
        x, truth = clips
        assert truth.surface is not None
        assert truth.ref_surface is not None
        generator = torch.Generator().manual_seed(self.seed())
        first, last = self.config.given_share
        share = first + (last - first) * min(1.0, self.step / self.config.given_steps)
        given = (torch.rand(len(x.times), generator=generator) < share).to(self.device)
        with self.autocast():
            out = self.model(x, truth.ref_surface, truth.surface, given)
        terms = v1_terms(out, truth.surface, truth.xyz[..., 0, :], x.joint_mask)
        weights = {"accuracy": 3.0, "completeness": 3.0, "position": 20.0, "change": 5.0}
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(), terms

    def measure(self, batch: Batch) -> dict[str, float]:
        """Distances as shares of the size: the mesh's chamfer, joints from the predicted and from the true mesh, and holding the reference."""
        clips = batch.to(self.device).clips
        assert clips is not None
        x, truth = clips
        assert truth.surface is not None
        assert truth.ref_surface is not None
        heads = truth.xyz[..., 0, :]
        mask = x.joint_mask[:, None].expand(heads.shape[:3])
        out = self.average(x, truth.ref_surface)
        true_mesh = self.average(x, truth.ref_surface, truth.surface)
        hold = x.ref_xyz[:, :1, :, 0].expand_as(heads)
        distances = {name: float((xyz - heads).norm(dim=-1)[mask].mean()) for name, xyz in
                     (("xyz", out.xyz), ("xyz_true_mesh", true_mesh.xyz), ("hold_xyz", hold))}
        return distances | {"chamfer": float(sum(chamfer(out.surface.float(), truth.surface)).mean() / 2)}  # type: ignore[union-attr]

    def picture(self, batch: Batch) -> None:
        """It finds nothing in the picture."""

    def score(self, mean: dict[str, float]) -> float:
        return mean.get("xyz", float("inf"))
