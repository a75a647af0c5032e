"""The trainer: `python -m mocap_anything.training.train --out RUN --baked DIR --minutes 60`; stops cleanly and goes on where it stopped."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, IterableDataset

from ..backend.model.batch import ModelInput
from ..backend.model.checkpoint import save_model
from ..backend.model.config import ModelConfig
from ..backend.model.network import Video2Pose2Rot
from .data.asset import Asset
from .data.sample import SampleConfig, Truth
from .data.stream import Batch, SampleStream, StreamConfig, training_assets, validation_sets
from .distributed import Team
from .journal import Journal, overlay
from .losses import LossWeights, clip_losses, match_terms, position_terms, rotation_terms, weigh
from .noise import noisy_positions, noisy_tracks
from .studio.studio import Studio
from .watch import clip_metrics, motion_metrics

log = logging.getLogger(__name__)

MOTION_PARTS = ("video2pose.lift.", "pose2rot.")  # what stage motion trains; stage match trains all the rest


@dataclass(frozen=True)
class TrainConfig:
    """One stage of a training: `match` on few frames a clip, `motion` without pictures, `joint` both and everything, `finetune` the same at a third of the
    rate and nearly all on the open zoo.

    true_share: clips whose true positions with noise replace the predicted ones in pose2rot, which stage motion has already taught.
    """

    stage: Literal["match", "motion", "joint", "finetune"] = "joint"
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    warmup: int = 60
    clip_gradient: float = 1.0
    ema: float = 0.998
    motion_weight: float = 0.5
    true_share: float = 0.1
    bf16: bool = True
    validate_every: int = 400
    model: ModelConfig = field(default_factory=ModelConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    weights: LossWeights = field(default_factory=LossWeights)


class Trainer:
    """Model, averaged model, optimiser and their place in the stream; worker processes make samples, whole or for the studio to draw here."""

    motion_parts: tuple[str, ...] = MOTION_PARTS

    def __init__(self, config: TrainConfig, out: Path, assets: list[Asset], device: str = "cpu") -> None:
        self.config, self.out, self.assets, self.device = config, out, assets, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.stream.seed)
        self.model = self.make_model().to(self.device)
        self.average = self.make_model().to(self.device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate, betas=(0.9, 0.98))
        self.team = Team()
        self.journal = Journal(out) if self.team.leads else None
        self.studio = Studio(config.stream.sample.image_size, self.device) if config.stream.staged else None
        self.step, self.seconds, self.best = 0, 0.0, float("inf")
        if (out / "state.pt").is_file():
            self._resume()

    def make_model(self) -> torch.nn.Module:
        """A fresh model of the config."""
        return Video2Pose2Rot(self.config.model)

    def stream(self) -> IterableDataset[Any]:
        """Batches from the present step on."""
        return SampleStream(self.config.stream, self.assets, self.step, self.team.rank, self.team.size)

    def pictures(self) -> int:
        """Drawn for one step of one process."""
        sample = self.config.stream.sample
        return self.config.stream.batch * (sample.frames + sample.references)

    def write_model(self, path: Path) -> None:
        """The averaged weights, as they are published."""
        save_model(cast(Video2Pose2Rot, self.average), path, {"step": str(self.step)}, half=True)

    def measure(self, batch: Batch) -> dict[str, float]:
        """The averaged model's metrics on a validation batch."""
        row: dict[str, float] = {}
        average, batch = cast(Video2Pose2Rot, self.average), batch.to(self.device)
        if batch.clips is not None:
            x, truth = batch.clips
            row |= clip_metrics(average(x), truth, x)
        if batch.motion is not None:
            row |= motion_metrics(average, batch.motion[1], batch.motion[0])
        return row

    def score(self, mean: dict[str, float]) -> float:
        """What the stage is about, the smaller the better: the matcher's misses, the lifter's rotations, or the whole."""
        return {"match": 1 - mean.get("pck05", 0), "motion": mean.get("tracks_noisy_local", 0)}.get(self.config.stage, mean.get("local", 0))

    def picture(self, batch: Batch) -> np.ndarray | None:
        """A sheet of what the averaged model finds in a validation batch; None where the stage sees no pictures."""
        if batch.clips is None:
            return None
        x, truth = batch.clips
        return overlay(x, truth, cast(Video2Pose2Rot, self.average).find(x.to(self.device))[0].uv.float().cpu().numpy())

    def _groups(self) -> list[dict[str, object]]:
        decay = [p for p in self.model.parameters() if p.ndim >= 2]
        rest = [p for p in self.model.parameters() if p.ndim < 2]
        return [{"params": decay, "weight_decay": self.config.weight_decay}, {"params": rest, "weight_decay": 0.0}]

    def _resume(self) -> None:
        state = torch.load(self.out / "state.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        log.info("resumed at step %d after %.0f minutes", self.step, self.seconds / 60)

    def start_from(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        """Begin with the weights of another run's model, or its parts that start with `prefixes`, where their shapes are this model's."""
        mine = self.model.state_dict()
        wanted = {name: w for name, w in load_file(path).items() if name.startswith(prefixes)}
        weights = {name: w for name, w in wanted.items() if name in mine and mine[name].shape == w.shape}
        log.info("%d of %d tensors taken from %s", len(weights), len(wanted), path)
        self.model.load_state_dict(weights, strict=False)
        self.average.load_state_dict(self.model.state_dict())

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "seconds": self.seconds, "best": self.best,
        }
        torch.save(state, self.out / "state.tmp")
        (self.out / "state.tmp").replace(self.out / "state.pt")
        self.write_model(self.out / "model.safetensors")

    def seed(self) -> int:
        """What is random in a step depends on the step and the process alone, so that a resumed run goes on as it would have."""
        return (self.config.stream.seed * 1_000_003 + self.step) * 64 + self.team.rank

    def filmed(self, batch: Batch) -> Batch:
        """The batch with its pictures drawn on this device, where the stream left that to the studio."""
        if self.studio is None or batch.stage is None or batch.clips is None:
            return batch
        return Batch(self.studio.fill(*batch.clips, batch.stage.to(self.device), self.seed()), batch.motion)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted loss of rendered clips and motion alone, and the unweighted terms."""
        generator = torch.Generator().manual_seed(self.seed())
        loss, terms, motion_terms = torch.zeros((), device=self.device), {}, {}
        if batch.motion is not None:
            motion_terms = self._motion_terms(*batch.motion, generator)
            loss = self.config.motion_weight * weigh(motion_terms, self.config.weights)
        if batch.clips is not None:
            terms = self._clip_terms(*batch.clips, generator)
            loss = loss + weigh(terms, self.config.weights)
        return loss, terms | {f"motion_{name}": value for name, value in motion_terms.items()}

    def _clip_terms(self, x: ModelInput, truth: Truth, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Rendered clips: matching alone in its own stage, else everything."""
        given, _ = noisy_positions(truth.xyz, generator)
        share = torch.rand(len(x.times), generator=generator) < self.config.true_share
        drop = bool(torch.rand(1, generator=generator) < 0.15)
        x, truth = x.to(self.device), truth.to(self.device)
        with self.autocast():
            if self.config.stage == "match":
                found, _, mask = cast(Video2Pose2Rot, self.model).find(x)
                return match_terms(found.uv, found.heat, mask, truth, x)
            return clip_losses(self.model(x, given.to(self.device), share.to(self.device), drop), truth, x)

    def _motion_terms(self, x: ModelInput, truth: Truth, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Motion alone: in one step of three pose2rot from noisy positions, else lifting and pose2rot from noisy 2D tracks."""
        noisy, log_error = noisy_positions(truth.xyz, generator)
        tracks = None if self.step % 3 == 0 else noisy_tracks(truth.uv, noisy - truth.xyz, log_error, x.joint_mask, generator)
        x, truth = x.to(self.device), truth.to(self.device)
        model = cast(Video2Pose2Rot, self.model)
        with self.autocast():
            if tracks is None:
                return rotation_terms(model.pose2rot(x, noisy.to(self.device), log_error.to(self.device), None)[0], truth, x)
            xyz, log_error, turn = model.from_tracks(x, *(part.to(self.device) for part in tracks))
        return position_terms(xyz, log_error, truth, x) | rotation_terms(turn, truth, x)

    def autocast(self) -> torch.autocast:
        """Half the digits where the config wants it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def train_step(self, batch: Batch, rate: float, stop: bool = False) -> tuple[dict[str, float], bool]:
        """One optimiser step; returns the unweighted terms, and whether any process of the team wants this to be the last one."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, terms = self.losses(self.filmed(batch))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        stop = self.team.average_gradients(self.model.parameters(), stop)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_gradient)
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            log.warning("step %d skipped: the gradient is not finite", self.step)
        self.step += 1
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        return {name: float(value.detach()) for name, value in terms.items()} | {"loss": float(loss.detach()), "norm": float(norm)}, stop

    def run(self, minutes: float, decay: bool, sets: Mapping[str, list[Any]], workers: int, steps: int = 0) -> None:
        """Train for a wall-clock budget, or until the run has `steps` steps; with `decay` the rate falls to a twentieth over it."""
        config = self.config
        loader = DataLoader(self.stream(), batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
        begin, spent, count = time.monotonic(), self.seconds, 0
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        last = begin
        for batch in loader:
            done = (self.step + 1) / steps if steps else (time.monotonic() - begin) / (60 * minutes)
            rate = config.learning_rate * min(1.0, (self.step + 1) / config.warmup) * (max(0.05, 1 - done) if decay else 1.0)
            terms, stop = self.train_step(batch, rate, done >= 1)
            for name, value in terms.items():
                sums[name] += value
                counts[name] += 1
            count += 1
            self.seconds = spent + time.monotonic() - begin
            if stop:
                break
            if not self.team.leads:
                continue
            if self.step % 50 == 0:
                speed = self.team.size * count * self.pictures() / (time.monotonic() - last)
                place = {"minutes": self.seconds / 60, "rate": rate, "frames_per_s": speed}
                self._log(place | {k: v / counts[k] for k, v in sums.items()})
                sums, counts, count, last = defaultdict(float), defaultdict(int), 0, time.monotonic()
                if self.step % 100 == 0:
                    self.save()
            if self.step % config.validate_every == 0:
                self.validate(sets)
                last = time.monotonic()
        if self.team.leads:
            self.validate(sets)
        self.team.leave()

    def validate(self, sets: Mapping[str, list[Any]]) -> None:
        """Log the averaged model's metrics on each set; the smallest unseen error is kept as best.safetensors."""
        self.average.eval()
        for name, batches in sets.items():
            totals: dict[str, list[float]] = defaultdict(list)
            for batch in batches:
                with torch.no_grad(), self.autocast():
                    row = self.measure(batch)
                for key, value in row.items():
                    totals[key].append(value)
            mean = {key: float(np.mean(values)) for key, values in totals.items()}
            self._log({"minutes": self.seconds / 60, "set": name} | mean)
            self._show(name, batches[0])
            if name == "unseen" and self.score(mean) < self.best:
                self.best = self.score(mean)
                self.write_model(self.out / "best.safetensors")
        self.save()

    def _log(self, row: Mapping[str, object]) -> None:
        if self.journal is not None:
            self.journal.write(self.step, row)

    def _show(self, name: str, batch: Batch) -> None:
        with torch.no_grad(), self.autocast():
            sheet = self.picture(batch)
        if sheet is not None and self.journal is not None:
            self.journal.show(self.step, name, sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", choices=["v2", "v1"], default="v2", help="v1: the baseline, video2mesh and mesh2pose, on the same stream")
    parser.add_argument("--baked", type=Path, help="folder of baked rigs; without it procedural creatures alone")
    parser.add_argument("--any-licence", action="store_true", help="also learn from rigs that are not CC0: for a model that stays with you")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--from-model", type=Path, help="start from these weights")
    parser.add_argument("--motion-model", type=Path, help="take lifting and pose2rot from this model, as a run of stage motion left it")
    parser.add_argument("--decay", action="store_true")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--rendered-share", type=float, default=SampleConfig.rendered_share, help="clips whose reference is of another pose and view")
    parser.add_argument("--stage", choices=["match", "motion", "joint", "finetune"], default="joint")
    parser.add_argument("--batch", type=int, default=8, help="rendered clips a step")
    parser.add_argument("--motion-batch", type=int, default=8, help="clips of geometry alone a step")
    parser.add_argument("--baked-share", type=float, help="clips of baked rigs (default: 0.5; stage finetune: 0.9)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with as many --workers as there are cores (default: %(default)s)")
    parser.add_argument("--draw", choices=["workers", "device"], help="who draws the pictures (default: device where that is a card)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    sample = SampleConfig(frames=args.frames, references=args.references, rendered_share=args.rendered_share)
    batch, motion_batch = 0 if args.stage == "motion" else args.batch, 0 if args.stage == "match" else args.motion_batch
    baked_share = args.baked_share if args.baked_share is not None else 0.9 if args.stage == "finetune" else StreamConfig.baked_share
    stream = StreamConfig(seed=args.seed, batch=batch, baked_share=baked_share, sample=sample, motion_batch=motion_batch,
                          staged=(args.draw or ("workers" if args.device == "cpu" else "device")) == "device")  # fmt: skip
    config = TrainConfig(stage=args.stage, stream=stream)
    if args.stage == "finetune":
        config = replace(config, learning_rate=config.learning_rate / 3)
    if args.device == "cuda" and "LOCAL_RANK" in os.environ:  # each process of the launcher has a card of its own
        args.device = f"cuda:{os.environ['LOCAL_RANK']}"
    if args.rate:
        config = replace(config, learning_rate=args.rate)
    assets = training_assets(args.baked, args.any_licence) if args.baked else []
    if args.model == "v1":
        from .v1.train import V1Trainer, v1_config  # here: it builds on this module

        baseline = v1_config(stream)
        config, stream = replace(baseline, stage=config.stage, learning_rate=config.learning_rate), baseline.stream
        trainer: Trainer = V1Trainer(config, args.out, assets, args.device)
    else:
        trainer = Trainer(config, args.out, assets, args.device)
    if args.from_model and trainer.step == 0:
        trainer.start_from(args.from_model)
    if args.motion_model and trainer.step == 0:
        trainer.start_from(args.motion_model, trainer.motion_parts)
    if trainer.team.leads:
        (args.out / "config.json").write_text(json.dumps(asdict(config), indent=1))
    sets = validation_sets(args.baked, stream) if args.baked and trainer.team.leads else {}
    log.info("%d baked rigs, sets %s", len(assets), {k: len(v) for k, v in sets.items()})
    trainer.run(args.minutes, args.decay, sets, args.workers)


if __name__ == "__main__":
    main()
