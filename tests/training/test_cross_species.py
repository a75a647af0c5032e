"""Straight capture against capture and retargeting: pairs, the laying over, and the one command on procedural creatures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.training import artist_pairs, cross_species
from mocap_anything.training.artist_pairs import ArtistPair, common_clips, errors, nearest_by_axes, plain
from mocap_anything.training.cross_species import DIRECT, HOLD, TRUE, TWO_STEPS
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.still_camera import still_camera
from mocap_anything.training.zoo import make_creature


@pytest.fixture(scope="module")
def beasts() -> tuple[Asset, Asset]:
    """A creature, and the same one twice the size and moved aside, which does the same under another name."""
    asset = make_creature(np.random.default_rng(4), "quadruped")
    clip = asset.clips[0]
    first = replace(asset, name="beast", split="unseen", clips=(replace(clip, name="Rig|Beast_Walk"), replace(clip, name="Rig|Beast_Run.001")))
    larger = np.diag([2.0, 2, 2, 1])

    def grown(pose: np.ndarray) -> np.ndarray:
        out = pose.astype(np.float64).copy()
        out[..., :3, 3] = 2 * out[..., :3, 3]
        return out

    mesh = asset.rig.mesh
    assert mesh is not None
    rig = replace(asset.rig, rest=grown(asset.rig.rest), ends=asset.rig.ends @ larger[:3, :3], mesh=replace(mesh, vertices=2 * mesh.vertices))
    clips = tuple(replace(c, name=c.name.replace("Beast", "Brute"), pose=grown(c.pose).astype(np.float32)) for c in first.clips)
    return first, replace(first, name="brute", rig=rig, clips=clips, split="train")


def test_the_same_clips_under_other_names(beasts: tuple[Asset, Asset]) -> None:
    assert [(plain(theirs.name), plain(mine.name)) for theirs, mine in common_clips(*beasts)] == [("Beast_Run", "Brute_Run"), ("Beast_Walk", "Brute_Walk")]
    assert cross_species.make_pair(*beasts, "Walk").mine.name == "Rig|Brute_Walk"
    with pytest.raises(ValueError, match="no clip 'Jump'"):
        cross_species.make_pair(*beasts, "Jump")


def test_true_motion_is_carried_and_laid_over(beasts: tuple[Asset, Asset]) -> None:
    pair = ArtistPair(*beasts, *next(common_clips(*beasts)))
    assert errors(pair, pair.carried(pair.true_motion())).max() < 0.05
    place = pair.laid_over()
    np.testing.assert_allclose(place[:3, :3], np.eye(3) / 2, atol=1e-3)
    heads = pair.truth[0, :, :3, 3] @ place[:3, :3].T + place[:3, 3]
    np.testing.assert_allclose(heads, pair.theirs.pose[0, :, :3, 3], atol=1e-3 * pair.driving.rig.size)


def test_what_axes_explain_and_what_they_do_not(beasts: tuple[Asset, Asset], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bone turned by a constant is explained by one, a bone that moves otherwise is not; the command names it."""
    driving, target = beasts
    bone = int(np.flatnonzero(target.rig.driven)[-1])
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))

    def changed(extra: np.ndarray) -> Asset:
        clips = []
        for clip in target.clips:
            pose = clip.pose.copy()
            pose[:, bone, :3, :3] = pose[:, bone, :3, :3] @ extra[: len(pose)]
            clips.append(replace(clip, pose=pose))
        return replace(target, clips=tuple(clips))

    frames = len(target.clips[0].pose)
    angle = np.linspace(0, 12 * np.pi, frames)
    spin = np.stack([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angle])
    for extra, explained in ((np.broadcast_to(turn, (frames, 3, 3)), True), (spin, False)):
        other = changed(extra)
        assert (nearest_by_axes(ArtistPair(driving, other, *next(common_clips(driving, other))))[-1] < 0.5) == explained
    for asset in (driving, replace(changed(spin), name="spinner")):
        save_asset(asset, tmp_path / f"{asset.name}.npz")
    assert artist_pairs.main([str(tmp_path), "--pair", "beast", "spinner"]) == 0
    assert "| beast → spinner | 2 |" in capsys.readouterr().out


def test_the_camera_holds_the_subject(beasts: tuple[Asset, Asset]) -> None:
    for seed in range(3):
        for asset in beasts:
            pose = asset.clips[0].pose.astype(np.float64)
            camera = still_camera(asset, pose, seed)
            seen = camera.project(pose[..., :3, 3].reshape(-1, 3))
            assert ((seen > 0) & (seen < camera.width)).all()
            assert np.ptp(seen, axis=0).max() > 0.3 * camera.width
            assert (camera.rotation @ asset.up)[1] < -0.6, "upright in the picture"


def test_the_command(beasts: tuple[Asset, Asset], model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asset in beasts:
        save_asset(replace(asset, clips=tuple(replace(c, pose=c.pose[:9]) for c in asset.clips)), tmp_path / f"{asset.name}.npz")
    out = tmp_path / "out"
    assert cross_species.main([str(tmp_path), "--out", str(out), "--model", str(model_file), "--pair", "beast", "brute", "Walk"]) == 0
    (entry,) = json.loads((out / "results.json").read_text("utf-8"))
    scores = entry["scores"]
    assert scores[TRUE]["rotation"] < 0.1 < scores[HOLD]["rotation"]
    assert scores[HOLD]["jitter_ratio"] == 0
    # the same body: what was captured on the driver is what arrives
    assert scores[TWO_STEPS]["rotation"] == pytest.approx(entry["driver"]["rotation"], abs=0.1)
    # an untrained network, but the same one, sees the same picture through the same camera
    assert scores[DIRECT]["rotation"] == pytest.approx(scores[TWO_STEPS]["rotation"], rel=0.5)
    assert "beast → brute (training)" in capsys.readouterr().out
    assert (out / "beast_brute_0.png").stat().st_size > 10_000
