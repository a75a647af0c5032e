"""Capture rendered cases through the command line and measure them: `python -m mocap_anything.training.evaluate CASES --out RESULTS`.

Beside the model stand two baselines: *hold*, the reference pose held still, and *closed form*, turns since the reference from true positions by Procrustes
without any learning, once from joints alone and once with each bone's end. Rigs that share skeleton and motion count once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..addon.rig_reader import read_rig
from ..backend.closed_form import closed_form_motion
from ..backend.kinematics import inverse_affine, pose_along_carriers
from ..backend.rig import Rig
from .capture_command import capture
from .cases import Truth
from .data.bake import main_armature
from .library import library_without
from .metrics import score

HOLD, JOINTS, ENDS, MODEL = "hold", "closed form, joints", "closed form, joints and ends", "model"
_PLAY = 0.005  # share of the size by which heads do not quite hang together even in truth (keyed locations, detached feet): else it reads as twist
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A case's folder, the rig as Blender has it and the true motion."""

    folder: Path
    armature: str
    rig: Rig
    truth: Truth


def read_case(folder: Path) -> Case:
    """What `training.cases` wrote."""
    bpy.ops.wm.open_mainfile(filepath=str(folder / "rig.blend"), load_ui=False)
    armature = main_armature()
    rig, truth = read_rig(armature), Truth.load(folder / "truth.npz")
    if rig.names != truth.names:
        raise ValueError(f"{folder.name}: the bones of rig.blend and truth.npz differ")
    return Case(folder, armature.name, rig, truth)


def read_poses(blend: Path, armature: str, names: tuple[str, ...], frames: int) -> np.ndarray:
    """(T, J, 4, 4) bone to armature of a scene's armature at frames 1 to T, as Blender evaluates it."""
    bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False)
    scene, thing = bpy.context.scene, bpy.data.objects[armature]
    out = np.empty((frames, len(names), 4, 4))
    for row in range(frames):
        scene.frame_set(row + 1)
        bones = thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        out[row] = [bones[name].matrix for name in names]
    return out


def baselines(case: Case) -> dict[str, np.ndarray]:
    """Poses (T, J, 4, 4) of hold and closed form."""
    truth, reference = case.truth.pose, case.truth.pose[case.truth.reference]
    heads = truth[..., :3, 3]
    ends = ((truth @ inverse_affine(case.rig.rest)) @ np.append(case.rig.ends, np.ones((len(case.rig), 1)), 1)[..., None])[..., :3, 0]
    poses = {HOLD: np.broadcast_to(reference, truth.shape)}
    for name, known in ((JOINTS, None), (ENDS, ends)):
        rotations = closed_form_motion(case.rig, reference, heads, known, noise=_PLAY)
        pose = np.tile(np.eye(4), (*heads.shape[:2], 1, 1))
        pose[..., :3, :3] = rotations
        pose[..., :3, 3] = pose_along_carriers(case.rig, rotations, reference, heads)
        poses[name] = pose
    return poses


def evaluate_case(case: Case, out: Path, options: list[str] | None, preview: bool = False, kind: str = "") -> dict[str, Any]:
    """Scores of every method on one case; options None leaves the model out; kind: of body."""
    truth = case.truth

    def measured(pose: np.ndarray) -> dict[str, float]:
        return score(case.rig, truth.pose, pose, truth.fps, truth.up, truth.reference)

    scores: Scores = {name: measured(pose) for name, pose in baselines(case).items()}
    entry: dict[str, Any] = {field: getattr(truth, field) for field in ("rig", "split", "clip", "group")}
    entry |= {"kind": kind, "frames": len(truth.pose), "bones": len(case.rig), "scores": scores}
    if options is None:
        return entry
    with library_without(truth.clip, truth.names) as library:
        words = ["--armature", case.armature, "--library", library, *options]
        done = capture(case.folder / "rig.blend", case.folder / "clip.mp4", out, truth.rig, words, preview)
    entry |= {"seconds": done.seconds, "error": done.error, "report": done.report}
    if done.blend is not None:
        scores[MODEL] = measured(read_poses(done.blend, case.armature, truth.names, len(truth.pose)))
    return entry


def averages(entries: list[dict[str, Any]]) -> dict[str, Scores]:
    """Mean scores per split and method; cases of one group are averaged first and count once, what is undefined is left out."""
    out: dict[str, Scores] = {}
    for split in sorted({e["split"] for e in entries}):
        part = [e for e in entries if e["split"] == split]
        methods = [m for m in (MODEL, HOLD, JOINTS, ENDS) if all(m in e["scores"] for e in part)]
        out[split] = {method: {name: _mean_of_groups(part, method, name) for name in part[0]["scores"][method]} for method in methods}
        out[split]["count"] = {"cases": len(part), "groups": len({e["group"] for e in part})}
    return out


def _mean_of_groups(entries: list[dict[str, Any]], method: str, name: str) -> float:
    groups: dict[str, list[float]] = {}
    for entry in entries:
        value = entry["scores"][method][name]
        if not math.isnan(value):
            groups.setdefault(entry["group"], []).append(value)
    return float(np.mean([np.mean(values) for values in groups.values()])) if groups else math.nan


