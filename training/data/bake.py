"""Bake animated rig files into assets: `python -m mocap_anything.training.data.bake RIGS OUT [--only NAME…]`.

RIGS holds an `index.json` (name, file, clips, split, kind, license) and a folder per rig. Each file is imported into an empty scene,
read through the add-on's own rig reader, and every clip sampled through Blender's own evaluation at about 24 frames a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...addon.rig_reader import read_rig
from ...backend.rig import Rig
from ...backend.thinning import thin_out
from .asset import Asset, AssetClip, save_asset
from .import_rig import import_file, main_armature, neutral_pose

log = logging.getLogger(__name__)

FPS = 24.0
MAX_FRAMES = 96
MAX_TRIANGLES = 3000
_HELD_OUT_EVERY = 5


def actions_of(armature: bpy.types.Object) -> list[bpy.types.Action]:
    """Actions that key at least one bone of the armature, by name."""
    return sorted((a for a in bpy.data.actions if _keyed_slots(a, armature)), key=lambda a: a.name)


def _keyed_slots(action: bpy.types.Action, armature: bpy.types.Object) -> list[Any]:
    """Slots of the action whose curves name bones of the armature, most curves first ([None] in Blenders without slots)."""
    paths = tuple(f'pose.bones["{bpy.utils.escape_identifier(bone.name)}"]' for bone in armature.data.bones)
    if not hasattr(action, "layers"):
        return [None] if any(curve.data_path.startswith(paths) for curve in action.fcurves) else []
    counts = {bag.slot_handle: sum(curve.data_path.startswith(paths) for curve in bag.fcurves)
              for layer in action.layers for strip in layer.strips for bag in strip.channelbags}
    return sorted((slot for slot in action.slots if counts.get(slot.handle)), key=lambda slot: -counts[slot.handle])


class ClipSampler:
    """Plays an armature's actions through the depsgraph, with everything else in the scene taken away for speed."""

    def __init__(self, armature: bpy.types.Object, names: tuple[str, ...], neutral: dict[str, np.ndarray]) -> None:
        self.armature, self.names = armature, names
        self.bones = [armature.pose.bones[name] for name in names]
        data = armature.animation_data_create()
        for track in list(data.nla_tracks):
            data.nla_tracks.remove(track)
        data.action = None
        # Channels that an action does not key hold the file's neutral pose, not what the clip before left.
        self.neutral = [neutral.get(name, np.eye(4)) for name in names]
        for other in list(bpy.context.scene.objects):
            if other.type == "MESH":
                bpy.data.objects.remove(other)

    def play(self, action: bpy.types.Action) -> tuple[float, np.ndarray, np.ndarray]:
        """(frames per second, pose (T, J, 4, 4), basis (T, J, 4, 4)) as Blender evaluates them."""
        scene, data = bpy.context.scene, self.armature.animation_data
        for bone, neutral in zip(self.bones, self.neutral, strict=True):
            bone.matrix_basis = Matrix(neutral.tolist())
        data.action = action
        slot = _keyed_slots(action, self.armature)[0]
        if slot is not None:
            data.action_slot = slot
        scene_fps = scene.render.fps / scene.render.fps_base
        first, last = action.frame_range
        seconds = max(last - first, 0.0) / scene_fps
        count = int(np.clip(round(seconds * FPS) + 1, 1, MAX_FRAMES))
        pose, basis = np.empty((count, len(self.names), 4, 4)), np.empty((count, len(self.names), 4, 4))
        for row in range(count):
            frame = first + row * scene_fps / FPS
            scene.frame_set(int(np.floor(frame)), subframe=float(frame - np.floor(frame)))
            evaluated = self.armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
            for column, name in enumerate(self.names):
                bone = evaluated[name]
                pose[row, column], basis[row, column] = bone.matrix, bone.matrix_basis
        data.action = None
        return FPS, pose, basis


