"""V1's two networks over one image encoder, and their weights on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...backend.model.batch import ModelInput
from ...backend.model.encoder import ImageEncoder
from ..weights import WeightsFile
from .config import V1Config
from .mesh2pose import Mesh2Pose
from .video2mesh import Video2Mesh

_FILE = WeightsFile("mocap_anything.baseline_v1", "V1 model", "training train --model v1")


@dataclass
class V1Output:
    """surface (B, T, M, 3) predicted points, xyz (B, T, J, 3) heads; both in the view frame, from the heads' centroid, over the rig's size."""

    surface: Tensor
    xyz: Tensor


class MoCapV1(nn.Module):
    """video2mesh and mesh2pose. Rotations are told afterwards, by inverse kinematics on the positions."""

    def __init__(self, config: V1Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.encoder)
        self.video2mesh = Video2Mesh(config)
        self.mesh2pose = Mesh2Pose(config)

    def encode(self, images: Tensor) -> Tensor:
        """(B, T, 3, S, S) to tokens (B, T, L, C)."""
        return self.encoder(images.flatten(0, 1))[0].unflatten(0, images.shape[:2])

    def forward(self, x: ModelInput, ref_surface: Tensor, given: Tensor | None = None, given_share: Tensor | None = None) -> V1Output:
        """ref_surface (B, M, 3): the rig's own skin in the reference. Points `given` (B, T, M, 3), the true mesh, stand in for the predicted ones
        in mesh2pose for clips where given_share (B,) is True (all, if it is left out)."""
        tokens = self.encode(x.images)
        ref_tokens = self.encode(x.ref_images[:, :1])[:, 0]
        surface = self.video2mesh(tokens, x.times, x.frame_mask)
        seen = surface.detach()
        if given is not None:
            seen = given if given_share is None else torch.where(given_share[:, None, None, None], given, seen)
        return V1Output(surface, self.mesh2pose(x, ref_tokens, ref_surface, tokens, seen))

    def from_surface(self, x: ModelInput, ref_surface: Tensor, surface: Tensor) -> Tensor:
        """mesh2pose alone, without pictures: heads (B, T, J, 3) from the skin's points (B, T, M, 3) and those of the reference (B, M, 3)."""
        nothing = surface.new_zeros(*surface.shape[:2], 1, self.config.encoder.token_dim)
        return self.mesh2pose(x, nothing[:, 0], ref_surface, nothing, surface)


def save_v1(model: MoCapV1, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Weights in float16 with the config in the file's own metadata."""
    _FILE.save(model, model.config.to_dict(), path, metadata)


def load_v1(path: Path) -> MoCapV1:
    """Read what save_v1 wrote; raises CaptureError where the file is missing or another."""
    config, state = _FILE.read(path)
    model = MoCapV1(V1Config.from_dict(config))
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False)
