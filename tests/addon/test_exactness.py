"""What needs no model must be exact: turns to keys to vertices, whatever the rig's bone axes, units, object matrix and rotation modes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector
from mocap_anything.addon.keyframe_writer import write_motion
from mocap_anything.addon.reference_reader import read_pose
from mocap_anything.addon.rig_reader import read_rig
from mocap_anything.addon.rotation_modes import matrices
from mocap_anything.addon.scene_camera import camera_track
from mocap_anything.backend.camera import Camera, view_rotation
from mocap_anything.backend.kinematics import bone_rotations, inverse_affine, pose_along_carriers
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.rig import Rig
from mocap_anything.backend.turns import motion_from_turns, turns_from_rotations

MODES = ["QUATERNION", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FPS, FRAMES = 24.0, 12
TIMES = np.arange(FRAMES) / FPS
# a body in the world: joints, and which joint each bone starts at and ends at
JOINTS = {"pelvis": (0, 0, 1), "chest": (0, 0.1, 1.6), "head": (0, 0, 2.1), "shoulder": (0.3, 0.1, 1.5), "elbow": (0.7, 0.2, 1.4), "hand": (1.0, -0.2, 1.3),
          "hip": (-0.2, 0, 0.9), "knee": (-0.2, -0.1, 0.5), "foot": (-0.25, 0.05, 0.0)}  # fmt: skip
BONES = {"spine": ("pelvis", "chest", None), "neck": ("chest", "head", "spine"), "arm": ("shoulder", "elbow", "spine"), "forearm": ("elbow", "hand", "arm"),
         "thigh": ("hip", "knee", "spine"), "shin": ("knee", "foot", "thigh")}  # fmt: skip


@pytest.fixture(autouse=True)
def blank() -> bpy.types.Scene:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.fps = int(FPS)
    return scene


def smooth_rotations(frames: int, bones: int, seed: int, reach: float = 0.8) -> np.ndarray:
    """(T, J, 3, 3), the identity at no frame."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2 * np.pi, frames)[:, None, None]
    vectors = rng.normal(0, reach, (bones, 3)) * np.sin(t + rng.uniform(0, 6, (bones, 3))) + rng.normal(0, 0.2, (bones, 3))
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return matrices(np.concatenate([np.cos(angle / 2), np.sin(angle / 2) * vectors / angle], -1))