def held_out(entry: dict[str, Any], names: list[str]) -> list[bool]:
    """Which of a rig's clips are for validation: every fifth by name, all of a rig that is not for training.

    Upper and lower case sort apart or together depending on who sorts; a clip that either order holds out is held out.
    """
    if entry["split"] != "train":
        return [True] * len(names)
    chosen: set[str] = set()
    for order in (sorted(names), sorted(names, key=str.lower)):
        chosen |= set(order[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY])
    return [name in chosen for name in names]


@dataclass(frozen=True, eq=False)
class Animated:
    """What one file holds: its main armature's rig and every clip of it.

    armature: the object's name. world: (4, 4) armature to world. up: (3,) unit vector against gravity, armature frame. clips may be empty.
    """

    rig: Rig
    armature: str
    world: np.ndarray
    up: np.ndarray
    clips: tuple[AssetClip, ...]


def read_file(path: Path) -> Animated:
    """Import a file and play all its actions; leaves the imported scene behind, without its meshes.

    Raises ValueError where there is no armature, CaptureError or RuntimeError where the reader or Blender's importer gives up.
    """
    neutral = neutral_pose(path)
    import_file(path)
    armature = main_armature()
    rig = read_rig(armature)
    world = np.array(armature.matrix_world, np.float64)
    up = np.array(armature.matrix_world.to_3x3().inverted_safe() @ Vector((0, 0, 1)))
    name = armature.name
    sampler = ClipSampler(armature, rig.names, neutral)
    clips = []
    for action in actions_of(armature):
        fps, pose, _ = sampler.play(action)
        clips.append(AssetClip(action.name, fps, pose.astype(np.float32)))
    return Animated(_thinned(rig), name, world, up / np.linalg.norm(up), tuple(clips))


def bake(entry: dict[str, Any], folder: Path) -> Asset:
    """One rig of the index as an Asset."""
    found = read_file(folder / entry["name"] / entry["file"])
    if not found.clips:
        raise ValueError("no action keys a bone of the armature")
    flags = held_out(entry, [clip.name for clip in found.clips])
    clips = tuple(replace(clip, held_out=flag) for clip, flag in zip(found.clips, flags, strict=True))
    notes = {"species": entry.get("species", ""), "source": entry.get("source", ""), "file": entry["file"], "armature": found.armature}
    license_name = str(entry["license"]).split(" ")[0]
    return Asset(entry["name"], found.rig, clips, found.up, entry["kind"], entry["split"], license_name, notes)


def _thinned(rig: Rig) -> Rig:
    return rig if rig.mesh is None else replace(rig, mesh=thin_out(rig.mesh, MAX_TRIANGLES))


def write_asset(asset: Asset, folder: Path) -> Path:
    """Save as NAME.npz; a training that watches the folder never meets a half-written file."""
    part, path = folder / f".{asset.name}.npz", folder / f"{asset.name}.npz"
    save_asset(asset, part)
    return part.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Bake every rig of the index; a rig that fails is named and skipped."""
    parser = argparse.ArgumentParser(prog="python -m mocap_anything.training.data.bake", description=__doc__.split("\n")[0])
    parser.add_argument("rigs", type=Path, help="folder with index.json and a folder per rig")
    parser.add_argument("out", type=Path, help="where NAME.npz go")
    parser.add_argument("--only", nargs="+", default=[], help="bake these rigs alone")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    entries = [e for e in json.loads((args.rigs / "index.json").read_text()) if not args.only or e["name"] in args.only]
    args.out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for entry in entries:
        try:
            asset = bake(entry, args.rigs)
        except Exception as error:  # one broken file must not stop the others
            log.exception("%s failed", entry["name"])
            failed.append(f"{entry['name']}: {error}")
            continue
        write_asset(asset, args.out)
        triangles = len(asset.rig.mesh.triangles) if asset.rig.mesh is not None else 0
        log.info("%-34s %3d bones %3d driven %2d detached %3d clips %5d frames %5d triangles", asset.name, len(asset.rig), asset.rig.driven.sum(),
                 (asset.rig.carriers != asset.rig.parents).sum(), len(asset.clips), sum(len(c.pose) for c in asset.clips), triangles)
    log.info("%d of %d baked%s", len(entries) - len(failed), len(entries), "".join("\n  failed: " + line for line in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
