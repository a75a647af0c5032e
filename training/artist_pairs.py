"""Two rigs on which their artist animated the same clip: what retargeting is held to.

`python -m mocap_anything.training artist-pairs BAKED` carries every common clip of the pairs over and prints how far it is from the artist's, in
degrees, as a Markdown table. For clips above 3° it says which bones are at fault, and how near any choice of rest pose and axes would come.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backend.finish.smoothing import nearest
from ..backend.motion import Motion
from ..backend.retarget.correspondence import propose
from ..backend.retarget.links import Link, chain
from ..backend.retarget.transfer import Posed, body_to_body, retarget
from .data.asset import Asset, AssetClip, load_asset, motion_of
from .methods import posed
from .metrics import geodesic, parent_local

LIMIT = 3.0  # degrees that rigs of one template may be off, as a mean over a clip's frames and driven bones
CLIPS = 14  # of a pair, by name
PAIRS = (
    ("kaykit_barbarian", "kaykit_knight"), ("kaykit_rogue", "kaykit_mage"), ("q_animals_deer", "q_animals_alpaca"), ("q_animals_deer", "q_animals_stag"),
    ("q_animals_stag", "q_animals_deer"), ("q_animals_bull", "q_animals_cow"), ("q_animals_donkey", "q_animals_horse"), ("q_animals_fox", "q_animals_wolf"),
    ("q_cube_wolf", "q_cube_sheep"), ("q_cutefish_koi", "q_cutefish_swordfish"), ("q_cutefish_koi", "q_cutefish_betta"), ("q_mech_mike", "q_mech_stan"),
    ("q_dino_parasaurolophus", "q_dino_velociraptor"), ("q_monster_standing_yeti", "q_monster_standing_frog"),
    ("q_monster_standing_dino", "q_monster_standing_bunny"), ("q_monster_flying_glub_evolved", "q_monster_flying_pigeon"),
    ("q_monster_flying_squidle", "q_monster_flying_dragon_evolved"), ("qfbx_cat", "qfbx_dog"), ("qfbx_dog", "qfbx_wolf"), ("qfbx_cat", "qfbx_wolf"),
    ("qfbx_horse", "qfbx_zebra"), ("qfbx_horse", "qfbx_cow"), ("qfbx_horse", "qfbx_pug"), ("qfbx_robot", "robot_expressive"),
    ("q_enemy_snake", "q_enemy_snake_angry"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ArtistPair:
    """One clip on two rigs. theirs, mine: the clip on the driving and on the target rig, of as many frames. pair: frame on which both mean the same."""

    driving: Asset
    target: Asset
    theirs: AssetClip
    mine: AssetClip
    pair: int = 0

    @property
    def title(self) -> str:
        return f"{self.driving.name} → {self.target.name}, {plain(self.mine.name)}"

    @property
    def truth(self) -> np.ndarray:
        """(T, J, 4, 4) what the artist made the target do."""
        return self.mine.pose.astype(np.float64)

    @property
    def posed(self) -> tuple[Posed, Posed]:
        """Both rigs (driving, target) as the artist posed them on the pair's frame."""
        return stand(self.driving, self.theirs.pose[self.pair]), stand(self.target, self.mine.pose[self.pair])

    def links(self) -> tuple[Link, ...]:
        """As proposed."""
        theirs, mine = self.posed
        return propose(mine.anatomy(), theirs.anatomy())

    def carried(self, motion: Motion) -> np.ndarray:
        """(T, J, 4, 4) the driving rig's motion on the target rig, with the default settings."""
        theirs, mine = self.posed
        found = retarget(theirs, mine, self.links(), motion)
        return posed(found.rotations, found.heads)

    def true_motion(self) -> Motion:
        """What the driving rig does."""
        return motion_of(self.theirs.pose, self.theirs.fps)

    def laid_over(self) -> np.ndarray:
        """(4, 4) the target's armature frame to the driver's, in which the target lies over the driver in the pair's poses.

        As an animator lays it: turned the way that the body faces, moved and scaled as a whole, so that linked bones are nearest each other.
        """
        theirs, mine = self.posed
        first, second = theirs.anatomy(), mine.anatomy()
        pairs = [(chain(mine.rig, link.target), chain(theirs.rig, link.driving)) for link in self.links()]
        turn = body_to_body(second, first, pairs).T
        own = np.array([second.heads[bones[end]] for bones, _ in pairs for end in (0, -1)]) @ turn.T
        other = np.array([first.heads[drivers[end]] for _, drivers in pairs for end in (0, -1)])
        own_middle, other_middle = own.mean(0), other.mean(0)
        scale = ((own - own_middle) * (other - other_middle)).sum() / np.square(own - own_middle).sum()
        place = np.eye(4)
        place[:3, :3], place[:3, 3] = scale * turn, other_middle - scale * own_middle
        return place


