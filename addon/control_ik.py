"""A limb's IK controls so that its deform bones stand as captured: what each control does is measured, as Blender evaluates it, and inverted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from ..backend.rig import Rig
from .control_effects import AXES, ENOUGH, EffectSolver, Freedom, Group, bases, change, group_length, put_back
from .control_limbs import Limb
from .control_placing import Place, how_far_off, place_control, place_of, twist_about
from .control_probe import evaluated_bones, rigid
from .control_solver import WITHIN

_FLIPS = (0.0, np.pi, -np.pi / 2, np.pi)  # of the plane in which a limb bends, each from the one before, where the solver finds no way from the last frame's


class LimbSolver:
    """Puts the IK controls of limbs, whose switches have to stand at IK, while all other controls stand as they are."""

    def __init__(self, armature: bpy.types.Object, rig: Rig, limbs: Sequence[Limb]) -> None:
        self.armature, self.rig, self.limbs = armature, rig, limbs
        self.groups = [Group(limb.chain, tuple(self._freedoms(limb)), group_length(rig, limb.chain)) for limb in limbs]
        self.effects = EffectSolver(armature, rig, self.groups)
        self.turned, self.moved, self.sized = ({each.control for group in self.groups for each in group.freedoms if each.kind == kind}
                                               for kind in ("turn", "move", "size"))  # fmt: skip
        self.tracks: dict[str, list[Place]] = {name: [] for group in self.groups for name in group.controls}
        self.worst, self.frames = np.zeros((2, len(rig))), 0
        bones = evaluated_bones(armature)
        self.to_pole = [rigid(bones[rig.names[limb.root]].matrix).inverted() @ bones[limb.pole].head if limb.pole else None for limb in limbs]

    def put(self, wanted: list[Matrix]) -> np.ndarray:
        """Set the controls for one frame, note where they stand, and say how far each deform bone is off: (2, J) degrees and sizes."""
        found: list[tuple[float, dict[str, Matrix]]] = [(np.inf, {}) for _ in self.limbs]
        for flip in _FLIPS:
            open_limbs = [index for index, (left, _) in enumerate(found) if left > ENOUGH]
            if not open_limbs:
                break
            self._guess(wanted, flip, open_limbs)
            for index, left in self.effects.refine(wanted, open_limbs).items():
                if left < found[index][0]:
                    found[index] = (left, bases(self.armature, self.groups[index].controls))
        for _, places in found:
            put_back(self.armature, places)
        if hard := [index for index, (left, _) in enumerate(found) if left > ENOUGH]:
            self.effects.refine(wanted, hard)
        for name, track in self.tracks.items():
            track.append(place_of(self.armature.pose.bones[name].matrix_basis))
        self.frames += 1
        off = how_far_off(self.armature, self.rig, wanted)
        self.worst = np.maximum(self.worst, off)
        return off

    def holds(self, limb: Limb) -> bool:
        """Whether the limb came to where it is wanted on every frame; what rides on its end, as fingers, stands as it does under FK."""
        return bool((self.worst[:, list(limb.chain)] <= np.array(WITHIN)[:, None]).all())

    def _freedoms(self, limb: Limb) -> Iterator[Freedom]:
        for control in limb.turns.values():
            yield from (Freedom(control, "turn", axis) for axis in AXES)
        yield from (Freedom(limb.target, "move", axis) for axis in AXES)
        base = self.armature.pose.bones[limb.base]
        if limb.pole:
            yield from (Freedom(limb.pole, "move", axis) for axis in AXES)
        else:
            yield from (Freedom(limb.base, "turn", axis) for axis, locked in zip(AXES, base.lock_rotation, strict=True) if not locked)
        yield Freedom(limb.base, "size", AXES[1])
        yield from (Freedom(control, "turn", AXES[1]) for control in limb.twists.values())

    def _guess(self, wanted: list[Matrix], flip: float, limbs: list[int]) -> None:
        """Where the controls would stand if nothing in between bent or stretched. flip: radians by which the plane of the bend is turned from
        where it was on the frame before."""
        bones = evaluated_bones(self.armature)
        for index in limbs:
            limb, to_pole = self.limbs[index], self.to_pole[index]
            if to_pole is not None:
                place = bones[limb.pole].matrix.copy()
                start, end = wanted[limb.root].to_translation(), wanted[limb.target_row].to_translation()
                place.translation = start + Quaternion((end - start).normalized(), flip) @ (wanted[limb.root] @ to_pole - start)
                place_control(self.armature, limb.pole, place, bones, location=True)
            elif flip:
                change(self.armature, Freedom(limb.base, "turn", AXES[1]), flip)
        for step in [*range(max(len(limb.turns) for limb in self.limbs))] * 2:
            bones = evaluated_bones(self.armature)
            for index in limbs:
                limb = self.limbs[index]
                # from the target on, which carries the others
                turns = sorted(limb.turns.items(), key=lambda entry: (entry[1] != self.limbs[index].target, entry[0]))
                if step < len(turns):
                    row, control = turns[step]
                    lacking = wanted[row] @ rigid(bones[self.rig.names[row]].matrix).inverted()
                    place_control(self.armature, control, lacking @ bones[control].matrix, bones, location=control == limb.target)
        for step in range(max(len(limb.twists) for limb in self.limbs)):
            bones = evaluated_bones(self.armature)
            for index in limbs:
                twists = sorted(self.limbs[index].twists.items())
                if step < len(twists):
                    row, control = twists[step]
                    axis = wanted[row].to_quaternion() @ AXES[1]
                    short = twist_about(wanted[row].to_quaternion() @ bones[self.rig.names[row]].matrix.to_quaternion().inverted(), axis)
                    change(self.armature, Freedom(control, "turn", AXES[1]), short)
