"""A proposal of which bones move which: by topology, side, names and position, between any two bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from . import names
from .anatomy import Anatomy, Limb
from .links import Link

# what speaks for two limbs being the same, against distances in shares of the size
_SAME_KIND, _OTHER_KIND = 1.0, -1.5
_SAME_NAME = 0.5
_ATTACHED, _TIP, _LENGTH = 1.0, 0.6, 0.2
_LEAST = -0.6  # limbs that are less alike than this are not the same
# what speaks for two bones of a limb being the same, against their distance along it
_ROLE, _ALONG, _LEAST_BONE = 1.0, 1.2, 0.05
_TEMPLATE = 0.9  # of both rigs' bones, to be the same skeleton


def propose(target: Anatomy, driving: Anatomy) -> tuple[Link, ...]:
    """Links from the root outwards. Bones that nothing is found for are left out: they ride on what carries them."""
    if same := _same_template(target, driving):
        return same
    links = list(_stem(target, driving))
    for part in ("trunk", "neck", "tail"):
        links += _middle(target, getattr(target, part), driving, getattr(driving, part))
    for mine, theirs in _pairs(target, target.limbs, driving, driving.limbs):
        links += _limb(target, mine, driving, theirs)
    links += _others(target, driving, links)
    return tuple(links)


def _same_template(target: Anatomy, driving: Anatomy) -> tuple[Link, ...]:
    """All bones of the same name, where nearly all of both rigs' are in the other too and hang from the same ones (a foot may hang elsewhere)."""
    theirs = {name: n for n, name in enumerate(driving.rig.names) if driving.rig.driven[n]}

    def above(body: Anatomy, bone: int) -> str:
        return body.rig.names[body.above[bone]] if body.above[bone] >= 0 else ""

    wanted = np.flatnonzero(target.rig.driven)
    named = [n for n in wanted if target.rig.names[n] in theirs]
    same = sum(above(target, n) == above(driving, theirs[target.rig.names[n]]) for n in named)
    enough = same >= max(_TEMPLATE * len(wanted), _TEMPLATE * len(theirs), 2)
    return tuple(Link.bone(target.rig.names[n], target.rig.names[n]) for n in named) if enough else ()


def _name(body: Anatomy, bone: int) -> str:
    return body.rig.names[bone]


def _stem(target: Anatomy, driving: Anatomy) -> Iterator[Link]:
    """Hub to hub; roots above them to each other."""
    if len(target.stem) > 1 and len(driving.stem) > 1:
        yield Link.bone(_name(target, target.stem[0]), _name(driving, driving.stem[0]))
    yield Link.bone(_name(target, target.hub), _name(driving, driving.hub))


def _middle(target: Anatomy, mine: Sequence[int], driving: Anatomy, theirs: Sequence[int]) -> Iterator[Link]:
    """Chains of equal length bone by bone; others as chains, save a head, which has one bone to itself in both."""
    if not mine or not theirs:
        return
    if len(mine) == len(theirs):
        yield from (Link.bone(_name(target, a), _name(driving, b)) for a, b in zip(mine, theirs, strict=True))
        return
    head = all(names.kind([_name(body, bones[-1])]) == "head" for body, bones in ((target, mine), (driving, theirs)))
    if head and len(mine) > 1 and len(theirs) > 1:
        yield from _middle(target, mine[:-1], driving, theirs[:-1])
        yield Link.bone(_name(target, mine[-1]), _name(driving, theirs[-1]))
    elif head:
        yield Link.bone(_name(target, mine[-1]), _name(driving, theirs[-1]))
    else:
        yield Link((_name(target, mine[0]), _name(target, mine[-1])), (_name(driving, theirs[0]), _name(driving, theirs[-1])))


def _pairs(target: Anatomy, mine: Sequence[Limb], driving: Anatomy, theirs: Sequence[Limb]) -> list[tuple[Limb, Limb]]:
    """Limbs of the same side that are most alike, best first, each once."""
    first, second = ([_Facts.of(body, limb) for limb in limbs] for body, limbs in ((target, mine), (driving, theirs)))
    scores = [(_alike(first[n], second[m]), n, m) for n, a in enumerate(mine) for m, b in enumerate(theirs) if a.side == b.side]
    found: list[tuple[Limb, Limb]] = []
    taken: set[tuple[str, int]] = set()
    for score, n, m in sorted(scores, key=lambda entry: (-entry[0], *entry[1:])):
        if score > _LEAST and not {("a", n), ("b", m)} & taken:
            taken |= {("a", n), ("b", m)}
            found.append((mine[n], theirs[m]))
    return found


