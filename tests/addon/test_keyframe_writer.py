"""Motions written on real armatures: the keys give the motion back, in every rotation mode, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector
from mocap_anything.addon import blender_versions, keyframe_writer
from mocap_anything.addon.keyframe_writer import write_motion
from mocap_anything.addon.rig_reader import read_rig
from mocap_anything.addon.rotation_modes import channel_values, matrices, quaternions_of
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import basis_from_pose, bone_rotations, forward
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.rig import Rig

MODES = ["QUATERNION", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"]
FPS = 30.0


@pytest.fixture
def blank() -> bpy.types.Scene:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene


def make_armature(seed: int = 0) -> bpy.types.Object:
    """A root, a spine of five, two arms of two, each with its own roll, one bone for every rotation mode."""
    rng = np.random.default_rng(seed)
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    parents = {"root": None, "s0": "root", "s1": "s0", "s2": "s1", "s3": "s2", "arm.L": "s3", 'hand "L"': "arm.L", "arm.R": "s3", "hand.R": "arm.R"}
    for name, parent in parents.items():
        bone = bones.new(name)
        bone.head = bones[parent].tail if parent else (0, 0, 0)
        bone.tail = bone.head + Vector(rng.normal(0, 0.3, 3)) + Vector((0, 0, 0.5))
        bone.roll = rng.uniform(-3, 3)
        bone.parent = bones[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    for index, bone in enumerate(armature.pose.bones):
        bone.rotation_mode = MODES[index % len(MODES)]
    bpy.context.view_layer.update()
    return armature


def turning(frames: int, bones: int, seed: int = 1, reach: float = 2.5) -> np.ndarray:
    """(T, J, 3, 3) smooth random rotations that pass well beyond half a turn."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None, None]
    vectors = sum(rng.normal(0, reach / k, (bones, 3)) * np.sin(2 * np.pi * k * t + rng.uniform(0, 6, (bones, 3))) for k in (1, 2, 3))
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return matrices(np.concatenate([np.cos(angle / 2), np.sinc(angle / 2 / np.pi) * vectors / 2], -1))


def motion_of(rig: Rig, pose: np.ndarray, fps: float = FPS, times: np.ndarray | None = None) -> Motion:
    shape = pose.shape[:2]
    times = np.arange(len(pose)) / fps if times is None else times
    return Motion(times, bone_rotations(pose), pose[..., :3, 3], np.zeros(shape, np.float32), np.full((*shape, 2), np.nan, np.float32))


def random_pose(rig: Rig, frames: int, seed: int = 1) -> np.ndarray:
    basis = np.tile(np.eye(4), (frames, len(rig), 1, 1))
    basis[..., :3, :3] = turning(frames, len(rig), seed)
    basis[..., :3, 3][:, rig.parents < 0] = np.sin(np.arange(frames) / 7)[:, None, None] * [0.2, -0.5, 0.3]
    return forward(rig, basis)


def blender_pose(armature: bpy.types.Object, rig: Rig, frame: float) -> np.ndarray:
    whole = int(np.floor(frame))
    bpy.context.scene.frame_set(whole, subframe=frame - whole)
    evaluated = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return np.array([evaluated.pose.bones[name].matrix for name in rig.names], np.float64)


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=(-2, -1)).max() / np.sqrt(2))


def curves(armature: bpy.types.Object) -> list[bpy.types.FCurve]:
    return list(blender_versions.channels(*blender_versions.assigned_action(armature)).fcurves)


def write(armature: bpy.types.Object, rig: Rig, motion: Motion, reference: np.ndarray, **changes: object) -> keyframe_writer.WriteResult:
    return write_motion(armature, rig, motion, reference, **({"name": "clip", "start_frame": 1.0, "scene_fps": FPS} | changes))


