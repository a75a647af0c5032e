"""Poses that a rig may take, turned about and laid over the outline of a subject: which look like it.

Hundreds of poses in a dozen headings are too many to be drawn. So points of the skin are put into a coarse grid, and where their cells cover
what the subject's mask covers, from the size and place that the mask tells, a pose may be the one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .axis_angles import exp_rotation
from .body_points import Crop
from .camera import Camera
from .fit_problem import Problem, State
from .surface import Surface

_POINTS = 800  # of the skin
_GRID = 32  # cells a side
_POSES = 200
_HEADINGS = np.radians([0, 20, -20, 45, -45, 75, -75, 110, -110, 145, -145, 180])
_ROUNDS = 3  # in which a pose is moved to where the mask is
_BLURS = (0.7, 2.0)  # cells
_TURNED, _APART = 0.2, 0.2  # of what the mask covers, that half a turn's (1 - cos), and a radian of all bones from the reference, must explain
_INFLUENCES = 4  # bones that move a point
_CHUNK = 64  # poses whose points are worked out at once
_FLAT = 0.5  # of a body's mean square extent its area is about


@dataclass(frozen=True, eq=False)
class Poses:
    """P poses that a rig may take: angles (P, A, 3) since the reference, and of points spread over its skin, armature frame, the middle (P, 3) and where they
    are about it, points (P, S, 3)."""

    angles: np.ndarray
    middle: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Laid:
    """C poses laid over a mask, the likeliest first: angles (C, A, 3) since the reference, and from_armature (C, 4, 4), the camera before which they stand so;
    as it is asked for, but for the armature's heading and place."""

    angles: np.ndarray
    from_armature: np.ndarray


def known_poses(problem: Problem, surface: Surface) -> Poses:
    """The reference's pose, and of the rig's and of like bodies' motions those that are farthest apart."""
    angles = _far_apart(problem)
    state = State(torch.from_numpy(angles), torch.zeros(len(angles), 3, dtype=torch.float64))
    points = _skin_points(surface, *(part.numpy() for part in problem.pose(state, slice(None))))
    middle = points.mean(1, keepdims=True)
    return Poses(angles, middle[:, 0] * surface.rig.size, (points - middle) * surface.rig.size)


def laid_over(poses: Poses, mask: np.ndarray, window: Crop, camera: Camera, up: np.ndarray, most: int) -> Laid:
    """So many of the poses, those that cover a mask (S, S) 0..1 of a window best. up: (3,) armature frame."""
    turned = exp_rotation(torch.from_numpy(np.outer(_HEADINGS, np.asarray(up, np.float64)))).numpy()
    linear = camera.from_armature[:3, :3]
    before = np.einsum("yab,psb->pysa", linear @ turned, poses.points).reshape(-1, poses.points.shape[1], 3)
    place, cover = _placed(before, cv2.resize(mask, (_GRID, _GRID), interpolation=cv2.INTER_AREA), window, camera)
    pose, heading = np.divmod(np.arange(len(before)), len(_HEADINGS))
    apart = np.sqrt(np.square(poses.angles).sum(-1).mean(-1)) if poses.angles.shape[1] else np.zeros(len(poses.angles))
    cost = cover + _TURNED * (1 - np.cos(_HEADINGS[heading])) + _APART * apart[pose]
    best = np.argsort(cost, kind="stable")[:most]
    matrix = np.tile(np.eye(4), (len(best), 1, 1))
    matrix[:, :3, :3] = (linear @ turned)[heading[best]]
    matrix[:, :3, 3] = place[best] - np.einsum("nab,nb->na", matrix[:, :3, :3], poses.middle[pose[best]])
    return Laid(poses.angles[pose[best]], matrix)


def _far_apart(problem: Problem) -> np.ndarray:
    """(P, A, 3) the reference's, and then of all that are known always the one that is farthest from those before it."""
    known = problem.told.turns.numpy()
    chosen = [np.zeros(3 * len(problem.chain.active))]
    away = np.square(known).sum(1)
    while len(chosen) < _POSES and len(away) and away.max() > 1e-4:
        chosen.append(known[away.argmax()])
        away = np.minimum(away, np.square(known - chosen[-1]).sum(1))
    return np.stack(chosen).reshape(len(chosen), -1, 3)


