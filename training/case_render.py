"""One closed-loop case in Blender: import, play, film before a background of our own, and leave what an animator would hand over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import bpy
import numpy as np
from mathutils import Matrix
from PIL import Image

from ..addon.rig_reader import read_rig
from ..backend.kinematics import skin
from ..backend.rig import Rig
from .case_background import build_background
from .cases import FPS, SENSOR, Take, Truth, aim, choose_clip, group_of, plan_take, seed_of
from .data.bake import actions_of, held_out, import_file, main_armature
from .video_file import write_video


class NoClip(Exception):
    """The rig has nothing to film: no held-out clip, or one that a rig of the same family has shown already."""


def render_case(
    entry: dict[str, Any], rigs: Path, folder: Path, seed: int, frames: int, resolution: tuple[int, int], samples: int, groups: set[str]
) -> str:
    """Write the case of one index entry and return a line about it; `groups` of skeleton and clip that exist already are left out
    where the split is `seen`, and the case's own is added."""
    started = time.monotonic()
    rng = seed_of(entry["name"], seed)
    import_file(rigs / entry["name"] / entry["file"])
    armature = main_armature()
    _keep_only(armature)
    _make_opaque()
    rig = read_rig(armature)
    clips = _clips(armature, rig, entry)
    name = list(clips)[choose_clip(rig, list(clips.values()), seed)]
    split = "seen" if entry["split"] == "train" else entry["split"]
    group = group_of(rig, name)
    if split == "seen" and group in groups:
        raise NoClip(f"shares skeleton and {name} with another rig")
    take = plan_take(rng, rig, clips[name], frames)
    pose = _perform(armature, rig, bpy.data.actions[name], take)
    folder.mkdir(parents=True, exist_ok=True)
    world = np.array(armature.matrix_world)
    points = _points(rig, pose) @ world[:3, :3].T + world[:3, 3]
    _camera(aim(take, points, *resolution), take.focal)
    _settings(resolution, len(pose), samples)
    background = build_background(rng, points, np.array(bpy.context.scene.camera.location))
    _film(folder, len(pose), resolution)
    for item in background:
        bpy.data.objects.remove(item)
    reference = len(pose) // 2
    _hand_over(armature, reference + 1, folder / "rig.blend")
    up = np.linalg.inv(world[:3, :3]) @ np.array([0.0, 0, 1])
    # Last, since its presence says that the case is whole.
    Truth(entry["name"], split, name, group, rig.names, pose, reference, up / np.linalg.norm(up)).save(folder / "truth.npz")
    groups.add(group)
    return f"{name}: {len(pose)} frames, {time.monotonic() - started:.0f} s"


def _keep_only(armature: bpy.types.Object) -> None:
    """Take away what is not the rig: everything but the armature, what stands above it and what hangs from it or follows it."""
    kept = {armature.name}
    above = armature.parent
    while above is not None:
        kept.add(above.name)
        above = above.parent
    changed = True
    while changed:
        followers = {
            o.name for o in bpy.context.scene.objects
            if o.name not in kept and o.type in ("MESH", "ARMATURE", "EMPTY")
            and ((o.parent is not None and o.parent.name in kept and o.parent_type != "OBJECT") or (o.parent == armature)
                 or any(m.type == "ARMATURE" and m.object is not None and m.object.name in kept for m in o.modifiers))
        }
        changed = bool(followers)
        kept |= followers
    for item in list(bpy.context.scene.objects):
        if item.name not in kept:
            bpy.data.objects.remove(item)
        elif item != armature:
            item.animation_data_clear()
    for key in bpy.data.shape_keys:
        key.animation_data_clear()


def _make_opaque() -> None:
    """Some imported materials have alpha 0, which renders as nothing."""
    for material in bpy.data.materials:
        tree = material.node_tree
        for node in tree.nodes if tree is not None else []:
            alpha = node.inputs.get("Alpha") if node.type == "BSDF_PRINCIPLED" else None
            if alpha is not None and not alpha.is_linked and alpha.default_value < 0.5:
                alpha.default_value = 1.0


def _clips(armature: bpy.types.Object, rig: Rig, entry: dict[str, Any]) -> dict[str, np.ndarray]:
    """Poses of the clips that may be filmed, sampled at FPS, those without any motion left out."""
    actions = actions_of(armature)
    allowed = [a for a, held in zip(actions, held_out(entry, [a.name for a in actions]), strict=True) if held]
    found = {}
    for action in allowed:
        first, last = action.frame_range
        seconds = (last - first) * bpy.context.scene.render.fps_base / bpy.context.scene.render.fps
        count = int(np.clip(round(seconds * FPS) + 1, 1, 400))
        if count >= 8:
            found[action.name] = _play(armature, rig, action, np.arange(count, dtype=float))
    if not found:
        raise NoClip("no held-out clip of eight frames or more")
    return found


