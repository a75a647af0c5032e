"""Controls put frame by frame, with Blender's own evaluation, until the deform bones stand as captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.rig import Rig
from .control_plan import Chain, ControlPlan
from .control_probe import evaluated_bones, rigid

WITHIN = (1.0, 0.01)  # degrees, and share of the size: what a control rig has to keep to
_SWEEPS = 8
_STUCK = 0.01  # a sweep that changes what is left by less than this share was the last
_IN_LINE = 0.005  # of the size, between a bone's end and the next one's head
_GOOD = (0.02, 1e-5)  # degrees, and share of the size: nearer than this a frame is done

Place = tuple[Vector, Quaternion, Vector]
"""Location, rotation and scale of a control."""


def place_of(bone: bpy.types.PoseBone) -> Place:
    """Where a control's keys would have it now."""
    place, turn, size = bone.matrix_basis.decompose()
    return place, turn, size


def place_control(
    armature: bpy.types.Object, name: str, wanted: Matrix, bones: bpy.types.bpy_prop_collection, *, location: bool
) -> None:
    """Put a bone where it is wanted, given where its keys and what it hangs from have it now."""
    bone = armature.pose.bones[name]
    above, before = bone.parent, bone.matrix_basis
    # knows of bones whose location is not along their own axes
    parents = {"parent_matrix": bones[above.name].matrix, "parent_matrix_local": above.bone.matrix_local} if above is not None else {}
    place = bone.bone.convert_local_to_pose(wanted, bone.bone.matrix_local, invert=True, **parents).to_translation()
    # a turn on top of the present one: a constraint may add to it
    turn = before.to_quaternion() @ bones[name].matrix.to_quaternion().inverted() @ wanted.to_quaternion()
    set_control(armature, name, Matrix.Translation(place) @ turn.to_matrix().to_4x4(), location=location)


def set_control(armature: bpy.types.Object, name: str, basis: Matrix, *, location: bool) -> None:
    """Set a control's rotation, and its location if asked for."""
    bone = armature.pose.bones[name]
    before = bone.matrix_basis
    place = basis.to_translation() if location else before.to_translation()
    bone.matrix_basis = Matrix.LocRotScale(place, basis.to_quaternion(), before.to_scale())


def how_far_off(armature: bpy.types.Object, rig: Rig, wanted: Sequence[Matrix]) -> np.ndarray:
    """(2, J) degrees and shares of the size by which each deform bone stands elsewhere than wanted."""
    bones = evaluated_bones(armature)
    stand = [bones[name].matrix for name in rig.names]
    # of a small angle the cosine knows nothing in single precision
    angles = np.array([a.to_quaternion().rotation_difference(b.to_quaternion()).to_exponential_map().length for a, b in zip(stand, wanted, strict=True)])
    apart = np.array([(a.to_translation() - b.to_translation()).length for a, b in zip(stand, wanted, strict=True)])
    return np.stack([np.degrees(np.minimum(angles, 2 * np.pi - angles)), apart / rig.size])


def twist_about(turn: Quaternion, axis: Vector) -> float:
    """Radians of a turn about an axis, -pi to pi."""
    angle = 2 * np.arctan2(Vector((turn.x, turn.y, turn.z)).dot(axis), turn.w)
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


