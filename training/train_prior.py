"""Training of the motion prior: `python -m mocap_anything.training.train_prior --out RUN --baked DIR --minutes 15`; goes on where it stopped."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..backend.model.checkpoint import load_prior, save_prior
from ..backend.model.motion_prior import MotionPrior, PriorConfig
from . import launch
from .data.asset import Asset
from .data.shots import fixed_batches
from .data.stream import held_out_assets, training_assets
from .data.turns import PlainTurnStream, TurnBatch, TurnConfig, TurnStream
from .train import TrainConfig, Trainer

_FOLDS = 2


@dataclass(frozen=True)
class PriorTrainConfig(TrainConfig):
    """As the other models', with the prior's sizes and stream."""

    learning_rate: float = 1e-3
    validate_every: int = 500
    bf16: bool = False
    prior: PriorConfig = field(default_factory=PriorConfig)
    turns: TurnConfig = field(default_factory=TurnConfig)


def unlikely(found: Tensor, freedom: Tensor, turns: Tensor, bones: Tensor) -> Tensor:
    """(B, 2, S) negative logarithm of Student's likelihood of turns (B, 2, S, A, 3), a number of theirs, all bones of a moment together: in one all move
    more, in another less.

    found: (B, 2, A, 3, 3) scales. freedom: (2,). bones: (B, A) which exist.
    """
    exists = bones[:, None, None].double()
    half = torch.linalg.cholesky(found.double())
    off = torch.linalg.solve_triangular(half, turns.double().transpose(2, 3).transpose(-1, -2), upper=False).square().sum(-2).transpose(2, 3)
    size = 2 * (half.diagonal(dim1=-2, dim2=-1).log().sum(-1)[:, :, None] * exists).sum(-1)
    count, free = 3 * exists.sum(-1), freedom.double()[:, None]
    far = (off * exists).sum(-1)
    total = torch.lgamma(free / 2) - torch.lgamma((free + count) / 2) + count / 2 * (free * math.pi).log() + size / 2
    return ((total + (free + count) / 2 * torch.log1p(far / free)) / count).float()


class PriorTrainer(Trainer):
    """The trainer with another model, its stream, its loss and what is watched."""

    config: PriorTrainConfig

    def make_model(self) -> torch.nn.Module:
        return MotionPrior(self.config.prior)

    def stream(self) -> IterableDataset[Any]:
        return TurnStream(self.config.turns, self.assets, self.step, self.team.rank, self.team.size)

    def pictures(self) -> int:
        return self.config.turns.shots  # clips, which no picture belongs to

    def write_model(self, path: Path) -> None:
        save_prior(cast(MotionPrior, self.average), path, {"step": str(self.step)})

    def start_from(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        self.model.load_state_dict(load_prior(path).state_dict())
        self.average.load_state_dict(self.model.state_dict())

    def _terms(self, model: torch.nn.Module, batch: TurnBatch) -> dict[str, Tensor]:
        prior = cast(MotionPrior, model)
        since, pace = unlikely(prior(batch.features, batch.hop, batch.edge, batch.bones), prior.freedom, batch.turns, batch.bones).mean((0, 2))
        return {"since": since, "pace": pace}

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """How unlikely turns are, a number; every clip alike."""
        terms = self._terms(self.model, cast(TurnBatch, batch).to(self.device))
        return terms["since"] + terms["pace"], terms

    def measure(self, batch: Any) -> dict[str, float]:
        """The same."""
        return {name: float(value) for name, value in self._terms(self.average, cast(TurnBatch, batch).to(self.device)).items()}

    def picture(self, batch: Any) -> None:
        """It sees no pictures."""

    def score(self, mean: dict[str, float]) -> float:
        return mean["since"] + mean["pace"]


def fold_of(asset: Asset) -> int:
    """Of rigs with the same bones the same one."""
    return hashlib.sha256(" ".join(sorted(asset.rig.names)).encode()).digest()[0] % _FOLDS


def validation_sets(folder: Path, config: TurnConfig, without: int | None) -> dict[str, list[TurnBatch]]:
    """Fixed batches of rigs and clips that were never trained on; `left`: held-out clips of the fold that is left out, every rig's."""
    fixed = replace(config, seed=987_654, baked_share=1.0, shots=16)
    sets = fixed_batches(folder, PlainTurnStream, fixed)
    left = [a for a in held_out_assets(folder)["seen"] if fold_of(a) == without]
    if left:
        each = replace(fixed, shots=4)
        sets["left"] = [PlainTurnStream(each, [a]).batch(np.random.default_rng((fixed.seed, i)), []) for i, a in enumerate(left)]
    return sets


def main() -> None:
    parser = launch.parser(__doc__, TurnConfig.shots, f"{TurnConfig.turns} turns of each kind")
    parser.add_argument("--without", type=int, choices=range(_FOLDS), help="leave this fold of the rigs out, to measure a fit on them")
    args = parser.parse_args()
    config = PriorTrainConfig(turns=TurnConfig(seed=args.seed, shots=args.shots))
    assets = [a for a in training_assets(args.baked) if args.without is None or fold_of(a) != args.without]
    launch.start(args, config, PriorTrainer, assets, lambda: validation_sets(args.baked, config.turns, args.without), args.workers)


if __name__ == "__main__":
    main()
