"""The rig reader on armatures built here, and on the dirt of the shared rigs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import skin

if TYPE_CHECKING:
    import bpy
    from mocap_anything.backend.rig import Rig

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "rigs"
Bones = dict[str, tuple[tuple[float, float, float], tuple[float, float, float], str | None]]
LIMB: Bones = {
    "control": ((0, 0, 0), (0, 0.5, 0), None),
    "hip": ((0, 0, 2), (0, 0, 1), "control"),
    "shin": ((0, 0, 1), (0, 0, 0.1), "hip"),
    "foot": ((0, 0, 0.1), (0, 0.3, 0.1), "control"),
    "target": ((0, -1, 0), (0, -1.5, 0), None),
}


@pytest.fixture(autouse=True)
def _empty_scene() -> None:
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def build(bones: Bones, name: str = "rig") -> bpy.types.Object:
    """An armature of (head, tail, parent) by name."""
    import bpy

    data = bpy.data.armatures.new(name)
    armature = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone, (head, tail, parent) in bones.items():
        edit = data.edit_bones.new(bone)
        edit.head, edit.tail = head, tail
        if parent is not None:
            edit.parent = data.edit_bones[parent]
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def box(
    name: str, center: tuple[float, float, float], size: tuple[float, float, float] = (0.3, 0.3, 0.8), color: tuple[float, ...] | None = None
) -> bpy.types.Object:
    """A box of eight vertices and six faces, unbound."""
    import bpy

    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size + center
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners.tolist(), [], faces)
    if color is not None:
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = color
        mesh.materials.append(material)
    out = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(out)
    return out


def bind(mesh: bpy.types.Object, armature: bpy.types.Object, weights: Callable[[np.ndarray], dict[str, float]]) -> None:
    """Armature modifier and vertex groups; weights: bone to weight for a vertex's place."""
    for vertex in mesh.data.vertices:
        for bone, weight in weights(np.array(vertex.co)).items():
            (mesh.vertex_groups.get(bone) or mesh.vertex_groups.new(name=bone)).add([vertex.index], weight, "REPLACE")
    mesh.modifiers.new("Armature", "ARMATURE").object = armature


def limb() -> bpy.types.Object:
    """A leg with a foot that hangs off the control bone, in one piece of skin, and an IK target that nothing follows."""
    import bmesh
    import bpy

    armature = build(LIMB)
    leg = box("leg", (0, 0, 1), (0.3, 0.3, 2), (0.5, 0.1, 0.1, 0.0))
    graph = bmesh.new()
    graph.from_mesh(leg.data)
    bmesh.ops.subdivide_edges(graph, edges=graph.edges, cuts=7, use_grid_fill=True)
    graph.to_mesh(leg.data)
    graph.free()

    def weights(place: np.ndarray) -> dict[str, float]:
        hip = float(np.clip((place[2] - 0.9) / 0.2, 0, 1))
        foot = float(np.clip((0.3 - place[2]) / 0.3, 0, 1))
        return {"hip": hip, "foot": foot, "shin": 1 - hip - foot}

    bind(leg, armature, weights)
    bpy.context.view_layer.update()
    return armature


def read(armature: bpy.types.Object) -> Rig:
    from mocap_anything.addon.rig_reader import read_rig

    return read_rig(armature)


def test_hierarchy_rest_matrices_and_reasons() -> None:
    from mocap_anything.addon.rig_reader import report

    armature = limb()
    rig = read(armature)
    assert set(rig.names) == set(LIMB)
    for bone, name in enumerate(rig.names):
        assert (rig.names[rig.parents[bone]] if rig.parents[bone] >= 0 else None) == LIMB[name][2]
        np.testing.assert_allclose(rig.rest[bone], np.array(armature.data.bones[name].matrix_local), atol=1e-7)
    lines = {name: (driven, reason) for name, driven, reason in report(rig)}
    assert lines["hip"] == (True, "moves vertices")
    assert lines["control"] == (True, "carries bones that move vertices")
    assert lines["target"] == (False, "no vertex follows it or a bone below it")
    assert (rig.parents < 0).sum() == 2


def test_a_foot_off_the_root_is_carried_by_its_leg() -> None:
    rig = read(limb())
    foot, shin = rig.names.index("foot"), rig.names.index("shin")
    assert rig.carriers[foot] == shin
    assert [rig.names[b] for b in np.flatnonzero(rig.detached)] == ["control", "foot"]
    np.testing.assert_allclose(rig.ends[shin], (0, 0, 0.1), atol=1e-6)


