"""How the bones of a rig usually turn: as a network tells of such bodies (model/motion_prior.py), as bodies like it move (library.py), and as the rig did
in actions of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axis_angles import cross_matrix, exp_rotation, log_rotation
from .bone_features import bones_at_rest
from .model.motion_prior import MotionPrior, usual_turns
from .moves import Moves, against_carriers
from .rig import Rig

_BESIDE = 0.15  # radians (root mean square of the bones) from the reference at which actions count by 1 / e
_NEAR = 0.3  # radians from what is expected within which an action's poses say how it stands
_CROSS = 0.85  # of what actions tell of bones that turn together
_WIDER = 4.0  # so many times, in variance, the rig may move more than in its actions
_LEAST = (0.03, 0.009)  # radians besides: since the reference, and in a `FRAME`
_MOST, _HALF = 0.97, 1.0  # how much actions are believed beside the network: most of all, and of how many half of that
_OTHERS = 1.0  # so many of the rig's own actions count as much as all that other bodies do
_NEAREST = 256  # poses of actions that are asked for one frame


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of A bones' axis-angles: covariances by the network, usual (A, 3, 3), and what the rig's actions did, turns (N, 3A) with weights (N,),
    of those bones that they key, known (A,), with a share that these have in what is believed; least: radians that bones turn beyond their actions."""

    usual: Tensor
    turns: Tensor
    weights: Tensor
    known: Tensor
    share: float
    least: float

    def spread(self, times: float, least: float) -> Tensor:
        """(3A, 3A) covariance of the turns, in which the network's is taken to be so many times wider (in variance), and radians besides."""
        if not len(self.usual):  # then nothing turns
            return torch.zeros(0, 0, dtype=torch.float64)
        wide = torch.block_diag(*(times * (self.usual + least**2 * torch.eye(3, dtype=self.usual.dtype))))
        if self.share == 0:
            return wide
        strange = (~self.known).repeat_interleave(3)  # of what no action keys the network alone speaks
        return (1 - self.share) * wide + self.share * (self._own(self.turns, self.weights) + wide * strange[:, None])

    def near(self, expected: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (3A,) and covariance (3A, 3A) of the turns where (3A,) are expected: as in those poses of actions that are near, else as `spread` says."""
        if self.share == 0:
            return torch.zeros_like(expected), spread
        far = (self.turns - expected * self.known.repeat_interleave(3)).square().sum(1) / self.known.sum()
        likely, index = (self.weights.log() - far / (2 * _NEAR**2)).topk(min(_NEAREST, len(far)))
        weights, turns = torch.softmax(likely, 0), self.turns[index]
        mean = weights @ turns
        strange = (~self.known).repeat_interleave(3)
        own = self._own(turns - mean, weights) + spread * strange[:, None] * strange
        between = self.share * (1 - self.share) * mean[:, None] * mean  # the mean of both is between theirs
        return self.share * mean, (1 - self.share) * spread + self.share * own + between

    def _own(self, turns: Tensor, weights: Tensor) -> Tensor:
        """(3A, 3A) what turns (N, 3A) with weights (N,) tell: bones with each other a little less than they were, and all a little wider."""
        moment = (turns * weights[:, None]).T @ turns
        alone = torch.kron(torch.eye(len(self.known), dtype=moment.dtype), torch.ones(3, 3, dtype=moment.dtype))
        slack = torch.diag(self.known.repeat_interleave(3) * self.least**2)
        return _WIDER * (moment * (_CROSS + (1 - _CROSS) * alone) + slack)


@dataclass(frozen=True, eq=False)
class Habits:
    """A prior, which way is up for a rig, (3,) armature frame, and what the rig did in its actions, and bodies like it in theirs, if there are any."""

    prior: MotionPrior
    up: np.ndarray
    moves: tuple[Moves, ...] = ()

    @property
    def moves_like(self) -> list[str]:
        """Names of the bodies like it, the most alike first."""
        return list(dict.fromkeys(one.body for one in self.moves if one.body))

    def of(self, rig: Rig, bones: np.ndarray, reference: np.ndarray) -> tuple[Told, Told]:
        """Of some bones (A,) of a rig, whose `reference` stands as (J, 3, 3): their turns against the carriers since then, and in a `FRAME`."""
        nothing = torch.zeros(0, 3, 3, dtype=torch.float64)
        usual = usual_turns(self.prior, bones_at_rest(rig, bones, self.up)) if len(bones) else (nothing, nothing)
        moves = [one for one in self.moves if one.keyed[bones].any()]
        known = torch.from_numpy(np.any([one.keyed[bones] for one in moves], axis=0) if moves else np.zeros(len(bones), bool))
        carried = torch.from_numpy(rig.carriers[bones] >= 0)  # actions are often in place: how fast the whole turns they do not tell
        up = torch.from_numpy(np.asarray(self.up, np.float64))
        share = _MOST * len(moves) / (len(moves) + _HALF)
        since, pace, weights = _all_done(rig, bones, reference, moves, up / up.norm())
        pace = pace * carried.repeat_interleave(3)
        return Told(usual[0], since, weights, known, share, _LEAST[0]), Told(usual[1], pace, weights, known & carried, share, _LEAST[1])


def _all_done(rig: Rig, bones: np.ndarray, reference: np.ndarray, moves: Sequence[Moves], up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `_done`, of the rig's own actions and of other bodies': the more it has of its own, the less count the others."""
    own, others = ([one for one in moves if bool(one.body) == carried] for carried in (False, True))
    share = len(own) / (len(own) + _OTHERS) if others else 1.0
    first, second = (_done(rig, bones, reference, group, up) for group in (own, others))
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]), torch.cat([share * first[2], (1 - share) * second[2]])


