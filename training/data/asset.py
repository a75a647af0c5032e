"""An animated creature as training sees it, whether baked from a file or grown by the procedural zoo."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...backend.bone_features import front_of
from ...backend.kinematics import bone_rotations
from ...backend.motion import Motion
from ...backend.rig import Mesh, Rig


@dataclass(frozen=True, eq=False)
class AssetClip:
    """One animation of an asset.

    name: the clip's name in its file. fps: frames per second of `pose`.
    pose: (T, J, 4, 4) float32 bone to armature matrices, Blender's `pose_bone.matrix`.
    held_out: True where the clip is for validation alone.
    """

    name: str
    fps: float
    pose: np.ndarray
    held_out: bool = False


@dataclass(frozen=True, eq=False)
class Asset:
    """A rig with its skin and its clips.

    up: (3,) unit vector in the armature frame: what stands against gravity.
    plan: body plan or kind; split: train, rare, unseen, or procedural; license: SPDX name.
    """

    name: str
    rig: Rig
    clips: tuple[AssetClip, ...]
    up: np.ndarray
    plan: str = ""
    split: str = "procedural"
    license: str = "CC0-1.0"
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def front(self) -> np.ndarray:
        """(3,) where it looks, armature frame; bones that tell otherwise are right."""
        return front_of(self.up)


def save_asset(asset: Asset, path: Path) -> None:
    """Write an asset as one compressed npz without pickles."""
    rig, mesh = asset.rig, asset.rig.mesh
    arrays: dict[str, np.ndarray] = {
        "parents": rig.parents, "carriers": rig.carriers, "rest": rig.rest, "ends": rig.ends, "driven": rig.driven,
        "inherit_rotation": rig.inherit_rotation, "local_location": rig.local_location, "up": np.asarray(asset.up, np.float64),
    }
    if mesh is not None:
        arrays |= {"vertices": mesh.vertices, "triangles": mesh.triangles, "bones": mesh.bones, "weights": mesh.weights, "colors": mesh.colors}
    for index, clip in enumerate(asset.clips):
        arrays[f"pose_{index}"] = np.asarray(clip.pose, np.float32)
    header = {
        "name": asset.name, "plan": asset.plan, "split": asset.split, "license": asset.license, "notes": asset.notes,
        "names": rig.names, "reasons": rig.reasons, "inherit_scale": rig.inherit_scale,
        "clips": [{"name": c.name, "fps": c.fps, "held_out": c.held_out} for c in asset.clips],
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_asset(path: Path) -> Asset:
    """Read what save_asset wrote."""
    with np.load(path, allow_pickle=False) as data:
        header = json.loads(data["header"].tobytes())
        mesh = Mesh(data["vertices"], data["triangles"], data["bones"], data["weights"], data["colors"]) if "vertices" in data else None
        rig = Rig(
            tuple(header["names"]), data["parents"], data["carriers"], data["rest"], data["ends"], data["driven"], tuple(header["reasons"]),
            data["inherit_rotation"], data["local_location"], tuple(header["inherit_scale"]), mesh,
        )
        clips = tuple(AssetClip(c["name"], c["fps"], data[f"pose_{i}"], c["held_out"]) for i, c in enumerate(header["clips"]))
        return Asset(header["name"], rig, clips, data["up"], header["plan"], header["split"], header["license"], header["notes"])


def motion_of(pose: np.ndarray, fps: float) -> Motion:
    """Poses (T, J, 4, 4) as a motion that is sure of itself."""
    pose = pose.astype(np.float64)
    frames, bones = pose.shape[:2]
    unknown = np.full((frames, bones, 2), np.nan, np.float32)
    return Motion(np.arange(frames) / fps, bone_rotations(pose), pose[..., :3, 3].copy(), np.zeros((frames, bones), np.float32), unknown)
