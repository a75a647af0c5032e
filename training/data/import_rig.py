"""Animated rig files into an empty Blender scene, with what a clip does not key kept as the file means it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import struct
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...addon.rig_mesh import bound_meshes

_GLTF = (".glb", ".gltf")
_USD = (".usd", ".usda", ".usdc", ".usdz")
# in order of how much of a character they hold: of one motion in several formats the first is taken
SUFFIXES = (*_GLTF, ".fbx", ".blend", *_USD, ".dae", ".bvh")


def import_file(path: Path) -> None:
    """Replace the scene by the file's (see SUFFIXES; Collada only where Blender still reads it). The extension, where it is enabled, stays so."""
    suffix = path.suffix.lower()
    with contextlib.redirect_stdout(io.StringIO()):  # importers report every object
        if suffix == ".blend":
            bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=False)
            return
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        if suffix in _GLTF:
            bpy.ops.import_scene.gltf(filepath=str(path), loglevel=logging.ERROR)
        elif suffix == ".fbx" and bpy.app.version >= (4, 5, 0):  # the older importer stops at the lights of some files in Blender 5
            bpy.ops.wm.fbx_import(filepath=str(path))
        elif suffix == ".fbx":
            bpy.ops.import_scene.fbx(filepath=str(path))
        elif suffix == ".bvh":
            # the scene takes on the file's own rate: else a motion of 30 frames a second would play slower in a scene of 24
            bpy.ops.import_anim.bvh(filepath=str(path), update_scene_fps=True, update_scene_duration=True)
        elif suffix in _USD:
            bpy.ops.wm.usd_import(filepath=str(path))
        elif suffix == ".dae" and hasattr(bpy.types, "WM_OT_collada_import"):
            bpy.ops.wm.collada_import(filepath=str(path))
        else:
            raise ValueError(f"Blender {bpy.app.version_string} does not read {suffix or 'files without a suffix'}")


def main_armature() -> bpy.types.Object:
    """The armature that most vertices follow (of several, as in a face or a hat with its own)."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    armatures = [o for o in bpy.context.view_layer.objects if o.type == "ARMATURE" and len(o.data.bones)]
    if not armatures:
        raise ValueError("the file has no armature with bones")
    return max(armatures, key=lambda a: (sum(len(b.object.data.vertices) for b in bound_meshes(a, depsgraph)), len(a.data.bones)))


def neutral_pose(path: Path) -> dict[str, np.ndarray]:
    """Basis (4, 4) by bone of a glTF file's own node transforms: what a channel that a clip leaves out holds. Empty for other files.

    Importing the clips overwrites it, and exporters leave out every channel that equals it, so the file is imported once more
    without its clips. Leaves that import in the scene.
    """
    if path.suffix.lower() not in _GLTF:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        still = Path(folder) / f"still{path.suffix.lower()}"
        _write_without_clips(path, still)
        import_file(still)
    return {bone.name: np.array(bone.matrix_basis, np.float64) for bone in main_armature().pose.bones}


def _write_without_clips(source: Path, target: Path) -> None:
    data = source.read_bytes()
    binary = source.suffix.lower() == ".glb"
    length = struct.unpack("<I", data[12:16])[0] if binary else 0
    document: dict[str, Any] = json.loads(data[20 : 20 + length] if binary else data)
    document.pop("animations", None)
    for entry in document.get("buffers", []) + document.get("images", []):
        if "uri" in entry and not entry["uri"].startswith("data:"):
            entry["uri"] = str((source.parent / entry["uri"]).resolve())
    text = json.dumps(document).encode()
    if not binary:
        target.write_bytes(text)
        return
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    target.write_bytes(struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest)) + struct.pack("<I4s", len(text), b"JSON") + text + rest)
