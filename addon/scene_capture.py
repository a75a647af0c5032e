"""One capture between the scene and the backend, the same for the button and the command line: `prepare`, then the job, then `finish`."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..backend.errors import CaptureError
from ..backend.progress import OnProgress, Progress, drain
from ..backend.settings import MODELS, CaptureSettings
from .action_player import played_moves
from .action_reader import CAPTURED, read_moves
from .blender_versions import assign_action, assigned_action
from .control_poser import PosedControls, pose_controls
from .control_probe import POSE_CHANNELS
from .control_writer import read_rig_or_controls, write_posed
from .diagnostics import extension_version, missing_message
from .keyframe_writer import WriteResult, expect_writable, write_motion
from .reference_reader import read_pose, read_references, reference_frames
from .rig_reader import report, up_of
from .scene_camera import camera_track, default_camera, go_to, scene_fps, visiting_frames
from .sureness_report import bone_errors, sureness_report

if TYPE_CHECKING:
    from ..backend.capture import CaptureRequest, CaptureResult
    from ..backend.motion import Motion
    from ..backend.rig import Rig
    from ..backend.video import Clip
    from .control_plan import ControlPlan

log = logging.getLogger(__name__)

MODEL_SUFFIX = ".safetensors"
# the scene camera's picture is the clip's if their shapes agree this well
_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class CaptureOptions:
    """What to capture.

    start_frame: scene frame of the clip's first frame. references: scene frames, None for those stored on the armature, else the only
    keyed one, else the current one. reference_kind: auto, aligned or rendered. keep_raw: also write the model's own result.
    limbs: FK or IK, by which limbs of a control rig play that can be switched.
    """

    clip: Path
    start_frame: float
    settings: CaptureSettings
    references: Sequence[float] | None = None
    reference_kind: str = "auto"
    keep_raw: bool = False
    limbs: str = "FK"


@dataclass(frozen=True)
class Prepared:
    """All that the backend needs, read from the scene; nothing after this reads bpy until the keys are written.

    assumed_camera: whether the scene has none that would do. controls: how the rig's bones are moved, where its own controls do that; None where the bones
    are keyed themselves.
    """

    request: CaptureRequest
    options: CaptureOptions
    reference_frames: tuple[float, ...]
    aligned: bool
    assumed_camera: bool
    scene_fps: float
    controls: ControlPlan | None = None

    @property
    def rig(self) -> Rig:
        return self.request.rig

    @property
    def clip(self) -> Clip:
        return self.request.clip


@dataclass(frozen=True)
class Captured:
    """What was written: the finished action, now the armature's active one, and the raw one if it was asked for."""

    finished: bpy.types.Action
    raw: bpy.types.Action | None
    written: WriteResult
    report: dict[str, Any] = field(default_factory=dict)


def model_names(folder: str = "") -> list[str]:
    """Names of the bundled models and of those in the user's folder."""
    folders = [MODELS, *([Path(bpy.path.abspath(folder))] if folder else [])]
    return sorted({path.stem for place in folders if place.is_dir() for path in place.glob(f"*{MODEL_SUFFIX}")})


def resolve_model(name: str, folder: str = "") -> str:
    """A model's name or path, with names found in the user's folder turned into paths."""
    if folder and (found := Path(bpy.path.abspath(folder)) / f"{name}{MODEL_SUFFIX}").is_file():
        return str(found)
    return bpy.path.abspath(name) if name.startswith("//") else name


def armature_problem(armature: bpy.types.Object | None) -> str:
    """Why this object cannot be captured onto, empty if it can."""
    if armature is None or armature.type != "ARMATURE":
        return "Select an armature"
    if not armature.data.bones:
        return f"'{armature.name}' has no bones"
    if not armature.is_editable:
        return f"'{armature.name}' is linked from another file and cannot be keyed. Make a library override of it, or make it local"
    if armature.mode == "EDIT":
        return f"'{armature.name}' is in Edit Mode. Leave it first"
    return ""


def picture_is_clips(scene: bpy.types.Scene, clip: Clip) -> bool:
    """Whether the scene camera is set up for the clip: there is one, and its picture has the clip's shape."""
    if scene.camera is None or scene.camera.type != "CAMERA":
        return False
    render = scene.render
    shape = render.resolution_x * render.pixel_aspect_x / (render.resolution_y * render.pixel_aspect_y)
    return abs(shape / (clip.width / clip.height) - 1.0) < _ASPECT_TOLERANCE


