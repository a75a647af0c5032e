"""Control rigs: keys land on the controls, and the deform bones stand as they were captured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Quaternion

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "rigs"
# Rigify's limbs: the bones that have the switch
LIMBS = {
    "basic_human": ("thigh_parent.L", "thigh_parent.R", "upper_arm_parent.L", "upper_arm_parent.R"),
    "basic_quadruped": ("thigh_parent.L", "thigh_parent.R", "front_thigh_parent.L", "front_thigh_parent.R"),
}
FRAMES = 4


def controlled_worm(worm: bpy.types.Object) -> None:
    """Hang the worm's three segments on controls in three ways: Copy Rotation, Child Of, and drivers."""
    bpy.context.view_layer.objects.active = worm
    bpy.ops.object.mode_set(mode="EDIT")
    edit = worm.data.edit_bones
    for index in range(3):
        bone = edit.new(f"Control {index}")
        bone.head, bone.tail = (0, 0, index), (0, 0, index + 0.4)
        bone.parent = edit[f"Control {index - 1}"] if index else None
    for index in range(3):
        edit[f"Segment {index}"].use_connect = False
    bpy.ops.object.mode_set(mode="OBJECT")
    for index in range(3):
        worm.data.bones[f"Control {index}"].use_deform = False
    first = worm.pose.bones["Segment 0"].constraints.new("CHILD_OF")
    first.target, first.subtarget = worm, "Control 0"
    first.inverse_matrix = worm.data.bones["Control 0"].matrix_local.inverted()
    second = worm.pose.bones["Segment 1"].constraints.new("COPY_ROTATION")
    second.target, second.subtarget, second.mix_mode, second.target_space, second.owner_space = worm, "Control 1", "REPLACE", "LOCAL_OWNER_ORIENT", "LOCAL"
    drive(worm)
    bpy.context.view_layer.update()


def drive(worm: bpy.types.Object) -> None:
    """The last segment's angles are its control's, by drivers without Python."""
    segment, control = worm.pose.bones["Segment 2"], worm.pose.bones["Control 2"]
    worm.data.bones["Control 2"].use_inherit_rotation = True
    segment.rotation_mode = control.rotation_mode = "QUATERNION"
    for component in range(4):
        driver = segment.driver_add("rotation_quaternion", component).driver
        driver.type = "AVERAGE"
        variable = driver.variables.new()
        variable.targets[0].id = worm
        variable.targets[0].data_path = f'pose.bones["Control 2"].rotation_quaternion[{component}]'


def wiggle(plan: object, reference: np.ndarray, frames: int = 6) -> object:
    """What a plain capture says: every driven bone turns about an axis of its own, the body travels, heads ride on their carriers."""
    from mocap_anything.backend.finish.smoothing import from_local, to_local
    from mocap_anything.backend.kinematics import bone_rotations, pose_along_carriers
    from mocap_anything.backend.motion import Motion
    from mocap_anything.backend.quaternions import power

    rig, random = plan.rig, np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(len(rig), 3, 3)))[0]
    axes *= np.sign(np.linalg.det(axes))[:, None, None]
    share = np.sin(np.linspace(0, 2 * np.pi, frames))
    turns = np.where(rig.driven[None, :, None, None], np.stack([power(axes, 0.25 * value) for value in share]), np.eye(3))
    rotations = from_local(rig, to_local(rig, bone_rotations(reference)) @ turns)
    roots = np.broadcast_to(reference[:, :3, 3], (frames, len(rig), 3)) + (share * 0.05 * rig.size)[:, None, None]
    heads = pose_along_carriers(rig, rotations, reference, roots)
    return Motion(np.arange(frames) / 24, rotations, heads, np.zeros((frames, len(rig)), np.float32), np.full((frames, len(rig), 2), np.nan, np.float32))


def off(armature: bpy.types.Object, plan: object, motion: object, start: int = 1) -> tuple[float, float]:
    """Largest angle (degrees) and distance (share of the size) of a deform bone, as Blender plays the keys."""
    from mocap_anything.addon.reference_reader import read_pose
    from mocap_anything.backend.kinematics import bone_rotations

    worst = np.zeros(2)
    for index, time in enumerate(motion.times):
        bpy.context.scene.frame_set(round(start + time * 24))
        pose = read_pose(armature, plan.rig)
        turned = np.swapaxes(bone_rotations(pose), -1, -2) @ motion.rotations[index]
        # the chord between two turned frames; of a small angle the cosine knows nothing in single precision
        angle = np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(turned - np.eye(3), axis=(-2, -1)) / np.sqrt(8), 0, 1))).max()
        worst = np.maximum(worst, [angle, np.linalg.norm(pose[:, :3, 3] - motion.heads[index], axis=-1).max() / plan.rig.size])
    return float(worst[0]), float(worst[1])


