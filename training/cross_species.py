"""Footage of one creature onto the rig of another, straight and in two steps: `python -m mocap_anything.training cross-species BAKED --out OUT`.

Each pair of rigs was animated alike by its artist, so the truth is known. The driving rig is filmed; beside hold and the retargeted true motion
stand *direct*, a capture straight onto the target rig that is laid over the driver's picture in the artist's pose of one frame, and *two steps*, a
capture on the driving rig that is then retargeted with both poses of that frame as the pair. Captures run with the default settings.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..backend.camera import Camera
from ..backend.capture import CaptureRequest
from ..backend.motion import Motion
from ..backend.rasterizer import draw_rig
from ..backend.reference import Reference
from ..backend.settings import CaptureSettings
from ..backend.video import Clip, open_clip
from .artist_pairs import ArtistPair, common_clips, errors, plain
from .data.asset import Asset, load_asset, motion_of
from .evaluate import markdown, without_nan
from .methods import posed
from .metrics import score
from .still_camera import film, still_camera
from .whole_capture import captured as finished

FRAMES = 32
HOLD, TRUE, DIRECT, TWO_STEPS = "hold", "true motion, retargeted", "direct", "two steps"
# driving rig, target rig, clip: where there is the choice, neither was trained on
PAIRS = (
    ("q_dino_velociraptor", "q_dino_parasaurolophus", "Attack"), ("q_animals_stag", "q_animals_deer", "Gallop_Jump"),
    ("q_animals_deer", "q_animals_stag", "Walk"), ("q_animals_donkey", "q_animals_horse", "Walk"), ("q_animals_fox", "q_animals_wolf", "Gallop"),
    ("qfbx_pug", "qfbx_horse", "Jump"), ("qfbx_horse", "qfbx_pug", "Jump"), ("qfbx_cat", "qfbx_wolf", "Walking"),
    ("qfbx_robot", "robot_expressive", "Dance"), ("kaykit_mage", "kaykit_knight", "2H_Melee_Attack_Spin"),
    ("q_monster_standing_dino", "q_monster_standing_bunny", "Wave"), ("q_monster_flying_squidle", "q_monster_flying_dragon_evolved", "Fast_Flying"),
    ("q_cutefish_betta", "q_cutefish_swordfish", "Swimming_Fast"), ("q_enemy_snake", "q_enemy_snake_angry", "Attack"),
)  # fmt: skip
COLUMNS = {
    "driven bones °": "driven", "moving bones °": "rotation", "MPJPE %": "mpjpe", "joints, middles together %": "joints", "jitter / truth": "jitter_ratio",
}  # fmt: skip
_VIEW = 1.3  # sides of the sheet's pictures, of the box in which the rig moves
_PAPER, _INK = (32, 33, 36), (225, 225, 225)


def make_pair(driving: Asset, target: Asset, name: str) -> ArtistPair:
    """The first FRAMES of a clip that both have, its middle frame as reference and pose pair. Raises ValueError where there is none."""
    for theirs, mine in common_clips(driving, target):
        if name in (plain(mine.name), plain(theirs.name), plain(mine.name).partition("_")[2]):
            count = min(len(mine.pose), FRAMES)
            return ArtistPair(driving, target, replace(theirs, pose=theirs.pose[:count]), replace(mine, pose=mine.pose[:count]), count // 2)
    raise ValueError(f"{driving.name} and {target.name} have no clip '{name}' of as many frames")


def captured(asset: Asset, pose: np.ndarray, clip: Clip, camera: Camera, index: int, settings: CaptureSettings) -> Motion:
    """The whole pipeline on one rig, in pose (J, 4, 4) on one frame of a video."""
    moment = float(clip.times[index])
    reference = Reference(clip.frame_at(moment), camera, pose.astype(np.float64), moment)
    up = np.asarray(asset.up, np.float64)
    return finished(CaptureRequest(asset.rig, clip, camera, (reference,), settings, (up[0], up[1], up[2]))).motion


def poses_of_pair(pair: ArtistPair, path: Path, settings: CaptureSettings, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any], Camera]:
    """Poses (T, J, 4, 4) of the target by way, what is to be told about the capture on the driving rig, and the camera before the target.

    path: where the video goes.
    """
    theirs = pair.theirs.pose.astype(np.float64)
    camera = still_camera(pair.driving, theirs, seed)
    film(path, pair.driving, theirs, pair.theirs.fps, camera, seed)
    clip = open_clip(path)
    over = Camera(camera.intrinsics, camera.from_armature @ pair.laid_over(), camera.width, camera.height)
    started = time.monotonic()
    first = captured(pair.driving, theirs[pair.pair], clip, camera, pair.pair, settings)
    between = time.monotonic()
    straight = captured(pair.target, pair.truth[pair.pair], clip, over, pair.pair, settings)
    seconds = [between - started, time.monotonic() - between]
    got = posed(first.rotations, first.heads)
    told = {"seconds": seconds, "driver": score(pair.driving.rig, theirs, got, pair.theirs.fps, np.asarray(pair.driving.up), pair.pair)}
    poses = {
        HOLD: np.broadcast_to(pair.truth[pair.pair], pair.truth.shape), TRUE: pair.carried(motion_of(theirs, pair.theirs.fps)),
        DIRECT: posed(straight.rotations, straight.heads), TWO_STEPS: pair.carried(first),
    }  # fmt: skip
    return poses, told, over


def measure(pair: ArtistPair, pose: np.ndarray) -> dict[str, float]:
    """Metrics of the target's poses against the artist's, the keyed frame left out.

    driven: degrees over all driven bones, moving or not. joints: % of the size, the means of all driven heads laid together, since a root that
    stays on the ground while the body jumps makes MPJPE a measure of travel.
    """
    rig, others = pair.target.rig, np.arange(len(pose)) != pair.pair
    scores = score(rig, pair.truth, pose, pair.mine.fps, np.asarray(pair.target.up), pair.pair)
    heads, got = (track[others][:, rig.driven, :3, 3] for track in (pair.truth, pose))
    apart = (got - got.mean(1, keepdims=True)) - (heads - heads.mean(1, keepdims=True))
    return {"driven": float(errors(pair, pose)[others].mean()), "joints": 100 * float(np.linalg.norm(apart, axis=-1).mean()) / rig.size, **scores}


def sheet(path: Path, video: Path, pair: ArtistPair, poses: dict[str, np.ndarray], camera: Camera, count: int = 6, cell: int = 200) -> None:
    """A PNG with the video, the artist's target and the target by each way, in one view, at some times."""
    clip = open_clip(video)
    chosen = np.linspace(0, len(pair.truth) - 1, count).round().astype(int)
    rows = {"the artist's": pair.truth, **{name: poses[name] for name in (DIRECT, TWO_STEPS)}}
    seen = camera.project(pair.truth[:, pair.target.rig.driven, :3, 3].reshape(-1, 3))
    side = int(min(_VIEW * np.ptp(seen, axis=0).max(), camera.width))
    left, top = (int(v) for v in np.clip((seen.min(0) + seen.max(0) - side) / 2, 0, camera.width - side))
    near = Camera(camera.intrinsics - [0, 0, left, top], camera.from_armature, side, side)
    picture = Image.new("RGB", (count * cell, (len(rows) + 1) * (cell + 20)), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, name in enumerate([f"video of {pair.driving.name}, {plain(pair.theirs.name)}", *(f"{pair.target.name}, {name}" for name in rows)]):
        pen.text((4, row * (cell + 20) + 2), name, _INK, font)
    for column, index in enumerate(chosen):
        frame = Image.fromarray(clip.frame_at(float(clip.times[index]))).crop((left, top, left + side, top + side))
        picture.paste(frame.resize((cell, cell)), (column * cell, 20))
        for row, pose in enumerate(rows.values(), 1):
            drawn = draw_rig(pair.target.rig, pose[index], near, (cell, cell), (90, 92, 96))[0]
            picture.paste(Image.fromarray(drawn), (column * cell, row * (cell + 20) + 20))
    picture.save(path, "PNG")


def report(entries: Sequence[dict[str, Any]]) -> str:
    """Markdown: means of every way over pairs, then each pair, its seeds averaged."""
    pairs: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        pairs.setdefault((entry["driving"], entry["target"], entry["clip"]), []).append(entry)
    summary = [["way", *COLUMNS]]
    for way in (HOLD, DIRECT, TWO_STEPS, TRUE):
        means = [_mean([_mean([entry["scores"][way][name] for entry in part]) for part in pairs.values()]) for name in COLUMNS.values()]
        summary.append([way, *(f"{value:.2f}" for value in means)])
    return f"{markdown(summary)}\n\n{markdown([list(_PAIR_COLUMNS), *(_row(part) for part in pairs.values())])}"


_PAIR_COLUMNS = (
    "driving → target", "clip", "frames", "capture on the driver °", *(f"{way} °" for way in (HOLD, DIRECT, TWO_STEPS, TRUE)),
    *(f"{way}, joints %" for way in (HOLD, DIRECT, TWO_STEPS)),
)  # fmt: skip


def _row(part: Sequence[dict[str, Any]]) -> list[str]:
    entry = part[0]
    names = " → ".join(f"{entry[side]}{' (training)' if entry[f'{side}_split'] == 'train' else ''}" for side in ("driving", "target"))
    ways = [_mean([e["scores"][way]["rotation"] for e in part]) for way in (HOLD, DIRECT, TWO_STEPS, TRUE)]
    joints = [_mean([e["scores"][way]["joints"] for e in part]) for way in (HOLD, DIRECT, TWO_STEPS)]
    values = [_mean([e["driver"]["rotation"] for e in part]), *ways, *joints]
    return [names, entry["clip"], str(entry["frames"]), *(f"{value:.1f}" for value in values)]


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training cross-species", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("baked", type=Path, help="folder of baked rigs")
    parser.add_argument("--out", type=Path, default=Path("out/cross_species"), help="results, videos and sheets (default: %(default)s)")
    parser.add_argument("--model", default=CaptureSettings.model, help="a bundled model's name or a .safetensors file (default: %(default)s)")
    parser.add_argument("--pair", nargs=3, action="append", metavar=("DRIVING", "TARGET", "CLIP"), help="instead of the pairs of the module; may be repeated")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each another camera, look and scenery (default: %(default)s)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = CaptureSettings(model=args.model, device="cpu")
    entries: list[dict[str, Any]] = []
    for driving, target, name in args.pair or PAIRS:
        pair = make_pair(load_asset(args.baked / f"{driving}.npz"), load_asset(args.baked / f"{target}.npz"), name)
        place = {"driving": driving, "target": target, "clip": name, "frames": len(pair.truth)}
        place |= {"driving_split": pair.driving.split, "target_split": pair.target.split}
        for seed in args.seeds:
            stem = args.out / f"{driving}_{target}_{seed}"
            poses, told, camera = poses_of_pair(pair, stem.with_suffix(".mp4"), settings, seed)
            entries.append(place | {"seed": seed} | told | {"scores": {way: measure(pair, pose) for way, pose in poses.items()}})
            sheet(stem.with_suffix(".png"), stem.with_suffix(".mp4"), pair, poses, camera)
            shown = ", ".join(f"{way} {scores['rotation']:.1f}°" for way, scores in entries[-1]["scores"].items())
            print(f"{pair.title}, seed {seed}: {shown} ({sum(told['seconds']):.0f} s)", file=sys.stderr, flush=True)
        (args.out / "results.json").write_text(json.dumps(without_nan(entries), indent=1))
        (args.out / "results.md").write_text(report(entries) + "\n")
    print(report(entries))
    return 0


if __name__ == "__main__":
    sys.exit(main())
