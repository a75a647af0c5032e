"""Training of the follower: `python -m mocap_anything.training.train_follower --out RUN --baked DIR --minutes 60`; goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from . import launch
from .data.pairs import PairBatch, PairConfig, PairStream
from .data.shots import fixed_batches
from .follower import Follower, FollowerConfig, covariance, load_follower, save_follower, unlikely
from .misses import missed_cell, misses
from .train import TrainConfig, Trainer

_FAST = 0.02  # of the picture
_PART, _LEAST = 0.3, 0.002  # a picture's misses are told in this part of its mean motion, and so much of the picture


@dataclass(frozen=True)
class FollowerTrainConfig(TrainConfig):
    """As the other models', with the follower's sizes and stream.

    first_weight: of the first look's misses. cell_weight: of what features alone tell, which teaches the eye. sure_weight: of how likely the truth is
    under what was said.
    """

    learning_rate: float = 6e-4
    first_weight: float = 0.5
    cell_weight: float = 0.25
    sure_weight: float = 0.1
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    pairs: PairConfig = field(default_factory=PairConfig)


class FollowerTrainer(Trainer):
    """The trainer with another model, its stream, its loss and what is watched."""

    config: FollowerTrainConfig

    def make_model(self) -> torch.nn.Module:
        return Follower(self.config.follower)

    def stream(self) -> IterableDataset[Any]:
        return PairStream(self.config.pairs, self.assets, self.step, self.team.rank, self.team.size)

    def pictures(self) -> int:
        return self.config.pairs.shots * self.config.pairs.pairs

    def write_model(self, path: Path) -> None:
        save_follower(cast(Follower, self.average), path, {"step": str(self.step)})

    def start_from(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        self.model.load_state_dict(load_follower(path).state_dict())
        self.average.load_state_dict(self.model.state_dict())

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Misses of both looks in parts of each picture's motion, missed cells, and how unlikely the truth is under what was said; every picture alike."""
        found = cast(PairBatch, batch).to(self.device)
        with self.autocast():
            answer, windows, first = self.model(found.before, found.after, found.start)
        known = found.known / found.known.sum((1, 2), keepdim=True).clamp(min=1) / len(answer)
        usual = (found.flow.norm(dim=1) * known).sum((1, 2), keepdim=True) * len(answer)
        weight = known / (_PART * usual + _LEAST)  # what moves little counts by as much of its motion
        miss, looked = misses(answer[:, :2], found.flow), misses(F.interpolate(first, scale_factor=2, mode="bilinear", align_corners=False), found.flow)
        # how sure it is learns from what it is sure of, and not the other way round: what is nearly still and known would outweigh all that moves
        said = torch.cat([answer[:, :2].detach(), answer[:, 2:]], 1)
        surely = (unlikely(said, found.flow) * known).sum()
        cells = [missed_cell(logits, found.flow, found.known, about) for logits, about in windows]
        far, early = (miss * weight).sum(), (looked * weight).sum()
        loss = far + self.config.first_weight * early + self.config.cell_weight * sum(cells) + self.config.sure_weight * surely
        terms = {"miss": (miss * known).sum(), "part": far, "first": early, "likelihood": surely}
        return loss, terms | dict(zip(("near", "wide", "nearer"), cells, strict=True))

    def measure(self, batch: Any) -> dict[str, float]:
        """Misses as shares of the picture, beside the search's and holding still; of what moves fast; and how well it is known how sure they are."""
        found = cast(PairBatch, batch).to(self.device)
        answer, _, _ = self.average(found.before, found.after, found.start)
        known, moved = found.known, found.flow.norm(dim=1)
        start = F.interpolate(found.start, scale_factor=2, mode="bilinear", align_corners=False)
        row: dict[str, float] = {}
        every = {"miss": misses(answer[:, :2].float(), found.flow), "search": misses(start, found.flow), "hold": moved}
        fast = known & (moved > _FAST)
        for name, miss in every.items():
            row[name] = float(miss[known].mean())
            row[f"fast_{name}"] = float(miss[fast].mean()) if fast.any() else row[name]
        variance = covariance(answer)[:, [0, 2]].sum(1)
        row["likelihood"] = float(unlikely(answer, found.flow)[known].mean())
        row["expected"] = float((every["miss"].square() / variance)[known].mean())  # one where the covariance is right
        return row

    def picture(self, batch: Any) -> None:
        """It sees no points."""

    def score(self, mean: dict[str, float]) -> float:
        return mean.get("likelihood", float("inf"))


def validation_sets(folder: Path, config: PairConfig) -> dict[str, list[PairBatch]]:
    """Fixed batches of rigs and clips that were never trained on."""
    return fixed_batches(folder, PairStream, replace(config, seed=987_654, baked_share=1.0, pairs=2, shots=8))


def main() -> None:
    args = launch.parser(__doc__, PairConfig.shots, f"{PairConfig.frames} frames in {PairConfig.pairs} pairs").parse_args()
    config = FollowerTrainConfig(pairs=PairConfig(seed=args.seed, shots=args.shots))
    launch.launch(args, config, FollowerTrainer, lambda folder: validation_sets(folder, config.pairs))


if __name__ == "__main__":
    main()
