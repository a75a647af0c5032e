"""Closed-loop cases: `python -m mocap_anything.training.cases RIGS OUT --split unseen,rare`.

For each rig of the split one animation is rendered before a background of our own through a random camera. A case holds `rig.blend` (what an
animator would hand to a capture: the rig keyed on one frame in the middle, the scene's camera set up), `clip.mp4` and `truth.npz`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backend.rig import Rig
from .metrics import counted_bones, geodesic, parent_local, rotation_range

log = logging.getLogger(__name__)

FPS = 24
SENSOR = 36.0  # mm across the picture's longer side, Blender's default


@dataclass(frozen=True)
class Take:
    """How one clip is filmed.

    start, step: first frame and frames per picture frame, in the animation sampled at FPS. yaw, pitch: where the camera stands around the
    subject, radians, pitch from above. focal: mm. span: share of the picture's height that the subject takes in the middle.
    """

    start: float
    step: float
    frames: int
    yaw: float
    pitch: float
    focal: float
    span: float


@dataclass(frozen=True)
class Truth:
    """What a case's truth.npz holds.

    names: J bones. pose: (T, J, 4, 4) bone to armature. reference: index of the keyed frame. up: (3,) against gravity, armature frame.
    group: the same for cases that share skeleton and motion, which count once.
    """

    rig: str
    split: str
    clip: str
    group: str
    names: tuple[str, ...]
    pose: np.ndarray
    reference: int
    up: np.ndarray
    fps: float = FPS

    def save(self, path: Path) -> None:
        header = {field: getattr(self, field) for field in ("rig", "split", "clip", "group", "names", "reference", "fps")}
        np.savez_compressed(path, pose=self.pose, up=self.up, header=np.frombuffer(json.dumps(header).encode(), np.uint8))

    @classmethod
    def load(cls, path: Path) -> Truth:
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(data["header"].tobytes())
            names = tuple(header.pop("names"))
            return cls(names=names, pose=data["pose"], up=data["up"], **header)


def seed_of(name: str, seed: int) -> np.random.Generator:
    """The same stream for a rig whatever else is rendered."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def group_of(rig: Rig, clip: str) -> str:
    """Names skeleton and clip: rigs of one family share both, and count once."""
    text = json.dumps([rig.names, rig.parents.tolist(), clip])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plain(name: str) -> str:
    """A clip's name without its armature's before it and a number behind it: the same motion may be there twice."""
    return name.rpartition("|")[2].split(".")[0].lower()


def motion_amount(rig: Rig, pose: np.ndarray) -> float:
    """Mean over time of the angle in degrees of moving bones from the middle frame: how wrong it would be to hold that pose."""
    local = parent_local(rig, pose)
    moving = counted_bones(rig) & (rotation_range(local) >= 1.0)
    return float(geodesic(local, local[len(local) // 2]).mean(0)[moving].mean()) if moving.any() else 0.0


def choose_clip(rig: Rig, clips: list[np.ndarray], seed: int, enough: int = 24) -> int:
    """Index of the clip to film: of those with enough frames (all, if none has), the most moving, the next one for each further seed."""
    long = [i for i, pose in enumerate(clips) if len(pose) >= enough] or list(range(len(clips)))
    ranked = sorted(long, key=lambda i: -motion_amount(rig, clips[i]))
    return ranked[seed % len(ranked)]


def plan_take(rng: np.random.Generator, rig: Rig, pose: np.ndarray, frames: int) -> Take:
    """A random camera, and the liveliest stretch of the animation; one clip in four is played slower or faster."""
    step = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))) if rng.uniform() < 0.25 else 1.0
    count = int(min(frames, np.floor((len(pose) - 1) / step) + 1))
    local = parent_local(rig, pose)[:, counted_bones(rig)]
    speed = np.concatenate([[0.0], np.cumsum(geodesic(local[1:], local[:-1]).mean(-1))])
    last = len(pose) - 1 - int(np.ceil((count - 1) * step))
    span = len(pose) - 1 - last
    start = int(np.argmax([speed[s + span] - speed[s] for s in range(last + 1)]))
    return Take(
        start, step, count, yaw=float(rng.uniform(-np.pi, np.pi)), pitch=float(np.radians(rng.uniform(-10, 45))),
        focal=float(np.exp(rng.uniform(np.log(28), np.log(85)))), span=float(rng.uniform(0.45, 0.7)),
    )


