"""From a motion in the armature frame to what each bone is keyed with: its own location, rotation and scale. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..backend.kinematics import basis_from_pose, bone_rotations, forward
from ..backend.motion import Motion
from ..backend.rig import Rig
from .rotation_modes import matrices, quaternions_of

# frames at a time: a long clip needs no more memory than a short one beyond the tracks themselves
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Basis:
    """Location (..., 3), rotation (..., 4) w x y z and scale (..., 3) of bones relative to rest: Blender's `matrix_basis` taken apart."""

    location: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class BoneTracks:
    """What a motion does to each bone. T frames, J bones.

    rotation: (T, J, 4) quaternions w, x, y, z; not yet continuous.
    location: (T, J, 3), moving for `rig.detached` bones alone, the reference's for all others.
    reference: (J,) the reference pose.
    """

    rotation: np.ndarray
    location: np.ndarray
    reference: Basis


def take_apart(basis: np.ndarray) -> Basis:
    """Location, rotation and scale of (..., 4, 4); a mirrored bone gets a negative scale on all axes, as Blender decomposes it."""
    linear = basis[..., :3, :3]
    scale = np.linalg.norm(linear, axis=-2) * np.where(np.linalg.det(linear) < 0, -1.0, 1.0)[..., None]
    rotation = linear / np.where(scale == 0, 1, scale)[..., None, :]
    return Basis(basis[..., :3, 3].copy(), quaternions_of(bone_rotations(_affine(rotation))), scale)


def bone_tracks(rig: Rig, motion: Motion, reference_pose: np.ndarray, static: np.ndarray) -> BoneTracks:
    """Tracks of every bone for a motion.

    reference_pose: (J, 4, 4) pose whose scales and constant locations are kept. static: (J, 4, 4) basis of the bones that are not
    driven (rows of driven bones are not read): they stay as they are, so their children's keys are relative to that.
    """
    reference = take_apart(basis_from_pose(rig, reference_pose))
    reference_rotations = bone_rotations(reference_pose)[None].copy()
    # under an uneven scale a bone's polar rotation is not the product of its parents' rotations: the difference, constant in the
    # bone's own axes, keeps the reference exact
    correction = np.swapaxes(_basis_rotations(rig, reference_rotations)[0], -1, -2) @ matrices(reference.rotation)
    static_rotations = matrices(take_apart(static).rotation)
    rotation = np.empty((len(motion), len(rig), 4))
    location = np.tile(reference.location, (len(motion), 1, 1))
    locator = _Locator(rig, reference, static) if rig.detached.any() else None
    for start in range(0, len(motion), _CHUNK):
        part = slice(start, start + _CHUNK)
        orientations = _with_static_bones(rig, motion.rotations[part], static_rotations)
        turned = _basis_rotations(rig, orientations) @ correction
        rotation[part] = quaternions_of(turned)
        if locator is not None:
            location[part, rig.detached] = locator.locations(turned, motion.heads[part])
    return BoneTracks(rotation, location, reference)


def _basis_rotations(rig: Rig, rotations: np.ndarray) -> np.ndarray:
    """Rotations relative to rest (..., J, 3, 3) of bones with orientations (..., J, 3, 3): the scale-free part of `basis_from_pose`."""
    rest = rig.rest[:, :3, :3]
    follows = (rig.parents >= 0) & rig.inherit_rotation
    offset = np.where(follows[:, None, None], np.swapaxes(rest[rig.parents], -1, -2) @ rest, rest)
    carried = np.swapaxes(rotations[..., rig.parents, :, :], -1, -2) @ rotations
    carried[..., ~follows, :, :] = rotations[..., ~follows, :, :]
    return np.swapaxes(offset, -1, -2) @ carried


def _with_static_bones(rig: Rig, rotations: np.ndarray, static: np.ndarray) -> np.ndarray:
    """Orientations (T, J, 3, 3) in which bones that are not driven follow their parents with their static rotation (J, 3, 3)."""
    rotations = np.array(rotations, np.float64)
    rest = rig.rest[:, :3, :3]
    for bone in np.flatnonzero(~rig.driven):
        parent = rig.parents[bone]
        if parent >= 0 and rig.inherit_rotation[bone]:
            rotations[:, bone] = rotations[:, parent] @ (rest[parent].T @ rest[bone] @ static[bone])
        else:
            rotations[:, bone] = rest[bone] @ static[bone]
    return rotations


class _Locator:
    """Finds the locations that bring detached bones' heads to where the motion has them, given the parents as they really stand."""

    def __init__(self, rig: Rig, reference: Basis, static: np.ndarray) -> None:
        self.bones = _with_ancestors(rig, rig.detached)
        self.rig = _part(rig, self.bones)
        self.scale = reference.scale[self.bones]
        self.location = reference.location[self.bones]
        self.static = static[self.bones]
        self.detached = rig.detached[self.bones]
        depth = np.zeros(len(self.bones), int)
        for bone, parent in enumerate(self.rig.parents):
            depth[bone] = depth[parent] + self.detached[parent] if parent >= 0 else 0
        self.levels = [np.flatnonzero(self.detached & (depth == level)) for level in np.unique(depth[self.detached])]

    def locations(self, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """(T, K, 3) locations of the K detached bones for basis rotations (T, J, 3, 3) and heads (T, J, 3)."""
        basis = _affine(rotations[:, self.bones] * self.scale[:, None, :])
        basis[..., :3, 3] = self.location
        basis[:, ~self.rig.driven] = self.static[~self.rig.driven]
        for level in self.levels:
            pose = forward(self.rig, basis)
            pose[..., :3, 3][:, level] = heads[:, self.bones[level]]
            basis[..., :3, 3][:, level] = basis_from_pose(self.rig, pose)[..., :3, 3][:, level]
        return basis[..., :3, 3][:, self.detached]


def _with_ancestors(rig: Rig, bones: np.ndarray) -> np.ndarray:
    wanted = bones.copy()
    for bone in range(len(rig) - 1, -1, -1):
        if wanted[bone] and rig.parents[bone] >= 0:
            wanted[rig.parents[bone]] = True
    return np.flatnonzero(wanted)


def _part(rig: Rig, bones: np.ndarray) -> Rig:
    """The rig of some bones that include all their ancestors."""
    place = np.full(len(rig) + 1, -1, np.int32)
    place[bones] = np.arange(len(bones))
    parents = place[rig.parents[bones]]
    return replace(
        rig, names=tuple(rig.names[b] for b in bones), parents=parents, carriers=parents, rest=rig.rest[bones], ends=rig.ends[bones],
        driven=rig.driven[bones], reasons=tuple(rig.reasons[b] for b in bones), inherit_rotation=rig.inherit_rotation[bones],
        local_location=rig.local_location[bones], inherit_scale=tuple(rig.inherit_scale[b] for b in bones), mesh=None,
    )


def _affine(linear: np.ndarray) -> np.ndarray:
    out = np.zeros((*linear.shape[:-2], 4, 4))
    out[..., :3, :3] = linear
    out[..., 3, 3] = 1
    return out
