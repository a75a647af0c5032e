"""Points of the skin followed from frame to frame, and how surely: dense inverse search (Kroeger et al. 2016, ECCV) with grown covariances.

Optical flow is right where the picture has structure, and there across it; in plain areas it is a guess from around. So every point carries
the covariance of where it is, which each step makes larger, most along directions in which the picture around it is the same (the
structure tensor's, Förstner 1986). A point is born on the skin of the pose that was found for a frame, and lives until it is hidden, leaves
the picture, comes apart from the pose, or flow there and back do not agree.
"""

from __future__ import annotations

import cv2
import numpy as np

from .camera import Camera
from .drawn import project
from .flow import FlowWorker
from .surface import Seen, Shot, Standing, Surface

_LEAST = 0.006  # error of any point, share of the crop
_BORN = 0.01  # error of a point born on a pose that was found, and not the animator's, share of the crop
_STEP = 0.0015  # error of a step, share of the crop
_SLIP = 0.15  # error of a step, share of the step
_PLAIN = 1000.0  # (grey levels a pixel)²: structure at which a step's variance is twice the least
_CLEAR = 0.1  # share of the best information below which a point says nothing
_AGREE = (0.5, 0.1)  # flow there and back: pixels, and share of the step
_ASTRAY = 0.05  # of the crop: farther from the pose, a point is lost
_HIDDEN = 0.02  # of the skin's extent: farther behind what shows, a point is hidden
_SUBJECT, _KEPT = 0.5, 0.2  # how surely the mask must show the subject at a point that is born, and at one that lives on
_CELL = 3  # pixels of the drawn rig, in each of which one point is followed
_FEW = 3.0  # points that a bone needs to count fully


