"""Score captures of real footage: `python -m mocap_anything.training.footage ../shared/footage --only camel,dog --out RESULTS`.

A posed case holds `rig.blend`, `clip.mp4` and `joints.json` (annotated pixels of landmarks in bones' rest frames, by scene frame). Each landmark of the
captured armature is projected through the scene camera at every annotated frame but the reference's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from .capture_command import capture
from .metrics import pck

SHARES = (0.1, 0.2)


@dataclass(frozen=True)
class Annotation:
    """frames: F scene frames, the reference's left out. points: (F, N, 2) pixels, NaN where not annotated. bones, locals: N landmarks."""

    armature: str
    width: int
    height: int
    frames: tuple[int, ...]
    points: np.ndarray
    bones: tuple[str, ...]
    locals: np.ndarray


def read_annotation(case: Path) -> Annotation:
    """The joints.json of a posed case."""
    data = json.loads((case / "joints.json").read_text())
    marks = data["landmarks"]
    frames = tuple(sorted(int(frame) for frame in data["frames"] if int(frame) != data["reference_frame"]))
    points = np.array([[data["frames"][str(frame)].get(mark, (np.nan, np.nan)) for mark in marks] for frame in frames])
    bones, places = tuple(mark["bone"] for mark in marks.values()), np.array([mark["local"] for mark in marks.values()])
    return Annotation(data["armature"], data["width"], data["height"], frames, points, bones, places)


def project_landmarks(blend: Path, annotation: Annotation) -> np.ndarray:
    """(F, N, 2) pixels of the landmarks of a scene's armature through its camera."""
    bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False)
    scene, armature = bpy.context.scene, bpy.data.objects[annotation.armature]
    out = np.empty((len(annotation.frames), len(annotation.bones), 2))
    for row, frame in enumerate(annotation.frames):
        scene.frame_set(frame)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        posed, camera = armature.evaluated_get(depsgraph), scene.camera.evaluated_get(depsgraph)
        for column, (bone, local) in enumerate(zip(annotation.bones, annotation.locals, strict=True)):
            seen = world_to_camera_view(scene, camera, posed.matrix_world @ posed.pose.bones[bone].matrix @ Vector(local))
            out[row, column] = (seen.x * annotation.width, (1 - seen.y) * annotation.height) if seen.z > 0 else np.nan
    return out


def at_rest(blend: Path, armature: str, out: Path) -> Path:
    """A scene as it is before anybody has posed its armature."""
    bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False)
    bpy.data.objects[armature].animation_data_clear()
    for bone in bpy.data.objects[armature].pose.bones:
        bone.matrix_basis.identity()
    out.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(out.resolve()), compress=True)
    return out


def score_points(truth: np.ndarray, got: np.ndarray) -> dict[str, float]:
    """PCK and the median error in pixels of got (F, N, 2); a landmark that was not found is infinitely far off."""
    distance = np.nan_to_num(np.linalg.norm(got - truth, axis=-1), nan=np.inf)[np.isfinite(truth).all(-1)]
    return {f"pck_{share}": pck(truth, got, share) for share in SHARES} | {"median_px": float(np.median(distance))}


def score_footage(case_dir: Path, captured_blend: Path) -> dict[str, float]:
    """PCK@0.1, PCK@0.2 and median pixel error of a captured scene against a posed case's annotation."""
    annotation = read_annotation(case_dir)
    return score_points(annotation.points, project_landmarks(captured_blend, annotation))


def baselines(case_dir: Path) -> dict[str, dict[str, float]]:
    """The reference pose held still, and moved so that the mean of its landmarks is where the annotation has it."""
    annotation = read_annotation(case_dir)
    held = project_landmarks(case_dir / "rig.blend", annotation)
    offset = np.nanmean(annotation.points - held, axis=1, keepdims=True)
    return {"hold": score_points(annotation.points, held), "hold, true centre": score_points(annotation.points, held + offset)}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row per clip and method."""
    lines = ["| clip | method | PCK@0.1 | PCK@0.2 | median px |", "|---|---|---|---|---|"]
    for clip, methods in results.items():
        lines += [f"| {clip} | {name} | {s['pck_0.1']:.2f} | {s['pck_0.2']:.2f} | {s['median_px']:.1f} |" for name, s in methods.items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Capture and score every posed case of a folder."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training.footage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("footage", type=Path, help="folder with a folder per clip")
    parser.add_argument("--only", default="", help="comma-separated clips")
    parser.add_argument("--out", type=Path, default=Path("out/footage"), help="results (default: %(default)s)")
    parser.add_argument("--baselines", action="store_true", help="no capture: the held pose alone")
    parser.add_argument("--no-preview", action="store_true", help="no side-by-side film")
    parser.add_argument("--from-rest", action="store_true", help="nobody has posed the rig: captured from rendered references of its rest pose")
    parser.add_argument("--model")
    parser.add_argument("--device")
    args = parser.parse_args(argv)
    only = set(filter(None, args.only.split(",")))
    cases = [p.parent for p in sorted(args.footage.glob("*/joints.json")) if not only or p.parent.name in only]
    if not cases:
        parser.error(f"no posed case in {args.footage}")
    options = [word for name in ("model", "device") if getattr(args, name) for word in (f"--{name}", getattr(args, name))]
    results: dict[str, dict[str, dict[str, float]]] = {}
    failed = False
    for case in cases:
        results[case.name] = baselines(case)
        if args.baselines:
            continue
        scene = case / "rig.blend"
        if args.from_rest:
            scene = at_rest(scene, read_annotation(case).armature, args.out / "rest" / f"{case.name}.blend")
        done = capture(scene, case / "clip.mp4", args.out, case.name, [*options, *(["--reference-kind", "rendered"] * args.from_rest)], not args.no_preview)
        if done.blend is None:
            failed = True
            print(f"{case.name}: {done.error}", file=sys.stderr)
            continue
        results[case.name]["model"] = score_footage(case, done.blend) | {"seconds": done.seconds}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(results, indent=1))
    (args.out / "results.md").write_text(table(results) + "\n")
    print(table(results))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
