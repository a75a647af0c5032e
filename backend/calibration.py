"""Calibrated confidence: from the error that a network expects of itself to the one that finished captures were observed to have.

What a network says of its own answers ranks them well but is off in scale: the fit, smoothing and keyed poses come after it. A curve of three numbers,
measured on captures whose truth is known (`training.calibrate`), makes an expected error of it. The numbers belong to a model and lie in its file.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from .motion import Motion

_MOST = 1.0  # of the rig's size: nothing farther off has been observed, so nothing farther is foretold
_LEAST = 0.1  # of the network's word: what is left of one that lies at the floor or below


@dataclass(frozen=True)
class Curve:
    """expected = scale · (error − floor) · (1 − exp(−gap / rise)), shares of the rig's size: of a head, the middles of all laid together.

    floor: what the network says at its surest. gap: seconds to the nearest aligned reference, where the animator's pose is kept and so the error is
    none. rise: seconds, 0 for no such factor.
    """

    scale: float = 1.0
    floor: float = 0.0
    rise: float = 0.05

    def expected(self, error: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Expected errors (T, …) of the network's own (T, …) at gaps (T,), which are infinite where there is no aligned reference."""
        error = np.asarray(error, np.float64)
        grown = np.minimum(self.scale * np.maximum(error - self.floor, _LEAST * error), _MOST)
        share = np.ones_like(gap) if self.rise <= 0 else -np.expm1(-gap / self.rise)
        return grown * share.reshape(-1, *(1,) * (grown.ndim - 1))


@dataclass(frozen=True)
class Calibration:
    """One curve for captures that were fitted to the video and one for those that were not; measured: whether they come from any measurement."""

    fitted: Curve = Curve()
    plain: Curve = Curve()
    measured: bool = False

    def to_json(self) -> str:
        """What a model file holds of it."""
        return json.dumps({name: {key: round(value, 5) for key, value in asdict(getattr(self, name)).items()} for name in ("fitted", "plain")})

    @classmethod
    def from_json(cls, text: str | None) -> Calibration:
        """What to_json wrote; of a model without one the network's word is taken as it is. Raises ValueError, KeyError or TypeError for anything else."""
        if not text:
            return cls()
        said = json.loads(text)
        curves = [Curve(*(float(said[name][key]) for key in ("scale", "floor", "rise"))) for name in ("fitted", "plain")]
        if not all(math.isfinite(value) and value >= 0 for curve in curves for value in asdict(curve).values()):
            raise ValueError("a number of its calibration is negative or none")
        return cls(curves[0], curves[1], True)

    def applied(self, motion: Motion, aligned: np.ndarray, fitted: bool) -> Motion:
        """The motion, whose confidence is the network's word, with expected errors; aligned: (N,) seconds of aligned references."""
        curve = self.fitted if fitted else self.plain
        return replace(motion, confidence=curve.expected(motion.confidence, gaps(motion.times, aligned)).astype(np.float32))


UNTOUCHED = Calibration(Curve(rise=0.0), Curve(rise=0.0), True)
"""Under which a capture's confidence is the network's own word: what a calibration is fitted to."""


def gaps(times: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """(T,) seconds from each time to the nearest of the aligned references (N,), infinite where there is none."""
    if not len(aligned):
        return np.full(len(times), np.inf)
    return np.abs(times[:, None] - aligned).min(1)
