"""Forward kinematics against Blender's own pose, round trips, skinning and heads along carriers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mocap_anything.backend import kinematics
from mocap_anything.backend.rig import Mesh, Rig

SCALES = ("FULL", "FIX_SHEAR", "ALIGNED", "AVERAGE", "NONE", "NONE_LEGACY")


@pytest.fixture
def empty_scene() -> None:
    """Blender with nothing in it; the extension is not needed here."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def random_rotation(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform rotations (*shape, 3, 3)."""
    turn, triangle = np.linalg.qr(rng.normal(size=(*shape, 3, 3)))
    turn = turn * np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))[..., None, :]
    turn[..., 0] *= np.sign(np.linalg.det(turn))[..., None]
    return turn


def random_rig(rng: np.random.Generator, count: int, plain: bool = False) -> Rig:
    """A random forest of bones with random flags (all at their defaults where `plain`)."""
    parents = np.array([-1] + [int(rng.integers(-1, bone)) for bone in range(1, count)], np.int32)
    rest = np.tile(np.eye(4), (count, 1, 1))
    rest[:, :3, :3], rest[:, :3, 3] = random_rotation(rng, count), rng.normal(size=(count, 3))
    flags = (np.ones((2, count)) if plain else rng.integers(0, 2, (2, count))).astype(bool)
    scales = tuple("FULL" if plain else SCALES[i] for i in rng.integers(0, len(SCALES), count))
    return Rig(tuple(f"b{i}" for i in range(count)), parents, parents.copy(), rest, rest[:, :3, 3] + rest[:, :3, 1], np.ones(count, bool),
               ("",) * count, flags[0], flags[1], scales)


def random_basis(rng: np.random.Generator, *shape: int, scaled: bool = True) -> np.ndarray:
    """Keys: rotation, location and, where `scaled`, uneven scale (*shape, 4, 4)."""
    basis = np.tile(np.eye(4), (*shape, 1, 1))
    basis[..., :3, :3] = random_rotation(rng, *shape) * (np.exp(rng.uniform(-0.5, 0.5, (*shape, 1, 3))) if scaled else 1)
    basis[..., :3, 3] = rng.normal(size=(*shape, 3))
    return basis


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12), frames=st.sampled_from([(), (3,), (2, 2)]), scaled=st.booleans())
def test_keys_come_back_from_the_pose(seed: int, count: int, frames: tuple[int, ...], scaled: bool) -> None:
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, count)
    basis = random_basis(rng, *frames, count, scaled=scaled)
    pose = kinematics.forward(rig, basis)
    assert pose.shape == basis.shape
    assert pose.dtype == np.float64
    again = kinematics.forward(rig, kinematics.basis_from_pose(rig, pose))
    np.testing.assert_allclose(again, pose, atol=1e-6 * max(1, np.abs(pose).max()))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 10))
def test_batched_equals_one_by_one_and_plain_chain(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, count, plain=True)
    basis = random_basis(rng, 4, count)
    pose = kinematics.forward(rig, basis)
    for frame in range(4):
        np.testing.assert_allclose(kinematics.forward(rig, basis[frame]), pose[frame], atol=1e-9)
        for bone, parent in enumerate(rig.parents):
            above = pose[frame, parent] @ np.linalg.inv(rig.rest[parent]) if parent >= 0 else np.eye(4)
            np.testing.assert_allclose(above @ rig.rest[bone] @ basis[frame, bone], pose[frame, bone], atol=1e-6 * np.abs(pose).max())


