"""Forward kinematics with Blender's own semantics, its inverse, linear blend skinning and heads carried along limbs.

Every function takes any leading batch dimensions and computes in float64. `basis` is what Blender keys (`pose_bone.matrix_basis`),
`pose` is bone to armature (`pose_bone.matrix`). The inheritance rules follow `BKE_bone_parent_transform_calc_from_matrices`
in Blender's armature.cc, case by case, so that a rig with unusual flags poses here as it does there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .rig import Mesh, Rig

_FULL = "FULL"


def forward(rig: Rig, basis: np.ndarray) -> np.ndarray:
    """Pose (..., J, 4, 4) bone to armature from basis (..., J, 4, 4), honouring the rig's inheritance flags."""
    basis = np.asarray(basis, np.float64)
    pose = np.empty_like(basis)
    for group in _groups(rig):
        channel = _channel(rig, group, pose)
        local = basis[..., group.bones, :, :]
        moved = channel.rotscale @ local
        moved[..., :3, 3] = _apply(channel.location, local[..., :3, 3])
        moved[..., :3, :3] *= channel.post_scale[..., None, :]
        pose[..., group.bones, :, :] = moved
    return pose


def basis_from_pose(rig: Rig, pose: np.ndarray) -> np.ndarray:
    """Basis (..., J, 4, 4) that `forward` turns into pose (..., J, 4, 4); bones of a collapsed parent (zero scale) are undefined."""
    pose = np.asarray(pose, np.float64)
    basis = np.empty_like(pose)
    for group in _groups(rig):
        channel = _channel(rig, group, pose)
        wanted = pose[..., group.bones, :, :].copy()
        heads = wanted[..., :3, 3].copy()
        wanted[..., :3, :3] /= channel.post_scale[..., None, :]
        local = inverse_affine(channel.rotscale) @ wanted
        local[..., :3, 3] = _apply(inverse_affine(channel.location), heads)
        basis[..., group.bones, :, :] = local
    return basis


def skin(mesh: Mesh, rig: Rig, pose: np.ndarray) -> np.ndarray:
    """Vertices (..., V, 3) in the armature frame under pose (..., J, 4, 4): linear blend skinning, bone by bone to keep memory low."""
    pose = np.asarray(pose, np.float64)
    change = pose @ inverse_affine(rig.rest)
    rest = mesh.vertices.astype(np.float64)
    out = np.zeros((*pose.shape[:-3], len(rest), 3))
    for bone in np.unique(mesh.bones[mesh.weights > 0]):
        weights = np.where(mesh.bones == bone, mesh.weights, 0).sum(1, dtype=np.float64)
        rows = np.flatnonzero(weights)
        moved = rest[rows] @ np.swapaxes(change[..., bone, :3, :3], -1, -2) + change[..., bone, None, :3, 3]
        out[..., rows, :] += weights[rows, None] * moved
    return out


def bone_rotations(pose: np.ndarray) -> np.ndarray:
    """Proper rotations (..., 3, 3) nearest to the linear part of pose (..., 4, 4), scale and shear taken away.

    The polar factor and not Gram–Schmidt: it does not depend on which axis a bone calls its first, so turns since a reference stay
    free of the bones' axes even under scale.
    """
    linear = np.asarray(pose, np.float64)[..., :3, :3]
    error = np.abs(np.swapaxes(linear, -1, -2) @ linear - np.eye(3)).max(initial=0.0)
    if error < 1e-12 and (np.linalg.det(linear) > 0).all():
        return linear.copy()
    left, _, right = np.linalg.svd(linear)
    rotation = left @ right
    # a mirrored bone (negative scale) has no nearest rotation worth the name: turning all axes round is the choice that depends on none
    return rotation * np.sign(np.linalg.det(rotation))[..., None, None]


