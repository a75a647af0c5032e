"""Networks as methods of the papers' evaluation: V2 from pictures to turns, V1 from pictures to positions to inverse kinematics."""

from __future__ import annotations

import numpy as np
import torch

from ..backend.ik_chain import Targets
from ..backend.inverse_kinematics import IKSettings, solve
from ..backend.model.network import Video2Pose2Rot
from ..backend.track_quality import track_noise
from .filming import Filmed, film, heads_of_positions, motion_of_turns
from .methods import Method, habits_of, posed
from .takes import Take
from .v1.network import MoCapV1


def v2(model: Video2Pose2Rot) -> Method:
    """video2pose2rot over the whole take at once, crops from the truth, raw: neither smoothed nor bent to its reference."""

    def run(take: Take) -> np.ndarray:
        filmed = film(take, model.config.image_size)
        with torch.inference_mode():
            out = model(filmed.x)
        motion = motion_of_turns(take, filmed, *(value[0].float().numpy() for value in (out.turn, out.uv, out.log_error.exp())))
        return posed(motion.rotations, motion.heads)

    return run


def v1_rotations(take: Take, filmed: Filmed, xyz: np.ndarray) -> np.ndarray:
    """(T, J, 4, 4) that inverse kinematics makes of positions xyz (T, J driven, 3); the paper's V1 stays in place, and so does this."""
    rig, bones = take.asset.rig, filmed.body.bones
    targets = Targets(bones, np.zeros((len(bones), 3)), heads_of_positions(filmed, xyz), take.times)
    found = solve(rig, take.reference_pose, targets, habits_of(take), IKSettings(noise=track_noise(rig, targets)))
    return posed(found.rotations, found.heads)


def v1(model: MoCapV1, true_mesh: bool) -> Method:
    """video2mesh (or the true mesh), mesh2pose and inverse kinematics."""

    def run(take: Take) -> np.ndarray:
        filmed = film(take, model.config.encoder.image_size, model.config.surface_points)
        assert filmed.surface is not None
        assert filmed.ref_surface is not None
        with torch.inference_mode():
            out = model(filmed.x, filmed.ref_surface[None], filmed.surface[None] if true_mesh else None)
        return v1_rotations(take, filmed, out.xyz[0].float().numpy())

    return run
