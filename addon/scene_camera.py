"""The scene's camera as the backend sees it, and the camera that is set up for a clip or assumed where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..backend.camera import Camera
from ..backend.errors import CaptureError

log = logging.getLogger(__name__)

# a 50 mm lens on a picture 36 mm on its longer side
_LENS, _SENSOR = 50.0, 36.0
_FILL = 0.6  # share of the picture that the subject takes up in a camera that we place
# Blender's camera (x right, y up, looking along -z) to OpenCV's (y down, looking along +z)
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_STILL = 1e-7


def scene_fps(scene: bpy.types.Scene) -> float:
    return scene.render.fps / scene.render.fps_base


@contextmanager
def visiting_frames(scene: bpy.types.Scene) -> Iterator[None]:
    """Frames may be visited with `go_to` inside; the current one comes back."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    try:
        yield
    finally:
        go_to(scene, frame + subframe)


def go_to(scene: bpy.types.Scene, frame: float) -> None:
    """Show a frame; where the scene is there already nothing is evaluated, so that changes that are not keyed yet stay."""
    if abs(scene.frame_current + scene.frame_subframe - frame) > 1e-5:
        whole = int(np.floor(frame + 1e-5))
        scene.frame_set(whole, subframe=max(frame - whole, 0.0))


def scene_camera(
    scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, camera: bpy.types.Object, armature: bpy.types.Object, width: int, height: int
) -> Camera:
    """The camera on the current frame, for a picture (the clip's) of width x height pixels that fills the camera's frame.

    Raises CaptureError unless it is a perspective camera.
    """
    evaluated = camera.evaluated_get(depsgraph)
    if camera.type != "CAMERA" or evaluated.data.type != "PERSP":
        raise CaptureError(f"The scene camera '{camera.name}' is not a perspective camera. Set its lens type to Perspective, or use Set Up Camera from Video.")
    intrinsics = _intrinsics(evaluated.data, scene.render, width, height)
    return Camera(intrinsics, _from_armature(evaluated.matrix_world, armature.evaluated_get(depsgraph).matrix_world), width, height)


def camera_track(
    scene: bpy.types.Scene, camera: bpy.types.Object, armature: bpy.types.Object, times: np.ndarray, start_frame: float, width: int, height: int
) -> Camera:
    """The camera at each time (T,) in seconds since start_frame; of leading shape () where neither it nor the armature object moves."""
    frames = start_frame + np.asarray(times) * scene_fps(scene)
    if not (_may_move(camera) or _may_move(armature)):
        frames = frames[:1]
    intrinsics, places = np.empty((len(frames), 4)), np.empty((len(frames), 4, 4))
    with visiting_frames(scene):
        for index, frame in enumerate(frames):
            if len(frames) > 1:
                go_to(scene, float(frame))
            now = scene_camera(scene, bpy.context.evaluated_depsgraph_get(), camera, armature, width, height)
            intrinsics[index], places[index] = now.intrinsics, now.from_armature
    if _constant(intrinsics) and _constant(places):
        return Camera(intrinsics[0], places[0], width, height)
    return Camera(intrinsics, places, width, height)