_COLUMNS = {
    "rotation °": "rotation", "root °": "rotation_root", "leaves °": "rotation_leaves", "velocity °/frame": "rotation_velocity", "MPJPE %": "mpjpe",
    "MPJPE cm": "mpjpe_cm", "MPJVE %": "mpjve", "root %": "root_position", "CD %": "cd_skeleton", "jitter / truth": "jitter_ratio", "slip cm/s": "foot_slip_cm",
    "at key °": "at_reference",
}  # fmt: skip


_RIG_COLUMNS = (
    "rig", "split", "clip", "frames", "bones", "moving", "model °", "hold °", "model / hold", "joints °", "joints, ends °", "model MPJPE %", "hold MPJPE %",
    "s",
)  # fmt: skip


def report(entries: list[dict[str, Any]]) -> str:
    """Markdown: averages per split with every metric, then rotation and joint errors of each rig."""
    means = averages([e for e in entries if not e.get("error")])
    summary = [["split", "method", *_COLUMNS]]
    for split, methods in means.items():
        count = methods["count"]
        name = f"{split} ({count['groups']} motions of {count['cases']} rigs)"
        summary += [[name, method, *(f"{values[c]:.2f}" for c in _COLUMNS.values())] for method, values in methods.items() if method != "count"]
    each = [_row(entry) for entry in sorted(entries, key=lambda e: (e["split"], e["rig"]))]
    tables = [summary, *([kinds_of(entries)] if all(e.get("kind") for e in entries) else []), [list(_RIG_COLUMNS), *each]]
    return "\n\n".join(markdown(table) for table in tables)


def kinds_of(entries: list[dict[str, Any]]) -> list[list[str]]:
    """A table's rows: means by kind of body, of all splits, the commonest kinds first; captures that failed are left out."""
    known = [e for e in entries if not e.get("error")]
    kinds = Counter(e["kind"] for e in known)
    methods = [m for m in (MODEL, HOLD, JOINTS) if all(m in e["scores"] for e in known)]
    rows = [["kind of body", "motions", *(f"{m} °" for m in methods), *(f"{m} MPJPE %" for m in methods)]]
    for kind, _ in kinds.most_common():
        part = [e for e in known if e["kind"] == kind]
        values = [_mean_of_groups(part, m, name) for name in ("rotation", "mpjpe") for m in methods]
        rows.append([kind, str(len({e["group"] for e in part})), *(f"{value:.1f}" for value in values)])
    return rows


def _row(entry: dict[str, Any]) -> list[str]:
    scores = entry["scores"]
    model, hold = scores.get(MODEL, {"rotation": math.nan, "mpjpe": math.nan}), scores[HOLD]
    angles = [model["rotation"], hold["rotation"], model["rotation"] / max(hold["rotation"], 1e-9), scores[JOINTS]["rotation"], scores[ENDS]["rotation"]]
    facts = [entry["rig"], entry["split"], entry["clip"].replace("|", "/"), str(entry["frames"]), str(entry["bones"]), f"{hold['moving_bones']:.0f}"]
    seconds = entry.get("error") or f"{entry.get('seconds', math.nan):.0f}"
    return [*facts, *(f"{angle:.2f}" for angle in angles), f"{model['mpjpe']:.2f}", f"{hold['mpjpe']:.2f}", seconds]


def markdown(rows: list[list[str]]) -> str:
    """A table, its first row the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(argv: list[str] | None = None) -> int:
    """Evaluate every case of a folder; 1 if a capture failed."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training.evaluate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", type=Path, help="folder that training.cases wrote")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), help="results (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], help="these cases alone")
    parser.add_argument("--split", default="", help="comma-separated: these splits alone")
    parser.add_argument("--baselines", action="store_true", help="no capture: hold and closed form alone")
    parser.add_argument("--preview", action="store_true", help="also a side-by-side film of each case")
    parser.add_argument("--rigs", type=Path, help="the folder that the rigs are from: also a table by kind of body")
    parser.add_argument("--model")
    parser.add_argument("--device")
    args = parser.parse_args(argv)
    options = None if args.baselines else [word for name in ("model", "device") if getattr(args, name) for word in (f"--{name}", getattr(args, name))]
    folders = [p.parent for p in sorted(args.cases.glob("*/truth.npz")) if not args.only or p.parent.name in args.only]
    folders = [f for f in folders if not args.split or Truth.load(f / "truth.npz").split in args.split.split(",")]
    if not folders:
        parser.error(f"no case in {args.cases}; render some with training.cases")
    args.out.mkdir(parents=True, exist_ok=True)
    kinds = {row["name"]: row["kind"] for row in json.loads((args.rigs / "index.json").read_text())} if args.rigs else {}
    entries = []
    for folder in folders:
        case = read_case(folder)
        entries.append(evaluate_case(case, args.out, options, args.preview, kinds.get(case.truth.rig, "")))
        shown = entries[-1]["scores"].get(MODEL, {}).get("rotation", math.nan)
        print(f"{folder.name}: {shown:.1f}° (hold {entries[-1]['scores'][HOLD]['rotation']:.1f}°) {entries[-1].get('error', '')}", file=sys.stderr, flush=True)
        results = {"averages": averages([e for e in entries if not e.get("error")]), "cases": entries}
        (args.out / "results.json").write_text(json.dumps(without_nan(results), indent=1))
        (args.out / "results.md").write_text(report(entries) + "\n")
    print(report(entries))
    return int(any(e.get("error") for e in entries))


if __name__ == "__main__":
    sys.exit(main())
