"""The command line that the trainings of the smaller networks share."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from .data.stream import training_assets
from .train import TrainConfig, Trainer

Config = TypeVar("Config", bound=TrainConfig)


def parser(doc: str | None, shots: int, of_each: str) -> argparse.ArgumentParser:
    """shots: clips a step by default, of_each: what a clip gives."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--baked", type=Path, required=True, help="folder of baked rigs")
    made.add_argument("--minutes", type=float, default=60)
    made.add_argument("--from-model", type=Path, help="start from these weights")
    made.add_argument("--decay", action="store_true")
    made.add_argument("--rate", type=float)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--shots", type=int, default=shots, help=f"clips a step, each of {of_each} (default: %(default)s)")
    made.add_argument("--workers", type=int, default=1)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--device", default="cpu", help="cpu, or cuda with as many --workers as there are cores (default: %(default)s)")
    return made


def launch(
    args: argparse.Namespace, config: Config, make: Callable[..., Trainer], sets: Callable[[Path], Mapping[str, list[Any]]],
    begin: Callable[[Trainer], None] | None = None,
) -> None:
    """Train as the arguments say. make: the trainer's class; sets: fixed validation batches; begin: what a new run does where no weights are named."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if args.rate:
        config = replace(config, learning_rate=args.rate)
    trainer = make(config, args.out, training_assets(args.baked), args.device)
    if trainer.step == 0 and args.from_model:
        trainer.start_from(args.from_model)
    elif trainer.step == 0 and begin is not None:
        begin(trainer)
    if trainer.team.leads:
        (args.out / "config.json").write_text(json.dumps(asdict(config), indent=1))
    trainer.run(args.minutes, args.decay, sets(args.baked) if trainer.team.leads else {}, args.workers)
