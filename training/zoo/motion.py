"""Curves over time and the working state of one clip: local rotation vectors, root and feet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .body import Body


def smooth_noise(rng: np.random.Generator, frames: int, seconds: float, tempo: float, shape: tuple[int, ...]) -> np.ndarray:
    """Band-limited noise (T, *shape), about unit deviation, roughly `tempo` independent values a second."""
    knots = max(4, int(np.ceil(seconds * tempo)) + 3)
    x = np.linspace(0, knots - 3 - 1e-6, frames) if seconds * tempo > 1 else rng.random() * 0.5 + np.linspace(0, max(seconds * tempo, 0.15), frames)
    k = x.astype(int)
    f = x - k
    basis = np.zeros((frames, knots))
    rows = np.arange(frames)
    weights = [(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3]
    for i, w in enumerate(weights):
        basis[rows, np.minimum(k + i, knots - 1)] += w / 6
    values = rng.normal(size=(knots, int(np.prod(shape)))) * 1.45
    return (basis @ values).reshape(frames, *shape)


def key_curve(times: np.ndarray, keys: np.ndarray, values: np.ndarray, sharp: float = 1.0) -> np.ndarray:
    """Ease-in-out interpolation (T, ...) through values (K, ...) at increasing key times; sharp > 1 holds longer and moves faster."""
    k = np.clip(np.searchsorted(keys, times, side="right") - 1, 0, len(keys) - 2)
    f = np.clip((times - keys[k]) / np.maximum(keys[k + 1] - keys[k], 1e-6), 0, 1)
    f = np.clip((f - 0.5) * sharp + 0.5, 0, 1)
    f = f * f * (3 - 2 * f)
    f = f.reshape(-1, *[1] * (values.ndim - 1))
    return values[k] * (1 - f) + values[k + 1] * f


@dataclass
class Motion:
    """What a clip's makers add up.

    times: (T,) seconds after time warp. rot: (T, J, 3) local rotation vectors in radians. sway: (T, 3) rotation vector of the root in the
    heading frame, place: (T, 3) its offset there. path: (T, 3) x, y of the heading frame on the ground and its heading.
    lift: (T, L) how far each foot leaves its footprint and goes with the body, 0..1. steps: (T, L, 3) contact targets on the ground or None
    where feet hang free. foot: (T, L) pitch of the bone that ends at the contact; toe: (T, L) pitch of the toes.
    """

    body: Body
    rng: np.random.Generator
    frames: int
    fps: float
    times: np.ndarray
    rot: np.ndarray
    sway: np.ndarray
    place: np.ndarray
    path: np.ndarray
    lift: np.ndarray
    foot: np.ndarray
    toe: np.ndarray
    reach: np.ndarray
    steps: np.ndarray | None = None
    planted: bool = True
    label: list[str] = field(default_factory=list)

    @staticmethod
    def start(body: Body, rng: np.random.Generator, frames: int, fps: float) -> Motion:
        seconds = frames / fps
        times = np.arange(frames) / fps
        if rng.random() < 0.35:
            warp = np.exp(0.5 * smooth_noise(rng, frames, seconds, 1.0, ()))
            times = np.cumsum(np.clip(warp, 0.3, 2.5)) / fps
        j, n = len(body), len(body.legs)
        zeros = np.zeros
        return Motion(
            body,
            rng,
            frames,
            fps,
            times + rng.random() * 10,
            zeros((frames, j, 3)),
            zeros((frames, 3)),
            zeros((frames, 3)),
            zeros((frames, 3)),
            zeros((frames, n)),
            zeros((frames, n)),
            zeros((frames, n)),
            zeros((frames, n, 3)),
        )

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def noise(self, tempo: float) -> np.ndarray:
        """Band-limited noise (T,) of about unit deviation."""
        return smooth_noise(self.rng, self.frames, self.seconds, tempo, ())

    def bend(self, key: str, axis: int, curve: np.ndarray | float, taper: float = 0.0) -> None:
        """Spread a bend (T,) in radians over a chain; taper > 0 bends its end more, < 0 its start."""
        bones = self.body.chains.get(key)
        if not bones:
            return
        share = 1 + taper * np.linspace(-1, 1, len(bones)) if len(bones) > 1 else np.ones(1)
        self.rot[:, bones, axis] += np.reshape(curve, (-1, 1)) * (share / share.sum())

    def wave(self, key: str, axis: int, amplitude: float, cycles: float, phase: np.ndarray, grow: float = 0.0, total: bool = True) -> None:
        """A travelling wave along a chain: amplitude of the whole bend in radians, cycles along the chain, phase (T,) in turns."""
        bones = self.body.chains.get(key)
        if not bones:
            return
        n = len(bones)
        s = (np.arange(n) + 0.5) / n
        size = amplitude * (1 - grow + 2 * grow * s) / (n if total else 1)
        self.rot[:, bones, axis] += np.sin(2 * np.pi * (phase[:, None] - cycles * s)) * size

    def sided(
        self, key: str, index: int, x: np.ndarray | float = 0.0, y: np.ndarray | float = 0.0, z: np.ndarray | float = 0.0, opposite: np.ndarray | None = None
    ) -> None:
        """Turn bone `index` of a left and right pair of chains as mirror images; opposite = curve of y for the right side instead."""
        for side in (1, -1):
            bones = self.body.chains.get(f"{key}{side}")
            if bones and index < len(bones):
                pitch = y if side > 0 or opposite is None else opposite
                self.rot[:, bones[index], 0] += side * np.asarray(x)
                self.rot[:, bones[index], 1] += pitch
                self.rot[:, bones[index], 2] += side * np.asarray(z)
