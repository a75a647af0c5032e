"""Which controls move a rig's deform bones, found by turning each a little and looking: whatever constraints and drivers lie between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.carriers import infer_carriers
from ..backend.errors import CaptureError
from ..backend.rig import Mesh, Rig
from .blender_versions import assign_action, assigned_action
from .rig_mesh import read_mesh
from .rig_reader import bone_ends, bones_in_order, constraint_reasons

log = logging.getLogger(__name__)

_PROBE = 0.1  # radians by which a control is turned to see what follows
_PROBE_AXES = ((0.48, 0.6, 0.64), (-0.64, 0.48, 0.6))
_RIGID = 0.05  # share of the probe that a bone may differ from it and still count as turned by it
_SWING = 0.9  # a bone that takes a control's direction but not its twist
_TWIST = 0.7  # a bone that takes a control's twist about the bone's own length
_STILL = 0.02  # share of the probe below which a bone does not follow
_SAME_PLACE = 1e-3  # of the rig's size: bones that lie this close at rest are one
_LEAST_HELD = 1e-3
# what Rigify and others call the property that chooses between IK and FK; 1 is FK there
_SWITCHES = ("IK_FK",)
_CHANNELS = ("location", "rotation_quaternion", "rotation_axis_angle", "rotation_euler", "scale")


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
    chains: bones of these are turned themselves, and their target and pole are put where the chain already is. switches: (bone, property,
    value) to set first.
    """

    rig: Rig
    turns: dict[int, str]
    untwisted: frozenset[int]
    twists: dict[int, str]
    moves: dict[int, str]
    chains: tuple[Chain, ...]
    switches: tuple[tuple[str, str, float], ...]


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
    wanted = sorted({*wanted, *_common_roots(armature, bones, wanted, rest)})
    deform = tuple(names[n] for n in wanted)
    chains = tuple(_chains(armature))
    with posing(armature):
        switches = tuple(_set_switches(armature))
        follows = _probe(armature, deform)
    rig, mesh = _deform_rig(armature, bones, wanted, rest, whole)
    rig = _targets_on_tips(rig, chains)
    turns, moves = _assign(armature, rig, follows, {bone for chain in chains for bone in chain.bones})
    driven = np.array([row in turns for row in range(len(rig))])
    reasons = tuple(f"moved by the control '{turns[row]}'" if row in turns else "no control of its own: rides on its carrier" for row in range(len(rig)))
    ends = bone_ends([bones[n] for n in wanted], rig.carriers, rig.rest, mesh, driven)
    untwisted = frozenset(row for row, control in turns.items() if follows.get(control, np.ones(len(rig)))[row] == _SWING)
    twists = _twisters(follows, turns, untwisted, len(rig))
    return ControlPlan(replace(rig, driven=driven, reasons=reasons, ends=ends), turns, untwisted, twists, moves, chains, switches)


@contextmanager
def posing(armature: bpy.types.Object) -> Iterator[None]:
    """Poses may be set inside, and nothing plays over them; action, pose and properties of bones come back."""
    action, slot = assigned_action(armature)
    data = armature.animation_data
    tracks = [(track, track.mute) for track in data.nla_tracks] if data is not None else []
    poses = {bone.name: {channel: tuple(getattr(bone, channel)) for channel in _CHANNELS} for bone in armature.pose.bones}
    influences = [(constraint, constraint.influence) for bone in armature.pose.bones for constraint in bone.constraints]
    properties = {(bone.name, key): bone[key] for bone in armature.pose.bones for key in _SWITCHES if key in bone}
    try:
        if action is not None:
            assign_action(armature, None, None)
        for track, _ in tracks:
            track.mute = True
        yield
    finally:
        for name, channels in poses.items():
            for channel, value in channels.items():
                if tuple(getattr(armature.pose.bones[name], channel)) != value:
                    setattr(armature.pose.bones[name], channel, value)
        for (name, key), value in properties.items():
            armature.pose.bones[name][key] = value
        for constraint, influence in influences:
            if constraint.influence != influence:
                constraint.influence = influence
        for track, mute in tracks:
            track.mute = mute
        if action is not None:
            assign_action(armature, action, slot)
        armature.update_tag()
        bpy.context.view_layer.update()


