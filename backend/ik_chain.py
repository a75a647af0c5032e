"""A rig as inverse kinematics sees it: tracked points, which bones move them, and poses from turns against the carriers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .carriers import descendants
from .kinematics import bone_rotations
from .rig import Rig


@dataclass(frozen=True, eq=False)
class Targets:
    """Tracked points on a rig.

    bones: (P,) int, which bone carries each. offsets: (P, 3) the point in that bone's own frame (zero for its head), armature units.
    positions: (T, P, 3) armature frame, NaN where unknown. times: (T,) seconds, increasing.
    """

    bones: np.ndarray
    offsets: np.ndarray
    positions: np.ndarray
    times: np.ndarray

    def __post_init__(self) -> None:
        count, frames = len(self.bones), len(self.times)
        if self.offsets.shape != (count, 3) or self.positions.shape != (frames, count, 3):
            raise ValueError("targets must agree in points and frames")
        if frames > 1 and not (np.diff(self.times) > 0).all():
            raise ValueError("times must increase")


def head_targets(rig: Rig, heads: np.ndarray, times: np.ndarray, ends: np.ndarray | None = None) -> Targets:
    """Targets of all heads (T, J, 3) and, where given, of all ends (T, J, 3); NaN where unknown."""
    bones, offsets, positions = np.arange(len(rig)), np.zeros((len(rig), 3)), heads
    if ends is not None:
        bones, offsets, positions = np.tile(bones, 2), np.concatenate([offsets, end_offsets(rig)]), np.concatenate([heads, ends], 1)
    return Targets(bones, offsets, positions, times)


def end_offsets(rig: Rig) -> np.ndarray:
    """(J, 3) each bone's end in the bone's own frame."""
    return np.einsum("jba,jb->ja", rig.rest[:, :3, :3], rig.ends - rig.rest[:, :3, 3])


class Chain:
    """What of the rig the solver needs, in units of the rig's size, as tensors; A active bones, P points."""

    def __init__(self, rig: Rig, reference: np.ndarray, targets: Targets) -> None:
        self.rig, self.size = rig, rig.size
        rotations = bone_rotations(reference)
        self.reference = torch.from_numpy(rotations)
        heads = reference[:, :3, 3] / self.size
        self.ref_heads = torch.from_numpy(heads)
        carriers = rig.carriers.astype(np.int64)
        self.carriers = torch.from_numpy(carriers)
        linked = carriers >= 0
        above = np.where(linked[:, None, None], np.swapaxes(rotations[carriers], -1, -2), np.eye(3))
        self.local = torch.from_numpy(above @ rotations)  # in the carrier's axes, as in the reference
        self.link = torch.from_numpy(np.where(linked[:, None], np.einsum("jab,jb->ja", above, heads - heads[carriers]), 0.0))
        self.levels = _levels(rig)
        self.bones = torch.from_numpy(targets.bones.astype(np.int64))
        scale = np.linalg.norm(reference[targets.bones, :3, :3], axis=-2)  # a scaled bone carries its points farther
        self.offsets = torch.from_numpy(targets.offsets * scale / self.size)
        self.ref_points = self.points(self.reference[None], self.ref_heads[None])[0]
        # [p, j]: bone j moves point p by turning: it carries p's bone, or p lies off its own head
        self.below = descendants(rig.carriers).T
        moves = self.below[targets.bones]
        at_head = np.linalg.norm(targets.offsets, axis=1) < 1e-9 * self.size
        moves[at_head, targets.bones[at_head]] = False
        seen = np.isfinite(targets.positions).all(-1).any(0)
        self.active = np.flatnonzero(rig.driven & moves[seen].any(0))
        self.moves = torch.from_numpy(moves[:, self.active])
        self.roots = np.flatnonzero(~linked & self.below[targets.bones[seen]].any(0))
        self.rides = torch.from_numpy(self.below[targets.bones][:, self.roots])

    def pose(self, turns: Tensor, root_heads: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (T, J, 3, 3) and heads (T, J, 3) of turns (T, J, 3, 3) against the carriers; root_heads (T, J, 3), read for roots."""
        rotations, heads = turns @ self.local, root_heads.clone()
        for level in self.levels:
            above = self.carriers[level]
            rotations[:, level] = rotations[:, above] @ rotations[:, level]
            heads[:, level] = heads[:, above] + (rotations[:, above] @ self.link[level][..., None])[..., 0]
        return rotations, heads

    def points(self, rotations: Tensor, heads: Tensor) -> Tensor:
        """(T, P, 3) of a pose."""
        return heads[:, self.bones] + (rotations[:, self.bones] @ self.offsets[..., None])[..., 0]

    def turns(self, rotations: Tensor) -> Tensor:
        """(T, J, 3, 3) turns against the carriers since the reference, in the carriers' axes, of rotations (T, J, 3, 3)."""
        above = rotations[:, self.carriers.clamp(min=0)]
        local = torch.where((self.carriers >= 0)[:, None, None], above.transpose(-1, -2) @ rotations, rotations)
        return local @ self.local.transpose(-1, -2)


def _levels(rig: Rig) -> list[Tensor]:
    """Bones that have a carrier, by depth."""
    depth = np.zeros(len(rig), int)
    for bone in rig.carrier_order:
        depth[bone] = depth[rig.carriers[bone]] + 1 if rig.carriers[bone] >= 0 else 0
    return [torch.from_numpy(np.flatnonzero(depth == level)) for level in range(1, depth.max(initial=0) + 1)]


def levers(chain: Chain, rotations: Tensor, heads: Tensor) -> Tensor:
    """(T, 6, 3A) by which `swept` tells how turns of active bones in their carriers' axes move points of a pose."""
    above = chain.carriers[chain.active]
    axes = torch.where((above >= 0)[:, None, None], rotations[:, above.clamp(min=0)], torch.eye(3, dtype=rotations.dtype)).transpose(-1, -2)  # axis by axis
    return torch.cat([axes, -torch.linalg.cross(axes, heads[:, chain.active, None].expand(axes.shape))], -1).flatten(1, 2).transpose(-1, -2)


def swept(points: Tensor, slope: Tensor, arms: Tensor) -> Tensor:
    """(T, P, c, A, 3) how places move by turns of active bones, whether these carry the points (T, P, 3) or not. slope: (T, P, c, 3) how places
    move with points.

    A turn by d about an axis moves a point by d axis x (point - head), so slope . that = (point x slope) . axis - slope . (axis x head).
    """
    both = torch.cat([torch.linalg.cross(points[:, :, None].expand(slope.shape), slope), slope], -1)
    return (both.flatten(1, 2) @ arms).unflatten(1, slope.shape[1:3]).unflatten(3, (-1, 3))