def stand(asset: Asset, pose: np.ndarray) -> Posed:
    """An asset's rig in a pose (J, 4, 4)."""
    return Posed(asset.rig, pose.astype(np.float64), np.asarray(asset.up, np.float64), asset.front)


def plain(name: str) -> str:
    """A clip's name without its armature and number."""
    return re.sub(r"\.\d+$", "", name.split("|")[-1])


def common_clips(driving: Asset, target: Asset) -> Iterator[tuple[AssetClip, AssetClip]]:
    """Clips of one name and as many frames on both, by name; a word that begins all of an asset's names, as its species does, does not count."""
    named = {_key(driving, clip): clip for clip in driving.clips}
    for clip in sorted(target.clips, key=lambda c: plain(c.name)):
        other = named.get(_key(target, clip))
        if other is not None and len(other.pose) == len(clip.pose) >= 8:
            yield other, clip


def _key(asset: Asset, clip: AssetClip) -> str:
    first = {plain(c.name).partition("_")[0] for c in asset.clips if len(c.pose) > 1}
    name = plain(clip.name)
    return (name.partition("_")[2] if len(first) == 1 and len(asset.clips) > 1 else name).lower()


def errors(pair: ArtistPair, pose: np.ndarray) -> np.ndarray:
    """(T, D) degrees between parent-local rotations of the target's driven bones in a pose track (T, J, 4, 4) and the artist's."""
    return geodesic(parent_local(pair.target.rig, pair.truth), parent_local(pair.target.rig, pose))[:, pair.target.rig.driven]


def nearest_by_axes(pair: ArtistPair, starts: int = 6, rounds: int = 40) -> np.ndarray:
    """(D,) mean degrees between the artist's parent-local rotations and the driver's turned by the best constants on either side, bone by bone.

    No rule that knows a rest pose, a pair of poses or bone axes comes nearer than these; bones without one of the same name are NaN.
    """
    rig, driving = pair.target.rig, pair.driving.rig
    truth, other = parent_local(rig, pair.truth), parent_local(driving, pair.theirs.pose.astype(np.float64))
    best = np.full(int(rig.driven.sum()), np.nan)
    rng = np.random.default_rng(0)
    for column, bone in enumerate(np.flatnonzero(rig.driven)):
        if rig.names[bone] not in driving.names:
            continue
        mine, theirs = truth[:, bone], other[:, driving.names.index(rig.names[bone])]
        found = []
        for start in range(starts):
            after = nearest(rng.normal(size=(3, 3))) if start else np.eye(3)
            for _ in range(rounds):
                before = nearest((mine @ np.swapaxes(theirs @ after, -1, -2)).sum(0))
                after = nearest((np.swapaxes(before @ theirs, -1, -2) @ mine).sum(0))
            found.append(geodesic(mine, before @ theirs @ after).mean())
        best[column] = min(found)
    return best


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training artist-pairs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("baked", type=Path, help="folder of baked rigs")
    parser.add_argument("--pair", nargs=2, action="append", metavar=("DRIVING", "TARGET"), help="instead of the pairs of the module; may be repeated")
    args = parser.parse_args(argv)
    print("| driving → target | clips | mean | over 3° |\n|---|---|---|---|")
    above = []
    for names in args.pair or PAIRS:
        driving, target = (load_asset(args.baked / f"{name}.npz") for name in names)
        found = {}
        for theirs, mine in list(common_clips(driving, target))[:CLIPS]:
            pair = ArtistPair(driving, target, theirs, mine)
            found[plain(mine.name)] = off = errors(pair, pair.carried(pair.true_motion()))
            above += [(pair, off)] if off.mean() > LIMIT else []
        told = ", ".join(f"{name} {off.mean():.1f}" for name, off in found.items() if off.mean() > LIMIT)
        print(f"| {' → '.join(names)} | {len(found)} | {np.mean([off.mean() for off in found.values()]):.2f} | {told} |", flush=True)
    for pair, off in above:
        best, bones = nearest_by_axes(pair), np.array(pair.target.rig.names)[pair.target.rig.driven]
        worst = ", ".join(f"{bones[n]} {off[:, n].mean():.0f}° ({best[n]:.0f}°)" for n in np.argsort(-off.mean(0))[:5])
        print(f"\n{pair.title}: {off.mean():.1f}°, with the best constants {np.nanmean(best):.1f}°: {worst}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
