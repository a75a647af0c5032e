"""Where the subject is in a picture, to the pixel: a coarse mask sharpened by the picture's own colours."""

from __future__ import annotations

import cv2
import numpy as np

_BINS = 32  # a channel
_FEW = 6e-6  # share of all pixels that a colour is taken to have at least
_MOST = 4.0  # by so much, in logarithms, colours may speak for or against the subject
_LEAST = 0.02  # of what the mask says, there is doubt
_RADIUS, _FLAT = 3, 1e-4  # pixels, and variance of colours (0..1) that counts as none


def sharpened(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(S, S) float32 0..1, how surely each pixel is the subject's, of a picture (S, S, 3) 0..255 and a coarse mask (S, S) 0..1.

    Each colour is as likely the subject's as the mask says over the whole picture (histograms of either side, as in region-based tracking, Prisacariu
    and Reid 2012, IJCV); what comes of both then follows the picture's edges (guided filter, He et al. 2010, ECCV).
    """
    color = picture.astype(np.float32)
    row, column, plane = np.moveaxis((color * (_BINS / 256)).astype(np.int64).clip(0, _BINS - 1), -1, 0)
    place = (row * _BINS + column) * _BINS + plane
    subject, scenery = _colors(place, mask**2), _colors(place, (1 - mask) ** 2)
    said = np.log((mask + _LEAST) / (1 - mask + _LEAST)) + np.log((subject + _FEW) / (scenery + _FEW))[place].clip(-_MOST, _MOST)
    return _guided(color / 255, (1 / (1 + np.exp(-said))).astype(np.float32)).clip(0, 1)


def _colors(place: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(bins³,) how often each colour is, smoothed over the colours beside it."""
    count = np.bincount(place.ravel(), weight.ravel(), _BINS**3)
    cube = count / max(count.sum(), 1e-9)
    for _ in range(3):  # along the first axis, which then becomes the last
        cube = cv2.GaussianBlur(cube.reshape(_BINS, -1), (1, 7), 1.0, borderType=cv2.BORDER_REFLECT).T.copy()
    return cube.ravel()


def _guided(color: np.ndarray, said: np.ndarray) -> np.ndarray:
    """What is said (S, S), made locally linear in the colours (S, S, 3)."""
    middle, mean = _mean(color), _mean(said)
    both = _mean(color * said[..., None]) - middle * mean[..., None]
    rows = [_mean(color[..., a : a + 1] * color) - middle[..., a : a + 1] * middle + _FLAT * np.eye(3, dtype=np.float32)[a] for a in range(3)]
    minors = [_cross(rows[a - 2], rows[a - 1]) for a in range(3)]  # written out: numpy solves thousands of tiny systems slowly
    slope = sum(minors[a] * both[..., a : a + 1] for a in range(3)) / (rows[0] * minors[0]).sum(-1, keepdims=True)
    return (_mean(slope) * color).sum(-1) + _mean(mean - (slope * middle).sum(-1))


def _mean(values: np.ndarray) -> np.ndarray:
    return cv2.boxFilter(values, -1, (2 * _RADIUS + 1, 2 * _RADIUS + 1), borderType=cv2.BORDER_REFLECT)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a[..., i - 2] * b[..., i - 1] - a[..., i - 1] * b[..., i - 2] for i in range(3)], -1)
