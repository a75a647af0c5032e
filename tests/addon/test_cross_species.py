"""Motions onto creatures of another build, on artists' rigs through the same call as the button: what holds for any pair, and a picture of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Matrix

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "rigs"
pytestmark = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/rigs")]


@dataclass(frozen=True)
class Case:
    """A clip of the driving rig and its frame, from 0, on which the target's own clip has a frame that means the same.

    links: (target, driving) chains by their first and last bone, none to have them proposed. swings: (target, driving) bones whose ends must go the
    same way at the same time.
    """

    driving: str
    clip: str
    frame: int
    target: str
    own: str
    own_frame: int
    swings: tuple[tuple[str, str], ...]
    links: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()


CASES = {
    "quadruped to quadruped": Case("q_animals_horse", "Walk", 9, "q_enemy_rat", "Rat_Walk", 27, tuple(
        (f"{end}LowLeg.{side}", f"{end}LowerLeg.{side}") for end in ("Front", "Back") for side in "LR")),
    "horse to dragon": Case("q_animals_horse", "Gallop", 0, "q_monster_flying_dragon_evolved", "Flying_Idle", 33, (
        ("LowerArm.L", "FrontLowerLeg.L"), ("LowerArm.R", "FrontLowerLeg.R"), ("Head", "Head"))),
    "human to dinosaur": Case("q_cyber_character", "Walk", 6, "q_dino_trex", "TRex_Walk", 0, tuple(
        (f"BackLowLeg.{side}", f"LowerLeg.{side}") for side in "LR")),
    "dinosaur to human": Case("q_dino_trex", "TRex_Walk", 0, "q_cyber_character", "Walk", 6, tuple(
        (f"LowerLeg.{side}", f"BackLowLeg.{side}") for side in "LR")),
    "snake to tail": Case("q_enemy_snake", "Snake_Walk", 0, "q_dino_apatosaurus", "Apatosaurus_Idle", 0, (("Tail5", "Tail3"),),
                          ((("Tail1", "Tail5"), ("Tail", "Tail3")),)),
}  # fmt: skip


def bring(name: str, clip: str) -> bpy.types.Object:
    """Import a rig and give it one of its clips."""
    from mocap_anything.addon.blender_versions import assign_action

    index = {entry["name"]: entry for entry in json.loads((SHARED / "index.json").read_text("utf-8"))}
    actions, things = set(bpy.data.actions), set(bpy.data.objects)
    file = SHARED / name / index[name]["file"]
    (bpy.ops.import_scene.fbx if file.suffix == ".fbx" else bpy.ops.import_scene.gltf)(filepath=str(file))
    armature = max((thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing not in things), key=lambda a: len(a.data.bones))
    # as 4.2 names them, the armature comes last too
    names = (clip, f"{clip}_{armature.name.split('.')[0]}")
    found = [a for a in bpy.data.actions if a not in actions and a.name.split("|")[-1].split(".")[0] in names]
    for track in list(armature.animation_data.nla_tracks):
        armature.animation_data.nla_tracks.remove(track)
    assign_action(armature, found[0], found[0].slots[0] if hasattr(found[0], "slots") else None)
    return armature


def freeze(scene: bpy.types.Scene, armature: bpy.types.Object, frame: int) -> None:
    """Leave the armature in the pose of its clip's frame, unkeyed."""
    scene.frame_set(int(armature.animation_data.action.frame_range[0]) + frame)
    kept = {bone.name: bone.matrix_basis.copy() for bone in armature.pose.bones}
    armature.animation_data_clear()
    for bone in armature.pose.bones:
        bone.matrix_basis = kept[bone.name]
    bpy.context.view_layer.update()


def stage(scene: bpy.types.Scene, case: Case) -> tuple[bpy.types.Object, bpy.types.Object, int]:
    """Both rigs, the target standing in its half of the pair, and the scene frame of the pair."""
    target = bring(case.target, case.own)
    freeze(scene, target, case.own_frame)
    driving = bring(case.driving, case.clip)
    frame = int(driving.animation_data.action.frame_range[0]) + case.frame
    scene.frame_set(frame)
    return driving, target, frame