def pose_along_carriers(rig: Rig, rotations: np.ndarray, reference_pose: np.ndarray, root_heads: np.ndarray) -> np.ndarray:
    """Heads (..., J, 3) of bones with orientations (..., J, 3, 3): each rides rigidly on its carrier, as in reference_pose (J, 4, 4).

    root_heads: (..., J, 3), read only for bones without a carrier. All in the armature frame.
    """
    rotations = np.asarray(rotations, np.float64)
    reference_pose = np.asarray(reference_pose, np.float64)
    reference = bone_rotations(reference_pose)
    heads = np.empty((*np.broadcast_shapes(rotations.shape[:-2], np.shape(root_heads)[:-1]), 3))
    carried = np.flatnonzero(rig.carriers >= 0)
    offsets = np.zeros((len(rig), 3))
    apart = reference_pose[carried, :3, 3] - reference_pose[rig.carriers[carried], :3, 3]
    offsets[carried] = np.einsum("jba,jb->ja", reference[rig.carriers[carried]], apart)
    for bone in rig.carrier_order:
        carrier = rig.carriers[bone]
        if carrier < 0:
            heads[..., bone, :] = np.asarray(root_heads, np.float64)[..., bone, :]
        else:
            heads[..., bone, :] = heads[..., carrier, :] + rotations[..., carrier, :, :] @ offsets[bone]
    return heads


