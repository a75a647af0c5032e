"""What a user brings: names and layouts, several files of one species on one rig, everything that is left out, and going on where it stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.training.data import prepare as command
from mocap_anything.training.data.asset import AssetClip, load_asset
from mocap_anything.training.data.bake import Animated, read_file
from mocap_anything.training.data.merge import carry_over, choose_base, similarity
from mocap_anything.training.data.user_files import Split, find_objaverse, find_truebones
from mocap_anything.training.metrics import geodesic

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
needs_rigs = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")

SPLIT = Split({("Croc", "Croc-Bite"): "unseen", ("Lion", "LionAll-Yawn"): "seen", ("Lion", "LionAll-Run2"): "seen", ("Hen", "Hen-Walk"): "rare"})


@pytest.mark.parametrize(("species", "motion", "group"), [
    ("Lion", "LionAll-Yawn", "seen"), ("lion", "lionall_yawn", "seen"), ("Lion", "All-Yawn", "seen"), ("Lion", "LionAll-Walk", "train"),
    ("Croc", "Croc-Bite", "unseen"), ("Croc", "anything", "unseen"), ("Hen", "__Walk", "rare"), ("Hen", "Hen-Peck", "train"), ("Bear", "Bear-Walk", "train"),
])
def test_the_split_is_known_by_name(species: str, motion: str, group: str) -> None:
    assert SPLIT.group(species, motion) == group


def test_a_held_out_motion_under_another_name_is_suspected() -> None:
    assert SPLIT.suspect("Lion", "LionAll-Yown", ["LionAll-Yown"]) == "LionAll-Yawn"
    assert SPLIT.suspect("Lion", "LionAll-Yown", ["LionAll-Yown", "LionAll-Yawn"]) is None  # the held-out one is there under its own name
    assert SPLIT.suspect("Lion", "LionAll-Run3", ["LionAll-Run3"]) is None  # another number is another motion
    missing = [problem.what for problem in SPLIT.missing([("lion", "all yawn"), ("Hen", "Hen-Walk")])]
    assert missing == ["Lion#LionAll-Run2", "Croc"]


def test_the_layouts_that_go_round(tmp_path: Path) -> None:
    for name in ("Zoo/Croc/FBX/Bite.fbx", "Zoo/Croc/BVH/Bite.bvh", "Croc#Die.glb", "bvh/Hen#Walk/y30.bvh", "bvh/Hen#Walk/y0.bvh", "stray.fbx", "Croc/skin.png",
                 "more.zip", ".hidden/Croc/Run.fbx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_truebones(tmp_path)
    short = {species: {m: [p.name for p in paths] for m, paths in motions.items()} for species, motions in found.species.items()}
    assert short == {"Croc": {"Bite": ["Bite.fbx", "Bite.bvh"], "Die": ["Croc#Die.glb"]}, "Hen": {"Walk": ["y0.bvh"]}}
    assert {problem.what for problem in found.problems} == {"stray.fbx", "more.zip"}
    assert set(find_objaverse(tmp_path).species) == {"Bite", "Croc#Die", "y0", "y30", "stray"}


def animated(rig: object, seed: int = 0) -> Animated:
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(3, len(rig), 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[..., None, None]
    pose = np.tile(rig.rest, (3, 1, 1, 1))
    pose[..., :3, :3] = turns @ rig.rest[:, :3, :3]
    pose[..., :3, 3] += rng.normal(size=(3, len(rig), 3))
    return Animated(rig, "rig", np.eye(4), np.array([0, 0, 1.0]), (AssetClip("a", 24, pose),))


@pytest.fixture
def worm(rig: bpy.types.Object) -> Animated:
    from mocap_anything.addon.rig_reader import read_rig

    read = read_rig(rig)
    bent = read.rest.copy()
    bent[2, :3, 3] = [0.5, 0, 1.5]
    return animated(replace(read, rest=bent))


def test_a_motion_is_carried_onto_another_files_axes_units_and_rolls(worm: Animated) -> None:
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    change, rolls = np.eye(4), np.tile(np.eye(4), (3, 1, 1))
    change[:3, :3], change[:3, 3] = 100 * turn, [3, 4, 5]
    rolls[:, :3, :3] = np.linalg.qr(rng.normal(size=(3, 3, 3)))[0]
    rolls[..., 0] *= np.linalg.det(rolls)[:, None]
    back = np.linalg.inv(change)
    order = [1, 0, 2]
    rest, pose = change @ worm.rig.rest @ rolls, change @ worm.clips[0].pose @ rolls
    rest[..., :3, :3] /= 100
    pose[..., :3, :3] /= 100
    names = tuple(worm.rig.names[i] for i in order)
    other = replace(worm.rig, rest=rest[order], names=names, parents=np.array([-1, -1, 0], np.int32))
    assert isinstance(similarity(worm, replace(worm, rig=other)), str), "another parent"
    other = replace(worm.rig, rest=rest)
    found = similarity(worm, replace(worm, rig=other))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, back, atol=1e-6)
    carried = carry_over(worm.rig, other, found, pose)
    np.testing.assert_allclose(carried[..., :3, 3], worm.clips[0].pose[..., :3, 3], atol=1e-6)
    assert geodesic(bone_rotations(carried), worm.clips[0].pose[..., :3, :3]).max() < 1e-3


def test_the_rig_that_most_files_share_serves_for_all(worm: Animated) -> None:
    moved = worm.rig.rest.copy()
    moved[1, :3, 3] += [0, 2, 0]
    lone = replace(worm, rig=replace(worm.rig, rest=moved))
    assert choose_base([lone, worm, replace(worm, rig=replace(worm.rig, mesh=None)), worm]) == 1
    assert "elsewhere" in str(similarity(worm, lone))
    assert "no bone 'Segment 0'" in str(similarity(worm, replace(worm, rig=replace(worm.rig, names=("a", "Segment 1", "Segment 2")))))


def rig_file(name: str) -> Path:
    return SHARED / "rigs" / name / next(e["file"] for e in json.loads((SHARED / "rigs" / "index.json").read_text()) if e["name"] == name)


def write_bvh(source: Path, folder: Path, names: dict[str, int]) -> None:
    """Each action of a rig file, by its place in the alphabet, as one BVH file that Blender writes."""
    from mocap_anything.training.data.bake import actions_of
    from mocap_anything.training.data.import_rig import import_file, main_armature

    import_file(source)
    armature = main_armature()
    bpy.context.view_layer.objects.active = armature
    armature.select_set(True)
    for track in list(armature.animation_data.nla_tracks):
        armature.animation_data.nla_tracks.remove(track)
    actions = actions_of(armature)
    folder.mkdir(parents=True, exist_ok=True)
    for name, index in names.items():
        armature.animation_data.action = actions[index]
        if hasattr(actions[index], "slots"):
            armature.animation_data.action_slot = actions[index].slots[0]
        first, last = (int(frame) for frame in actions[index].frame_range)
        bpy.ops.export_anim.bvh(filepath=str(folder / f"{name}.bvh"), frame_start=first, frame_end=last, root_transform_only=False)


@needs_rigs
def test_a_folder_of_truebones_files(tmp_path: Path) -> None:
    zoo, out = tmp_path / "zoo", tmp_path / "out"
    koi = rig_file("q_cutefish_koi")
    # Jaws: a rare species of the split; its tested motion and another one as BVH, the rig with its skin as GLB
    write_bvh(koi, zoo / "Jaws", {"Shark-Swim": 0, "Shark-Bite": 1})
    shutil.copy(koi, zoo / "Jaws" / f"Jaws{koi.suffix}")
    # Crocodile: unseen; one file of another skeleton, one that is no file of its kind
    (zoo / "Crocodile").mkdir()
    shutil.copy(rig_file("q_cube_chick"), zoo / "Crocodile" / "Chick.gltf")
    write_bvh(koi, zoo / "Crocodile", {"Crocodile-Die": 0})
    (zoo / "Crocodile" / "Crocodile-Bite.fbx").write_bytes(b"nothing of the kind")
    (zoo / "lost.bvh").write_text("HIERARCHY\n")
    arguments = ["truebones", str(zoo), "--out", str(out)]
    assert command.main(arguments) == 0
    said = (out / "report.md").read_text()
    assert {path.name for path in out.glob("*.npz")} == {"Jaws.npz", "Jaws.rare.npz", "Crocodile.npz"}
    train, rare, unseen = (load_asset(out / f"{name}.npz") for name in ("Jaws", "Jaws.rare", "Crocodile"))
    assert (train.split, rare.split, unseen.split) == ("train", "rare", "unseen")
    assert [clip.name for clip in rare.clips] == ["Shark-Swim"]
    assert "Shark-Bite" in [clip.name for clip in train.clips]
    assert not any(clip.held_out for clip in train.clips)
    assert all(clip.held_out for asset in (rare, unseen) for clip in asset.clips)
    assert train.license == "LicenseRef-Truebones"
    assert train.rig.mesh is not None
    # the motion that came as BVH is the one that the GLB has
    swim = rare.clips[0].pose
    apart = [np.abs(clip.pose - swim).max() for clip in train.clips if clip.pose.shape == swim.shape]
    assert min(apart) < 2e-3 * train.rig.size
    for text in ("Crocodile-Bite.fbx` cannot be read", "clashes", "lost.bvh` is misnamed", "Elephant` is missing", "Crocodile#Crocodile-Yawning` is missing"):
        assert text in said, text

    # a second call reads nothing again; a new file of one species makes that one new
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert command.main(arguments) == 0
    assert stamps == {path.name: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    (zoo / "Crocodile" / "Crocodile-Bite.fbx").unlink()
    assert command.main(arguments) == 0
    changed = {path.name for path in out.glob("*.npz") if path.stat().st_mtime_ns != stamps[path.name]}
    assert changed == {"Crocodile.npz"}
    assert "Crocodile-Bite.fbx" not in (out / "report.md").read_text()


@needs_rigs
def test_a_file_that_ends_blender_is_left_out_the_next_time(tmp_path: Path) -> None:
    objects, out = tmp_path / "glbs" / "000-001", tmp_path / "out"
    objects.mkdir(parents=True)
    for uid, name in (("abc", "q_cube_chick"), ("def", "q_cube_chick")):
        shutil.copy(rig_file(name), objects / f"{uid}.gltf")
    out.mkdir()
    (out / ".importing").write_text("000-001/def.gltf")
    ids = tmp_path / "test.txt"
    ids.write_text("abc\nghi\n")
    assert command.main(["objaverse", str(tmp_path / "glbs"), "--out", str(out), "--split", str(ids)]) == 0
    said = (out / "report.md").read_text()
    assert [path.name for path in out.glob("*.npz")] == ["abc.npz"]
    assert load_asset(out / "abc.npz").split == "unseen"
    assert "def.gltf` Blender itself ended" in said
    assert "ghi` is missing" in said
    assert not (out / ".importing").exists()
    assert json.loads((out / "prepared.json").read_text())["deadly"] == ["000-001/def.gltf"]


def test_a_bvh_plays_at_its_own_rate(rig: bpy.types.Object, tmp_path: Path) -> None:
    """31 frames at 30 a second are one second, and so are 25 samples at 24, whatever the scene's rate."""
    bone = rig.pose.bones["Segment 1"]
    for frame, angle in ((1, 0.0), (31, 1.0)):
        bone.rotation_mode = "XYZ"
        bone.rotation_euler = (angle, 0, 0)
        bone.keyframe_insert("rotation_euler", frame=frame)
    bpy.context.scene.render.fps = 30
    bpy.ops.export_anim.bvh(filepath=str(tmp_path / "worm.bvh"), frame_start=1, frame_end=31)
    content = read_file(tmp_path / "worm.bvh")
    assert len(content.clips) == 1
    assert len(content.clips[0].pose) == 25
    local = np.linalg.inv(content.clips[0].pose[-1, 0]) @ content.clips[0].pose[-1, 1]
    assert np.degrees(np.arccos((np.trace(local[:3, :3]) - 1) / 2)) == pytest.approx(np.degrees(1), abs=0.1)
    np.testing.assert_allclose(content.up, (0, 0, 1), atol=1e-6)
