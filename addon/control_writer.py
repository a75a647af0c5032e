"""A captured motion onto the controls of a rig: put them frame by frame until the deform bones stand as captured, then key them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.motion import Motion
from ..backend.progress import OnProgress, Progress
from ..backend.rig import Rig
from .control_plan import Chain, ControlPlan, has_controls, read_control_plan
from .control_probe import evaluated_bones, posing, rigid
from .keyframe_writer import Channel, WriteResult, write_channels
from .rig_reader import read_rig
from .rotation_modes import channel_of, channel_values

log = logging.getLogger(__name__)

_SWEEPS = 8
_WITHIN = (1.0, 0.01)  # degrees, and share of the size: what a control rig has to keep to
_IN_LINE = 0.005  # of the size, between a bone's end and the next one's head
_GOOD = (0.02, 1e-5)  # degrees, and share of the size: nearer than this a frame is done


def read_rig_or_controls(armature: bpy.types.Object) -> tuple[Rig, ControlPlan | None]:
    """The rig to capture onto: its deform bones and how they are moved where controls do that, else the bones themselves."""
    rig = read_rig(armature)
    if not has_controls(armature):
        return rig, None
    plan = read_control_plan(armature)
    return plan.rig, plan


@dataclass(frozen=True, eq=False)
class _Keys:
    """Location (T, 3) and quaternion (T, 4) of a control over the frames, None where it is not keyed."""

    location: np.ndarray | None
    rotation: np.ndarray | None


@dataclass(frozen=True)
class Fit:
    """How far deform bones stand from what was captured.

    degrees, distance: the largest angle, and the largest distance as a share of the size, over bones and frames. bone: the one with that
    angle. released: bones whose IK could not hold the pose and was keyed off.
    """

    degrees: float
    distance: float
    bone: str
    released: tuple[str, ...] = ()


def write_controls(
    armature: bpy.types.Object, plan: ControlPlan, motion: Motion, *, name: str, start_frame: float, scene_fps: float, on_progress: OnProgress | None = None
) -> tuple[WriteResult, Fit]:
    """Key a motion of the plan's rig on its controls in a new action; the old one is stashed. Raises CaptureError as `write_motion` does.

    on_progress: hears of every frame, since Blender poses the whole rig some ten times for each.
    """
    on_progress = on_progress or (lambda _progress: None)
    with posing(armature):
        for bone, key, value in plan.switches:
            armature.pose.bones[bone][key] = value
        solver = _Solver(armature, plan)
        fit = solver.run(motion, on_progress)
        released = [chain for chain in plan.chains if not solver.holds(chain)]
        if released:
            # the chain cannot stand so by IK: locked axes, a shared pole, or out of reach; its own keys can
            for chain in released:
                armature.pose.bones[chain.owner].constraints[chain.constraint].influence = 0.0
            solver = _Solver(armature, plan)
            fit = solver.run(motion, on_progress)
        fit = replace(fit, released=tuple(chain.owner for chain in released))
    switched = [(bone, f'["{key}"]', value) for bone, key, value in plan.switches]
    switched += [(chain.owner, f'constraints["{bpy.utils.escape_identifier(chain.constraint)}"].influence', 0.0) for chain in released]
    channels = [*(Channel(armature.pose.bones[bone], path, np.array([[value]])) for bone, path, value in switched), *_channels(armature, solver.keys())]
    result = write_channels(armature, name, channels, start_frame + motion.times * scene_fps)
    if fit.degrees > _WITHIN[0] or fit.distance > _WITHIN[1]:
        log.warning("The controls cannot bring '%s' nearer than %.1f degrees and %.1f %% of the size", fit.bone, fit.degrees, 100 * fit.distance)
    return result, fit


def _pose(motion: Motion, index: int) -> list[Matrix]:
    poses = np.tile(np.eye(4), (motion.heads.shape[1], 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = motion.rotations[index], motion.heads[index]
    return [Matrix(pose) for pose in poses]


def _channels(armature: bpy.types.Object, keys: dict[str, _Keys]) -> Iterator[Channel]:
    for name, track in keys.items():
        bone = armature.pose.bones[name]
        if track.rotation is not None:
            yield Channel(bone, channel_of(bone.rotation_mode), channel_values(track.rotation, bone.rotation_mode))
        if track.location is not None:
            yield Channel(bone, "location", track.location)


def _twist(turn: Quaternion, axis: Vector) -> float:
    """Radians of a turn about an axis, -pi to pi."""
    angle = 2 * np.arctan2(Vector((turn.x, turn.y, turn.z)).dot(axis), turn.w)
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


class _Solver:
    """Puts controls so that deform bones stand as wanted, from the body outwards, as Blender itself evaluates them."""

    def __init__(self, armature: bpy.types.Object, plan: ControlPlan) -> None:
        self.armature, self.plan, self.rig = armature, plan, plan.rig
        self.row = {name: row for row, name in enumerate(plan.rig.names)}
        self.chained = {bone for chain in plan.chains for bone in chain.bones}
        depth = np.zeros(len(self.rig), int)
        for row in self.rig.carrier_order:
            carrier = int(self.rig.carriers[row])
            depth[row] = depth[carrier] + 1 if carrier >= 0 else 0
        # a root is moved first, what turns it alone is asked once the body stands
        steps = [(int(depth[row]), 0, row) for row in plan.moves]
        steps += [(int(depth[row]), 1, row) for row, control in plan.turns.items() if plan.moves.get(row) != control]
        steps += [(int(depth[row]), 2, row) for row in plan.twists]
        self.steps = [[(row, kind) for d, kind, row in sorted(steps) if (d, kind) == step] for step in sorted({entry[:2] for entry in steps})]
        self.turned = {*plan.turns.values(), *plan.twists.values()}
        targets = {bone for chain in plan.chains for bone in (chain.target, chain.pole) if bone}
        self.moved = set(plan.moves.values()) | targets
        self.tracks: dict[str, list[tuple[Vector, Quaternion]]] = {name: [] for name in sorted(self.turned | self.moved)}

        bones = evaluated_bones(armature)
        # how targets and poles stand to their chains in the pose that the rig has now
        self.to_target = {chain: bones[chain.target].head - bones[chain.bones[-1]].tail for chain in plan.chains}
        self.to_pole = {chain: rigid(bones[chain.bones[0]].matrix).inverted() @ bones[chain.pole].head for chain in plan.chains if chain.pole}
        self.helpers = {
            row: [n for n in range(len(self.rig)) if self.rig.carriers[n] == row and n not in plan.turns and self._in_line(row, n)] for row in plan.untwisted
        }  # fmt: skip
        self.worst = np.zeros((2, len(self.rig)))

    def _in_line(self, row: int, other: int) -> bool:
        """Whether a bone goes on from where another ends."""
        return float(np.linalg.norm(self.rig.rest[other, :3, 3] - self.rig.ends[row])) < _IN_LINE * self.rig.size

    def run(self, motion: Motion, on_progress: OnProgress) -> Fit:
        """Put every frame in turn, each from the one before."""
        for index in range(len(motion)):
            self.worst = np.maximum(self.worst, self.put(_pose(motion, index)))
            on_progress(Progress("Posing the controls", (index + 1) / len(motion), index + 1, len(motion)))
        row = int(self.worst[0].argmax())
        return Fit(float(self.worst[0, row]), float(self.worst[1].max()), self.rig.names[row])

    def holds(self, chain: Chain) -> bool:
        """Whether the chain's bones came to where they are wanted on every frame."""
        rows = [self.row[bone] for bone in chain.bones if bone in self.row]
        return bool((self.worst[:, rows] <= np.array(_WITHIN)[:, None]).all())

    def put(self, wanted: list[Matrix]) -> np.ndarray:
        """Set all controls for one frame, note where they stand, and say how far each deform bone is off: (2, J) degrees and sizes."""
        off = np.zeros((2, len(self.rig)))
        for sweep in range(_SWEEPS):
            for step in self.steps:
                bones = evaluated_bones(self.armature)
                for row, kind in step:
                    self._put_row(row, kind, wanted, bones, first=sweep == 0)
            for chain in self.plan.chains:
                self._put_chain(chain, wanted, first=sweep == 0)
            off = self._off(wanted)
            if (off < np.array(_GOOD)[:, None]).all():
                break
        for name, track in self.tracks.items():
            basis = self.armature.pose.bones[name].matrix_basis
            track.append((basis.to_translation(), basis.to_quaternion()))
        return off

    def keys(self) -> dict[str, _Keys]:
        """What the noted places are as keys."""
        found = {}
        for name, track in self.tracks.items():
            location = np.array([place for place, _ in track]) if name in self.moved else None
            rotation = np.array([turn for _, turn in track]) if name in self.turned or name in set(self.plan.moves.values()) else None
            found[name] = _Keys(location, rotation)
        return found

    def _put_row(self, row: int, kind: int, wanted: list[Matrix], bones: bpy.types.bpy_prop_collection, *, first: bool) -> None:
        name = self.rig.names[row]
        if name in self.chained:
            self._put_chained(row, wanted, bones)
            return
        stands = rigid(bones[name].matrix)
        change = wanted[row] @ stands.inverted()
        if kind == 2:
            axis = wanted[row].to_quaternion() @ Vector((0.0, 1.0, 0.0))
            roll = Quaternion(axis, _twist(change.to_quaternion(), axis)).to_matrix().to_4x4()
            self._place(self.plan.twists[row], roll @ bones[self.plan.twists[row]].matrix, bones, location=False)
            return
        if kind == 1:
            self._place(self.plan.turns[row], self._with_twist(row, change, wanted, bones) @ bones[self.plan.turns[row]].matrix, bones, location=False)
            return
        mover = self.plan.moves[row]
        if not first and row in self.plan.turns and self.plan.turns[row] != mover:
            # the body has been turned as a whole; from now on what turns the bone alone may, else the two undo each other
            change = Matrix.Translation(wanted[row].to_translation() - stands.to_translation())
        self._place(mover, change @ bones[mover].matrix, bones, location=True)

    def _with_twist(self, row: int, change: Matrix, wanted: list[Matrix], bones: bpy.types.bpy_prop_collection) -> Matrix:
        """The change asked of a bone's control, and what the bones that ride on it lack about its length: many rigs pass a twist on to those alone."""
        helpers = self.helpers.get(row)
        if not helpers:
            return change
        axis = wanted[row].to_quaternion() @ Vector((0.0, 1.0, 0.0))
        lacking = [_twist(wanted[n].to_quaternion() @ bones[self.rig.names[n]].matrix.to_quaternion().inverted(), axis) for n in helpers]
        extra = float(np.mean(lacking)) - _twist(change.to_quaternion(), axis)
        spot = wanted[row].to_translation()
        return Matrix.Translation(spot) @ Quaternion(axis, extra).to_matrix().to_4x4() @ Matrix.Translation(-spot) @ change

    def _put_chained(self, row: int, wanted: list[Matrix], bones: bpy.types.bpy_prop_collection) -> None:
        """A bone of an IK chain is turned as if there were no IK: it is where the solver starts from, and with its target in place, ends."""
        name = self.rig.names[row]
        bone = self.armature.pose.bones[name]
        above = bone.parent
        channel = bone.bone.matrix_local
        if above is not None:
            stands = wanted[self.row[above.name]] if above.name in self.row else rigid(bones[above.name].matrix)
            channel = stands @ above.bone.matrix_local.inverted() @ channel
        self._set(name, channel.inverted() @ wanted[row], location=False)

    def _put_chain(self, chain: Chain, wanted: list[Matrix], first: bool) -> None:
        """Target and pole to where the wanted chain has them."""
        root, tip = self.row.get(chain.bones[0]), self.row.get(chain.bones[-1])
        if root is None or tip is None:
            return
        bones = evaluated_bones(self.armature)
        if chain.target not in self.plan.moves.values() and chain.target not in self.turned:
            end = wanted[tip] @ Vector((0.0, self.armature.data.bones[chain.bones[-1]].length, 0.0))
            place = bones[chain.target].matrix.copy()
            place.translation = end + self.to_target[chain]
            self._place(chain.target, place, bones, location=True)
        if chain.pole:
            place = bones[chain.pole].matrix.copy()
            start = wanted[root].to_translation()
            spot = wanted[root] @ self.to_pole[chain] if first else place.to_translation()
            if not first:
                axis = (wanted[tip] @ Vector((0.0, self.armature.data.bones[chain.bones[-1]].length, 0.0)) - start).normalized()
                left = wanted[root].to_quaternion() @ bones[chain.bones[0]].matrix.to_quaternion().inverted()
                spot = start + Quaternion(axis, _twist(left, axis)) @ (spot - start)
            place.translation = spot
            self._place(chain.pole, place, bones, location=True)

    def _place(self, name: str, wanted: Matrix, bones: bpy.types.bpy_prop_collection, *, location: bool) -> None:
        """Put an unconstrained bone where it is wanted, given where its present keys put it."""
        channel = bones[name].matrix @ self.armature.pose.bones[name].matrix_basis.inverted()
        self._set(name, channel.inverted() @ wanted, location=location)

    def _set(self, name: str, basis: Matrix, *, location: bool) -> None:
        bone = self.armature.pose.bones[name]
        before = bone.matrix_basis
        place = basis.to_translation() if location else before.to_translation()
        bone.matrix_basis = Matrix.LocRotScale(place, basis.to_quaternion(), before.to_scale())

    def _off(self, wanted: list[Matrix]) -> np.ndarray:
        bones = evaluated_bones(self.armature)
        stand = [bones[name].matrix for name in self.rig.names]
        angles = np.array([a.to_quaternion().rotation_difference(b.to_quaternion()).angle for a, b in zip(stand, wanted, strict=True)])
        apart = np.array([(a.to_translation() - b.to_translation()).length for a, b in zip(stand, wanted, strict=True)])
        return np.stack([np.degrees(np.minimum(angles, 2 * np.pi - angles)), apart / self.rig.size])