def carrier_offsets(rig: Rig, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Heads (..., J, 3) in their carriers' axes, from the carriers' heads; roots keep their own."""
    offsets = np.array(heads, np.float64)
    for bone in np.flatnonzero(rig.carriers >= 0):
        above = rig.carriers[bone]
        apart = heads[..., bone, :] - heads[..., above, :]
        offsets[..., bone, :] = np.einsum("...ba,...b->...a", rotations[..., above, :, :], apart)
    return offsets


def heads_from_offsets(rig: Rig, rotations: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The inverse of carrier_offsets."""
    heads = np.array(offsets, np.float64)
    for bone in rig.carrier_order:
        carrier = rig.carriers[bone]
        if carrier >= 0:
            heads[..., bone, :] = heads[..., carrier, :] + np.einsum("...ab,...b->...a", rotations[..., carrier, :, :], offsets[..., bone, :])
    return heads


def inverse_affine(matrix: np.ndarray) -> np.ndarray:
    """Inverse (..., 4, 4) of affine matrices by cofactors: many times faster than a general inverse on large batches."""
    linear = matrix[..., :3, :3]
    rows = np.stack([np.cross(linear[..., :, 1], linear[..., :, 2]), np.cross(linear[..., :, 2], linear[..., :, 0]),
                     np.cross(linear[..., :, 0], linear[..., :, 1])], -2)
    determinant = (linear[..., :, 0] * rows[..., 0, :]).sum(-1)[..., None, None]
    inverse = np.zeros_like(matrix)
    inverse[..., :3, :3] = rows / np.where(determinant == 0, np.inf, determinant)
    inverse[..., :3, 3] = -_apply_linear(inverse, matrix[..., :3, 3])
    inverse[..., 3, 3] = 1
    return inverse


@dataclass(frozen=True)
class _Group:
    """Bones of one depth that share their inheritance flags."""

    bones: np.ndarray
    parents: np.ndarray | None
    rotation: bool
    scale: str
    local_location: bool


@dataclass(frozen=True)
class _Channel:
    """What a basis is multiplied with: `rotscale` for the linear part, `location` for the translation, `post_scale` (..., 3) last."""

    rotscale: np.ndarray
    location: np.ndarray
    post_scale: np.ndarray


def _groups(rig: Rig) -> Iterator[_Group]:
    depth = np.zeros(len(rig), int)
    for bone, parent in enumerate(rig.parents):
        depth[bone] = depth[parent] + 1 if parent >= 0 else 0
    keys: dict[tuple[int, bool, str, bool], list[int]] = {}
    for bone in np.argsort(depth, kind="stable"):
        keys.setdefault((int(depth[bone]), bool(rig.inherit_rotation[bone]), rig.inherit_scale[bone], bool(rig.local_location[bone])), []).append(bone)
    for (level, rotation, scale, local), bones in keys.items():
        index = np.array(bones)
        yield _Group(index, rig.parents[index] if level else None, rotation, scale, local)


def _channel(rig: Rig, group: _Group, pose: np.ndarray) -> _Channel:
    ones = np.ones(3)
    if group.parents is None:
        rest = rig.rest[group.bones]
        location = rest
        if not group.local_location:
            location = np.broadcast_to(np.eye(4), rest.shape).copy()
            location[..., :3, 3] = rest[..., :3, 3]
        return _Channel(rest, location, ones)
    parent, parent_rest = pose[..., group.parents, :, :], rig.rest[group.parents]
    offset = inverse_affine(parent_rest) @ rig.rest[group.bones]
    plain = parent @ offset
    location = plain
    if not group.local_location:
        location = parent.copy()
        location[..., :3, 3] = plain[..., :3, 3]
    if group.rotation and group.scale == _FULL:
        return _Channel(plain, location, ones)
    base, post_scale = _inherited(parent, parent_rest, group)
    rotscale = base @ offset
    if group.scale == "FIX_SHEAR":
        rotscale[..., :3, :3] = _orthogonalized(rotscale[..., :3, :3], keep_scale=True)
    return _Channel(rotscale, location, post_scale)


def _inherited(parent: np.ndarray, parent_rest: np.ndarray, group: _Group) -> tuple[np.ndarray, np.ndarray]:
    """What the bone takes over of its parent's pose (..., n, 4, 4) and the scale (..., n, 3) applied last."""
    linear = parent[..., :3, :3]
    base = parent.copy() if group.rotation else np.broadcast_to(parent_rest, parent.shape).copy()
    post_scale = np.ones(3)
    if group.rotation:
        if group.scale in ("NONE", "AVERAGE"):
            base[..., :3, :3] = _orthogonalized(linear, keep_scale=False)
        elif group.scale == "ALIGNED":
            straight = _orthogonalized(linear, keep_scale=True)
            post_scale = np.linalg.norm(straight, axis=-2)
            base[..., :3, :3] = straight / _nonzero(post_scale)[..., None, :]
        elif group.scale == "NONE_LEGACY":
            base[..., :3, :3] = linear / _nonzero(np.linalg.norm(linear, axis=-2))[..., None, :]
    elif group.scale == _FULL:
        base[..., :3, :3] = base[..., :3, :3] * np.linalg.norm(linear, axis=-2)[..., None, :]
    elif group.scale == "FIX_SHEAR":
        base[..., :3, :3] = base[..., :3, :3] * _size_without_shear(linear)[..., None, :]
    elif group.scale == "ALIGNED":
        post_scale = _size_without_shear(linear)
    if group.scale == "AVERAGE":
        base[..., :3, :3] *= np.cbrt(np.abs(np.linalg.det(linear)))[..., None, None]
    return base, post_scale


def _size_without_shear(linear: np.ndarray) -> np.ndarray:
    """Column lengths (..., 3), scaled evenly so that their product is the volume (`mat4_to_size_fix_shear`)."""
    size = np.linalg.norm(linear, axis=-2)
    volume = size.prod(-1)
    return size * np.cbrt(np.abs(np.linalg.det(linear)) / np.where(volume == 0, 1, volume))[..., None]


def _orthogonalized(linear: np.ndarray, keep_scale: bool) -> np.ndarray:
    """Shear taken from (..., 3, 3), the second column kept, first and third bent alike (`orthogonalize_m4_stable`, axis Y)."""
    first, main, third = (linear[..., :, i].copy() for i in range(3))
    squared = _dot(main, main)
    for other in (first, third):
        other -= main * (_dot(other, main) / np.where(squared == 0, 1, squared))
    length_first, length_third = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (first, third))
    unit_first, unit_third = first / _nonzero(length_first), third / _nonzero(length_third)
    cosine = _dot(unit_first, unit_third)
    angle = np.arccos(np.clip(cosine, -1, 1))
    target = (angle + np.pi / 2) / 2
    aside = unit_first - unit_third * cosine
    bent = aside / _nonzero(np.linalg.norm(aside, axis=-1, keepdims=True)) * np.sin(target) + unit_third * np.cos(target)
    square = np.cross(np.cross(bent, unit_third), bent)
    square = square / _nonzero(np.linalg.norm(square, axis=-1, keepdims=True))
    significant = (np.abs(cosine) > 1e-4) & (np.abs(cosine) < 1 - 1.2e-7)
    factor = np.where(significant, np.sqrt(np.abs(np.sin(angle))), 1)
    unit_first, unit_third = np.where(significant, bent, unit_first), np.where(significant, square, unit_third)
    if keep_scale:
        return np.stack([unit_first * length_first * factor, main, unit_third * length_third * factor], -1)
    return np.stack([unit_first, main / _nonzero(np.sqrt(squared)), unit_third], -1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1, keepdims=True)


def _nonzero(length: np.ndarray) -> np.ndarray:
    return np.where(length == 0, 1, length)


def _apply_linear(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (matrix[..., :3, :3] @ points[..., None])[..., 0]


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return _apply_linear(matrix, points) + matrix[..., :3, 3]
