"""Controls put frame by frame, with Blender's own evaluation, until the deform bones stand as captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from .control_effects import ENOUGH, EffectSolver, bases, put_back
from .control_groups import GroupFinder
from .control_placing import Place, how_far_off, place_control, place_of, set_control, twist_about
from .control_plan import Chain, ControlPlan, way_up
from .control_probe import evaluated_bones, rigid

WITHIN = (1.0, 0.01)  # degrees, and share of the size: what a control rig has to keep to
_SWEEPS = 8
_STUCK = 0.01  # a sweep that changes what is left by less than this share was the last
_WORTH = 0.8  # what putting controls together leaves of what was off, at most
_TOGETHER = 5.0  # times what is good for controls alone, which groups are brought to
_MEASURES = (0, 1, 3)  # how often a sweep may measure what groups do: first the body has to stand, later it leads nowhere
_IN_LINE = 0.005  # of the size, between a bone's end and the next one's head
_HARD = 0.5  # degrees: a bone that is left further off is brought there by all that turn it together
_GOOD = (0.02, 1e-5)  # degrees, and share of the size: nearer than this a frame is done


class ControlSolver:
    """Puts controls so that deform bones stand as wanted, from the body outwards, as Blender itself evaluates them."""

    def __init__(self, armature: bpy.types.Object, plan: ControlPlan, held: Mapping[str, Sequence[Place]] | None = None) -> None:
        """held: where controls stand on each frame that are not to be put, so that the others go by them."""
        self.armature, self.plan, self.rig, self.held = armature, plan, plan.rig, held or {}
        self.row = {name: row for row, name in enumerate(plan.rig.names)}
        self.chained = {bone for chain in plan.chains for bone in chain.bones}
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
        self.finder: GroupFinder | None = None
        self.together = EffectSolver(armature, self.rig, ())
        self.hard, self.hopeless = set[int](), set[int]()
        self.steps = self._steps()

    def _steps(self) -> list[list[tuple[int, int]]]:
        """Rows with what is done for each: moved (0), turned (1), twisted (2), or all of a group put together (3, with the group's number)."""
        grouped = {name for group in self.together.groups for name in group.controls}
        apart, order = {*self.held, *grouped}, self.plan.order
        # a root is moved first, what turns it alone is asked once the body stands
        entries = [(int(order[row]), 0, row) for row, control in self.plan.moves.items() if control not in apart]
        entries += [(int(order[row]), 1, row) for row, control in self.plan.turns.items() if self.plan.moves.get(row) != control and control not in apart]
        entries += [(int(order[row]), 2, row) for row, control in self.plan.twists.items() if control not in apart]
        entries += [(int(order[list(group.rows)].min()), 3, n) for n, group in enumerate(self.together.groups)]
        return [[(row, kind) for d, kind, row in sorted(entries) if (d, kind) == step] for step in sorted({entry[:2] for entry in entries})]

    def _in_line(self, row: int, other: int) -> bool:
        """Whether a bone goes on from where another ends."""
        return float(np.linalg.norm(self.rig.rest[other, :3, 3] - self.rig.ends[row])) < _IN_LINE * self.rig.size

    def holds(self, chain: Chain) -> bool:
        """Whether the chain's bones came to where they are wanted on every frame."""
        rows = [self.row[bone] for bone in chain.bones if bone in self.row]
        return bool((self.worst[:, rows] <= np.array(WITHIN)[:, None]).all())

    def put(self, wanted: list[Matrix]) -> np.ndarray:
        """Set all controls for one frame, note where they stand, and say how far each deform bone is off: (2, J) degrees and sizes."""
        for name, track in self.held.items():
            self.armature.pose.bones[name].matrix_basis = Matrix.LocRotScale(*track[self.frames])
        start = bases(self.armature, self.plan.controls)
        off = self._sweep(wanted)
        while new := self._beyond(off):
            off = self._gather(new, wanted, off, start)
        self.frames += 1
        for name, track in self.tracks.items():
            track.append(place_of(self.armature.pose.bones[name].matrix_basis))
        self.worst = np.maximum(self.worst, off)
        return off

    def _sweep(self, wanted: list[Matrix]) -> np.ndarray:
        """Put all controls from the body outwards until that changes little; (2, J) how far each deform bone is off then."""
        off = best = np.full((2, len(self.rig)), np.inf)
        stood: dict[str, Matrix] = {}
        groups = bool(self.together.groups)
        for sweep in range(_SWEEPS):
            for step in self.steps:
                if step[0][1] == 3:
                    self._put_together([number for number, _ in step], wanted, sweep)
                    continue
                bones = evaluated_bones(self.armature)
                for row, kind in step:
                    self._put_row(row, kind, wanted, bones, first=sweep == 0)
            for chain in self.chains:
                self._put_chain(chain, wanted, first=sweep == 0)
            before, off = off, how_far_off(self.armature, self.rig, wanted)
            if (off / np.array(_GOOD)[:, None]).sum() <= (best / np.array(_GOOD)[:, None]).sum():
                best, stood = off, bases(self.armature, {*self.tracks, *self.plan.controls})
            left, last = ((each / np.array(_GOOD)[:, None]).max(1) for each in (off, before))
            good = left < (_TOGETHER if groups else 1)
            # where places are out of reach, directions may still be on their way
            if good.all() or (sweep >= groups * len(_MEASURES) and (good | (abs(left - last) < _STUCK * last)).all()):
                break
        if best is not off:
            # what is out of reach may lead controls anywhere
            put_back(self.armature, stood)
        return best

    def _put_together(self, numbers: list[int], wanted: list[Matrix], sweep: int) -> None:
        """Put groups of controls; where that leads nowhere from where they stood on the frame before, from where they stand at rest."""
        for number, left in self.together.refine(wanted, numbers, _MEASURES[sweep] if sweep < len(_MEASURES) else 0).items():
            controls = self.together.groups[number].controls
            if left <= ENOUGH or sweep != len(_MEASURES) - 1 or self.moved & set(controls):
                continue
            before = bases(self.armature, controls)
            put_back(self.armature, {name: Matrix() for name in controls})
            if self.together.refine(wanted, [number])[number] >= left:
                put_back(self.armature, before)

    def _beyond(self, off: np.ndarray) -> set[int]:
        """Rows that the sweep does not bring to where they are wanted, and of which it is not known yet; IK that cannot hold is none of it."""
        rows = {int(row) for row in np.flatnonzero(off[0] > _HARD)}
        # the first on the way from the body: others may be off for its sake alone
        rows = {row for row in rows if not rows & set(islice(way_up(self.rig, row), 1, None))}
        return {row for row in rows - self.hard - self.hopeless if self.rig.names[row] not in self.chained}

    def _gather(self, rows: set[int], wanted: list[Matrix], off: np.ndarray, start: dict[str, Matrix]) -> np.ndarray:
        """Have what turns these rows put together from now on, unless that brings nothing nearer; returns how far off bones are then.

        start: where controls stood before the frame, since one after another may have led them anywhere.
        """
        self.finder = self.finder or GroupFinder(self.armature, self.plan, self._may_put())
        stood = bases(self.armature, self.plan.controls)
        while rows:
            before = self.hard, self.together, self.steps
            put_back(self.armature, start)
            self.hard, self.together = self.hard | rows, self.finder.gather(self.hard | rows, wanted)
            self.steps = self._steps()
            now = self._sweep(wanted)
            beyond = {row for row in rows if not self._gains(row, off, now)}
            if not beyond:
                for name in {name for group in self.together.groups for name in group.controls} - set(self.tracks):
                    # untouched so far
                    self.tracks[name] = [place_of(start[name])] * self.frames
                    self.turned.add(name)
                return now
            self.hopeless |= beyond
            rows = rows - beyond
            self.hard, self.together, self.steps = before
        put_back(self.armature, stood)
        return off

    def _gains(self, row: int, before: np.ndarray, after: np.ndarray) -> bool:
        """Whether all that is put together with a row is nearer for it at its worst bone."""
        asked = next((list(group.rows) for group in self.together.groups if row in group.rows), [])
        return bool(asked) and float(after[0, asked].max()) < _WORTH * float(before[0, asked].max())

    def _may_put(self) -> set[str]:
        """Controls that may be put together; beside some that are held, those that the plan goes by."""
        free = set(self.plan.controls) - set(self.held) - self.chained
        return free & set(self.tracks) if self.held else free

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
