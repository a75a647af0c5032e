"""How sure a captured motion is, for people: the stretches to look at first, and expected errors as a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUFFIXES = (".csv", ".npz")
COLUMNS = ("frame", "time", "bone", "expected_error_percent")
_HOT = 0.9  # the least sure tenth of all bones and frames is what stretches are made of
_EDGE = 0.25  # of the peak's doubt: where a stretch ends; of the worst stretch's: one named beside it
_ALIKE = 0.5  # of the least sure bone's doubt: a bone named beside it
_NOTHING = 1e-6  # of the size: no doubt worth naming
_STRETCHES, _BONES = 3, 4  # at most named


@dataclass(frozen=True)
class Stretch:
    """Frames first to last (indices, both included), the least sure bones in them (indices, the least sure first), their mean expected error."""

    first: int
    last: int
    bones: tuple[int, ...]
    error: float


def least_sure(expected: np.ndarray) -> list[Stretch]:
    """Stretches of expected errors (T, B) where most is in doubt, the worst first; empty where nothing is less sure than the rest."""
    if not expected.size:
        return []
    # where more than that share is as unsure as can be, half-way up to it
    level = min(float(np.quantile(expected, _HOT)), float(expected.mean() + expected.max()) / 2)
    doubt = np.maximum(expected - level, 0.0)
    frames = doubt.sum(1)
    if frames.max() <= _NOTHING:
        return []
    rows = np.flatnonzero(frames >= _EDGE * frames.max())
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    sums = [float(frames[run].sum()) for run in runs]
    worst = [n for n in np.argsort(sums, kind="stable")[::-1][:_STRETCHES] if sums[n] >= _EDGE * max(sums)]
    return [_stretch(expected, doubt, int(runs[n][0]), int(runs[n][-1])) for n in worst]


def _stretch(expected: np.ndarray, doubt: np.ndarray, first: int, last: int) -> Stretch:
    sums = doubt[first : last + 1].sum(0)
    bones = [int(bone) for bone in np.argsort(-sums, kind="stable")[:_BONES] if sums[bone] >= _ALIKE * sums.max()]
    return Stretch(first, last, tuple(bones), float(expected[first : last + 1, bones].mean()))


def in_words(frames: tuple[float, float], bones: list[str], error: float) -> str:
    """One line for an animator; frames: first and last scene frame; error: share of the rig's size."""
    low, high = (f"{frame:.0f}" for frame in frames)
    place = f"frame {low}" if low == high else f"frames {low}–{high}"
    return f"Look first at {place}: {', '.join(bones)} (about {100 * error:.0f} % of its size off)"


def write_sureness(path: Path, frames: np.ndarray, times: np.ndarray, bones: list[str], expected: np.ndarray) -> None:
    """Expected errors (T, B), shares of the rig's size, as .csv or .npz by the suffix, in per cent; frames (T,) of the scene, times (T,) seconds."""
    percent = 100.0 * np.asarray(expected, np.float64)
    if path.suffix == ".npz":
        np.savez_compressed(path, frame=frames, time=times, bone=np.array(bones), expected_error_percent=percent)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for frame, time, row in zip(frames, times, percent, strict=True):
            writer.writerows([f"{frame:g}", f"{time:.6f}", bone, f"{value:.4f}"] for bone, value in zip(bones, row, strict=True))
