"""How the bones of a rig usually turn: as a network tells of such bodies (model/motion_prior.py), and as the rig did in actions of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .axis_angles import log_rotation
from .bone_features import bones_at_rest
from .model.motion_prior import MotionPrior, usual_turns
from .moves import Moves, against_carriers
from .rig import Rig

_NEAR = 0.1  # radians (root mean square of the bones) from the reference at which actions count by 1 / e
_CROSS = 0.95  # of what actions tell of bones that turn together
_OWN = 4.0  # so many times wider, in variance, the rig may move than in its actions
_OWN_LEAST = (0.02, 0.006)  # radians besides: since the reference, and in a `FRAME`
_MOST_SHARE, _HALF = 0.95, 1.0  # how much actions are believed beside the network: most of all, and of how many half of that


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of A bones' axis-angles: covariances by the network, usual (A, 3, 3), and by the rig's actions, done (3A, 3A), of those bones
    that actions key, known (A,), with a share that these have in what is believed; least: radians that bones turn beyond their actions."""

    usual: Tensor
    done: Tensor
    known: Tensor
    share: float
    least: float

    def firmness(self, times: float, least: float) -> Tensor:
        """(3A, 3A) how firmly bones are held: the inverse of the covariance, in which the network's is taken to be so many times wider (in variance),
        and radians besides."""
        if not len(self.usual):  # then nothing turns
            return torch.zeros(0, 0, dtype=torch.float64)
        eye = torch.eye(3, dtype=self.usual.dtype)
        wide = torch.block_diag(*(times * (self.usual + least**2 * eye)))
        if self.share > 0:
            own = _OWN * (self.done + torch.block_diag(*(self.known.to(self.usual)[:, None, None] * self.least**2 * eye)))
            strange = (~self.known).repeat_interleave(3)
            own += wide * strange[:, None]  # of what no action keys the network alone speaks
            wide = (1 - self.share) * wide + self.share * own
        return torch.linalg.inv(wide)


@dataclass(frozen=True, eq=False)
class Habits:
    """A prior, which way is up for a rig, (3,) armature frame, and what the rig did in its actions, if there are any."""

    prior: MotionPrior
    up: np.ndarray
    moves: tuple[Moves, ...] = ()

    def of(self, rig: Rig, bones: np.ndarray, reference: np.ndarray) -> tuple[Told, Told]:
        """Of some bones (A,) of a rig, whose `reference` stands as (J, 3, 3): their turns against the carriers since then, and in a `FRAME`."""
        nothing = torch.zeros(0, 3, 3, dtype=torch.float64)
        usual = usual_turns(self.prior, bones_at_rest(rig, bones, self.up)) if len(bones) else (nothing, nothing)
        moves = [one for one in self.moves if one.keyed[bones].any()]
        share = _MOST_SHARE * len(moves) / (len(moves) + _HALF)
        known = torch.from_numpy(np.any([one.keyed[bones] for one in moves], axis=0) if moves else np.zeros(len(bones), bool))
        since, pace = _done(rig, bones, reference, moves)
        return Told(usual[0], since, known, share, _OWN_LEAST[0]), Told(usual[1], pace, known, share, _OWN_LEAST[1])


def _done(rig: Rig, bones: np.ndarray, reference: np.ndarray, moves: Sequence[Moves]) -> tuple[Tensor, Tensor]:
    """(3A, 3A) second moments of axis-angles in actions, those that come near the reference's pose first: since the reference, and in a `FRAME`."""
    since, pace = (torch.zeros(3 * len(bones), 3 * len(bones), dtype=torch.float64) for _ in range(2))
    stood = torch.from_numpy(against_carriers(rig, bones, reference[None]))
    total = 0.0
    for one in moves:
        before, after = (torch.from_numpy(against_carriers(rig, bones, rotations)) for rotations in (one.rotations, one.after))
        keyed = torch.from_numpy(one.keyed[bones]).to(before)[:, None]
        away = log_rotation(before @ stood.transpose(-1, -2)) * keyed
        off = away.square().sum((-1, -2)) / keyed.sum()
        weight = float(torch.exp(-off.min().sqrt() / _NEAR))
        since += weight * _moment(away)
        pace += weight * _moment(log_rotation(after @ before.transpose(-1, -2)) * keyed)
        total += weight
    return (since / total, pace / total) if total else (since, pace)


def _moment(turns: Tensor) -> Tensor:
    """(3A, 3A) second moment of turns (N, A, 3), bones with each other a little less than they were."""
    flat = turns.flatten(1)
    moment = flat.T @ flat / len(flat)
    own = torch.block_diag(*torch.ones(turns.shape[1], 3, 3, dtype=moment.dtype))
    return moment * (_CROSS + (1 - _CROSS) * own)
