"""V1 against V2 on one clip and one machine: `python -m mocap_anything.training speed [--frames 120]`; seconds and operations of every stage.

Each network alone is run a few times, from the same pictures in memory to poses: medians count, of CPU time too, which other work on the machine
disturbs less than the clock. Beside them stands a capture as a user has it, from a video and with the fit. What the weights have learned does not
matter to the networks: without --v1 V1's are fresh. The published sizes are computed (flops.py).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ...backend.capture import model_path
from ...backend.errors import CaptureError
from ...backend.model.checkpoint import load_model
from ...backend.model.network import Video2Pose2Rot
from ...backend.settings import CaptureSettings
from ..data.asset import load_asset
from ..evaluate import markdown, without_nan
from ..filming import Filmed, film, motion_of_turns
from ..network_methods import v1_rotations
from ..takes import Take, make_take
from ..whole_capture import captured, request_of
from .config import V1Config
from .flops import published, total
from .network import MoCapV1, load_v1
from .triposg.load import triposg_of
from .triposg.method import silhouettes
from .triposg.model import TripoSG

Result = TypeVar("Result")
_WARM = 4  # frames of a first run that is not counted
_ASKED = 20.0  # times as fast V2 should be


@dataclass
class Stage:
    """What one stage took for the whole clip: seconds by the clock and of all threads' CPU time, and operations as torch counts matrix products."""

    model: str
    name: str
    seconds: float
    cpu: float
    flops: float = 0.0


class Clock:
    """Runs stages and keeps what they took."""

    def __init__(self, model: str, count: bool) -> None:
        self.model, self.count = model, count
        self.stages: list[Stage] = []

    def run(self, name: str, work: Callable[[], Result]) -> Result:
        flops = 0
        if self.count:  # counting slows down: a run of its own
            # of attention, torch counts only what its plain kernel does
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                work()
            flops = counter.get_total_flops()
        started, used = time.perf_counter(), time.process_time()
        result = work()
        self.stages.append(Stage(self.model, name, time.perf_counter() - started, time.process_time() - used, float(flops)))
        return result


def run_v1(model: MoCapV1, take: Take, filmed: Filmed, count: bool = False, triposg: TripoSG | None = None) -> list[Stage]:
    """All stages of V1 from pictures to poses; with TripoSG, from pictures in which the subject is already told from what is behind it."""
    clock, x = Clock("V1", count), filmed.x
    assert filmed.ref_surface is not None
    ref_surface = filmed.ref_surface[None]
    masks = None if triposg is None else silhouettes(take, filmed)
    with torch.inference_mode():
        tokens, ref_tokens = clock.run("image tokens", lambda: (model.encode(x.images), model.encode(x.ref_images[:, :1])[:, 0]))
        if triposg is None:
            surface = clock.run("video2mesh", lambda: model.video2mesh(tokens, x.times, x.frame_mask))
        else:
            surface = clock.run("video2mesh, TripoSG", lambda: triposg(x, masks, ref_surface[0]))
        xyz = clock.run("mesh2pose", lambda: model.mesh2pose(x, ref_tokens, ref_surface, tokens, surface))
    clock.run("inverse kinematics", lambda: v1_rotations(take, filmed, xyz[0].float().numpy()))
    return clock.stages


def run_v2(model: Video2Pose2Rot, take: Take, filmed: Filmed, count: bool = False) -> list[Stage]:
    """All stages of V2, the network alone, from pictures to poses."""
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


def run_capture(model: str, take: Take) -> list[Stage]:
    """A capture with the default settings of a video of the same motion, start to end; CPU time is known of all stages together alone."""
    with tempfile.TemporaryDirectory() as folder:
        request = request_of(take, CaptureSettings(model=model), Path(folder))
        used = time.process_time()
        seconds = captured(request).seconds
        used = time.process_time() - used
    return [*(Stage("capture", name, value, float("nan")) for name, value in seconds.items()), Stage("capture", "all", sum(seconds.values()), used)]


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


def medians(runs: Sequence[Sequence[Stage]]) -> list[Stage]:
    """Stages of several runs as one."""
    return [replace(same[0], seconds=statistics.median(s.seconds for s in same), cpu=statistics.median(s.cpu for s in same))
            for same in zip(*runs, strict=True)]


def ratios(runs: Sequence[Sequence[Stage]], what: str) -> list[float]:
    """How many times as long V1 took as V2, run by run, ascending; by `seconds` or `cpu`."""
    def of(run: Sequence[Stage], model: str) -> float:
        return sum(getattr(stage, what) for stage in run if stage.model == model)

    return sorted(of(run, "V1") / of(run, "V2") for run in runs)


def count_operations(
    stages: list[Stage], first: MoCapV1, second: Video2Pose2Rot, rig: Path | None, frames: int, triposg: TripoSG | None = None
) -> None:
    """Put the operations for so many frames into the stages, told from two short clips: some are for each frame, some for each clip."""
    counted = []
    for short in (_WARM, 2 * _WARM):
        take = clip_of(rig, short)
        filmed = film(take, second.config.image_size, first.config.surface_points)
        counted.append(run_v1(first, take, filmed, True, triposg) + run_v2(second, take, filmed, True))
    for stage, few, more in zip(stages, *counted, strict=True):
        stage.flops = few.flops + (more.flops - few.flops) / _WARM * (frames - _WARM)


