"""Training of the denoiser: `python -m mocap_anything.training.train_denoiser --out RUN --fits DIR --validation DIR --minutes 30`; goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..backend.axis_angles import exp_rotation
from ..backend.model.rotations import geodesic
from . import launch
from .data.fitted import FittedBatch, FittedStream, all_batches
from .denoiser import Denoiser, DenoiserConfig, Fits, load_denoiser, places, save_denoiser, whole_turns
from .losses import chord
from .train import TrainConfig, Trainer

_MOVING = 0.0175  # radians that a bone must range over to count, as in the metric


@dataclass(frozen=True)
class DenoiserTrainConfig(TrainConfig):
    """As the other models'. batch: fits a step. place_weight: of heads' errors, in sizes; whole_weight: of turns since the reference; still_weight: of bones
    that do not move."""

    learning_rate: float = 1e-3
    validate_every: int = 250
    batch: int = 8
    place_weight: float = 4.0
    whole_weight: float = 0.3
    still_weight: float = 0.1
    fits: str = ""
    seed: int = 0
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)


def moving(true: Tensor, x: Fits) -> Tensor:
    """(B, A) bones whose true turn ranges over a degree."""
    turned = exp_rotation(true)
    first = (x.times.abs() + 1e3 * ~x.frames).argmin(1)  # the reference's frame
    held = turned[torch.arange(len(first)), first][:, None]
    return ((geodesic(turned, held) * x.frames[..., None]).amax(1) > _MOVING) & x.bones


def clip_mean(values: Tensor, weight: Tensor, x: Fits) -> Tensor:
    """Mean over clips of each clip's mean of values (B, T, A) by weight (B, A)."""
    full = weight[:, None] * x.frames[..., None]
    return ((values * full).sum((1, 2)) / full.sum((1, 2)).clamp_min(1e-6)).mean()


class DenoiserTrainer(Trainer):
    """The trainer with another model, its stream, its loss and what is watched."""

    config: DenoiserTrainConfig

    def make_model(self) -> torch.nn.Module:
        return Denoiser(self.config.denoiser)

    def stream(self) -> IterableDataset[Any]:
        return FittedStream(Path(self.config.fits), self.config.batch, self.config.seed, self.step, self.team.rank, self.team.size)

    def pictures(self) -> int:
        return self.config.batch  # clips, which no picture belongs to

    def write_model(self, path: Path) -> None:
        save_denoiser(cast(Denoiser, self.average), path, {"step": str(self.step)})

    def start_from(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        self.model.load_state_dict(load_denoiser(path).state_dict())
        self.average.load_state_dict(self.model.state_dict())

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Errors against the carriers, since the reference, and of heads; every clip alike."""
        found = cast(FittedBatch, batch).to(self.device)
        x, true, config = found.fits, found.true, self.config
        with self.autocast():
            turn = self.model(x)
        weight = torch.where(moving(true, x), 1.0, config.still_weight) * x.bones
        whole, truly = whole_turns(turn, x.above), whole_turns(true, x.above)
        off = (places(whole, x) - places(truly, x)).square().sum(-1).add(1e-8).sqrt()
        terms = {
            "local": clip_mean(chord(exp_rotation(turn), exp_rotation(true)), weight, x), "whole": clip_mean(chord(whole, truly), weight, x),
            "place": clip_mean(off, x.bones.float(), x),
        }
        return terms["local"] + config.whole_weight * terms["whole"] + config.place_weight * terms["place"], terms

    def measure(self, batch: Any) -> dict[str, float]:
        """Degrees of moving bones against their carriers and heads in per cent of the size: denoised, as fitted, and held."""
        found = cast(FittedBatch, batch).to(self.device)
        x, true = found.fits, found.true
        counted, truly = moving(true, x).float(), places(whole_turns(true, x.above), x)
        row: dict[str, float] = {}
        for name, turn in {"": self.average(x), "fit_": x.turn, "hold_": torch.zeros_like(true)}.items():
            row[f"{name}degrees"] = float(torch.rad2deg(clip_mean(geodesic(exp_rotation(turn), exp_rotation(true)), counted, x)))
            row[f"{name}joints"] = 100 * float(clip_mean((places(whole_turns(turn, x.above), x) - truly).norm(dim=-1), x.bones.float(), x))
        return row

    def picture(self, batch: Any) -> None:
        """It sees no pictures."""

    def score(self, mean: dict[str, float]) -> float:
        return mean["degrees"] + mean["joints"]


def main() -> None:
    parser = launch.common(__doc__)
    parser.add_argument("--fits", type=Path, required=True, help="folder that training.data.fits wrote")
    parser.add_argument("--validation", type=Path, help="another one, of clips that are held out")
    args = parser.parse_args()
    config = DenoiserTrainConfig(fits=str(args.fits), seed=args.seed)
    launch.start(args, config, DenoiserTrainer, [], lambda: {"seen": all_batches(args.validation)} if args.validation else {}, workers=0)


if __name__ == "__main__":
    main()
