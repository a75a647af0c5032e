"""Rotations from 3D tracks of joints: closed form, then all bones of a frame refined together (MoCapAnything V1, inverse kinematics).

Unknown are the turns of each bone against its carrier since a reference pose, as axis-angles e in the carrier's axes, and where the roots
are; what is usual a network and the rig's own actions tell (habits.py). A frame's cost, minimised by damped Gauss-Newton steps for many
frames at once, is

    sum over tracks  |x(e) - track|^2 / noise^2                     position, reweighted beyond a few times the noise
  + e^T since^-1 e                                                prior: as far, and about such axes, as bones of such a body usually turn
  + sum over bones   |e - e_closed|^2 / trust^2                     prior to the closed form
  + sum over bones   lazy log(rest^2 + |e|^2)                       bones seldom turn, and then far: most stay
  + sum over bones   |e - mean of the neighbouring frames|^2 / (hurry dt)^2      warm: a frame is not far from those beside it

In the end every bone is steadied over time by what each frame knows of it. This and the last but one term are for noisy tracks alone: of good ones
the first makes one bone bend where several did, and the second lets chains that only their ends show miss those. With joint limits (joint_limits.py)
those that a step would lead beyond are held in it, so that the other bones make up for it, and in the end each bone is brought to its limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axis_angles import exp_rotation, inverse_left_jacobian, log_rotation
from .habits import Habits
from .ik_chain import Chain, Targets, levers, swept
from .ik_start import closed_form_start
from .joint_limits import Bounds, JointLimits
from .rig import Rig
from .steady import steady, surety

_CHUNK = 1 << 23  # elements of a Jacobian held at once
_ROBUST = 4.0  # of the noise: residuals beyond count linearly
_DAMPING = 1e-6
_TRIALS = 3  # solutions a step with limits
_NOISY = 0.005  # share of the size: tracks so noisy that what is usual of motions says more than they do


@dataclass(frozen=True)
class IKSettings:
    """Expected sizes, which weigh the terms.

    noise: error of a track, share of the rig's size. lively: so many times wider, in variance, turns since the reference are than the motion prior
    says, anyway: radians that every bone may turn besides. bend: radians that the closed form's first guess turns. trust: radians that the closed form
    errs. hurry: radians a second by which a turn differs from the mean of its neighbours in time. rest: radians by which a bone that stays seems to turn;
    lazy: how much more firmly it is held than one that turns. surge: radians / s^2 that are usual. iterations: steps.
    """

    noise: float = 0.002
    lively: float = 10.0
    anyway: float = 0.08
    bend: float = 0.6
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


def solve(
    rig: Rig, reference: np.ndarray, targets: Targets, habits: Habits, settings: IKSettings | None = None, check: Callable[[float], None] | None = None,
    limits: JointLimits | None = None,
) -> Solution:
    """Rotations and heads that bring a rig's points onto their tracks, within limits where there are any.

    reference: (J, 4, 4) bone to armature, the pose that turns are counted from. habits: tell how the rig's bones usually turn. check is called with
    the share done, and may raise. Bones that no track tells anything about, and bones that are not driven, stay with their carriers as in the reference.
    """
    settings = settings or IKSettings()
    chain = Chain(rig, np.asarray(reference, np.float64), targets)
    positions = torch.from_numpy(np.asarray(targets.positions, np.float64) / rig.size)
    turns, roots = closed_form_start(chain, positions, targets.times, settings.noise, settings.bend)
    state = _State(log_rotation(turns[:, chain.active]), roots)
    bounds = Bounds(chain, limits, len(positions)) if limits is not None and len(limits.bones) else None
    if bounds:
        state.angles = bounds.project(state.angles)
    closed, known = state.angles.clone(), []
    pull = torch.linalg.inv(habits.of(rig, chain.active, chain.reference.numpy())[0].spread(settings.lively, settings.anyway))
    frames = max(1, _CHUNK // max(1, 9 * len(chain.bones) * (len(chain.active) + 1)))
    for step in range(settings.iterations):
        beside, hurry = _neighbours(state.angles, torch.from_numpy(np.asarray(targets.times, np.float64)), settings)
        for start in range(0, len(positions), frames):
            part = slice(start, start + frames)
            given = positions[part], closed[part], beside[part], hurry[part]
            normal, change = _refine(chain, state, part, *given, pull, settings, bounds)
            if settings.noisy and step == settings.iterations - 1:
                known.append(surety(torch.linalg.inv(normal), change).float())
            if check:
                check((step + min(1.0, (start + frames) / len(positions))) / settings.iterations)
    if known:
        state.angles = steady(torch.from_numpy(np.asarray(targets.times, np.float64)), state.angles, torch.cat(known), None, settings.surge)
    if bounds:
        state.angles = bounds.project(state.angles)
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
    chain: Chain, state: _State, part: slice, positions: Tensor, closed: Tensor, beside: Tensor, hurry: Tensor, pull: Tensor, settings: IKSettings,
    bounds: Bounds | None,
) -> tuple[Tensor, Tensor]:
    """One damped Gauss-Newton step of the frames of a part, in place; its normal equations and how axis-angles change with turns, as `surety` takes them."""
    angles = state.angles[part]
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
    near = eye * (1 / settings.trust**2)
    still = eye * (1 / hurry**2)[:, None, None, None]
    lazy = settings.lazy / (settings.rest**2 + angles.square().sum(-1))[..., None, None] * eye * settings.noisy
    wish = -(lazy @ angles[..., None]) + near @ (closed - angles)[..., None] + still @ (beside - angles)[..., None]
    _add(normal, gradient, change.transpose(-1, -2) @ (lazy + near + still) @ change, (change.transpose(-1, -2) @ wish)[..., 0])
    _pull(normal, gradient, angles, change, pull)
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    diagonal += _DAMPING * diagonal + 1e-9
    normal, turn, move = _step(normal, gradient, angles, bounds, part)
    state.angles[part] = log_rotation(exp_rotation(turn) @ exp_rotation(angles))
    state.roots[part][:, chain.roots] += move
    return normal, change


def _add(normal: Tensor, gradient: Tensor, blocks: Tensor, push: Tensor) -> None:
    """A term of each bone alone, (T, A, 3, 3) and (T, A, 3), to the normal equations, in place."""
    active = blocks.shape[1]
    turning, index = normal[:, : 3 * active, : 3 * active].unflatten(2, (active, 3)).unflatten(1, (active, 3)), torch.arange(active)
    turning[:, index, :, index] += blocks.transpose(0, 1)
    gradient[:, : 3 * active] += push.flatten(1)


def _pull(normal: Tensor, gradient: Tensor, angles: Tensor, change: Tensor, firmness: Tensor) -> None:
    """What all bones' axis-angles (T, A, 3) are held by together, firmness (3A, 3A), to the normal equations, in place."""
    active, count = angles.shape[1], len(firmness)
    if not active:
        return
    held = torch.einsum("taki,akbl->taibl", change, firmness.unflatten(1, (active, 3)).unflatten(0, (active, 3)))
    normal[:, :count, :count] += torch.einsum("taibl,tblj->taibj", held, change).flatten(3).flatten(1, 2)
    gradient[:, :count] -= torch.einsum("taibl,tbl->tai", held, angles).flatten(1)


