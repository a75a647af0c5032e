"""Cases whose file holds the rig's other actions: `python -m mocap_anything.training.case_actions RIGS CASES OUT`.

An animator's file often has an action library, from which a capture learns how the rig moves. Each case is copied, and every clip of its rig but the
one that the video shows is put into its `rig.blend` as an action.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import bpy

from ..addon.blender_versions import bags_of
from .cases import FPS, Truth, plain
from .data.bake import actions_of
from .data.import_rig import import_file, main_armature

log = logging.getLogger(__name__)


def add_actions(entry: dict[str, Any], rigs: Path, case: Path, out: Path) -> int:
    """Copy a case with its rig's other actions; how many there are."""
    truth = Truth.load(case / "truth.npz")
    shutil.copytree(case, out, dirs_exist_ok=True)
    import_file(rigs / entry["name"] / entry["file"])
    render = bpy.context.scene.render
    others = {action for action in actions_of(main_armature()) if plain(action.name) != plain(truth.clip)}
    for action in others:
        _stretch(action, FPS * render.fps_base / render.fps)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "actions.blend"
        bpy.data.libraries.write(str(library), others, fake_user=True)
        import_file(out / "rig.blend")
        with bpy.data.libraries.load(str(library)) as (there, here):
            here.actions = list(there.actions)
        for action in here.actions:
            action.use_fake_user = True
        bpy.context.preferences.filepaths.save_version = 0
        bpy.ops.wm.save_as_mainfile(filepath=str((out / "rig.blend").resolve()), compress=True)
    return len(others)


def _stretch(action: bpy.types.Action, times: float) -> None:
    """Make an action so many times longer: it was meant for another rate than the case's."""
    for bag in bags_of(action):
        for curve in bag.fcurves:
            for point in curve.keyframe_points:
                for place in (point.co, point.handle_left, point.handle_right):
                    place.x *= times
            curve.update()


def main(argv: list[str] | None = None) -> int:
    """Copy all cases; a rig that fails is named and skipped."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training.case_actions", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rigs", type=Path, help="folder with index.json and a folder per rig")
    parser.add_argument("cases", type=Path, help="as `training.cases` made them")
    parser.add_argument("out", type=Path, help="where the copies go")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    entries = {entry["name"]: entry for entry in json.loads((args.rigs / "index.json").read_text())}
    failed = []
    for truth in sorted(args.cases.glob("*/truth.npz")):
        name = truth.parent.name
        try:
            log.info("%-34s %d other actions", name, add_actions(entries[name], args.rigs, truth.parent, args.out / name))
        except Exception as error:  # one broken file must not stop the others
            log.exception("%s failed", name)
            failed.append(f"{name}: {error}")
    log.info("".join(f"failed: {line}\n" for line in failed) or "all copied")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
