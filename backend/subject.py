"""The crop that follows the subject: it starts from the reference's projection and goes outward in time."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np

from .body_points import Crop, crop_around
from .predictor import Predictor
from .progress import CancelToken
from .video import Clip

_LOOKS = 2  # at frames that share one crop while following
_RATE = 12.0  # looks a second: a crop needs no more
_READ = 48  # frames held at once while reading backwards
_PICTURE = 640  # following needs no more pixels than this on the long side
_GROW = 1.25  # a crop's side may change by this factor from group to group
_USUAL, _STRAY = 0.06, 0.25  # of the crop: how far points move with the pose, and how far none does
_ROUNDS = 6
_SPAN = (0.35, 3.0)  # and over the whole clip by these, against the reference's


def follow(
    predictor: Predictor, clip: Clip, start: Crop, seed: int, frames: range, cancel: CancelToken
) -> Iterator[tuple[int, np.ndarray, float, float]]:
    """Follow the subject from frame `seed`, where its crop is `start`, through all `frames`, onward and then backward.

    Yields (index, center (2,), side, certainty) for the frames that were looked at, about twelve a second and both ends, in the order of
    following. Each group of them is looked at through the crop that the group before ended with, moved on by its drift.
    """
    reference = predictor.references[0]
    shape = reference.uv[predictor.body.mask] if np.isfinite(reference.time) else None
    stride = max(1, round(clip.fps / _RATE))
    for indices in _ways(seed, frames):
        center, side, drift, last = start.center.copy(), float(start.side), np.zeros(2), 0.0
        for group in _looks(clip, indices, seed, stride):
            cancel.check()
            numbers = [index for index, _ in group]
            ahead = np.abs(np.array(numbers) - seed) / stride - last  # looks since the crop's place was known
            last += float(ahead[-1])
            middle = center + drift * float(ahead.mean())
            crop = Crop(np.tile(middle, (len(numbers), 1)), np.full(len(numbers), side))
            uv, weight = predictor.locate([image for _, image in group], clip.times[numbers], crop, shrinking(clip))
            certainty = weight.mean(1)
            if shape is not None:
                uv = without_strays(uv, weight, shape)
            seen = crop_around(crop.to_pixels(uv))
            for k, index in enumerate(numbers):
                yield index, seen.center[k], float(seen.side[k]), float(certainty[k])
            trust = float(np.clip(certainty[-1] * 2, 0, 1))
            step = (seen.center[-1] - center) / max(float(ahead[-1]), 0.5)
            limit = 0.16 * side
            drift = np.clip(0.5 * drift + 0.5 * step, -limit, limit) * trust
            center = center + trust * (seen.center[-1] - center)
            wanted = np.clip(float(np.median(seen.side)), side / _GROW, side * _GROW)
            side = float(np.clip(side + trust * (wanted - side), start.side * _SPAN[0], start.side * _SPAN[1]))


def without_strays(uv: np.ndarray, weight: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Points (T, P, 2) in which those that were found far from the rest are put where the rest says they are.

    weight: (T, P). shape: (P, 2) the reference's points: moved and scaled as a whole, they tell where a point is unless its bone moved.
    Iteratively reweighted least squares with Cauchy's weights.
    """
    trust = weight + 1e-6
    for _ in range(_ROUNDS):
        w = trust / trust.sum(1, keepdims=True)
        center, origin = np.einsum("tp,tpc->tc", w, uv)[:, None], np.einsum("tp,pc->tc", w, shape)[:, None]
        spread = np.einsum("tp,tpc->t", w, np.square(shape - origin)).clip(1e-9)
        zoom = np.clip(np.einsum("tp,tpc,tpc->t", w, uv - center, shape - origin) / spread, *_SPAN)
        expected = center + zoom[:, None, None] * (shape - origin)
        miss = np.linalg.norm(uv - expected, axis=-1)
        trust = (weight + 1e-6) / (1 + np.square(miss / _USUAL))
    return np.where((miss > _STRAY)[..., None], expected, uv)