def keyed_bones(armature: bpy.types.Object) -> set[str]:
    from mocap_anything.addon.blender_versions import assigned_action, channels

    return {curve.data_path.split('"')[1] for curve in channels(*assigned_action(armature)).fcurves}


def test_actions_of_controls_are_played_to_learn_from(rig: bpy.types.Object, as_played: Callable[..., None]) -> None:
    from mocap_anything.addon.action_player import played_moves
    from mocap_anything.addon.blender_versions import assign_action, new_action
    from mocap_anything.addon.control_writer import read_rig_or_controls
    from mocap_anything.addon.reference_reader import read_pose

    controlled_worm(rig)
    read, plan = read_rig_or_controls(rig)
    assert plan is not None
    for name, keys in (("Pose", 1), ("Walk", 5)):
        action, slot = new_action(rig, name)
        assign_action(rig, action, slot)
        action.use_fake_user = True
        for index, frame in enumerate((1, 5, 9, 14, 20)[:keys]):
            for number in range(3):
                control = rig.pose.bones[f"Control {number}"]
                control.rotation_mode = "QUATERNION"
                control.rotation_quaternion = (1.0, 0.3 * np.sin(index + number), 0.2 * number, 0.1 * index)
                control.keyframe_insert("rotation_quaternion", frame=frame)
    assign_action(rig, None, None)
    rig.pose.bones["Control 1"].rotation_quaternion = (0.9, 0.1, 0.2, 0.1)
    bpy.context.view_layer.update()
    before = read_pose(rig, read)
    (moves,) = played_moves(rig, read, 24.0)
    assert moves.name == "Walk"
    np.testing.assert_array_equal(read_pose(rig, read), before)
    assert rig.animation_data.action is None
    assert moves.keyed.tolist() == read.driven.tolist()
    assign_action(rig, action, slot)
    as_played(rig, read, moves)


def test_constraints_and_drivers(rig: bpy.types.Object) -> None:
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls
    from mocap_anything.addon.reference_reader import read_pose

    bpy.context.scene.render.fps = 24
    controlled_worm(rig)
    found, plan = read_rig_or_controls(rig)
    assert plan is not None
    assert {found.names[row]: control for row, control in plan.turns.items()} == {f"Segment {n}": f"Control {n}" for n in range(3)}
    assert {found.names[row]: control for row, control in plan.moves.items()} == {"Segment 0": "Control 0"}
    motion = wiggle(plan, read_pose(rig, found))
    heard: list[float] = []
    _, fit = write_controls(rig, plan, motion, name="wiggle", start_frame=1, scene_fps=24.0, on_progress=lambda progress: heard.append(progress.fraction))
    assert len(heard) == len(motion)
    assert heard[-1] == 1
    assert keyed_bones(rig) == {f"Control {n}" for n in range(3)}
    degrees, distance = off(rig, plan, motion)
    assert degrees < 1
    assert distance < 0.01
    assert fit.degrees == pytest.approx(degrees, abs=0.05)


def test_looking_leaves_the_rig_as_it_is(rig: bpy.types.Object, file_state: object) -> None:
    from mocap_anything.addon.control_plan import read_control_plan

    controlled_worm(rig)
    rig.pose.bones["Control 1"].rotation_quaternion = (0.9, 0.1, 0.2, 0.3)
    rig.pose.bones["Control 1"].keyframe_insert("rotation_quaternion", frame=1)
    bpy.context.view_layer.update()
    before = file_state()
    read_control_plan(rig)
    after = file_state()
    assert [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)] == []


def test_a_capture_lands_on_the_controls(posed_rig: bpy.types.Object) -> None:
    controlled_worm(posed_rig)
    assert bpy.ops.armature.capture_from_video() == {"FINISHED"}
    assert keyed_bones(posed_rig) == {f"Control {n}" for n in range(3)}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/rigs")
@pytest.mark.parametrize("file", ["qfbx_horse/Horse.blend", "q_knight/KnightCharacter.blend", "q_dino_trex/Trex.blend", "q_enemy_snake/Snake.blend",
                                  "q_enemy_spider/Spider.blend", "qfbx_cat/Cat.blend"])  # fmt: skip
def test_artists_control_rigs(scene: bpy.types.Scene, file: str) -> None:
    """IK legs with locked axes, poles, poles that several share: what IK cannot hold is keyed with its influence at zero."""
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls
    from mocap_anything.addon.reference_reader import read_pose

    bpy.ops.wm.open_mainfile(filepath=str(SHARED / file), load_ui=False, use_scripts=False)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    armature = max((thing for thing in bpy.data.objects if thing.type == "ARMATURE"), key=lambda thing: len(thing.data.bones))
    bpy.context.scene.frame_set(1)
    found, plan = read_rig_or_controls(armature)
    motion = wiggle(plan, read_pose(armature, found))
    write_controls(armature, plan, motion, name="wiggle", start_frame=1, scene_fps=24.0)
    degrees, distance = off(armature, plan, motion)
    assert degrees < 1
    assert distance < 0.01
    assert {chain.target for chain in plan.chains} <= keyed_bones(armature), "a target stays at the foot, so that IK may be used again"


