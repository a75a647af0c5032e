"""Which files of a folder that a user brings hold which motion of which species, and which motions the released split tests on."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .import_rig import SUFFIXES

# folders inside a species' folder that say what kind of files they hold, not what creature
_KINDS = frozenset({"fbx", "bvh", "glb", "gltf", "usd", "dae", "blend", "animation", "animations", "anims", "motion", "motions"})
_ARCHIVES = frozenset({".zip", ".rar", ".7z"})
_YAW = re.compile(r"y(\d+)")
_ALIKE = 0.85  # of the letters: a name so like a held-out clip's may be that clip, written otherwise


@dataclass(frozen=True)
class Problem:
    """A file, a motion or a species that was left out, and why."""

    what: str
    why: str


@dataclass
class Found:
    """What a folder holds.

    species: by name, its motions by name, each with its files, the richest format first. problems: files that are none of these.
    """

    species: dict[str, dict[str, list[Path]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, species: str, motion: str, path: Path) -> None:
        self.species.setdefault(species, {}).setdefault(motion, []).append(path)


def _files(folder: Path) -> tuple[list[Path], list[Problem]]:
    """Files that Blender may import, richest format first, and archives that are still packed."""
    every = sorted(path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    packed = [Problem(str(path.relative_to(folder)), "is an archive: unpack it") for path in every if path.suffix.lower() in _ARCHIVES]
    files = [path for path in every if path.suffix.lower() in SUFFIXES]
    return sorted(files, key=lambda path: SUFFIXES.index(path.suffix.lower())), packed


def _parted(name: str) -> tuple[str, str]:
    """SPECIES#MOTION in two."""
    species, _, motion = name.partition("#")
    return species, motion


def find_truebones(folder: Path) -> Found:
    """Species and motions of a copy of Truebones Zoo.

    A motion is SPECIES/MOTION.fbx (also SPECIES/FBX/MOTION.fbx), SPECIES#MOTION.bvh, or the released training data's
    SPECIES#MOTION/y0.bvh, whose other views are the same motion turned.
    """
    found = Found()
    files, found.problems = _files(folder)
    views: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for path in files:
        parts = path.relative_to(folder).with_suffix("").parts
        above = [part for part in parts[:-1] if part.lower() not in _KINDS]
        yaw = _YAW.fullmatch(parts[-1])
        if yaw and above and "#" in above[-1]:
            views.setdefault(_parted(above[-1]), []).append((int(yaw[1]), path))
        elif "#" in parts[-1]:
            found.add(*_parted(parts[-1]), path)
        elif above:
            found.add(above[-1], parts[-1], path)
        else:
            found.problems.append(Problem(str(path.relative_to(folder)), "is misnamed: it lies in no folder of a species and is not called SPECIES#MOTION"))
    for (species, motion), paths in views.items():
        found.add(species, motion, min(paths)[1])
    return found


def find_objaverse(folder: Path) -> Found:
    """Objects of an Objaverse download: each file is a rig of its own, called as the file; its motions are its actions."""
    found = Found()
    files, found.problems = _files(folder)
    for path in files:
        if path.stem in found.species:
            found.problems.append(Problem(str(path.relative_to(folder)), "has the name of another file, which was taken"))
        else:
            found.add(path.stem, path.stem, path)
    return found


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass(frozen=True)
class Split:
    """A test split by name: group (seen, rare, unseen) by species and motion, "" for a species as a whole.

    All else trains, save other motions of unseen species.
    """

    groups: dict[tuple[str, str], str]

    @classmethod
    def load(cls, path: Path) -> Split:
        """From the released JSON: group to `Species#Motion` to the yaw of the test view."""
        entries = json.loads(path.read_text("utf-8"))
        return cls({_parted(name): group for group, names in entries.items() for name in names})

    def known_species(self, species: str) -> str | None:
        """The split's own writing of a species' name, which may differ in case and punctuation alone."""
        return next((name for name, _ in self.groups if _letters(name) == _letters(species)), None)

    def known_motion(self, species: str, motion: str) -> str | None:
        """The split's own writing of a motion's name: case and punctuation may differ, and the species may be said in front or not."""
        known, mine = self.known_species(species), _letters(motion)
        return next((name for of, name in self.groups if of == known and mine in (_letters(name), _letters(name).removeprefix(_letters(of)))), None)

    def group(self, species: str, motion: str) -> str:
        """seen, rare, unseen or train."""
        known = self.known_species(species)
        name = self.known_motion(species, motion)
        if known is not None and name is not None:
            return self.groups[known, name]
        return "unseen" if any(of == known and group == "unseen" for (of, _), group in self.groups.items()) else "train"

    def suspect(self, species: str, motion: str, others: Iterable[str]) -> str | None:
        """A held-out motion that is missing among the others and that this one's name is so like that it may be it: training on it would leak."""
        if self.group(species, motion) != "train":
            return None
        there = {self.known_motion(species, other) for other in others}
        missing = [name for of, name in self.groups if of == self.known_species(species) and name not in there]
        digits = re.findall(r"\d+", motion)
        alike = [n for n in missing if re.findall(r"\d+", n) == digits and difflib.SequenceMatcher(None, _letters(n), _letters(motion)).ratio() > _ALIKE]
        return alike[0] if alike else None

    def missing(self, have: Iterable[tuple[str, str]]) -> list[Problem]:
        """Clips of the split that are not among (species, motion), a species of which nothing is there as one."""
        there = {(self.known_species(species), self.known_motion(species, motion)) for species, motion in have}
        species = {of for of, _ in there}
        lacking = [key for key in self.groups if key not in there]
        there_in_part = [(of, name) for of, name in lacking if of in species and name]
        problems = [Problem(f"{of}#{name}", f"is missing: a clip of the split's {self.groups[of, name]} part") for of, name in there_in_part]
        for gone in dict.fromkeys(of for of, _ in lacking if of not in species):
            problems.append(Problem(gone, f"is missing: of the split's {self.groups[next(key for key in lacking if key[0] == gone)]} part"))
        return problems
