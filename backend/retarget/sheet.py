"""What a retargeting looks like: the driving rig above, the target below, at the same times, each through a camera of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..bone_shapes import bone_mesh
from ..camera import Camera
from ..kinematics import inverse_affine
from ..motion import Motion
from ..rasterizer import draw_rig
from ..rig import Rig
from .transfer import Posed

_PAPER, _INK, _GROUND = (32, 33, 36), (225, 225, 225), (90, 92, 96)
_FOCAL = 2.5  # of the picture's side
_MARGIN = 1.15
_VIEW = (0.85, 0.45, 0.28)  # left, front and up of the subject: where the camera stands


def poses_of(rig: Rig, motion: Motion) -> np.ndarray:
    """(T, J, 4, 4) bone to armature of a motion, without scale."""
    poses = np.tile(np.eye(4), (len(motion), len(rig), 1, 1))
    poses[..., :3, :3], poses[..., :3, 3] = motion.rotations, motion.heads
    return poses


def retarget_sheet(
    path: str | Path, rows: Sequence[tuple[str, Posed, np.ndarray]], times: np.ndarray, *, count: int = 8, cell: int = 220,
) -> None:
    """Write a PNG with a row for each rig (title, posed rig, poses (T, J, 4, 4) at times (T,)) and a column for each of `count` times."""
    chosen = np.unique(np.linspace(0, len(times) - 1, min(count, len(times))).round().astype(int))
    label, font = 40, ImageFont.load_default(14)
    sheet = Image.new("RGB", (len(chosen) * cell, len(rows) * (cell + label)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, (title, posed, poses) in enumerate(rows):
        camera = _camera(posed, poses[chosen], cell)
        pen.text((4, row * (cell + label) + 3), title, _INK, font)
        for column, index in enumerate(chosen):
            rig = posed.rig
            picture = draw_rig(rig, poses[index], camera, (cell, cell), _GROUND)[0]
            sheet.paste(Image.fromarray(picture), (column * cell, row * (cell + label) + label))
            pen.text((column * cell + 4, row * (cell + label) + 21), f"{times[index]:.2f} s", _INK, font)
    sheet.save(path, "PNG")


def _camera(posed: Posed, poses: np.ndarray, side: int) -> Camera:
    """A still camera, from the subject's front left, that holds all the poses."""
    rig = posed.rig
    mesh = rig.mesh if rig.mesh is not None else bone_mesh(rig)
    chief = np.take_along_axis(mesh.bones, mesh.weights.argmax(1)[:, None], 1)[:, 0]
    step = max(1, len(chief) // 500)
    change = (poses @ inverse_affine(rig.rest))[:, chief[::step]]
    points = (np.einsum("tvab,vb->tva", change[..., :3, :3], mesh.vertices[::step].astype(np.float64)) + change[..., :3, 3]).reshape(-1, 3)
    towards = posed.anatomy().facing @ np.array(_VIEW)
    towards /= np.linalg.norm(towards)
    up = np.asarray(posed.up, np.float64) / np.linalg.norm(posed.up)
    right = np.cross(up, towards)
    right /= np.linalg.norm(right)
    axes = np.stack([right, -np.cross(towards, right), -towards])
    seen = points @ axes.T
    low, high = seen.min(0), seen.max(0)
    middle, spread = (low + high) / 2, (high - low)
    distance = max(spread[0], spread[1]) * _MARGIN * _FOCAL + spread[2] / 2
    place = np.eye(4)
    place[:3, :3] = axes
    place[:3, 3] = -middle + [0, 0, distance]
    return Camera(np.array([_FOCAL * side, _FOCAL * side, side / 2, side / 2]), place, side, side)
