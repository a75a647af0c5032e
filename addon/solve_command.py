"""`solve SCENE.blend --joints TRACKS.csv`: 3D tracks of joints become keys, through the same writer as a capture's."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..backend.errors import CaptureError
from ..backend.motion import Motion
from ..backend.progress import OnProgress, Progress
from ..backend.rig import Rig
from ..backend.settings import CaptureSettings
from .action_reader import CAPTURED, read_moves
from .diagnostics import extension_version, missing_message
from .keyframe_writer import write_motion
from .limits_reader import read_limits
from .reference_reader import read_pose
from .rig_reader import read_rig, up_of
from .scene_camera import go_to, scene_fps
from .scene_capture import armature_problem, scene_unchanged

if TYPE_CHECKING:
    from ..backend.ik_chain import Targets

_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class SolveOptions:
    """joints: the tracks' file. start_frame: scene frame of time zero. reference_frame: pose that turns are counted from.

    space: what the tracks' axes are, the world's or the armature's. up: their axis against gravity. scale: armature or world units a unit of
    theirs. noise: their expected error as a share of the rig's size, None to tell it from how bones change in length. limits: whether joints keep
    to the rig's IK limits and Limit Rotation constraints. own_actions: whether to expect the rig to move as in its other actions.
    library: of motions of bodies like it, to expect them too.
    """

    joints: Path
    start_frame: float
    reference_frame: float
    space: str = "world"
    up: str = "z"
    scale: float = 1.0
    noise: float | None = None
    limits: bool = False
    own_actions: bool = True
    library: str = CaptureSettings.library


@dataclass(frozen=True, eq=False)
class Solved:
    """What was keyed. frames: first and last scene frame."""

    action: bpy.types.Action
    frames: tuple[float, float]
    report: dict[str, Any] = field(default_factory=dict)


def add_arguments(solve: argparse.ArgumentParser) -> None:
    """The command's own options."""
    solve.add_argument("scene", nargs="?", type=Path, metavar="SCENE.blend", help="the scene (default: the file that Blender has open)")
    solve.add_argument("--joints", required=True, type=Path, metavar="TRACKS.csv|.npz", help="time, joint, x, y, z; a joint is a bone's name, or NAME:end")
    solve.add_argument("--armature", metavar="NAME", help="default: the only armature, else the active one")
    solve.add_argument("--reference-frame", type=float, metavar="N", help="frame with the pose that turns are counted from (default: the current one)")
    solve.add_argument("--start-frame", type=float, metavar="N", help="scene frame of time zero (default: the scene's start)")
    solve.add_argument("--space", choices=("world", "armature"), default="world", help="what the tracks' axes are (default: world)")
    solve.add_argument("--up", choices=("z", "y"), default="z", help="the tracks' axis against gravity (default: z, Blender's)")
    solve.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help="Blender units in one unit of the tracks (default: 1)")
    solve.add_argument("--noise", type=float, metavar="SHARE", help="expected error as a share of the rig's size (default: told from the tracks)")
    solve.add_argument("--no-own-actions", action="store_true", help="do not expect the rig to move as it does in its other actions in the file")
    solve.add_argument(
        "--library", metavar="NAME|PATH|none", default=CaptureSettings.library,
        help="expect the rig to move as bodies like it do in this library of motions (default: %(default)s)",
    )  # fmt: skip
    solve.add_argument("--limits", action="store_true", help="keep joints within the rig's IK limits and locks, and local Limit Rotation (default: no)")


def options_of(arguments: argparse.Namespace, scene: bpy.types.Scene) -> SolveOptions:
    if not arguments.scale > 0:
        raise CaptureError(f"The scale is {arguments.scale:g}. Give a factor above zero.")
    if arguments.noise is not None and not 0 < arguments.noise < 1:
        raise CaptureError(f"The noise is {arguments.noise:g}. Give a share of the rig's size, such as 0.01.")
    start = float(scene.frame_start) if arguments.start_frame is None else arguments.start_frame
    reference = scene.frame_current + scene.frame_subframe if arguments.reference_frame is None else arguments.reference_frame
    own = not arguments.no_own_actions
    return SolveOptions(
        arguments.joints, start, reference, arguments.space, arguments.up, arguments.scale, arguments.noise, arguments.limits, own, arguments.library
    )


