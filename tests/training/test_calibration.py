"""Fitting the curve of a calibration, and telling whether it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.calibration import Calibration, Curve
from mocap_anything.backend.rig import Rig
from mocap_anything.training.calibration import Observed, calibrated, fit_curve, joint_errors, left_out
from mocap_anything.training.publish import stamp_card
from mocap_anything.training.reliability import draw, reliability, summary, table
from PIL import Image


def cases(curve: Curve, count: int = 12, samples: int = 1500, seed: int = 0) -> list[Observed]:
    """Cases whose errors are spread about what a curve expects of a network's word, as lengths of noise are."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        said = 0.005 + 0.05 * rng.random(samples) ** 2
        gap = rng.integers(1, 25, samples) / 24
        spread = rng.gamma(2.0, 0.5, samples)
        made.append(Observed(f"rig{number}", "seen", said, curve.expected(said[:, None], gap)[:, 0] * spread, gap))
    return made


def test_known_numbers_are_found_again() -> None:
    found = fit_curve(cases(Curve(3.0, 0.003, 0.05)))
    assert found.scale == pytest.approx(3.0, rel=0.05)
    assert found.floor == pytest.approx(0.003, abs=0.0004)
    assert found.rise == pytest.approx(0.05, abs=0.011)


def test_of_a_network_that_is_right_already_nothing_is_changed() -> None:
    found = fit_curve(cases(Curve(1.0, 0.0, 0.0)))
    assert found.scale == pytest.approx(1.0, rel=0.05)
    assert found.floor < 0.0005
    assert found.rise <= 0.01


def test_a_long_case_counts_as_much_as_a_short_one() -> None:
    gap = np.ones(4000)
    long = Observed("long", "seen", np.full(4000, 0.01), np.full(4000, 0.01), gap)
    short = Observed("short", "seen", np.full(40, 0.01), np.full(40, 0.03), gap[:40])
    curve = fit_curve([long, short])
    assert curve.expected(np.array([0.01]), np.array([1.0]))[0] == pytest.approx(0.02)
    assert [part.observed for part in reliability([calibrated(long, curve), calibrated(short, curve)], 1)] == pytest.approx([0.02])


def test_tenths_of_a_curve_that_holds_agree_on_cases_it_never_saw() -> None:
    made = cases(Curve(3.0, 0.003, 0.05))
    parts = reliability(left_out(made))
    assert len(parts) == 10
    assert sum(part.count for part in parts) == 12 * 1500
    assert all(abs(part.ratio - 1) < 0.1 for part in parts)
    assert [part.expected for part in parts] == sorted(part.expected for part in parts)
    assert summary(left_out(made)).startswith("10 of 10 tenths within 20%")
    assert any(abs(part.ratio - 1) > 0.2 for part in reliability(made)), "the network's own word does not"


def test_tenths_by_hand() -> None:
    case = Observed("rig", "seen", np.arange(1, 21) / 100, np.arange(1, 21) / 50, np.ones(20))
    parts = reliability([case])
    assert [part.count for part in parts] == [2] * 10
    assert parts[0].expected == pytest.approx(0.015)
    assert all(part.ratio == pytest.approx(2.0) for part in parts)
    assert table({"all": [case]}).splitlines()[2] == "| 1 | 2 | 1.50 | 3.00 | 2.00 |"


def test_errors_are_told_about_the_middle_of_the_driven_bones() -> None:
    rng = np.random.default_rng(4)
    parents = np.array([-1, 0, 0, 1], np.int32)
    rest = np.tile(np.eye(4), (4, 1, 1))
    rest[:, :3, 3] = rng.normal(size=(4, 3))
    yes = np.ones(4, bool)
    driven = np.array([True, True, True, False])
    rig = Rig(tuple("abcd"), parents, parents, rest, rest[:, :3, 3] + 1, driven, ("",) * 4, yes, yes, ("FULL",) * 4)
    truth = np.tile(rest, (6, 1, 1, 1))
    pose = truth.copy()
    pose[..., :3, 3] += rng.normal(size=(6, 1, 3))  # travel is no error of a bone
    pose[3, 1, :3, 3] += [0.3 * rig.size, 0, 0]
    pose[4, 3, :3, 3] += 1.0  # nor does a bone count that nothing drives
    errors, bones = joint_errors(rig, truth, pose)
    assert bones.tolist() == [0, 1, 2]
    assert errors[3] == pytest.approx([0.1, 0.2, 0.1])
    assert errors[[0, 1, 2, 4, 5]] == pytest.approx(0.0, abs=1e-9)


def test_the_diagram_is_a_small_picture(tmp_path: Path) -> None:
    made = cases(Curve(3.0, 0.003, 0.05))
    draw({"all": left_out(made), "raw": made}, tmp_path / "diagram.png")
    with Image.open(tmp_path / "diagram.png") as image:
        assert image.size == (688, 688)
        assert len(image.convert("RGB").getcolors() or []) > 4
    assert (tmp_path / "diagram.png").stat().st_size < 60_000


def test_a_card_names_the_new_digest_and_the_numbers_once(tmp_path: Path) -> None:
    card = tmp_path / "model.md"
    card.write_text("# Model\n\n| a | b |\n| sha256 | `old` |\n| seed | 1 |\n")
    for digest in ("first", "second"):
        stamp_card(card, digest, Calibration(Curve(2.5, 0.003, 0.05), Curve(3.5, 0.002, 0.08), True))
    lines = card.read_text().splitlines()
    assert lines[3] == "| sha256 | `second` |"
    assert lines[4].startswith("| expected errors | fitted 2.5 · (error − 0.003) · (1 − exp(−seconds / 0.05)); without the fit 3.5")
    assert lines[5:] == ["| seed | 1 |"]
    stamp_card(tmp_path / "none.md", "x", Calibration())
    assert not (tmp_path / "none.md").exists()