def generated(scene: bpy.types.Scene, metarig: str) -> bpy.types.Object:
    import addon_utils

    if addon_utils.enable("rigify", default_set=True) is None or not hasattr(bpy.types, f"OBJECT_OT_armature_{metarig}_metarig_add"):
        pytest.skip("needs Rigify")
    scene.render.fps = 24
    getattr(bpy.ops.object, f"armature_{metarig}_metarig_add")()
    bpy.ops.pose.rigify_generate()
    return next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.name.startswith("rig"))


def turned(armature: bpy.types.Object, plan: object, controls: set[str], radians: float) -> object:
    """Poses that FK can make: each control turns about an axis of its own, to and fro, and the body travels."""
    from mocap_anything.addon.control_probe import FK, evaluated_bones, posing, rigid, set_switches
    from mocap_anything.backend.kinematics import bone_rotations
    from mocap_anything.backend.motion import Motion

    poses, random = [], np.random.default_rng(1)
    axes = {name: random.normal(size=3) for name in sorted(controls)}
    with posing(armature):
        set_switches(armature, dict.fromkeys(plan.switches, FK))
        for share in np.sin(np.linspace(0, 2 * np.pi, FRAMES)):
            for name, axis in axes.items():
                basis = Quaternion(axis, radians * share).to_matrix().to_4x4()
                basis.translation = (0.2 * share, 0.1, 0.1) if name == "torso" else (0, 0, 0)
                armature.pose.bones[name].matrix_basis = basis
            bones = evaluated_bones(armature)
            poses.append([np.array(rigid(bones[name].matrix)) for name in plan.rig.names])
    told = np.array(poses)
    unknown = np.full((*told.shape[:2], 2), np.nan, np.float32)
    return Motion(np.arange(len(told)) / 24, bone_rotations(told), told[..., :3, 3].copy(), np.zeros(told.shape[:2], np.float32), unknown)


def switch_over(armature: bpy.types.Object) -> dict[str, float]:
    """Turn the keys of all IK_FK properties to the other side; returns what they were, by bone."""
    from mocap_anything.addon.blender_versions import assigned_action, channels

    found = {}
    for curve in channels(*assigned_action(armature)).fcurves:
        if curve.data_path.endswith('["IK_FK"]'):
            found[curve.data_path.split('"')[1]] = curve.keyframe_points[0].co[1]
            curve.keyframe_points[0].co[1] = 1 - curve.keyframe_points[0].co[1]
            curve.update()
    return found


@pytest.mark.parametrize("metarig", LIMBS)
@pytest.mark.parametrize("pole", [False, True], ids=["rolled", "pole"])
def test_limbs_under_ik(scene: bpy.types.Scene, metarig: str, pole: bool) -> None:
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls

    armature = generated(scene, metarig)
    for bone in LIMBS[metarig]:
        armature.pose.bones[bone]["pole_vector"] = pole
    armature.update_tag()
    _, plan = read_rig_or_controls(armature)
    assert {limb.switch[0] for limb in plan.limbs} == set(LIMBS[metarig])
    assert all(bool(limb.pole) == pole for limb in plan.limbs)
    motion = turned(armature, plan, {control for limb in plan.limbs for control in limb.fk} | {"torso", "neck"}, 0.35)
    _, fit = write_controls(armature, plan, motion, name="posed", start_frame=1, scene_fps=24.0, limbs="IK")
    keyed = keyed_bones(armature)
    assert not [name for name in keyed if name.startswith(("DEF-", "MCH-", "ORG-"))]
    assert {control for limb in plan.limbs for control in (*limb.turns.values(), limb.pole or limb.base, *limb.fk)} <= keyed
    degrees, distance = off(armature, plan, motion)
    print(f"{metarig} {'pole' if pole else 'rolled'} IK: {degrees:.3f} degrees, {distance:.5f} of the size; {fit}")
    assert degrees < 1
    assert distance < 0.01
    assert switch_over(armature) == dict.fromkeys(LIMBS[metarig], 0.0), "every limb is held by IK"
    degrees, distance = off(armature, plan, motion)
    print(f"    switched to FK: {degrees:.3f} degrees, {distance:.5f} of the size")
    assert degrees < 1
    assert distance < 0.01