def evaluated_bones(armature: bpy.types.Object) -> bpy.types.bpy_prop_collection:
    """Pose bones as constraints and drivers have them now."""
    bpy.context.view_layer.update()
    return armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones


def _set_switches(armature: bpy.types.Object) -> Iterator[tuple[str, str, float]]:
    for bone in armature.pose.bones:
        for key in _SWITCHES:
            if key in bone:
                bone[key] = 1.0
                yield bone.name, key, 1.0
    armature.update_tag()


def _is_control(bone: bpy.types.PoseBone, deform: bool) -> bool:
    """Whether an animator may turn it: nothing else does, it is not locked, and it is shown or has a shape."""
    if any(not c.mute and c.influence > 0 and c.type in _TURNING for c in bone.constraints) or all(bone.lock_rotation):
        return False
    shown = not bone.bone.collections or any(collection.is_visible for collection in bone.bone.collections)
    return bone.custom_shape is not None or deform or (shown and not bone.name.startswith(("MCH-", "ORG-", "DEF-")))


_TURNING = frozenset({
    "COPY_ROTATION", "COPY_TRANSFORMS", "CHILD_OF", "ARMATURE", "DAMPED_TRACK", "TRACK_TO", "LOCKED_TRACK", "STRETCH_TO", "TRANSFORM", "ACTION",
    "FOLLOW_PATH", "PIVOT", "TRANSFORM_CACHE", "IK", "SPLINE_IK",
})  # fmt: skip


def _probe(armature: bpy.types.Object, deform: tuple[str, ...]) -> dict[str, np.ndarray]:
    """(J,) for each control: 1 for a deform bone that turns with it, 0.9 for one that does so in direction, 0.7 for one that does so about its
    length alone, 0.5 for one that follows otherwise, else 0.

    Limbs with several segments spread a twist along them, so what a bone does about its own length is not asked for.
    """
    own = set(deform)

    def orientations() -> list[Quaternion]:
        bones = evaluated_bones(armature)
        return [bones[name].matrix.to_quaternion() for name in deform]

    before = orientations()
    along = np.array([turn @ Vector((0, 1, 0)) for turn in before])
    place = {bone.name: bone.matrix.to_quaternion() for bone in evaluated_bones(armature)}
    follows: dict[str, np.ndarray] = {}
    for bone in armature.pose.bones:
        if not _is_control(bone, bone.name in own):
            continue
        basis, moved = bone.matrix_basis.copy(), np.zeros(len(deform), bool)
        whole, turned, rolled = np.ones((3, len(deform)), bool)
        for axis in _PROBE_AXES:
            turn = Quaternion(axis, _PROBE)
            bone.matrix_basis = basis @ turn.to_matrix().to_4x4()
            change = [now @ then.inverted() for now, then in zip(orientations(), before, strict=True)]
            wanted = place[bone.name] @ turn @ place[bone.name].inverted()
            asked, done = _vector(wanted) / _PROBE, np.array([_vector(step) for step in change]) / _PROBE
            apart = done - asked
            whole &= np.linalg.norm(apart, axis=1) < _RIGID
            turned &= np.linalg.norm(apart - (apart * along).sum(1, keepdims=True) * along, axis=1) < _RIGID
            rolled &= np.linalg.norm(done - (along @ asked)[:, None] * along, axis=1) < _RIGID
            moved |= np.linalg.norm(done, axis=1) > _STILL
        bone.matrix_basis = basis
        follows[bone.name] = np.select([whole, turned, rolled & moved, moved], [1.0, _SWING, _TWIST, 0.5])
    evaluated_bones(armature)
    return follows


def _vector(turn: Quaternion) -> np.ndarray:
    """(3,) axis times angle."""
    # of a turn's two quaternions the one for less than half a turn
    return np.array((turn if turn.w >= 0 else -turn).to_exponential_map())


