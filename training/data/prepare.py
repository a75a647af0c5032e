"""Bake what a user brings: `python -m mocap_anything.training prepare truebones|objaverse DIR [--out OUT]`; goes on where it stopped.

Nothing stops it: whatever is missing, misnamed, unreadable, without animation or of another skeleton is listed, in the end and in OUT/report.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .asset import Asset, AssetClip
from .bake import Animated, read_file, write_asset
from .merge import carry_over, choose_base, similarity
from .user_files import Found, Problem, Split, find_objaverse, find_truebones

log = logging.getLogger(__name__)

RELEASED_SPLIT = Path(__file__).resolve().parents[3] / "shared" / "truebones" / "split.json"
# neither collection may be passed on: a model that ships must not learn from it (data/stream.py)
LICENCES = {"truebones": "LicenseRef-Truebones", "objaverse": "LicenseRef-Objaverse"}
_STILL = 1e-5  # of the size, and of a turn's matrix: a clip in which no bone moves more has no animation


@dataclass(frozen=True)
class Piece:
    """One motion that was read: its name, its file, and what the file holds."""

    motion: str
    path: Path
    content: Animated


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Journal:
    """What was done, in OUT/prepared.json: species whose files are as they were are not read again.

    A file that is being imported is named in OUT/.importing: where Blender itself dies of one, the next call leaves it out.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        self.path, self.marker, self.folder = out / "prepared.json", out / ".importing", folder
        out.mkdir(parents=True, exist_ok=True)
        content = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}
        self.species: dict[str, dict[str, Any]] = content.get("species", {})
        self.deadly: list[str] = content.get("deadly", [])
        if self.marker.is_file():
            self.deadly.append(self.marker.read_text("utf-8"))
            self.save()
            self.marker.unlink()

    def save(self) -> None:
        part = self.path.with_suffix(".tmp")
        part.write_text(json.dumps({"species": self.species, "deadly": self.deadly}, indent=1, ensure_ascii=False), "utf-8")
        part.replace(self.path)

    def state_of(self, motions: dict[str, list[Path]], settings: str) -> list[object]:
        """What a species' result depends on: its files with size and time, and how they are split."""
        files = sorted(path for paths in motions.values() for path in paths)
        return [settings, *([str(p.relative_to(self.folder)), p.stat().st_size, p.stat().st_mtime_ns] for p in files)]

    def read(self, path: Path) -> Animated:
        """A file's content; raises ValueError with the reason where there is none."""
        name = str(path.relative_to(self.folder))
        if name in self.deadly:
            raise ValueError("Blender itself ended while reading it")
        self.marker.write_text(name, "utf-8")
        try:
            return read_file(path)
        except Exception as error:  # importers raise whatever they meet: one broken file must not stop the others
            log.debug("%s", name, exc_info=True)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ValueError(f"cannot be read: {reason}") from error
        finally:
            self.marker.unlink(missing_ok=True)


def read_motions(journal: Journal, motions: dict[str, list[Path]]) -> tuple[list[Piece], list[Problem]]:
    """Every motion from the first of its files that can be read."""
    pieces, problems = [], []
    for motion, paths in sorted(motions.items()):
        for path in paths:
            try:
                pieces.append(Piece(motion, path, journal.read(path)))
                break
            except ValueError as error:
                problems.append(Problem(str(path.relative_to(journal.folder)), str(error)))
    return pieces, problems


def moves(clip: AssetClip, size: float) -> bool:
    """Whether anything moves in a clip."""
    return len(clip.pose) > 1 and bool((np.ptp(clip.pose, axis=0) > _STILL * np.array([1, 1, 1, size])).any())


def one_rig(pieces: list[Piece], folder: Path) -> tuple[Animated, list[AssetClip], list[Problem]]:
    """The species' rig and all clips on it; files whose skeletons disagree with it are left out."""
    base = pieces[choose_base([piece.content for piece in pieces])]
    clips: dict[str, AssetClip] = {}
    problems = []
    for piece in pieces:
        name, content = str(piece.path.relative_to(folder)), piece.content
        change = similarity(base.content, content)
        living = [clip for clip in content.clips if moves(clip, content.rig.size)]
        if isinstance(change, str):
            problems.append(Problem(name, f"{change}, unlike {base.path.relative_to(folder)}"))
        elif not living:
            problems.append(Problem(name, "has no animation" + (", but gave the rig" if piece is base else "")))
        else:
            for clip in living:
                # a file of one motion is called after it; one of many calls its actions by their motions
                label = piece.motion if len(living) == 1 else re.split(r"[|]", clip.name)[-1]
                if label in clips:
                    problems.append(Problem(f"{name}: {clip.name}", "has the name of another motion, which was taken"))
                    continue
                pose = clip.pose if piece is base else carry_over(base.content.rig, content.rig, change, clip.pose).astype(np.float32)
                clips[label] = replace(clip, name=label, pose=pose)
    return base.content, list(clips.values()), problems