def make_body(place: Matrix, rolls: np.ndarray, modes: list[str]) -> bpy.types.Object:
    """The body of JOINTS and BONES as an armature object that stands in the world by a matrix; what is seen does not depend on it."""
    into = place.inverted()
    armature = bpy.data.objects.new("Body", bpy.data.armatures.new("Body"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for (name, (start, end, parent)), roll in zip(BONES.items(), rolls, strict=True):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail, bone.roll = into @ Vector(JOINTS[start]), into @ Vector(JOINTS[end]), roll
        bone.parent = armature.data.edit_bones[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone, mode in zip(armature.pose.bones, modes, strict=True):
        bone.rotation_mode = mode
    _stand(armature, place)
    _add_skin(armature, place)
    bpy.context.view_layer.update()
    return armature


def _stand(armature: bpy.types.Object, place: Matrix) -> None:
    """Place an armature; a mirrored place comes from a mirrored parent, as in files that were mirrored after rigging."""
    if place.determinant() > 0:
        armature.matrix_world = place
        return
    mirror = bpy.data.objects.new("Mirror", None)
    bpy.context.scene.collection.objects.link(mirror)
    mirror.scale = (-1, 1, 1)
    armature.parent = mirror
    armature.matrix_basis = Matrix.Diagonal((-1, 1, 1, 1)) @ place


def _add_skin(armature: bpy.types.Object, place: Matrix) -> None:
    """Some vertices round each bone, a few shared between neighbours."""
    rng = np.random.default_rng(5)
    into, corners, owners = place.inverted(), [], []
    for name, (start, end, parent) in BONES.items():
        for share in np.linspace(0, 1, 6):
            for _ in range(3):
                point = Vector(JOINTS[start]).lerp(Vector(JOINTS[end]), share) + Vector(rng.normal(0, 0.05, 3))
                corners.append(into @ point)
                owners.append((name, parent if share < 0.3 else None))
    mesh = bpy.data.meshes.new("Skin")
    mesh.from_pydata(corners, [], [(i, i + 1, i + 2) for i in range(0, len(corners), 3)])
    skin = bpy.data.objects.new("Skin", mesh)
    bpy.context.scene.collection.objects.link(skin)
    for name in BONES:
        skin.vertex_groups.new(name=name)
    for index, (name, parent) in enumerate(owners):
        skin.vertex_groups[name].add([index], 0.7 if parent else 1.0, "REPLACE")
        if parent:
            skin.vertex_groups[parent].add([index], 0.3, "REPLACE")
    skin.parent = armature
    skin.modifiers.new("Armature", "ARMATURE").object = armature


def add_moving_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame, x, tilt in ((1, 0.0, 1.4), (1 + FRAMES, 2.0, 1.6)):
        camera.location, camera.rotation_euler = (x, -6.0, 1.5), (tilt, 0.1, x / 5)
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    return camera


@dataclass(frozen=True)
class Seen:
    """A capture's input that is free of the rig's conventions: turns in the view frame, and where the root's head is in the world."""

    turns: np.ndarray
    views: np.ndarray
    root: np.ndarray


def recapture(armature: bpy.types.Object, rig: Rig, reference: np.ndarray, camera: Camera, seen: Seen) -> None:
    """Turns since the reference (at time 0) become keys, as the pipeline does it."""
    to_camera = camera.rotation
    rotations = motion_from_turns(seen.turns, bone_rotations(reference), to_camera, to_camera[0], seen.views, seen.views[0])
    into = np.linalg.inv(np.array(armature.matrix_world, np.float64))
    roots = np.zeros((FRAMES, len(rig), 3))
    roots[:, rig.carriers < 0] = (seen.root @ into[:3, :3].T + into[:3, 3])[:, None]
    heads = pose_along_carriers(rig, rotations, reference, roots)
    shape = heads.shape[:2]
    motion = Motion(TIMES, rotations, heads, np.zeros(shape, np.float32), np.full((*shape, 2), np.nan, np.float32))
    write_motion(armature, rig, motion, reference, name="clip", start_frame=1.0, scene_fps=FPS)


def world_vertices(frames: list[int]) -> np.ndarray:
    """(T, V, 3) of all meshes of the scene, as Blender evaluates them."""
    out = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        parts = []
        for thing in sorted((o for o in bpy.context.scene.objects if o.type == "MESH"), key=lambda o: o.name):
            evaluated = thing.evaluated_get(depsgraph)
            flat = np.empty(3 * len(evaluated.data.vertices), np.float32)
            evaluated.data.vertices.foreach_get("co", flat)
            matrix = np.array(evaluated.matrix_world, np.float64)
            parts.append(flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
        out.append(np.concatenate(parts))
    return np.array(out)


def captured_vertices(place: Matrix, rolls: np.ndarray, modes: list[str]) -> np.ndarray:
    """The body, posed and captured: the same turns and root for every rig that stands for it. (T, V, 3) world."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.fps = int(FPS)
    armature = make_body(place, rolls, modes)
    rig = read_rig(armature)
    camera = camera_track(scene, add_moving_camera(scene), armature, TIMES, 1.0, 1280, 720)
    walk = np.linspace(0, 300, FRAMES)[:, None] * [2, 1] + 300
    views = view_rotation(camera.intrinsics, walk)
    order = [list(BONES).index(name) for name in rig.names]
    root = np.array(JOINTS["pelvis"]) + np.linspace(0, 1, FRAMES)[:, None] * [0.5, 0.3, 0.1]
    # first a reference off rest, given by turns since rest, then the motion since that reference
    posing = np.tile(smooth_rotations(1, len(BONES), 3)[:, order], (FRAMES, 1, 1, 1))
    still = Camera(np.tile(camera.intrinsics[:1], (FRAMES, 1)), np.tile(camera.from_armature[:1], (FRAMES, 1, 1)), 1280, 720)
    recapture(armature, rig, rig.rest, still, Seen(posing, np.tile(views[:1], (FRAMES, 1, 1)), np.tile(root[:1], (FRAMES, 1))))
    scene.frame_set(1)
    reference = read_pose(armature, rig)
    turns = smooth_rotations(FRAMES, len(BONES), 4)[:, order]
    turns = turns @ np.swapaxes(turns[:1], -1, -2)
    recapture(armature, rig, reference, camera, Seen(turns, views, root))
    return world_vertices(list(range(1, 1 + FRAMES)))


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return captured_vertices(Matrix(), np.zeros(len(BONES)), ["QUATERNION"] * len(BONES))


TURN_90 = Matrix.Rotation(np.pi / 2, 4, "X")
PLACES = {
    "as it is": Matrix(),
    "100 times": Matrix.Scale(100, 4),
    "a hundredth": Matrix.Scale(0.01, 4),
    "import turn": TURN_90,
    "import turn and 100 times": TURN_90 @ Matrix.Scale(100, 4),
    "somewhere": Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, (1, 2, 3)) @ Matrix.Scale(0.3, 4),
    "mirrored parent": Matrix.Diagonal((-1, 1, 1, 1)),
    "mirrored parent, turned and scaled": Matrix.Diagonal((-2, 2, 2, 1)) @ Matrix.Rotation(0.5, 4, (3, 1, 1)),
}


def assert_same(vertices: np.ndarray, expected: np.ndarray) -> None:
    size = np.linalg.norm(np.ptp(expected[0], axis=0))
    assert np.linalg.norm(vertices - expected, axis=-1).max() < 1e-4 * size
    assert np.linalg.norm(expected - expected[0], axis=-1).max() > 0.2 * size


@pytest.mark.parametrize("place", PLACES)
def test_the_armatures_place_and_units_do_not_matter(expected: np.ndarray, place: str) -> None:
    assert_same(captured_vertices(PLACES[place], np.zeros(len(BONES)), ["QUATERNION"] * len(BONES)), expected)


@pytest.mark.parametrize("seed", range(3))
def test_bone_axes_and_rotation_modes_do_not_matter(expected: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_same(captured_vertices(Matrix(), rng.uniform(-3, 3, len(BONES)), list(rng.permutation(MODES)[: len(BONES)])), expected)


@pytest.mark.parametrize("mode", MODES)
def test_keys_to_pose_to_keys(mode: str) -> None:
    """Blender's own keys of any values, read as a pose and written anew, turn every bone to within 1e-4 radians of what it was."""
    armature = make_body(Matrix(), np.linspace(-3, 3, len(BONES)), [mode] * len(BONES))
    rig = read_rig(armature)
    rng = np.random.default_rng(0)
    channel = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(mode, "rotation_euler")
    for frame in range(1, 1 + FRAMES):
        for bone in armature.pose.bones:
            setattr(bone, channel, rng.uniform(-4, 4, len(getattr(bone, channel))))
            bone.keyframe_insert(channel, frame=frame)
    poses, before = zip(*(_pose_and_keys(armature, rig, frame) for frame in range(1, 1 + FRAMES)), strict=True)
    pose = np.array(poses)
    shape = pose.shape[:2]
    motion = Motion(TIMES, bone_rotations(pose), pose[..., :3, 3], np.zeros(shape, np.float32), np.full((*shape, 2), np.nan, np.float32))
    write_motion(armature, rig, motion, pose[0], name="again", start_frame=1.0, scene_fps=FPS)
    for frame in range(1, 1 + FRAMES):
        _, after = _pose_and_keys(armature, rig, frame)
        assert (np.linalg.norm(after - before[frame - 1], axis=(-2, -1)) / np.sqrt(2)).max() < 1e-4


def _pose_and_keys(armature: bpy.types.Object, rig: Rig, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """(J, 4, 4) pose and (J, 3, 3) the rotations that the bones' own channels hold."""
    bpy.context.scene.frame_set(frame)
    bpy.context.view_layer.update()
    keys = np.array([armature.pose.bones[name].matrix_basis.to_3x3() for name in rig.names], np.float64)
    return read_pose(armature, rig), keys


@pytest.mark.parametrize("mirrored", [False, True])
def test_turns_and_orientations_are_inverse_and_free_of_axes(mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    rotations, axes = smooth_rotations(FRAMES, 9, 1, 2.0), smooth_rotations(1, 9, 2, 2.0)[0]
    to_camera, views = smooth_rotations(FRAMES, 2, 6).swapaxes(0, 1)
    if mirrored:
        to_camera = to_camera @ np.diag([-1.0, 1, 1])
    turns = turns_from_rotations(rotations, rotations[3], to_camera, to_camera[3], views, views[3])
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    np.testing.assert_allclose(turns[3], np.tile(np.eye(3), (9, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(motion_from_turns(turns, rotations[3], to_camera, to_camera[3], views, views[3]), rotations, atol=1e-12)
    rolled = rotations @ axes
    np.testing.assert_allclose(turns_from_rotations(rolled, rolled[3], to_camera, to_camera[3], views, views[3]), turns, atol=1e-12)
    one = int(rng.integers(9))
    plain = views[5] @ to_camera[5] @ rotations[5, one] @ (views[3] @ to_camera[3] @ rotations[3, one]).T
    np.testing.assert_allclose(turns[5, one], plain, atol=1e-12)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder ../shared")
@pytest.mark.parametrize("name", ["q_animals_fox", "q_enemy_spider", "qfbx_horse", "q_platformer_character"])
def test_re_rolling_a_real_rig_changes_nothing(name: str) -> None:
    """A real clip, seen as turns, captured onto the rig as it came and onto the rig with every bone rolled at random."""
    from mocap_anything.training.data.bake import actions_of, import_file, main_armature

    folder = SHARED / "rigs" / name
    import_file(next(p for p in folder.iterdir() if p.suffix in (".glb", ".fbx")))
    scene, armature = bpy.context.scene, main_armature()
    scene.render.fps = int(FPS)
    rig = read_rig(armature)
    poses = _play(armature, rig, actions_of(armature)[0])
    camera = Camera(np.tile([900.0, 900, 320, 240], (FRAMES, 1)), np.tile(np.linalg.inv(np.array(armature.matrix_world)), (FRAMES, 1, 1)), 640, 480)
    views = view_rotation(camera.intrinsics, np.linspace(50, 400, FRAMES)[:, None] * [1, 1])
    rotations = bone_rotations(poses)
    turns = turns_from_rotations(rotations, rotations[0], camera.rotation, camera.rotation[0], views, views[0])
    root = _to_world(armature, poses[:, np.flatnonzero(rig.carriers < 0)[0], :3, 3])
    recapture(armature, rig, poses[0], camera, Seen(turns, views, root))
    plain = world_vertices([1, 5, FRAMES])
    deformation = poses[0] @ inverse_affine(rig.rest)
    _roll_at_random(armature)
    rolled = read_rig(armature)
    assert rolled.names == rig.names
    assert np.abs(rolled.rest - rig.rest).max() > 0.5
    rolled = Rig(rolled.names, rolled.parents, rig.carriers, rolled.rest, rolled.ends, rolled.driven, rolled.reasons, rolled.inherit_rotation,
                 rolled.local_location, rolled.inherit_scale, rolled.mesh)  # fmt: skip
    recapture(armature, rolled, deformation @ rolled.rest, camera, Seen(turns, views, root))
    assert np.linalg.norm(world_vertices([1, 5, FRAMES]) - plain, axis=-1).max() < 1e-4 * np.linalg.norm(np.ptp(plain[0], axis=0))
    assert np.linalg.norm(plain - plain[0], axis=-1).max() > 1e-3 * np.linalg.norm(np.ptp(plain[0], axis=0))


def _play(armature: bpy.types.Object, rig: Rig, action: bpy.types.Action) -> np.ndarray:
    """(T, J, 4, 4) of an action at frames spread over it."""
    data = armature.animation_data_create()
    for track in list(data.nla_tracks):
        data.nla_tracks.remove(track)
    data.action = action
    if hasattr(data, "action_slot") and data.action_slot is None:
        data.action_slot = data.action_suitable_slots[0]
    poses = []
    for frame in np.linspace(*action.frame_range, FRAMES):
        bpy.context.scene.frame_set(int(frame))
        poses.append(read_pose(armature, rig))
    data.action = None
    return np.array(poses)


def _to_world(armature: bpy.types.Object, points: np.ndarray) -> np.ndarray:
    matrix = np.array(armature.matrix_world, np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _roll_at_random(armature: bpy.types.Object) -> None:
    """Roll every bone; what the properties of the pose say is cleared, since it is relative to the axes."""
    armature.animation_data_clear()
    rng = np.random.default_rng(1)
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in armature.data.edit_bones:
        bone.roll += rng.uniform(-3, 3)
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.matrix_basis = Matrix()
    bpy.context.view_layer.update()
