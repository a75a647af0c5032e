"""How the library of motions is made, and what captures that are measured may know of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocap_anything.backend.library import Library, library_at
from mocap_anything.backend.settings import CaptureSettings
from mocap_anything.training import library as made
from mocap_anything.training.cases import plain
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.data.bake import held_out
from mocap_anything.training.library import donor_of, library_without, may_tell, once
from mocap_anything.training.zoo import make_creature


@pytest.fixture(scope="module")
def beast() -> Asset:
    return make_creature(np.random.default_rng(31), "quadruped", clips=3, frames=16)


def test_a_motion_of_one_template_is_kept_once(beast):
    donor = donor_of(beast)
    assert donor is not None
    other = replace(donor, name="twin")
    new = replace(donor, name="new", clips=("a", "b", "c"), before=np.concatenate([donor.before[:2], -donor.before[2:] + 0.2]))
    assert [kept.name for kept in once([donor, other])] == [donor.name]
    kept = once([donor, other, new])
    assert [(each.name, each.clips) for each in kept] == [(donor.name, donor.clips), ("new", ("c",))]


def test_a_clip_too_short_for_a_frame_after_it_is_left_out(beast):
    short = replace(beast, clips=(replace(beast.clips[0], pose=beast.clips[0].pose[:1]), beast.clips[1]))
    donor = donor_of(short)
    assert donor is not None
    assert donor.clips == (beast.clips[1].name,)
    assert donor_of(replace(beast, clips=short.clips[:1])) is None


def test_only_what_may_be_given_away_is_in_it(beast, tmp_path: Path, capsys):
    baked = tmp_path / "baked"
    baked.mkdir()
    told = {"free": ("train", "CC0-1.0"), "unseen": ("unseen", "CC0-1.0"), "rare": ("rare", "CC0-1.0"), "bound": ("train", "CC-BY-4.0")}
    for number, (name, (split, licence)) in enumerate(told.items()):
        asset = make_creature(np.random.default_rng([32, number]), "biped", clips=3, frames=16)
        clips = (asset.clips[0], replace(asset.clips[1], held_out=True), asset.clips[2])
        save_asset(replace(asset, name=name, split=split, license=licence, clips=clips), baked / f"{name}.npz")
    out = tmp_path / "out.npz"
    assert made.main([str(baked), str(out), "--creatures", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 rigs and 16 creatures")
    library = Library(out)
    names = [library.donor(index).name for index in range(len(library.bodies))]
    assert [name for name in names if name in told] == ["free"]
    assert len(library.donor(0).clips) == 2


def test_what_is_shown_is_not_in_a_measured_captures_library():
    whole = library_at(CaptureSettings.library)
    assert whole is not None
    clip, strange = whole.donor(0).clips[0], ("bone 1", "bone 2")
    with library_without(f"Armature|{clip}.001", strange) as name:
        left = library_at(name)
        assert left is not None
        names = [found for index in range(len(left.bodies)) for found in left.donor(index).clips]
        assert names
        assert plain(clip) not in {plain(found) for found in names}
        path = Path(name)
        assert path.is_file()
    assert not path.exists()
    with library_without("no such motion at all", strange) as name:
        assert name == CaptureSettings.library


def test_relatives_motions_of_another_name_may_be_the_same():
    whole = library_at(CaptureSettings.library)
    assert whole is not None
    index = whole.names.index("q_dino_trex")
    bones, strange = whole.bodies[index][0].names, ("bone 1", "bone 2")
    told = {(name, kin): may_tell("q_dino_trex", name, "Armature|Velociraptor_Attack", kin) for name in ("TRex_Attack", "TRex_Run") for kin in (bones, strange)}
    assert [key for key, same in told.items() if same] == [("TRex_Attack", bones)]
    with library_without("no such motion at all", bones, relatives=False) as name:
        left = library_at(name)
        assert left is not None
        assert "q_dino_trex" not in left.names
        assert "q_animals_horse" in left.names
    assert may_tell("q_dino_trex", "Other|Velociraptor_Attack.002", "Velociraptor_Attack", strange)


def test_the_bundled_one_holds_no_validation(shared: Path):
    entries = {entry["name"]: entry for entry in json.loads((shared / "rigs" / "index.json").read_text())}
    library = library_at(CaptureSettings.library)
    assert library is not None
    real = [donor for donor in (library.donor(index) for index in range(len(library.bodies))) if donor.name in entries]
    assert len(real) > 50
    for donor in real:
        entry = entries[donor.name]
        assert entry["split"] == "train"
        assert entry["license"].startswith("CC0")
        flags = dict(zip(entry["clips"], held_out(entry, entry["clips"]), strict=True))
        assert not any(flags.get(clip, False) for clip in donor.clips)
