"""Which controls move a rig's deform bones, found by turning each a little and looking: whatever constraints and drivers lie between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..backend.carriers import infer_carriers
from ..backend.errors import CaptureError
from ..backend.rig import Mesh, Rig
from .control_limbs import Limb, find_limbs
from .control_probe import FK, SWING, TWIST, is_control, posing, probe, set_switches, switches_of, way_up
from .rig_mesh import read_mesh
from .rig_reader import bone_ends, bones_in_order, constraint_reasons

_SAME_PLACE = 1e-3  # of the rig's size: bones that lie this close at rest are one
_LEAST_HELD = 1e-3


@dataclass(frozen=True)
class Chain:
    """An IK chain. bones: from its root to its tip. target, pole: bones of the same armature; pole is empty where there is none of its own.

    owner, constraint: the bone that has the IK constraint, and the constraint's name.
    """

    bones: tuple[str, ...]
    target: str
    pole: str
    owner: str
    constraint: str


@dataclass(frozen=True, eq=False)
class ControlPlan:
    """How the deform bones of a rig are moved.

    rig: the deform bones alone, carried by each other; driven are those that something of their own turns. turns: the bone to turn for each
    driven row, itself where nothing constrains it; untwisted: the rows that take only the direction from it. twists: for these and for rows
    without such a bone, one that turns them about their length alone. moves: the bone to move for each row whose head nothing carries.
    chains: bones of these are turned themselves, and their target and pole are put where the chain already is. switches: (bone, property)
    that choose between FK, which all the above is for, and the IK of limbs. controls: all that anything answers to under FK.
    order: (J,) in which bones are put, from the body outwards; those with the same number need not wait for each other.
    """

    rig: Rig
    turns: dict[int, str]
    untwisted: frozenset[int]
    twists: dict[int, str]
    moves: dict[int, str]
    chains: tuple[Chain, ...]
    switches: tuple[tuple[str, str], ...]
    limbs: tuple[Limb, ...]
    controls: tuple[str, ...]
    order: np.ndarray


def has_controls(armature: bpy.types.Object) -> bool:
    """Whether a bone that deforms is turned by something else than its own keys."""
    index = {bone.name: n for n, bone in enumerate(armature.data.bones)}
    reasons = {**constraint_reasons(armature, index), **_driven_rotations(armature, index)}
    groups = {group.name for thing in bpy.data.objects if thing.type == "MESH" and thing.find_armature() == armature for group in thing.vertex_groups}
    return any(bone.use_deform and index[bone.name] in reasons and (bone.name in groups or not groups) for bone in armature.data.bones)


def _driven_rotations(armature: bpy.types.Object, index: dict[str, int]) -> dict[int, str]:
    """Bones whose rotation a driver sets."""
    data = armature.animation_data
    found = {}
    for curve in data.drivers if data is not None else ():
        bone, _, channel = curve.data_path.removeprefix('pose.bones["').rpartition('"].')
        if channel.startswith("rotation_") and bone in index:
            found[index[bone]] = "a driver sets its rotation"
    return found


def read_control_plan(armature: bpy.types.Object) -> ControlPlan:
    """Look at how the armature's controls work. The pose comes back; the action is not touched. Raises CaptureError where there are none."""
    bones = bones_in_order(armature.data)
    rest = np.array([np.array(bone.matrix_local, np.float64) for bone in bones])
    names = tuple(bone.name for bone in bones)
    whole, held = read_mesh(armature, names, rest, bpy.context.evaluated_depsgraph_get())
    wanted = [n for n, bone in enumerate(bones) if held[n] > _LEAST_HELD or (not held.any() and bone.use_deform)]
    if not wanted:
        raise CaptureError(f"No bone of '{armature.name}' deforms. Bind a mesh to the armature, or choose another armature.")
    wanted = sorted({*wanted, *_common_roots(armature, bones, wanted, rest, whole)})
    deform = tuple(names[n] for n in wanted)
    chains = tuple(_chains(armature))
    rig, mesh = _deform_rig(armature, bones, wanted, rest, whole)
    rig = _targets_on_tips(rig, chains)
    switches = switches_of(armature)
    with posing(armature):
        set_switches(armature, dict.fromkeys(switches, FK))
        follows = probe(armature, deform)
        turns, moves = _assign(armature, rig, follows, {bone for chain in chains for bone in chain.bones})
        limbs = tuple(find_limbs(armature, rig, follows, turns))
    driven = np.array([row in turns for row in range(len(rig))])
    reasons = tuple(f"moved by the control '{turns[row]}'" if row in turns else "no control of its own: rides on its carrier" for row in range(len(rig)))
    ends = bone_ends([bones[n] for n in wanted], rig.carriers, rig.rest, mesh, driven)
    untwisted = frozenset(row for row, control in turns.items() if follows.get(control, np.ones(len(rig)))[row] == SWING)
    twists = _twisters(follows, turns, untwisted, len(rig))
    controls = tuple(sorted(name for name, what in follows.items() if (what > 0).any()))
    rig = replace(rig, driven=driven, reasons=reasons, ends=ends)
    return ControlPlan(rig, turns, untwisted, twists, moves, chains, switches, limbs, controls, _order(rig, follows, turns))