class ControlSolver:
    """Puts controls so that deform bones stand as wanted, from the body outwards, as Blender itself evaluates them."""

    def __init__(self, armature: bpy.types.Object, plan: ControlPlan, held: Mapping[str, Sequence[Place]] | None = None) -> None:
        """held: where controls stand on each frame that are not to be put, so that the others go by them."""
        self.armature, self.plan, self.rig, self.held = armature, plan, plan.rig, held or {}
        self.row = {name: row for row, name in enumerate(plan.rig.names)}
        self.chained = {bone for chain in plan.chains for bone in chain.bones}
        depth = np.zeros(len(self.rig), int)
        for row in self.rig.carrier_order:
            carrier = int(self.rig.carriers[row])
            depth[row] = depth[carrier] + 1 if carrier >= 0 else 0
        # a root is moved first, what turns it alone is asked once the body stands
        steps = [(int(depth[row]), 0, row) for row, control in plan.moves.items() if control not in self.held]
        steps += [(int(depth[row]), 1, row) for row, control in plan.turns.items() if plan.moves.get(row) != control and control not in self.held]
        steps += [(int(depth[row]), 2, row) for row, control in plan.twists.items() if control not in self.held]
        self.steps = [[(row, kind) for d, kind, row in sorted(steps) if (d, kind) == step] for step in sorted({entry[:2] for entry in steps})]
        chains = [chain for chain in plan.chains if chain.target not in self.held]
        self.turned = {*plan.turns.values(), *plan.moves.values(), *plan.twists.values()} - set(self.held)
        self.moved = ({*plan.moves.values()} | {bone for chain in chains for bone in (chain.target, chain.pole) if bone}) - set(self.held)
        self.tracks: dict[str, list[Place]] = {name: [] for name in sorted(self.turned | self.moved)}
        self.chains = chains

        bones = evaluated_bones(armature)
        # how targets and poles stand to their chains in the pose that the rig has now
        self.to_target = {chain: bones[chain.target].head - bones[chain.bones[-1]].tail for chain in plan.chains}
        self.to_pole = {chain: rigid(bones[chain.bones[0]].matrix).inverted() @ bones[chain.pole].head for chain in plan.chains if chain.pole}
        self.helpers = {
            row: [n for n in range(len(self.rig)) if self.rig.carriers[n] == row and n not in plan.turns and self._in_line(row, n)] for row in plan.untwisted
        }  # fmt: skip
        self.worst, self.frames = np.zeros((2, len(self.rig))), 0

    def _in_line(self, row: int, other: int) -> bool:
        """Whether a bone goes on from where another ends."""
        return float(np.linalg.norm(self.rig.rest[other, :3, 3] - self.rig.ends[row])) < _IN_LINE * self.rig.size

    def holds(self, chain: Chain) -> bool:
        """Whether the chain's bones came to where they are wanted on every frame."""
        rows = [self.row[bone] for bone in chain.bones if bone in self.row]
        return bool((self.worst[:, rows] <= np.array(WITHIN)[:, None]).all())

    def put(self, wanted: list[Matrix]) -> np.ndarray:
        """Set all controls for one frame, note where they stand, and say how far each deform bone is off: (2, J) degrees and sizes."""
        off = np.zeros((2, len(self.rig)))
        for name, track in self.held.items():
            self.armature.pose.bones[name].matrix_basis = Matrix.LocRotScale(*track[self.frames])
        self.frames += 1
        for sweep in range(_SWEEPS):
            for step in self.steps:
                bones = evaluated_bones(self.armature)
                for row, kind in step:
                    self._put_row(row, kind, wanted, bones, first=sweep == 0)
            for chain in self.chains:
                self._put_chain(chain, wanted, first=sweep == 0)
            before, off = off, how_far_off(self.armature, self.rig, wanted)
            left, last = ((each / np.array(_GOOD)[:, None]).max() for each in (off, before))
            if left < 1 or abs(left - last) < _STUCK * last:
                break
        for name, track in self.tracks.items():
            track.append(place_of(self.armature.pose.bones[name]))
        self.worst = np.maximum(self.worst, off)
        return off

    def _put_row(self, row: int, kind: int, wanted: list[Matrix], bones: bpy.types.bpy_prop_collection, *, first: bool) -> None:
        name = self.rig.names[row]
        if name in self.chained:
            self._put_chained(row, wanted, bones)
            return
        stands = rigid(bones[name].matrix)
        change = wanted[row] @ stands.inverted()
        if kind == 2:
            axis = wanted[row].to_quaternion() @ Vector((0.0, 1.0, 0.0))
            roll = Quaternion(axis, twist_about(change.to_quaternion(), axis)).to_matrix().to_4x4()
            place_control(self.armature, self.plan.twists[row], roll @ bones[self.plan.twists[row]].matrix, bones, location=False)
            return
        if kind == 1:
            control = self.plan.turns[row]
            place_control(self.armature, control, self._with_twist(row, change, wanted, bones) @ bones[control].matrix, bones, location=False)
            return
        mover = self.plan.moves[row]
        if not first and row in self.plan.turns and self.plan.turns[row] != mover:
            # the body has been turned as a whole; from now on what turns the bone alone may, else the two undo each other
            change = Matrix.Translation(wanted[row].to_translation() - stands.to_translation())
        place_control(self.armature, mover, change @ bones[mover].matrix, bones, location=True)

    def _with_twist(self, row: int, change: Matrix, wanted: list[Matrix], bones: bpy.types.bpy_prop_collection) -> Matrix:
        """The change asked of a bone's control, and what the bones that ride on it lack about its length: many rigs pass a twist on to those alone."""
        helpers = self.helpers.get(row)
        if not helpers:
            return change
        axis = wanted[row].to_quaternion() @ Vector((0.0, 1.0, 0.0))
        lacking = [twist_about(wanted[n].to_quaternion() @ bones[self.rig.names[n]].matrix.to_quaternion().inverted(), axis) for n in helpers]
        extra = float(np.mean(lacking)) - twist_about(change.to_quaternion(), axis)
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
        set_control(self.armature, name, channel.inverted() @ wanted[row], location=False)

    def _put_chain(self, chain: Chain, wanted: list[Matrix], first: bool) -> None:
        """Target and pole to where the wanted chain has them."""
        root, tip = self.row.get(chain.bones[0]), self.row.get(chain.bones[-1])
        if root is None or tip is None:
            return
        bones = evaluated_bones(self.armature)
        if chain.target not in self.turned:
            end = wanted[tip] @ Vector((0.0, self.armature.data.bones[chain.bones[-1]].length, 0.0))
            place = bones[chain.target].matrix.copy()
            place.translation = end + self.to_target[chain]
            place_control(self.armature, chain.target, place, bones, location=True)
        if chain.pole:
            place = bones[chain.pole].matrix.copy()
            start = wanted[root].to_translation()
            spot = wanted[root] @ self.to_pole[chain] if first else place.to_translation()
            if not first:
                axis = (wanted[tip] @ Vector((0.0, self.armature.data.bones[chain.bones[-1]].length, 0.0)) - start).normalized()
                left = wanted[root].to_quaternion() @ bones[chain.bones[0]].matrix.to_quaternion().inverted()
                spot = start + Quaternion(axis, twist_about(left, axis)) @ (spot - start)
            place.translation = spot
            place_control(self.armature, chain.pole, place, bones, location=True)
