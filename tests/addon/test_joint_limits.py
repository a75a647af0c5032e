"""Limits of joints in Blender: what is read is what its constraint and its IK solver do, and `solve --limits` keeps to it."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
import torch
from mathutils import Quaternion
from mocap_anything.backend.axis_angles import log_rotation
from mocap_anything.backend.ik_chain import Chain, head_targets
from mocap_anything.backend.joint_limits import HELD, ORDERS, SWING, Bounds, JointLimits


def bounds_of(rig: object, limits: JointLimits) -> Bounds:
    return Bounds(Chain(rig, rig.rest, head_targets(rig, rig.rest[None, :, :3, 3], np.zeros(1), rig.ends[None])), limits, 1)


def relative(bone: bpy.types.PoseBone) -> np.ndarray:
    """(3, 3) the evaluated rotation relative to rest and parent."""
    def turn(above: object, own: object) -> np.ndarray:
        return np.array((above.inverted() @ own).to_3x3().normalized(), np.float64)

    parent = bone.parent
    return turn(parent.bone.matrix_local, bone.bone.matrix_local).T @ turn(parent.matrix, bone.matrix) if parent else turn(bone.bone.matrix_local, bone.matrix)


@pytest.fixture
def crooked(rig: bpy.types.Object) -> bpy.types.Object:
    """The worm, its bones rolled at random and not in one line."""
    bpy.ops.object.mode_set(mode="EDIT")
    for index, bone in enumerate(rig.data.edit_bones):
        bone.tail = (0.2 * index, 0.3 - 0.1 * index, index + 1)
        bone.roll = 0.7 - 1.1 * index
    bpy.ops.object.mode_set(mode="OBJECT")
    return rig


@pytest.mark.parametrize("order", ORDERS)
def test_limit_rotation_is_what_the_constraint_does(crooked: bpy.types.Object, order: str) -> None:
    from mocap_anything.addon.limits_reader import read_limits
    from mocap_anything.addon.rig_reader import read_rig

    bone = crooked.pose.bones["Segment 1"]
    crooked.pose.bones["Segment 0"].rotation_quaternion = (0.9, 0.1, 0.3, -0.2)
    constraint = bone.constraints.new("LIMIT_ROTATION")
    constraint.owner_space, constraint.euler_order = "LOCAL", order
    bone.rotation_mode = "QUATERNION"
    rng = np.random.default_rng(ORDERS.index(order))
    rig = read_rig(crooked)
    for _ in range(20):
        constraint.use_limit_x = True
        constraint.use_limit_y, constraint.use_limit_z = (bool(choice) for choice in rng.random(2) < 0.6)
        low = rng.uniform(-3.5, 2, 3)
        constraint.min_x, constraint.min_y, constraint.min_z = low
        constraint.max_x, constraint.max_y, constraint.max_z = low + rng.uniform(0, 3, 3)
        bone.rotation_quaternion = Quaternion(rng.normal(size=4)).normalized()
        limits, reasons = read_limits(crooked, rig)
        assert (limits.kinds, reasons) == ((order,), {})
        group = bounds_of(rig, limits).groups[0]
        keyed = np.array(bone.rotation_quaternion.to_matrix(), np.float64)
        bpy.context.view_layer.update()
        np.testing.assert_allclose(group.projected(torch.from_numpy(keyed)[None, None])[0, 0].numpy(), relative(bone), atol=1e-4)


def test_blenders_own_ik_stays_within_what_is_read(crooked: bpy.types.Object) -> None:
    """Its solver reaches for targets all about, and comes up against the limits; every pose of it is one that is let stand."""
    from mocap_anything.addon.limits_reader import read_limits
    from mocap_anything.addon.rig_reader import read_rig

    rng = np.random.default_rng(1)
    rig = read_rig(crooked)
    target = bpy.data.objects.new("Target", None)
    bpy.context.scene.collection.objects.link(target)
    constraint = crooked.pose.bones["Segment 2"].constraints.new("IK")
    constraint.target, constraint.iterations = target, 200
    met = 0
    for _ in range(6):
        for bone in crooked.pose.bones:
            lock = rng.random(3) < 0.3
            lock[0] &= not lock.all()
            for axis, locked, limited in zip("xyz", lock, rng.random(3) < 0.6, strict=True):
                setattr(bone, f"lock_ik_{axis}", bool(locked))
                setattr(bone, f"use_ik_limit_{axis}", bool(limited))
                setattr(bone, f"ik_min_{axis}", -rng.uniform(0, 1.2))
                setattr(bone, f"ik_max_{axis}", rng.uniform(0, 1.2))
        limits, _ = read_limits(crooked, rig)
        assert set(limits.kinds) <= {SWING}
        for _ in range(15):
            target.location = rng.normal(size=3) * 1.5 + [0, 0, 1]
            bpy.context.view_layer.update()
            pose = [torch.from_numpy(relative(bone)) for bone in crooked.pose.bones]
            for group in bounds_of(rig, limits).groups:
                rotations = torch.stack([pose[row] for row in group.rows.tolist()])[None]
                value, low, high = group.values(rotations)
                assert (value < high + 1e-3).all()
                assert (value > low - 1e-3).all()
                met += int(((high - value).abs() < 1e-3).sum())
    assert met > 100


def test_what_cannot_be_obeyed_is_told_with_its_reason(crooked: bpy.types.Object) -> None:
    from mocap_anything.addon.limits_reader import read_limits
    from mocap_anything.addon.rig_reader import read_rig

    bones = list(crooked.pose.bones)
    for axis in "xyz":
        setattr(bones[0], f"lock_ik_{axis}", True)
    for bone, space, influence in ((bones[1], "WORLD", 1.0), (bones[2], "LOCAL", 0.5)):
        constraint = bone.constraints.new("LIMIT_ROTATION")
        constraint.owner_space, constraint.influence, constraint.use_limit_x = space, influence, True
    muted = bones[2].constraints.new("LIMIT_ROTATION")
    muted.mute = muted.use_limit_y = True
    limits, reasons = read_limits(crooked, read_rig(crooked))
    assert (limits.bones.tolist(), limits.kinds) == ([0], (HELD,))
    assert "local space" in reasons["Segment 1"]
    assert "full influence" in reasons["Segment 2"]


def solve(*arguments: object) -> int:
    from mocap_anything.addon.command_line import main

    return main([str(argument) for argument in arguments])


def noisy_tracks(rig: bpy.types.Object, path: Path) -> None:
    """The worm's middle joint bends forth from straight and back, with errors of 2 % of its size on every joint."""
    from mocap_anything.backend.joint_tracks import JointTracks, write_tracks

    frames, rng = np.arange(25), np.random.default_rng(3)
    bone = rig.pose.bones["Segment 1"]
    bone.rotation_mode = "XYZ"
    points = []
    for frame in frames:
        bone.rotation_euler = (0.4 * max(0.0, np.sin(frame / 6)), 0, 0)
        bpy.context.view_layer.update()
        points.append([*(b.head[:] for b in rig.pose.bones), rig.pose.bones[-1].tail[:]])
    bone.rotation_euler = (0, 0, 0)
    names = (*(b.name for b in rig.pose.bones), "Segment 2:end")
    write_tracks(path, JointTracks(frames / 24, names, np.array(points) + rng.normal(size=(25, 4, 3)) * 0.06))


