"""The papers' evaluation by one command: `python -m mocap_anything.training papers BAKED --out OUT`.

Held-out clips of baked rigs (seen, rare, unseen) after the papers' same-clip protocol, an aligned reference and one of another clip; every
metric of every method as results.json and results.md. Takes that share skeleton and motion count once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend.errors import CaptureError
from . import limit_methods, methods
from .evaluate import markdown, without_nan
from .metrics import score
from .takes import PROTOCOLS, SPLITS, Take, takes

COLUMNS = {
    "rotation °": "rotation", "root °": "rotation_root", "leaves °": "rotation_leaves", "velocity °/frame": "rotation_velocity",
    "MPJPE cm": "mpjpe_cm", "MPJVE cm": "mpjve_cm", "root %": "root_position", "CD %": "cd_skeleton", "PCK@0.1": "pck_10", "PCK@0.2": "pck_20",
    "slip cm/s": "foot_slip_cm", "jitter / truth": "jitter_ratio", "s/frame": "seconds",
}  # fmt: skip


def measure(take: Take, method: methods.Method) -> dict[str, float]:
    """All metrics of one method on one take, and the seconds a frame it took."""
    started = time.perf_counter()
    pose = method(take)
    seconds = (time.perf_counter() - started) / len(take.frames)
    return score(take.asset.rig, take.pose, pose, take.clip.fps, take.asset.up, take.keyed) | {"seconds": seconds}


def averages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means per protocol, split and method; rows of one group are averaged first, what is undefined is left out."""
    out = []
    keys = dict.fromkeys((row["protocol"], row["split"], row["method"]) for row in rows)
    for key in sorted(keys, key=lambda k: (PROTOCOLS.index(k[0]), SPLITS.index(k[1]))):
        part = [row for row in rows if (row["protocol"], row["split"], row["method"]) == key]
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in part:
            groups.setdefault(row["group"], []).append(row)
        means = {name: _mean([_mean([row["scores"][name] for row in group]) for group in groups.values()]) for name in part[0]["scores"]}
        out.append({"protocol": key[0], "split": key[1], "method": key[2], "takes": len(part), "groups": len(groups), "scores": means})
    return out


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def report(means: list[dict[str, Any]]) -> str:
    """One Markdown table."""
    rows = [["protocol", "split", "method", *COLUMNS]]
    for entry in means:
        split = f"{entry['split']} ({entry['groups']} motions)"
        rows.append([entry["protocol"], split, entry["method"], *(f"{entry['scores'][name]:.4f}" if name == "seconds" else f"{entry['scores'][name]:.2f}"
                                                                  for name in COLUMNS.values())])
    return markdown(rows)


def networks(model: str | None, v1: Path | None, whole: bool = False, triposg: Sequence[str] = ()) -> dict[str, methods.Method]:
    """The methods that see pictures; seconds a frame include drawing them. whole: V2 as a whole capture too, with the fit and what follows it.
    triposg: its folder or name on the hub and its settings, to have V1 from its meshes too."""
    if model is None and v1 is None:
        return {}
    from ..backend.capture import model_path
    from ..backend.model.checkpoint import load_model
    from . import network_methods
    from .v1.network import load_v1
    from .whole_capture import whole_capture

    chosen: dict[str, methods.Method] = {}
    if model is not None:
        chosen["V2"] = network_methods.v2(load_model(model_path(model)))
        if whole:
            chosen["V2, whole capture"] = whole_capture(model)
    if v1 is not None:
        weights = load_v1(v1)
        chosen |= {"V1, true mesh": network_methods.v1(weights, True), "V1, predicted mesh": network_methods.v1(weights, False)}
        if triposg:
            from .v1.triposg.load import triposg_of
            from .v1.triposg.method import v1_triposg

            chosen["V1, TripoSG mesh"] = v1_triposg(weights, triposg_of(triposg))
    return chosen