def _step(normal: Tensor, gradient: Tensor, angles: Tensor, bounds: Bounds | None, part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The normal equations with what limits add, turns (T, A, 3) and root moves (T, R, 3). Which limits hold is found by solving a few times."""
    active = angles.shape[1]
    about = bounds.linear(angles) if bounds else []
    full, wanted = normal, gradient
    for _ in range(_TRIALS if bounds else 1):
        if bounds:
            full, wanted = normal.clone(), gradient.clone()
            _add(full, wanted, *bounds.term(about, part, angles))
        step = torch.linalg.solve(full, wanted[..., None])[..., 0]
        turn = step[:, : 3 * active].unflatten(1, (active, 3))
        turn = turn / turn.norm(dim=-1, keepdim=True).clamp(min=1.0)  # a radian at most: farther off a linear step says nothing
        if bounds:
            bounds.hold(about, part, turn)
    return full, turn, step[:, 3 * active :].unflatten(1, ((step.shape[1] - 3 * active) // 3, 3))


def _jacobian(chain: Chain, rotations: Tensor, heads: Tensor, points: Tensor) -> Tensor:
    """(T, 3P, 3A + 3R) of points by turns of active bones in their carriers' axes, and by root heads."""
    riding = (chain.rides[:, None, :, None] * torch.eye(3, dtype=points.dtype)[:, None]).flatten(2).flatten(0, 1)
    slope = torch.eye(3, dtype=points.dtype).expand(*points.shape, 3)
    turning = swept(points, slope, levers(chain, rotations, heads)) * chain.moves[:, None, :, None]
    return torch.cat([turning.flatten(3).flatten(1, 2), riding.expand(len(points), -1, -1)], -1)
