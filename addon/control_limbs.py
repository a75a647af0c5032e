"""Limbs that a property switches between FK and IK, as Rigify's: which controls the IK has, found by turning and moving each and looking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

import bpy
import numpy as np
from mathutils import Quaternion, Vector

from ..backend.rig import Rig
from .control_probe import FK, IK, TWIST, evaluated_bones, is_control, probe, set_switches, switches_of, way_up

_SHIFT = 0.02  # of the size, by which a control is moved to see what follows
_FOLLOWS = 0.5  # share of that which counts as carried along
_STILL = 0.02  # share of that which counts as standing still
_NUDGE = 0.2  # radians


@dataclass(frozen=True, eq=False)
class Limb:
    """A limb that `switch` (bone, property) puts under FK at 1 and under IK at 0.

    rows: all deform bones that go with it. chain: those between the body and the last that the IK turns; root: the first of them.
    turns: the IK control that turns a row as a whole; target is the one of these that is also moved. base: what the chain hangs from; its
    rotation turns the plane in which the limb bends unless there is a pole, and its size makes up for what the solver takes off the limb's
    length. twists: controls of both IK and FK that turn a row about its length, where no IK control does. fk: controls that have no effect
    under IK.
    """

    switch: tuple[str, str]
    rows: tuple[int, ...]
    chain: tuple[int, ...]
    root: int
    turns: dict[int, str]
    target: str
    base: str
    pole: str
    twists: dict[int, str]
    fk: tuple[str, ...]

    @property
    def target_row(self) -> int:
        return next(row for row, control in self.turns.items() if control == self.target)


@dataclass(frozen=True, eq=False)
class _Moved:
    """heads: (J,) by how much of a control's shift the heads of deform bones go along. stirred: (J,) which of them answer to it at all.
    carried: other controls that go along."""

    heads: np.ndarray
    stirred: np.ndarray
    carried: frozenset[str]


def find_limbs(armature: bpy.types.Object, rig: Rig, follows: dict[str, np.ndarray], used: dict[int, str]) -> Iterator[Limb]:
    """The limbs of a rig. follows: what turns with each control under FK; used: the control that does turn each row there.

    Leaves all switches at FK; call it inside `posing`.
    """
    switches = switches_of(armature)
    if not switches:
        return
    idle = [
        bone.name for bone in armature.pose.bones
        if is_control(bone, bone.name in rig.names) and not (follows.get(bone.name, np.zeros(1)) > 0).any()
    ]  # fmt: skip
    idle = [name for name in idle if not _moved(armature, rig, name, []).stirred.any()]
    elsewhere = _rows(armature, rig, idle)  # what they do besides, such as stretching a bone
    set_switches(armature, dict.fromkeys(switches, IK))
    turned = probe(armature, rig.names, idle)
    moved = {name: _moved(armature, rig, name, idle) for name in idle}
    twisting = {name: what for name, what in follows.items() if name not in used.values() and (what == TWIST).any()}
    for switch in switches:
        set_switches(armature, dict.fromkeys(switches, FK) | {switch: IK})
        rows = [row for row in _rows(armature, rig, idle) if row not in elsewhere]
        if (limb := _limb(armature, rig, switch, rows, turned, moved, twisting)) is None:
            continue
        still = probe(armature, rig.names, [used[row] for row in limb.chain if row in used])
        yield replace(limb, fk=tuple(name for name, what in still.items() if not (what > 0).any()))
    set_switches(armature, dict.fromkeys(switches, FK))


def _moved(armature: bpy.types.Object, rig: Rig, name: str, others: list[str]) -> _Moved:
    """What a shift of a control does."""
    bone = armature.pose.bones[name]
    before = {each.name: each.matrix.copy() for each in evaluated_bones(armature)}
    place = bone.location.copy()
    step = _SHIFT * rig.size * Vector((0.0 if locked else share) for locked, share in zip(bone.lock_location, (0.48, 0.6, 0.64), strict=True))
    if step.length == 0:
        return _Moved(np.zeros(len(rig)), np.zeros(len(rig), bool), frozenset())
    bone.location = place + step
    after = evaluated_bones(armature)
    shifts = {each: (after[each].matrix.translation - before[each].translation).length / step.length for each in (*rig.names, *others)}
    heads = np.array([shifts[each] for each in rig.names])
    angles = [after[each].matrix.to_quaternion().rotation_difference(before[each].to_quaternion()).to_exponential_map().length for each in rig.names]
    carried = frozenset(each for each in others if each != name and shifts[each] > _FOLLOWS)
    bone.location = place
    evaluated_bones(armature)
    return _Moved(heads, (heads > _STILL) | (np.array(angles) > _STILL * _SHIFT), carried)


def _rows(armature: bpy.types.Object, rig: Rig, controls: list[str]) -> list[int]:
    """Deform bones that answer to any of the controls as the switches stand."""
    before = {name: armature.pose.bones[name].matrix_basis.copy() for name in controls}
    stood = [evaluated_bones(armature)[name].matrix.copy() for name in rig.names]
    for name in controls:
        bone = armature.pose.bones[name]
        bone.matrix_basis = before[name] @ Quaternion((0.48, 0.6, 0.64), _NUDGE).to_matrix().to_4x4()
        bone.location = [at if locked else at + _SHIFT * rig.size for at, locked in zip(bone.location, bone.lock_location, strict=True)]
    bones = evaluated_bones(armature)
    apart = [max(abs(a - b) for one, two in zip(bones[name].matrix, then, strict=True) for a, b in zip(one, two, strict=True))
             for name, then in zip(rig.names, stood, strict=True)]  # fmt: skip
    for name, basis in before.items():
        armature.pose.bones[name].matrix_basis = basis
    evaluated_bones(armature)
    return [row for row, distance in enumerate(apart) if distance > 1e-3]


def _limb(
    armature: bpy.types.Object, rig: Rig, switch: tuple[str, str], rows: list[int], turned: dict[str, np.ndarray],
    moved: dict[str, _Moved], twisting: dict[str, np.ndarray],
) -> Limb | None:  # fmt: skip
    """What each of the controls that move the rows does there; None where it is no chain with a target at its end and a base."""
    roots = [row for row in rows if int(rig.carriers[row]) not in rows]
    if len(roots) != 1:
        return None
    depth = {bone.name: len(bone.parent_recursive) for bone in armature.pose.bones}
    own = sorted((name for name in turned if (turned[name][rows] > 0).any() or moved[name].stirred[rows].any()), key=lambda name: (depth[name], name))
    turns: dict[int, str] = {}
    for row in (row for row in rig.carrier_order if row in rows):
        able = [name for name in own if turned[name][row] == 1 and name not in turns.values()]
        if able:
            turns[int(row)] = min(able, key=lambda name: ((turned[name] > 0).sum(), depth[name], name))
    bases = [name for name in own if moved[name].heads[roots[0]] > _FOLLOWS]
    targets = [name for name in turns.values() if name not in bases and (moved[name].heads[rows] > _FOLLOWS).any()]
    if not bases or not targets:
        return None
    # what carries the others is what the limb reaches for
    target = max(targets, key=lambda name: (len(moved[name].carried), -depth[name]))
    poles = [name for name in own if not (turned[name] > 0).any() and name not in bases]
    chain = {up for row in turns for up in takewhile(rows.__contains__, way_up(rig, row))}
    between = chain - set(turns)
    twists: dict[int, str] = {}
    for name, what in twisting.items():
        free = [int(row) for row in np.flatnonzero(what == TWIST) if row in between and row not in twists]
        if free and set(np.flatnonzero(what)) <= set(rows):
            twists[free[0]] = name
    return Limb(switch, tuple(rows), tuple(sorted(chain)), roots[0], turns, target, bases[0], poles[0] if poles else "", twists, ())
