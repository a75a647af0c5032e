"""Training of the refiner: `python -m mocap_anything.training.train_refiner --out RUN --baked DIR --minutes 60`; goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..backend.drawn import PAINTS
from ..backend.model.checkpoint import REFINER, load_weights, save_model
from ..backend.model.refiner import Refiner, RefinerConfig
from . import launch
from .data.guesses import GuessBatch, GuessConfig, GuessStream
from .data.shots import fixed_batches
from .misses import missed_cell, misses
from .train import TrainConfig, Trainer

_NEAR = (0.01, 0.02, 0.05)  # shares of the crop


@dataclass(frozen=True)
class RefinerTrainConfig(TrainConfig):
    """As the other models', with the refiner's sizes and stream. cell_weight: of what colours alone tell, which teaches the eye.

    far_weight: of the plain miss. By likelihood alone what is far off counts little, since it is rightly called unsure, and was never learned.
    """

    learning_rate: float = 6e-4
    cell_weight: float = 0.25
    far_weight: float = 30.0
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    guesses: GuessConfig = field(default_factory=GuessConfig)


class RefinerTrainer(Trainer):
    """The trainer with another model, its stream, its loss and what is watched."""

    config: RefinerTrainConfig

    def make_model(self) -> torch.nn.Module:
        return Refiner(self.config.refiner)

    def stream(self) -> IterableDataset[Any]:
        return GuessStream(self.config.guesses, self.assets, self.step, self.team.rank, self.team.size)

    def pictures(self) -> int:
        guesses = self.config.guesses
        return guesses.shots * guesses.frames * guesses.guesses

    def write_model(self, path: Path) -> None:
        save_model(cast(Refiner, self.average), path, {"step": str(self.step)}, half=True)

    def start_from(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        self.model.load_state_dict(load_weights(path, REFINER))
        self.average.load_state_dict(self.model.state_dict())

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """How unlikely the truth is under a Laplace distribution of the plane about the flow, of the scale that was said."""
        found = cast(GuessBatch, batch).to(self.device)
        with self.autocast():
            flow, log_scale, (near, wide) = self.model(found.drawn, found.frame)
        miss = misses(flow, found.flow)
        known = found.known / found.known.sum((1, 2), keepdim=True).clamp(min=1) / len(flow)  # every picture alike, however large its rig
        likelihood = ((miss * (torch.exp(-log_scale) + self.config.far_weight) + 2 * log_scale) * known).sum()
        terms = {"miss": (miss * known).sum()}
        for name, windows, step in (("near", near, 2), ("wide", wide, 4)):
            painted = [found.drawn[:, 3 * PAINTS + k, :: 2 * step, :: 2 * step] > 0 for k in range(PAINTS)]
            parts = [missed_cell(w, found.flow[..., ::step, ::step], found.known[:, ::step, ::step] & p) for w, p in zip(windows, painted, strict=True)]
            terms |= {f"{name}{k}": part for k, part in enumerate(parts)}
            likelihood = likelihood + self.config.cell_weight * sum(parts)
        return likelihood, terms

    def measure(self, batch: Any) -> dict[str, float]:
        """Misses as shares of the crop, and how many are near; of what the refiner calls sure, too; beside holding the guess."""
        found = cast(GuessBatch, batch).to(self.device)
        flow, log_scale, _ = self.average(found.drawn, found.frame)
        miss, stays = misses(flow, found.flow)[found.known], found.flow.norm(dim=1)[found.known]
        sure = miss[log_scale[found.known] <= log_scale[found.known].median()]
        row = {"miss": float(miss.mean()), "median": float(miss.median()), "sure": float(sure.mean()), "hold": float(stays.mean())}
        near = {f"near{round(100 * d):02d}": float((miss < d).float().mean()) for d in _NEAR}
        return row | near | {f"hold{round(100 * d):02d}": float((stays < d).float().mean()) for d in _NEAR}

    def picture(self, batch: Any) -> None:
        """It sees no points."""

    def score(self, mean: dict[str, float]) -> float:
        return mean.get("miss", float("inf"))


def validation_sets(folder: Path, config: GuessConfig) -> dict[str, list[GuessBatch]]:
    """Fixed batches of rigs and clips that were never trained on."""
    return fixed_batches(folder, GuessStream, replace(config, seed=987_654, baked_share=1.0, misfit=0.0, frames=3, guesses=1, shots=8))


def main() -> None:
    args = launch.parser(__doc__, GuessConfig.shots, f"{GuessConfig.frames} frames with {GuessConfig.guesses} guesses").parse_args()
    config = RefinerTrainConfig(guesses=GuessConfig(seed=args.seed, shots=args.shots))
    launch.launch(args, config, RefinerTrainer, lambda folder: validation_sets(folder, config.guesses))


if __name__ == "__main__":
    main()
