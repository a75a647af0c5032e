"""Result files: written beside their place first and moved there together, so that a failure leaves no half of anything."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from types import TracebackType
from typing import Any

import bpy

from ..backend.errors import CaptureError
from . import joint_export

log = logging.getLogger(__name__)

# how a .blend file ends: its last block, or the footer of a compressed one
_TAIL = 64
_ZSTD_SEEK_TABLE = b"\xb1\xea\x92\x8f"


class Outputs:
    """A transaction of files.

    Each file is written under a temporary name in the folder where it will lie. Leaving the `with` block without an error moves all of
    them to their places, replacing what was there; an error removes them.
    """

    def __init__(self) -> None:
        self._pending: dict[Path, Path] = {}

    def add(self, place: Path) -> Path:
        """The temporary name for a file; it is tried out at once, so that a folder that cannot be written to is told before the work."""
        place = place.absolute()
        if place.is_dir():
            raise CaptureError(f"'{place}' is a folder. Give the result a file name.")
        temporary = place.with_name(f".{place.stem}.{os.getpid()}.partial{place.suffix}")
        with writing(place):
            temporary.open("wb").close()
        self._pending[place] = temporary
        return temporary

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                for place, temporary in self._pending.items():
                    with writing(place):
                        os.replace(temporary, place)
        finally:
            for temporary in self._pending.values():
                temporary.unlink(missing_ok=True)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say in the user's terms why a file could not be written."""
    try:
        yield
    except OSError as error:
        reasons = {errno.ENOSPC: "the disk is full", errno.EFBIG: "the disk quota or file size limit is reached", errno.EROFS: "the disk is read-only"}
        reasons |= {errno.EACCES: "it may not be written to", errno.EPERM: "it may not be written to", errno.ENOENT: "its folder does not exist"}
        reasons |= {errno.ENOTDIR: "its folder is not a folder", errno.EDQUOT: "the disk quota is reached"}
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise CaptureError(f"'{place}' could not be written: {reason}. Free some space or choose another place.") from error
    except RuntimeError as error:  # Blender's operators put their report, or an exporter's whole trace, into one
        reason = str(error).strip().splitlines()[-1].removeprefix("Error:").strip()
        raise CaptureError(f"'{place}' could not be written ({reason}). The disk may be full; free some space or choose another place.") from error


def save_scene(path: Path, place: Path) -> None:
    """Save the open scene under another name without changing what is open."""
    with writing(place):
        path.unlink(missing_ok=True)  # of a file that is there Blender keeps a backup
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)
        if not _is_whole_scene(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_json(path: Path, place: Path, content: dict[str, Any]) -> None:
    with writing(place):
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n", "utf-8")


@dataclass(frozen=True)
class ExportOptions:
    """frames: first and last scene frame with keys. start_frame: where time zero stands.

    fps: of BVH and tracks, None for the scene's. bvh_order: of a BVH's rotation channels.
    """

    frames: tuple[float, float]
    start_frame: float
    fps: float | None = None
    bvh_order: str = "ZXY"


def export_motion(context: bpy.types.Context, armature: bpy.types.Object, path: Path, place: Path, options: ExportOptions) -> None:
    """Write the armature's motion by the file's suffix: BVH, tracks of its joints, or glTF or FBX with its skin, which change the selection."""
    if path.suffix in joint_export.SUFFIXES:
        with writing(place):
            joint_export.export_joints(path, armature, options.frames, options.start_frame, options.fps, options.bvh_order)
            _expect_content(path)
        return
    _select(context, armature)
    scene = context.scene
    scene.frame_start, scene.frame_end = floor(options.frames[0]), ceil(options.frames[1])
    with writing(place):
        if path.suffix == ".glb":
            bpy.ops.export_scene.gltf(
                filepath=str(path), export_format="GLB", use_selection=True, export_animation_mode="ACTIVE_ACTIONS", export_frame_range=True, export_apply=False
            )
        else:
            bpy.ops.export_scene.fbx(
                filepath=str(path), use_selection=True, object_types={"ARMATURE", "MESH"}, add_leaf_bones=False, bake_anim_use_all_actions=False,
                bake_anim_use_nla_strips=False, path_mode="COPY", embed_textures=True,
            )
        _expect_content(path)


def _select(context: bpy.types.Context, armature: bpy.types.Object) -> None:
    """Only the armature and the meshes that it deforms."""
    if context.view_layer.objects.active is not None and context.view_layer.objects.active.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for thing in context.view_layer.objects:
        thing.select_set(thing == armature or (thing.type == "MESH" and thing.find_armature() == armature))
    context.view_layer.objects.active = armature


def _is_whole_scene(path: Path) -> bool:
    """Whether a .blend file has its end: Blender does not always notice that a disk took less than it was given."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read()
    return b"ENDB" in tail or tail.endswith(_ZSTD_SEEK_TABLE)


def _expect_content(path: Path) -> None:
    """Exporters log some failures instead of raising them."""
    if not path.is_file() or path.stat().st_size == 0:
        raise OSError(errno.EIO, "nothing was written")