def _assign(armature: bpy.types.Object, rig: Rig, follows: dict[str, np.ndarray], chained: set[str]) -> tuple[dict[int, str], dict[int, str]]:
    """The bone that turns each deform bone, each used once, and the one that moves each root: the one that carries least besides."""
    turns: dict[int, str] = {}
    depth = {bone.name: len(bone.parent_recursive) for bone in armature.pose.bones}
    below = np.array([[row in way_up(rig, n) for n in range(len(rig))] for row in range(len(rig))])
    for row in range(len(rig)):
        name, carrier = rig.names[row], int(rig.carriers[row])
        if name in chained:
            turns[row] = name
            continue

        def own(control: str, row: int = row, carrier: int = carrier) -> bool:
            """Whether the control is this bone's: not the whole body's, nor one of several limbs'; it may turn what is before the bone instead."""
            turned = follows[control] >= SWING
            others = turned & ~below[row]
            return bool(turned[row] and (carrier < 0 or not (follows[control] > 0).all()) and (not others.any() or carrier < 0 or others[carrier]))

        able = sorted((n for n in follows if own(n)), key=lambda n: (n != rig.names[row], (follows[n] > 0).sum(), -depth[n], n))
        if able and able[0] not in turns.values():
            turns[row] = able[0]
    moves: dict[int, str] = {}
    for row in np.flatnonzero((rig.parents < 0) | (rig.carriers != rig.parents)):
        name = rig.names[row]
        if name in follows and _may_move(armature.pose.bones[name]):
            moves[int(row)] = name
            continue
        able = [n for n, f in follows.items() if f[row] >= SWING and (f[below[row]] > 0).all() and _may_move(armature.pose.bones[n])]
        if able:
            moves[int(row)] = min(able, key=lambda n: (-depth[n], n))
    return turns, moves


def _twisters(follows: dict[str, np.ndarray], turns: dict[int, str], untwisted: frozenset[int], rows: int) -> dict[int, str]:
    """For each bone whose twist its own control does not give, the control that does so and moves least besides; each once."""
    found: dict[int, str] = {}
    for row in range(rows):
        if row in turns and row not in untwisted:
            continue
        able = [n for n, f in follows.items() if f[row] == TWIST and n not in turns.values() and n not in found.values()]
        if able:
            found[row] = min(able, key=lambda n: (int((follows[n] > 0).sum()), n))
    return found


def _order(rig: Rig, follows: dict[str, np.ndarray], turns: dict[int, str]) -> np.ndarray:
    """(J,) the place of each bone among those that are put one after another: after what carries it and what its control hangs from."""
    rows = len(rig)
    turned = np.zeros((rows, rows), bool)
    for row, control in turns.items():
        turned[row] = follows.get(control, np.zeros(rows)) >= SWING
    # what turns the body itself is put along the carriers, as the body is
    turned[turned[:, rig.carriers < 0].any(1)] = False
    # of two that turn each other the carrier is first, else the one that turns the other: Rigify's tails hang from their tip
    before = turned & ~turned.T
    for row in np.flatnonzero(rig.carriers >= 0):
        before[rig.carriers[row], row] |= not before[row, rig.carriers[row]]
    order = np.zeros(rows, int)
    for _ in range(rows):
        later = np.maximum(order, np.where(before, order[:, None] + 1, 0).max(0))
        if (later == order).all():
            break
        order = later
    return order


def _may_move(bone: bpy.types.PoseBone) -> bool:
    return not bone.bone.use_connect and not all(bone.lock_location)


def _chains(armature: bpy.types.Object) -> Iterator[Chain]:
    """IK chains whose target is a bone of the same armature; a pole that several share is nobody's own."""
    found = []
    for bone in armature.pose.bones:
        for constraint in bone.constraints:
            if constraint.type != "IK" or constraint.mute or constraint.influence == 0 or constraint.target != armature or not constraint.subtarget:
                continue
            if bone.name.startswith(("MCH-", "ORG-")) or bone.name not in {b.name for b in armature.data.bones if b.use_deform}:
                continue
            first = bone if constraint.use_tail else bone.parent
            way = [first, *first.parent_recursive] if first is not None else []
            way = way[: constraint.chain_count] if constraint.chain_count else way
            pole = constraint.pole_subtarget if constraint.pole_target == armature else ""
            found.append(Chain(tuple(each.name for each in reversed(way)), constraint.subtarget, pole, bone.name, constraint.name))
    poles = [chain.pole for chain in found]
    for chain in found:
        yield replace(chain, pole=chain.pole if poles.count(chain.pole) == 1 else "")


