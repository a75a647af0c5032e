"""The meshes that follow an armature, sampled at rest in the armature's frame, with at most four bones a vertex."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from ..backend.rig import Mesh
from ..backend.thinning import thin_out
from .rig_colors import corner_colors

log = logging.getLogger(__name__)

MAX_TRIANGLES = 20_000
_INFLUENCES = 4
_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True)
class BoundMesh:
    """A mesh object that follows the armature: by vertex groups, or as a whole by one bone (`bone`)."""

    object: bpy.types.Object
    bone: str | None


def bound_meshes(armature: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> list[BoundMesh]:
    """Mesh objects of the view layer that the armature deforms or one of its bones carries; hidden ones only if nothing else follows."""
    found: list[tuple[BoundMesh, bool]] = []
    for candidate in depsgraph.view_layer.objects:
        if candidate.type != "MESH" or not len(candidate.data.vertices):
            continue
        if _is_deformed_by(candidate, armature):
            bound = BoundMesh(candidate, None)
        else:
            bone = _carrying_bone(candidate, armature)
            if bone is None:
                continue
            bound = BoundMesh(candidate, bone)
        found.append((bound, not (candidate.hide_render and not candidate.visible_get(view_layer=depsgraph.view_layer))))
    visible = [bound for bound, seen in found if seen]
    return visible or [bound for bound, _ in found]


def _is_deformed_by(candidate: bpy.types.Object, armature: bpy.types.Object) -> bool:
    if candidate.parent == armature and candidate.parent_type == "ARMATURE":
        return True
    return any(m.type == "ARMATURE" and m.object == armature and (m.show_viewport or m.show_render) for m in candidate.modifiers)


def _carrying_bone(candidate: bpy.types.Object, armature: bpy.types.Object) -> str | None:
    """The bone of the armature that the object or one of its parents hangs from."""
    child = candidate
    while child is not None:
        if child.parent == armature and child.parent_type == "BONE" and child.parent_bone in armature.data.bones:
            return child.parent_bone
        # A mesh of a second armature (a face, a hat) that itself hangs from a bone of this one goes with that bone.
        other = next((m.object for m in child.modifiers if m.type == "ARMATURE" and m.object not in (None, armature)), None)
        child = child.parent or other
    return None


def read_mesh(armature: bpy.types.Object, names: tuple[str, ...], rest: np.ndarray, depsgraph: bpy.types.Depsgraph) -> tuple[Mesh | None, np.ndarray]:
    """The union of all bound meshes (None without any) and the weight that each bone holds in it, (J,), before any thinning out.

    A mesh of more than MAX_TRIANGLES triangles is thinned out by keeping one of its own vertices per cell of a grid.
    Vertices that no bone moves are left out, and the triangles that hang on them.
    """
    index = {name: bone for bone, name in enumerate(names)}
    read = (_read_piece(armature, bound, index, rest, depsgraph) for bound in bound_meshes(armature, depsgraph))
    pieces = [piece for piece in read if piece is not None and len(piece.vertices)]
    held = np.zeros(len(names))
    if not pieces:
        return None, held
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    mesh = Mesh(
        np.concatenate([p.vertices for p in pieces]),
        np.concatenate([p.triangles + start for p, start in zip(pieces, starts[:-1], strict=True)]).astype(np.int32),
        np.concatenate([p.bones for p in pieces]), np.concatenate([p.weights for p in pieces]), np.concatenate([p.colors for p in pieces]),
    )
    np.add.at(held, mesh.bones, mesh.weights)
    return thin_out(mesh, MAX_TRIANGLES), held


def _read_piece(
    armature: bpy.types.Object, bound: BoundMesh, index: dict[str, int], rest: np.ndarray, depsgraph: bpy.types.Depsgraph
) -> Mesh | None:
    source = bound.object
    with _rest_mesh(armature, source, bound.bone is None, depsgraph) as (data, to_armature):
        vertices = np.empty(len(data.vertices) * 3, np.float32)
        data.vertices.foreach_get("co", vertices)
        vertices = vertices.reshape(-1, 3) @ to_armature[:3, :3].T + to_armature[:3, 3]
        if bound.bone is None:
            bones, weights = _vertex_weights(source, armature, data, index, vertices)
        else:
            # Rigid: at rest the object stands where the bone's rest matrix would carry it.
            bone = index[bound.bone]
            posed = np.array(armature.evaluated_get(depsgraph).pose.bones[bound.bone].matrix)
            change = rest[bone] @ np.linalg.inv(posed)
            vertices = vertices @ change[:3, :3].T + change[:3, 3]
            bones, weights = np.zeros((len(vertices), _INFLUENCES), np.int32), np.zeros((len(vertices), _INFLUENCES), np.float32)
            bones[:, 0], weights[:, 0] = bone, 1
        triangles, corners = _triangles(data, mirrored=np.linalg.det(to_armature[:3, :3]) < 0)
        colors = corner_colors(data)
    if not len(triangles):
        return None
    kept = (weights.sum(1) > 0)[triangles].all(1)
    return _split_by_color(vertices.astype(np.float32), triangles[kept], corners[kept], bones, weights, colors)


@contextmanager
def _rest_mesh(
    armature: bpy.types.Object, source: bpy.types.Object, deformed: bool, depsgraph: bpy.types.Depsgraph
) -> Iterator[tuple[bpy.types.Mesh, np.ndarray]]:
    """The object's mesh before the armature moves it, and the matrix (4, 4) from its frame to the armature's.

    The base mesh serves where nothing but armatures shapes the object. Where other modifiers or shape keys do, the armature is set to
    its rest position for one evaluation and put back.
    """
    world = np.array(armature.evaluated_get(depsgraph).matrix_world)
    to_armature = np.linalg.inv(world) @ np.array(source.evaluated_get(depsgraph).matrix_world)
    keys = source.data.shape_keys
    shaped = any(m.type != "ARMATURE" and m.show_viewport for m in source.modifiers) or (keys is not None and any(k.value for k in keys.key_blocks[1:]))
    if not shaped:
        yield source.data, to_armature
        return
    before = armature.data.pose_position
    evaluated = None
    try:
        if deformed and before != "REST":
            armature.data.pose_position = "REST"
            depsgraph.update()
        evaluated = source.evaluated_get(depsgraph)
        yield evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph), to_armature
    finally:
        if evaluated is not None:
            evaluated.to_mesh_clear()
        if armature.data.pose_position != before:
            armature.data.pose_position = before
            depsgraph.update()


def _vertex_weights(
    source: bpy.types.Object, armature: bpy.types.Object, data: bpy.types.Mesh, index: dict[str, int], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(V, 4) bones and weights: the strongest four of the groups named like deforming bones, summing to 1 or, unmoved, to 0.

    places: (V, 3) in the armature's frame, for bones that bind by envelope.
    """
    of_group = {g.index: index[g.name] for g in source.vertex_groups if g.name in index and armature.data.bones[g.name].use_deform}
    bones, weights = np.zeros((len(data.vertices), _INFLUENCES), np.int32), np.zeros((len(data.vertices), _INFLUENCES), np.float32)
    for row, vertex in enumerate(data.vertices):
        strongest = sorted(((g.weight, of_group[g.group]) for g in vertex.groups if g.group in of_group and g.weight > _LEAST_WEIGHT), reverse=True)
        for slot, (weight, bone) in enumerate(strongest[:_INFLUENCES]):
            bones[row, slot], weights[row, slot] = bone, weight
    if any(m.type == "ARMATURE" and m.object == armature and m.use_bone_envelopes for m in source.modifiers):
        unmoved = np.flatnonzero(weights.sum(1) == 0)
        if len(unmoved):
            bones[unmoved], weights[unmoved] = _envelope_weights(armature, index, places[unmoved].astype(np.float64))
    total = weights.sum(1, keepdims=True)
    return bones, weights / np.where(total > 0, total, 1)