def _play(armature: bpy.types.Object, rig: Rig, action: bpy.types.Action, ticks: np.ndarray) -> np.ndarray:
    """Pose (T, J, 4, 4) of an action at ticks, in frames of FPS since its beginning."""
    scene, data = bpy.context.scene, armature.animation_data_create()
    for track in list(data.nla_tracks):
        data.nla_tracks.remove(track)
    for bone in armature.pose.bones:
        bone.matrix_basis.identity()
    data.action = action
    if hasattr(data, "action_slot") and data.action_slot is None:
        data.action_slot = data.action_suitable_slots[0]
    rate = scene.render.fps / scene.render.fps_base / FPS
    last = action.frame_range[1]
    pose = np.empty((len(ticks), len(rig), 4, 4))
    for row, tick in enumerate(ticks):
        frame = min(action.frame_range[0] + tick * rate, last)
        scene.frame_set(int(np.floor(frame)), subframe=float(frame - np.floor(frame)))
        bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        pose[row] = [bones[name].matrix for name in rig.names]
    return pose


def _perform(armature: bpy.types.Object, rig: Rig, action: bpy.types.Action, take: Take) -> np.ndarray:
    """Key the taken stretch on frames 1, 2, … of a scene at FPS in place of all that the file brought; the pose (T, J, 4, 4)."""
    ticks = take.start + take.step * np.arange(take.frames)
    scene, bases = bpy.context.scene, []
    for tick in ticks:
        _play(armature, rig, action, np.array([tick]))
        bases.append({bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones})
    armature.animation_data_clear()
    for other in list(bpy.data.actions):
        bpy.data.actions.remove(other)
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    for frame, basis in enumerate(bases, 1):
        _key(armature, basis, frame)
    pose = np.empty((len(ticks), len(rig), 4, 4))
    for row in range(len(ticks)):
        scene.frame_set(row + 1)
        bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        pose[row] = [bones[name].matrix for name in rig.names]
    return pose


def _key(armature: bpy.types.Object, basis: dict[str, Matrix], frame: int) -> None:
    """Key every channel of every bone, in its own rotation mode."""
    paths = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}
    for bone in armature.pose.bones:
        bone.matrix_basis = basis[bone.name]
        for path in ("location", paths.get(bone.rotation_mode, "rotation_euler"), "scale"):
            bone.keyframe_insert(path, frame=frame, group=bone.name)


def _points(rig: Rig, pose: np.ndarray, most: int = 400) -> np.ndarray:
    """(T, N, 3) points of the posed body, armature frame."""
    if rig.mesh is None:
        return pose[..., :3, 3]
    every = max(1, len(rig.mesh.vertices) // most)
    part = type(rig.mesh)(rig.mesh.vertices[::every], np.zeros((0, 3), np.int32), rig.mesh.bones[::every], rig.mesh.weights[::every], rig.mesh.colors[::every])
    return skin(part, rig, pose)


def _camera(matrix: np.ndarray, focal: float) -> None:
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width, data.sensor_height, data.sensor_fit = focal, SENSOR, SENSOR, "AUTO"
    item = bpy.data.objects.new("Camera", data)
    item.matrix_world = Matrix(matrix.tolist())
    bpy.context.scene.collection.objects.link(item)
    bpy.context.scene.camera = item
    bpy.context.view_layer.update()


def _settings(resolution: tuple[int, int], frames: int, samples: int) -> None:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, frames
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = *resolution, 100
    render.engine, render.use_persistent_data = "CYCLES", True
    render.image_settings.file_format, render.image_settings.compression = "PNG", 15
    scene.view_settings.view_transform = "Standard"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_adaptive_sampling, cycles.max_bounces, cycles.use_denoising = "CPU", samples, False, 2, True
    cycles.denoising_prefilter, cycles.denoising_quality, cycles.denoising_input_passes = "NONE", "FAST", "RGB_ALBEDO"


def _film(folder: Path, frames: int, resolution: tuple[int, int]) -> None:
    """Render frames 1 to T into clip.mp4."""
    stills = folder / "frames"
    stills.mkdir(exist_ok=True)
    write_video(folder / "clip.mp4", _rendered(stills, frames), FPS, resolution)
    shutil.rmtree(stills)


def _rendered(stills: Path, frames: int) -> Iterator[av.VideoFrame]:
    """Frames 1 to T of the scene, by way of files."""
    scene = bpy.context.scene
    for frame in range(1, frames + 1):
        scene.frame_set(frame)
        scene.render.filepath = str(stills / f"{frame:04d}.png")
        bpy.ops.render.render(write_still=True)
        with Image.open(scene.render.filepath) as picture:
            yield av.VideoFrame.from_image(picture.convert("RGB"))


def _hand_over(armature: bpy.types.Object, frame: int, path: Path) -> None:
    """Save the rig keyed on one frame alone, with nothing of the background left."""
    scene = bpy.context.scene
    scene.frame_set(frame)
    basis = {bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones}
    armature.animation_data_clear()
    for action in list(bpy.data.actions):
        bpy.data.actions.remove(action)
    _key(armature, basis, frame)
    bpy.data.worlds.remove(scene.world)
    scene.render.filepath = "//"
    bpy.ops.outliner.orphans_purge(do_local_ids=True, do_recursive=True)
    for image in bpy.data.images:
        if image.has_data and image.packed_file is None:
            image.pack()
    scene.frame_set(frame)
    path.with_suffix(".blend1").unlink(missing_ok=True)
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), compress=True)
