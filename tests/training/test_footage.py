"""The scorer of real footage against hand-worked cases and against the published baselines of the shared clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mocap_anything.training import footage


def test_points_are_scored_by_the_annotated_box() -> None:
    truth = np.array([[[0, 0], [100, 0], [0, 100], [np.nan, np.nan]]], float)
    got = truth + np.array([[[3.0, 4], [0, 15], [np.nan, 0], [7, 7]]])
    score = footage.score_points(truth, got)
    assert score["pck_0.1"] == pytest.approx(1 / 3)
    assert score["pck_0.2"] == pytest.approx(2 / 3)
    assert score["median_px"] == pytest.approx(15)


@pytest.mark.shared
@pytest.mark.parametrize(("clip", "hold", "centred"), [("camel", (0.35, 0.65), (0.37, 0.67)), ("dog", (0.02, 0.09), (0.13, 0.26))])
def test_held_poses_score_as_published(shared: Path, clip: str, hold: tuple[float, float], centred: tuple[float, float]) -> None:
    got = footage.baselines(shared / "footage" / clip)
    for name, want in (("hold", hold), ("hold, true centre", centred)):
        assert (round(got[name]["pck_0.1"], 2), round(got[name]["pck_0.2"], 2)) == want


@pytest.mark.shared
def test_the_reference_frame_is_not_scored(shared: Path) -> None:
    annotation = footage.read_annotation(shared / "footage" / "camel")
    assert len(annotation.frames) == 17
    assert 41 not in annotation.frames
