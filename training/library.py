"""The library of motions that comes with the extension: `python -m mocap_anything.training library BAKED OUT.npz`.

Clips of CC0 rigs of the open zoo that may be trained on, none of them held out, and creatures of the procedural zoo of every plan. A motion that several
rigs of one template share is there once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..backend.kinematics import bone_rotations
from ..backend.library import Donor, library_at, save_library, turns_of
from ..backend.moves import FRAME
from ..backend.retarget.names import words
from ..backend.settings import CaptureSettings
from .cases import plain
from .data.asset import Asset, AssetClip
from .data.stream import training_assets
from .zoo import PLANS, make_creature

_TIMES = 12  # that are kept of a clip
_CLIPS = 10  # of a rig of the open zoo
_OWN_CLIPS = 6  # of a procedural creature
_KIN = 0.5  # of the names of two rigs' bones: of one template
_SAME = 0.02  # radians, root mean square: turns that differ by less are one motion


def donor_of(asset: Asset, most: int = _CLIPS) -> Donor | None:
    """An asset as the library has it, with as many of its clips as `most`, evenly by name; None where none is long enough."""
    found = [_turns(asset, clip) for clip in asset.clips if len(clip.pose) > frame_step(clip)]
    if not found:
        return None
    chosen = sorted(set(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int).tolist()))
    names, before, after = zip(*(found[n] for n in chosen), strict=True)
    return Donor(asset.rig, asset.name, np.asarray(asset.up, np.float64), names, np.stack(before), np.stack(after))


def frame_step(clip: AssetClip) -> int:
    """Frames of a clip that a `FRAME` lasts, one at least."""
    return max(1, round(FRAME * clip.fps))


def _turns(asset: Asset, clip: AssetClip) -> tuple[str, np.ndarray, np.ndarray]:
    """A clip's name, and its turns (N, J, 3) at times that are spread over it, and a `FRAME` later."""
    step = frame_step(clip)
    rows = np.linspace(0, len(clip.pose) - 1 - step, _TIMES).round().astype(int)
    before, after = (turns_of(asset.rig, bone_rotations(clip.pose[at].astype(np.float64))) for at in (rows, rows + step))
    return clip.name, before, after


def once(donors: Sequence[Donor]) -> list[Donor]:
    """Without clips that a donor before does alike, and without donors that have no others."""
    kept: list[Donor] = []
    for donor in donors:
        kin = [other for other in kept if other.rig.names == donor.rig.names]
        seen = [turns for other in kin for turns in other.before]
        new = [n for n, turns in enumerate(donor.before) if all(np.sqrt(np.square(turns - other).sum(-1).mean()) > _SAME for other in seen)]
        if new:
            kept.append(_only(donor, new))
    return kept


def _only(donor: Donor, clips: list[int]) -> Donor:
    return replace(donor, clips=tuple(donor.clips[n] for n in clips), before=donor.before[clips], after=donor.after[clips])


def procedural(seed: int, count: int) -> Iterator[Donor]:
    """So many creatures of every plan."""
    for number in range(count * len(PLANS)):
        plan = PLANS[number % len(PLANS)]
        asset = make_creature(np.random.default_rng([seed, number]), plan, clips=_OWN_CLIPS)
        if donor := donor_of(replace(asset, name=f"{plan} {number // len(PLANS) + 1}"), _OWN_CLIPS):
            yield donor


def may_tell(body: str, name: str, clip: str, bones: Sequence[str]) -> bool:
    """Whether a motion of the bundled library may be the one of a clip on a rig with such names of bones: it has its name (see `plain`), or, where both rigs
    are of one template, its last word, since artists give one motion several species' names."""
    last = [words(plain(each))[-1:] for each in (name, clip)]
    return plain(name) == plain(clip) or (body in _kin(tuple(bones)) and last[0] == last[1])


@cache
def _kin(bones: tuple[str, ...]) -> frozenset[str]:
    """Bodies of the bundled library that share so many of their bones' names."""
    library = library_at(CaptureSettings.library)
    assert library is not None
    shared = ((name, len(set(rig.names) & set(bones)) / len(set(rig.names) | set(bones))) for name, (rig, _) in zip(library.names, library.bodies, strict=True))
    return frozenset(name for name, share in shared if share >= _KIN)


@contextmanager
def library_without(clip: str, bones: Sequence[str], relatives: bool = True) -> Iterator[str]:
    """For captures that are measured: the bundled library, or a file that lasts as long as the `with`, without what may tell a clip's motion, or without all
    of the rig's template, as for a rig that nobody knows."""
    library = library_at(CaptureSettings.library)
    assert library is not None
    donors = [library.donor(index) for index in range(len(library.bodies))]
    known = [donor for donor in donors if relatives or donor.name not in _kin(tuple(bones))]
    left = [(donor, [n for n, name in enumerate(donor.clips) if not may_tell(donor.name, name, clip, bones)]) for donor in known]
    if len(known) == len(donors) and all(len(clips) == len(donor.clips) for donor, clips in left):
        yield CaptureSettings.library
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motions.npz"
        save_library(path, [_only(donor, clips) for donor, clips in left if clips])
        yield str(path)


def main(argv: list[str] | None = None) -> int:
    """Write a library."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training library", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("baked", type=Path, help="folder of baked rigs")
    parser.add_argument("out", type=Path, help="the library, an .npz file")
    parser.add_argument("--creatures", type=int, default=20, help="of every plan of the procedural zoo (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1301, help="of these (default: %(default)s)")
    parser.add_argument("--any-licence", action="store_true", help="rigs of other licences than CC0 too: not for a library that is given away")
    args = parser.parse_args(argv)
    made = (donor_of(asset) for asset in training_assets(args.baked, args.any_licence))
    real = once([donor for donor in made if donor is not None])
    donors = [*real, *procedural(args.seed, args.creatures)]
    save_library(args.out, donors)
    count = sum(len(donor.clips) for donor in donors)
    print(f"{len(real)} rigs and {len(donors) - len(real)} creatures, {count} motions, {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