def outward(clip: Clip, seed: int, frames: range) -> Iterator[np.ndarray]:
    """Shrunk pictures of all frames, from `seed` onward and then from the one before it backward."""
    for indices in _ways(seed, frames):
        yield from (image for _, image in _shrunk(clip, indices, indices))


def shrinking(clip: Clip) -> float:
    """Of the pictures that following looks at."""
    return min(1.0, _PICTURE / max(clip.width, clip.height))


def _ways(seed: int, frames: range) -> tuple[range, range]:
    """Onward from the seed, and backward from the frame before it."""
    return range(seed, frames.stop), range(seed - 1, frames.start - 1, -1)


def _looks(clip: Clip, indices: range, seed: int, stride: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Groups of (index, shrunk picture): every `stride`-th frame from the seed, and the last."""
    wanted = {index for index in indices if abs(index - seed) % stride == 0 or index == indices[-1]}
    group: list[tuple[int, np.ndarray]] = []
    for look in _shrunk(clip, indices, wanted):
        group.append(look)
        if len(group) == _LOOKS:
            yield group
            group = []
    if group:
        yield group


def _shrunk(clip: Clip, indices: range, wanted: Container[int]) -> Iterator[tuple[int, np.ndarray]]:
    """(index, shrunk picture) of the wanted ones in the order of `indices`; backwards a stretch at a time, so that little is held."""
    scale = shrinking(clip)

    def shrink(image: np.ndarray) -> np.ndarray:
        if scale == 1.0:
            return image
        from PIL import Image

        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))

    if not len(indices):
        return
    if indices.step > 0:
        yield from ((index, shrink(image)) for index, image in clip.frames(indices.start, indices.stop) if index in wanted)
        return
    stop = indices.start + 1
    while stop > indices.stop + 1:
        begin = max(indices.stop + 1, stop - _READ)
        yield from [(index, shrink(image)) for index, image in clip.frames(begin, stop) if index in wanted][::-1]
        stop = begin


def smooth_crops(times: np.ndarray, rows: np.ndarray, centers: np.ndarray, sides: np.ndarray, certainty: np.ndarray) -> Crop:
    """One crop a frame (T,) from what following saw in some of them, rows (N,): medians against outliers, a line from look to look, then a Gaussian
    in seconds, weighted by certainty."""
    from .finish.smoothing import gaussian_in_time

    order = np.argsort(rows)
    looks = np.concatenate([_median(centers[order], 5), np.log(_median(sides[order, None], 9)), certainty[order, None].clip(1e-3) ** 2], 1)
    x, y, sizes, weights = (np.interp(np.arange(len(times)), rows[order], value) for value in looks.T)
    center = gaussian_in_time(times, np.stack([x, y], 1), 0.06, weights)
    side = np.exp(gaussian_in_time(times, sizes[:, None], 0.2, weights))[:, 0]
    return Crop(center, side)


def _median(values: np.ndarray, width: int) -> np.ndarray:
    """Running median (T, C) over `width` frames, shorter at the ends."""
    half = width // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=0), axis=-1)


def find(predictor: Predictor, clip: Clip, start: Crop, seed: int, rounds: int = 4) -> Crop:
    """Where the subject is in frame `seed` when no aligned reference says so: look at the start crop, then closer and closer."""
    image = clip.frame_at(float(clip.times[seed]))
    crop = start
    for _ in range(rounds):
        view = Crop(crop.center[None], np.asarray(crop.side)[None])
        uv = predictor.locate([image], clip.times[seed : seed + 1], view, 1.0)[0]
        seen = crop_around(view.to_pixels(uv)).at(0)
        side = np.clip(float(seen.side), float(crop.side) / 2, float(crop.side))
        crop = Crop(seen.center, np.asarray(side))
    return crop