def _envelope_weights(armature: bpy.types.Object, index: dict[str, int], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, 4) bones and weights of Blender's bone envelopes (`distfactor_to_bone` in armature_deform.cc)."""
    factors = np.zeros((len(places), len(index)))
    for bone in armature.data.bones:
        if not bone.use_deform:
            continue
        head, along = np.array(bone.head_local), np.array(bone.tail_local) - np.array(bone.head_local)
        share = np.clip((places - head) @ along / max(float(along @ along), 1e-24), 0, 1)
        distance = np.linalg.norm(places - head - share[:, None] * along, axis=1)
        beyond = distance - (share * bone.tail_radius + (1 - share) * bone.head_radius)
        falloff = 1 - np.square(np.clip(beyond / max(bone.envelope_distance, 1e-12), 0, 1))
        factors[:, index[bone.name]] = falloff * bone.envelope_weight
    strongest = np.argsort(-factors, 1)[:, :_INFLUENCES]
    bones = np.zeros((len(places), _INFLUENCES), np.int32)
    weights = np.zeros((len(places), _INFLUENCES), np.float32)
    bones[:, : strongest.shape[1]], weights[:, : strongest.shape[1]] = strongest, np.take_along_axis(factors, strongest, 1)
    return bones, weights


def _triangles(data: bpy.types.Mesh, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) vertex and corner indices; turned round where the object is mirrored, so that faces keep their outside."""
    data.calc_loop_triangles()
    triangles, corners = np.empty(len(data.loop_triangles) * 3, np.int32), np.empty(len(data.loop_triangles) * 3, np.int32)
    data.loop_triangles.foreach_get("vertices", triangles)
    data.loop_triangles.foreach_get("loops", corners)
    step = -1 if mirrored else 1
    return triangles.reshape(-1, 3)[:, ::step], corners.reshape(-1, 3)[:, ::step]


def _split_by_color(
    vertices: np.ndarray, triangles: np.ndarray, corners: np.ndarray, bones: np.ndarray, weights: np.ndarray, colors: np.ndarray
) -> Mesh:
    """One vertex per pair of place and colour: a vertex between two materials or texture islands must not blur them."""
    code = np.round(colors * 31).astype(np.int64) @ (1, 32, 1024)
    key = triangles.reshape(-1).astype(np.int64) * 32768 + code[corners.reshape(-1)]
    _, first, renamed = np.unique(key, return_index=True, return_inverse=True)
    vertex = triangles.reshape(-1)[first]
    return Mesh(
        np.ascontiguousarray(vertices[vertex]), renamed.reshape(-1, 3).astype(np.int32), bones[vertex], weights[vertex],
        np.ascontiguousarray(colors[corners.reshape(-1)[first]], np.float32),
    )
