"""Closed-loop cases: what is filmed and from where, and that a rendered case is what an animator would hand over."""

from __future__ import annotations

import json
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
from mathutils import Quaternion, Vector
from mocap_anything.addon.action_reader import read_moves
from mocap_anything.addon.rig_reader import read_rig
from mocap_anything.backend.rig import Rig
from mocap_anything.training import case_actions, cases


def chain(count: int) -> Rig:
    rest = np.tile(np.eye(4), (count, 1, 1))
    rest[:, 2, 3] = np.arange(count)
    parents = np.arange(-1, count - 1, dtype=np.int32)
    yes = np.ones(count, bool)
    return Rig(tuple(f"b{i}" for i in range(count)), parents, parents, rest, rest[:, :3, 3] + [0, 0, 1], yes, ("",) * count, yes, yes, ("FULL",) * count)


def swing(rig: Rig, degrees: np.ndarray) -> np.ndarray:
    """All bones but the root turn with the second about x."""
    pose = np.tile(rig.rest, (len(degrees), 1, 1, 1))
    a = np.radians(degrees)[:, None]
    pose[:, 1:, 1, 1], pose[:, 1:, 1, 2], pose[:, 1:, 2, 1], pose[:, 1:, 2, 2] = np.cos(a), -np.sin(a), np.sin(a), np.cos(a)
    return pose


def test_the_liveliest_clip_of_enough_frames_is_filmed() -> None:
    rig = chain(3)
    clips = [swing(rig, np.linspace(0, top, frames)) for top, frames in ((10, 30), (90, 12), (40, 30), (0, 30))]
    assert [cases.choose_clip(rig, clips, seed) for seed in range(4)] == [2, 0, 3, 2]
    assert cases.choose_clip(rig, clips[1:2], 0) == 0
    assert cases.motion_amount(rig, clips[0]) == pytest.approx(np.abs(np.linspace(0, 10, 30) - 10 * 15 / 29).mean(), rel=1e-3)


def test_the_liveliest_stretch_is_taken_and_the_same_each_time() -> None:
    rig = chain(3)
    pose = swing(rig, np.concatenate([np.zeros(60), np.linspace(0, 90, 30), np.full(60, 90.0)]))
    takes = [cases.plan_take(cases.seed_of(name, 0), rig, pose, 40) for name in ("a", "a", "b")]
    assert takes[0] == takes[1] != takes[2]
    for take in takes:
        assert take.start >= 0
        assert take.start + take.step * (take.frames - 1) <= len(pose) - 1
        assert take.start <= 60
        assert take.start + take.step * (take.frames - 1) >= 80
    short = cases.plan_take(cases.seed_of("a", 0), rig, pose[:10], 40)
    assert short.frames <= 17


@pytest.mark.parametrize("yaw", [-2.0, 0.4, 3.0])
@pytest.mark.parametrize("travel", [0.0, 6.0])
def test_the_camera_keeps_the_subject_in_the_picture(yaw: float, travel: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1, 200, 3)) + np.linspace(0, travel, 20)[:, None, None] * [1, 0, 0] + [50, 20, 3]
    take = cases.Take(0, 1, 20, yaw, np.radians(20), 40.0, 0.6)
    matrix = cases.aim(take, points, 640, 480)
    local = (points - matrix[:3, 3]) @ matrix[:3, :3]
    pixel = 640 * 40 / 36 * local[..., :2] / -local[..., 2:] * [1, -1] + [320, 240]
    assert local[..., 2].max() < 0
    assert pixel.min() > 0
    assert (pixel < [640, 480]).all()
    if travel == 0:
        assert np.ptp(pixel[10, :, 1]) == pytest.approx(0.6 * 480, rel=0.05)
    assert matrix[2, 0] == pytest.approx(0)  # level
    assert np.arcsin(matrix[2, 2]) == pytest.approx(np.radians(20))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder like the shared rigs, with one arm of three bones and one two-second wave, in a scene of 30 frames a second."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    armature = bpy.data.objects.new("Arm", bpy.data.armatures.new("Arm"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(3):
        bone = armature.data.edit_bones.new(f"bone{index}")
        bone.head, bone.tail, bone.parent = (0, 0, index), (0, 0, index + 1), parent
        parent = bone
    bpy.ops.object.mode_set(mode="OBJECT")
    corners = np.array([[x, y, z] for z in range(4) for x, y in ((-0.2, -0.1), (0.2, -0.1), (0.2, 0.1), (-0.2, 0.1))])
    faces = [[4 * z + i, 4 * z + (i + 1) % 4, 4 * z + 4 + (i + 1) % 4, 4 * z + 4 + i] for z in range(3) for i in range(4)]
    mesh = bpy.data.meshes.new("Skin")
    mesh.from_pydata(corners.tolist(), [], faces)
    skin = bpy.data.objects.new("Skin", mesh)
    bpy.context.scene.collection.objects.link(skin)
    skin.parent = armature
    for index in range(3):
        skin.vertex_groups.new(name=f"bone{index}").add([*range(4 * index, 4 * index + 4), *(range(12, 16) if index == 2 else ())], 1.0, "REPLACE")
    skin.modifiers.new("Armature", "ARMATURE").object = armature
    bpy.context.scene.render.fps = 30
    for frame in range(0, 61, 10):
        for index, bone in enumerate(armature.pose.bones):
            bone.rotation_mode = "XYZ" if index == 1 else "QUATERNION"
            turn = Quaternion((1, 0, 0), 0.8 * np.sin(frame / 9 + index))
            bone.rotation_euler, bone.rotation_quaternion = turn.to_euler(), turn
            bone.keyframe_insert("rotation_euler" if index == 1 else "rotation_quaternion", frame=frame)
    armature.animation_data.action.name = "wave"
    folder = tmp_path / "rigs"
    for name in ("arm", "other"):
        (folder / name).mkdir(parents=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / name / "arm.blend"), copy=True)
    entry = {"name": "arm", "file": "arm.blend", "kind": "arm", "split": "unseen", "clips": ["wave"], "license": "CC0-1.0"}
    (folder / "index.json").write_text(json.dumps([entry, entry | {"name": "other", "split": "train"}]))
    return folder


