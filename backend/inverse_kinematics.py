"""Rotations from 3D tracks of joints: closed form, then all bones of a frame refined together (MoCapAnything V1, inverse kinematics).

Unknown are the turns of each bone against its carrier since a reference pose, as axis-angles e in the carrier's axes, and where the roots
are. A frame's cost, minimised by damped Gauss-Newton steps for many frames at once, is

    sum over tracks  |x(e) - track|^2 / noise^2                     position, reweighted beyond a few times the noise
  + sum over bones   |e|^2 / bend^2 + (along . e)^2 / twist^2       prior: bones bend little, and twist along themselves less
  + sum over bones   |e - e_closed|^2 / trust^2                     prior to the closed form
  + sum over bones   |e - mean of the neighbouring frames|^2 / (hurry dt)^2      warm: a frame is not far from those beside it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .closed_form import turns_from_points
from .kinematics import bone_rotations
from .rig import Rig

_CHUNK = 1 << 23  # elements of a Jacobian held at once
_ROBUST = 4.0  # of the noise: residuals beyond count linearly
_DAMPING = 1e-6


@dataclass(frozen=True)
class IKSettings:
    """Expected sizes, which weigh the terms.

    noise: error of a track, share of the rig's size. bend, twist: radians that a bone turns against its carrier since the reference, and
    along itself. trust: radians that the closed form errs. hurry: radians a second by which a turn differs from the mean of its
    neighbours in time. iterations: steps.
    """

    noise: float = 0.002
    bend: float = 0.6
    twist: float = 0.3
    trust: float = 2.0
    hurry: float = 4.0
    iterations: int = 8


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


@dataclass(frozen=True, eq=False)
class Solution:
    """rotations (T, J, 3, 3) and heads (T, J, 3), armature frame; error (T, P) distance of each point from its track, NaN where unknown."""

    rotations: np.ndarray
    heads: np.ndarray
    error: np.ndarray


def head_targets(rig: Rig, heads: np.ndarray, times: np.ndarray, ends: np.ndarray | None = None) -> Targets:
    """Targets of all heads (T, J, 3) and, where given, of all ends (T, J, 3); NaN where unknown."""
    bones, offsets, positions = np.arange(len(rig)), np.zeros((len(rig), 3)), heads
    if ends is not None:
        bones, offsets, positions = np.tile(bones, 2), np.concatenate([offsets, end_offsets(rig)]), np.concatenate([heads, ends], 1)
    return Targets(bones, offsets, positions, times)


def end_offsets(rig: Rig) -> np.ndarray:
    """(J, 3) each bone's end in the bone's own frame."""
    return np.einsum("jba,jb->ja", rig.rest[:, :3, :3], rig.ends - rig.rest[:, :3, 3])


class _Chain:
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
        below = np.eye(len(rig), dtype=bool)
        for bone in rig.carrier_order:
            if carriers[bone] >= 0:
                below[bone] |= below[carriers[bone]]
        moves = below[targets.bones]
        at_head = np.linalg.norm(targets.offsets, axis=1) < 1e-9 * self.size
        moves[at_head, targets.bones[at_head]] = False
        seen = np.isfinite(targets.positions).all(-1).any(0)
        self.active = np.flatnonzero(rig.driven & moves[seen].any(0))
        self.moves = torch.from_numpy(moves[:, self.active])
        self.roots = np.flatnonzero(~linked & below[targets.bones[seen]].any(0))
        self.rides = torch.from_numpy(below[targets.bones][:, self.roots])
        self.axes = self._axes(reference, carriers)

    def _axes(self, reference: np.ndarray, carriers: np.ndarray) -> Tensor:
        """(A, 3) the direction along each active bone in its carrier's axes, as in the reference: about it a bone twists."""
        local_end = end_offsets(self.rig)
        directions = np.einsum("jab,jb->ja", bone_rotations(reference), local_end)
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
        above = np.where((carriers >= 0)[:, None, None], np.swapaxes(bone_rotations(reference)[carriers], -1, -2), np.eye(3))
        return torch.from_numpy(np.einsum("jab,jb->ja", above, directions)[self.active])

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


