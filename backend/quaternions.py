"""Unit quaternions w, x, y, z to and from rotations, and what is easiest done in them; any leading batch dimensions."""

from __future__ import annotations

import numpy as np


def quaternions_of(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) w, x, y, z of rotations (..., 3, 3), from the largest component of each (Shepperd)."""
    flat = rotations.reshape(-1, 3, 3)
    xx, yy, zz = flat[:, 0, 0], flat[:, 1, 1], flat[:, 2, 2]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    largest = squares.argmax(-1)
    out = np.empty((len(flat), 4))
    for component in range(4):
        rows = np.flatnonzero(largest == component)
        m, square = flat[rows], squares[rows, component]
        differences = np.stack([square, m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], -1)
        if component:
            sums = np.zeros_like(differences)
            axis, second, third = component - 1, component % 3, (component + 1) % 3
            sums[:, 0] = differences[:, component]
            sums[:, component] = square
            sums[:, second + 1] = m[:, axis, second] + m[:, second, axis]
            sums[:, third + 1] = m[:, axis, third] + m[:, third, axis]
            differences = sums
        out[rows] = differences
    return (out / np.linalg.norm(out, axis=-1, keepdims=True)).reshape(*rotations.shape[:-2], 4)


def matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) of unit quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z), 1 - 2 * (x * x + z * z),
            2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return np.stack(rows, -1).reshape(*quaternions.shape[:-1], 3, 3)


def power(rotations: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) by `share` of their angle about their own axes; share broadcasts against (...)."""
    q = quaternions_of(rotations)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    half = np.arctan2(sine, q[..., :1]) * np.asarray(share)[..., None]
    axis = q[..., 1:] / np.maximum(sine, 1e-12)
    return matrices(np.concatenate([np.cos(half), np.sin(half) * axis], -1))


def interpolate(a: np.ndarray, b: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Spherical interpolation of rotations (..., 3, 3)."""
    return a @ power(np.swapaxes(a, -1, -2) @ b, share)