class SkinTracks:
    """Followed points of a surface.

    corners: (N, 3), weights: (N, 3) of them, place: (N, 2) pixels of the clip, covariance: (N, 2, 2) shares of the crop.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface, self.worker = surface, FlowWorker()
        self.forget()

    def forget(self) -> None:
        """Follow nothing."""
        self.corners, self.weights = np.zeros((0, 3), np.int64), np.zeros((0, 3))
        self.place, self.covariance = np.zeros((0, 2)), np.zeros((0, 2, 2))
        self.image: np.ndarray | None = None
        self.worker.drop()
        self.found = False  # whether the next points are born on a pose that was found

    def close(self) -> None:
        """End its threads."""
        self.worker.close()

    def look(self, standing: Standing, camera: Camera, shot: Shot) -> Seen | None:
        """Where the points are in a frame; None where none is left."""
        if self.image is not None and shot.image is not self.image:
            self._step(shot, standing)
        if shot.after is not None:
            self.worker.begin(shot.image, shot.after, shot.scale, standing.box)  # it is ready when this frame's pose is found
        if not len(self.place):
            return None
        surface, crop = self.surface, standing.crop
        target = (self.place - crop.center) / crop.side + 0.5
        information, most = _inverse(_LEAST**2 * np.eye(2) + self.covariance)
        clear = most * _LEAST**2
        clear *= clear > _CLEAR
        chief = surface.chiefs(self.corners, self.weights)
        share = (clear > 0) / np.maximum(np.bincount(chief, clear, len(surface.rig)), _FEW)[chief]
        return Seen(self.corners, self.weights, target, information, share, standing.intrinsics / surface.size, camera.from_armature)

    def remember(self, standing: Standing, shot: Shot) -> None:
        """Drop what is hidden or lost in the pose that was found for a frame, and follow what else shows of it."""
        if len(self.place):
            self._keep(self._shown(standing) & (shot.subject(self.place) > _KEPT))
        self.image = shot.image
        self._seed(standing, shot)

    def _step(self, shot: Shot, standing: Standing) -> None:
        """Move all points from the frame before to this one, as the flow around the rig says."""
        assert self.image is not None
        self.worker.begin(self.image, shot.image, shot.scale, standing.box)
        flow = self.worker.take()
        if flow is None:
            self.forget()
            return
        start = self.place * shot.scale - flow.then.corner
        step = _sample(flow.onward, start)
        end = start + step
        away = np.linalg.norm(step + _sample(flow.back, end), axis=1)
        self.covariance = self.covariance + _spread(flow.then.structure, start, step, float(standing.crop.side) * shot.scale)
        self.place, self.image = (end + flow.then.corner) / shot.scale, shot.image
        within = ((np.minimum(start, end) >= 0) & (np.maximum(start, end) < flow.then.grey.shape[::-1])).all(1)
        self._keep(within & (away < _AGREE[0] + _AGREE[1] * np.linalg.norm(step, axis=1)))

    def _keep(self, kept: np.ndarray) -> None:
        self.corners, self.weights, self.place, self.covariance = (x[kept] for x in (self.corners, self.weights, self.place, self.covariance))

    def _shown(self, standing: Standing) -> np.ndarray:
        """(N,) points that the pose shows where they were followed to."""
        size = standing.size
        points = np.einsum("nk,nka->na", self.weights, standing.vertices[self.corners])
        posed = project(points, standing.intrinsics)
        depth = standing.visible.depth(standing.vertices, standing.triangles)
        nearest = cv2.erode(np.where(np.isfinite(depth), depth, np.float32(np.finfo(np.float32).max)), np.ones((3, 3), np.uint8))
        column, row = np.clip(np.floor(posed).astype(int), 0, size - 1).T
        extent = float(np.ptp(standing.vertices, axis=0).max())
        place = (self.place - standing.crop.center) / standing.crop.side + 0.5
        astray = np.linalg.norm(posed / size - place, axis=1)
        return (points[:, 2] < nearest[row, column] + _HIDDEN * extent) & (astray < _ASTRAY)

    def _seed(self, standing: Standing, shot: Shot) -> None:
        """Follow the point of most structure of every cell in which none is followed."""
        size, crop, visible = standing.size, standing.crop, standing.visible
        image, scale = shot.image, shot.scale
        place = (visible.centers / size - 0.5) * float(crop.side) + crop.center
        inside = ((place * scale > 1) & (place * scale < [image.shape[1] - 1, image.shape[0] - 1])).all(1)
        inside &= shot.subject(place) > _SUBJECT
        part = self.worker.part(image, scale, standing.box)
        strength = _sample(part.structure, place * scale - part.corner)[:, [0, 2]].sum(1)
        cell = visible.pixel // size // _CELL * size + visible.pixel % size // _CELL
        order = np.lexsort((-strength, cell))
        first = order[np.unique(cell[order], return_index=True)[1]]
        taken = np.zeros((size, size), np.uint8)
        column, row = np.clip(np.floor(((self.place - crop.center) / crop.side + 0.5) * size).astype(int), 0, size - 1).T
        taken[row, column] = 1
        free = cv2.dilate(taken, np.ones((_CELL, _CELL), np.uint8)).ravel()[visible.pixel] == 0
        born = first[free[first] & inside[first]]
        self.corners = np.concatenate([self.corners, standing.triangles[visible.triangle[born]]])
        self.weights = np.concatenate([self.weights, visible.weights[born].astype(np.float64)])
        self.place = np.concatenate([self.place, place[born].astype(np.float64)])
        self.covariance = np.concatenate([self.covariance, np.tile(self.found * _BORN**2 * np.eye(2), (len(born), 1, 1))])
        self.found = True


def _inverse(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of symmetric (N, 2, 2), and its larger eigenvalue (N,); written out, for thousands of tiny ones LAPACK's threads take longer than flow does."""
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    size = a * c - b * b
    inverse = np.stack([c, -b, -b, a], 1).reshape(-1, 2, 2) / size[:, None, None]
    half = (a + c) / 2
    return inverse, (half + np.sqrt(np.maximum(half * half - size, 0))) / size


def _sample(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N, C) of a picture (H, W, C) at places (N, 2) in pixels, whose centres are at halves."""
    if not len(place):
        return np.zeros((0, picture.shape[2]))
    x, y = (place - 0.5).astype(np.float32).T[:, :, None]
    channels = (np.ascontiguousarray(picture[..., k]) for k in range(picture.shape[2]))
    return np.concatenate([cv2.remap(c, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for c in channels], 1).astype(np.float64)


def _spread(structure: np.ndarray, start: np.ndarray, step: np.ndarray, side: float) -> np.ndarray:
    """(N, 2, 2) covariance that steps (N, 2) from start (N, 2) add, shares of a crop of `side` pixels."""
    tensor = _sample(structure, start)[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    strength, axes = np.linalg.eigh(tensor)
    along = np.einsum("nij,ni->nj", axes, step) / side
    variance = (_STEP**2 + (_SLIP * along) ** 2) * (1 + _PLAIN / np.maximum(strength, 1e-6))
    return np.einsum("nij,nj,nkj->nik", axes, variance, axes)
