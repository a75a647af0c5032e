"""An armature of the scene, as the backend needs it: bones, rest matrices, what to drive and why, and the skin."""

from __future__ import annotations

import logging

import bpy
import numpy as np
from mathutils import Vector

from ..backend.carriers import descendants, infer_carriers
from ..backend.errors import CaptureError
from ..backend.rig import Mesh, Rig
from .rig_mesh import read_mesh

log = logging.getLogger(__name__)

# Constraints that leave a bone's rotation to its keys; every other kind sets or re-bases it.
_HARMLESS_CONSTRAINTS = frozenset({
    "COPY_LOCATION", "COPY_SCALE", "LIMIT_LOCATION", "LIMIT_SCALE", "LIMIT_DISTANCE", "LIMIT_ROTATION", "MAINTAIN_VOLUME", "FLOOR", "CLAMP_TO",
    "SHRINKWRAP", "GEOMETRY_ATTRIBUTE",
})
_LEAST_HELD = 1e-3
_DEGENERATE = 1e-3
_ASTRAY = np.cos(np.radians(60))
_SHORT = 0.3


def read_rig(armature_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> Rig:
    """The armature's Rig; raises CaptureError where it is none or has no bones. The scene is left as it was."""
    if armature_object is None or armature_object.type != "ARMATURE":
        name = "Nothing" if armature_object is None else f'"{armature_object.name}"'
        raise CaptureError(f"{name} is not an armature. Select the armature of the rig that is to be captured.")
    if not len(armature_object.data.bones):
        raise CaptureError(f'The armature "{armature_object.name}" has no bones. Add bones to it, or choose another armature.')
    depsgraph = depsgraph or bpy.context.evaluated_depsgraph_get()
    if abs(armature_object.evaluated_get(depsgraph).matrix_world.to_3x3().determinant()) == 0:
        raise CaptureError(f'The armature "{armature_object.name}" is scaled to nothing. Set its object scale to a value other than zero.')
    bones = bones_in_order(armature_object.data)
    names = tuple(bone.name for bone in bones)
    index = {name: i for i, name in enumerate(names)}
    parents = np.array([index[bone.parent.name] if bone.parent else -1 for bone in bones], np.int32)
    rest = np.array([np.array(bone.matrix_local, np.float64) for bone in bones])
    mesh, held = read_mesh(armature_object, names, rest, depsgraph)
    deforms = np.array([bone.use_deform for bone in bones])
    driven, reasons = _driven(parents, held, deforms, constraint_reasons(armature_object, index), mesh is not None)
    carriers = infer_carriers(parents, rest, bone_ends(bones, parents, rest, mesh, driven), driven, mesh)
    return Rig(
        # Once it is known that a shin carries a foot, the shin points to that foot.
        names, parents, carriers, rest, bone_ends(bones, carriers, rest, mesh, driven), driven, tuple(reasons),
        np.array([bone.use_inherit_rotation for bone in bones]), np.array([bone.use_local_location for bone in bones]),
        tuple(bone.inherit_scale for bone in bones), mesh,
    )


def report(rig: Rig) -> list[tuple[str, bool, str]]:
    """(bone, driven, reason) for each bone, in the rig's order."""
    return [(name, bool(driven), reason) for name, driven, reason in zip(rig.names, rig.driven, rig.reasons, strict=True)]


def bones_in_order(data: bpy.types.Armature) -> list[bpy.types.Bone]:
    """Bones parents before children, each root's tree in one piece."""
    order: list[bpy.types.Bone] = []
    waiting = [bone for bone in reversed(data.bones) if bone.parent is None]
    while waiting:
        bone = waiting.pop()
        order.append(bone)
        waiting += reversed(bone.children)
    return order


def constraint_reasons(armature_object: bpy.types.Object, index: dict[str, int]) -> dict[int, str]:
    """Why a bone's rotation is not its keys' own: the active constraint that sets it, by bone."""
    found: dict[int, str] = {}
    for pose_bone in armature_object.pose.bones:
        for constraint in pose_bone.constraints:
            if constraint.mute or constraint.influence == 0 or not constraint.is_valid or constraint.type in _HARMLESS_CONSTRAINTS:
                continue
            kind = constraint.bl_rna.properties["type"].enum_items[constraint.type].name
            if constraint.type not in ("IK", "SPLINE_IK"):
                found.setdefault(index[pose_bone.name], f'the constraint "{constraint.name}" ({kind}) sets its rotation')
                continue
            if constraint.type == "IK" and constraint.target is None:
                continue
            reach = constraint.chain_count or len(index)
            bone = pose_bone if constraint.type == "SPLINE_IK" or constraint.use_tail else pose_bone.parent
            while bone is not None and reach > 0:
                found.setdefault(index[bone.name], f'the constraint "{constraint.name}" ({kind}) of "{pose_bone.name}" sets its rotation')
                bone, reach = bone.parent, reach - 1
    return found


def _driven(
    parents: np.ndarray, held: np.ndarray, deforms: np.ndarray, constrained: dict[int, str], has_mesh: bool
) -> tuple[np.ndarray, list[str]]:
    """(J,) bool and J reasons. Without a mesh the deforming bones count as followed; without those, every bone does."""
    below = descendants(parents)
    if has_mesh:
        followed, own, inherited, none = held > _LEAST_HELD, "moves vertices", "carries bones that move vertices", "no vertex follows it or a bone below it"
    else:
        followed = _skeleton(parents, below, deforms)
        own, inherited, none = "no mesh: part of the skeleton", "no mesh: carries the skeleton", "no mesh: looks like a control bone"
    driven, reasons = np.zeros(len(parents), bool), []
    for bone in range(len(parents)):
        if not followed[below[bone]].any():
            reasons.append(none)
        elif bone in constrained:
            reasons.append(constrained[bone])
        else:
            driven[bone] = True
            reasons.append(own if followed[bone] else inherited)
    return driven, reasons


def _skeleton(parents: np.ndarray, below: np.ndarray, deforms: np.ndarray) -> np.ndarray:
    """(J,) bool: what looks like a skeleton in a rig without a mesh: deforming bones, save single bones that stand alone beside a tree."""
    followed = deforms.copy() if deforms.any() else np.ones(len(parents), bool)
    alone = (parents < 0) & (below.sum(1) == 1)
    if (~alone & followed).any():
        followed &= ~alone
    return followed


def bone_ends(bones: list[bpy.types.Bone], carriers: np.ndarray, rest: np.ndarray, mesh: Mesh | None, driven: np.ndarray) -> np.ndarray:
    """(J, 3) where each bone points: its tail, unless what the bone carries or moves says otherwise.

    On the shared rigs every tail points as the artist's did, but imports invent the length of a last bone (glTF stores no tail: 1–9 % of
    the true length came back), and other exporters invent its direction too. So a bone that carries bones points to the one nearest its
    tail's direction wherever its tail is far off in direction or length; a last bone keeps its tail's direction and takes its length
    from its vertices, or points to their centroid where its tail points away from them.
    """
    heads = rest[:, :3, 3]
    tails = np.array([np.array(bone.tail_local, np.float64) for bone in bones])
    spread = heads if mesh is None else mesh.vertices
    size = max(float(np.linalg.norm(np.ptp(spread, axis=0))), 1e-12)
    leading = None if mesh is None else np.take_along_axis(mesh.bones, mesh.weights.argmax(1)[:, None], 1)[:, 0]
    ends = tails.copy()
    for bone in range(len(bones)):
        tail = tails[bone] - heads[bone]
        if np.linalg.norm(tail) <= _DEGENERATE * size:
            tail = rest[bone, :3, 1] * _DEGENERATE * size
        carried = heads[(carriers == bone) & driven] - heads[bone]
        carried = carried[np.linalg.norm(carried, axis=1) > _DEGENERATE * size]
        moved = np.zeros((0, 3)) if mesh is None else mesh.vertices[leading == bone] - heads[bone]
        if len(carried):
            ends[bone] = heads[bone] + _towards_carried(tail, carried)
        elif len(moved):
            ends[bone] = heads[bone] + _towards_vertices(tail, moved.astype(np.float64), _DEGENERATE * size)
        else:
            ends[bone] = heads[bone] + tail
    return ends


def _towards_carried(tail: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """(3,) the tail, or the carried head nearest in direction where they disagree in direction or are of another order in length."""
    length, lengths = np.linalg.norm(tail), np.linalg.norm(carried, axis=1)
    cosines = carried @ tail / (lengths * length)
    best = int(cosines.argmax())
    agree = cosines[best] > _ASTRAY and _SHORT * lengths[best] < length < lengths[best] / _SHORT
    return tail if agree else carried[best]


def _towards_vertices(tail: np.ndarray, moved: np.ndarray, least: float) -> np.ndarray:
    """(3,) the tail, made as long as its vertices reach where it is of another order, or their centroid if they lie behind it."""
    length = np.linalg.norm(tail)
    center = moved.mean(0)
    reach = float(np.percentile(moved @ tail, 90) / length)
    if center @ tail <= 0 and np.linalg.norm(center) > least:
        return center
    if reach <= least or _SHORT * reach < length < reach / _SHORT:
        return tail
    return tail / length * reach


def up_of(armature: bpy.types.Object) -> tuple[float, float, float]:
    """The world's up in the armature's frame."""
    up = (armature.matrix_world.to_3x3().inverted_safe() @ Vector((0.0, 0.0, 1.0))).normalized()
    return (up.x, up.y, up.z)