def sort_out(kind: str, species: str, rig: Animated, clips: list[AssetClip], split: Split) -> tuple[list[Asset], list[Problem]]:
    """Assets of a species by part of the split: `train` with its held-out clips marked, `rare` and `unseen` apart."""
    parts: dict[str, list[AssetClip]] = {}
    problems = []
    for clip in clips:
        if like := split.suspect(species, clip.name, [c.name for c in clips]):
            problems.append(Problem(f"{species}#{clip.name}", f"is misnamed or not of the split: it may be the held-out '{like}', which is missing; rename it"))
            continue
        group = split.group(species, clip.name)
        parts.setdefault("train" if group == "seen" else group, []).append(replace(clip, held_out=group != "train"))
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", species)
    slug = slug if slug == species else f"{slug}-{_digest(species)}"  # two species must not share a file
    notes = {"species": species, "source": kind, "armature": rig.armature}
    names = {part: slug if part == "train" or len(parts) == 1 else f"{slug}.{part}" for part in parts}
    return [Asset(names[part], rig.rig, tuple(kept), rig.up, "", part, LICENCES[kind], notes) for part, kept in parts.items()], problems


def prepare(kind: str, found: Found, split: Split, journal: Journal, out: Path) -> None:
    """Bake every species that was found and is not done yet."""
    settings = _digest(json.dumps(sorted((*key, group) for key, group in split.groups.items())))
    for number, (species, motions) in enumerate(sorted(found.species.items()), 1):
        state = journal.state_of(motions, settings)
        before = journal.species.get(species, {})
        if before.get("state") == state and all((out / f"{name}.npz").is_file() for name in before.get("assets", [])):
            continue
        assets: list[Asset] = []
        pieces, problems = read_motions(journal, motions)
        if pieces:
            rig, clips, more = one_rig(pieces, journal.folder)
            assets, suspects = sort_out(kind, species, rig, clips, split)
            problems += more + suspects
        for stale in set(before.get("assets", [])) - {asset.name for asset in assets}:
            (out / f"{stale}.npz").unlink(missing_ok=True)
        for asset in assets:
            write_asset(asset, out)
        journal.species[species] = {
            "state": state, "assets": [asset.name for asset in assets], "clips": [c.name for asset in assets for c in asset.clips],
            "problems": [asdict(problem) for problem in problems],
        }  # fmt: skip
        journal.save()
        log.info("%4d/%d %-30s %3d clips of %3d motions, %d left out", number, len(found.species), species,
                 sum(len(asset.clips) for asset in assets), len(motions), len(problems))


def write_report(out: Path, found: Found, split: Split, journal: Journal) -> tuple[int, list[Problem]]:
    """OUT/report.md: how many clips there are, and everything that was left out. Returns both."""
    done = {species: entry for species, entry in journal.species.items() if species in found.species}
    have = [(species, motion) for species, entry in done.items() for motion in entry["clips"]]
    problems = [*found.problems, *(Problem(**p) for entry in done.values() for p in entry["problems"]), *split.missing(have)]
    counts: dict[str, int] = {}
    for species, motion in have:
        counts[split.group(species, motion)] = counts.get(split.group(species, motion), 0) + 1
    parts = ", ".join(f"{count} {group}" for group, count in sorted(counts.items())) or "none"
    lines = ["# Prepared", "", f"{len(have)} clips of {sum(bool(e['clips']) for e in done.values())} species: {parts}.", "", f"{len(problems)} left out:", ""]
    (out / "report.md").write_text("\n".join(lines + [f"- `{p.what}` {p.why}" for p in problems]) + "\n", "utf-8")
    return len(have), problems


def main(argv: list[str] | None = None) -> int:
    """Prepare a folder; 1 only if not a single clip came of it."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training prepare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=sorted(LICENCES), help="what lies in DIR")
    parser.add_argument("folder", type=Path, metavar="DIR", help="truebones: SPECIES/MOTION.fbx …; objaverse: one file per object, at any depth")
    parser.add_argument("--out", type=Path, help="where NAME.npz go (default: out/KIND)")
    parser.add_argument("--split", type=Path, help="test clips, truebones (default: ../shared/truebones/split.json); objaverse: a list of ids, one a line")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    folder, out = args.folder.resolve(), args.out or Path("out") / args.kind
    place = args.split or (RELEASED_SPLIT if args.kind == "truebones" else None)
    if place is not None and not place.is_file():
        parser.error(f"there is no split at {place}: name the file that says which clips are for testing with --split")
    found = find_truebones(folder) if args.kind == "truebones" else find_objaverse(folder)
    split = Split({})
    if place is not None:
        split = Split.load(place) if args.kind == "truebones" else Split({(i, ""): "unseen" for i in place.read_text("utf-8").split()})
    journal = Journal(out, folder)
    prepare(args.kind, found, split, journal, out)
    count, problems = write_report(out, found, split, journal)
    for problem in problems:
        log.info("left out: %s %s", problem.what, problem.why)
    log.info("%d clips in %s; %d things left out, listed in %s", count, out, len(problems), out / "report.md")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