def bends(path: Path) -> np.ndarray:
    """(T, 3) axis-angle of the middle joint at each frame of a solved scene."""
    bpy.ops.wm.open_mainfile(filepath=str(path))
    out = []
    for frame in range(1, 26):
        bpy.context.scene.frame_set(frame)
        out.append(relative(bpy.data.objects["Worm"].pose.bones["Segment 1"]))
    return log_rotation(torch.from_numpy(np.array(out))).numpy()


@pytest.mark.parametrize("kind", ["IK", "LIMIT_ROTATION"])
def test_solve_keeps_to_limits_when_it_is_asked_to(rig: bpy.types.Object, kind: str, tmp_path: Path) -> None:
    noisy_tracks(rig, tmp_path / "tracks.csv")
    bone = rig.pose.bones["Segment 1"]
    if kind == "IK":
        bone.use_ik_limit_x, bone.ik_min_x, bone.ik_max_x, bone.lock_ik_y, bone.lock_ik_z = True, 0, 2, True, True
    else:
        constraint = bone.constraints.new("LIMIT_ROTATION")
        constraint.owner_space, constraint.max_x = "LOCAL", 2
        constraint.use_limit_x = constraint.use_limit_y = constraint.use_limit_z = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    reports = []
    for name, more in (("free", ()), ("kept", ("--limits",))):
        report = tmp_path / f"{name}.json"
        places = ("--output", tmp_path / f"{name}.blend", "--report", report, "--start-frame", 1)
        assert solve("solve", tmp_path / "scene.blend", "--joints", tmp_path / "tracks.csv", *places, *more) == 0
        reports.append(json.loads(report.read_text()))
    assert "limits" not in reports[0]
    assert reports[1]["limits"] == {"obeyed": ["Segment 1"], "not obeyed": {}}
    assert reports[1]["error"]["mean"] < 1.15 * reports[0]["error"]["mean"]
    kept = bends(tmp_path / "kept.blend")
    assert kept[:, 0].min() > -1e-4
    assert np.abs(kept[:, 1:]).max() < 1e-4
    assert kept[:, 0].max() > 0.25
    if kind == "IK":  # the constraint would clamp what was keyed beyond it
        free = bends(tmp_path / "free.blend")
        assert free[:, 0].min() < -0.01
        assert np.abs(free[:, 1:]).max() > 0.01


def test_without_any_limits_the_keys_are_the_very_same(rig: bpy.types.Object, tmp_path: Path) -> None:
    noisy_tracks(rig, tmp_path / "tracks.csv")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    found = []
    for name, more in (("free", ()), ("kept", ("--limits",))):
        places = ("--output", tmp_path / f"{name}.blend", "--report", tmp_path / f"{name}.json", "--start-frame", 1)
        assert solve("solve", tmp_path / "scene.blend", "--joints", tmp_path / "tracks.csv", *places, *more) == 0
        found.append(bends(tmp_path / f"{name}.blend"))
    assert json.loads((tmp_path / "kept.json").read_text())["limits"] == {"obeyed": [], "not obeyed": {}}
    assert np.array_equal(*found)
