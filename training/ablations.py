"""Variants of the network on one small budget: `python -m mocap_anything.training.ablations --baked out/baked --out runs/ablations`.

Every row of a group differs from the group's first in one thing alone, and is trained from nothing with the same seeds, data and number of
steps. What is done already is not done again. The table shows the mean over seeds, and half of what lies between the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .data.sample import SampleConfig
from .data.stream import StreamConfig, training_assets
from .train import MOTION_PARTS, TrainConfig, Trainer, validation_sets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One variant: changes of the model's config, of the stream's and of the samples'. apart: each stage alone, as many steps of its own share."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=dict)
    sample: dict[str, Any] = field(default_factory=dict)
    apart: bool = False


@dataclass(frozen=True)
class Group:
    """Rows that are trained in one stage for so many steps, and compared by the same metrics, whose names are the validation's."""

    stage: Any
    metrics: tuple[str, ...]
    steps: int
    rows: tuple[Row, ...]


GROUPS = {
    "motion": Group("motion", (
        "tracks_noisy_xyz", "tracks_noisy_local", "points_noisy_local", "points_true_local", "motion_hold_xyz", "motion_hold_local",
    ), 200, (
        Row("as shipped"),
        Row("joints and ends alone, no surface points", model={"surface_points": 0}, sample={"surface_points": 0}),
        Row("target since the rest pose, parent-local", model={"since_reference": False}),
        Row("target since the reference, not relative to the carrier", model={"carried": False}),
        Row("no closed-form start", model={"closed_form": False}),
        Row("all attention local", model={"attention": "local"}),
        Row("all attention global", model={"attention": "global"}),
    )),
    "match": Group("match", ("pck05", "pck10", "uv", "hold_pck10", "hold_uv"), 240, (
        Row("as shipped, one reference"),
        Row("no features of the reference picture", model={"sample_reference": False}),
        Row("procedural creatures alone", stream={"baked_share": 0.0}),
        Row("three references", sample={"references": 3}),
    )),
    "stages": Group("joint", ("pck10", "xyz", "local", "hold_pck10", "hold_xyz", "hold_local"), 100, (
        Row("jointly"),
        Row("apart, then put together", apart=True),
    )),
}  # fmt: skip


def config_of(group: Group, row: Row, seed: int, stage: Any = None) -> TrainConfig:
    """A run's config: small batches of few frames, alike for all rows of a stage."""
    stage = stage or group.stage
    frames = {"match": 2, "motion": 4, "joint": 4}[stage]
    sample = replace(SampleConfig(frames=frames), **row.sample)
    batch, motion_batch = 0 if stage == "motion" else 8, 0 if stage == "match" else 8
    stream = replace(StreamConfig(seed=seed, batch=batch, motion_batch=motion_batch, sample=sample), **row.stream)
    base = TrainConfig(stage=stage, stream=stream, validate_every=10**9)
    return replace(base, model=replace(base.model, **row.model))


def train_row(group: Group, row: Row, seed: int, steps: int, baked: Path, out: Path) -> list[dict[str, Any]]:
    """Train one variant; its last validation, a line for each set."""
    assets = training_assets(baked)
    config = config_of(group, row, seed)
    sets = validation_sets(baked, config.stream)
    if not row.apart:
        trainer = Trainer(config, out, assets)
        trainer.run(0, True, sets, 0, steps)
    else:
        parts = {}
        for stage in ("match", "motion"):
            parts[stage] = Trainer(config_of(group, row, seed, stage), out / stage, assets)
            parts[stage].run(0, True, {}, 0, steps)
        trainer = Trainer(config, out, assets)
        trainer.start_from(out / "match" / "model.safetensors")
        mine = trainer.average.state_dict() | {k: v for k, v in parts["motion"].average.state_dict().items() if k.startswith(MOTION_PARTS)}
        trainer.average.load_state_dict(mine)
        trainer.step = steps
        trainer.validate(sets)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    last = {line["set"]: line for line in lines if "set" in line}
    return [{"row": row.name, "seed": seed, "set": name, "steps": trainer.step, **line} for name, line in last.items()]


def table(group: Group, results: list[dict[str, Any]], which: str = "unseen") -> str:
    """Markdown of a group: mean over seeds ± half the range, on one set."""
    lines = ["| variant | seeds | steps | " + " | ".join(group.metrics) + " |", "|---" * (3 + len(group.metrics)) + "|"]
    by_row: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        if result["set"] == which:
            by_row[result["row"]].append(result)
    for row in group.rows:
        if found := by_row.get(row.name):
            values = [np.array([result[metric] for result in found]) for metric in group.metrics]
            cells = [f"{v.mean():.3f} ± {np.ptp(v) / 2:.3f}" for v in values]
            lines.append(f"| {row.name} | {len(found)} | {np.mean([r['steps'] for r in found]):.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--baked", type=Path, required=True, help="folder of baked rigs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1, help="of each group's steps, to try it out (default: all)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--only", type=int, nargs="+", help="numbers of a group's rows, from 0; so that several processes can share the work")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    for name in args.groups:
        group = GROUPS[name]
        steps = max(1, round(args.share * group.steps))
        for number, row in enumerate(group.rows):
            for seed in range(args.seeds) if args.only is None or number in args.only else ():
                out = args.out / name / f"{number}-{seed}"
                if not (out / "done.json").exists():
                    log.info("%s: %s, seed %d", name, row.name, seed)
                    done = train_row(group, row, seed, steps, args.baked, out)
                    (out / "done.json").write_text(json.dumps(done, indent=1))
        found = [result for path in sorted((args.out / name).glob("*/done.json")) for result in json.loads(path.read_text())]
        for which in dict.fromkeys(result["set"] for result in found):
            print(f"\n{name}, {steps} steps, {which}\n\n{table(group, found, which)}")


if __name__ == "__main__":
    main()