@contextmanager
def scene_unchanged(scene: bpy.types.Scene, armature: bpy.types.Object) -> Iterator[None]:
    """Whatever frames are visited inside, the current frame and the pose as it stood, keyed or not, come back."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    pose = {bone.name: {channel: tuple(getattr(bone, channel)) for channel in POSE_CHANNELS} for bone in armature.pose.bones}
    try:
        yield
    finally:
        go_to(scene, frame + subframe)
        for bone in armature.pose.bones:
            for channel, value in pose[bone.name].items():
                if tuple(getattr(bone, channel)) != value:
                    setattr(bone, channel, value)
        bpy.context.view_layer.update()


def prepare(scene: bpy.types.Scene, armature: bpy.types.Object, options: CaptureOptions) -> Prepared:
    """Read rig, references and camera. The scene is left as it was. Raises CaptureError."""
    if problem := armature_problem(armature):
        raise CaptureError(f"{problem}.")
    if missing := missing_message():
        raise CaptureError(" ".join(missing.splitlines()))
    from ..backend.capture import CaptureRequest
    from ..backend.video import open_clip

    clip = open_clip(options.clip)
    _check_trim(clip, options.settings)
    rig, controls = read_rig_or_controls(armature)
    if not rig.driven.any():
        raise CaptureError(f"No bone of '{armature.name}' can be captured: {rig.reasons[0]}. Bind a mesh to the armature, or choose another armature.")
    aligned = options.reference_kind == "aligned" or (options.reference_kind == "auto" and picture_is_clips(scene, clip))
    if aligned and scene.camera is None:
        raise CaptureError("Aligned references need a scene camera. Use Set Up Camera from Video, or choose rendered references.")
    with scene_unchanged(scene, armature):
        frames = options.references or reference_frames(scene, armature)
        references = tuple(read_references(armature, rig, scene, frames, clip, options.start_frame, aligned))
        seen = aligned or picture_is_clips(scene, clip)
        size = clip.width, clip.height
        camera = camera_track(scene, scene.camera, armature, clip.times, options.start_frame, *size) if seen else default_camera(armature, *size)
    settings = options.settings
    read = read_moves if controls is None else played_moves
    moves = read(armature, rig, scene_fps(scene)) if settings.fit and settings.own_actions else ()
    request = CaptureRequest(rig, clip, camera, references, settings, up_of(armature), moves)
    return Prepared(request, options, tuple(float(frame) for frame in frames), aligned, not seen, scene_fps(scene), controls)


def _check_trim(clip: Clip, settings: CaptureSettings) -> None:
    if settings.start is not None and settings.start >= clip.duration:
        raise CaptureError(f"The trim starts at {settings.start:g} s, but '{clip.path.name}' is only {clip.duration:.2f} s long. Choose an earlier start.")


def finish(armature: bpy.types.Object, prepared: Prepared, result: CaptureResult, on_progress: OnProgress | None = None) -> Captured:
    """Write the result onto the armature: the finished motion as its active action, the former one stashed on a muted NLA track.

    on_progress: hears of every frame where controls are posed, which takes a while; plain bones take no time. What it raises leaves all as
    it was.
    """
    return drain(finish_steps(armature, prepared, result), on_progress)


def finish_steps(armature: bpy.types.Object, prepared: Prepared, result: CaptureResult) -> Generator[Progress, None, Captured]:
    """The same, a step for each frame on which controls are posed. Nothing is written before the last; closed earlier, all is as it was."""
    names = tuple(bone.name for bone in armature.data.bones)
    if set(names) != set(prepared.rig.names) and (prepared.controls is None or not set(names) >= set(prepared.rig.names)):
        raise CaptureError(f"The bones of '{armature.name}' were changed during the capture. Capture again.")
    expect_writable(armature)
    name = prepared.clip.path.stem
    motions = [result.motion, *([result.raw] if prepared.options.keep_raw else [])]
    posed: list[PosedControls | None] = [None] * len(motions)
    if prepared.controls is not None:
        for part, motion in enumerate(motions):
            steps = pose_controls(armature, prepared.controls, motion, limbs=prepared.options.limbs)
            posed[part] = yield from _part(steps, part, len(motions))
    written = _write(armature, prepared, result.motion, name, posed[0])
    finished, slot = assigned_action(armature)
    raw = None
    if prepared.options.keep_raw:
        # without an active action there is nothing to stash: the raw result lies beside the finished one, not below it
        assign_action(armature, None, None)
        try:
            raw = _write(armature, prepared, result.raw, f"{name} raw", posed[1]).action
        finally:
            assign_action(armature, finished, slot)
        # these hold them in the file and within reach of the panel
        armature.mocap_anything.finished_action, armature.mocap_anything.raw_action = finished, raw
    return Captured(finished, raw, written, make_report(armature, prepared, result, finished) | _controls_report(posed[0]))


def _part(steps: Generator[Progress, None, PosedControls], part: int, parts: int) -> Generator[Progress, None, PosedControls]:
    """Steps that are one of several parts of the same work."""
    with closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                posed: PosedControls = stop.value
                return posed
            yield replace(progress, fraction=(part + progress.fraction) / parts)


def _write(armature: bpy.types.Object, prepared: Prepared, motion: Motion, name: str, posed: PosedControls | None) -> WriteResult:
    start, fps = prepared.options.start_frame, prepared.scene_fps
    if posed is not None:
        written = write_posed(armature, posed, start + motion.times * fps, name)
    else:
        written = write_motion(armature, prepared.rig, motion, prepared.request.references[0].pose, name=name, start_frame=start, scene_fps=fps)
    written.action[CAPTURED] = extension_version()
    return written


def _controls_report(posed: PosedControls | None) -> dict[str, Any]:
    """How well a control rig stands as captured, nothing for other rigs."""
    if posed is None:
        return {}
    fit = posed.fit
    told = {"largest_angle": round(fit.degrees, 3), "bone": fit.bone, "largest_distance": round(fit.distance, 5), "ik_keyed_off": list(fit.released)}
    if fit.other is not None:
        told["switched_over"] = {"largest_angle": round(fit.other[0], 3), "largest_distance": round(fit.other[1], 5)}
    return {"controls": told}


def keyed_poses(scene: bpy.types.Scene, armature: bpy.types.Object, prepared: Prepared, motion: Motion) -> np.ndarray:
    """(T, J, 4, 4) bone to armature at each of the motion's times, as Blender plays the armature now."""
    frames = prepared.options.start_frame + motion.times * prepared.scene_fps
    poses = np.empty((len(frames), len(prepared.rig), 4, 4))
    with visiting_frames(scene):
        for index, frame in enumerate(frames):
            go_to(scene, float(frame))
            poses[index] = read_pose(armature, prepared.rig)
    return poses


