"""Which frames the network looks at, and what is taken to hold of those between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .quaternions import interpolate

if TYPE_CHECKING:
    from .predictor import Prediction

_SLACK = 1e-3  # share of a gap by which times are off


def spaced(times: np.ndarray, seed: int, looks: float) -> np.ndarray:
    """Rows of times (T,) outward from row `seed`, at most `looks` a second, and both ends; increasing."""
    rows, gap = [seed], (1 - _SLACK) / looks
    for way, end in ((1, len(times) - 1), (-1, 0)):
        last = seed
        for row in range(seed + way, end + way, way):
            if abs(times[row] - times[last]) >= gap or row == end:
                rows.append(row)
                last = row
    return np.unique(rows)


def fill_between(said: Prediction, rows: np.ndarray, times: np.ndarray) -> None:
    """Of the frames of times (T,) that are not among `rows`, say what lies evenly between those that are, and of no point where it is; in place."""
    missing = np.setdiff1d(np.arange(len(times)), rows)
    later = np.searchsorted(rows, missing)
    before, after = rows[later - 1], rows[later]
    share = (times[missing] - times[before]) / (times[after] - times[before])
    said.turn[missing] = interpolate(said.turn[before].astype(np.float64), said.turn[after].astype(np.float64), share[:, None])
    for name in ("uv", "error", "weight"):
        values = getattr(said, name)
        amount = share.reshape(-1, *[1] * (values.ndim - 1))
        values[missing] = values[before] + amount * (values[after] - values[before])
    nearest = np.where(share < 0.5, before, after)
    # a place told twice would count as two that agree
    said.places[missing], said.chances[missing], said.mask[missing] = said.places[nearest], 0, said.mask[nearest]
