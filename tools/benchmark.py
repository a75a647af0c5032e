"""Speed and memory, measured: `tools/benchmark.py keys` and `tools/benchmark.py capture SCENE.blend CLIP --seconds 10,600`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.motion import Motion


def keys(frames: int, bones: int) -> dict[str, float]:
    """Seconds to write a motion of this size onto a chain of bones through the add-on's own writer."""
    import bpy
    from mocap_anything.addon.keyframe_writer import write_motion
    from mocap_anything.addon.rig_reader import read_rig

    bpy.ops.wm.read_factory_settings(use_empty=True)
    armature = bpy.data.objects.new("Chain", bpy.data.armatures.new("Chain"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(bones):
        bone = armature.data.edit_bones.new(f"bone{index}")
        bone.head, bone.tail, bone.parent = (0, 0, index), (0, 0, index + 1), parent
        parent = bone
    bpy.ops.object.mode_set(mode="OBJECT")
    rig = read_rig(armature)
    # A wave runs along the chain: every bone turns in every frame, and heads hang together.
    angle = 0.3 * np.sin(np.arange(frames)[:, None] / 10 + np.arange(bones)).cumsum(1)
    turn = np.tile(np.eye(3), (frames, bones, 1, 1))
    turn[..., 1, 1], turn[..., 1, 2], turn[..., 2, 1], turn[..., 2, 2] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    rotations = turn @ bone_rotations(rig.rest)
    heads = np.zeros((frames, bones, 3))
    heads[:, 1:] = np.cumsum(turn[:, :-1, :, 2], 1)
    motion = Motion(np.arange(frames) / 24.0, rotations, heads, np.zeros((frames, bones), np.float32), np.full((frames, bones, 2), np.nan, np.float32))
    started, used = time.perf_counter(), time.process_time()
    result = write_motion(armature, rig, motion, rig.rest, name="wave", start_frame=1.0, scene_fps=24.0)
    return {"frames": frames, "bones": bones, "keys": result.keys, "seconds": time.perf_counter() - started, "cpu": time.process_time() - used}


def lengthen(clip: Path, seconds: float, path: Path) -> int:
    """Play a clip forth and back until it is this long; the number of frames."""
    with av.open(str(clip)) as source:
        rate = source.streams.video[0].average_rate or Fraction(24)
        frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    cycle = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    count = round(seconds * float(rate))
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for index in range(count):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frames[cycle[index % len(cycle)]], format="rgb24")))
        target.mux(stream.encode())
    return count


def capture(scene: Path, clip: Path, options: list[str], folder: Path) -> dict[str, Any]:
    """One capture in a process of its own: wall clock, peak resident memory and the stages of its report."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "mocap_anything", "capture", str(scene), "--video", str(clip)]
    command += ["--output", str(folder / "out.blend"), "--report", str(report)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(errors.strip().splitlines()[-1])
    mebibytes = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mebibytes": mebibytes, "stages": json.loads(report.read_text())["seconds"]}


def captures(scene: Path, clip: Path, durations: list[float], options: list[str]) -> str:
    """Markdown: each duration's speed and memory, then the stages of the longest."""
    lines = ["| clip | frames | wall s | frames/s | CPU s | peak MiB |", "|---|---|---|---|---|---|"]
    stages: dict[str, float] = {}
    count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for duration in durations:
            count = lengthen(clip, duration, folder / "clip.mp4")
            done = capture(scene, folder / "clip.mp4", options, folder)
            stages = done["stages"]
            lines.append(f"| {duration:g} s | {count} | {done['seconds']:.1f} | {count / done['seconds']:.1f} | {done['cpu']:.1f} | {done['mebibytes']:.0f} |")
    lines += ["", f"| stage of {count} frames | s | ms/frame | frames/s |", "|---|---|---|---|"]
    lines += [f"| {stage} | {s:.2f} | {1000 * s / count:.1f} | {count / max(s, 1e-3):.0f} |" for stage, s in stages.items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    writing = kinds.add_parser("keys", help="write a long motion's keys")
    writing.add_argument("--frames", type=int, default=10_000)
    writing.add_argument("--bones", type=int, default=60)
    whole = kinds.add_parser("capture", help="capture a clip played to several lengths")
    whole.add_argument("scene", type=Path, metavar="SCENE.blend")
    whole.add_argument("clip", type=Path)
    whole.add_argument("--seconds", default="10,600", help="lengths (default: %(default)s)")
    whole.add_argument("--model")
    whole.add_argument("--device")
    whole.add_argument("--no-refine", action="store_true", help="without comparing the drawn rig with the frames")
    args = parser.parse_args(argv)
    if args.kind == "keys":
        done = keys(args.frames, args.bones)
        print("| frames | bones | keys | wall s | CPU s |\n|---|---|---|---|---|")
        print(f"| {done['frames']} | {done['bones']} | {done['keys']} | {done['seconds']:.2f} | {done['cpu']:.2f} |")
        return 0
    options = [word for name in ("model", "device") if getattr(args, name) for word in (f"--{name}", getattr(args, name))]
    options += ["--no-refine"] * args.no_refine
    print(captures(args.scene, args.clip, [float(s) for s in args.seconds.split(",")], options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
