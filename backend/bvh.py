"""BVH, the motion capture world's plain text: a skeleton at rest and, per frame, Euler angles of each joint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .kinematics import bone_rotations
from .rig import Rig

ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class BvhOptions:
    """fps: frames per second. order: of the rotation channels; ZXY turns about Z first, then about the turned X, then Y."""

    fps: float = 24.0
    order: str = "ZXY"

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"fps must be more than zero, not {self.fps:g}")
        if self.order.upper() not in ORDERS:
            raise ValueError(f"the order must be one of {', '.join(ORDERS)}, not '{self.order}'")


def write_bvh(path: Path, rig: Rig, pose: np.ndarray, options: BvhOptions, world: np.ndarray | None = None) -> None:
    """Write all bones of a rig.

    pose: (T, J, 4, 4) bone to armature, a frame each 1/fps. world: (4, 4) armature to a world with z up; the file has y up, so that Blender
    and others read it as it stood there. Joints whose distance from their parents is not fixed get position channels; scale is lost.
    """
    tracks = _tracks(rig, np.asarray(pose, np.float64), np.eye(4) if world is None else np.asarray(world, np.float64))
    order = options.order.upper()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("HIERARCHY\n" + "\n".join(_hierarchy(rig, tracks, order)) + "\nMOTION\n")
        file.write(f"Frames: {len(pose)}\nFrame Time: {1 / options.fps:.8f}\n")
        np.savetxt(file, _channels(tracks, order), fmt="%.6f")


@dataclass(frozen=True, eq=False)
class _Tracks:
    """bones: J bones as the file lists them, a parent's tree in one piece. offsets (J, 3) from the parent at rest and positions (T, J, 3) in its
    axes, turns (T, J, 3, 3) against the parent since rest, ends (J, 3) from the head at rest, all in the file's axes; loose (J,) bool: with
    position channels. several_roots: they hang from one that never moves."""

    bones: list[int]
    offsets: np.ndarray
    positions: np.ndarray
    turns: np.ndarray
    ends: np.ndarray
    loose: np.ndarray
    several_roots: bool


def _tracks(rig: Rig, pose: np.ndarray, world: np.ndarray) -> _Tracks:
    place = _Y_UP @ world
    axes = bone_rotations(place)
    rest = rig.rest[:, :3, 3] @ place[:3, :3].T + place[:3, 3]
    ends = (rig.ends - rig.rest[:, :3, 3]) @ place[:3, :3].T
    heads = pose[..., :3, 3] @ place[:3, :3].T + place[:3, 3]
    since_rest = axes @ bone_rotations(pose) @ np.swapaxes(bone_rotations(rig.rest), -1, -2) @ axes.T
    linked, above = np.flatnonzero(rig.parents >= 0), rig.parents[rig.parents >= 0]
    turns, positions, offsets = since_rest.copy(), heads.copy(), rest.copy()
    turns[:, linked] = np.swapaxes(since_rest[:, above], -1, -2) @ since_rest[:, linked]
    positions[:, linked] = np.einsum("tjba,tjb->tja", since_rest[:, above], heads[:, linked] - heads[:, above])
    offsets[linked] = rest[linked] - rest[above]
    size = np.linalg.norm(np.ptp(np.concatenate([rest, rest + ends]), axis=0))
    loose = (rig.parents < 0) | (np.abs(positions - offsets).max((0, 2)) > 1e-4 * size)
    return _Tracks(_in_order(rig), offsets, positions, turns, ends, loose, int((rig.parents < 0).sum()) > 1)


def _in_order(rig: Rig) -> list[int]:
    order: list[int] = []
    waiting = np.flatnonzero(rig.parents < 0)[::-1].tolist()
    while waiting:
        bone = waiting.pop()
        order.append(bone)
        waiting += np.flatnonzero(rig.parents == bone)[::-1].tolist()
    return order


def _names(rig: Rig) -> list[str]:
    """Names without blanks, each once: many readers split lines at them."""
    names: list[str] = []
    for name in rig.names:
        plain = "_".join(name.split()) or "_"
        while plain in names:
            plain += "_"
        names.append(plain)
    return names


def _hierarchy(rig: Rig, tracks: _Tracks, order: str) -> Iterator[str]:
    """The skeleton's lines."""
    names = _names(rig)
    turning = " ".join(f"{axis}rotation" for axis in order)
    extra = tracks.several_roots
    if extra:
        yield from ("ROOT Roots", "{", "\tOFFSET 0 0 0", f"\tCHANNELS 3 {turning}")

    def joint(bone: int, indent: str) -> Iterator[str]:
        yield f"{indent}{'JOINT' if extra or rig.parents[bone] >= 0 else 'ROOT'} {names[bone]}"
        yield indent + "{"
        yield f"{indent}\tOFFSET {_point(tracks.offsets[bone])}"
        moving = "6 Xposition Yposition Zposition " if tracks.loose[bone] else "3 "
        yield f"{indent}\tCHANNELS {moving}{turning}"
        children = np.flatnonzero(rig.parents == bone)
        for child in children:
            yield from joint(int(child), indent + "\t")
        if not len(children):
            yield from (f"{indent}\tEnd Site", indent + "\t{", f"{indent}\t\tOFFSET {_point(tracks.ends[bone])}", indent + "\t}")
        yield indent + "}"

    for root in np.flatnonzero(rig.parents < 0):
        yield from joint(int(root), "\t" if extra else "")
    if extra:
        yield "}"


def _point(point: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in point)


def _channels(tracks: _Tracks, order: str) -> np.ndarray:
    """(T, channels) as the hierarchy lists them."""
    angles = np.degrees(euler_angles(tracks.turns, order))
    columns = [np.zeros((len(angles), 3))] if tracks.several_roots else []
    for bone in tracks.bones:
        columns += [tracks.positions[:, bone]] if tracks.loose[bone] else []
        columns.append(angles[:, bone])
    return np.concatenate(columns, 1)


def euler_angles(rotations: np.ndarray, order: str) -> np.ndarray:
    """(T, ..., 3) radians, in the order of the letters, of rotations (T, ..., 3, 3) = R_first R_second R_third; continuous along T.

    Of the two triples that mean the same rotation the one nearer to the frame before is taken.
    """
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    m = rotations
    second = np.arcsin(np.clip(sign * m[..., i, k], -1, 1))
    first = np.arctan2(-sign * m[..., j, k], m[..., k, k])
    third = np.arctan2(-sign * m[..., i, j], m[..., i, i])
    locked = np.hypot(m[..., i, j], m[..., i, i]) < 1e-9  # first and third turn about one axis: all of it is given to the first
    first = np.where(locked, np.arctan2(sign * m[..., k, j], m[..., j, j]), first)
    third = np.where(locked, 0.0, third)
    out = np.stack([first, second, third], -1)
    for t in range(1, len(out)):
        other = np.stack([out[t, ..., 0] + np.pi, np.pi - out[t, ..., 1], out[t, ..., 2] + np.pi], -1)
        near, far = (a + 2 * np.pi * np.round((out[t - 1] - a) / (2 * np.pi)) for a in (out[t], other))
        better = np.abs(far - out[t - 1]).sum(-1) < np.abs(near - out[t - 1]).sum(-1)
        out[t] = np.where(better[..., None], far, near)
    return out