def test_skin_moves_as_blender_moves_it() -> None:
    import bpy

    armature = limb()
    rig = read(armature)
    rng = np.random.default_rng(0)
    for bone in armature.pose.bones:
        bone.rotation_quaternion = (rng.normal(size=4) * 0.3 + (1, 0, 0, 0)).tolist()
        bone.scale = np.exp(rng.normal(size=3) * 0.1).tolist()
    bpy.context.view_layer.update()
    pose = np.array([np.array(armature.pose.bones[name].matrix) for name in rig.names])
    ours = skin(rig.mesh, rig, pose)
    np.testing.assert_allclose(ours, nearest(blender_vertices("leg"), ours), atol=1e-4 * rig.size)


def blender_vertices(name: str) -> np.ndarray:
    """Evaluated world places of an object's vertices."""
    import bpy

    evaluated = bpy.data.objects[name].evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    out = np.array([evaluated.matrix_world @ v.co for v in mesh.vertices])
    evaluated.to_mesh_clear()
    return out


def nearest(points: np.ndarray, to: np.ndarray) -> np.ndarray:
    return points[np.linalg.norm(points[None] - to[:, None], axis=-1).argmin(1)]


def test_rest_mesh_is_the_same_in_any_pose_and_nothing_is_left_changed() -> None:
    import bpy

    armature = limb()
    plain = read(armature).mesh
    leg = bpy.data.objects["leg"]
    leg.modifiers.new("Subdivision", "SUBSURF").levels = 1
    leg.shape_key_add(name="Basis")
    leg.shape_key_add(name="wide").data[0].co.x += 0.5
    leg.data.shape_keys.key_blocks["wide"].value = 1
    at_rest = read(armature).mesh
    assert len(at_rest.triangles) == 4 * len(plain.triangles)
    armature.pose.bones["hip"].rotation_quaternion = (0.8, 0.6, 0, 0)
    bpy.context.view_layer.update()
    bent = blender_vertices("leg")
    posed = read(armature).mesh
    np.testing.assert_allclose(posed.vertices, at_rest.vertices, atol=1e-5)
    np.testing.assert_allclose(posed.weights, at_rest.weights, atol=1e-5)
    assert np.abs(posed.weights.sum(1) - 1).max() < 1e-5
    assert armature.data.pose_position == "POSE"
    np.testing.assert_array_equal(blender_vertices("leg"), bent)
    assert armature.pose.bones["hip"].rotation_quaternion[0] == pytest.approx(0.8)


def test_generated_halves_keep_their_own_bones() -> None:
    armature = build({"root": ((0, 0, 0), (0, 0, 1), None), "arm.L": ((1, 0, 0), (2, 0, 0), "root"), "arm.R": ((-1, 0, 0), (-2, 0, 0), "root")})
    arm = box("arm", (1.5, 0, 0), (1, 0.2, 0.2))
    arm.modifiers.new("Mirror", "MIRROR")
    bind(arm, armature, lambda place: {"arm.L": 1.0})
    arm.vertex_groups.new(name="arm.R")
    rig = read(armature)
    assert rig.driven.all()
    left = rig.mesh.vertices[:, 0] > 0
    assert set(rig.mesh.bones[left, 0]) == {rig.names.index("arm.L")}
    assert set(rig.mesh.bones[~left, 0]) == {rig.names.index("arm.R")}


def test_rigid_parts_follow_their_bone() -> None:
    """A box parented to a bone, and one parented to that box, in a posed armature with a scaled, turned and mirrored object."""
    import bpy
    from mathutils import Matrix

    armature = limb()
    armature.matrix_world = Matrix.Translation((3, 1, 2)) @ Matrix.Rotation(1.5, 4, "X") @ Matrix.Diagonal((100, 100, -100, 1))
    tool, tip = box("tool", (0, 0, 0)), box("tip", (0, 0, 0), (0.1, 0.1, 0.1))
    tool.parent, tool.parent_type, tool.parent_bone = armature, "BONE", "shin"
    tip.parent = tool
    tip.location = (0, 0, 1)
    armature.pose.bones["shin"].rotation_quaternion = (0.7, 0.2, 0.6, 0)
    armature.pose.bones["hip"].location = (0.1, 0.2, 0.3)
    bpy.context.view_layer.update()
    rig = read(armature)
    shin = rig.names.index("shin")
    rigid = (rig.mesh.bones[:, 0] == shin) & (rig.mesh.weights[:, 0] == 1)
    pose = np.array([np.array(armature.pose.bones[name].matrix) for name in rig.names])
    world = np.array(armature.matrix_world)
    ours = skin(rig.mesh, rig, pose)[rigid] @ world[:3, :3].T + world[:3, 3]
    for name in ("tool", "tip"):
        theirs = blender_vertices(name)
        assert np.abs(nearest(ours, theirs) - theirs).max() < 1e-4 * rig.size * 100