def suffix_of(noise: float) -> str:
    """What a method's name says of the noise of its joints."""
    return f", {100 * noise:g} % noise" if noise else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training papers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("baked", type=Path, help="folder of baked rigs")
    parser.add_argument("--out", type=Path, default=Path("out/papers"), help="results (default: %(default)s)")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--splits", default=",".join(SPLITS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=2, help="held-out clips a rig (default: %(default)s; 0: all)")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0], help="errors of the true joints that closed form and IK see, shares of the size")
    parser.add_argument("--limits", action="store_true", help="also IK within the ranges that the joints keep to in clips that are not held out")
    parser.add_argument("--points", action="store_true", help="also IK from all points of a bone, the surface's too, as pose2rot has them")
    parser.add_argument("--own-actions", action="store_true", help="also IK that knows the rig's other clips, as if they were actions in its file")
    parser.add_argument("--model", help="also V2: a bundled model's name or a .safetensors file")
    parser.add_argument("--capture", action="store_true", help="with --model, also whole captures, of videos of the same motions")
    parser.add_argument("--v1", type=Path, help="also V1, from the true and from the predicted mesh: a model that `train --model v1` wrote")
    parser.add_argument(
        "--triposg", nargs="+", default=[], metavar="WORD", help="with --v1, also from TripoSG's mesh: a folder or a name on the hub, then settings as steps=25"
    )
    parser.add_argument("--only", nargs="+", default=[], help="these rigs alone")
    args = parser.parse_args(argv)
    chosen: dict[str, methods.Method] = {"hold": methods.hold}
    for noise in args.noise:
        suffix = suffix_of(noise)
        chosen |= {f"closed form, joints{suffix}": methods.closed_form(noise), f"IK, joints{suffix}": methods.inverse_kinematics(noise)}
        if args.points:
            chosen[f"IK, joints and surface points{suffix}"] = methods.inverse_kinematics_of_points(noise)
        if args.own_actions:
            chosen[f"IK, joints, own actions{suffix}"] = methods.inverse_kinematics(noise, own=True)
            if args.points:
                chosen[f"IK, joints and surface points, own actions{suffix}"] = methods.inverse_kinematics_of_points(noise, own=True)
    if args.capture and args.model is None:
        parser.error("--capture needs --model")
    if args.triposg and args.v1 is None:
        parser.error("--triposg needs --v1")
    try:
        seeing = networks(args.model, args.v1, args.capture, args.triposg)
    except CaptureError as error:
        parser.error(str(error))
    limited = {f"IK, joints, limits{suffix_of(noise)}": limit_methods.inverse_kinematics_in_ranges(noise) for noise in args.noise if args.limits}
    rows: list[dict[str, Any]] = []
    for protocol in (p for p in PROTOCOLS if p in args.protocols.split(",")):
        for take in takes(args.baked, protocol, tuple(args.splits.split(",")), args.clips or None, tuple(args.only)):
            place = {"protocol": protocol, "split": take.split, "rig": take.asset.name, "clip": take.clip.name, "group": take.group, "frames": len(take.frames)}
            # a rig without a skin, as from a BVH, cannot be filmed
            every = chosen | (seeing if take.asset.rig.mesh is not None else {}) | ({} if all(c.held_out for c in take.asset.clips) else limited)
            rows += [place | {"method": name, "scores": measure(take, method)} for name, method in every.items()]
            shown = ", ".join(f"{row['method']} {row['scores']['rotation']:.1f}°" for row in rows[-len(every) :])
            print(f"{protocol} {take.asset.name} {take.clip.name}: {shown}", file=sys.stderr, flush=True)
        if rows:  # after each protocol: what is measured is not lost
            means = averages(rows)
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "results.json").write_text(json.dumps(without_nan({"averages": means, "takes": rows}), indent=1))
            (args.out / "results.md").write_text(report(means) + "\n")
    if not rows:
        parser.error(f"no held-out clip of these splits in {args.baked}")
    print(report(averages(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