def test_keys_give_the_motion_back_in_every_rotation_mode(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    pose = random_pose(rig, 120)
    result = write(armature, rig, motion_of(rig, pose), rig.rest)
    assert result.action is armature.animation_data.action
    assert result.action.name == "clip"
    assert set(result.bones) == set(rig.names)
    for t in range(0, 120, 7):
        got = blender_pose(armature, rig, 1 + t)
        assert angle_between(bone_rotations(got), bone_rotations(pose[t])) < 1e-4
        np.testing.assert_allclose(got[:, :3, 3], pose[t, :, :3, 3], atol=1e-4 * rig.size)
        basis = np.array([armature.pose.bones[name].matrix_basis for name in rig.names])
        assert angle_between(basis[:, :3, :3], basis_from_pose(rig, pose[t])[:, :3, :3]) < 1e-4


def test_no_flips_between_frames(blank: bpy.types.Scene) -> None:
    """Between two keys the pose lies between the two, which a sign change or a whole turn of one component would break."""
    armature = make_armature()
    rig = read_rig(armature)
    pose = random_pose(rig, 400)
    write(armature, rig, motion_of(rig, pose), rig.rest)
    local = basis_from_pose(rig, pose)[..., :3, :3]
    for t in range(0, 399, 5):
        blender_pose(armature, rig, 1.5 + t)
        basis = np.array([armature.pose.bones[name].matrix_basis for name in rig.names])[:, :3, :3]
        step = np.linalg.norm(local[t + 1] - local[t], axis=(-2, -1))
        assert (np.linalg.norm(basis - local[t], axis=(-2, -1)) < step + 1e-3).all()
    for curve in curves(armature):
        values = np.empty(2 * len(curve.keyframe_points), np.float32)
        curve.keyframe_points.foreach_get("co", values)
        if not curve.data_path.endswith("location") and len(values) > 2:
            assert np.abs(np.diff(values[1::2])).max() < 2.0, (curve.data_path, curve.array_index)


@pytest.mark.parametrize("mode", MODES)
def test_rotation_modes_on_long_and_singular_tracks(mode: str) -> None:
    """Spins of many turns, gimbal lock and rest inside the track: right at every key, and never further apart than a step needs."""
    spin = np.linspace(0, 14 * np.pi, 700)
    axes = {"X": np.eye(3)[0], "Y": np.eye(3)[1], "Z": np.eye(3)[2], "XYZ": np.ones(3) / np.sqrt(3)}
    for axis in axes.values():
        quaternions = np.concatenate([np.cos(spin / 2)[:, None], np.sin(spin / 2)[:, None] * axis], -1)
        quaternions[::3] *= -1
        values = channel_values(quaternions, mode)
        limit = np.pi + 0.1 if mode not in ("QUATERNION", "AXIS_ANGLE") else 0.1
        if axis is not axes["XYZ"] or mode in ("QUATERNION", "AXIS_ANGLE"):
            assert np.abs(np.diff(values, axis=0)).max() < limit
        for row in range(0, 700, 13):
            assert angle_between(blender_matrix(values[row], mode), matrices(quaternions[row])) < 1e-5


@pytest.mark.parametrize("order", [m for m in MODES if len(m) == 3])
def test_euler_tracks_stay_continuous_through_the_pole(order: str) -> None:
    """The second angle passes 90 degrees, exactly on it at one frame: no jump, where the principal values would leap by a half turn."""
    middle = "XYZ".index(order[1])
    truth = np.zeros((181, 3))
    truth[:, middle] = np.radians(np.arange(181))
    truth[:, "XYZ".index(order[0])] = 0.3
    truth[:, "XYZ".index(order[2])] = -0.4
    rotations = np.array([Euler(row, order).to_matrix() for row in truth], np.float64)
    values = channel_values(quaternions_of(rotations), order)
    assert np.abs(np.diff(values, axis=0)).max() < 0.05
    for row in range(181):
        assert angle_between(blender_matrix(values[row], order), rotations[row]) < 1e-5


def blender_matrix(values: np.ndarray, mode: str) -> np.ndarray:
    if mode == "QUATERNION":
        return matrices(values / np.linalg.norm(values))
    if mode == "AXIS_ANGLE":
        return np.array(Matrix.Rotation(values[0], 3, values[1:]))
    return np.array(Euler(values, mode).to_matrix())


def test_only_what_moves_is_keyed_and_constants_survive(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    bones = armature.pose.bones
    bones["s0"].matrix_basis = Matrix.Rotation(0.4, 4, "X")
    bones["s1"].location, bones["s1"].scale = (0.1, 0, 0), (1.5, 1.5, 1.5)
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    reference = np.array([bones[name].matrix for name in rig.names], np.float64)
    basis = np.tile(basis_from_pose(rig, reference), (20, 1, 1, 1))
    arm = rig.names.index("arm.L")
    basis[:, arm, :3, :3] = turning(20, 1)[:, 0]
    pose = forward(rig, basis)
    result = write(armature, rig, motion_of(rig, pose), reference)
    keyed = {(c.data_path, c.array_index): len(c.keyframe_points) for c in curves(armature)}
    assert set(result.bones) == {"s0", "s1", "arm.L"}
    assert {path for path, _ in keyed} == {
        'pose.bones["s0"].rotation_euler', 'pose.bones["s1"].location', 'pose.bones["s1"].scale',
        armature.pose.bones["arm.L"].path_from_id(keyframe_writer.channel_of(bones["arm.L"].rotation_mode)),
    }
    assert all(count == (20 if "arm.L" in path else 1) for (path, _), count in keyed.items())
    assert result.keys == sum(keyed.values())
    bones["s0"].matrix_basis, bones["s1"].location, bones["s1"].scale = Matrix(), (0, 0, 0), (1, 1, 1)
    np.testing.assert_allclose(blender_pose(armature, rig, 11), pose[10], atol=2e-5)


def test_a_pose_that_only_the_old_action_held_survives(blank: bpy.types.Scene) -> None:
    """The properties say one thing (the frame the user stands on), the reference another: still bones are keyed as in the reference."""
    armature = make_armature()
    bone = armature.pose.bones["s2"]
    for frame, angle in ((1, 0.0), (10, 1.0)):
        bone.rotation_euler = (angle, 0, 0)
        bone.keyframe_insert("rotation_euler", frame=frame)
    old = armature.animation_data.action
    rig = read_rig(armature)
    reference = blender_pose(armature, rig, 1)
    blank.frame_set(10)
    write(armature, rig, motion_of(rig, np.tile(reference, (3, 1, 1, 1))), reference)
    np.testing.assert_allclose(blender_pose(armature, rig, 10), reference, atol=1e-5)
    track = armature.animation_data.nla_tracks[-1]
    assert track.mute
    assert track.name == old.name
    assert track.strips[0].action is old
    assert [track.strips[0].frame_start, track.strips[0].frame_end] == [1, 10]
    armature.animation_data.action = None
    track.mute = False
    if blender_versions.SLOTTED:
        assert track.strips[0].action_slot is not None
    blender_pose(armature, rig, 10)
    assert bone.rotation_euler[0] == pytest.approx(1.0)


def test_keys_stand_at_their_time_stamps(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    times = np.array([0.0, 0.031, 0.1, 0.105, 0.4])
    pose = random_pose(rig, 5)
    write(armature, rig, motion_of(rig, pose, times=times), rig.rest, start_frame=17.0, scene_fps=24.0)
    for curve in curves(armature):
        np.testing.assert_allclose([k.co[0] for k in curve.keyframe_points], 17 + times * 24, rtol=1e-6)
        assert {k.interpolation for k in curve.keyframe_points} == {"LINEAR"}
        assert curve.group.name in curve.data_path.replace("\\", "")
    assert angle_between(bone_rotations(blender_pose(armature, rig, 17 + 0.105 * 24)), bone_rotations(pose[3])) < 1e-3


def test_detached_bones_reach_their_heads(blank: bpy.types.Scene) -> None:
    """A foot that hangs off the root gets location keys that follow the motion's heads, whatever flags and scales its parent has."""
    armature = make_armature()
    armature.data.bones["hand.R"].use_local_location = False
    armature.data.bones["s3"].inherit_scale = "NONE"
    armature.pose.bones["s2"].scale = (1.2, 0.8, 1.1)
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    reference = np.array([armature.pose.bones[name].matrix for name in rig.names], np.float64)
    carriers = rig.carriers.copy()
    carriers[rig.names.index("hand.R")] = rig.names.index("s1")
    carriers[rig.names.index("arm.R")] = rig.names.index("s1")
    rig = Rig(rig.names, rig.parents, carriers, rig.rest, rig.ends, rig.driven, rig.reasons, rig.inherit_rotation, rig.local_location, rig.inherit_scale)
    assert rig.detached.sum() == 3
    heads = random_pose(rig, 30)[..., :3, 3] + np.random.default_rng(0).normal(0, 0.1, (30, len(rig), 3)).cumsum(0)
    rotations = turning(30, len(rig), reach=0.5)
    motion = Motion(np.arange(30) / FPS, rotations, heads, np.zeros((30, len(rig)), np.float32), np.zeros((30, len(rig), 2), np.float32))
    write(armature, rig, motion, reference)
    for t in (0, 13, 29):
        got = blender_pose(armature, rig, 1 + t)
        np.testing.assert_allclose(got[rig.detached, :3, 3], heads[t, rig.detached], atol=1e-4 * rig.size)
    located = {c.data_path.split('"')[1] for c in curves(armature) if c.data_path.endswith("location") and len(c.keyframe_points) > 1}
    assert located == {"root", "arm.R", "hand.R"}


def test_bones_that_are_not_driven_stay_as_they_are(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    armature.pose.bones["s1"].rotation_euler = (0.3, 0.2, -0.5)
    armature.pose.bones["s1"].rotation_mode = "XYZ"
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    driven = rig.driven.copy()
    driven[rig.names.index("s1")] = False
    rig = Rig(rig.names, rig.parents, rig.carriers, rig.rest, rig.ends, driven, rig.reasons, rig.inherit_rotation, rig.local_location, rig.inherit_scale)
    pose = random_pose(rig, 10)
    result = write(armature, rig, motion_of(rig, pose), rig.rest)
    assert "s1" not in result.bones
    got = blender_pose(armature, rig, 6)
    assert armature.pose.bones["s1"].rotation_euler[:] == pytest.approx((0.3, 0.2, -0.5))
    assert angle_between(bone_rotations(got[driven]), bone_rotations(pose[5][driven])) < 1e-4


def test_the_object_keeps_its_own_animation(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    armature.keyframe_insert("location", frame=1)
    armature.location = (5, 0, 0)
    armature.keyframe_insert("location", frame=11)
    armature.pose.bones["s0"].keyframe_insert("rotation_euler", frame=1)
    rig = read_rig(armature)
    result = write(armature, rig, motion_of(rig, random_pose(rig, 20)), rig.rest)
    blank.frame_set(11)
    assert armature.location[0] == pytest.approx(5)
    assert result.action is armature.animation_data.action
    assert result.action.name == "clip"
    assert sum(c.data_path == "location" for c in curves(armature)) == 3
    assert all(len(c.keyframe_points) in (1, 20) for c in curves(armature) if c.data_path != "location")


def test_an_earlier_capture_is_stashed_in_turn(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    first = write(armature, rig, motion_of(rig, random_pose(rig, 5)), rig.rest)
    second = write(armature, rig, motion_of(rig, random_pose(rig, 5, seed=2)), rig.rest)
    assert first.action is not second.action
    assert [track.strips[0].action for track in armature.animation_data.nla_tracks] == [first.action]
    assert armature.animation_data.action is second.action


def test_playing_strips_do_not_move_still_bones(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    write(armature, rig, motion_of(rig, random_pose(rig, 5)), rig.rest)
    blender_versions.stash_action(armature).mute = False
    armature.animation_data.action_blend_type, armature.animation_data.action_influence = "ADD", 0.5
    still = np.tile(rig.rest, (3, 1, 1, 1))
    write(armature, rig, motion_of(rig, still), rig.rest)
    np.testing.assert_allclose(blender_pose(armature, rig, 4), rig.rest, atol=1e-5)


@pytest.mark.parametrize("where", ["write_keys", "assign_action"])
def test_a_failure_leaves_the_armature_as_it_was(blank: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    write(armature, rig, motion_of(rig, random_pose(rig, 5)), rig.rest)
    armature.animation_data.action_blend_type = "ADD"
    old, slot = blender_versions.assigned_action(armature)
    original, calls = getattr(blender_versions, where), []

    def fail_once(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return original(*arguments)

    monkeypatch.setattr(blender_versions, where, fail_once)
    with pytest.raises(MemoryError):
        write(armature, rig, motion_of(rig, random_pose(rig, 5, seed=2)), rig.rest)
    assert blender_versions.assigned_action(armature) == (old, slot)
    assert armature.animation_data.action_blend_type == "ADD"
    assert len(armature.animation_data.nla_tracks) == 0
    assert list(bpy.data.actions) == [old]


def test_a_failure_on_an_armature_never_animated(blank: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    monkeypatch.setattr(blender_versions, "stash_action", lambda owner: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(armature, rig, motion_of(rig, random_pose(rig, 5)), rig.rest)
    assert armature.animation_data is None
    assert not bpy.data.actions


def test_linked_armature_is_refused_and_an_override_is_not(blank: bpy.types.Scene, tmp_path: Path) -> None:
    make_armature()
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["Rig"]
    linked = wanted.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    rig = read_rig(linked)
    motion = motion_of(rig, random_pose(rig, 5))
    with pytest.raises(CaptureError, match="linked"):
        write(linked, rig, motion, rig.rest)
    assert not bpy.data.actions
    override = linked.override_create(remap_local_usages=True)
    write(override, rig, motion, rig.rest)
    got = blender_pose(override, rig, 4)
    assert angle_between(bone_rotations(got), bone_rotations(forward(rig, basis_from_pose(rig, random_pose(rig, 5)))[3])) < 1e-4


def test_a_bone_that_is_gone_is_named(blank: bpy.types.Scene) -> None:
    armature = make_armature()
    rig = read_rig(armature)
    armature.data.bones["s3"].name = "renamed"
    with pytest.raises(CaptureError, match="s3"):
        write(armature, rig, motion_of(rig, random_pose(rig, 5)), rig.rest)
    assert armature.animation_data is None


def test_selecting_bones(blank: bpy.types.Scene) -> None:
    bone = make_armature().pose.bones["s0"]
    blender_versions.select_bone(bone)
    assert blender_versions.is_bone_selected(bone)
    blender_versions.select_bone(bone, False)
    assert not blender_versions.is_bone_selected(bone)