def look(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(4, 4) camera to world of a Blender camera (looks along -z, y up) at eye, level with the horizon."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = np.stack([right, np.cross(back, right), back], -1)
    out[:3, 3] = eye
    return out


def aim(take: Take, points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Camera to world (4, 4) that keeps points (T, N, 3) (world, z up) in the picture throughout.

    The subject takes `span` of the height in the middle frame, or less where it would else leave the picture.
    """
    direction = np.array([np.cos(take.pitch) * np.cos(take.yaw), np.cos(take.pitch) * np.sin(take.yaw), np.sin(take.pitch)])
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    target, size = (low + high) / 2, float(np.linalg.norm(high - low))
    focal = take.focal / SENSOR * max(width, height)
    distance = size * focal / (take.span * height)
    for _ in range(12):
        matrix = look(target + distance * direction, target)
        local = (points - matrix[:3, 3]) @ matrix[:3, :3]
        pixel = focal * local[..., :2] / np.maximum(-local[..., 2:], 0.05 * distance)
        low, high = pixel.reshape(-1, 2).min(0), pixel.reshape(-1, 2).max(0)
        middle = np.ptp(pixel[len(pixel) // 2], axis=0)
        # The larger side of a long subject counts too: a snake seen from its side is no speck.
        share = max(middle[1] / (take.span * height), 0.75 * middle[0] / (take.span * width), (high - low)[0] / (0.9 * width), (high - low)[1] / (0.9 * height))
        target = target + matrix[:3, :2] @ ((low + high) / 2) * distance / focal
        distance *= share
    return look(target + distance * direction, target)


def selected(rigs: Path, splits: set[str], only: list[str], limit: int | None) -> list[dict[str, Any]]:
    """Entries of the index; `seen` are the rigs for training, of which the held-out clips are filmed."""
    index = json.loads((rigs / "index.json").read_text())
    chosen = [e for e in index if ("seen" if e["split"] == "train" else e["split"]) in splits and (not only or e["name"] in only)]
    return chosen[:limit]


def main(argv: list[str] | None = None) -> int:
    """Render the cases; a rig that fails is named and skipped."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training.cases", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rigs", type=Path, help="folder with index.json and a folder per rig")
    parser.add_argument("out", type=Path, help="where the cases go, one folder each")
    parser.add_argument("--split", default="unseen,rare", help="comma-separated: seen, rare, unseen (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], help="these rigs alone")
    parser.add_argument("--limit", type=int, help="the first N rigs alone")
    parser.add_argument("--frames", type=int, default=48, help="at most (default: %(default)s)")
    parser.add_argument("--resolution", default="400x300", help="WIDTHxHEIGHT (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=4, help="Cycles samples a pixel (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another camera, background and clip of each rig (default: %(default)s)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from .case_render import NoClip, render_case  # here: the planning above needs no Blender

    width, height = (int(side) for side in args.resolution.lower().split("x"))
    failed, groups = [], set()
    for entry in selected(args.rigs, set(args.split.split(",")), args.only, args.limit):
        folder = args.out / entry["name"]
        if (folder / "truth.npz").exists():
            groups.add(Truth.load(folder / "truth.npz").group)
            continue
        try:
            line = render_case(entry, args.rigs, folder, args.seed, args.frames, (width, height), args.samples, groups)
            log.info("%-34s %s", entry["name"], line)
        except NoClip as reason:
            log.info("%-34s left out: %s", entry["name"], reason)
        except Exception as error:  # one broken file must not stop the others
            log.exception("%s failed", entry["name"])
            failed.append(f"{entry['name']}: {error}")
    log.info("".join(f"failed: {line}\n" for line in failed) or "all rendered")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
