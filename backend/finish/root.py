"""Root travel through the camera, and what of it the user wants kept."""

from __future__ import annotations

import numpy as np

from ..camera import Camera
from .smoothing import gaussian_in_time

_DEPTH_SECONDS = 0.15  # depth comes from apparent size alone: it is noisy, and a subject's depth changes slowly
_CHUNK = 512  # frames solved at once
_PRIOR = 0.01  # weight of the depth expected from before, against what the points' spread tells


def solve_translation(camera: Camera, points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, guess: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Camera-frame translation (T, 3) that brings posed points onto their pixels.

    points: (T, P, 3) camera axes and units, about the root. pixels: (T, P, 2). weights: (T, P), 0 for unknown. guess: (3,) a translation
    that is about right, which sets the scale of a weak prior on depth. Linear in the translation (the projection times its depth), robust by
    reweighting; depth is then smoothed and the rest solved again.
    """
    intrinsics = np.broadcast_to(camera.intrinsics, (len(points), 4))
    parts = [slice(k, k + _CHUNK) for k in range(0, len(points), _CHUNK)]
    # in the points' own precision, a stretch at a time: of a long clip they are many
    slopes, weight, spans = np.empty_like(pixels), np.empty_like(weights), np.empty(len(points))
    for part in parts:
        seen = (pixels[part] - intrinsics[part, None, 2:]) / intrinsics[part, None, :2]
        known = np.isfinite(seen).all(-1) & (weights[part] > 0)
        slopes[part], weight[part] = np.where(known[..., None], seen, 0.0), np.where(known, weights[part], 0.0)
        spans[part] = np.linalg.norm(points[part] - points[part].mean(1, keepdims=True), axis=-1).mean(1)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1e-12)
    span = spans.mean()
    robust = weight.copy()
    travel = np.tile(guess, (len(points), 1)).astype(np.float64)
    for _ in range(4):
        for part in parts:
            travel[part] = _least_squares(points[part], slopes[part], robust[part], travel[part])
        # the first solve leans on the guess, the next ones on the neighbours in time
        travel[:, 2] = np.maximum(travel[:, 2], 1e-6)
        expected = np.exp(gaussian_in_time(times, np.log(travel[:, 2:]), _DEPTH_SECONDS, robust.sum(1) + 1e-9))
        for part in parts:
            error = np.linalg.norm(_residual(points[part], slopes[part], travel[part]), axis=-1)
            robust[part] = weight[part] / (1 + (error / (0.05 * span)) ** 2)
        travel = np.concatenate([travel[:, :2], expected], 1)
    depth = travel[:, 2]
    # x and y at the smoothed depth: each is a weighted mean
    mass, across = robust.sum(1), np.empty((len(points), 2))
    for part in parts:
        flat = slopes[part] * (points[part, :, 2:] + depth[part, None, None]) - points[part, :, :2]
        across[part] = (robust[part, :, None] * flat).sum(1) / np.maximum(mass[part], 1e-12)[:, None]
    across = np.where((mass > 1e-9)[:, None], across, guess[:2] / guess[2] * depth[:, None])
    return np.concatenate([across, depth[:, None]], 1)


def _residual(points: np.ndarray, slopes: np.ndarray, travel: np.ndarray) -> np.ndarray:
    """(T, P, 2) distance off the ray, in camera units at the point's depth."""
    moved = points + travel[:, None]
    return moved[..., :2] - slopes * moved[..., 2:]


def _least_squares(points: np.ndarray, slopes: np.ndarray, weights: np.ndarray, before: np.ndarray) -> np.ndarray:
    """One weighted solve of the 3 unknowns a frame, with a weak prior on the depth (T, 3) from before."""
    u, v = slopes[..., 0], slopes[..., 1]
    zeros, ones = np.zeros_like(u), np.ones_like(u)
    rows = np.stack([np.stack([ones, zeros, -u], -1), np.stack([zeros, ones, -v], -1)], -2)  # (T, P, 2, 3)
    target = slopes * points[..., 2:] - points[..., :2]
    left = np.einsum("tp,tpca,tpcb->tab", weights, rows, rows)
    right = np.einsum("tp,tpca,tpc->ta", weights, rows, target)
    prior = _PRIOR * weights.sum(1) * (u**2 + v**2 + 0.01).mean(1)
    left[:, 2, 2] += prior + 1e-12
    right[:, 2] += (prior + 1e-12) * before[:, 2]
    left[:, 0, 0] += 1e-12
    left[:, 1, 1] += 1e-12
    solved = np.linalg.solve(left, right[..., None])[..., 0]
    return np.where((solved[:, 2:] > 0.1 * before[:, 2:]) & np.isfinite(solved), solved, before)


def keep_yaw(rotations: np.ndarray, reference: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Root orientations (T, 3, 3) as the reference (3, 3) turned about `up` (3,) alone: the twist of the turn about it."""
    turn = rotations @ reference.T
    # swing-twist: the twist about `up` maximises the trace, so its angle follows from the skew and the symmetric part
    skew = np.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], -1) @ up
    trace = np.trace(turn, axis1=1, axis2=2)
    angle = np.arctan2(skew, trace - np.einsum("a,tab,b->t", up, turn, up))
    x, y, z = up
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return (np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)) @ reference