def solve(rig: Rig, reference: np.ndarray, targets: Targets, settings: IKSettings | None = None, check: Callable[[float], None] | None = None) -> Solution:
    """Rotations and heads that bring a rig's points onto their tracks.

    reference: (J, 4, 4) bone to armature, the pose that turns are counted from. check is called with the share done, and may raise.
    Bones that no track tells anything about, and bones that are not driven, stay with their carriers as in the reference.
    """
    settings = settings or IKSettings()
    chain = _Chain(rig, np.asarray(reference, np.float64), targets)
    positions = torch.from_numpy(np.asarray(targets.positions, np.float64) / rig.size)
    turns, roots = _closed_form(chain, positions, targets.times, settings)
    state = _State(log_rotation(turns[:, chain.active]), roots)
    closed = state.angles.clone()
    frames = max(1, _CHUNK // max(1, 9 * len(chain.bones) * (len(chain.active) + 1)))
    for step in range(settings.iterations):
        beside, hurry = _neighbours(state.angles, torch.from_numpy(np.asarray(targets.times, np.float64)), settings)
        for start in range(0, len(positions), frames):
            part = slice(start, start + frames)
            _refine(chain, state, part, positions[part], closed[part], beside[part], hurry[part], settings)
            if check:
                check((step + min(1.0, (start + frames) / len(positions))) / settings.iterations)
    rotations, heads = chain.pose(state.turns(chain), state.roots)
    error = (chain.points(rotations, heads) - positions).norm(dim=-1) * rig.size
    return Solution(rotations.numpy(), heads.numpy() * rig.size, error.numpy())


@dataclass
class _State:
    """angles (T, A, 3) axis-angles of the active bones' turns; roots (T, J, 3) heads, those of roots used."""

    angles: Tensor
    roots: Tensor

    def turns(self, chain: _Chain, part: slice = slice(None)) -> Tensor:
        angles = self.angles[part]
        turns = torch.eye(3, dtype=angles.dtype).expand(len(angles), len(chain.rig), 3, 3).clone()
        turns[:, chain.active] = exp_rotation(angles)
        return turns


def _closed_form(chain: _Chain, positions: Tensor, times: np.ndarray, settings: IKSettings) -> tuple[Tensor, Tensor]:
    """Turns (T, J, 3, 3) against the carriers by Procrustes on the nearest tracked points below each bone, and root heads (T, J, 3)."""
    count, frames = len(chain.rig), len(positions)
    known = torch.isfinite(positions).all(-1)
    filled = torch.where(known[..., None], positions, 0.0)
    head_point = {int(bone): p for p, bone in enumerate(chain.bones) if chain.offsets[p].norm() < 1e-9}
    below = [_tracked_below(chain, bone, head_point, known.any(0).numpy()) for bone in range(count)]
    slots = max(1, *(len(points) for points in below))
    ref, now, weights = torch.zeros(count, slots, 3).double(), torch.zeros(frames, count, slots, 3).double(), torch.zeros(frames, count, slots).double()
    roots = chain.ref_heads.expand(frames, -1, -1).clone()
    centres: dict[int, tuple[Tensor, Tensor, np.ndarray]] = {}
    for bone, points in enumerate(below):
        head = head_point.get(bone)
        if not points and (head is None or bone not in chain.roots):
            continue
        weight = known[:, points].double()
        if head is not None and bool(known[:, head].any()):
            weight = weight * known[:, head, None]
            origin_ref, origin, there = chain.ref_points[head], filled[:, head], known[:, head]
        elif bone in chain.roots:
            share = (weight / weight.sum(1, keepdim=True).clamp(min=1))[..., None]
            origin_ref, origin = (share.mean(0) * chain.ref_points[points]).sum(0) / share.mean(0).sum().clamp(min=1e-9), (share * filled[:, points]).sum(1)
            there = weight.sum(1) > 0
        else:
            continue
        ref[bone, : len(points)] = chain.ref_points[points] - origin_ref
        now[:, bone, : len(points)] = filled[:, points] - origin[:, None]
        weights[:, bone, : len(points)] = weight
        centres[bone] = (origin_ref, origin, there.numpy())
    noise = torch.full((frames, count), settings.noise, dtype=torch.float64)
    turned = turns_from_points(ref.expand(frames, -1, -1, -1), now, weights, noise, chain.carriers.numpy(), spread=settings.bend)
    rotations = turned @ chain.reference
    for root in chain.roots:
        if root in centres:
            origin_ref, origin, shown = centres[root]
            place = (origin + (turned[:, root] @ (chain.ref_heads[root] - origin_ref)[:, None])[..., 0]).numpy()
            # where nothing shows it, between where it was and where it is again
            roots[:, root] = torch.from_numpy(np.stack([np.interp(times, times[shown], place[shown, axis]) for axis in range(3)], -1))
    return chain.turns(rotations), roots


def _tracked_below(chain: _Chain, bone: int, heads: dict[int, int], seen: np.ndarray) -> list[int]:
    """Points that show how a bone stands: its own off its head, and the nearest tracked heads along each branch that it carries."""
    own = [p for p, of in enumerate(chain.bones.tolist()) if of == bone and heads.get(bone) != p and seen[p]]
    waiting = np.flatnonzero(chain.rig.carriers == bone).tolist()
    while waiting:
        child = waiting.pop()
        if child in heads and seen[heads[child]]:
            own.append(heads[child])
        else:
            waiting += np.flatnonzero(chain.rig.carriers == child).tolist()
    return own


def _neighbours(angles: Tensor, times: Tensor, settings: IKSettings) -> tuple[Tensor, Tensor]:
    """(T, A, 3) what the frames beside a frame say of it, and (T,) radians that it may differ."""
    if len(times) < 3:
        return angles, torch.full((len(times),), torch.inf, dtype=torch.float64)
    gap = torch.diff(times)
    before = torch.cat([times[:1] - gap[:1], times[:-1]])
    share = ((times - before) / (torch.cat([times[1:], times[-1:] + gap[-1:]]) - before))[:, None, None]
    previous, following = torch.cat([angles[1:2], angles[:-1]]), torch.cat([angles[1:], angles[-2:-1]])
    reach = torch.minimum(torch.cat([gap[:1], gap]), torch.cat([gap, gap[-1:]]))
    return previous * (1 - share) + following * share, settings.hurry * reach


def _refine(
    chain: _Chain, state: _State, part: slice, positions: Tensor, closed: Tensor, beside: Tensor, hurry: Tensor, settings: IKSettings
) -> None:
    """One damped Gauss-Newton step of the frames of a part, in place."""
    angles = state.angles[part]
    frames, active = angles.shape[:2]
    rotations, heads = chain.pose(state.turns(chain, part), state.roots[part])
    points = chain.points(rotations, heads)
    known = torch.isfinite(positions).all(-1)
    residual = torch.where(known[..., None], positions - points, 0.0)
    length = residual.norm(dim=-1) / settings.noise
    weight = known / torch.clamp(length / _ROBUST, min=1.0) / settings.noise**2
    jacobian = _jacobian(chain, rotations, heads, points)
    weighted = (jacobian.unflatten(1, (-1, 3)) * weight[..., None, None]).flatten(1, 2)
    normal = weighted.transpose(-1, -2) @ jacobian
    gradient = (weighted.transpose(-1, -2) @ residual.flatten(1)[..., None])[..., 0]

    # priors: axis-angles change by the inverse left Jacobian of the rotation's own increments
    change = inverse_left_jacobian(angles)
    eye = torch.eye(3, dtype=angles.dtype)
    along = chain.axes[:, :, None] * chain.axes[:, None]
    pull = eye / settings.bend**2 + along / settings.twist**2
    near = eye * (1 / settings.trust**2)
    still = eye * (1 / hurry**2)[:, None, None, None]
    total = pull + near + still
    wish = -(pull @ angles[..., None]) + near @ (closed - angles)[..., None] + still @ (beside - angles)[..., None]
    blocks = change.transpose(-1, -2) @ total @ change
    turning = normal[:, : 3 * active, : 3 * active].unflatten(2, (active, 3)).unflatten(1, (active, 3))
    index = torch.arange(active)
    turning[:, index, :, index] += blocks.transpose(0, 1)
    gradient[:, : 3 * active] += (change.transpose(-1, -2) @ wish)[..., 0].flatten(1)
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    diagonal += _DAMPING * diagonal + 1e-9
    step = torch.linalg.solve(normal, gradient[..., None])[..., 0]
    turn = step[:, : 3 * active].unflatten(1, (active, 3))
    turn = turn / turn.norm(dim=-1, keepdim=True).clamp(min=1.0)  # a radian at most: farther off a linear step says nothing
    state.angles[part] = log_rotation(exp_rotation(turn) @ exp_rotation(angles))
    state.roots[part][:, chain.roots] += step[:, 3 * active :].unflatten(1, (len(chain.roots), 3))


def _jacobian(chain: _Chain, rotations: Tensor, heads: Tensor, points: Tensor) -> Tensor:
    """(T, 3P, 3A + 3R) of points by turns of active bones in their carriers' axes, and by root heads."""
    arms = points[:, :, None] - heads[:, None, chain.active]
    above = chain.carriers[chain.active]
    axes = torch.where((above >= 0)[:, None, None], rotations[:, above.clamp(min=0)], torch.eye(3, dtype=arms.dtype))
    # d x = (axes d) x arm: column by column
    columns = torch.linalg.cross(axes.transpose(-1, -2)[:, None], arms[..., None, :], dim=-1) * chain.moves[..., None, None]  # (T, P, A, 3 of d, 3 of x)
    turning = columns.permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
    riding = (chain.rides[:, None, :, None] * torch.eye(3, dtype=arms.dtype)[:, None]).flatten(2).flatten(0, 1)
    return torch.cat([turning, riding.expand(len(arms), -1, -1)], -1)


def exp_rotation(v: Tensor) -> Tensor:
    """Rodrigues' formula, exact at zero: (…, 3) axis times radians to (…, 3, 3)."""
    angle = v.norm(dim=-1)[..., None, None]
    k = _cross_matrix(v)
    # sin(a)/a and (1 - cos a)/a^2 through sinc, which needs no case for zero
    return torch.eye(3, dtype=v.dtype) + torch.sinc(angle / torch.pi) * k + 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2 * (k @ k)


def log_rotation(matrix: Tensor) -> Tensor:
    """Axis times radians (…, 3), at most pi long, of rotations (…, 3, 3); through the quaternion, which is exact at zero and at half turns."""
    m = matrix
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # four times q q^T; its widest column is the quaternion (Shepperd 1978)
    rows = [1 + a + b + c, x, y, z, x, 1 + a - b - c, xy, xz, y, xy, 1 - a + b - c, yz, z, xz, yz, 1 - a - b + c]
    outer = torch.stack(rows, -1).unflatten(-1, (4, 4))
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    q = q / q.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., :1] < 0, -q, q)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(sine > 1e-12, angle / sine.clamp(min=1e-12), 2.0)


def inverse_left_jacobian(v: Tensor) -> Tensor:
    """(…, 3, 3): log(exp(d) exp(v)) = v + J(v) d + …, for |v| below pi (Chirikjian 2011, eq. 10.86)."""
    angle = v.norm(dim=-1)[..., None, None].clamp(max=3.1)
    k = _cross_matrix(v)
    half = angle / 2
    # 1/a^2 - (1 + cos a) / (2 a sin a) = (1 - half cot half) / a^2, near zero 1/12
    wide = (1 - half * torch.cos(half) / torch.sin(half).clamp(min=1e-9)) / (angle**2).clamp(min=1e-12)
    return torch.eye(3, dtype=v.dtype) - 0.5 * k + torch.where(angle > 1e-3, wide, 1 / 12) * (k @ k)


def _cross_matrix(v: Tensor) -> Tensor:
    """(…, 3, 3) with K w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
