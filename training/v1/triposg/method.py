"""V1 with TripoSG as its first stage, as a method of the papers' evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....backend.model.batch import ModelInput
from ....backend.silhouette import silhouette
from ...filming import Filmed, film
from ...methods import Method
from ...network_methods import v1_rotations
from ...takes import Take
from ..network import MoCapV1
from .model import TripoSG

_FINER = 2  # pictures for TripoSG, over those that V1's own image encoder sees


def silhouettes(take: Take, filmed: Filmed) -> Tensor:
    """(T, S, S) coverage 0..1 of the rig's skin in every picture of a filmed take, where the subject is in truth."""
    size = filmed.x.images.shape[-1]
    drawn = [
        silhouette(take.asset.rig, filmed.body, pose, filmed.camera.at(frame), filmed.crop.at(frame), size) for frame, pose in enumerate(take.pose)
    ]
    return torch.from_numpy(np.stack(drawn))


def coarser(x: ModelInput, factor: int = _FINER) -> ModelInput:
    """The same input with pictures so many times smaller."""
    smaller = {name: F.avg_pool2d(getattr(x, name).flatten(0, 1), factor).unflatten(0, getattr(x, name).shape[:2]) for name in
               ("images", "ref_images", "ref_masks")}
    return replace(x, **smaller)


def v1_triposg(model: MoCapV1, triposg: TripoSG) -> Method:
    """TripoSG (crops and silhouettes from the truth), mesh2pose and inverse kinematics."""

    def run(take: Take) -> np.ndarray:
        filmed = film(take, _FINER * model.config.encoder.image_size, model.config.surface_points)
        assert filmed.ref_surface is not None
        with torch.inference_mode():
            surface = triposg(filmed.x, silhouettes(take, filmed), filmed.ref_surface)
            out = model(coarser(filmed.x), filmed.ref_surface[None], surface)
        return v1_rotations(take, filmed, out.xyz[0].float().numpy())

    return run
