"""The few numbers of a calibration, fitted to captures whose truth is known.

An expected error is a mean: the curve is right where errors observed at one prediction average to it. Errors are spread in proportion to their size, so
the numbers minimise the gamma deviance, sum of weight · (log expected + observed / expected), whose optimum makes observed over expected one on average.
Each case weighs the same, whatever its length and number of bones: frames of one case err together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..backend.calibration import Curve
from ..backend.rig import Rig
from .metrics import counted_bones

_RISES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)  # seconds
_FLOORS = np.linspace(0.0, 0.9, 19)  # of the least that the network says


@dataclass(frozen=True, eq=False)
class Observed:
    """One capture's N bones and frames: expected (N,) as the capture said, observed (N,) shares of the rig's size, gap (N,) seconds to the reference."""

    rig: str
    split: str
    expected: np.ndarray
    observed: np.ndarray
    gap: np.ndarray


def joint_errors(rig: Rig, truth: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (T, B) of heads once their middles are laid together, shares of the size, and which bones (B,) they are of: those counted and driven.

    truth, pose: (T, J, 4, 4). Not by the main root as MPJPE, though the rest is the same: the root is often a bone that rests on the ground while hips
    jump, and then the height of the jump would be every bone's error; and its own would always be none.
    """
    bones = np.flatnonzero(counted_bones(rig) & rig.driven)
    apart = ((pose[..., :3, 3] - truth[..., :3, 3]) / rig.size)[:, bones]
    return np.linalg.norm(apart - apart.mean(1, keepdims=True), axis=-1), bones


def weights_of(cases: Sequence[Observed]) -> np.ndarray:
    """(N,) weights of all samples, the same for each case together, one on average."""
    weights = np.concatenate([np.full(len(case.observed), 1 / len(case.observed)) for case in cases])
    return weights / weights.mean()


def together(cases: Sequence[Observed]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected, observed and gap (N,) of all cases."""
    return tuple(np.concatenate([getattr(case, name) for case in cases]) for name in ("expected", "observed", "gap"))  # type: ignore[return-value]


def deviance(expected: np.ndarray, observed: np.ndarray, weights: np.ndarray) -> float:
    """Mean gamma deviance up to a constant: smaller is better."""
    return float(np.average(np.log(expected) + observed / expected, weights=weights))


def fit_curve(cases: Sequence[Observed]) -> Curve:
    """The curve for cases whose `expected` is the network's own word, none of them of the reference's frame."""
    said, observed, gap = together(cases)
    weights = weights_of(cases)
    best, curve = np.inf, Curve()
    for rise in _RISES:
        for floor in _FLOORS * said.min():
            shape = Curve(1.0, float(floor), rise)
            unit = shape.expected(said, gap)
            # of a curve's shape the best scale is known: the mean of observed over expected
            scale = float(np.average(observed / unit, weights=weights))
            if (cost := deviance(scale * unit, observed, weights)) < best:
                best, curve = cost, replace(shape, scale=scale)
    return curve


def calibrated(case: Observed, curve: Curve) -> Observed:
    """A case whose `expected` is the network's own word, with expected errors."""
    return replace(case, expected=curve.expected(case.expected, case.gap))


def left_out(cases: Sequence[Observed]) -> list[Observed]:
    """Each case with expected errors by a curve that was fitted without it."""
    return [calibrated(case, fit_curve([other for other in cases if other is not case])) for case in cases]