def _skin_points(surface: Surface, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(P, S, 3) points spread over the skin, sizes, of poses (P, J, 3, 3) and (P, J, 3)."""
    corners = surface.rig.mesh.vertices[surface.triangles] if surface.rig.mesh is not None else np.zeros((0, 3, 3))
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).cumsum()
    rng = np.random.default_rng(0)
    triangle = np.searchsorted(area / area[-1], (np.arange(_POINTS) + 0.5) / _POINTS).clip(0, len(area) - 1)
    across, along = np.sqrt(rng.random(_POINTS)), rng.random(_POINTS)
    weights = np.stack([1 - across, across * (1 - along), across * along], 1)
    vertices = surface.triangles[triangle]
    shares = (surface.shares[vertices] * weights[..., None]).reshape(_POINTS, -1)
    most = np.argsort(-shares, 1)[:, :_INFLUENCES]
    bones, local = surface.bones[vertices].reshape(_POINTS, -1), surface.local[vertices].reshape(_POINTS, -1, 3)
    bones, shares, local = np.take_along_axis(bones, most, 1), np.take_along_axis(shares, most, 1), np.take_along_axis(local, most[..., None], 1)
    shares = shares / shares.sum(1, keepdims=True)
    found = np.empty((len(rotations), _POINTS, 3))
    for part in (slice(k, k + _CHUNK) for k in range(0, len(rotations), _CHUNK)):
        placed = np.einsum("psmab,smb->psma", rotations[part][:, bones], local) + heads[part][:, bones]
        found[part] = np.einsum("sm,psma->psa", shares, placed)
    return found


def _placed(points: np.ndarray, mask: np.ndarray, window: Crop, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where the middle of points (C, S, 3), about it and along the camera's axes, must be, (C, 3), to reach as far in a window as a mask (G, G) does, about
    the same middle; and how differently they then cover it, (C,) of what the mask does."""
    focal, optical, side = camera.intrinsics[:2], camera.intrinsics[2:], float(window.side)
    corner = np.asarray(window.center) - side / 2
    area = float(mask.mean())
    goal, wide = _centers(mask[None])[0], _spread(mask[None])[0]  # not its area: here thin limbs cover whole cells
    center = np.tile(goal, (len(points), 1))
    depth = focal[0] * np.sqrt(np.square(points[..., :2]).sum(-1).mean(1) / (_FLAT * area)) / side
    for turn in range(_ROUNDS + 1):
        place = np.concatenate([(center * side + corner - optical) / focal, np.ones((len(center), 1))], 1) * depth[:, None]
        there = points + place[:, None]
        shown = there[..., :2] / np.maximum(there[..., 2:], 1e-3 * depth[:, None, None]) * focal + optical
        cover = _covered((shown - corner) / side)
        if turn < _ROUNDS:
            center = center + goal - _centers(cover)
            depth = depth * (_spread(cover) / wide).clip(0.6, 1.6)
    off = np.zeros(len(points))
    for blur in _BLURS:
        wanted = cv2.GaussianBlur(mask, (0, 0), blur)
        off += [float(np.square(cv2.GaussianBlur(one, (0, 0), blur) - wanted).sum()) for one in cover]
    return place, off / mask.sum()


def _centers(cover: np.ndarray) -> np.ndarray:
    """(C, 2) middles of what is covered, shares of the window; its own where nothing is."""
    middle = (np.arange(_GRID) + 0.5) / _GRID
    total = np.maximum(cover.sum((1, 2)), 1e-6)
    found = np.stack([(cover * middle).sum((1, 2)), (cover * middle[:, None]).sum((1, 2))], 1) / total[:, None]
    return np.where(cover.any((1, 2))[:, None], found, 0.5)


def _spread(cover: np.ndarray) -> np.ndarray:
    """(C,) how far what is covered reaches, in the root mean square, shares of the window."""
    middle = (np.arange(_GRID) + 0.5) / _GRID - _centers(cover)[:, :, None]
    total = np.maximum(cover.sum((1, 2)), 1e-6)
    far = np.einsum("cyx,cx->c", cover, middle[:, 0] ** 2) + np.einsum("cyx,cy->c", cover, middle[:, 1] ** 2)
    return np.sqrt(np.maximum(far / total, 1e-6))


def _covered(places: np.ndarray) -> np.ndarray:
    """(C, G, G) float32 cells that points (C, S, 2) at shares of the window lie in, and small gaps between them."""
    cells = np.floor(places * _GRID).astype(np.int64)
    inside = ((cells >= 0) & (cells < _GRID)).all(-1)
    flat = (np.arange(len(places))[:, None] * _GRID + cells[..., 1]) * _GRID + cells[..., 0]
    full = np.zeros(len(places) * _GRID**2, np.float32)
    full[flat[inside]] = 1
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(full).view(-1, 1, _GRID, _GRID), 3, 1, 1)
    return -torch.nn.functional.max_pool2d(-grown, 3, 1, 1)[:, 0].numpy()
