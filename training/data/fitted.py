"""Batches of what fits knew, with the truth, for the denoiser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ...backend.model.motion_prior import padded
from ..denoiser import Fits, fits_of
from ..evidence import Evidence

_STRETCHES = 10  # of rigs by their bones, from one of which a batch comes
_ROLL = 0.15  # radians that a camera leans


@dataclass
class FittedBatch:
    """Fits and the true axis-angles (B, T, A, 3)."""

    fits: Fits
    true: torch.Tensor

    def to(self, device: torch.device) -> FittedBatch:
        return FittedBatch(self.fits.to(device), self.true.to(device))


@lru_cache(maxsize=8192)
def load_fit(path: Path) -> tuple[Evidence, np.ndarray]:
    """Evidence and truth (T, A, 3), as training.data.fits wrote them."""
    with np.load(path, allow_pickle=False) as data:
        return Evidence(**{f.name: data[f.name] for f in fields(Evidence)}), data["true"]


def leaning(rng: np.random.Generator, evidence: Evidence, true: np.ndarray) -> tuple[Evidence, np.ndarray]:
    """Both seen by a camera that leans a little, half of the time in a mirror, and half of the time backwards."""
    angle, mirror = rng.normal(0, _ROLL), rng.random() < 0.5
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    place = (turned @ np.diag([-1.0 if mirror else 1.0, 1, 1])).astype(np.float32)
    axis = np.float32(np.linalg.det(place)) * place
    whole = slice(None, None, -1 if rng.random() < 0.5 else 1)
    changed = {"turn": evidence.turn[whole] @ axis.T} | {name: getattr(evidence, name) @ place.T for name in ("head", "vector")}
    changed |= {"spread": axis @ evidence.spread[whole] @ axis.T, "sight": evidence.sight[whole] @ place.T, "error": evidence.error[whole]}
    times = evidence.times if whole.step == 1 else -evidence.times[::-1]
    return replace(evidence, times=np.ascontiguousarray(times), **{k: np.ascontiguousarray(v) for k, v in changed.items()}), true[whole] @ axis.T


def batch_of(pairs: list[tuple[Evidence, np.ndarray]]) -> FittedBatch:
    """Padded as Fits are."""
    return FittedBatch(fits_of([evidence for evidence, _ in pairs]), padded([true for _, true in pairs]))


class FittedStream(IterableDataset[FittedBatch]):
    """Batches for ever of the files in a folder, each of rigs with about as many bones, since what is filled up is work for nothing; the same seed and
    files give the same batches, dealt out to `size` processes by rank."""

    def __init__(self, folder: Path, batch: int, seed: int = 0, start: int = 0, rank: int = 0, size: int = 1) -> None:
        self.paths = sorted(sorted(folder.glob("*[0-9].npz")), key=lambda path: len(load_fit(path)[0].above))
        self.batch, self.seed, self.start, self.rank, self.size = batch, seed, start, rank, size
        if not self.paths:
            raise FileNotFoundError(f"There are no fits in '{folder}'. Make some with `training.data.fits`.")

    def __iter__(self) -> Iterator[FittedBatch]:
        index = self.start
        while True:
            rng = np.random.default_rng((self.seed, 5, index * self.size + self.rank))
            alike = max(self.batch, len(self.paths) // _STRETCHES)
            first = int(np.clip(rng.integers(-alike // 2, len(self.paths) - alike // 2 + 1), 0, max(len(self.paths) - alike, 0)))
            chosen = first + rng.integers(min(alike, len(self.paths)), size=self.batch)
            yield batch_of([leaning(rng, *load_fit(self.paths[k])) for k in chosen])
            index += 1


def all_batches(folder: Path, batch: int = 4) -> list[FittedBatch]:
    """Every file of a folder, as it is."""
    paths = sorted(folder.glob("*.npz"))
    return [batch_of([load_fit(path) for path in paths[k : k + batch]]) for k in range(0, len(paths), batch)]
