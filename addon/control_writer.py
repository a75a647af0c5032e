"""A captured motion onto the controls of a rig, as keys in a new action."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import bpy
import numpy as np

from ..backend.motion import Motion
from ..backend.progress import OnProgress, drain
from ..backend.rig import Rig
from .control_plan import ControlPlan, has_controls, read_control_plan
from .control_poser import Fit, PosedControls, pose_controls
from .control_solver import WITHIN
from .keyframe_writer import Channel, WriteResult, expect_writable, write_channels
from .rig_reader import read_rig
from .rotation_modes import channel_of, channel_values

log = logging.getLogger(__name__)

_SAME_SIZE = 1e-4  # a control whose scale differs less from 1 all the time has no keys of it


def read_rig_or_controls(armature: bpy.types.Object) -> tuple[Rig, ControlPlan | None]:
    """The rig to capture onto: its deform bones and how they are moved where controls do that, else the bones themselves."""
    rig = read_rig(armature)
    if not has_controls(armature):
        return rig, None
    plan = read_control_plan(armature)
    return plan.rig, plan


def write_controls(
    armature: bpy.types.Object, plan: ControlPlan, motion: Motion, *, name: str, start_frame: float, scene_fps: float,
    on_progress: OnProgress | None = None, limbs: str = "FK",
) -> tuple[WriteResult, Fit]:  # fmt: skip
    """Key a motion of the plan's rig on its controls in a new action; the old one is stashed. Raises CaptureError as `write_motion` does.

    limbs: whether those that can be switched between FK and IK play by "FK" or "IK". on_progress: hears of every frame; what it raises
    leaves the armature as it was.
    """
    expect_writable(armature)
    posed = drain(pose_controls(armature, plan, motion, limbs=limbs), on_progress)
    return write_posed(armature, posed, start_frame + motion.times * scene_fps, name), posed.fit


def write_posed(armature: bpy.types.Object, posed: PosedControls, frames: np.ndarray, name: str) -> WriteResult:
    """Key what was posed on frames (T,) in a new action; the old one is stashed. Raises CaptureError where the armature cannot be keyed."""
    fit = posed.fit
    if fit.degrees > WITHIN[0] or fit.distance > WITHIN[1]:
        log.warning("The controls cannot bring '%s' nearer than %.1f degrees and %.1f %% of the size", fit.bone, fit.degrees, 100 * fit.distance)
    return write_channels(armature, name, list(_channels(armature, posed)), frames)


def _channels(armature: bpy.types.Object, posed: PosedControls) -> Iterator[Channel]:
    for name, path, value in posed.constants:
        yield Channel(armature.pose.bones[name], path, np.array([[value]]))
    for name, track in sorted(posed.tracks.items()):
        bone = armature.pose.bones[name]
        if name in posed.turned:
            yield Channel(bone, channel_of(bone.rotation_mode), channel_values(np.array([turn for _, turn, _ in track]), bone.rotation_mode))
        if name in posed.located:
            yield Channel(bone, "location", np.array([place for place, _, _ in track]))
        sizes = np.array([size for _, _, size in track])
        if name in posed.sized and np.abs(sizes - 1).max() > _SAME_SIZE:
            yield Channel(bone, "scale", sizes)
