"""Motions of other bodies: kept on disk, carried onto a rig by the bodies most like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import log_rotation
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.library import Donor, Library, library_at, save_library, turns_of, usual_habits
from mocap_anything.backend.settings import CaptureSettings
from mocap_anything.training.data.asset import Asset
from mocap_anything.training.library import donor_of
from mocap_anything.training.zoo import make_creature

ROOT = Path(__file__).resolve().parents[2]
STEP = 1e-4  # radians, in which the file has turns


@pytest.fixture(scope="module")
def zoo() -> list[Asset]:
    plans = ("quadruped", "biped", "snake", "spider", "quadruped", "biped")
    return [replace(make_creature(np.random.default_rng([13, n]), plan, clips=2, frames=24), name=f"{plan} {n}") for n, plan in enumerate(plans)]


@pytest.fixture(scope="module")
def donors(zoo: list[Asset]) -> list[Donor]:
    found = [donor_of(asset) for asset in zoo]
    return [donor for donor in found if donor is not None]


@pytest.fixture(scope="module")
def library(donors: list[Donor], tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = tmp_path_factory.mktemp("library") / "few.npz"
    save_library(path, donors)
    return Library(path)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(log_rotation(torch.from_numpy(np.swapaxes(a, -1, -2).astype(np.float64) @ b)).numpy(), axis=-1)


def test_what_is_written_is_read(donors, library):
    assert len(library.bodies) == len(donors) == 6
    for index, donor in enumerate(donors):
        found = library.donor(index)
        assert (found.name, found.clips, found.rig.names) == (donor.name, donor.clips, donor.rig.names)
        for field in ("parents", "carriers", "rest", "ends", "driven"):
            np.testing.assert_array_equal(getattr(found.rig, field), getattr(donor.rig, field))
        np.testing.assert_array_equal(found.up, donor.up)
        for when in ("before", "after"):
            np.testing.assert_allclose(getattr(found, when), getattr(donor, when), atol=STEP / 2 + 1e-12)


def test_turns_are_told_from_rest_within_what_carries_a_bone(zoo):
    rig = zoo[0].rig
    bone = next(int(b) for b in rig.carrier_order if rig.carriers[b] >= 0 and (rig.carriers == b).any())
    rotations = bone_rotations(rig.rest)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about its own z
    for below in [bone, *np.flatnonzero(rig.carriers == bone)]:
        local = bone_rotations(rig.rest)[bone].T @ rotations[below] if below != bone else np.eye(3)
        rotations[below] = bone_rotations(rig.rest)[bone] @ turn @ local
    expected = np.zeros((len(rig), 3))
    expected[bone] = 0, 0, np.pi / 2
    below = np.isin(rig.carriers, np.flatnonzero(rig.carriers == bone))
    np.testing.assert_allclose(turns_of(rig, rotations)[~below], expected[~below], atol=1e-6)


def test_a_rig_moves_as_itself(zoo, donors, library):
    for asset, donor in zip(zoo[:4], donors, strict=False):
        mine = [one for one in library.carried(asset.rig, np.asarray(asset.up)) if one.body == asset.name]
        assert tuple(one.name for one in mine) == donor.clips
        for clip, one in zip(asset.clips, mine, strict=True):
            rows = np.linspace(0, len(clip.pose) - 2, 12).round().astype(int)
            for found, at in ((one.rotations, rows), (one.after, rows + 1)):
                true = bone_rotations(clip.pose[at].astype(np.float64))
                assert angles(found, true)[:, one.keyed].max() < 0.01
            assert one.keyed.any()
            assert not one.keyed[~asset.rig.driven].any()


def test_bodies_most_like_a_rig_come_first_whatever_its_size_and_heading(zoo, donors, tmp_path):
    target = zoo[0]
    path = tmp_path / "others.npz"
    save_library(path, donors[1:])
    others = Library(path)
    found = others.carried(target.rig, np.asarray(target.up))
    assert found[0].body == "quadruped 4"
    # a rig thrice as large that lies another way in its armature
    about = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    rest = about @ target.rig.rest
    rest[:, :3, 3] *= 3
    turned = replace(target.rig, rest=rest, ends=3 * target.rig.ends @ about[:3, :3].T, mesh=None)
    again = others.carried(turned, about[:3, :3] @ target.up)
    assert [(one.body, one.name) for one in again] == [(one.body, one.name) for one in found]
    for one, other in zip(found, again, strict=True):
        assert angles(about[:3, :3] @ one.rotations, other.rotations).max() < 1e-4


def test_a_body_that_is_like_none_learns_from_none(zoo, donors, tmp_path):
    path = tmp_path / "snake.npz"
    save_library(path, [donors[2]])
    assert Library(path).carried(zoo[3].rig, np.asarray(zoo[3].up)) == ()


def test_none_is_no_library(zoo):
    assert library_at("none") is None
    assert library_at("") is None
    habits = usual_habits(zoo[0].rig, np.asarray(zoo[0].up), library="none")
    assert habits.moves == ()
    assert habits.moves_like == []


def test_the_bundled_one_knows_every_plan(zoo):
    bundled = library_at(CaptureSettings.library)
    assert bundled is not None
    assert len(bundled.bodies) > 300
    for asset in zoo:
        habits = usual_habits(asset.rig, np.asarray(asset.up))
        assert habits.moves_like
        assert all(np.isfinite(one.rotations).all() for one in habits.moves)


def test_a_file_that_is_none_says_so(tmp_path: Path):
    with pytest.raises(CaptureError, match=r"gone\.npz cannot be read.*Choose another"):
        library_at(str(tmp_path / "gone.npz"))
    broken = tmp_path / "broken.npz"
    whole = (ROOT / "assets" / "models" / "motions.npz").read_bytes()
    for content in (b"", b"not a library", whole[:9000]):
        broken.write_bytes(content)
        with pytest.raises(CaptureError, match="cannot be read"):
            Library(broken)
    np.savez(tmp_path / "other.npz", header=np.frombuffer(b'{"format": "other"}', np.uint8))
    with pytest.raises(CaptureError, match="of another version"):
        library_at(str(tmp_path / "other.npz"))