def _done(rig: Rig, bones: np.ndarray, reference: np.ndarray, moves: Sequence[Moves], up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3A) axis-angles in actions, since the reference and in a `FRAME`, and (N,) weights of one in all: actions that come near the reference first."""
    stood = torch.from_numpy(against_carriers(rig, bones, reference[None]))
    roots = torch.from_numpy(rig.carriers[bones] < 0)
    nothing = torch.zeros(0, 3 * len(bones), dtype=torch.float64)
    found = [(nothing, nothing, torch.zeros(0, dtype=torch.float64))]
    for one in moves:
        both = torch.from_numpy(np.stack([against_carriers(rig, bones, rotations) for rotations in (one.rotations, one.after)]))
        known = torch.from_numpy(one.keyed[bones])
        if (told := roots & known).any():  # which way it went there does not matter
            both[:, :, told] = _heading(stood[:, told], both[0][:, told], up) @ both[:, :, told]
        before, after = both
        keyed = known.to(before)[:, None]
        away = log_rotation(before @ stood.transpose(-1, -2)) * keyed
        nearest = (away.square().sum((-1, -2)) / keyed.sum()).min().sqrt()
        gone = log_rotation(after @ before.transpose(-1, -2)) * keyed
        found.append((away.flatten(1), gone.flatten(1), (torch.exp(-nearest / _BESIDE) / len(away)).expand(len(away))))
    since, pace, weights = (torch.cat(column) for column in zip(*found, strict=True))
    return since, pace, weights / weights.sum()


def _heading(stood: Tensor, rotations: Tensor, up: Tensor) -> Tensor:
    """(3, 3) the turn about `up` (3,) that lays rotations (N, R, 3, 3) best on those that stood, (1, R, 3, 3), in the mean of the squares."""
    apart = (rotations @ stood.transpose(-1, -2)).sum((0, 1))
    along = up @ apart @ up
    angle = torch.atan2((cross_matrix(up) @ apart).trace(), apart.trace() - along)
    return exp_rotation(up * angle)