def solve_tracks(scene: bpy.types.Scene, armature: bpy.types.Object, options: SolveOptions, on_progress: OnProgress) -> Solved:
    """Read, solve, key. Raises CaptureError; the scene is as it was until the keys are written."""
    if problem := armature_problem(armature):
        raise CaptureError(f"{problem}.")
    if missing := missing_message():
        raise CaptureError(" ".join(missing.splitlines()))
    from ..backend.inverse_kinematics import IKSettings, solve
    from ..backend.joint_tracks import read_tracks, to_targets
    from ..backend.library import usual_habits
    from ..backend.track_quality import sort_tracks, track_noise

    tracks = read_tracks(options.joints)
    rig = read_rig(armature)
    with scene_unchanged(scene, armature):
        go_to(scene, options.reference_frame)
        reference = read_pose(armature, rig)
        world = np.array(armature.matrix_world, np.float64)
    targets, strange = to_targets(tracks, rig, _change(options, world))
    free, sure = sort_tracks(rig, targets, reference)
    noise = options.noise or track_noise(rig, sure)
    limits, disobeyed = read_limits(armature, free) if options.limits else (None, {})
    started = time.perf_counter()
    fps = scene_fps(scene)
    moves = read_moves(armature, rig, fps) if options.own_actions else ()
    habits = usual_habits(rig, np.array(up_of(armature)), moves, options.library)
    solution = solve(free, reference, sure, habits, IKSettings(noise=noise), lambda share: on_progress(Progress("Solving", share)), limits)
    motion = _motion(free, sure, solution.rotations, solution.heads, solution.error)
    written = write_motion(armature, free, motion, reference, name=options.joints.stem, start_frame=options.start_frame, scene_fps=fps)
    written.action[CAPTURED] = extension_version()
    first, last = (options.start_frame + float(t) * fps for t in motion.times[[0, -1]])
    error = solution.error[np.isfinite(solution.error)] / rig.size
    report = {
        "version": extension_version(), "blender": bpy.app.version_string, "armature": armature.name, "action": written.action.name,
        "tracks": {"path": str(options.joints), "times": len(tracks.times), "joints": len(tracks.joints), "not bones": strange},
        "frames": {"first": round(first, 3), "last": round(last, 3), "scene_fps": fps},
        "bones": {"keyed": list(written.bones), "with their own location": [rig.names[b] for b in np.flatnonzero(free.carriers != rig.carriers)],
                  "tracks left out": _left_out(rig, targets, sure)},
        "own_actions": [one.name for one in moves], "moves_like": habits.moves_like, "noise": round(noise, 5),
        "error": {"mean": float(error.mean()), "largest": float(error.max())},
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    if limits is not None:
        report["limits"] = {"obeyed": [rig.names[b] for b in np.unique(limits.bones)], "not obeyed": disobeyed}
    return Solved(written.action, (first, last), report)


def _change(options: SolveOptions, world: np.ndarray) -> np.ndarray:
    """(4, 4) from the tracks' axes to the armature's."""
    axes = (_Y_UP if options.up == "y" else np.eye(4)) * np.array([options.scale] * 3 + [1.0])
    return np.linalg.inv(world) @ axes if options.space == "world" else axes


def _left_out(rig: Rig, targets: Targets, sure: Targets) -> list[str]:
    gone = np.isfinite(targets.positions).any((0, 2)) & ~np.isfinite(sure.positions).any((0, 2))
    return [rig.names[bone] for bone in targets.bones[gone]]


def _motion(rig: Rig, targets: Targets, rotations: np.ndarray, heads: np.ndarray, error: np.ndarray) -> Motion:
    """As a capture's; a bone's expected error is that of its tracks, NaN-free."""
    confidence = np.zeros(heads.shape[:2], np.float32)
    np.maximum.at(confidence.T, targets.bones, np.nan_to_num(error / rig.size).astype(np.float32).T)
    return Motion(targets.times, rotations, heads, confidence, np.full((*heads.shape[:2], 2), np.nan, np.float32))
