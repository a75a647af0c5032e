"""The same skeleton with other proportions: the animal in the video is rarely the one that was rigged."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from .creature import Creature


def vary(creature: Creature, rng: np.random.Generator, change: float) -> Creature:
    """A creature whose parts are longer or shorter, thicker or thinner, alike on both sides; bones and rest turns stay the same."""
    old = creature.body
    parts = sorted(set(old.part))
    long = {part: float(np.exp(change * rng.normal())) for part in parts}
    fat = {part: float(np.exp(change * rng.normal())) for part in parts}
    stout = float(np.exp(change * rng.normal()))
    _, heads, tails = old.arrays()
    factor = np.array([long[part] for part in old.part])
    body = copy(old)
    new = heads.copy()
    for j, parent in enumerate(old.parent):
        if parent >= 0:
            new[j] = new[parent] + (heads[j] - heads[parent]) * factor[parent]
    body.head, body.tail = list(new), list(new + (tails - heads) * factor[:, None])
    body.tubes = [replace(tube, rows=[_scaled(row, stout * fat[old.part[tube.bones[0]]]) for row in tube.rows]) for tube in old.tubes]
    layout = copy(creature.layout)
    scale = [1.0 if source < 0 else float(factor[source]) for source in layout.source]
    layout.at = [at * f for at, f in zip(layout.at, scale, strict=True)]
    layout.tip = [tip * f for tip, f in zip(layout.tip, scale, strict=True)]
    return Creature(body, (creature.bind[0], _heads(body.parent, new, creature.bind[0])), layout, creature.place, creature.frame, creature.scale, creature.up)


def _scaled(row: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return (row[0], *(value * factor for value in row[1:]))


def _heads(parents: list[int], new: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Heads (J, 3) of the rest pose with the new bone lengths; turns (J, 3, 3)."""
    heads = new.copy()
    for j, parent in enumerate(parents):
        if parent >= 0:
            heads[j] = heads[parent] + turn[parent] @ (new[j] - new[parent])
    return heads
