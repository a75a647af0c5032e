"""A rig's body as retargeting sees it: which way it faces, its trunk, neck, tail and limbs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..carriers import descendants, nearest_above
from ..rig import Rig
from . import names

_OFF_CENTER = 0.015  # of the size: a bone this far from the middle plane may be of one side
_SNAP = np.radians(12)  # a body that faces this nearly along an axis of its armature faces along it
_EVEN = 0.02  # of the size: bones that mirror each other this well across a plane do so by chance
_TAIL_REACH = 0.08  # of the size, behind the hub: a chain without a name that reaches so far is a tail


@dataclass(frozen=True)
class Limb:
    """A chain of bones off the body's middle, or off another limb. bones: carriers first. carrier: what it hangs from."""

    bones: tuple[int, ...]
    side: int
    kind: str
    carrier: int
    children: tuple[Limb, ...] = ()

    def walk(self) -> Iterator[Limb]:
        """This limb and all that hang off it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Anatomy:
    """The parts of a rig in a pose.

    heads, ends: (J, 3) posed, armature frame. facing: (3, 3) columns left, front, up of the body in the armature frame, right-handed in
    the order left, front, up read as x, -y, z. hub: the first bone from which the body branches. stem: from the root to the hub.
    trunk, neck, tail: chains of middle bones off the hub; the trunk ends where the foremost limbs hang. limbs: off the middle.
    """

    def __init__(self, rig: Rig, pose: np.ndarray, up: np.ndarray, front: np.ndarray) -> None:
        """pose: (J, 4, 4). up, front: (3,) armature frame; `front` is believed only where neither sides nor head and tail tell."""
        self.rig = rig
        self.heads = pose[:, :3, 3]
        moved = pose @ np.linalg.inv(rig.rest)
        self.ends = np.einsum("jab,jb->ja", moved[:, :3, :3], rig.ends) + moved[:, :3, 3]
        self.size = max(float(np.linalg.norm(np.ptp(np.concatenate([self.heads, self.ends])[np.tile(rig.driven, 2)], axis=0))), 1e-9)
        self.up, self.front = np.asarray(up, np.float64), np.asarray(front, np.float64)
        self.facing = self._facing(self.up, self.front)
        self.side = self._sides()
        self.hub = self._hub()
        self.stem = tuple(reversed(list(self._upwards(self.hub))))
        self.limbs = tuple(self._limbs())
        self.trunk, self.neck, self.tail = self._middle()

    @cached_property
    def facing_at_rest(self) -> np.ndarray:
        """(3, 3) as `facing`, of the rest pose: a stride or a raised arm, which turn the middle of a side, do not show in it."""
        return Anatomy(self.rig, self.rig.rest, self.up, self.front).facing

    @cached_property
    def above(self) -> np.ndarray:
        """(J,) nearest driven bone that carries each driven bone, -1 for none and for bones that are not driven."""
        above, driven = np.full(len(self.rig), -1, np.int64), np.flatnonzero(self.rig.driven)
        row = nearest_above(self.rig.carriers, driven)
        above[driven] = np.where(row >= 0, driven[row], -1)
        return above

    @cached_property
    def children(self) -> list[list[int]]:
        """For each bone the driven bones that it carries."""
        return [[int(b) for b in np.flatnonzero(self.rig.driven & (self.above == bone))] for bone in range(len(self.rig))]

    @cached_property
    def below(self) -> np.ndarray:
        """(J, J) bool, [a, b] true where b is a or is carried by it, by way of other bones or not."""
        return descendants(self.above)

    def length(self, bones: tuple[int, ...]) -> np.ndarray:
        """(n,) length of each bone of a chain: to the next one's head, or to its end."""
        points = np.concatenate([self.heads[list(bones)], self.ends[list(bones[-1:])]])
        return np.maximum(np.linalg.norm(np.diff(points, axis=0), axis=1), 1e-9 * self.size)

    def place(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) left, front, up of points (..., 3) as shares of the size, from the hub; comparable between bodies."""
        return (points - self.heads[self.hub]) @ self.facing / self.size

    def _facing(self, up: np.ndarray, front: np.ndarray) -> np.ndarray:
        up = up / np.linalg.norm(up)
        driven = np.flatnonzero(self.rig.driven)
        told = np.array([names.side(self.rig.names[b]) for b in driven])
        left = np.zeros(3)
        if (told > 0).any() and (told < 0).any():
            left = self.heads[driven[told > 0]].mean(0) - self.heads[driven[told < 0]].mean(0)
            left = left - (left @ up) * up
        if np.linalg.norm(left) < 1e-3 * self.size:
            part = [names.kind([self.rig.names[b]]) for b in driven]
            ahead, behind = (driven[[p == which for p in part]] for which in ("head", "tail"))
            along = front - (front @ up) * up
            if len(ahead) and len(behind):
                said = self.heads[ahead].mean(0) - self.ends[behind].mean(0)
                said = said - (said @ up) * up
                along = said if np.linalg.norm(said) > 0.05 * self.size else self._symmetric(along, up)
            else:
                along = self._symmetric(along, up)
            left = np.cross(up, along)
        left = _snapped(left / np.linalg.norm(left), up)
        return np.stack([left, np.cross(left, up), up], 1)

    def _symmetric(self, along: np.ndarray, up: np.ndarray) -> np.ndarray:
        """(3,) the given front, unless the bones mirror each other much better across the other plane; then towards the higher end."""
        middles = (self.heads + self.ends)[self.rig.driven] / 2
        across = np.cross(up, along)

        def apart(normal: np.ndarray) -> float:
            flat = middles - middles.mean(0)
            mirrored = flat - 2 * np.outer(flat @ normal, normal)
            return float(np.linalg.norm(flat[:, None] - mirrored, axis=-1).min(0).mean())

        lopsided = apart(across / np.linalg.norm(across))
        # a body that is nearly the same on all sides, as a snake that stands up, tells nothing
        if lopsided < _EVEN * self.size or apart(along / np.linalg.norm(along)) > 0.5 * lopsided:
            return along
        ends = self.ends[self.rig.driven]
        first, last = ends[(ends @ across).argmin()], ends[(ends @ across).argmax()]
        return across if last @ up >= first @ up else -across

    def _sides(self) -> np.ndarray:
        """(J,) 1 left, -1 right, 0 middle: by name, else by a partner across the middle plane."""
        told = np.array([names.side(name) for name in self.rig.names])
        driven = np.flatnonzero(self.rig.driven)
        if told[driven].any():
            return told
        centre = self.heads[driven].mean(0)
        across = (self.heads + self.ends - 2 * centre) / 2 @ self.facing[:, 0] / self.size
        flat = np.stack([(self.heads - centre) @ self.facing[:, k] for k in (1, 2)], -1) / self.size
        side = np.zeros(len(self.rig), np.int64)
        for bone in driven[np.abs(across[driven]) > _OFF_CENTER]:
            mirrored = np.abs(across[driven] + across[bone]) + np.linalg.norm(flat[driven] - flat[bone], axis=1)
            side[bone] = int(np.sign(across[bone])) if mirrored.min() < 0.06 else 0
        return side

    def _upwards(self, bone: int) -> Iterator[int]:
        while bone >= 0:
            yield bone
            bone = int(self.above[bone])

    def _hub(self) -> int:
        """The first branching bone of the tree that carries most bones; its root where it never branches."""
        weight = self.below[:, self.rig.driven].sum(1)
        roots = np.flatnonzero(self.rig.driven & (self.above < 0))
        root = bone = int(roots[weight[roots].argmax()])
        while len(self.children[bone]) == 1 and self.side[self.children[bone][0]] == 0:
            bone = self.children[bone][0]
        return bone if self.children[bone] else root

    def _limbs(self) -> Iterator[Limb]:
        """All limbs that begin with a bone of one side on a bone of the middle (or without a carrier)."""
        for bone in np.flatnonzero(self.rig.driven & (self.side != 0)):
            carrier = int(self.above[bone])
            if carrier < 0 or self.side[carrier] == 0:
                yield self._limb(int(bone), carrier)

    def _limb(self, bone: int, carrier: int) -> Limb:
        """The limb from a bone along its longest way, other branches as its children."""
        chain, others = [bone], []
        while self.children[chain[-1]]:
            ways = sorted(self.children[chain[-1]], key=lambda b: -self._reach(b))
            chain.append(ways[0])
            others += [(way, chain[-2]) for way in ways[1:]]
        children = tuple(self._limb(way, base) for way, base in others)
        return Limb(tuple(chain), int(self.side[bone]), names.kind([self.rig.names[b] for b in chain]), carrier, children)

    def _reach(self, bone: int) -> float:
        """Length of the longest way down from a bone."""
        below = [self._reach(child) + float(np.linalg.norm(self.heads[child] - self.heads[bone])) for child in self.children[bone]]
        return max(below, default=float(np.linalg.norm(self.ends[bone] - self.heads[bone])))

    def _middle(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Trunk, neck (with the head) and tail, each without the hub."""
        middle: list[int] = []
        waiting = [self.hub]
        while waiting:
            waiting += (found := [b for b in self.children[waiting.pop()] if self.side[b] == 0])
            middle += found
        if not middle:
            return (), (), ()
        place = {b: self.place(self.ends[b]) for b in middle}
        part = {b: names.kind([self.rig.names[b]]) for b in middle}
        heads = [b for b in middle if part[b] == "head"]
        tails = [b for b in middle if part[b] == "tail"]
        # a chain that runs back from its root, a fish's that begins at its head, has nothing before it
        free = [b for b in middle if part[b] not in ("face", "tail") and place[b][1] + place[b][2] > 0]
        ahead = min(heads, key=lambda b: self._depth(b)) if heads else max(free, key=lambda b: place[b][1] + place[b][2], default=-1)
        forward = self._from_hub(ahead) if ahead >= 0 else ()
        rest = [b for b in middle if b not in forward and part[b] != "face" and not self.below[forward, b].any()] if forward else middle
        back = max(tails, key=lambda b: self._depth(b)) if tails else min(rest, key=lambda b: place[b][1] + place[b][2] / 2, default=-1)
        tail = self._from_hub(back) if back >= 0 and (tails or place[back][1] + place[back][2] / 2 < -_TAIL_REACH) else ()
        tail = tuple(b for b in tail if b not in forward)
        # what is called a neck begins one, else it begins above the last limb
        called = [n for n, b in enumerate(forward) if part[b] in ("neck", "head")]
        held = [forward.index(limb.carrier) + 1 for limb in self.limbs if limb.carrier in forward and limb.kind not in ("face", "finger")]
        split = min(called, default=max(held, default=0))
        return forward[:split], forward[split:], tail

    def _depth(self, bone: int) -> int:
        return sum(1 for _ in self._upwards(bone))

    def _from_hub(self, bone: int) -> tuple[int, ...]:
        way = list(self._upwards(bone))
        return tuple(reversed(way[: way.index(self.hub)] if self.hub in way else way))


def _snapped(left: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The axis of the armature that a direction nearly is, made square to up, or the direction itself."""
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    flat = axes - (axes @ up)[:, None] * up
    length = np.linalg.norm(flat, axis=1)
    flat = flat[length > 0.5] / length[length > 0.5, None]
    best = flat[(flat @ left).argmax()]
    return best if best @ left > np.cos(_SNAP) else left
