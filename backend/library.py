"""Motions of other bodies that come with the extension, carried onto a rig: how bodies like it move."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from .axis_angles import exp_rotation, log_rotation
from .bone_features import front_of
from .errors import CaptureError
from .finish.smoothing import from_local, to_local
from .habits import Habits
from .kinematics import bone_rotations
from .model.checkpoint import bundled_prior
from .motion import Motion
from .moves import FRAME, Moves
from .retarget.anatomy import Anatomy
from .retarget.contacts import Pairs
from .retarget.correspondence import propose
from .retarget.links import Link, chain
from .retarget.transfer import Posed, RetargetSettings, retarget
from .rig import Rig
from .settings import MODELS, CaptureSettings

_FORMAT = "mocap_anything.motions.v1"
_STEP = 1e-4  # radians, in which turns are written
_DONORS = 24  # bodies whose motions a rig is given
_LIKENESS = 0.4  # of the bodies, at least (see `likeness`)


@dataclass(frozen=True, eq=False)
class Donor:
    """A body with motions. rig: its bones, without a mesh. up: (3,) armature frame. clips: their names. before, after: (C, N, J, 3) axis-angles of its
    bones' turns since rest within what carries them, at N times of each clip, and a `FRAME` later."""

    rig: Rig
    name: str
    up: np.ndarray
    clips: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray


def turns_of(rig: Rig, rotations: np.ndarray) -> np.ndarray:
    """(..., J, 3) axis-angles, within what carries them, of bones' turns from rest to orientations (..., J, 3, 3)."""
    rest = to_local(rig, bone_rotations(rig.rest))
    return log_rotation(torch.from_numpy(np.swapaxes(rest, -1, -2) @ to_local(rig, np.asarray(rotations, np.float64)))).numpy()


def save_library(path: Path, donors: Sequence[Donor]) -> None:
    """Write bodies and their motions as one compressed npz without pickles."""
    stacked = {key: np.concatenate([getattr(d.rig, key) for d in donors]) for key in ("parents", "carriers", "rest", "ends", "driven")}
    header = {
        "format": _FORMAT, "step": _STEP,
        "donors": [{"name": d.name, "bones": d.rig.names, "up": np.asarray(d.up).tolist(), "clips": d.clips} for d in donors],
    }  # fmt: skip
    turns = {f"{when}_{n}": np.round(getattr(d, when) / _STEP).astype(np.int16) for n, d in enumerate(donors) for when in ("before", "after")}
    np.savez_compressed(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **stacked, **turns)  # type: ignore[arg-type]


class Library:
    """Bodies with motions, read from a file; of the motions only those that are asked for."""

    def __init__(self, path: Path) -> None:
        """Raises CaptureError where the file is missing or damaged."""
        try:
            self._file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)  # a file left open could not be replaced on Windows
            header = json.loads(self._file["header"].tobytes())
            if header["format"] != _FORMAT:
                raise ValueError("of another version")
            self._step, self._entries = header["step"], header["donors"]
            self.bodies = tuple(self._rigs())
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise CaptureError(f"The library of motions {path.name} cannot be read ({error}). Choose another, or 'none'.") from error

    def _rigs(self) -> Iterator[tuple[Rig, np.ndarray]]:
        """Each donor's rig and which way is up for it."""
        stacked = {key: self._file[key] for key in ("parents", "carriers", "rest", "ends", "driven")}
        end = 0
        for entry in self._entries:
            names = tuple(entry["bones"])
            begin, end = end, end + len(names)
            arrays = {key: rows[begin:end] for key, rows in stacked.items()}
            yes, plain = np.ones(len(names), bool), ("",) * len(names)
            yield Rig(names, **arrays, reasons=plain, inherit_rotation=yes, local_location=yes, inherit_scale=plain), np.array(entry["up"], np.float64)

    @property
    def names(self) -> list[str]:
        """The bodies'."""
        return [entry["name"] for entry in self._entries]

    @cached_property
    def _at_rest(self) -> list[Posed]:
        return [_at_rest(rig, up) for rig, up in self.bodies]

    def donor(self, index: int) -> Donor:
        """A body with its motions."""
        rig, up = self.bodies[index]
        entry = self._entries[index]
        before, after = (self._step * self._file[f"{when}_{index}"].astype(np.float64) for when in ("before", "after"))
        return Donor(rig, entry["name"], up, tuple(entry["clips"]), before, after)

    def carried(self, rig: Rig, up: np.ndarray) -> tuple[Moves, ...]:
        """What a rig does when it moves as the bodies most like it do, best first; nothing where no body is like it. up: (3,) armature frame."""
        own = _at_rest(rig, up)
        mine = own.anatomy()
        found: list[tuple[float, int, tuple[Link, ...]]] = []
        for index, body in enumerate(self._at_rest):
            theirs = body.anatomy()
            links = propose(mine, theirs)
            alike = likeness(mine, theirs, [(chain(rig, link.target), chain(theirs.rig, link.driving)) for link in links])
            if alike >= _LIKENESS:
                found.append((alike, index, links))
        best = sorted(found, key=lambda entry: (-entry[0], entry[1]))[:_DONORS]
        return tuple(moves for _, index, links in best for moves in _moves(self.donor(index), self._at_rest[index], own, links))


