"""Keyed frames of the scene become references: the rig's exact pose and a picture that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..backend.errors import CaptureError
from ..backend.reference import Reference
from ..backend.rig import Rig
from .blender_versions import assigned_action, channels
from .scene_camera import default_camera, go_to, scene_camera, scene_fps, visiting_frames

if TYPE_CHECKING:
    from ..backend.video import Clip

# a rendered reference is seen from the front and the three other sides, a little from above
_YAWS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
_PITCH = np.radians(10)
_PICTURE = 448
_BACKGROUND = (128, 128, 128)


def read_pose(armature: bpy.types.Object, rig: Rig) -> np.ndarray:
    """(J, 4, 4) float64 bone to armature on the current frame, constraints and drivers included."""
    bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    return np.array([bones[name].matrix for name in rig.names], np.float64)


def stored_reference_frames(armature: bpy.types.Object) -> list[float]:
    """Frames that the user listed on the armature, in order."""
    stored = getattr(armature, "mocap_anything", None)
    return sorted({float(item.frame) for item in stored.references}) if stored is not None else []


def keyed_frames(armature: bpy.types.Object) -> list[float]:
    """Frames on which the active action has keys of bones, in order."""
    action, slot = assigned_action(armature)
    bag = channels(action, slot) if action is not None else None
    if bag is None:
        return []
    frames: set[float] = set()
    for curve in bag.fcurves:
        if curve.data_path.startswith("pose.bones["):
            keys = np.empty(2 * len(curve.keyframe_points), np.float32)
            curve.keyframe_points.foreach_get("co", keys)
            frames.update(round(float(frame), 3) for frame in keys[::2])
    return sorted(frames)


def reference_frames(scene: bpy.types.Scene, armature: bpy.types.Object) -> list[float]:
    """Frames listed on the armature, else the only frame on which bones are keyed, else the current one."""
    if stored := stored_reference_frames(armature):
        return stored
    keyed = keyed_frames(armature)
    return keyed if len(keyed) == 1 else [scene.frame_current + scene.frame_subframe]


def read_references(
    armature: bpy.types.Object, rig: Rig, scene: bpy.types.Scene, frames: Sequence[float], clip: Clip, start_frame: float, aligned: bool
) -> list[Reference]:
    """One aligned reference per frame (the clip's own picture through the scene camera), or several rendered ones (views of the mesh).

    start_frame: scene frame of the clip's first picture. The current frame comes back, with poses that are not keyed if it is among
    the frames. Raises CaptureError where a frame lies outside the clip or there is nothing to draw.
    """
    if not frames:
        raise CaptureError("There is no reference frame. Pose the rig on a frame of the video and press Add Reference there.")
    if aligned and scene.camera is None:
        raise CaptureError("The scene has no camera to see the rig through. Use Set Up Camera from Video, and pose the rig over the video.")
    if not aligned and (rig.mesh is None or not len(rig.mesh.triangles)):
        raise CaptureError(
            f"'{armature.name}' has no mesh to draw a reference picture of. Use Set Up Camera from Video, and pose the rig over the video instead."
        )
    current = scene.frame_current + scene.frame_subframe
    # the current frame first: visiting another one drops what is not keyed
    order = sorted(set(frames), key=lambda frame: (abs(frame - current) > 1e-5, frame))
    found: dict[float, list[Reference]] = {}
    indices = {frame: _clip_index(frame, clip, start_frame, scene_fps(scene)) for frame in order} if aligned else {}
    with visiting_frames(scene):
        for frame in order:
            go_to(scene, frame)
            pose = read_pose(armature, rig)
            found[frame] = [_aligned(scene, armature, pose, clip, indices[frame])] if aligned else _rendered(armature, rig, pose)
    return [reference for frame in sorted(found) for reference in found[frame]]


def _clip_index(frame: float, clip: Clip, start_frame: float, fps: float) -> int:
    """The clip's picture that the animator saw on a scene frame."""
    times = np.asarray(clip.times)
    time = (frame - start_frame) / fps
    index = int(np.abs(times - time).argmin())
    gaps = np.diff(times)
    half = 0.5 * max(1 / fps, float(gaps.max()) if len(gaps) else 0.0) + 1e-6
    if not times[0] - half <= time <= times[-1] + half:
        last = start_frame + times[-1] * fps
        raise CaptureError(
            f"The reference on frame {frame:g} lies outside the video, which covers frames {start_frame:g} to {last:.0f}. "
            "Remove that reference, or change the frame on which the video starts."
        )
    return index


def _aligned(scene: bpy.types.Scene, armature: bpy.types.Object, pose: np.ndarray, clip: Clip, index: int) -> Reference:
    time = float(clip.times[index])
    camera = scene_camera(scene, bpy.context.evaluated_depsgraph_get(), scene.camera, armature, clip.width, clip.height)
    return Reference(clip.frame_at(time), camera, pose, time)


def _rendered(armature: bpy.types.Object, rig: Rig, pose: np.ndarray) -> list[Reference]:
    from ..backend.rasterizer import draw_rig  # draws with torch

    cameras = [default_camera(armature, _PICTURE, _PICTURE, yaw, _PITCH) for yaw in _YAWS]
    return [Reference(draw_rig(rig, pose, camera, (_PICTURE, _PICTURE), _BACKGROUND)[0], camera, pose, None) for camera in cameras]