def default_camera(armature: bpy.types.Object, width: int, height: int, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
    """The still camera that is assumed where the scene has none: 50 mm equivalent, in front of the armature (looking along +Y).

    yaw, pitch: radians by which it stands further round the subject (anticlockwise from above) and higher.
    """
    depsgraph = bpy.context.evaluated_depsgraph_get()
    focal = _LENS / _SENSOR * max(width, height)
    place, _ = _view_of(_extent(armature, depsgraph), width, height, yaw, pitch)
    intrinsics = np.array([focal, focal, width / 2, height / 2])
    return Camera(intrinsics, _from_armature(place, armature.evaluated_get(depsgraph).matrix_world), width, height)


def set_up_camera(scene: bpy.types.Scene, path: str | Path, start_frame: float, armature: bpy.types.Object | None = None) -> bpy.types.Object:
    """A new scene camera in front of the armature (the active one where None) with the clip behind it; picture and range become the clip's.

    The scene's frame rate stays as it is: where the clip's differs, the background is shown by time. Raises CaptureError where the
    clip cannot be opened.
    """
    clip = _load_clip(Path(path))
    width, height, duration = _facts(Path(path), clip, scene_fps(scene))
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    scene.frame_start = int(np.floor(start_frame))
    scene.frame_end = scene.frame_start + max(round(duration * scene_fps(scene)) - 1, 0)
    data = bpy.data.cameras.new("Capture Camera")
    data.lens, data.sensor_width, data.sensor_fit = _LENS, _SENSOR, "AUTO"
    camera = bpy.data.objects.new("Capture Camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    armature = armature or _armature_of(scene)
    points = np.array([[-1.0, -1, 0], [1, 1, 2]]) if armature is None else _extent(armature, bpy.context.evaluated_depsgraph_get())
    camera.matrix_world, distance = _view_of(points, width, height)
    data.clip_start, data.clip_end = distance * 1e-3, max(distance * 100, 100.0)
    _show_behind(data, clip, scene)
    return camera


def _intrinsics(data: bpy.types.Camera, render: bpy.types.RenderSettings, width: int, height: int) -> np.ndarray:
    """(4,) fx, fy, cx, cy in the picture's pixels, as Blender's `BKE_camera_params_compute_viewplane` lays out its view."""
    across, down = float(render.resolution_x), float(render.resolution_y)
    pixel_height = render.pixel_aspect_y / render.pixel_aspect_x
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if across >= down * pixel_height else "VERTICAL"
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    fitted = across if fit == "HORIZONTAL" else down * pixel_height
    focal = data.lens / sensor * fitted
    rendered = np.array([focal, focal / pixel_height, across / 2 - data.shift_x * fitted, down / 2 + data.shift_y * fitted / pixel_height])
    return rendered * np.tile([width / across, height / down], 2)


def _from_armature(camera: Matrix, armature: Matrix) -> np.ndarray:
    """(4, 4) armature to OpenCV camera; Blender leaves a camera's own scale out of the picture."""
    return _TO_OPENCV @ np.linalg.inv(np.array(camera.normalized(), np.float64)) @ np.array(armature, np.float64)


def _constant(values: np.ndarray) -> bool:
    return bool((np.abs(values - values[0]) <= _STILL * np.abs(values[0]).max()).all())


def _may_move(thing: bpy.types.Object) -> bool:
    """Whether anything can move an object or change its lens over time; when in doubt it may."""
    if any(not constraint.mute for constraint in thing.constraints) or thing.rigid_body is not None or _animated(thing):
        return True
    if thing.type == "CAMERA" and _animated(thing.data):
        return True
    if thing.parent is None:
        return False
    return thing.parent_type != "OBJECT" or thing.parent.type == "CURVE" or _may_move(thing.parent)


def _animated(owner: bpy.types.ID) -> bool:
    from .blender_versions import assigned_action, channels

    data = owner.animation_data
    if data is None:
        return False
    if any(not track.mute and len(track.strips) for track in data.nla_tracks):
        return True
    action, slot = assigned_action(owner)
    bag = channels(action, slot) if action is not None else None
    curves = [*data.drivers, *(bag.fcurves if bag is not None else ())]
    return any(not curve.data_path.startswith("pose.bones[") for curve in curves)


def _armature_of(scene: bpy.types.Scene) -> bpy.types.Object | None:
    active = bpy.context.view_layer.objects.active
    if active is not None and active.type == "ARMATURE":
        return active
    return next((thing for thing in scene.objects if thing.type == "ARMATURE"), None)


def _extent(armature: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> np.ndarray:
    """(N, 3) world points that enclose the subject as it is posed: its meshes' boxes, or its bones where it has none."""
    bound = [thing for thing in depsgraph.objects if thing.type == "MESH" and _follows(thing.original, armature)]
    if bound:
        return np.array([thing.matrix_world @ Vector(corner) for thing in bound for corner in thing.bound_box])
    evaluated = armature.evaluated_get(depsgraph)
    return np.array([evaluated.matrix_world @ end for bone in evaluated.pose.bones for end in (bone.head, bone.tail)])


def _follows(mesh: bpy.types.Object, armature: bpy.types.Object) -> bool:
    return mesh.parent == armature or any(modifier.type == "ARMATURE" and modifier.object == armature for modifier in mesh.modifiers)


def _view_of(points: np.ndarray, width: int, height: int, yaw: float = 0.0, pitch: float = 0.0) -> tuple[Matrix, float]:
    """Where a camera stands that looks along +Y, turned by yaw and pitch, at points (N, 3) that fill most of its picture; its distance."""
    turn = Matrix.Rotation(yaw, 3, "Z") @ Matrix.Rotation(np.pi / 2 - pitch, 3, "X")
    seen = points @ np.array(turn)
    low, high = seen.min(0), seen.max(0)
    across, tall, deep = high - low
    focal = _LENS / _SENSOR * max(width, height)
    distance = max(across * focal / (_FILL * width), tall * focal / (_FILL * height), 1e-3) + deep / 2
    place = turn @ Vector((low + high) / 2 + [0, 0, distance])
    return Matrix.Translation(place) @ turn.to_4x4(), distance


def _load_clip(path: Path) -> bpy.types.MovieClip:
    first = path
    if path.is_dir():
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in bpy.path.extensions_image)
        if not pictures:
            raise CaptureError(f"The folder '{path}' holds no pictures. Choose a video file or a folder of images.")
        first = pictures[0]
    try:
        clip = bpy.data.movieclips.load(str(first), check_existing=False)
    except RuntimeError as error:
        raise CaptureError(f"'{path}' cannot be opened as a video. Choose a video file or a folder of images.") from error
    if not min(clip.size):
        bpy.data.movieclips.remove(clip)
        raise CaptureError(f"'{path}' holds no picture that Blender can read. Choose another video.")
    return clip


def _facts(path: Path, clip: bpy.types.MovieClip, fps: float) -> tuple[int, int, float]:
    """Width, height and seconds, by time stamps and rotation metadata where PyAV is there, else as Blender reads them. Images: one per frame."""
    from ..backend.video import open_clip

    try:
        read = open_clip(path, frame_rate=fps if clip.source == "SEQUENCE" else None)
    except ImportError:
        log.info("PyAV is not installed: the clip's size and length are Blender's")
        return clip.size[0], clip.size[1], clip.frame_duration / max(clip.fps, 1.0)
    except CaptureError:
        bpy.data.movieclips.remove(clip)
        raise
    if (clip.size[0] > clip.size[1]) != (read.source_width > read.source_height):
        log.warning("This Blender ignores the rotation that '%s' asks for: the background lies on its side, the capture does not", path.name)
    return read.source_width, read.source_height, read.duration


def _show_behind(data: bpy.types.Camera, clip: bpy.types.MovieClip, scene: bpy.types.Scene) -> None:
    """Put the clip behind everything in the camera's view, by time: Blender shows one clip frame per scene frame whatever the rates."""
    clip.frame_start = scene.frame_start
    data.show_background_images = True
    background = data.background_images.new()
    background.source, background.clip = "MOVIE_CLIP", clip
    background.alpha, background.display_depth, background.frame_method = 1.0, "BACK", "STRETCH"
    if clip.source != "MOVIE" or abs(clip.fps / scene_fps(scene) - 1) < 1e-6:
        return
    driver = clip.driver_add("frame_offset").driver
    driver.type = "SCRIPTED"
    for name, path in (("fps", "render.fps"), ("base", "render.fps_base")):
        variable = driver.variables.new()
        variable.name, variable.type = name, "SINGLE_PROP"
        variable.targets[0].id_type, variable.targets[0].id, variable.targets[0].data_path = "SCENE", scene, path
    shown = f"(frame - {scene.frame_start})"
    # simple enough for Blender to evaluate without Python, so it also works where scripts of files are not trusted
    driver.expression = f"floor({shown} * {clip.fps:.6f} * base / fps + 0.5) - {shown}"