def test_limbs_under_fk(scene: bpy.types.Scene) -> None:
    """By default limbs play by FK, and neither IK controls nor the tweaks that only IK would need have keys."""
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls

    armature = generated(scene, "basic_human")
    found, plan = read_rig_or_controls(armature)
    turns = {found.names[row]: control for row, control in plan.turns.items()}
    assert {turns[f"DEF-{part}.L"] for part in ("thigh", "shin", "foot", "upper_arm", "forearm", "hand")} == {
        f"{part}_fk.L" for part in ("thigh", "shin", "foot", "upper_arm", "forearm", "hand")
    }
    assert set(plan.moves.values()) == {"torso"}
    motion = turned(armature, plan, {*turns.values(), "torso"}, 0.35)
    _, fit = write_controls(armature, plan, motion, name="posed", start_frame=1, scene_fps=24.0)
    keyed = keyed_bones(armature)
    assert not [name for name in keyed if name.startswith(("DEF-", "MCH-", "ORG-"))]
    assert not {"foot_ik.L", "hand_ik.R", "thigh_ik.L", "shin_tweak.L", "forearm_tweak.R"} & keyed
    assert fit.other is None
    degrees, distance = off(armature, plan, motion)
    print(f"basic_human FK: {degrees:.3f} degrees, {distance:.5f} of the size; {fit}")
    assert degrees < 1
    assert distance < 0.01
    assert switch_over(armature) == dict.fromkeys(LIMBS["basic_human"], 1.0)


def test_spines_and_tails(scene: bpy.types.Scene) -> None:
    """Controls that share a twist, or that hang from each other's end; a neck that is torn off is followed in direction alone, and told."""
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls

    armature = generated(scene, "basic_quadruped")
    found, plan = read_rig_or_controls(armature)
    tail = {"spine", "spine.001", "spine.002", "spine.003"}
    assert tail <= {*plan.turns.values()}, "each is turned by the one before, and is a control all the same"
    motion = turned(armature, plan, {*plan.turns.values(), "torso", "hips", "chest"}, 0.2)
    _, fit = write_controls(armature, plan, motion, name="posed", start_frame=1, scene_fps=24.0)
    assert tail <= keyed_bones(armature)
    degrees, distance = off(armature, plan, motion)
    print(f"basic_quadruped FK, spine and tail: {degrees:.3f} degrees, {distance:.5f} of the size; {fit}")
    assert degrees < 1
    assert distance < 0.01
    ahead = [row for row, name in enumerate(found.names) if name in ("DEF-spine.009", "DEF-spine.010", "DEF-spine.011")]
    motion.heads[:, ahead] += np.array([0, 0, 0.2])
    _, torn = write_controls(armature, plan, motion, name="torn", start_frame=1, scene_fps=24.0)
    print(f"    torn apart: {torn}")
    assert torn.degrees < 1, "nothing else leans towards what is out of reach"
    assert torn.distance == pytest.approx(0.2 / found.size, rel=0.05)


def test_a_limb_out_of_reach_plays_by_fk(scene: bpy.types.Scene) -> None:
    """A forearm that ends where no arm of that length does: the other limbs are not held up by it."""
    from mocap_anything.addon.control_writer import read_rig_or_controls, write_controls
    from mocap_anything.addon.reference_reader import read_pose

    armature = generated(scene, "basic_human")
    found, plan = read_rig_or_controls(armature)
    motion = turned(armature, plan, {"torso"}, 0.2)
    beyond = [row for row, name in enumerate(found.names) if name in ("DEF-hand.L", "DEF-forearm.L")]
    motion.heads[:, beyond] += 0.3
    other = [row for row in range(len(found)) if not found.names[row].startswith(("DEF-upper_arm.L", "DEF-forearm.L", "DEF-hand.L"))]
    _, fit = write_controls(armature, plan, motion, name="posed", start_frame=1, scene_fps=24.0, limbs="IK")
    bpy.context.scene.frame_set(2)
    assert np.linalg.norm(read_pose(armature, found)[other, :3, 3] - motion.heads[1, other], axis=1).max() < 0.01 * found.size
    switched = switch_over(armature)
    assert switched.pop("upper_arm_parent.L") == 1.0
    assert set(switched.values()) == {0.0}
    assert "upper_arm_parent.L" in fit.released


def test_the_switch_is_chosen_in_the_panel_or_typed(posed_rig: bpy.types.Object) -> None:
    from mocap_anything.addon.capture_operator import options_of
    from mocap_anything.addon.command_line import make_parser
    from mocap_anything.addon.command_line import options_of as typed

    posed_rig.mocap_anything.limbs = "IK"
    assert options_of(bpy.context, posed_rig).limbs == "IK"
    for words, limbs in (([], "IK"), (["--limbs", "FK"], "FK")):
        arguments = make_parser().parse_args(["capture", "--video", posed_rig.mocap_anything.clip, *words])
        assert typed(arguments, bpy.context.scene, posed_rig).limbs == limbs