def test_object_scale_and_parents_change_nothing() -> None:
    import bpy
    from mathutils import Matrix

    armature = limb()
    before = read(armature)
    holder = bpy.data.objects.new("holder", None)
    bpy.context.scene.collection.objects.link(holder)
    holder.matrix_world = Matrix.Rotation(1.57, 4, "X") @ Matrix.Diagonal((-0.01, 0.01, 0.01, 1))
    leg = bpy.data.objects["leg"]
    leg.parent = armature
    armature.parent = holder
    armature.scale = (100, 100, 100)
    bpy.context.view_layer.update()
    after = read(armature)
    np.testing.assert_allclose(after.mesh.vertices, before.mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(after.mesh.triangles, before.mesh.triangles)
    np.testing.assert_array_equal(after.rest, before.rest)


def test_colors_of_materials_without_blur_between_them() -> None:
    import bpy

    armature = build({"root": ((0, 0, 0), (0, 0, 1), None)})
    body = box("body", (0, 0, 0), color=(0.5, 0.0, 0.0, 0.0))
    other = bpy.data.materials.new("texture")
    other.use_nodes = True
    image = bpy.data.images.new("two", 2, 1)
    image.pixels = [0, 1, 0, 0, 0, 0, 1, 0]
    node = other.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    other.node_tree.links.new(node.outputs["Color"], other.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    body.data.materials.append(other)
    layer = body.data.uv_layers.new(name="uv")
    for face in body.data.polygons[:2]:
        face.material_index = 1
        for corner in face.loop_indices:
            layer.data[corner].uv = (0.25 if face.index == 0 else 0.75, 0.5)
    bind(body, armature, lambda place: {"root": 1.0})
    mesh = read(armature).mesh
    of_triangle = mesh.colors[mesh.triangles]
    np.testing.assert_array_equal(of_triangle, np.broadcast_to(of_triangle[:, :1], of_triangle.shape))
    found = {tuple(np.round(color, 2)) for color in of_triangle[:, 0].tolist()}
    assert found == {(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.74, 0.0, 0.0)}


def test_color_attribute_where_there_is_no_material() -> None:
    armature = build({"root": ((0, 0, 0), (0, 0, 1), None)})
    body = box("body", (0, 0, 0))
    paint = body.data.color_attributes.new("paint", "FLOAT_COLOR", "POINT")
    for point in paint.data:
        point.color = (0.0, 0.2140, 1.0, 0.0)
    bind(body, armature, lambda place: {"root": 1.0})
    np.testing.assert_allclose(read(armature).mesh.colors, np.broadcast_to((0, 0.5, 1), (8, 3)), atol=2e-3)


def test_bone_envelopes() -> None:
    import bpy

    armature = build({"root": ((0, 0, 0), (0, 0, 1), None), "top": ((0, 0, 1), (0, 0, 2), "root")})
    for bone in armature.data.bones:
        bone.envelope_distance = 0.4
    body = box("body", (0, 0, 1), (0.4, 0.4, 1.9))
    modifier = body.modifiers.new("Armature", "ARMATURE")
    modifier.object, modifier.use_bone_envelopes = armature, True
    rig = read(armature)
    armature.pose.bones["top"].rotation_quaternion = (0.9, 0.4, 0, 0)
    bpy.context.view_layer.update()
    pose = np.array([np.array(armature.pose.bones[name].matrix) for name in rig.names])
    ours = skin(rig.mesh, rig, pose)
    np.testing.assert_allclose(ours, nearest(blender_vertices("body"), ours), atol=1e-5)


def test_constraints_that_turn_a_bone() -> None:
    armature = limb()
    shin = armature.pose.bones["shin"]
    follow = shin.constraints.new("IK")
    follow.target, follow.subtarget, follow.chain_count, follow.name = armature, "target", 2, "leg IK"
    rig = read(armature)
    lines = dict(zip(rig.names, zip(rig.driven.tolist(), rig.reasons, strict=True), strict=True))
    assert not lines["shin"][0]
    assert not lines["hip"][0]
    assert '"leg IK"' in lines["hip"][1]
    assert lines["control"][0]
    follow.mute = True
    limit = armature.pose.bones["foot"].constraints.new("LIMIT_ROTATION")
    limit.influence = 1.0
    assert all(driven for name, driven in zip(rig.names, read(armature).driven, strict=True) if name != "target")


def test_without_a_mesh_the_skeleton_is_driven() -> None:
    rig = read(build(LIMB))
    assert rig.mesh is None
    assert [name for name, driven in zip(rig.names, rig.driven, strict=True) if not driven] == ["target"]
    np.testing.assert_array_equal(rig.ends[rig.names.index("foot")], np.float32((0, 0.3, 0.1)))


def test_dense_meshes_are_thinned_out() -> None:
    import bpy
    from mocap_anything.addon.rig_mesh import MAX_TRIANGLES

    armature = limb()
    bpy.data.objects["leg"].modifiers.new("Subdivision", "SUBSURF").levels = 3
    mesh = read(armature).mesh
    assert MAX_TRIANGLES / 4 < len(mesh.triangles) <= MAX_TRIANGLES
    assert set(np.unique(mesh.triangles)) == set(range(len(mesh.vertices)))


def test_a_linked_armature_is_read_as_well(tmp_path: Path) -> None:
    import bpy

    armature = limb()
    bpy.data.objects["leg"].modifiers.new("Subdivision", "SUBSURF").levels = 1
    bpy.context.view_layer.update()
    before = read(armature)
    file = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(file), link=True) as (source, target):
        target.objects = list(source.objects)
    for linked in target.objects:
        bpy.context.scene.collection.objects.link(linked)
    bpy.context.view_layer.update()
    after = read(bpy.data.objects["rig"])
    assert after.names == before.names
    np.testing.assert_allclose(after.mesh.vertices, before.mesh.vertices, atol=1e-6)


def test_what_is_no_rig_is_refused() -> None:
    with pytest.raises(CaptureError, match="not an armature"):
        read(box("body", (0, 0, 0)))
    with pytest.raises(CaptureError, match="not an armature"):
        read(None)
    with pytest.raises(CaptureError, match="no bones"):
        read(build({}))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/rigs")
@pytest.mark.parametrize(("name", "carried"), [
    ("q_animals_alpaca", {"IKBackLeg.L": "BackLowerLeg.L", "IKFrontLeg.R": "FrontLowerLeg.R"}),  # several roots, 100× scale, turned
    ("q_cyber_enemy_2legs", {"Foot.L": "Leg3.L", "Foot.R": "Leg3.R"}),  # rigid parts in separate pieces
    ("q_monster_standing_frog", {"Foot.L": "LowerLeg.L"}),
    ("kaykit_knight", {}),  # parts parented to bones
    ("qfbx_goblin", {"Foot.L": "LowerLeg.L"}),  # two armatures
    ("qfbx_animated_woman", {}),  # armature at 0.01, mesh at 1
])
def test_shared_rigs(name: str, carried: dict[str, str]) -> None:
    import bpy
    from mocap_anything.training.data.import_rig import import_file, main_armature

    entry = next(e for e in json.loads((SHARED / "index.json").read_text()) if e["name"] == name)
    import_file(SHARED / name / entry["file"])
    armature = main_armature()
    rig = read(armature)
    assert rig.mesh is not None
    for bone, carrier in carried.items():
        assert rig.names[rig.carriers[rig.names.index(bone)]] == carrier
    assert not any(name.startswith(("PoleTarget", "PT.")) and driven for name, driven in zip(rig.names, rig.driven, strict=True))
    bpy.context.view_layer.update()
    pose = np.array([np.array(armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones[n].matrix) for n in rig.names])
    world = np.array(armature.matrix_world)
    ours = skin(rig.mesh, rig, pose) @ world[:3, :3].T + world[:3, 3]
    bound = [o.name for o in bpy.context.view_layer.objects if o.type == "MESH" and o.name != "Icosphere" and o.visible_get()]
    theirs = np.concatenate([blender_vertices(n) for n in bound])
    size = np.linalg.norm(np.ptp(theirs, axis=0))
    chosen = np.random.default_rng(0).choice(len(ours), 400)
    away = np.linalg.norm(nearest(theirs, ours[chosen]) - ours[chosen], axis=1) / size
    assert np.median(away) < 1e-6
    assert away.max() < 0.01  # vertices of more than four bones, cut to four
