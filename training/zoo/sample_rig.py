"""The sample scene: the fox as a real Blender armature and mesh, filmed, and handed over as an animator would.

python -m mocap_anything.training.zoo.sample_rig assets/sample

Writes sample.mp4 (frame n is scene frame n), sample.blend (the rig keyed on one frame in the middle, seen through the scene camera) and
truth.npz (the pose of every frame). Blender 4.2 writes a file that all later versions open.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
from mathutils import Matrix
from PIL import Image
from scipy.spatial import cKDTree

from ...addon.rig_reader import read_rig
from ...backend.kinematics import basis_from_pose
from ..cases import Truth, look
from .body import Body
from .names import name_bones
from .sample_fox import build_fox, neutral_skin, paint_fox, walk
from .sample_set import build_set
from .skin import TINTS, Skin

FRAMES, FPS, SIZE, REFERENCE = 72, 24, (640, 360), 36
METRES = 0.5  # length of the fox's torso
_FACES = 5200


def build_armature(body: Body) -> tuple[bpy.types.Object, list[str]]:
    """Bones with their y axis along them and z up or forward; and their names in the body's order."""
    names = name_bones(body, np.random.default_rng(0), style=0, column=1)
    armature = bpy.data.objects.new("Fox Rig", bpy.data.armatures.new("Fox Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    made: list[bpy.types.EditBone] = []
    for j, name in enumerate(names):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail = (np.multiply(p[j], METRES).tolist() for p in (body.head, body.tail))
        bone.align_roll((0, 0, 1) if abs(body.tail[j][2] - body.head[j][2]) < 0.8 * np.linalg.norm(np.subtract(body.tail[j], body.head[j])) else (1, 0, 0))
        if body.parent[j] >= 0:
            bone.parent = made[body.parent[j]]
            bone.use_connect = bool(np.allclose(body.head[j], body.tail[body.parent[j]], atol=1e-6))
        made.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature, names


def _mesh(name: str, vertices: np.ndarray, faces: np.ndarray) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    return mesh


def _melt(skin: Skin) -> tuple[np.ndarray, np.ndarray]:
    """One smooth surface (V, 3), (F, 3) round all the tubes but eyes and nose."""
    flesh = ~np.isin(skin.tints[skin.triangles[:, 0]], [TINTS.index("eye"), TINTS.index("dark")])
    thing = bpy.data.objects.new("Melt", _mesh("Melt", skin.neutral, skin.triangles[flesh]))
    bpy.context.scene.collection.objects.link(thing)
    remesh = thing.modifiers.new("Remesh", "REMESH")
    remesh.mode, remesh.voxel_size = "VOXEL", 0.011
    smooth = thing.modifiers.new("Smooth", "SMOOTH")
    smooth.factor, smooth.iterations = 0.5, 7
    thin = thing.modifiers.new("Decimate", "DECIMATE")
    count = len(_evaluated(thing).loop_triangles)
    thin.ratio = _FACES / count
    mesh = _evaluated(thing)
    vertices = np.array([v.co[:] for v in mesh.vertices])
    triangles = np.array([t.vertices[:] for t in mesh.loop_triangles])
    bpy.data.objects.remove(thing)
    return vertices, triangles


def _evaluated(thing: bpy.types.Object) -> bpy.types.Mesh:
    mesh = thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    mesh.calc_loop_triangles()
    return mesh


def _carry_weights(skin: Skin, count: int, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, J) weights of the melted surface: those of the nearest tube vertices, then smoothed along edges."""
    dense = np.zeros((len(skin.neutral), count))
    np.add.at(dense, (np.arange(len(dense))[:, None], skin.bones), skin.weights)
    distance, near = cKDTree(skin.neutral).query(vertices, k=6)
    share = 1 / np.maximum(distance, 1e-4) ** 2
    weights = np.einsum("vk,vkj->vj", share / share.sum(1, keepdims=True), dense[near])
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    for _ in range(6):
        total = weights.copy()
        np.add.at(total, edges[:, 0], weights[edges[:, 1]])
        weights = total / (1 + np.bincount(edges[:, 0], minlength=len(weights)))[:, None]
    kept = np.sort(weights, 1)[:, -4][:, None]
    weights = np.where((weights >= kept) & (weights > 0.01), weights, 0)
    return weights / weights.sum(1, keepdims=True)


def build_skin(body: Body, armature: bpy.types.Object, names: list[str]) -> bpy.types.Object:
    """The melted body with eyes and nose, weighted, painted and bound."""
    skin = neutral_skin(body)
    vertices, triangles = _melt(skin)
    weights = _carry_weights(skin, len(body), vertices, triangles)
    small = np.isin(skin.tints, [TINTS.index("eye"), TINTS.index("dark")])
    index = np.cumsum(small) - 1 + len(vertices)
    extra = np.zeros((small.sum(), len(body)))
    np.add.at(extra, (np.arange(len(extra))[:, None], skin.bones[small]), skin.weights[small])
    triangles = np.concatenate([triangles, index[skin.triangles[small[skin.triangles[:, 0]]]]])
    tints = np.concatenate([np.zeros(len(vertices), int), skin.tints[small]])
    vertices, weights = np.concatenate([vertices, skin.neutral[small]]), np.concatenate([weights, extra])
    mesh = _mesh("Fox", vertices * METRES, triangles)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(triangles), bool))
    normals = np.empty(len(vertices) * 3)
    mesh.vertices.foreach_get("normal", normals)
    part = np.array(body.part)[weights.argmax(1)]
    colors = paint_fox(vertices, normals.reshape(-1, 3), part, tints == TINTS.index("eye"), tints == TINTS.index("dark"))
    layer = mesh.color_attributes.new("Coat", "BYTE_COLOR", "POINT")
    layer.data.foreach_set("color_srgb", np.concatenate([colors, np.ones((len(colors), 1))], 1).astype(np.float32).ravel())
    mesh.materials.append(_fur())
    fox = bpy.data.objects.new("Fox", mesh)
    bpy.context.scene.collection.objects.link(fox)
    for j, bone in enumerate(names):
        group = fox.vertex_groups.new(name=bone)
        for v in np.flatnonzero(weights[:, j]):
            group.add([int(v)], float(weights[v, j]), "REPLACE")
    fox.parent = armature
    fox.modifiers.new("Armature", "ARMATURE").object = armature
    return fox


def _fur() -> bpy.types.Material:
    material = bpy.data.materials.new("Fur")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    coat, noise, bump = nodes.new("ShaderNodeVertexColor"), nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeBump")
    coat.layer_name = "Coat"
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 90.0, 4.0
    bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = 0.25, 0.01
    shader.inputs["Roughness"].default_value = 0.8
    links.new(coat.outputs["Color"], shader.inputs["Base Color"])
    links.new(noise.outputs["Fac"], bump.inputs["Height"])
    links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    return material


def _camera(path: np.ndarray) -> None:
    """A still camera before the middle of the walk, a little above the fox's eyes."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width = 42.0, 36.0
    camera = bpy.data.objects.new("Camera", data)
    centre = path.min(0) * 0.5 + path.max(0) * 0.5 + np.array([0.2, 0, 0])
    target = np.array([centre[0], centre[1], 0.27])
    camera.matrix_world = Matrix(look(target + np.array([0.5, -2.45, 0.5]), target).tolist())
    scene.collection.objects.link(camera)
    scene.camera = camera


def _settings() -> None:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, FRAMES
    render, cycles = scene.render, scene.cycles
    render.fps, render.resolution_x, render.resolution_y = FPS, *SIZE
    render.engine, render.use_persistent_data, render.use_motion_blur, render.motion_blur_shutter = "CYCLES", True, False, 0.3
    scene.view_settings.view_transform = "Standard"
    cycles.samples, cycles.use_adaptive_sampling, cycles.max_bounces, cycles.use_denoising = 12, False, 2, True
    cycles.denoising_prefilter, cycles.denoising_quality, cycles.denoising_input_passes = "NONE", "FAST", "RGB_ALBEDO"


def _film(armature: bpy.types.Object, names: tuple[str, ...], basis: np.ndarray, path: Path) -> np.ndarray:
    """Pose and render every frame into an H.264 file; the pose (T, J, 4, 4) as Blender has it."""
    pose = np.empty_like(basis)
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory() as folder, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "19", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for t in range(len(basis)):
            pose[t] = _show(armature, names, basis[t])
            scene.render.filepath = str(Path(folder) / f"{t}.png")
            bpy.ops.render.render(write_still=True)
            with Image.open(scene.render.filepath) as picture:
                container.mux(stream.encode(av.VideoFrame.from_image(picture.convert("RGB"))))
        container.mux(stream.encode())
    return pose


def _show(armature: bpy.types.Object, names: tuple[str, ...], basis: np.ndarray) -> np.ndarray:
    for name, matrix in zip(names, basis, strict=True):
        armature.pose.bones[name].matrix_basis = Matrix(matrix.tolist())
    bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    return np.array([bones[name].matrix for name in names])


def _hand_over(armature: bpy.types.Object, names: tuple[str, ...], basis: np.ndarray, scenery: list[bpy.types.Object], path: Path) -> None:
    """Key the reference frame alone, leave the scenery out, save."""
    for thing in scenery:
        bpy.data.objects.remove(thing)
    bpy.context.scene.frame_set(REFERENCE)
    _show(armature, names, basis)
    for bone in armature.pose.bones:
        for channel in ("rotation_quaternion", *(("location",) if bone.parent is None else ())):
            bone.keyframe_insert(channel, frame=REFERENCE, group=bone.name)
    bpy.ops.outliner.orphans_purge(do_local_ids=True, do_recursive=True)
    # no folder of this machine stays in the file: longer texts leave their end behind shorter ones
    bpy.context.scene.render.filepath = " " * 1000
    bpy.context.scene.render.filepath = "//"
    for space in (space for screen in bpy.data.screens for area in screen.areas for space in area.spaces):
        if space.type == "FILE_BROWSER" and space.params is not None:
            space.params.directory = b"//"
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), compress=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--still", type=int, help="render this frame alone into still.png, to look at")
    args = parser.parse_args()
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    body = build_fox()
    armature, names = build_armature(body)
    build_skin(body, armature, names)
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    turn, heads = walk(body, FRAMES, float(FPS))
    order = [names.index(name) for name in rig.names]
    wanted = np.zeros((FRAMES, len(rig), 4, 4))
    wanted[..., :3, :3] = turn[:, order] @ rig.rest[:, :3, :3]
    wanted[..., :3, 3], wanted[..., 3, 3] = heads[:, order] * METRES, 1
    _settings()
    _camera(wanted[:, 0, :3, 3])
    scenery = build_set(wanted[:, 0, :3, 3].mean(0))
    basis = basis_from_pose(rig, wanted)
    if args.still:
        _show(armature, rig.names, basis[args.still - 1])
        bpy.context.scene.render.filepath = str((folder / "still.png").resolve())
        bpy.ops.render.render(write_still=True)
        return
    pose = _film(armature, rig.names, basis, folder / "sample.mp4")
    if np.abs(pose - wanted).max() > 1e-3:
        raise RuntimeError("Blender poses the fox otherwise than asked")
    _hand_over(armature, rig.names, basis[REFERENCE - 1], scenery, folder / "sample.blend")
    Truth("fox", "sample", "walk", "sample", rig.names, pose.astype(np.float32), REFERENCE - 1, np.array([0.0, 0, 1]), FPS).save(folder / "truth.npz")


if __name__ == "__main__":
    main()
