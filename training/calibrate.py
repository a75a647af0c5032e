"""Make a model's expected errors agree with those of its captures: `python -m mocap_anything.training calibrate CASES --model anywhere`.

Captures every case through the command line, with the default settings and once more without the fit, as if nobody knew rigs of its template; fits a curve
of three numbers to each kind and writes them into the model file. With `--measure` nothing is fitted: expected and observed errors are compared, tenth by
tenth.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backend.calibration import UNTOUCHED, Calibration, gaps
from ..backend.capture import model_path
from ..backend.model.checkpoint import save_calibration
from .calibration import Observed, fit_curve, joint_errors, left_out
from .capture_command import capture
from .evaluate import read_case, read_poses
from .library import library_without
from .publish import stamp_card
from .reliability import draw, summary, table

KINDS = {"fitted": ["--fit"], "plain": ["--no-fit"]}


def observe(folder: Path, model: Path, options: list[str], out: Path, relatives: bool) -> Observed:
    """Capture one case and lay its errors beside what it expected of them, the reference's own frame left out.

    relatives: as `library_without` has it.
    """
    case = read_case(folder)
    truth, said = case.truth, out / f"{case.truth.rig}.npz"
    with library_without(truth.clip, truth.names, relatives) as library:
        words = ["--armature", case.armature, "--model", str(model), "--library", library, "--confidence", str(said), *options]
        done = capture(folder / "rig.blend", folder / "clip.mp4", out, truth.rig, words)
    if done.blend is None:
        raise SystemExit(f"{folder.name}: {done.error}")
    poses = read_poses(done.blend, case.armature, truth.names, len(truth.pose))
    errors, bones = joint_errors(case.rig, truth.pose, poses)
    with np.load(said) as data:
        names, rows = data["bone"].tolist(), np.round(data["frame"]).astype(int) - 1  # scene frame 1 is the clip's first
        expected = data["expected_error_percent"][:, [names.index(case.rig.names[bone]) for bone in bones]] / 100
    kept = rows != truth.reference
    gap = gaps(rows / truth.fps, np.array([truth.reference / truth.fps]))
    every = np.broadcast_to(gap[:, None], expected.shape)
    return Observed(truth.rig, truth.split, expected[kept].ravel(), errors[rows[kept]].ravel(), every[kept].ravel())


def observe_all(folders: Sequence[Path], model: Path, options: list[str], out: Path, relatives: bool) -> list[Observed]:
    """Every case of some folders, one after another."""
    found = []
    for folder in folders:
        found.append(observe(folder, model, options, out, relatives))
        means = (100 * float(values.mean()) for values in (found[-1].expected, found[-1].observed))
        print(f"{folder.name}: expected {next(means):.2f} %, observed {next(means):.2f} %", file=sys.stderr, flush=True)
    return found


def calibrate(folders: Sequence[Path], model: Path, out: Path) -> Calibration:
    """Fit both curves to captures under the network's own word, tell how well they do on cases left out, and write them into the model file."""
    curves = {}
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place) / model.name
        save_calibration(model, UNTOUCHED, plain)
        for kind, options in KINDS.items():
            cases = observe_all(folders, plain, options, out / kind, relatives=False)
            curves[kind] = fit_curve(cases)
            print(f"{kind}: {curves[kind]}\nleft out one by one: {summary(left := left_out(cases))}\n{table({kind: left})}\n")
    calibration = Calibration(curves["fitted"], curves["plain"], True)
    save_calibration(model, calibration)
    stamp_card(model.with_suffix(".md"), hashlib.sha256(model.read_bytes()).hexdigest(), calibration)
    return calibration


def measure(folders: Sequence[Path], model: Path, options: list[str], out: Path, picture: Path | None) -> None:
    """Print the reliability of all cases and of each split, and draw it."""
    cases = observe_all(folders, model, options, out, relatives=True)
    groups: dict[str, Sequence[Observed]] = {"all": cases}
    splits = sorted({case.split for case in cases})
    groups |= {split: [case for case in cases if case.split == split] for split in splits} if len(splits) > 1 else {}
    for name, group in groups.items():
        print(f"{name}: {summary(group)}")
    print(table(groups))
    draw(groups, picture or out / "reliability.png")


def main(argv: list[str] | None = None) -> int:
    """Calibrate, or measure."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training calibrate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", type=Path, nargs="+", help="folders that training.cases wrote; to calibrate, of the split `seen`")
    parser.add_argument("--model", default="anywhere", help="a bundled model's name or a .safetensors file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/calibration"), help="captures and their tables (default: %(default)s)")
    parser.add_argument("--measure", action="store_true", help="fit nothing and write nothing into the model: tell how far its expectations agree")
    parser.add_argument("--no-fit", action="store_true", help="with --measure: captures without the fit")
    parser.add_argument("--diagram", type=Path, metavar="OUT.png", help="with --measure: the diagram's place (default: reliability.png in --out)")
    args = parser.parse_args(argv)
    folders = [truth.parent for cases in args.cases for truth in sorted(cases.glob("*/truth.npz"))]
    if not folders:
        parser.error(f"no case in {args.cases[0]}; render some with training.cases")
    args.out.mkdir(parents=True, exist_ok=True)
    model = model_path(args.model).absolute()
    if args.measure:
        measure(folders, model, KINDS["plain" if args.no_fit else "fitted"], args.out, args.diagram)
    else:
        calibrate(folders, model, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
