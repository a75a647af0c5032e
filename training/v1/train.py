"""Training of the V1 baseline with V2's own trainer, on V2's own stream: the same clips, the same budget."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ...backend.model.batch import ModelInput
from ..data.sample import Truth
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
    """The stream as V1 needs it: with the rig's own skin in true points, at the encoder's picture size; of stage motion clips of geometry alone."""
    v1 = v1 or V1Config()
    sample = replace(stream.sample, surface_samples=v1.surface_points, image_size=v1.encoder.image_size, references=1)
    motion = 0 if stream.batch else stream.motion_batch
    return V1TrainConfig(stream=replace(stream, sample=sample, motion_batch=motion, motion_frames=sample.frames, other_subject=0.0), model=v1.encoder, v1=v1)


def v1_terms(out: V1Output, surface: Tensor, xyz: Tensor, joint_mask: Tensor) -> dict[str, Tensor]:
    """Unweighted losses: the two halves of the chamfer distance, and those of positions.

    surface (B, T, M, 3) and heads xyz (B, T, J, 3) are the truth; joint_mask (B, J).
    """
    there, back = chamfer(out.surface.float(), surface)
    return {"accuracy": there.mean(), "completeness": back.mean()} | position_terms(out.xyz, xyz, joint_mask)


def position_terms(found: Tensor, xyz: Tensor, joint_mask: Tensor) -> dict[str, Tensor]:
    """The paper's L1 of heads (B, T, J, 3), and of their change from frame to frame."""
    mask = joint_mask[:, None, :, None].float()

    def l1(error: Tensor) -> Tensor:
        return (error.abs() * mask).sum() / (mask.sum() * error.shape[1] * 3).clamp_min(1)

    return {"position": l1(found - xyz)} | ({"change": l1((found - xyz).diff(dim=1))} if xyz.shape[1] > 1 else {})


def _motion(batch: Batch) -> tuple[ModelInput, Truth]:
    """The clips of geometry alone."""
    assert batch.motion is not None
    return batch.motion


class V1Trainer(Trainer):
    """The trainer with another model, its losses and what is watched."""

    config: V1TrainConfig
    motion_parts = ("mesh2pose.",)

    def make_model(self) -> torch.nn.Module:
        return MoCapV1(self.config.v1)

    def write_model(self, path: Path) -> None:
        save_v1(cast(MoCapV1, self.average), path, {"step": str(self.step)})

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """video2mesh from the pictures; mesh2pose from true points at first, then more and more from those that video2mesh found.

        Of clips of geometry alone mesh2pose from true points, without pictures: many more of them in the same time.
        """
        batch = batch.to(self.device)
        generator = torch.Generator().manual_seed(self.seed())
        first, last = self.config.given_share
        share = first + (last - first) * min(1.0, self.step / self.config.given_steps)
        x, truth = batch.clips or _motion(batch)
        assert truth.surface is not None
        assert truth.ref_surface is not None
        heads, model = truth.xyz[..., 0, :], cast(MoCapV1, self.model)
        with self.autocast():
            if batch.clips is None:
                terms = position_terms(model.from_surface(x, truth.ref_surface, truth.surface), heads, x.joint_mask)
            else:
                given = (torch.rand(len(x.times), generator=generator) < share).to(self.device)
                terms = v1_terms(model(x, truth.ref_surface, truth.surface, given), truth.surface, heads, x.joint_mask)
        weights = {"accuracy": 3.0, "completeness": 3.0, "position": 20.0, "change": 5.0}
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(), terms

    def measure(self, batch: Batch) -> dict[str, float]:
        """Distances as shares of the size: the mesh's chamfer, joints from the predicted and from the true mesh, and holding the reference."""
        batch = batch.to(self.device)
        x, truth = batch.clips or _motion(batch)
        assert truth.surface is not None
        assert truth.ref_surface is not None
        average = cast(MoCapV1, self.average)
        heads = truth.xyz[..., 0, :]
        mask = x.joint_mask[:, None].expand(heads.shape[:3])
        found = {"hold_xyz": x.ref_xyz[:, :1, :, 0].expand_as(heads)}
        row: dict[str, float] = {}
        if batch.clips is None:
            found["xyz"] = average.from_surface(x, truth.ref_surface, truth.surface)
        else:
            out = average(x, truth.ref_surface)
            found |= {"xyz": out.xyz, "xyz_true_mesh": average(x, truth.ref_surface, truth.surface).xyz}
            row["chamfer"] = float(sum(chamfer(out.surface.float(), truth.surface)).mean() / 2)  # type: ignore[union-attr]
        return row | {name: float((xyz - heads).norm(dim=-1)[mask].mean()) for name, xyz in found.items()}

    def picture(self, batch: Batch) -> None:
        """It finds nothing in the picture."""

    def score(self, mean: dict[str, float]) -> float:
        return mean.get("xyz", float("inf"))