@dataclass(frozen=True, eq=False)
class _Facts:
    """What a limb is compared by: the part that its names speak of, them, where it begins and ends, (3,) shares of the size, and its length."""

    kind: str
    names: tuple[str, ...]
    begin: np.ndarray
    end: np.ndarray
    length: float

    @classmethod
    def of(cls, body: Anatomy, limb: Limb) -> _Facts:
        called = tuple(_name(body, bone) for bone in limb.bones)
        begin, end = body.place(np.stack([body.heads[limb.bones[0]], body.ends[limb.bones[-1]]]))
        return cls(names.kind(called), called, begin, end, float(body.length(limb.bones).sum() / body.size))


def _alike(mine: _Facts, theirs: _Facts) -> float:
    score = 0.0
    if mine.kind and theirs.kind:
        score += _SAME_KIND if mine.kind == theirs.kind else _OTHER_KIND
    score += _SAME_NAME * max(names.likeness(a, b) for a in mine.names for b in theirs.names)
    apart = np.linalg.norm(mine.begin - theirs.begin), np.linalg.norm(mine.end - theirs.end)
    return float(score - _ATTACHED * apart[0] - _TIP * apart[1] - _LENGTH * abs(np.log(mine.length / theirs.length)))


def _limb(target: Anatomy, mine: Limb, driving: Anatomy, theirs: Limb) -> Iterator[Link]:
    """Bones of two limbs in order, then what hangs off them."""
    yield from (Link.bone(_name(target, a), _name(driving, b)) for a, b in _aligned(target, mine.bones, driving, theirs.bones))
    for a, b in _pairs(target, mine.children, driving, theirs.children):
        yield from _limb(target, a, driving, b)


def _aligned(target: Anatomy, mine: Sequence[int], driving: Anatomy, theirs: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs in the same order along both chains with the highest sum of likeness (Needleman and Wunsch 1970, gaps cost nothing)."""
    if len(mine) == len(theirs) and all(_agree(_name(target, a), _name(driving, b)) for a, b in zip(mine, theirs, strict=True)):
        return list(zip(mine, theirs, strict=True))
    along = [np.cumsum(body.length(tuple(bones))) - body.length(tuple(bones)) / 2 for body, bones in ((target, mine), (driving, theirs))]
    along = [line / body.length(tuple(bones)).sum() for line, body, bones in zip(along, (target, driving), (mine, theirs), strict=True)]
    best = np.zeros((len(mine) + 1, len(theirs) + 1))
    gain = np.empty((len(mine), len(theirs)))
    for n, a in enumerate(mine):
        for m, b in enumerate(theirs):
            roles = names.role(_name(target, a)), names.role(_name(driving, b))
            role = 0.0 if min(roles) < 0 else _ROLE if roles[0] == roles[1] else -_ROLE
            gain[n, m] = 1 + role + names.likeness(_name(target, a), _name(driving, b)) - _ALONG * abs(along[0][n] - along[1][m])
            best[n + 1, m + 1] = max(best[n, m + 1], best[n + 1, m], best[n, m] + gain[n, m])
    found, n, m = [], len(mine), len(theirs)
    while n and m:
        if best[n, m] == best[n - 1, m]:
            n -= 1
        elif best[n, m] == best[n, m - 1]:
            m -= 1
        else:
            n, m = n - 1, m - 1
            if gain[n, m] > _LEAST_BONE:
                found.append((mine[n], theirs[m]))
    return found[::-1]


def _agree(a: str, b: str) -> bool:
    roles = names.role(a), names.role(b)
    return roles[0] == roles[1] or min(roles) < 0


def _others(target: Anatomy, driving: Anatomy, links: Sequence[Link]) -> Iterator[Link]:
    """What is left and is called the same on both: jaws, hair, helpers of the trunk."""
    taken = {name for link in links for name in _between(target, link.target)}
    used = {name for link in links for name in _between(driving, link.driving)}
    free = {_plain(n): n for n, d in zip(driving.rig.names, driving.rig.driven, strict=True) if d and n not in used}
    for name, driven in zip(target.rig.names, target.rig.driven, strict=True):
        if driven and name not in taken and _plain(name) in free:
            yield Link.bone(name, free[_plain(name)])


def _plain(name: str) -> tuple[object, ...]:
    """A name as people say it: words, number and side."""
    return (*names.words(name), "".join(letter for letter in name if letter.isdigit()), names.side(name))


def _between(body: Anatomy, ends: tuple[str, str]) -> set[str]:
    first, last = (body.rig.names.index(name) for name in ends)
    return {body.rig.names[b] for b in np.flatnonzero(body.below[first] & body.below[:, last])} | set(ends)
