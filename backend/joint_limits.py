"""Ranges that joints keep to, as Blender means them, for many bones and frames at once: projections onto them, and a term for inverse kinematics.

Blender limits a bone's rotation relative to rest and parent, in the bone's own axes, in two ways. Its IK solver takes it apart into a swing, about an
axis across the bone, and a twist along the bone, y: each is clamped, and where x and z are both limited the swing stays in an ellipse of the sines of
half angles. The constraint Limit Rotation clamps Euler angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axis_angles import exp_rotation, log_rotation
from .ik_chain import Chain

SWING, HELD = "SWING", "HELD"
_AXES = {"XYZ": (0, 1, 2, 1), "XZY": (0, 2, 1, -1), "YXZ": (1, 0, 2, -1), "YZX": (1, 2, 0, 1), "ZXY": (2, 0, 1, 1), "ZYX": (2, 1, 0, -1)}  # and parity
ORDERS = tuple(_AXES)
_TOLERANCE = 1e-3  # radians off a limit that holds, that weigh as much as an error of the expected size
_STEP = 1e-6  # radians, of numerical derivatives
_STEEPEST = 10.0  # of a parameter by an angle: more only where a swing is near half a turn
_TINY = 1e-9
_SIDES = torch.tensor([True, False, True])  # of swing and twist, the swing


@dataclass(frozen=True, eq=False)
class JointLimits:
    """K ranges, in the order in which a bone's are applied.

    bones: (K,) int; bones that their parents carry, or roots. kinds: K strings: SWING, HELD (stays as in the reference), or an Euler order as in ORDERS.
    lower, upper: (K, 3) radians about the bone's own x, y, z, relative to rest and parent; infinite where free.
    """

    bones: np.ndarray
    kinds: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.bones)
        if len(self.kinds) != count or self.lower.shape != (count, 3) or self.upper.shape != (count, 3):
            raise ValueError("joint limits must agree in number")
        if unknown := set(self.kinds) - {SWING, HELD, *ORDERS}:
            raise ValueError(f"unknown kinds of joint limits: {sorted(unknown)}")


@dataclass(frozen=True, eq=False)
class _Group:
    """Limits of one kind that are applied together, each of another bone.

    rows: (K,) of the active bones. frames (K, 3, 3): a bone's rest rotation in its carrier's axes. local: (K, 3, 3) the same in the reference's pose.
    """

    kind: str
    rows: Tensor
    frames: Tensor
    local: Tensor
    lower: Tensor
    upper: Tensor

    def rotations(self, turns: Tensor) -> Tensor:
        """(T, K, 3, 3) relative to rest and parent, of turns (T, K, 3, 3) against the carriers."""
        return self.frames.transpose(-1, -2) @ turns @ self.local

    def turns(self, rotations: Tensor) -> Tensor:
        """The inverse of `rotations`."""
        return self.frames @ rotations @ self.local.transpose(-1, -2)

    def values(self, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is limited (T, K, 3), and its least and greatest values. Of an ellipse the first is how far out the swing is, and the third is free."""
        if self.kind != SWING:
            middle = torch.where(self._bounded, (self.lower + self.upper) / 2, 0.0)
            half = torch.where(self._bounded, ((self.upper - self.lower) / 2).clamp(min=0.0), torch.inf)
            middle = torch.where(self.upper < self.lower, self.lower, middle)
            return _wrapped(euler_angles(rotations, self.kind) - middle), -half, half
        found = swing_twist(rotations)
        level, round_, width = _ellipse(found, self.lower, self.upper)
        rim, out = round_[..., None] & _SIDES, torch.stack([level * width, level * 0, level * 0], -1)
        rims = torch.stack([width, width + torch.inf, width + torch.inf], -1)
        return torch.where(rim, out, found), torch.where(rim, -torch.inf, self.lower), torch.where(rim, rims, self.upper)

    @property
    def _bounded(self) -> Tensor:
        """(K, 3) Euler ranges that are less than a full turn."""
        return self.upper - self.lower < 2 * torch.pi

    def inside(self, rotations: Tensor) -> Tensor:
        """(T, K) bool."""
        value, low, high = self.values(rotations)
        return ((value >= low - _TINY) & (value <= high + _TINY)).all(-1)

    def projected(self, rotations: Tensor) -> Tensor:
        """(T, K, 3, 3) what Blender makes of them."""
        if self.kind != SWING:
            return from_euler(clamp_euler(euler_angles(rotations, self.kind), self.lower, self.upper), self.kind)
        found = swing_twist(rotations)
        level, round_, _ = _ellipse(found, self.lower, self.upper)
        inner = torch.where(_SIDES, found / level.clamp(min=1.0)[..., None], found.clamp(self.lower, self.upper))
        return from_swing_twist(torch.where(round_[..., None], inner, found.clamp(self.lower, self.upper)))