def make_report(armature: bpy.types.Object, prepared: Prepared, result: CaptureResult, action: bpy.types.Action) -> dict[str, Any]:
    """What was captured, on what, with what, and how long it took; plain types, ready for JSON."""
    clip, settings, motion = prepared.clip, prepared.options.settings, result.motion
    first, last = (round(prepared.options.start_frame + float(time) * prepared.scene_fps, 3) for time in motion.times[[0, -1]])
    errors = bone_errors(prepared, motion)
    return {
        "version": extension_version(),
        "blender": bpy.app.version_string,
        "armature": armature.name,
        "action": action.name,
        "clip": {"path": str(clip.path), "frames": len(clip), "width": clip.width, "height": clip.height, "fps": clip.fps, "seconds": round(clip.duration, 3)},
        "frames": {"captured": len(motion), "first": first, "last": last, "scene_fps": prepared.scene_fps},
        "references": {"frames": list(prepared.reference_frames), "kind": "aligned" if prepared.aligned else "rendered"},
        "camera": "assumed: still, 50 mm equivalent" if prepared.assumed_camera else "scene camera",
        "settings": {key: getattr(settings, key) for key in settings.__dataclass_fields__},
        "confidence": sureness_report(prepared, motion, result.report["calibrated"]),
        "bones": [_bone_report(line, errors) for line in report(prepared.rig)],
        "seconds": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
        "capture": result.report,
    }


def _bone_report(line: tuple[str, bool, str], errors: dict[str, float]) -> dict[str, Any]:
    bone, driven, reason = line
    said = {"expected_error_percent": errors[bone]} if bone in errors else {}
    return {"bone": bone, "driven": driven, "reason": reason} | said