@lru_cache(8)
def library_at(name: str) -> Library | None:
    """A bundled library's name or a path to an .npz file, read once; nothing where the name is "none" or empty."""
    if name in ("", "none"):
        return None
    return Library(Path(name) if name.endswith(".npz") else MODELS / f"{name}.npz")


def usual_habits(rig: Rig, up: np.ndarray, moves: tuple[Moves, ...] = (), library: str = CaptureSettings.library) -> Habits:
    """What is known of how a rig turns: by the bundled network, by bodies like it in a library, and by moves of its own."""
    known = library_at(library)
    return Habits(bundled_prior(), up, (*moves, *(known.carried(rig, up) if known else ())))


def likeness(mine: Anatomy, theirs: Anatomy, pairs: Pairs) -> float:
    """How many of both bodies' bones are linked, 1 for all, less how far apart these lie on the two, in sizes."""
    linked, used = ({bone for pair in pairs for bone in pair[side] if body.rig.driven[bone]} for side, body in enumerate((mine, theirs)))
    apart = [np.linalg.norm(mine.place(mine.heads[bones[-1]]) - theirs.place(theirs.heads[drivers[-1]])) for bones, drivers in pairs]
    shares = len(linked) / mine.rig.driven.sum() * len(used) / theirs.rig.driven.sum()
    return float(np.sqrt(shares) - np.mean(apart)) if pairs else 0.0


def _at_rest(rig: Rig, up: np.ndarray) -> Posed:
    return Posed(rig, rig.rest, up, front_of(up))


def _moves(donor: Donor, body: Posed, target: Posed, links: Sequence[Link]) -> Iterator[Moves]:
    """A donor's motions on another body than its own, from rest to rest."""
    shape = donor.before.shape[:2]
    turns = exp_rotation(torch.from_numpy(np.stack([donor.before, donor.after]).reshape(-1, len(donor.rig), 3))).numpy()
    rotations = from_local(donor.rig, to_local(donor.rig, bone_rotations(donor.rig.rest)) @ turns)
    count, bones = rotations.shape[:2]
    heads, unknown = np.zeros((count, bones, 3)), np.full((count, bones, 2), np.nan, np.float32)  # nothing of it travels
    motion = Motion(np.arange(count) * FRAME, rotations, heads, np.zeros((count, bones), np.float32), unknown)
    done = retarget(body, target, links, motion, RetargetSettings(travel=False)).rotations.astype(np.float32)
    keyed = np.zeros(len(target.rig), bool)
    keyed[[bone for link in links for bone in chain(target.rig, link.target)]] = True
    before, after = done.reshape(2, *shape, *done.shape[1:])
    for n, name in enumerate(donor.clips):
        yield Moves(name, before[n], after[n], keyed & target.rig.driven, donor.name)
