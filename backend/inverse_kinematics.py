"""Rotations from 3D tracks of joints: closed form, then all bones of a frame refined together (MoCapAnything V1, inverse kinematics).

Unknown are the turns of each bone against its carrier since a reference pose, as axis-angles e in the carrier's axes, and where the roots
are. A frame's cost, minimised by damped Gauss-Newton steps for many frames at once, is

    sum over tracks  |x(e) - track|^2 / noise^2                     position, reweighted beyond a few times the noise
  + sum over bones   |e|^2 / bend^2 + (along . e)^2 / twist^2       prior: bones bend little, and twist along themselves less
  + sum over bones   |e - e_closed|^2 / trust^2                     prior to the closed form
  + sum over bones   lazy log(rest^2 + |e|^2)                       bones seldom turn, and then far: most stay
  + sum over bones   |e - mean of the neighbouring frames|^2 / (hurry dt)^2      warm: a frame is not far from those beside it

In the end every bone is steadied over time by what each frame knows of it. This and the last but one term are for noisy tracks alone: of good ones
the first makes one bone bend where several did, and the second lets chains that only their ends show miss those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axis_angles import exp_rotation, inverse_left_jacobian, log_rotation
from .closed_form import turns_from_points
from .ik_chain import Chain, Targets
from .rig import Rig
from .steady import steady, surety

_CHUNK = 1 << 23  # elements of a Jacobian held at once
_ROBUST = 4.0  # of the noise: residuals beyond count linearly
_DAMPING = 1e-6
_NOISY = 0.005  # share of the size: tracks so noisy that what is usual of motions says more than they do


@dataclass(frozen=True)
class IKSettings:
    """Expected sizes, which weigh the terms.

    noise: error of a track, share of the rig's size. bend, twist: radians that a bone turns against its carrier since the reference, and
    along itself. trust: radians that the closed form errs. hurry: radians a second by which a turn differs from the mean of its
    neighbours in time. rest: radians by which a bone that stays seems to turn; lazy: how much more firmly it is held than one that turns.
    surge: radians / s^2 that are usual. iterations: steps.
    """

    noise: float = 0.002
    bend: float = 0.6
    twist: float = 0.3
    trust: float = 2.0
    hurry: float = 4.0
    rest: float = 0.1
    lazy: float = 2.0
    surge: float = 100.0
    iterations: int = 8

    @property
    def noisy(self) -> bool:
        """Whether to reckon with what is usual of motions."""
        return self.noise >= _NOISY


@dataclass(frozen=True, eq=False)
class Solution:
    """rotations (T, J, 3, 3) and heads (T, J, 3), armature frame; error (T, P) distance of each point from its track, NaN where unknown."""

    rotations: np.ndarray
    heads: np.ndarray
    error: np.ndarray


def solve(rig: Rig, reference: np.ndarray, targets: Targets, settings: IKSettings | None = None, check: Callable[[float], None] | None = None) -> Solution:
    """Rotations and heads that bring a rig's points onto their tracks.

    reference: (J, 4, 4) bone to armature, the pose that turns are counted from. check is called with the share done, and may raise.
    Bones that no track tells anything about, and bones that are not driven, stay with their carriers as in the reference.
    """
    settings = settings or IKSettings()
    chain = Chain(rig, np.asarray(reference, np.float64), targets)
    positions = torch.from_numpy(np.asarray(targets.positions, np.float64) / rig.size)
    turns, roots = _closed_form(chain, positions, targets.times, settings)
    state = _State(log_rotation(turns[:, chain.active]), roots)
    closed, known = state.angles.clone(), []
    frames = max(1, _CHUNK // max(1, 9 * len(chain.bones) * (len(chain.active) + 1)))
    for step in range(settings.iterations):
        beside, hurry = _neighbours(state.angles, torch.from_numpy(np.asarray(targets.times, np.float64)), settings)
        for start in range(0, len(positions), frames):
            part = slice(start, start + frames)
            normal, change = _refine(chain, state, part, positions[part], closed[part], beside[part], hurry[part], settings)
            if settings.noisy and step == settings.iterations - 1:
                known.append(surety(normal, change).float())
            if check:
                check((step + min(1.0, (start + frames) / len(positions))) / settings.iterations)
    if known:
        state.angles = steady(torch.from_numpy(np.asarray(targets.times, np.float64)), state.angles, torch.cat(known), None, settings.surge)
    rotations, heads = chain.pose(state.turns(chain), state.roots)
    error = (chain.points(rotations, heads) - positions).norm(dim=-1) * rig.size
    return Solution(rotations.numpy(), heads.numpy() * rig.size, error.numpy())


@dataclass
class _State:
    """angles (T, A, 3) axis-angles of the active bones' turns; roots (T, J, 3) heads, those of roots used."""

    angles: Tensor
    roots: Tensor

    def turns(self, chain: Chain, part: slice = slice(None)) -> Tensor:
        angles = self.angles[part]
        turns = torch.eye(3, dtype=angles.dtype).expand(len(angles), len(chain.rig), 3, 3).clone()
        turns[:, chain.active] = exp_rotation(angles)
        return turns


def _closed_form(chain: Chain, positions: Tensor, times: np.ndarray, settings: IKSettings) -> tuple[Tensor, Tensor]:
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


def _tracked_below(chain: Chain, bone: int, heads: dict[int, int], seen: np.ndarray) -> list[int]:
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
    chain: Chain, state: _State, part: slice, positions: Tensor, closed: Tensor, beside: Tensor, hurry: Tensor, settings: IKSettings
) -> tuple[Tensor, Tensor]:
    """One damped Gauss-Newton step of the frames of a part, in place; its normal equations and how axis-angles change with turns, as `surety` takes them."""
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
    if settings.noisy:
        pull = pull + settings.lazy / (settings.rest**2 + angles.square().sum(-1))[..., None, None] * eye
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
    return normal, change


def _jacobian(chain: Chain, rotations: Tensor, heads: Tensor, points: Tensor) -> Tensor:
    """(T, 3P, 3A + 3R) of points by turns of active bones in their carriers' axes, and by root heads."""
    riding = (chain.rides[:, None, :, None] * torch.eye(3, dtype=points.dtype)[:, None]).flatten(2).flatten(0, 1)
    return torch.cat([bone_jacobian(chain, rotations, heads, points), riding.expand(len(points), -1, -1)], -1)


def bone_jacobian(chain: Chain, rotations: Tensor, heads: Tensor, points: Tensor) -> Tensor:
    """(T, 3P, 3A) of points (T, P, 3) by turns of active bones in their carriers' axes."""
    arms = points[:, :, None] - heads[:, None, chain.active]
    above = chain.carriers[chain.active]
    axes = torch.where((above >= 0)[:, None, None], rotations[:, above.clamp(min=0)], torch.eye(3, dtype=arms.dtype))
    # d x = (axes d) x arm: column by column
    columns = torch.linalg.cross(axes.transpose(-1, -2)[:, None], arms[..., None, :], dim=-1) * chain.moves[..., None, None]  # (T, P, A, 3 of d, 3 of x)
    return columns.permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