def _assign(armature: bpy.types.Object, rig: Rig, follows: dict[str, np.ndarray], chained: set[str]) -> tuple[dict[int, str], dict[int, str]]:
    """The bone that turns each deform bone, each used once, and the one that moves each root: the one that carries least besides."""
    turns: dict[int, str] = {}
    depth = {bone.name: len(bone.parent_recursive) for bone in armature.pose.bones}
    below = np.array([[row in _way_up(rig, n) for n in range(len(rig))] for row in range(len(rig))])
    for row in range(len(rig)):
        name, carrier = rig.names[row], int(rig.carriers[row])
        if name in chained:
            turns[row] = name
            continue

        def own(control: str, row: int = row, carrier: int = carrier) -> bool:
            """Whether the control is this bone's: not the whole body's, nor one of several limbs'; it may turn what is before the bone instead."""
            turned = follows[control] >= _SWING
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
        able = [n for n, f in follows.items() if f[row] >= _SWING and (f[below[row]] > 0).all() and _may_move(armature.pose.bones[n])]
        if able:
            moves[int(row)] = min(able, key=lambda n: (-depth[n], n))
    return turns, moves


def _twisters(follows: dict[str, np.ndarray], turns: dict[int, str], untwisted: frozenset[int], rows: int) -> dict[int, str]:
    """For each bone whose twist its own control does not give, the control that does so and moves least besides; each once."""
    found: dict[int, str] = {}
    for row in range(rows):
        if row in turns and row not in untwisted:
            continue
        able = [n for n, f in follows.items() if f[row] == _TWIST and n not in turns.values() and n not in found.values()]
        if able:
            found[row] = min(able, key=lambda n: (int((follows[n] > 0).sum()), n))
    return found


def _may_move(bone: bpy.types.PoseBone) -> bool:
    return not bone.bone.use_connect and not all(bone.lock_location)


def _way_up(rig: Rig, row: int) -> Iterator[int]:
    while row >= 0:
        yield row
        row = int(rig.carriers[row])


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
    names, index = tuple(bones[n].name for n in wanted), {bone.name: n for n, bone in enumerate(bones)}
    above = np.array([index[bone.parent.name] if bone.parent else -1 for bone in bones], np.int32)
    followed = np.isin(np.arange(len(bones)), wanted)
    tails = np.array([np.array(bone.tail_local, np.float64) for bone in bones])
    # as of the rig as a whole: what is a limb shows in what all bones hang from
    carried = infer_carriers(above, rest, tails, followed, whole)
    parents = np.array([_nearest(above, n, wanted, rest) for n in wanted], np.int32)
    carriers = np.array([_nearest(carried, n, wanted, rest) for n in wanted], np.int32)
    mesh, _ = read_mesh(armature, names, rest[wanted], bpy.context.evaluated_depsgraph_get())
    flags, blank = np.ones(len(wanted), bool), ("",) * len(wanted)
    return Rig(names, parents, carriers, rest[wanted], tails[wanted], flags, blank, flags, flags, ("FULL",) * len(wanted), mesh), mesh


def _targets_on_tips(rig: Rig, chains: tuple[Chain, ...]) -> Rig:
    """The rig with IK targets carried by the tip of their chain: a foot, a snake's mouth."""
    carriers = rig.carriers.copy()
    for chain in chains:
        if chain.target in rig.names and chain.bones[-1] in rig.names:
            target, tip = rig.names.index(chain.target), rig.names.index(chain.bones[-1])
            if target not in _way_up(replace(rig, carriers=carriers), tip):
                carriers[target] = tip
    return replace(rig, carriers=carriers)


def _common_roots(armature: bpy.types.Object, bones: list[bpy.types.Bone], wanted: list[int], rest: np.ndarray) -> list[int]:
    """Bones that do not deform but carry several deform bones that nothing else carries: the lowest common ones that an animator may turn."""
    index = {bone.name: n for n, bone in enumerate(bones)}
    above = np.array([index[bone.parent.name] if bone.parent else -1 for bone in bones], np.int32)
    roots = [n for n in wanted if _nearest(above, n, wanted, rest) < 0]
    carried: dict[int, int] = {}
    for root in roots:
        for ancestor in bones[root].parent_recursive:
            if _is_control(armature.pose.bones[ancestor.name], False):
                carried[index[ancestor.name]] = carried.get(index[ancestor.name], 0) + 1
    several = [n for n, count in carried.items() if count > 1]
    # of those that carry the same ones, the lowest
    return [n for n in several if not any(carried[m] == carried[n] and bones[n] in bones[m].parent_recursive for m in several)]


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


def rigid(matrix: Matrix) -> Matrix:
    """A pose without its scale."""
    return Matrix.Translation(matrix.to_translation()) @ matrix.to_quaternion().to_matrix().to_4x4()