def report(stages: Sequence[Stage], frames: int, bones: int, runs: Sequence[Sequence[Stage]] = (), whole: Sequence[Stage] = ()) -> str:
    """Markdown: what was measured, of each network alone and of a whole capture, then what was computed."""
    runs = runs or [stages]
    rows = [["model", "stage", "s", "CPU s", "GFLOP / frame"]]
    both = [*stages, *(replace(_sum(stages, model), name="all") for model in ("V1", "V2"))]
    rows += [[s.model, s.name, f"{s.seconds:.2f}", f"{s.cpu:.2f}", f"{s.flops / frames / 1e9:.3f}" if s.flops else ""] for s in both]
    used, clock = ratios(runs, "cpu"), ratios(runs, "seconds")
    measured = f"{frames} frames, {bones} driven bones, {torch.get_num_threads()} threads, medians of {len(runs)} runs: V1, with {_first_stage(stages)}, "
    measured += f"takes {statistics.median(used):.2f} times the CPU time of V2's network ({used[0]:.2f} to {used[-1]:.2f}), "
    measured += f"{statistics.median(clock):.2f} times as long by the clock ({clock[0]:.2f} to {clock[-1]:.2f})"
    if all(_sum(stages, model).flops for model in ("V1", "V2")):
        measured += f" and {_sum(stages, 'V1').flops / _sum(stages, 'V2').flops:.2f} times the operations"
    measured += f". {_ASKED:g} times or more were asked for: {'met' if statistics.median(used) >= _ASKED else 'not met at these sizes'}."
    parts = published(bones)
    sizes = [["published model", "stage", "GFLOP / frame, computed", "from"], *([p.model, p.name, f"{p.flops / 1e9:.3g}", p.how] for p in parts)]
    computed = f"Of the published sizes V1 needs {total(parts, 'V1') / total(parts, 'V2'):.0f} times the operations of V2: computed, not measured."
    return "\n\n".join([measured, markdown(rows), *_capture_report(whole, frames), computed, markdown(sizes)])


def _first_stage(stages: Sequence[Stage]) -> str:
    return "TripoSG" if any("TripoSG" in stage.name for stage in stages) else "the small reconstructor"


def _sum(stages: Sequence[Stage], model: str) -> Stage:
    mine = [stage for stage in stages if stage.model == model]
    return Stage(model, "", *(sum(getattr(stage, what) for stage in mine) for what in ("seconds", "cpu", "flops")))


def _capture_report(whole: Sequence[Stage], frames: int) -> list[str]:
    if not whole:
        return []
    rows = [["capture, stage", "s", "CPU s"], *([s.name, f"{s.seconds:.2f}", "" if np.isnan(s.cpu) else f"{s.cpu:.2f}"] for s in whole)]
    said = f"V2 as a user has it: the same {frames} frames as a video, which is followed, captured, fitted (the fit is optional, and on by default) "
    return [said + "and finished. V1 has no such stages, and would need to follow the subject too.", markdown(rows)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training speed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, default=120, help="(default: %(default)s)")
    parser.add_argument("--rig", type=Path, help="a baked rig (default: a procedural quadruped)")
    parser.add_argument("--v1", type=Path, help="a trained V1 model (default: fresh weights)")
    parser.add_argument("--triposg", nargs="+", metavar="WORD", help="V1's first stage is TripoSG: a folder or a name on the hub, then settings as steps=25")
    parser.add_argument("--model", default="anywhere", help="V2: a bundled model's name or a .safetensors file (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="how often each is run (default: %(default)s)")
    parser.add_argument("--no-capture", action="store_true", help="the networks alone")
    parser.add_argument("--out", type=Path, help="also write OUT.json and OUT.md")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        first = load_v1(args.v1) if args.v1 else MoCapV1(V1Config()).eval().requires_grad_(False)
        second = load_model(model_path(args.model))
        triposg = triposg_of(args.triposg) if args.triposg else None
    except CaptureError as error:
        parser.error(str(error))
    for frames in (_WARM, args.frames):
        take = clip_of(args.rig, frames)
        filmed = film(take, second.config.image_size, first.config.surface_points)
        repeats = args.runs if frames == args.frames else 1
        runs = [run_v1(first, take, filmed, triposg=triposg) + run_v2(second, take, filmed) for _ in range(repeats)]
    stages = medians(runs)
    count_operations(stages, first, second, args.rig, args.frames, triposg)
    whole: list[Stage] = []
    if not args.no_capture:
        run_capture(args.model, clip_of(args.rig, 2 * _WARM))  # what is loaded once is not counted
        whole = run_capture(args.model, take)
    text = report(stages, args.frames, len(filmed.body.bones), runs, whole)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        kept = {"frames": args.frames, "threads": args.threads, "stages": [vars(s) for s in stages], "runs": [[vars(s) for s in run] for run in runs]}
        args.out.with_suffix(".json").write_text(json.dumps(without_nan(kept | {"capture": [vars(s) for s in whole]}), indent=1))
        args.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