def carry(scene: bpy.types.Scene, case: Case, staged: tuple[bpy.types.Object, bpy.types.Object, int], **options: Any) -> Any:
    from mocap_anything.addon.retargeting import RetargetOptions, retarget_action
    from mocap_anything.backend.retarget.links import Link

    driving, target, frame = staged
    return retarget_action(scene, target, driving, RetargetOptions(frame, [Link(*link) for link in case.links], **options))


def local(done: Any, rotations: np.ndarray) -> np.ndarray:
    from mocap_anything.backend.finish.smoothing import to_local

    return to_local(done.target.rig, rotations)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees, from the chord."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8), 0, 1)))


def ends(posed: Any, poses: np.ndarray, name: str) -> np.ndarray:
    """(T, 3) left, front, up of a bone's end from the body's hub, in shares of the size."""
    body, rig = posed.anatomy(), posed.rig
    bone = rig.names.index(name)
    moved = poses[:, bone] @ np.linalg.inv(rig.rest[bone]) @ np.append(rig.ends[bone], 1)
    return (moved[:, :3] - poses[:, body.hub, :3, 3]) @ body.facing_at_rest / body.size


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two paths (T, 3) about their means."""
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


@pytest.mark.parametrize("name", CASES)
def test_what_holds_for_any_pair(scene: bpy.types.Scene, tmp_path: Path, name: str) -> None:
    from mocap_anything.backend.kinematics import bone_rotations
    from mocap_anything.backend.retarget.links import chain
    from mocap_anything.backend.retarget.sheet import poses_of, retarget_sheet
    from PIL import Image

    case = CASES[name]
    driving, target, frame = staged = stage(scene, case)
    done = carry(scene, case, staged)
    rig, poses = done.target.rig, poses_of(done.target.rig, done.motion)
    first = int(driving.animation_data.action.frame_range[0])

    sheet = tmp_path / f"{name}.png"
    retarget_sheet(sheet, [(case.driving, done.driving, done.poses), (case.target, done.target, poses)], done.motion.times)
    drawn = np.asarray(Image.open(sheet).convert("L")).astype(float)
    for row in (drawn[40:260], drawn[300:520]):
        assert row.std() > 3, "something is drawn"

    still = local(done, bone_rotations(done.target.pose))
    found = local(done, done.motion.rotations)
    linked = {bone for link in done.links for bone in chain(rig, link.target)}
    others = [bone for bone in range(len(rig)) if bone not in linked]
    assert angles(found, still)[:, others].max() < 0.01, "bones without a link ride"
    assert angles(found, still)[:, sorted(linked)].max() > 10, "and the others move"
    assert angles(done.motion.rotations[frame - first], bone_rotations(done.target.pose))[rig.driven].max() < 0.01, "on the pair's frame it is the pair's pose"

    # what was written is what was worked out
    scene.frame_set(first + len(poses) // 2)
    bones = target.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    written = np.array([bones[bone].matrix for bone in rig.names])
    assert angles(bone_rotations(written), done.motion.rotations[len(poses) // 2])[rig.driven].max() < 0.1

    for mine, theirs in case.swings:
        agree = correlation(ends(done.target, poses, mine), ends(done.driving, done.poses, theirs))
        assert agree > 0.5, f"{mine} and {theirs} swing in the same phase: {agree:.2f}"


def test_travel_is_that_of_the_legs(scene: bpy.types.Scene) -> None:
    """The body's hub goes as far as the driver's, times the ratio of the legs, whatever that is between these two."""
    from mocap_anything.backend.retarget.links import chain
    from mocap_anything.backend.retarget.transfer import leg_ratio

    case = CASES["human to dinosaur"]
    staged = stage(scene, case)
    done = carry(scene, case, staged, contacts=False)
    mine, theirs = done.target.anatomy(), done.driving.anatomy()
    ratio = leg_ratio(mine, theirs, [(chain(mine.rig, link.target), chain(theirs.rig, link.driving)) for link in done.links])
    gone, other = np.ptp(done.motion.heads[:, mine.hub], axis=0), np.ptp(done.poses[:, theirs.hub, :3, 3], axis=0)
    assert np.linalg.norm(gone) == pytest.approx(ratio * np.linalg.norm(other), rel=0.01)


def turned(armature: bpy.types.Object) -> None:
    """Another way to stand in the scene."""
    armature.rotation_mode = "XYZ"
    armature.matrix_world = Matrix.Rotation(np.radians(70), 4, "Z") @ armature.matrix_world
    bpy.context.view_layer.update()


def rolled(armature: bpy.types.Object) -> None:
    """Other axes at rest, the same pose."""
    poses = {bone.name: bone.matrix.copy() for bone in armature.pose.bones}
    rest = {bone.name: bone.matrix_local.copy() for bone in armature.data.bones}
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for n, bone in enumerate(armature.data.edit_bones):
        bone.roll += 0.5 + 0.3 * (n % 5)
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in sorted(armature.pose.bones, key=lambda b: len(b.parent_recursive)):
        bone.matrix = poses[bone.name] @ rest[bone.name].inverted() @ armature.data.bones[bone.name].matrix_local
        bpy.context.view_layer.update()


@pytest.mark.parametrize("change", [turned, rolled])
@pytest.mark.parametrize("name", ["human to dinosaur"])
def test_axes_and_heading_change_nothing(scene: bpy.types.Scene, name: str, change: Callable[[bpy.types.Object], None]) -> None:
    """The target turned about in the scene, or with bones rolled otherwise, turns as it did."""
    case = CASES[name]
    staged = stage(scene, case)
    kept = {bone.name: bone.matrix_basis.copy() for bone in staged[1].pose.bones}
    before = carry(scene, case, staged)
    staged[1].animation_data_clear()
    for bone in staged[1].pose.bones:
        bone.matrix_basis = kept[bone.name]
    bpy.context.view_layer.update()
    change(staged[1])
    after = carry(scene, case, staged)
    from mocap_anything.backend.kinematics import bone_rotations

    turns = [done.motion.rotations @ np.swapaxes(bone_rotations(done.target.pose), -1, -2) for done in (before, after)]
    assert angles(*turns)[:, before.target.rig.driven].max() < 0.05
    np.testing.assert_allclose(after.motion.heads[:, 0], before.motion.heads[:, 0], atol=1e-3 * before.target.rig.size)


def test_feet_slide_less_with_the_rule_than_without(scene: bpy.types.Scene) -> None:
    """The dinosaur bites over feet that stand; on the human's legs they slide, and less where the rule holds them."""
    from mocap_anything.addon.retargeting import _motion
    from mocap_anything.backend.finish.contacts import contact_weights, foot_points, leaves

    case = Case("q_dino_trex", "TRex_Attack", 0, "q_cyber_character", "Idle_Neutral", 0, ())
    staged = stage(scene, case)
    slides = []
    for contacts in (False, True):
        done = carry(scene, case, staged, contacts=contacts)
        theirs, rig, up = done.driving.rig, done.target.rig, done.target.anatomy().facing[:, 2]
        stands = contact_weights(foot_points(theirs, _motion(done.poses, 24.0)), done.motion.times, done.driving.up, theirs.size)
        columns = [[theirs.names[bone] for bone in leaves(theirs)].index(f"BackFoot.{side}") for side in "LR"]
        feet = [[rig.names[bone] for bone in leaves(rig)].index(f"LowerLeg.{side}") for side in "LR"]
        steps = np.diff(foot_points(rig, done.motion)[:, feet], axis=0)
        slid = np.linalg.norm(steps - (steps @ up)[..., None] * up, axis=-1)
        slides.append(float((slid * stands[1:, columns]).sum() / rig.size))
    assert slides[1] < 0.8 * slides[0], slides
