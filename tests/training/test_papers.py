"""The papers' protocols: which frames, which reference; and the one command's results on procedural creatures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.training import methods, papers, takes
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.zoo import make_creature


@pytest.fixture(scope="module")
def creature() -> Asset:
    asset = make_creature(np.random.default_rng(4), "quadruped")
    first = asset.clips[0]
    long = np.concatenate([first.pose] * (1 + 40 // len(first.pose)))[:40]
    clips = (replace(first, name="b", pose=long, held_out=True), replace(first, name="a", pose=long[5:20], held_out=False))
    return replace(asset, name="beast", clips=clips, split="train")


def test_protocols_choose_frames_and_references(creature: Asset) -> None:
    clip, other = creature.clips
    same, aligned, apart = (takes.make_take(creature, clip, protocol, "seen") for protocol in takes.PROTOCOLS)
    assert same is not None
    assert aligned is not None
    assert apart is not None
    assert same.frames.tolist() == list(range(32))
    assert (same.reference, same.keyed) == ((clip, 0), 0)
    assert (aligned.reference, aligned.keyed) == ((clip, 16), 16)
    assert (apart.reference, apart.keyed) == ((other, 7), None)
    np.testing.assert_array_equal(apart.reference_pose, other.pose[7])
    for own, expected in ((True, ["a"]), (False, [])):
        moves = methods.habits_of(same, own=own).moves
        assert [one.name for one in moves if not one.body] == expected
        assert [one.name for one in moves if one.body]  # what bodies like it do
    alone = replace(creature, clips=(clip,))
    assert takes.make_take(alone, clip, "other-clip", "seen") is None


def test_held_out_clips_alone_are_taken(creature: Asset, tmp_path: Path) -> None:
    save_asset(creature, tmp_path / "beast.npz")
    save_asset(replace(creature, name="new", split="unseen", clips=tuple(replace(c, held_out=True) for c in creature.clips)), tmp_path / "new.npz")
    found = [(take.asset.name, take.clip.name, take.split) for take in takes.takes(tmp_path, "same-clip", takes.SPLITS)]
    assert found == [("beast", "b", "seen"), ("new", "a", "unseen"), ("new", "b", "unseen")]
    assert [take.asset.name for take in takes.takes(tmp_path, "same-clip", ("unseen",), clips_per_rig=1)] == ["new"]


def test_true_joints_tell_more_than_holding(creature: Asset) -> None:
    take = takes.make_take(creature, creature.clips[0], "same-clip", "seen")
    assert take is not None
    rows = {name: papers.measure(take, method) for name, method in
            (("hold", methods.hold), ("closed", methods.closed_form()), ("ik", methods.inverse_kinematics()), ("noisy", methods.inverse_kinematics(0.01)),
             ("points", methods.inverse_kinematics_of_points()), ("noisy points", methods.inverse_kinematics_of_points(0.02)))}
    assert rows["hold"]["at_reference"] < 1e-3
    assert rows["closed"]["rotation"] < 0.7 * rows["hold"]["rotation"]
    assert rows["ik"]["rotation"] < 0.7 * rows["hold"]["rotation"]
    assert rows["ik"]["mpjpe_cm"] < 1
    assert rows["points"]["rotation"] < min(rows["ik"]["rotation"], rows["noisy points"]["rotation"])
    assert rows["noisy points"]["rotation"] < rows["hold"]["rotation"]
    assert rows["ik"]["mpjpe_cm"] < rows["noisy"]["mpjpe_cm"] < rows["hold"]["mpjpe_cm"]


def test_averages_count_a_motion_once_and_leave_out_what_is_undefined() -> None:
    def row(group: str, rotation: float, slip: float, split: str = "seen") -> dict[str, object]:
        return {"protocol": "aligned", "split": split, "method": "hold", "group": group, "scores": {"rotation": rotation, "foot_slip_cm": slip}}

    means = papers.averages([row("a", 2, np.nan), row("a", 4, np.nan), row("b", 9, 5), row("c", 1, np.nan, "unseen")])
    assert means[0]["scores"] == {"rotation": 6, "foot_slip_cm": 5}
    assert (means[0]["takes"], means[0]["groups"]) == (3, 2)
    assert np.isnan(means[1]["scores"]["foot_slip_cm"])


def test_one_command_writes_json_and_a_table(creature: Asset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_asset(creature, tmp_path / "beast.npz")
    assert papers.main([str(tmp_path), "--out", str(tmp_path / "out"), "--protocols", "same-clip,aligned"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(entry["protocol"], entry["method"]) for entry in results["averages"]] == [
        (protocol, method) for protocol in ("same-clip", "aligned") for method in ("hold", "closed form, joints", "IK, joints")
    ]
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| same-clip | seen (1 motions) | hold |" in table
    assert capsys.readouterr().out.strip() == table.strip()
    with pytest.raises(SystemExit):
        papers.main([str(tmp_path), "--splits", "rare"])


def test_commands_go_by_their_short_names() -> None:
    for words, code, said in ((["papers", "--help"], 0, "mocap_anything.training papers"), (["nonsense"], 2, "usage"), ([], 2, "prepare")):
        result = subprocess.run([sys.executable, "-m", "mocap_anything.training", *words], capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stderr
        assert said in result.stdout + result.stderr
