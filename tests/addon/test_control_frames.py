"""What is read of a frame is what Blender plays there, also where the scene stands on it already."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Quaternion


def armature_of(name: str, bones: int) -> bpy.types.Object:
    """A chain that stands up, a unit a bone."""
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(bones):
        bone = armature.data.edit_bones.new(f"{name} {index}")
        bone.head, bone.tail, bone.parent = (0, 0, index), (0, 0, index + 1), parent
        parent = bone
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def test_poses_that_are_not_keyed_are_no_part_of_the_driving_motion(scene: bpy.types.Scene) -> None:
    """On the action's first frame both are posed to mean the same, without a key: that pairs them, the motion is still the action's."""
    from mocap_anything.addon.retargeting import RetargetOptions, retarget_action

    driving, target = armature_of("Adder", 3), armature_of("Boa", 3)
    for bone in driving.pose.bones:
        for frame, angle in ((1, 0.4), (9, 0.0)):
            bone.rotation_quaternion = Quaternion((1, 0, 0), angle)
            bone.keyframe_insert("rotation_quaternion", frame=frame)
    scene.frame_set(1)
    for bone in driving.pose.bones:
        bone.rotation_quaternion = (1, 0, 0, 0)
    bpy.context.view_layer.update()
    retarget_action(scene, target, driving, RetargetOptions())
    for frame in (1, 2, 9):
        scene.frame_set(frame)
        directions = [np.array(each.pose.bones[-1].vector.normalized()) for each in (driving, target)]
        np.testing.assert_allclose(directions[1], directions[0], atol=2e-3, err_msg=f"frame {frame}")


def test_controls_play_on_the_frame_that_is_shown(rig: bpy.types.Object) -> None:
    """Keys, switches and drivers are all in force at once, without leaving the frame."""
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls
    from mocap_anything.addon.reference_reader import read_pose
    from mocap_anything.addon.scene_camera import go_to
    from mocap_anything.backend.kinematics import bone_rotations
    from mocap_anything.backend.motion import Motion

    bpy.ops.object.mode_set(mode="EDIT")
    control = rig.data.edit_bones.new("Control")
    control.head, control.tail = (0, 0, 1), (0, 0, 1.4)
    bpy.ops.object.mode_set(mode="OBJECT")
    rig.data.bones["Control"].use_deform = False
    segment, bone = rig.pose.bones["Segment 1"], rig.pose.bones["Control"]
    bone["IK_FK"] = 1.0
    constraint = segment.constraints.new("COPY_ROTATION")
    constraint.target, constraint.subtarget = rig, "Control"
    driver = constraint.driver_add("influence").driver
    driver.type = "SUM"
    variable = driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = rig, 'pose.bones["Control"]["IK_FK"]'
    bpy.context.scene.frame_set(3)
    found, plan = read_rig_or_controls(rig)
    assert plan is not None
    assert [found.names[row] for row in plan.turns] == ["Segment 0", "Segment 1", "Segment 2"]
    pose, frames = read_pose(rig, found), 5
    row = found.names.index("Segment 1")
    rotations = np.repeat(bone_rotations(pose)[None], frames, 0)
    turn = np.array(Quaternion((1, 0, 0), 0.3).to_matrix())
    rotations[:, row:] = turn @ rotations[:, row:]
    heads = np.repeat(pose[None, :, :3, 3], frames, 0)
    for below in range(row + 1, len(found)):
        heads[:, below] = heads[:, row] + (heads[:, below] - heads[:, row]) @ turn.T
    unknown = np.full((frames, len(found), 2), np.nan, np.float32)
    motion = Motion(np.arange(frames) / 24, rotations, heads, np.zeros((frames, len(found)), np.float32), unknown)
    bpy.context.scene.render.fps = 24
    bone["IK_FK"] = 0.0  # until the keys say otherwise
    rig.update_tag()
    bpy.context.view_layer.update()
    write_controls(rig, plan, motion, name="bow", start_frame=1, scene_fps=24.0)
    go_to(bpy.context.scene, 3)
    shown = read_pose(rig, found)
    np.testing.assert_allclose(shown[:, :3, 3], heads[2], atol=1e-4)
    bpy.context.scene.frame_set(4)
    bpy.context.scene.frame_set(3)
    np.testing.assert_allclose(read_pose(rig, found), shown, atol=1e-6)
