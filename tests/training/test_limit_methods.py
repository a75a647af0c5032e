"""Ranges of motion told from a rig's own clips, and inverse kinematics within them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.joint_limits import euler_angles
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.training import limit_methods, papers
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.takes import make_take
from mocap_anything.training.zoo import make_creature


@pytest.fixture(scope="module")
def beast() -> Asset:
    """A held-out clip and another of the same motion that goes on longer."""
    asset = make_creature(np.random.default_rng(4), "quadruped")
    first = asset.clips[0]
    clips = (replace(first, name="b", pose=first.pose[:12], held_out=True), replace(first, name="a", held_out=False))
    return replace(asset, name="beast", clips=clips, split="train")


def relative(asset: Asset, pose: np.ndarray, bone: int) -> np.ndarray:
    """(T, 3) Euler angles relative to rest and parent."""
    parent = asset.rig.parents[bone]
    turned = bone_rotations(pose.astype(np.float64))
    rest = asset.rig.rest[parent, :3, :3].T @ asset.rig.rest[bone, :3, :3]
    return euler_angles(torch.from_numpy(rest.T @ np.swapaxes(turned[:, parent], -1, -2) @ turned[:, bone]), "XYZ").numpy()


def test_ranges_are_those_of_the_other_clips_and_are_kept(beast: Asset) -> None:
    limits = limit_methods.ranges_of_motion(beast, beast.rig)
    assert len(limits.bones) > 5
    take = make_take(beast, beast.clips[0], "same-clip", "seen")
    assert take is not None
    found = limit_methods.inverse_kinematics_in_ranges(0.02)(take)
    for row, bone in enumerate(limits.bones):
        known = relative(beast, beast.clips[1].pose, bone)
        np.testing.assert_allclose(limits.lower[row], known.min(0) - np.radians(5), atol=1e-6)
        angles = relative(beast, found, bone)
        assert (angles > limits.lower[row] - 1e-5).all()
        assert (angles < limits.upper[row] + 1e-5).all()


def test_the_papers_table_has_them_for_rigs_with_other_clips(beast: Asset, tmp_path: Path) -> None:
    save_asset(beast, tmp_path / "beast.npz")
    save_asset(replace(beast, name="new", split="unseen", clips=tuple(replace(c, held_out=True) for c in beast.clips)), tmp_path / "new.npz")
    assert papers.main([str(tmp_path), "--out", str(tmp_path / "out"), "--protocols", "same-clip", "--clips", "1", "--noise", "0.02", "--limits"]) == 0
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| same-clip | seen (1 motions) | IK, joints, limits, 2 % noise |" in table
    assert "| same-clip | unseen (1 motions) | IK, joints, limits" not in table
