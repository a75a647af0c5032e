"""Turns of bones since the neutral stand, and the inverse kinematics of legs, many frames at once."""

from __future__ import annotations

import numpy as np
from numba import njit

from .body import Leg


@njit(cache=True)
def rotation(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, J, 3) in radians to matrices (T, J, 3, 3)."""
    out = np.empty(vectors.shape[:2] + (3, 3))
    for t in range(vectors.shape[0]):
        for j in range(vectors.shape[1]):
            x, y, z = vectors[t, j, 0], vectors[t, j, 1], vectors[t, j, 2]
            angle2 = x * x + y * y + z * z
            angle = np.sqrt(angle2)
            s = np.sin(angle) / angle if angle > 1e-6 else 1.0 - angle2 / 6.0
            c = (1.0 - np.cos(angle)) / angle2 if angle > 1e-4 else 0.5 - angle2 / 24.0
            m = out[t, j]
            m[0, 0] = 1 - c * (y * y + z * z)
            m[0, 1] = c * x * y - s * z
            m[0, 2] = c * x * z + s * y
            m[1, 0] = c * x * y + s * z
            m[1, 1] = 1 - c * (x * x + z * z)
            m[1, 2] = c * y * z - s * x
            m[2, 0] = c * x * z - s * y
            m[2, 1] = c * y * z + s * x
            m[2, 2] = 1 - c * (x * x + y * y)
    return out


@njit(cache=True)
def accumulate(parents: np.ndarray, heads: np.ndarray, local: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (T, J, 3, 3) and head positions (T, J, 3) from local turns; roots stand at heads + place (T, 3)."""
    frames, count = local.shape[0], local.shape[1]
    turn = np.empty_like(local)
    position = np.empty((frames, count, 3))
    for t in range(frames):
        for j in range(count):
            p = parents[j]
            if p < 0:
                turn[t, j] = local[t, j]
                position[t, j] = heads[j] + place[t]
                continue
            for a in range(3):
                value = position[t, p, a]
                for b in range(3):
                    value += turn[t, p, a, b] * (heads[j, b] - heads[p, b])
                    turn[t, j, a, b] = turn[t, p, a, 0] * local[t, j, 0, b] + turn[t, p, a, 1] * local[t, j, 1, b] + turn[t, p, a, 2] * local[t, j, 2, b]
                position[t, j, a] = value
    return turn, position


def _frame(direction: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Right-handed frames with x along direction and z near normal, (..., 3, 3) with axes as columns."""
    x = direction / np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-9)
    y = np.cross(normal, x)
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-9)
    return np.stack([x, y, np.cross(x, y)], -1)


def _about_z(angle: np.ndarray) -> np.ndarray:
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, -s, o, s, c, o, o, o, o + 1], -1).reshape(*angle.shape, 3, 3)


def solve_legs(
    legs: list[Leg], parents: np.ndarray, heads: np.ndarray, local: np.ndarray, turn: np.ndarray, position: np.ndarray, target: np.ndarray, foot: np.ndarray
) -> None:
    """Write into `local` the turns that bring each leg's contact point to its target.

    turn, position: (T, J, ...) of the body before the legs. target: (T, L, 3) of contact points. foot: (T, L, 3, 3) wanted turn of distal bones.
    """
    upper = np.array([leg.upper for leg in legs])
    lower = np.array([leg.lower for leg in legs])
    distal = np.array([leg.distal for leg in legs])
    contact = np.stack([leg.contact for leg in legs])
    has = distal >= 0
    ankle0 = np.where(has[:, None], heads[distal], contact)
    base = turn[:, parents[upper]]
    hip = position[:, upper]
    goal = target + np.einsum("tlij,lj->tli", foot, ankle0 - contact)
    hip0, knee0 = heads[upper], heads[lower]
    a, b = np.linalg.norm(knee0 - hip0, axis=-1), np.linalg.norm(ankle0 - knee0, axis=-1)
    rest = ankle0 - hip0
    c0 = np.linalg.norm(rest, axis=-1)
    normal0 = np.cross(rest, knee0 - hip0)
    normal0 /= np.maximum(np.linalg.norm(normal0, axis=-1, keepdims=True), 1e-9)
    line = goal - hip
    c = np.clip(np.linalg.norm(line, axis=-1), np.maximum(np.abs(a - b) * 1.05, 0.25 * (a + b)), 0.998 * (a + b))
    frame0 = _frame(rest, normal0)
    frame = _frame(line, np.einsum("tlij,lj->tli", base, normal0))

    def corner(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.arccos(np.clip((p * p + q * q - r * r) / (2 * p * q), -1, 1))

    def spin(angle: np.ndarray) -> np.ndarray:
        return frame @ _about_z(angle) @ np.swapaxes(frame0, -1, -2)

    turn_upper = spin(corner(a, c, b) - corner(a, c0, b))
    turn_lower = spin(-(corner(b, c, a) - corner(b, c0, a)))
    local[:, upper] = np.swapaxes(base, -1, -2) @ turn_upper
    local[:, lower] = np.swapaxes(turn_upper, -1, -2) @ turn_lower
    if has.any():
        local[:, distal[has]] = np.swapaxes(turn_lower, -1, -2)[:, has] @ foot[:, has]
