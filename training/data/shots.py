"""Endless batches made of shots of rigs, whatever is made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ...backend.model.prepare import images_to_tensor
from .asset import Asset
from .stream import held_out_assets

_POOL, _FRESH = 4, 0.3  # procedural creatures kept, and batches that begin with a new one


class ShotConfig(Protocol):
    """What every such stream is told."""

    @property
    def seed(self) -> int: ...
    @property
    def baked_share(self) -> float: ...


@dataclass
class Tensors:
    """A batch whose every field is a tensor."""

    def to(self, device: torch.device) -> Self:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def centred(pictures: np.ndarray) -> torch.Tensor:
    """(B, 3, S, S) -0.5..0.5 of pictures (B, S, S, 3) uint8."""
    return images_to_tensor(pictures) - 0.5


Batch = TypeVar("Batch", bound=Tensors)
Config = TypeVar("Config", bound=ShotConfig)


class ShotStream(IterableDataset[Batch], ABC, Generic[Config, Batch]):
    """Batches for ever; the same seed gives the same batches, dealt out to `size` processes by rank."""

    kind: int  # of stream: two with one seed are different

    def __init__(self, config: Config, assets: list[Asset], start: int = 0, rank: int = 0, size: int = 1) -> None:
        self.config, self.assets = config, assets
        self.start, self.rank, self.size = start, rank, size

    @abstractmethod
    def batch(self, rng: np.random.Generator, pool: list[Asset]) -> Batch:
        """A batch of baked rigs and of the procedural creatures of a pool."""

    def pick(self, rng: np.random.Generator, pool: list[Asset]) -> Asset:
        """A baked rig or a procedural creature."""
        baked = self.assets and (not pool or rng.random() < self.config.baked_share)
        return self.assets[rng.integers(len(self.assets))] if baked else pool[rng.integers(len(pool))]

    def __iter__(self) -> Iterator[Batch]:
        from ..zoo import make_pair

        info: Any = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            torch.set_num_threads(1)
        index = self.start + worker
        pool: list[Asset] = []
        while True:
            rng = np.random.default_rng((self.config.seed, self.kind, index * self.size + self.rank))
            if self.config.baked_share < 1 and (len(pool) < _POOL or rng.random() < _FRESH):
                pool = [*pool, make_pair(rng)[0]][-_POOL:]
            yield self.batch(rng, pool)
            index += workers


def fixed_batches(
    folder: Path, stream: Callable[[Config, list[Asset]], ShotStream[Config, Batch]], config: Config, count: int = 6
) -> dict[str, list[Batch]]:
    """Some batches, always the same, of every set of rigs and clips that were never trained on."""
    streams = {name: stream(config, assets) for name, assets in held_out_assets(folder).items()}
    return {name: [one.batch(np.random.default_rng((config.seed, i)), []) for i in range(count)] for name, one in streams.items()}
