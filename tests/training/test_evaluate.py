"""Baselines and averages of the evaluation; the whole way through the command line is the evaluator's own run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.rig import Rig
from mocap_anything.training import evaluate
from mocap_anything.training.cases import Truth


def fork() -> Rig:
    """A root that carries two bones off one line; the leaves end one further out."""
    rest = np.tile(np.eye(4), (3, 1, 1))
    rest[1, :3, 3], rest[2, :3, 3] = [1, 0, 0], [0, 1, 0]
    parents = np.array([-1, 0, 0], np.int32)
    yes = np.ones(3, bool)
    return Rig(("root", "a", "b"), parents, parents, rest, np.array([[0, 0, 1], [2, 0, 0], [0, 2, 0.0]]), yes, ("",) * 3, yes, yes, ("FULL",) * 3)


def turning(rig: Rig, root: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """The root turns about z, bone "a" about its own z as well, in degrees."""
    pose = np.tile(np.eye(4), (len(root), 3, 1, 1))
    for bone, angles in enumerate((root, root + leaf, root)):
        a = np.radians(angles)
        pose[:, bone, 0, 0], pose[:, bone, 0, 1], pose[:, bone, 1, 0], pose[:, bone, 1, 1] = np.cos(a), -np.sin(a), np.sin(a), np.cos(a)
    pose[:, 1:, :3, 3] = np.einsum("tab,jb->tja", pose[:, 0, :3, :3], rig.rest[1:, :3, 3])
    return pose


@pytest.fixture
def case(tmp_path: Path) -> evaluate.Case:
    rig = fork()
    pose = turning(rig, np.linspace(0, 80, 9), np.linspace(-40, 40, 9))
    return evaluate.Case(tmp_path, "Armature", rig, Truth("fork", "unseen", "turn", "g1", rig.names, pose, 4, np.array([0, 0, 1.0])))


def test_baselines_know_what_they_should(case: evaluate.Case, tmp_path: Path) -> None:
    scores = evaluate.evaluate_case(case, tmp_path, None)["scores"]
    # Eight frames lie 10, 20, 30 and 40 degrees from the middle; the third bone follows the root.
    assert scores[evaluate.HOLD]["rotation"] == pytest.approx(25)
    assert scores[evaluate.HOLD]["moving_bones"] == 2
    # The trace that is left is the pull towards the carrier, half a percent of the size against bones a third of it long.
    assert scores[evaluate.JOINTS]["rotation_root"] == pytest.approx(0, abs=0.05)
    assert scores[evaluate.JOINTS]["rotation_leaves"] == pytest.approx(25, abs=0.05)
    assert scores[evaluate.ENDS]["rotation"] == pytest.approx(0, abs=0.05)
    assert scores[evaluate.ENDS]["mpjpe"] == pytest.approx(0, abs=0.05)


def test_rigs_of_one_motion_count_once() -> None:
    def entry(group: str, model: float, hold: float, split: str = "unseen") -> dict[str, object]:
        return {"split": split, "group": group, "scores": {evaluate.MODEL: {"rotation": model}, evaluate.HOLD: {"rotation": hold}}}

    means = evaluate.averages([entry("a", 2, 10), entry("a", 4, 10), entry("b", 9, math.nan), entry("c", 1, 1, "rare")])
    assert means["unseen"][evaluate.MODEL]["rotation"] == pytest.approx((3 + 9) / 2)
    assert means["unseen"][evaluate.HOLD]["rotation"] == pytest.approx(10)
    assert means["unseen"]["count"] == {"cases": 3, "groups": 2}
    assert means["rare"][evaluate.MODEL]["rotation"] == 1


def test_kinds_of_body_are_averaged_over_motions_and_splits() -> None:
    def entry(kind: str, group: str, error: float, split: str, failed: str = "") -> dict[str, object]:
        scores = {name: {"rotation": error, "mpjpe": error / 10} for name in (evaluate.MODEL, evaluate.HOLD, evaluate.JOINTS)}
        return {"kind": kind, "group": group, "split": split, "scores": scores, "error": failed}

    birds = [entry("bird", "b", 20, "rare"), entry("bird", "c", 40, "unseen"), entry("bird", "d", 9, "rare", "no")]
    rows = evaluate.kinds_of([entry("fish", "a", 10, "seen"), *birds])
    assert rows[1] == ["bird", "2", *["30.0"] * 3, *["3.0"] * 3]
    assert rows[2] == ["fish", "1", *["10.0"] * 3, *["1.0"] * 3]


def test_the_report_names_what_failed_and_results_are_json(case: evaluate.Case, tmp_path: Path) -> None:
    fine = evaluate.evaluate_case(case, tmp_path, None)
    broken = fine | {"rig": "other", "error": "there is no model"}
    text = evaluate.report([fine, broken])
    assert "there is no model" in text
    assert "1 motions of 1 rigs" in text
    assert json.loads(json.dumps(evaluate.without_nan([fine]), allow_nan=False))[0]["rig"] == "fork"
