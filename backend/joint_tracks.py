"""3D tracks of joints as files: CSV (time, joint, x, y, z) or npz, in any order, of any joints, in the scene's or any other axes.

A joint is a bone's name, which means its head; NAME:end is where the bone points, its end.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import CaptureError
from .ik_chain import Targets, end_offsets
from .rig import Rig

SUFFIXES = (".csv", ".npz")
END = ":end"
_COLUMNS = ("time", "joint", "x", "y", "z")
_MILLION = 1_000_000  # times are the same where they agree to a microsecond
_FAR_OFF = 3.0  # times longer or shorter than the rig's: tracks in another unit


@dataclass(frozen=True, eq=False)
class JointTracks:
    """times: (T,) seconds, increasing. joints: P names. positions: (T, P, 3), NaN where a joint was not seen."""

    times: np.ndarray
    joints: tuple[str, ...]
    positions: np.ndarray


def read_tracks(path: Path) -> JointTracks:
    """Tracks of a .csv or .npz file; raises CaptureError that says what is wrong with it."""
    if path.suffix.lower() not in SUFFIXES:
        raise CaptureError(f"'{path.name}' is neither a .csv nor a .npz file. Give the tracks as one of them.")
    if not path.is_file():
        raise CaptureError(f"There is no file at '{path}'. Give the path of a .csv or .npz file with 3D tracks.")
    try:
        tracks = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, KeyError) as error:
        raise CaptureError(f"'{path.name}' cannot be read ({' '.join(str(error).split())}). Columns are time, joint, x, y, z; arrays the same.") from error
    if not len(tracks.times) or not np.isfinite(tracks.positions).any():
        raise CaptureError(f"'{path.name}' holds no positions. Each row is a time in seconds, a joint's name and x, y, z.")
    return tracks


def _rows(path: Path) -> Iterator[tuple[float, str, float, float, float]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [cell.strip().lower() for cell in next(reader, [])]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise ValueError(f"there is no column '{missing[0]}' in its first line")
        places = [header.index(name) for name in _COLUMNS]
        for number, row in enumerate(reader, 2):
            if not any(cell.strip() for cell in row):
                continue
            try:
                time, joint, *point = (row[place].strip() for place in places)
                x, y, z = (float(cell) if cell else float("nan") for cell in point)
                yield float(time), joint, x, y, z
            except (ValueError, IndexError) as error:
                raise ValueError(f"line {number}: {error}") from error


def _read_csv(path: Path) -> JointTracks:
    rows = list(_rows(path))
    return _gather(np.array([r[0] for r in rows]), np.array([r[1] for r in rows], str), np.array([r[2:] for r in rows], np.float64).reshape(-1, 3))


def _read_npz(path: Path) -> JointTracks:
    """Arrays time, joint, x, y, z of one row each, as the CSV; or, as we write them, times (T,), joints (P,) and positions (T, P, 3)."""
    with np.load(path, allow_pickle=False) as data:
        if "positions" in data:
            times, joints, positions = data["times"], data["joints"], data["positions"].astype(np.float64)
            if positions.shape != (len(times), len(joints), 3):
                raise ValueError(f"positions must have shape {(len(times), len(joints), 3)}, not {positions.shape}")
            return _gather(np.repeat(times, len(joints)), np.tile(joints, len(times)), positions.reshape(-1, 3))
        missing = [name for name in _COLUMNS if name not in data]
        if missing:
            raise ValueError(f"there is no array '{missing[0]}'")
        return _gather(data["time"], data["joint"].astype(str), np.stack([data[axis] for axis in "xyz"], -1).astype(np.float64))


def _gather(time: np.ndarray, joint: np.ndarray, points: np.ndarray) -> JointTracks:
    if not np.isfinite(time).all():
        raise ValueError("a time is not a number")
    stamps, row = np.unique(np.round(np.asarray(time, np.float64) * _MILLION).astype(np.int64), return_inverse=True)
    names, column = np.unique(joint, return_inverse=True)
    positions = np.full((len(stamps), len(names), 3), np.nan)
    taken = np.zeros(positions.shape[:2], bool)
    if len(np.unique(row * max(len(names), 1) + column)) < len(row):
        np.add.at(taken, (row, column), True)
        order = np.lexsort((column, row))
        twice = order[1:][(row[order][1:] == row[order][:-1]) & (column[order][1:] == column[order][:-1])][0]
        raise ValueError(f"'{joint[twice]}' stands twice at {time[twice]:g} s")
    positions[row, column] = points
    return JointTracks(stamps / _MILLION, tuple(str(name) for name in names), positions)


def write_tracks(path: Path, tracks: JointTracks) -> None:
    """Write what read_tracks reads, as .csv or .npz by the suffix; joints that were not seen are left out of a CSV."""
    if path.suffix.lower() == ".npz":
        np.savez_compressed(path, times=tracks.times, joints=np.array(tracks.joints), positions=tracks.positions)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for time, points in zip(tracks.times, tracks.positions, strict=True):
            for name, point in zip(tracks.joints, points, strict=True):
                if np.isfinite(point).all():
                    writer.writerow([f"{time:.6f}", name, *(f"{value:.9g}" for value in point)])


def to_targets(tracks: JointTracks, rig: Rig, change: np.ndarray) -> tuple[Targets, list[str]]:
    """Targets in the armature frame, and the names of joints that are no bone of the rig.

    change: (4, 4) from the tracks' axes to the armature's. Raises CaptureError where no joint is a bone, or the unit is plainly another.
    """
    index = {name: bone for bone, name in enumerate(rig.names)}
    known = [(column, name.removesuffix(END), name not in index) for column, name in enumerate(tracks.joints) if {name, name.removesuffix(END)} & set(index)]
    strange = [name for name in tracks.joints if not {name, name.removesuffix(END)} & set(index)]
    if not known:
        close = difflib.get_close_matches(strange[0], rig.names, 1, 0.0)[0]
        raise CaptureError(f"No joint in the tracks is a bone of the rig: '{strange[0]}' is not, for one. Name joints as bones, such as '{close}'.")
    bones = np.array([index[name] for _, name, _ in known])
    offsets = np.where(np.array([end for *_, end in known])[:, None], end_offsets(rig)[bones], 0.0)
    positions = tracks.positions[:, [column for column, *_ in known]] @ change[:3, :3].T + change[:3, 3]
    targets = Targets(bones, offsets, positions, tracks.times)
    _check_unit(rig, targets)
    return targets, strange


def _check_unit(rig: Rig, targets: Targets) -> None:
    """Distances between tracked points compared with the same at rest."""
    rest = (rig.rest[targets.bones, :3, :3] @ targets.offsets[..., None])[..., 0] + rig.rest[targets.bones, :3, 3]
    if len(rest) < 2:
        return
    own = np.linalg.norm(rest - rest.mean(0), axis=-1).mean()
    centred = targets.positions - np.nanmean(targets.positions, 1, keepdims=True) if np.isfinite(targets.positions).all() else None
    if centred is None or own < 1e-9:
        return
    ratio = float(np.median(np.linalg.norm(centred, axis=-1).mean(1)) / own)
    if not 1 / _FAR_OFF < ratio < _FAR_OFF:
        raise CaptureError(f"The tracks are {ratio:.3g} times as large as the rig. Give --scale {1 / ratio:.3g}, or scale the armature.")
