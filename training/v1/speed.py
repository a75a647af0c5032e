"""V1 against V2 on one clip and one machine: `python -m mocap_anything.training speed [--frames 120]`; seconds and operations of every stage.

Time does not depend on what the weights have learned: without --model and --v1 both are fresh, of the sizes that are trained here. The
published sizes are computed beside it (flops.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ...backend.model.checkpoint import load_model
from ...backend.model.config import ModelConfig
from ...backend.model.network import Video2Pose2Rot
from ..data.asset import load_asset
from ..evaluate import markdown
from ..filming import Filmed, film, motion_of_turns
from ..network_methods import v1_rotations
from ..takes import Take, make_take
from .config import V1Config
from .flops import published, total
from .network import MoCapV1, load_v1

Result = TypeVar("Result")
_WARM = 4  # frames of a first run that is not counted


@dataclass
class Stage:
    """What one stage took for the whole clip: seconds, and operations as torch counts matrix products."""

    model: str
    name: str
    seconds: float
    flops: float


class Clock:
    """Runs stages and keeps what they took."""

    def __init__(self, model: str, count: bool) -> None:
        self.model, self.count = model, count
        self.stages: list[Stage] = []

    def run(self, name: str, work: Callable[[], Result]) -> Result:
        flops = 0
        if self.count:  # counting slows down: a run of its own
            with FlopCounterMode(display=False) as counter:
                work()
            flops = counter.get_total_flops()
        started = time.perf_counter()
        result = work()
        self.stages.append(Stage(self.model, name, time.perf_counter() - started, float(flops)))
        return result


def run_v1(model: MoCapV1, take: Take, filmed: Filmed, count: bool = False) -> list[Stage]:
    """All stages of V1 from pictures to poses."""
    clock, x = Clock("V1", count), filmed.x
    assert filmed.ref_surface is not None
    ref_surface = filmed.ref_surface[None]
    with torch.inference_mode():
        tokens, ref_tokens = clock.run("image tokens", lambda: (model.encode(x.images), model.encode(x.ref_images[:, :1])[:, 0]))
        surface = clock.run("video2mesh", lambda: model.video2mesh(tokens, x.times, x.frame_mask))
        xyz = clock.run("mesh2pose", lambda: model.mesh2pose(x, ref_tokens, ref_surface, tokens, surface))
    clock.run("inverse kinematics", lambda: v1_rotations(take, filmed, xyz[0].float().numpy()))
    return clock.stages


def run_v2(model: Video2Pose2Rot, take: Take, filmed: Filmed, count: bool = False) -> list[Stage]:
    """All stages of V2 from pictures to poses."""
    clock, x = Clock("V2", count), filmed.x
    with torch.inference_mode():
        state = clock.run("reference", lambda: model.encode_references(x))
        tokens, fine, _ = clock.run("image tokens, matching", lambda: model.encode_frames(x.images, state))
        flat = fine.flatten(0, 1)
        found = clock.run("video2pose, 2D", lambda: model.video2pose.find(x, tokens, flat, state.samples, state.prompts))
        uv, xyz, log_error, features = clock.run("video2pose, 3D", lambda: model.video2pose(x, found, flat))
        turn, _ = clock.run("pose2rot", lambda: model.pose2rot(x, xyz, log_error, features))
    parts = [value[0].float().numpy() for value in (turn, uv, log_error.exp())]
    clock.run("turns to poses", lambda: motion_of_turns(take, filmed, *parts))
    return clock.stages


def clip_of(path: Path | None, frames: int) -> Take:
    """A take of so many frames: a baked rig's longest clip, or a procedural quadruped's, played again from the start where it is shorter."""
    if path is None:
        from ..zoo import make_creature

        asset = make_creature(np.random.default_rng(0), "quadruped")
    else:
        asset = load_asset(path)
    clip = max(asset.clips, key=lambda c: len(c.pose))
    long = replace(clip, pose=clip.pose[np.arange(frames) % len(clip.pose)])
    take = make_take(asset, long, "same-clip", "seen")
    assert take is not None
    return replace(take, frames=np.arange(frames))


def report(stages: list[Stage], frames: int, bones: int) -> str:
    """Markdown: what was measured, then what was computed."""
    seconds = {model: sum(s.seconds for s in stages if s.model == model) for model in ("V1", "V2")}
    rows = [["model", "stage", "s", "GFLOP / frame"]]
    rows += [[s.model, s.name, f"{s.seconds:.2f}", f"{s.flops / frames / 1e9:.3f}" if s.flops else ""] for s in stages]
    rows += [[model, "all", f"{value:.2f}", f"{sum(s.flops for s in stages if s.model == model) / frames / 1e9:.3f}"] for model, value in seconds.items()]
    parts = published(bones)
    sizes = [["published model", "stage", "GFLOP / frame, computed", "from"], *([p.model, p.name, f"{p.flops / 1e9:.3g}", p.how] for p in parts)]
    measured = f"{frames} frames, {bones} driven bones, {torch.get_num_threads()} threads: V1, with the small reconstructor, takes "
    measured += f"{seconds['V1'] / seconds['V2']:.2f} times as long as V2."
    computed = f"Of the published sizes V1 needs {total(parts, 'V1') / total(parts, 'V2'):.0f} times the operations of V2."
    return "\n\n".join([measured, markdown(rows), computed, markdown(sizes)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training speed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, default=120, help="(default: %(default)s)")
    parser.add_argument("--rig", type=Path, help="a baked rig (default: a procedural quadruped)")
    parser.add_argument("--v1", type=Path, help="a trained V1 model (default: fresh weights)")
    parser.add_argument("--model", type=Path, help="a V2 model file (default: fresh weights)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="also write OUT.json and OUT.md")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    first = load_v1(args.v1) if args.v1 else MoCapV1(V1Config()).eval().requires_grad_(False)
    second = load_model(args.model) if args.model else Video2Pose2Rot(ModelConfig()).eval().requires_grad_(False)
    for frames in (_WARM, args.frames):
        take = clip_of(args.rig, frames)
        filmed = film(take, second.config.image_size, first.config.surface_points)
        stages = run_v1(first, take, filmed) + run_v2(second, take, filmed)
    short = clip_of(args.rig, _WARM)  # operations grow with the frames: a few are enough to count them
    counted = film(short, second.config.image_size, first.config.surface_points)
    for stage, other in zip(stages, run_v1(first, short, counted, True) + run_v2(second, short, counted, True), strict=True):
        stage.flops = other.flops * args.frames / _WARM
    text = report(stages, args.frames, len(filmed.body.bones))
    if args.out:
        args.out.with_suffix(".json").write_text(json.dumps([vars(stage) for stage in stages], indent=1))
        args.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
