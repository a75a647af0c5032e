"""The endless stream of training batches: procedural creatures and baked rigs, made in a worker process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ...backend.model.batch import ModelInput
from ..studio.stage import Stage, join
from .asset import Asset, load_asset
from .sample import SampleConfig, SampleMaker, Truth, collate
from .staging import StagingMaker
from .vary import carried, plan_of, varied

_SHIPPABLE = {"CC0-1.0", "CC0"}


@dataclass(frozen=True)
class StreamConfig:
    """seed, clips a batch, share of samples from baked rigs, clips from one procedural creature, share of procedural clips in which the
    video shows another body than the rig's, and the motion-only batch's size.

    varied: share of baked samples whose motion is warped, layered or mirrored; carried: of those that wear a procedural creature's of the same plan, or
    whose own a procedural creature wears. staged: pictures are left to the studio of the process that trains.
    """

    seed: int = 0
    batch: int = 8
    baked_share: float = 0.5
    creature_uses: int = 3
    other_subject: float = 0.3
    varied: float = 0.5
    carried: float = 0.1
    motion_batch: int = 8
    motion_frames: int = 12
    staged: bool = False
    sample: SampleConfig = SampleConfig()


@dataclass
class Batch:
    """A batch of rendered clips and one of motion alone, each with its truth; a stage may do without either. stage: what the studio has yet to draw."""

    clips: tuple[ModelInput, Truth] | None
    motion: tuple[ModelInput, Truth] | None
    stage: Stage | None = None

    def to(self, device: torch.device) -> Batch:
        clips, motion = (None if part is None else (part[0].to(device), part[1].to(device)) for part in (self.clips, self.motion))
        return Batch(clips, motion, None if self.stage is None else self.stage.to(device))


def training_assets(folder: Path, any_licence: bool = False) -> list[Asset]:
    """Baked rigs that a bundled model may learn from: split train, CC0 (unless any_licence), held-out clips taken away."""
    chosen = []
    for path in sorted(folder.glob("*.npz")):
        asset = load_asset(path)
        clips = tuple(c for c in asset.clips if not c.held_out and len(c.pose) >= 4)
        if asset.split == "train" and (any_licence or asset.license in _SHIPPABLE) and clips and asset.rig.mesh is not None and asset.rig.driven.sum() >= 3:
            chosen.append(Asset(asset.name, asset.rig, clips, asset.up, asset.plan, asset.split, asset.license))
    return chosen


def held_out_assets(folder: Path) -> dict[str, list[Asset]]:
    """What no model learns from, with its held-out clips alone: rigs never trained on (unseen, rare), and those trained on (seen)."""
    groups: dict[str, list[Asset]] = {"unseen": [], "rare": [], "seen": []}
    for path in sorted(folder.glob("*.npz")):
        asset = load_asset(path)
        clips = tuple(c for c in asset.clips if c.held_out and len(c.pose) >= 4)
        if clips and asset.rig.mesh is not None and asset.rig.driven.sum() >= 3:
            groups["seen" if asset.split == "train" else asset.split].append(replace(asset, clips=clips))
    return {name: assets for name, assets in groups.items() if assets}


class SampleStream(IterableDataset[Batch]):
    """Batches for ever, from step `start` on; the same seed gives the same batches, dealt out to `size` processes by rank."""

    def __init__(self, config: StreamConfig, assets: list[Asset], start: int = 0, rank: int = 0, size: int = 1) -> None:
        self.config, self.assets = config, assets
        self.start, self.rank, self.size = start, rank, size

    def __iter__(self) -> Iterator[Batch]:
        from ..zoo import make_pair  # compiles: only the process that makes samples pays for it

        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            torch.set_num_threads(1)
            os.nice(2)
        index = self.start + worker
        while True:
            rng = np.random.default_rng((self.config.seed, index * self.size + self.rank))
            wanted = -(-max(self.config.batch, self.config.motion_batch) // self.config.creature_uses) if self.config.baked_share < 1 or not self.assets else 0
            pool = [make_pair(rng) for _ in range(wanted)]
            yield self.batch(rng, pool)
            index += workers

    def _pick(self, rng: np.random.Generator, pool: list[tuple[Asset, Asset]]) -> tuple[Asset, Asset]:
        """A rig, and the subject that its video shows."""
        if self.assets and rng.random() < self.config.baked_share:
            asset = self._varied(rng, self.assets[rng.integers(len(self.assets))], pool)
            return asset, asset
        rig, twin = pool[rng.integers(len(pool))]
        return rig, twin if rng.random() < self.config.other_subject else rig

    def _varied(self, rng: np.random.Generator, asset: Asset, pool: list[tuple[Asset, Asset]]) -> Asset:
        """A baked rig, some of the time with a motion that its files do not have."""
        config = self.config
        alike = [rig for rig, _ in pool if rig.plan == plan_of(asset)] if config.carried and rng.random() < config.carried else []
        if alike:
            creature = alike[rng.integers(len(alike))]
            driver, target = (asset, creature) if rng.random() < 0.5 else (creature, asset)
            clip = carried(driver, driver.clips[rng.integers(len(driver.clips))], target)
            if clip is not None:
                return replace(target, clips=(clip,))
        return varied(rng, asset) if config.varied and rng.random() < config.varied else asset

    def batch(self, rng: np.random.Generator, pool: list[tuple[Asset, Asset]]) -> Batch:
        """One batch from the baked rigs and a pool of procedural creatures."""
        # of this batch alone, so that a batch depends on its generator only
        maker = StagingMaker(self.config.sample) if self.config.staged else SampleMaker(self.config.sample)
        clips = []
        for _ in range(self.config.batch):
            clips.append(_finite(lambda: maker.make(rng, *self._pick(rng, pool))))
            maker.keep()
        frames = self.config.motion_frames
        motion = [_finite(lambda: maker.make_motion(rng, self._pick(rng, pool)[0], frames)) for _ in range(self.config.motion_batch)]
        stage = join(maker.drawings) if isinstance(maker, StagingMaker) and maker.drawings else None
        return Batch(collate(clips) if clips else None, collate(motion) if motion else None, stage)


def _finite(make: Callable[[], tuple[ModelInput, Truth]]) -> tuple[ModelInput, Truth]:
    """Draw again where a camera inside the body or a degenerate pose gave values that are not numbers."""
    while True:
        x, truth = make()
        if all(bool(torch.isfinite(t).all()) for t in (truth.xyz, truth.turn, truth.uv, x.ref_xyz, x.ref_uv)):
            return x, truth


def validation_sets(folder: Path, config: StreamConfig, batches: int = 4) -> dict[str, list[Batch]]:
    """Fixed batches of rigs never trained on (unseen, rare) and of held-out clips (seen), drawn by the training renderer.

    Set `rendered` shows the unseen ones again, their references plain renders of another pose from another side.
    """
    sets: dict[str, list[Batch]] = {}
    groups = held_out_assets(folder)
    for name, assets in [*groups.items(), ("rendered", groups.get("unseen", []))]:
        if not assets or (name == "rendered" and not config.batch):
            continue
        sample = replace(config.sample, frames=4, references=1, loose_share=0.0, rendered_share=float(name == "rendered"))
        sizes = {"batch": min(config.batch, 8), "motion_batch": min(config.motion_batch, 8)}
        fixed = replace(config, seed=987_654, baked_share=1.0, motion_frames=24, varied=0.0, carried=0.0, staged=False, sample=sample, **sizes)
        stream = SampleStream(fixed, assets)
        sets[name] = [stream.batch(np.random.default_rng((fixed.seed, i)), []) for i in range(batches)]
    return sets
