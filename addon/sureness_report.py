"""What a capture says of its own errors, in the scene's terms: for the report, for the panel and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend.sureness import in_words, least_sure, write_sureness
from .export import writing

if TYPE_CHECKING:
    from ..backend.motion import Motion
    from .scene_capture import Prepared


def _driven(prepared: Prepared, motion: Motion) -> tuple[list[str], np.ndarray]:
    """Names of the B driven bones and their expected errors (T, B)."""
    driven = np.flatnonzero(prepared.rig.driven)
    return [prepared.rig.names[bone] for bone in driven], motion.confidence[:, driven].astype(np.float64)


def _frames(prepared: Prepared, motion: Motion) -> np.ndarray:
    """(T,) scene frames."""
    return np.round(prepared.options.start_frame + motion.times * prepared.scene_fps, 3)


def bone_errors(prepared: Prepared, motion: Motion) -> dict[str, float]:
    """By driven bone its mean expected error, per cent of the rig's size."""
    names, expected = _driven(prepared, motion)
    return {name: round(100 * float(error), 3) for name, error in zip(names, expected.mean(0), strict=True)}


def sureness_report(prepared: Prepared, motion: Motion, calibrated: bool) -> dict[str, Any]:
    """The report's part on confidence: median (share of the size), mean (per cent of it), and the stretches to look at first."""
    names, expected = _driven(prepared, motion)
    frames = _frames(prepared, motion)
    stretches = [
        {"first": float(frames[s.first]), "last": float(frames[s.last]), "bones": [names[bone] for bone in s.bones],
         "expected_error_percent": round(100 * s.error, 3)}
        for s in least_sure(expected)
    ]
    return {"median": float(np.median(expected)), "expected_error_percent": round(100 * float(expected.mean()), 3), "calibrated": calibrated,
            "least_sure": stretches}


def least_sure_line(report: dict[str, Any]) -> str:
    """Where an animator should look first, in one line; empty where no place is less sure than the rest."""
    for stretch in report["confidence"]["least_sure"][:1]:
        return in_words((stretch["first"], stretch["last"]), stretch["bones"], stretch["expected_error_percent"] / 100)
    return ""


def write_confidence(path: Path, place: Path, prepared: Prepared, motion: Motion) -> None:
    """The table of expected errors by bone and frame at `path`, which will lie at `place`."""
    names, expected = _driven(prepared, motion)
    with writing(place):
        write_sureness(path, _frames(prepared, motion), motion.times, names, expected)