def test_rest_keys_give_the_rest_pose() -> None:
    rig = random_rig(np.random.default_rng(5), 9)
    np.testing.assert_allclose(kinematics.forward(rig, np.tile(np.eye(4), (9, 1, 1))), rig.rest, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_flags_as_in_blender(seed: int, empty_scene: None) -> None:
    import bpy
    from mathutils import Matrix
    from mocap_anything.addon.rig_reader import read_rig

    rng = np.random.default_rng(seed)
    wanted = random_rig(rng, 8)
    data = bpy.data.armatures.new("flags")
    armature = bpy.data.objects.new("flags", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for name, parent, rest in zip(wanted.names, wanted.parents, wanted.rest, strict=True):
        bone = data.edit_bones.new(name)
        bone.tail = (0, 1, 0)
        bone.matrix = Matrix(rest.tolist())
        bone.length = float(rng.uniform(0.3, 2))
        if parent >= 0:
            bone.parent = data.edit_bones[wanted.names[parent]]
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, rotation, location, scale in zip(wanted.names, wanted.inherit_rotation, wanted.local_location, wanted.inherit_scale, strict=True):
        bone = data.bones[name]
        bone.use_inherit_rotation, bone.use_local_location, bone.inherit_scale = bool(rotation), bool(location), scale
    rig = read_rig(armature)
    basis = random_basis(rng, len(rig))
    for name, keys in zip(rig.names, basis, strict=True):
        armature.pose.bones[name].matrix_basis = Matrix(keys.tolist())
    bpy.context.view_layer.update()
    read = np.array([np.array(armature.pose.bones[name].matrix_basis) for name in rig.names], np.float64)
    blender = np.array([np.array(armature.pose.bones[name].matrix) for name in rig.names])
    np.testing.assert_allclose(kinematics.forward(rig, read), blender, atol=2e-5 * np.abs(blender).max())
    back = kinematics.basis_from_pose(rig, kinematics.forward(rig, read))
    np.testing.assert_allclose(kinematics.forward(rig, back), blender, atol=2e-5 * np.abs(blender).max())


def test_bone_rotations_ignore_scale_and_the_bones_axes() -> None:
    rng = np.random.default_rng(1)
    turn, other = random_rotation(rng, 5), random_rotation(rng, 5)
    pose = np.tile(np.eye(4), (5, 1, 1))
    pose[:, :3, :3] = turn * 2.5
    np.testing.assert_allclose(kinematics.bone_rotations(pose), turn, atol=1e-12)
    sheared = np.tile(np.eye(4), (5, 1, 1))
    sheared[:, :3, :3] = turn + 0.2 * rng.normal(size=(5, 3, 3))
    rolled = sheared.copy()
    rolled[:, :3, :3] = sheared[:, :3, :3] @ other
    np.testing.assert_allclose(kinematics.bone_rotations(rolled), kinematics.bone_rotations(sheared) @ other, atol=1e-12)
    pose[:, :3, 0] *= -1
    np.testing.assert_allclose(np.linalg.det(kinematics.bone_rotations(pose)), 1)


def test_heads_ride_on_their_carriers() -> None:
    rng = np.random.default_rng(2)
    rig = random_rig(rng, 10, plain=True)
    basis = random_basis(rng, 6, 10, scaled=False)
    basis[:, :, :3, 3] = basis[:1, :, :3, 3]
    pose = kinematics.forward(rig, basis)
    heads = kinematics.pose_along_carriers(rig, pose[..., :3, :3], pose[2], pose[..., :3, 3])
    np.testing.assert_allclose(heads, pose[..., :3, 3], atol=1e-9)


def test_a_foot_on_the_root_stays_on_its_leg() -> None:
    """The foot hangs off the root and comes first in order; its carrier is the shin, which a later bone is."""
    rest = np.tile(np.eye(4), (4, 1, 1))
    rest[:, :3, 3] = [(0, 0, 0), (0, 0, -3), (0, 0, -1), (0, 0, -2)]
    rig = replace(random_rig(np.random.default_rng(0), 4, plain=True), parents=np.array([-1, 0, 0, 2], np.int32),
                  carriers=np.array([-1, 3, 0, 2], np.int32), rest=rest)
    shin = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # a quarter turn about x: down becomes forward y
    rotations = np.stack([np.eye(3), np.eye(3), np.eye(3), shin])
    heads = kinematics.pose_along_carriers(rig, rotations, rest, rest[:, :3, 3])
    np.testing.assert_allclose(heads, [(0, 0, 0), (0, 1, -2), (0, 0, -1), (0, 0, -2)], atol=1e-12)


def test_skin_at_rest_and_against_the_plain_sum() -> None:
    rng = np.random.default_rng(3)
    rig = random_rig(rng, 6, plain=True)
    weights = rng.uniform(0, 1, (50, 4)).astype(np.float32)
    weights[::3, 2:] = 0
    weights /= weights.sum(1, keepdims=True)
    mesh = Mesh(rng.normal(size=(50, 3)).astype(np.float32), np.zeros((1, 3), np.int32), rng.integers(0, 6, (50, 4)).astype(np.int32), weights,
                np.ones((50, 3), np.float32))
    np.testing.assert_allclose(kinematics.skin(mesh, rig, rig.rest), mesh.vertices, atol=1e-6)
    pose = kinematics.forward(rig, random_basis(rng, 2, 3, 6))
    change = pose @ np.linalg.inv(rig.rest)
    points = np.concatenate([mesh.vertices, np.ones((50, 1))], 1)
    plain = np.einsum("vk,tsvkab,vb->tsva", weights, change[:, :, mesh.bones], points)[..., :3]
    np.testing.assert_allclose(kinematics.skin(mesh, rig, pose), plain, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_affine_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = random_basis(rng, 3, 4)
    np.testing.assert_allclose(kinematics.inverse_affine(matrix) @ matrix, np.broadcast_to(np.eye(4), matrix.shape), atol=1e-9)
