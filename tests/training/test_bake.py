"""Baking rig files: what a clip leaves out, which clips are held out, and agreement with Blender."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.kinematics import forward
from mocap_anything.backend.rig import Mesh
from mocap_anything.backend.thinning import thin_out
from mocap_anything.training.data import bake, open_zoo
from mocap_anything.training.data.asset import load_asset
from mocap_anything.training.data.import_rig import import_file, main_armature, neutral_pose

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "rigs"


def own_rigs(folder: Path, extension: str) -> dict[str, object]:
    """A folder of one exported rig, and its index entry: two bones, two clips, the second of which leaves the upper bone alone."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.render.fps = 24
    data = bpy.data.armatures.new("rig")
    armature = bpy.data.objects.new("rig", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for name, head in (("lower", 0.0), ("upper", 1.0)):
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, head), (0, 0, head + 1)
    data.edit_bones["upper"].parent = data.edit_bones["lower"]
    bpy.ops.object.mode_set(mode="OBJECT")
    mesh = bpy.data.meshes.new("body")
    mesh.from_pydata([(x, y, z) for z in (0.2, 1.8) for x, y in ((0, 0), (1, 0), (0, 1))], [], [(0, 1, 2), (3, 4, 5), (0, 1, 4, 3)])
    body = bpy.data.objects.new("body", mesh)
    bpy.context.scene.collection.objects.link(body)
    body.parent = armature
    for name, vertices in (("lower", (0, 1, 2)), ("upper", (3, 4, 5))):
        body.vertex_groups.new(name=name).add(vertices, 1, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = armature
    armature.animation_data_create()
    for clip, bones in (("both", ("lower", "upper")), ("lower only", ("lower",))):
        action = bpy.data.actions.new(clip)
        armature.animation_data.action = action
        for name in bones:
            pose_bone = armature.pose.bones[name]
            for frame, angle in ((1, 0.5), (25, 1.5)):
                pose_bone.rotation_quaternion = (np.cos(angle / 2), np.sin(angle / 2), 0, 0)
                pose_bone.keyframe_insert("rotation_quaternion", frame=frame)
        track = armature.animation_data.nla_tracks.new()
        track.name = clip
        track.strips.new(clip, 1, action)
        armature.animation_data.action = None
        for bone in armature.pose.bones:
            bone.rotation_quaternion = (1, 0, 0, 0)
    (folder / "own").mkdir(parents=True)
    path = folder / "own" / f"own.{extension}"
    if extension == "blend":
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
    else:
        bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB" if extension == "glb" else "GLTF_SEPARATE", export_animation_mode="NLA_TRACKS")
    entry: dict[str, object] = {"name": "own", "file": path.name, "split": "train", "kind": "post", "license": "CC0-1.0 (ours)", "clips": []}
    (folder / "index.json").write_text(json.dumps([entry, {**entry, "name": "gone"}]))
    return entry


@pytest.mark.parametrize("extension", ["glb", "gltf", "blend"])
def test_a_file_becomes_an_asset_and_a_broken_one_stops_nothing(tmp_path: Path, extension: str) -> None:
    own_rigs(tmp_path / "rigs", extension)
    assert bake.main([str(tmp_path / "rigs"), str(tmp_path / "out")]) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["own.npz"]
    asset = load_asset(tmp_path / "out" / "own.npz")
    assert set(asset.rig.names) == {"lower", "upper"}
    assert asset.rig.driven.all()
    assert asset.license == "CC0-1.0"
    assert asset.plan == "post"
    np.testing.assert_allclose(asset.up, (0, 0, 1), atol=1e-6)
    clips = {clip.name.removesuffix("_rig"): clip for clip in asset.clips}  # older importers add the armature's name
    assert set(clips) == {"both", "lower only"}
    assert [len(clip.pose) for clip in asset.clips] == [25, 25]
    lower, upper = (asset.rig.names.index(name) for name in ("lower", "upper"))
    for clip in asset.clips:
        turn = np.linalg.inv(clip.pose[0, lower]) @ clip.pose[-1, lower]
        assert np.degrees(np.arccos((np.trace(turn[:3, :3]) - 1) / 2)) == pytest.approx(np.degrees(1.0), abs=0.1)
    # The clip that leaves the upper bone out keeps it straight on the lower one, whatever played before.
    still = clips["lower only"].pose
    local = np.linalg.inv(asset.rig.rest[lower]) @ asset.rig.rest[upper]
    np.testing.assert_allclose(np.linalg.inv(still[:, lower]) @ still[:, upper], np.broadcast_to(local, (25, 4, 4)), atol=1e-4)


@pytest.mark.parametrize(("split", "names", "expected"), [
    ("train", ["c10", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"], {"c3", "c8"}),  # by name: c0, c1, c10, c2, c3, …
    ("train", ["a", "b"], set()),
    ("train", ["Walk", "attack", "Bite", "death", "Eat", "fall"], {"death", "fall"}),  # whether or not capitals sort apart
    ("rare", ["a", "b"], {"a", "b"}),
    ("unseen", ["a"], {"a"}),
])
def test_held_out_clips(split: str, names: list[str], expected: set[str]) -> None:
    flags = bake.held_out({"split": split}, names)
    assert {name for name, flag in zip(names, flags, strict=True) if flag} == expected


def test_thinned_out_vertices_are_the_meshs_own() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(60), np.arange(60), indexing="ij"), -1).reshape(-1, 2)
    vertices = np.concatenate([grid / 59, 0.05 * np.sin(grid[:, :1] / 5)], 1).astype(np.float32)
    corner = (np.arange(59)[:, None] * 60 + np.arange(59)).reshape(-1)
    triangles = np.concatenate([np.stack([corner, corner + 60, corner + 1], 1), np.stack([corner + 1, corner + 60, corner + 61], 1)]).astype(np.int32)
    bones = np.zeros((3600, 4), np.int32)
    bones[:, 0] = vertices[:, 0] > 0.5
    weights = np.zeros((3600, 4), np.float32)
    weights[:, 0] = 1
    mesh = Mesh(vertices, triangles, bones, weights, np.repeat(rng.random((1, 3)), 3600, 0).astype(np.float32))
    thin = thin_out(mesh, 800)
    assert 400 < len(thin.triangles) <= 800
    index = {tuple(v): i for i, v in enumerate(vertices.tolist())}
    own = [index[tuple(v)] for v in thin.vertices.tolist()]
    np.testing.assert_array_equal(thin.bones, bones[own])
    assert thin.vertices.max(0) == pytest.approx(vertices.max(0), abs=0.05)
    assert thin_out(mesh, 10_000) is mesh


needs_rigs = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/rigs")
DOZEN = ("q_animals_fox", "q_dino_trex", "q_enemy_spider", "q_cube_horse", "q_cutefish_koi", "q_mech_george", "q_monster_flying_dragon_evolved",
         "kaykit_rogue", "qfbx_horse", "qfbx_bird", "q_tank", "robot_expressive")


def entry_of(name: str) -> dict[str, object]:
    return next(e for e in json.loads((SHARED / "index.json").read_text()) if e["name"] == name)


@needs_rigs
@pytest.mark.parametrize("name", DOZEN)
def test_forward_kinematics_as_blenders_own(name: str) -> None:
    from mocap_anything.addon.rig_reader import read_rig

    entry = entry_of(name)
    path = SHARED / name / str(entry["file"])
    import_file(path)
    armature = main_armature()
    rig = read_rig(armature)
    sampler = bake.ClipSampler(armature, rig.names, {})
    actions = bake.actions_of(armature)
    assert actions
    for action in actions[:2]:
        fps, pose, basis = sampler.play(action)
        assert fps == 24
        assert len(pose) <= bake.MAX_FRAMES
        ours = forward(rig, basis)
        assert np.abs(ours[..., :3, 3] - pose[..., :3, 3]).max() < 1e-5 * rig.size
        np.testing.assert_allclose(ours[..., :3, :3], pose[..., :3, :3], atol=1e-5)


@needs_rigs
def test_the_neutral_pose_is_the_files_own() -> None:
    """The fox stands with its tail hanging, which its bind pose has not: a clip that leaves the tail out means that."""
    pose = neutral_pose(SHARED / "q_animals_fox" / "Fox.glb")
    turn = np.degrees(np.arccos((np.trace(pose["Tail2"][:3, :3]) - 1) / 2))
    assert turn == pytest.approx(37.5, abs=0.5)
    assert neutral_pose(SHARED / "qfbx_dog" / "Dog.fbx") == {}


@needs_rigs
def test_the_page_of_the_open_zoo(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    assert open_zoo.main([str(SHARED), str(out), "--only", "q_cyber_enemy_2legs", "q_cube_horse"]) == 0
    page = out.read_text()
    assert "2 rigs read, 0 failed" in page
    assert "Foot.L → Leg3.L, Foot.R → Leg3.R" in page
    assert "| train | 2 | 0 | 0 | 0 | 1.00 | 1.00 |" in page
