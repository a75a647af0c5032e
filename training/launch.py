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

from .data.asset import Asset
from .data.stream import training_assets
from .train import TrainConfig, Trainer

Config = TypeVar("Config", bound=TrainConfig)


def common(doc: str | None) -> argparse.ArgumentParser:
    """What every one of them is asked."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--minutes", type=float, default=60)
    made.add_argument("--from-model", type=Path, help="start from these weights")
    made.add_argument("--decay", action="store_true")
    made.add_argument("--rate", type=float)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--device", default="cpu", help="cpu, or cuda, for shots with as many --workers as there are cores (default: %(default)s)")
    return made


def parser(doc: str | None, shots: int, of_each: str) -> argparse.ArgumentParser:
    """Of those that learn from shots. shots: clips a step by default, of_each: what a clip gives."""
    made = common(doc)
    made.add_argument("--baked", type=Path, required=True, help="folder of baked rigs")
    made.add_argument("--shots", type=int, default=shots, help=f"clips a step, each of {of_each} (default: %(default)s)")
    made.add_argument("--workers", type=int, default=1)
    return made


def launch(
    args: argparse.Namespace, config: Config, make: Callable[..., Trainer], sets: Callable[[Path], Mapping[str, list[Any]]],
) -> None:
    """Train on shots as the arguments say. make: the trainer's class; sets: fixed validation batches."""
    start(args, config, make, training_assets(args.baked), lambda: sets(args.baked), args.workers)


def start(
    args: argparse.Namespace, config: Config, make: Callable[..., Trainer], assets: list[Asset], sets: Callable[[], Mapping[str, list[Any]]], workers: int,
) -> None:
    """Train as the arguments that are common to all say, on assets, with the rest as for `launch`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if args.rate:
        config = replace(config, learning_rate=args.rate)
    trainer = make(config, args.out, assets, args.device)
    if trainer.step == 0 and args.from_model:
        trainer.start_from(args.from_model)
    if trainer.team.leads:
        (args.out / "config.json").write_text(json.dumps(asdict(config), indent=1))
    trainer.run(args.minutes, args.decay, sets() if trainer.team.leads else {}, workers)
