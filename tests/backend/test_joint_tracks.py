"""Tracks of joints to files and back, and what is said about files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.joint_tracks import JointTracks, read_tracks, to_targets, write_tracks
from mocap_anything.backend.rig import Rig


@pytest.fixture
def stick() -> Rig:
    rest = np.tile(np.eye(4), (2, 1, 1))
    rest[1, :3, 3] = [0, 0, 1]
    yes = np.ones(2, bool)
    parents = np.array([-1, 0], np.int32)
    return Rig(("hip", "head: top"), parents, parents, rest, np.array([[0, 0, 1], [0, 0, 2.0]]), yes, ("",) * 2, yes, yes, ("FULL",) * 2)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_tracks_survive_the_disk(tmp_path: Path, suffix: str) -> None:
    positions = np.random.default_rng(0).normal(size=(4, 2, 3))
    positions[1, 1] = np.nan
    tracks = JointTracks(np.array([0, 0.041667, 0.5, 2]), ("a", 'b "c", d'), positions)
    write_tracks(tmp_path / f"t.{suffix}", tracks)
    back = read_tracks(tmp_path / f"t.{suffix}")
    assert back.joints == tracks.joints
    np.testing.assert_allclose(back.times, tracks.times)
    np.testing.assert_allclose(back.positions, positions, rtol=1e-8)


def test_rows_in_any_order_columns_too_and_joints_at_their_own_times(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffjoint, X ,y,z,score,time\nhead,1,2,3,0.9,0.1\n\nhip,4,5,6,,0\nhip,,,,1,0.1\nhead,7,8,9,1,0.05\n", "utf-8")
    tracks = read_tracks(path)
    assert tracks.joints == ("head", "hip")
    np.testing.assert_allclose(tracks.times, [0, 0.05, 0.1])
    nan = [np.nan] * 3
    np.testing.assert_array_equal(tracks.positions, [[nan, [4, 5, 6]], [[7, 8, 9], nan], [[1, 2, 3], nan]])
    np.savez(tmp_path / "rows.npz", time=[0.0, 0.0], joint=["a", "b"], x=[1, 2], y=[3, 4], z=[5, 6])
    np.testing.assert_array_equal(read_tracks(tmp_path / "rows.npz").positions, [[[1, 3, 5], [2, 4, 6]]])


@pytest.mark.parametrize(("name", "text", "said"), [
    ("t.txt", "", "neither"), ("none.csv", None, "There is no file"), ("t.csv", "", "no column 'time'"),
    ("t.csv", "time,joint,x,y\n", "no column 'z'"),
    ("t.csv", "time,joint,x,y,z\n0,a,1,2,q\n", "line 2"), ("t.csv", "time,joint,x,y,z\n0,a,1\n", "line 2"), ("t.csv", "time,joint,x,y,z\n", "no positions"),
    ("t.csv", "time,joint,x,y,z\n0,a,1,2,3\n0,a,1,2,4\n", "'a' stands twice at 0 s"), ("t.npz", "no zip", "cannot be read"),
    ("t.csv", "time,joint,x,y,z\nnan,a,1,2,3\n", "not a number"),
])
def test_wrong_files_are_told_from_one_another(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(CaptureError, match=said):
        read_tracks(tmp_path / name)


def test_joints_are_bones_by_name_in_the_tracks_own_axes(stick: Rig) -> None:
    tracks = JointTracks(np.zeros(1), ("head: top", "head: top:end", "tail"), np.array([[[1, 0, 0], [1, 1, 0], [0, 0, 0.0]]]))
    change = np.array([[0, 2, 0, 0], [-2, 0, 0, 0], [0, 0, 2, 5], [0, 0, 0, 1.0]])
    targets, strange = to_targets(tracks, stick, change)
    assert strange == ["tail"]
    assert targets.bones.tolist() == [1, 1]
    np.testing.assert_allclose(targets.offsets, [[0, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(targets.positions[0], [[0, -2, 5], [2, -2, 5]])
    with pytest.raises(CaptureError, match="100 times as large as the rig. Give --scale 0.01"):
        to_targets(tracks, stick, np.diag([100.0, 100, 100, 1]))
    with pytest.raises(CaptureError, match="'tail' is not"):
        to_targets(JointTracks(np.zeros(1), ("tail",), np.zeros((1, 1, 3))), stick, np.eye(4))
