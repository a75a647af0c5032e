"""What the papers' evaluation is made on: stretches of held-out clips, each with a reference after one of three protocols."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from .data.asset import Asset, AssetClip, load_asset

Protocol = Literal["same-clip", "aligned", "other-clip"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
SPLITS = ("seen", "rare", "unseen")
FRAMES = 32  # the papers' clips: the first 32 frames
_LEAST = 8  # frames that a clip must have


@dataclass(frozen=True, eq=False)
class Take:
    """One clip to be told from one reference.

    asset: with the rig. clip: the whole one. frames: (T,) which of its frames. reference: the clip that the reference is from, and which
    frame of it. keyed: row of `frames` that is the reference, left out of averages; None where the reference is of another clip.
    group: the same for takes that share skeleton and motion, which count once.
    """

    asset: Asset
    clip: AssetClip
    frames: np.ndarray
    reference: tuple[AssetClip, int]
    keyed: int | None
    split: str
    group: str

    @property
    def pose(self) -> np.ndarray:
        """(T, J, 4, 4) float64 true bone to armature."""
        return self.clip.pose[self.frames].astype(np.float64)

    @property
    def reference_pose(self) -> np.ndarray:
        """(J, 4, 4) float64."""
        clip, frame = self.reference
        return clip.pose[frame].astype(np.float64)

    @property
    def times(self) -> np.ndarray:
        """(T,) seconds since the clip's start."""
        return self.frames / self.clip.fps


def make_take(asset: Asset, clip: AssetClip, protocol: Protocol, split: str) -> Take | None:
    """A clip after a protocol; None where the rig has no other clip to take a reference from.

    same-clip: the first frame of the stretch (both papers). aligned: its middle one, as an animator would key. other-clip: the middle of
    the next clip by name, a pose that need not occur in this one.
    """
    frames = np.arange(min(len(clip.pose), FRAMES))
    text = json.dumps([asset.rig.names, asset.rig.parents.tolist(), clip.name])
    take = Take(asset, clip, frames, (clip, 0), 0, split, hashlib.sha256(text.encode()).hexdigest()[:12])
    if protocol == "same-clip":
        return take
    if protocol == "aligned":
        middle = len(frames) // 2
        return replace(take, reference=(clip, middle), keyed=middle)
    names = sorted(other.name for other in asset.clips)
    following = names[(names.index(clip.name) + 1) % len(names)]
    other = next(c for c in asset.clips if c.name == following)
    return None if other is clip else replace(take, reference=(other, len(other.pose) // 2), keyed=None)


def takes(folder: Path, protocol: Protocol, splits: tuple[str, ...], clips_per_rig: int | None = None, only: tuple[str, ...] = ()) -> Iterator[Take]:
    """Takes of every held-out clip of the baked rigs in a folder, rig by rig; of many clips some, evenly by name."""
    for path in sorted(folder.glob("*.npz")):
        if only and path.stem not in only:
            continue
        asset = load_asset(path)
        split = "seen" if asset.split == "train" else asset.split
        if split not in splits:
            continue
        clips = sorted((c for c in asset.clips if c.held_out and len(c.pose) >= _LEAST), key=lambda c: c.name)
        count = min(len(clips), clips_per_rig or len(clips))
        for index in np.unique(np.linspace(0, len(clips) - 1, count).astype(int)) if count else []:
            take = make_take(asset, clips[index], protocol, split)
            if take is not None:
                yield take