def _deform_rig(armature: bpy.types.Object, bones: list[bpy.types.Bone], wanted: list[int], rest: np.ndarray, whole: Mesh | None) -> tuple[Rig, Mesh | None]:
    """The deform bones alone. A bone hangs from its nearest ancestor that deforms, or that lies where a bone that deforms does."""
    names = tuple(bones[n].name for n in wanted)
    tails = np.array([np.array(bones[n].tail_local, np.float64) for n in wanted])
    above, carried = _ways_up(bones, wanted, rest, whole)
    parents = np.array([_nearest(above, n, wanted, rest) for n in wanted], np.int32)
    carriers = np.array([_nearest(carried, n, wanted, rest) for n in wanted], np.int32)
    mesh, _ = read_mesh(armature, names, rest[wanted], bpy.context.evaluated_depsgraph_get())
    flags, blank = np.ones(len(wanted), bool), ("",) * len(wanted)
    return Rig(names, parents, carriers, rest[wanted], tails, flags, blank, flags, flags, ("FULL",) * len(wanted), mesh), mesh


def _targets_on_tips(rig: Rig, chains: tuple[Chain, ...]) -> Rig:
    """The rig with IK targets carried by the tip of their chain: a foot, a snake's mouth."""
    carriers = rig.carriers.copy()
    for chain in chains:
        if chain.target in rig.names and chain.bones[-1] in rig.names:
            target, tip = rig.names.index(chain.target), rig.names.index(chain.bones[-1])
            if target not in way_up(replace(rig, carriers=carriers), tip):
                carriers[target] = tip
    return replace(rig, carriers=carriers)


def _common_roots(armature: bpy.types.Object, bones: list[bpy.types.Bone], wanted: list[int], rest: np.ndarray, whole: Mesh | None) -> list[int]:
    """Bones that do not deform but carry several deform bones that nothing else carries: the lowest common ones that an animator may turn."""
    index = {bone.name: n for n, bone in enumerate(bones)}
    _, carriers = _ways_up(bones, wanted, rest, whole)
    roots = [n for n in wanted if _nearest(carriers, n, wanted, rest) < 0]
    carried: dict[int, int] = {}
    for root in roots:
        for ancestor in bones[root].parent_recursive:
            if is_control(armature.pose.bones[ancestor.name], False):
                carried[index[ancestor.name]] = carried.get(index[ancestor.name], 0) + 1
    several = [n for n, count in carried.items() if count > 1]
    # of those that carry the same ones, the lowest
    return [n for n in several if not any(carried[m] == carried[n] and bones[n] in bones[m].parent_recursive for m in several)]


def _ways_up(bones: list[bpy.types.Bone], wanted: list[int], rest: np.ndarray, whole: Mesh | None) -> tuple[np.ndarray, np.ndarray]:
    """Parents and carriers of all bones: what is a limb shows in what all bones hang from."""
    index = {bone.name: n for n, bone in enumerate(bones)}
    above = np.array([index[bone.parent.name] if bone.parent else -1 for bone in bones], np.int32)
    tails = np.array([np.array(bone.tail_local, np.float64) for bone in bones])
    return above, infer_carriers(above, rest, tails, np.isin(np.arange(len(bones)), wanted), whole)


def _nearest(way: np.ndarray, start: int, wanted: list[int], rest: np.ndarray) -> int:
    """Row in `wanted` of the first bone on a way up that is wanted, or that lies where a wanted one does; -1 for none."""
    size = max(float(np.linalg.norm(np.ptp(rest[wanted, :3, 3], axis=0))), 1e-9)
    step = int(way[start])
    while step >= 0:
        same = [wanted.index(step)] if step in wanted else [row for row in _at(rest[step], rest[wanted], size) if wanted[row] < start]
        if same:
            return same[0]
        step = int(way[step])
    return -1


def _at(place: np.ndarray, rest: np.ndarray, size: float) -> list[int]:
    near = np.linalg.norm(rest[:, :3, 3] - place[:3, 3], axis=1) < _SAME_PLACE * size
    along = rest[:, :3, 1] @ place[:3, 1] > 0.999
    return [int(n) for n in np.flatnonzero(near & along)]
