"""V1 against V2: medians, ratios and operations as the report states them, and a take through the whole pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.settings import CaptureSettings
from mocap_anything.training import papers, whole_capture
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.takes import make_take
from mocap_anything.training.v1 import speed
from mocap_anything.training.v1.speed import Stage
from mocap_anything.training.zoo import make_creature


def run(mesh: float, network: float) -> list[Stage]:
    return [Stage("V1", "video2mesh", 3 * mesh, mesh, 4e9), Stage("V1", "inverse kinematics", 3, 1), Stage("V2", "pose2rot", 2 * network, network, 1e9)]


RUNS = [run(9, 2), run(5, 3), run(7, 1)]


def test_medians_and_ratios_by_hand() -> None:
    stages = speed.medians(RUNS)
    assert [(s.seconds, s.cpu) for s in stages] == [(21, 7), (3, 1), (4, 2)]
    assert speed.ratios(RUNS, "cpu") == [2, 5, 8]
    assert speed.ratios(RUNS, "seconds") == [3, 7.5, 12]


def test_the_report_says_what_was_met_and_what_was_not() -> None:
    text = speed.report(speed.medians(RUNS), 2, 20, RUNS)
    assert "medians of 3 runs" in text
    assert "5.00 times the CPU time of V2's network (2.00 to 8.00), 7.50 times as long by the clock (3.00 to 12.00) and 4.00 times the operations" in text
    assert "not met" in text
    assert "| V1 | all | 24.00 | 8.00 | 2.000 |" in text
    assert "as a user has it" not in text
    slow = [Stage("V1", "video2mesh", 41, 40), Stage("V2", "pose2rot", 2, 2)]
    whole = speed.report(slow, 2, 20, whole=[Stage("capture", "fit", 5, float("nan")), Stage("capture", "all", 6, 7)])
    assert "asked for: met." in whole
    assert "| fit | 5.00 |  |" in whole
    assert "| all | 6.00 | 7.00 |" in whole


@pytest.fixture(scope="module")
def beast() -> Asset:
    asset = make_creature(np.random.default_rng(4), "quadruped")
    first = asset.clips[0]
    clips = tuple(replace(first, name=name, pose=first.pose[start : start + 10], held_out=True) for name, start in (("a", 0), ("b", 4)))
    return replace(asset, name="beast", clips=clips, split="unseen")


@pytest.mark.parametrize("protocol", ["aligned", "other-clip"])
def test_a_take_goes_through_the_whole_pipeline(beast: Asset, protocol: str, tmp_path: Path) -> None:
    take = make_take(beast, beast.clips[0], protocol, "unseen")
    assert take is not None
    request = whole_capture.request_of(take, CaptureSettings(), tmp_path)
    np.testing.assert_allclose(request.clip.times, take.times, atol=1e-3)
    assert (request.references[0].time is None) == (protocol == "other-clip")
    result = whole_capture.captured(request)
    assert result.motion.rotations.shape == (*take.pose.shape[:2], 3, 3)
    assert set(result.seconds) >= {"follow", "capture", "finish"}
    if take.keyed is not None:
        assert "fit" in result.seconds
        np.testing.assert_allclose(result.motion.heads[take.keyed], take.reference_pose[:, :3, 3], atol=1e-4 * beast.rig.size)


def test_one_command_has_whole_captures_too(beast: Asset, tmp_path: Path) -> None:
    save_asset(beast, tmp_path / "beast.npz")
    with pytest.raises(SystemExit):
        papers.main([str(tmp_path), "--capture"])
    arguments = [str(tmp_path), "--out", str(tmp_path / "out"), "--protocols", "same-clip", "--clips", "1", "--model", "anywhere", "--capture"]
    assert papers.main(arguments) == 0
    table = (tmp_path / "out" / "results.md").read_text()
    for name in ("V2", "V2, whole capture"):
        assert f"| same-clip | unseen (1 motions) | {name} |" in table