def test_a_rendered_case_is_what_an_animator_hands_over(library: Path, tmp_path: Path) -> None:
    out = tmp_path / "cases"
    arguments = [str(library), str(out), "--split", "unseen,rare", "--resolution", "96x72", "--samples", "1", "--frames", "12"]
    assert cases.main(arguments) == 0
    assert [p.name for p in out.iterdir()] == ["arm"]
    truth = cases.Truth.load(out / "arm" / "truth.npz")
    assert (truth.rig, truth.split, truth.clip, truth.reference) == ("arm", "unseen", "wave", 6)
    assert np.allclose(truth.up, [0, 0, 1])
    with av.open(str(out / "arm" / "clip.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == 24
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == len(truth.pose) == 12
    assert pictures[0].shape == (72, 96, 3)
    assert not (out / "arm" / "frames").exists()

    bpy.ops.wm.open_mainfile(filepath=str(out / "arm" / "rig.blend"))
    scene = bpy.context.scene
    armature = next(o for o in scene.objects if o.type == "ARMATURE")
    assert {o.type for o in scene.objects} == {"ARMATURE", "MESH", "CAMERA"}
    assert (scene.render.fps, scene.render.fps_base, scene.frame_start, scene.frame_end, scene.frame_current) == (24, 1, 1, 12, 7)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (96, 72)
    assert len(bpy.data.actions) == 1
    assert not [image.name for image in bpy.data.images if image.type == "IMAGE"]
    action = armature.animation_data.action
    curves = list(action.fcurves) if hasattr(action, "fcurves") else list(action.layers[0].strips[0].channelbags[0].fcurves)
    assert {len(c.keyframe_points) for c in curves} == {1}
    assert {c.keyframe_points[0].co.x for c in curves} == {7.0}
    assert len(curves) == 10 + 9 + 10  # location, rotation in the bone's own mode, scale
    rig = read_rig(armature)
    assert rig.names == truth.names
    for frame in (1, 7):
        scene.frame_set(frame)
        posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        assert np.allclose([posed[name].matrix for name in rig.names], truth.pose[6], atol=1e-5)

    _assert_in_picture(scene, armature, truth)


def _assert_in_picture(scene: bpy.types.Scene, armature: bpy.types.Object, truth: cases.Truth) -> None:
    from bpy_extras.object_utils import world_to_camera_view

    for pose in truth.pose:
        for place in pose[:, :3, 3]:
            seen = world_to_camera_view(scene, scene.camera, armature.matrix_world @ Vector(place))
            assert 0 < seen.x < 1
            assert 0 < seen.y < 1
            assert seen.z > 0


def test_held_out_clips_of_training_rigs_alone_are_filmed(library: Path, tmp_path: Path) -> None:
    assert cases.main([str(library), str(tmp_path / "cases"), "--split", "seen"]) == 0
    assert not list((tmp_path / "cases").glob("*/truth.npz"))  # its only clip is for training


def test_cases_get_the_rigs_other_actions_at_their_own_pace(library: Path, tmp_path: Path) -> None:
    place = library / "arm" / "arm.blend"
    bpy.ops.wm.open_mainfile(filepath=str(place))
    wave = bpy.data.actions["wave"]
    for name in ("Arm|Wave.001", "nod"):  # the filmed one under another name, and another one
        copy = wave.copy()
        copy.name, copy.use_fake_user = name, True
    bpy.ops.wm.save_as_mainfile(filepath=str(place))
    bpy.data.objects["Arm"].animation_data_clear()
    for action in list(bpy.data.actions):
        bpy.data.actions.remove(action)
    bpy.context.scene.render.fps = 24
    folder = tmp_path / "cases" / "arm"
    folder.mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "rig.blend"))
    truth = cases.Truth("arm", "unseen", "wave", "x", ("bone0", "bone1", "bone2"), np.tile(np.eye(4), (2, 3, 1, 1)), 0, np.array([0.0, 0, 1]))
    truth.save(folder / "truth.npz")
    assert case_actions.main([str(library), str(tmp_path / "cases"), str(tmp_path / "out")]) == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out" / "arm" / "rig.blend"))
    assert [action.name for action in bpy.data.actions] == ["nod"]
    assert tuple(bpy.data.actions["nod"].frame_range) == pytest.approx((0, 48))
    armature = bpy.data.objects["Arm"]
    (moves,) = read_moves(armature, read_rig(armature), 24.0)
    assert np.trace(moves.rotations[:, 1], axis1=-2, axis2=-1).min() < 2.9