@dataclass(frozen=True, eq=False)
class Linear:
    """A group's values (T, K, 3) about some pose, how they change by turns in the carriers' axes (T, K, 3, 3), and their least and greatest."""

    value: Tensor
    jacobian: Tensor
    low: Tensor
    high: Tensor

    def after(self, turns: Tensor) -> Tensor:
        """(T, K, 3) after turns (T, K, 3)."""
        return self.value + (self.jacobian @ turns[..., None])[..., 0]


class Bounds:
    """Limits of the active bones of a chain, and which of them hold in each of so many frames: an active set.

    Raises ValueError where something else than its parent carries a bone.
    """

    def __init__(self, chain: Chain, limits: JointLimits, frames: int) -> None:
        rig = chain.rig
        if wrong := [rig.names[bone] for bone in limits.bones if rig.carriers[bone] != rig.parents[bone]]:
            raise ValueError(f"limits are relative to the parent, which does not carry {wrong}")
        place = {int(bone): row for row, bone in enumerate(chain.active)}
        waiting: dict[tuple[int, str], list[int]] = {}
        turn: dict[int, int] = {}
        for k, (bone, kind) in enumerate(zip(limits.bones.tolist(), limits.kinds, strict=True)):
            if bone in place:
                waiting.setdefault((turn.setdefault(bone, 0), kind), []).append(k)
                turn[bone] += 1
        self.groups = [_group(chain, limits, place, kind, rows) for (_, kind), rows in sorted(waiting.items(), key=lambda item: item[0][0])]
        self.held = [torch.zeros(frames, len(group.rows), 3, dtype=torch.float64) for group in self.groups]

    def project(self, angles: Tensor) -> Tensor:
        """Axis-angles (T, A, 3) of the active bones' turns, each brought to the nearest that Blender would let stand."""
        angles = angles.clone()
        for group in self.groups:
            rotations = group.rotations(exp_rotation(angles[:, group.rows]))
            inside = group.inside(rotations)[..., None]
            angles[:, group.rows] = torch.where(inside, angles[:, group.rows], log_rotation(group.turns(group.projected(rotations))))
        return angles

    def linear(self, angles: Tensor) -> list[Linear]:
        """Each group about axis-angles (T, A, 3)."""
        out = []
        steps = exp_rotation(_STEP * torch.eye(3, dtype=angles.dtype))
        for group in self.groups:
            rotations = group.rotations(exp_rotation(angles[:, group.rows]))
            ahead, behind = (torch.stack([group.values(step @ rotations)[0] for step in some], -1) for some in (steps, steps.transpose(-1, -2)))
            slope = (_wrapped(ahead - behind) / (2 * _STEP)).clamp(-_STEEPEST, _STEEPEST)
            value, low, high = group.values(rotations)
            out.append(Linear(value, slope @ group.frames.transpose(-1, -2), low.expand_as(value), high.expand_as(value)))
        return out

    def term(self, about: list[Linear], part: slice, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Normal equations (T, A, 3, 3) and gradient (T, A, 3) that put what holds in a part's frames onto its limits; turns is read for its shape."""
        normal, gradient = turns.new_zeros(*turns.shape, 3), torch.zeros_like(turns)
        for group, here, held in zip(self.groups, about, self.held, strict=True):
            side = held[part]
            beyond = torch.where(side > 0, here.value - here.high, torch.where(side < 0, here.value - here.low, 0.0))
            slope = here.jacobian * (side != 0)[..., None] / _TOLERANCE
            normal[:, group.rows] += slope.transpose(-1, -2) @ slope
            gradient[:, group.rows] -= (slope.transpose(-1, -2) @ beyond[..., None])[..., 0] / _TOLERANCE
        return normal, gradient

    def hold(self, about: list[Linear], part: slice, turns: Tensor) -> None:
        """From now on hold what turns (T, A, 3) would lead beyond its limit, and let go of what they pull off it."""
        for group, here, held in zip(self.groups, about, self.held, strict=True):
            after = here.after(turns[:, group.rows])
            side = (after > here.high).double() - (after < here.low).double()
            held[part] = torch.where(here.high - here.low < _TINY, 1.0, side)


def _group(chain: Chain, limits: JointLimits, place: dict[int, int], kind: str, chosen: list[int]) -> _Group:
    rig, bones = chain.rig, limits.bones[chosen]
    above = np.where((rig.parents[bones] >= 0)[:, None, None], rig.rest[rig.parents[bones], :3, :3], np.eye(3))
    frames, local = torch.from_numpy(np.swapaxes(above, -1, -2) @ rig.rest[bones, :3, :3]), chain.local[bones]
    lower, upper = (torch.from_numpy(np.asarray(bound[chosen], np.float64)) for bound in (limits.lower, limits.upper))
    if kind == HELD:
        lower = upper = swing_twist(frames.transpose(-1, -2) @ local)
    elif kind == SWING:
        lower, upper = _half_sines(lower), _half_sines(upper)
    return _Group(SWING if kind == HELD else kind, torch.tensor([place[int(bone)] for bone in bones]), frames, local, lower, upper)


def _wrapped(angle: Tensor) -> Tensor:
    return torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi


def _half_sines(bound: Tensor) -> Tensor:
    """Limits of x and z as `swing_twist` has them; where free, farther than any."""
    sines = torch.where(bound.isfinite(), 2 * torch.sin(bound.clamp(-torch.pi, torch.pi) / 2), bound)
    return torch.where(_SIDES, sines, bound)


def _ellipse(found: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far out a swing is, 1 on the rim; whether there is an ellipse on that side; and the mean of its half axes. Each (T, K)."""
    reach = torch.where(found < 0, -lower, upper)[..., ::2]
    round_ = (lower.isfinite() & upper.isfinite())[..., ::2].all(-1) & (reach > _TINY).all(-1)
    return (found[..., ::2] / torch.where(round_[..., None], reach, 1.0)).norm(dim=-1), round_, torch.where(round_[..., None], reach, 1.0).prod(-1).sqrt()


def swing_twist(rotations: Tensor) -> Tensor:
    """(…, 3) of rotations (…, 3, 3) = swing · twist: twice the sines of half the swing about x and z, and between them the twist about y, radians."""
    wide = torch.sqrt((2 * (1 + rotations[..., 1, 1])).clamp(min=_TINY))
    trace = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)
    twist = 2 * torch.atan2(rotations[..., 0, 2] - rotations[..., 2, 0], 1 + trace)
    return torch.stack([2 * rotations[..., 2, 1] / wide, twist, -2 * rotations[..., 0, 1] / wide], -1)


def from_swing_twist(parameters: Tensor) -> Tensor:
    """The inverse of `swing_twist`."""
    across = parameters * _SIDES / 2
    sine = across.norm(dim=-1, keepdim=True).clamp(max=1.0)
    swing = exp_rotation(across / sine.clamp(min=1e-15) * 2 * torch.asin(sine))
    return swing @ exp_rotation(parameters * ~_SIDES)


def euler_angles(rotations: Tensor, order: str) -> Tensor:
    """(…, 3) about x, y, z of rotations (…, 3, 3): of the two ways the one that Blender takes, which turns less in sum."""
    i, j, k, parity = _AXES[order]
    m = rotations.transpose(-1, -2)  # as Blender counts: column, row
    level = torch.hypot(m[..., i, i], m[..., i, j])
    free = level > 2e-6
    some = torch.zeros_like(m[..., 0])
    some[..., i] = torch.where(free, torch.atan2(m[..., j, k], m[..., k, k]), torch.atan2(-m[..., k, j], m[..., j, j]))
    some[..., j] = torch.atan2(-m[..., i, k], level)
    some[..., k] = torch.where(free, torch.atan2(m[..., i, j], m[..., i, i]), 0.0)
    other = torch.zeros_like(some)
    other[..., i] = torch.atan2(-m[..., j, k], -m[..., k, k])
    other[..., j] = torch.atan2(-m[..., i, k], -level)
    other[..., k] = torch.atan2(-m[..., i, j], -m[..., i, i])
    shorter = ~free | (some.abs().sum(-1) <= other.abs().sum(-1))
    return parity * torch.where(shorter[..., None], some, other)


def from_euler(angles: Tensor, order: str) -> Tensor:
    """(…, 3, 3) of angles (…, 3) about x, y, z; the order's first letter turns first."""
    first, second, third = (exp_rotation(angles * torch.eye(3, dtype=angles.dtype)[axis]) for axis in _AXES[order][:3])
    return third @ second @ first


def clamp_euler(angles: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """As the constraint clamps: to the nearer end, the short way round; a range of a full turn lets all stand, an empty one sets its lower end."""
    low, high = (_wrapped(bound.nan_to_num(posinf=0.0, neginf=0.0) - angles) for bound in (lower, upper))
    through = low >= high  # the range goes through the half turn
    inside = torch.where(through, (high >= 0) | (low <= 0), (low <= 0) & (high >= 0))
    change = torch.where(inside, 0.0, torch.where(high.abs() < low.abs(), high, low))
    free = ~(upper - lower < 2 * torch.pi)
    return torch.where(free, angles, torch.where(upper <= lower, lower.nan_to_num(posinf=0.0, neginf=0.0), angles + change))
