"""Ways to tell a take's poses: from nothing (hold), and from its true joints (closed form, inverse kinematics)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..backend.body_points import read_body
from ..backend.closed_form import closed_form_motion
from ..backend.habits import Habits
from ..backend.ik_chain import Targets, head_targets
from ..backend.inverse_kinematics import IKSettings, solve
from ..backend.joint_limits import JointLimits
from ..backend.kinematics import bone_rotations, pose_along_carriers
from ..backend.library import usual_habits
from ..backend.model.config import SURFACE_POINTS
from ..backend.moves import Moves
from ..backend.rig import Rig
from ..backend.track_quality import sort_tracks, track_noise
from .cases import plain
from .data.asset import Asset, AssetClip
from .library import frame_step, may_tell
from .takes import Take

Method = Callable[[Take], np.ndarray]
_PLAY = 0.005  # share of the size by which heads do not quite hang together even in truth


def posed(rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(T, J, 4, 4) of rotations (T, J, 3, 3) and heads (T, J, 3)."""
    pose = np.tile(np.eye(4), (*heads.shape[:2], 1, 1))
    pose[..., :3, :3], pose[..., :3, 3] = rotations, heads
    return pose


def hold(take: Take) -> np.ndarray:
    """The reference, held still."""
    return np.broadcast_to(take.reference_pose, take.pose.shape)


def habits_of(take: Take, own: bool = False) -> Habits:
    """How its rig's bones usually turn, by what comes with the extension without what may be the clip's motion, and by the rig's other clips, as if they were
    in the animator's file, if `own`."""
    others = [clip for clip in take.asset.clips if own and plain(clip.name) != plain(take.clip.name)]
    moves = (moves_in(clip) for clip in others)
    known = usual_habits(take.asset.rig, np.asarray(take.asset.up), tuple(one for one in moves if len(one.rotations)))
    return replace(known, moves=tuple(one for one in known.moves if not one.body or not may_tell(one.body, one.name, take.clip.name, take.asset.rig.names)))


def moves_in(clip: AssetClip) -> Moves:
    """What a rig does in a clip, all of its bones."""
    step = frame_step(clip)
    rotations = bone_rotations(clip.pose.astype(np.float64))
    return Moves(clip.name, rotations[:-step], rotations[step:], np.ones(rotations.shape[1], bool))


def noisy_heads(take: Take, noise: float) -> np.ndarray:
    """True heads with errors of a given size, the same for every method."""
    heads = take.pose[..., :3, 3]
    seed = int(take.group, 16) % 2**32
    return heads + np.random.default_rng(seed).normal(size=heads.shape) * noise * take.asset.rig.size


def closed_form(noise: float = 0.0) -> Method:
    """Procrustes bone by bone on true heads with noise (share of the size)."""

    def run(take: Take) -> np.ndarray:
        rig, heads = take.asset.rig, noisy_heads(take, noise)
        rotations = closed_form_motion(rig, take.reference_pose, heads, None, max(noise, _PLAY))
        return posed(rotations, pose_along_carriers(rig, rotations, take.reference_pose, heads))

    return run


def inverse_kinematics(noise: float = 0.0, limits_of: Callable[[Asset, Rig], JointLimits] | None = None, own: bool = False) -> Method:
    """The solver of `solve` on true heads with noise (share of the size), which it has to find out itself; within limits where there are any. own: as
    `habits_of` has it."""

    def run(take: Take) -> np.ndarray:
        rig, sure = sort_tracks(take.asset.rig, head_targets(take.asset.rig, noisy_heads(take, noise), take.times), take.reference_pose)
        limits = limits_of(take.asset, rig) if limits_of else None
        found = solve(rig, take.reference_pose, sure, habits_of(take, own), IKSettings(noise=track_noise(rig, sure)), limits=limits)
        return posed(found.rotations, found.heads)

    return run


def inverse_kinematics_of_points(noise: float = 0.0, own: bool = False) -> Method:
    """The solver on all points that the network has of a bone, true ones with noise of a size (share of the rig's) that it is told: what pose2rot has.
    own: as `habits_of` has it."""

    def run(take: Take) -> np.ndarray:
        rig = take.asset.rig
        body = read_body(rig, SURFACE_POINTS)
        rows, slots = np.nonzero(body.mask)
        points = body.points(take.pose)[:, rows, slots]
        points = points + np.random.default_rng(int(take.group, 16) % 2**32).normal(size=points.shape) * noise * rig.size
        targets = Targets(body.bones[rows], body.offsets[rows, slots], points, take.times)
        found = solve(rig, take.reference_pose, targets, habits_of(take, own), IKSettings(noise=max(noise, IKSettings.noise)))
        return posed(found.rotations, found.heads)

    return run
