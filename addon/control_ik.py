"""A limb's IK controls so that its deform bones stand as captured: what each control does is measured, as Blender evaluates it, and inverted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.rig import Rig
from .control_limbs import Limb
from .control_probe import evaluated_bones, rigid
from .control_solver import WITHIN, Place, how_far_off, place_control, place_of, twist_about

_MEASURED = 3  # times a frame that what the controls do is measured
_FLIPS = (0.0, np.pi, -np.pi / 2, np.pi)  # of the plane in which a limb bends, each from the one before, where the solver finds no way from the last frame's
_STEPS = 4  # steps with what was measured once
_NUDGE = 0.01  # radians, and share of the limb's length
_DAMPING = 0.01  # what has less effect than this, as the plane of a straight limb's bend, is left alone
_LARGEST = 0.4  # step, radians and share of the limb's length
_SIZES = (0.7, 1.4)  # of the base
_GOOD = (0.05, 5e-5)  # degrees, and share of the size: nearer than this a frame is done
_ENOUGH = 5.0  # times that, with which no other way is looked for
_AXES = tuple(Vector(axis) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


@dataclass(frozen=True)
class _Freedom:
    """One way to change a control: it turns or moves along an axis of its own, or changes in size."""

    control: str
    kind: str
    axis: Vector


class LimbSolver:
    """Puts the IK controls of limbs, whose switches have to stand at IK, while all other controls stand as they are."""

    def __init__(self, armature: bpy.types.Object, rig: Rig, limbs: Sequence[Limb], *, twists: bool) -> None:
        """twists: controls that FK shares may twist a bone where no IK control does."""
        self.armature, self.rig, self.limbs = armature, rig, limbs
        self.twists = twists
        self.freedoms = [self._freedoms(limb, twists) for limb in limbs]
        self.lengths = [self._length(limb) for limb in limbs]
        self.owned = [sorted({freedom.control for freedom in freedoms}) for freedoms in self.freedoms]
        self.turned, self.moved, self.sized = ({each.control for freedoms in self.freedoms for each in freedoms if each.kind == kind}
                                               for kind in ("turn", "move", "size"))  # fmt: skip
        self.tracks: dict[str, list[Place]] = {name: [] for names in self.owned for name in names}
        self.effects: list[np.ndarray] | None = None
        self.worst, self.frames = np.zeros((2, len(rig))), 0
        bones = evaluated_bones(armature)
        self.to_pole = [rigid(bones[rig.names[limb.root]].matrix).inverted() @ bones[limb.pole].head if limb.pole else None for limb in limbs]

    def put(self, wanted: list[Matrix]) -> np.ndarray:
        """Set the controls for one frame, note where they stand, and say how far each deform bone is off: (2, J) degrees and sizes."""
        found: list[tuple[float, dict[str, Matrix]]] = [(np.inf, {}) for _ in self.limbs]
        # without the shared controls a twist is often out of reach, however long one tries
        for flip in _FLIPS if self.twists else _FLIPS[:1]:
            open_limbs = [index for index, (left, _) in enumerate(found) if left > _ENOUGH]
            if not open_limbs:
                break
            self._guess(wanted, flip, open_limbs)
            for index, left in self._refine(wanted, open_limbs).items():
                if left < found[index][0]:
                    found[index] = (left, {name: self.armature.pose.bones[name].matrix_basis.copy() for name in self.owned[index]})
        for _, places in found:
            for name, basis in places.items():
                self.armature.pose.bones[name].matrix_basis = basis
        if self.twists and (hard := [index for index, (left, _) in enumerate(found) if left > _ENOUGH]):
            self._refine(wanted, hard)
        for name, track in self.tracks.items():
            track.append(place_of(self.armature.pose.bones[name]))
        self.frames += 1
        off = how_far_off(self.armature, self.rig, wanted)
        self.worst = np.maximum(self.worst, off)
        return off

    def holds(self, limb: Limb) -> bool:
        """Whether the limb came to where it is wanted on every frame; what rides on its end, as fingers, stands as it does under FK."""
        return bool((self.worst[:, list(limb.chain)] <= np.array(WITHIN)[:, None]).all())

    def _freedoms(self, limb: Limb, twists: bool) -> list[_Freedom]:
        found = [_Freedom(control, "turn", axis) for control in limb.turns.values() for axis in _AXES]
        found += [_Freedom(limb.target, "move", axis) for axis in _AXES]
        base = self.armature.pose.bones[limb.base]
        if limb.pole:
            found += [_Freedom(limb.pole, "move", axis) for axis in _AXES]
        else:
            found += [_Freedom(limb.base, "turn", axis) for axis, locked in zip(_AXES, base.lock_rotation, strict=True) if not locked]
        found.append(_Freedom(limb.base, "size", Vector()))
        return found + [_Freedom(control, "turn", _AXES[1]) for control in limb.twists.values() if twists]

    def _length(self, limb: Limb) -> float:
        heads = self.rig.rest[list(limb.chain), :3, 3]
        return max(float(np.linalg.norm(heads - heads[0], axis=1).max()), 1e-6 * self.rig.size)

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
                self._change(_Freedom(limb.base, "turn", _AXES[1]), flip, 1.0)
        for step in [*range(max(len(limb.turns) for limb in self.limbs))] * 2:
            bones = evaluated_bones(self.armature)
            for index in limbs:
                limb = self.limbs[index]
                # from the target on, which carries the others
                turns = sorted(limb.turns.items(), key=lambda entry: (entry[1] != self.limbs[index].target, entry[0]))
                if step < len(turns):
                    row, control = turns[step]
                    change = wanted[row] @ rigid(bones[self.rig.names[row]].matrix).inverted()
                    place_control(self.armature, control, change @ bones[control].matrix, bones, location=control == limb.target)
        for step in range(max(len(limb.twists) for limb in self.limbs) if self.twists else 0):
            bones = evaluated_bones(self.armature)
            for index in limbs:
                twists = sorted(self.limbs[index].twists.items())
                if step < len(twists):
                    row, control = twists[step]
                    axis = wanted[row].to_quaternion() @ _AXES[1]
                    lacking = twist_about(wanted[row].to_quaternion() @ bones[self.rig.names[row]].matrix.to_quaternion().inverted(), axis)
                    self._change(_Freedom(control, "turn", _AXES[1]), lacking, 1.0)

    def _residuals(self, wanted: list[Matrix]) -> list[np.ndarray]:
        """For each limb (its chain, 6) what its bones lack: radians and shares of the limb's length."""
        bones = evaluated_bones(self.armature)
        found = []
        for limb, length in zip(self.limbs, self.lengths, strict=True):
            parts = []
            for row in limb.chain:
                stands = bones[self.rig.names[row]].matrix
                turn = stands.to_quaternion() @ wanted[row].to_quaternion().inverted()
                parts += [*(turn if turn.w >= 0 else -turn).to_exponential_map(), *((stands.to_translation() - wanted[row].to_translation()) / length)]
            found.append(np.array(parts))
        return found

    def _left(self, index: int, residuals: np.ndarray) -> float:
        """How far a limb is off at its worst bone, 1 where that is good enough."""
        parts = residuals.reshape(-1, 2, 3)
        angle, apart = np.linalg.norm(parts, axis=2).max(0)
        return float(max(np.degrees(angle) / _GOOD[0], apart * self.lengths[index] / self.rig.size / _GOOD[1]))

    def _refine(self, wanted: list[Matrix], limbs: list[int]) -> dict[int, float]:
        """Bring limbs to where they are wanted, by what the controls did the last time, and where that does not do, by what they do now."""
        rest = self._residuals(wanted)
        for measured in range((_MEASURED if self.twists else 1) + 1):
            going = {index for index in limbs if self._left(index, rest[index]) > 1}
            if not going:
                break
            if measured or self.effects is None:
                self.effects = self._measure(wanted, rest)
            rest = self._approach(wanted, rest, going)
        return {index: self._left(index, rest[index]) for index in limbs}

    def _measure(self, wanted: list[Matrix], rest: list[np.ndarray]) -> list[np.ndarray]:
        """For each limb what each of its freedoms does to its residuals; those of different limbs do not get into each other's way."""
        effects = [np.zeros((len(each), len(freedoms))) for each, freedoms in zip(rest, self.freedoms, strict=True)]
        for column in range(max(len(freedoms) for freedoms in self.freedoms)):
            asked = [(freedoms[column], length) for freedoms, length in zip(self.freedoms, self.lengths, strict=True) if column < len(freedoms)]
            before = [(self.armature.pose.bones[freedom.control], self.armature.pose.bones[freedom.control].matrix_basis.copy()) for freedom, _ in asked]
            for freedom, length in asked:
                self._change(freedom, _NUDGE, length)
            for index, now in enumerate(self._residuals(wanted)):
                if column < len(self.freedoms[index]):
                    effects[index][:, column] = (now - rest[index]) / _NUDGE
            for bone, basis in before:
                bone.matrix_basis = basis
        return effects

    def _approach(self, wanted: list[Matrix], rest: list[np.ndarray], going: set[int]) -> list[np.ndarray]:
        """Step towards what is wanted, each limb for as long as that brings it well nearer; returns what is left then."""
        assert self.effects is not None
        rest, share = list(rest), np.ones(len(self.limbs))
        for _ in range(_STEPS):
            before = {name: self.armature.pose.bones[name].matrix_basis.copy() for index in going for name in self.owned[index]}
            for index in going:
                effect = self.effects[index]
                step = -np.linalg.solve(effect.T @ effect + _DAMPING**2 * np.eye(effect.shape[1]), effect.T @ rest[index])
                step *= share[index] * min(1.0, _LARGEST / max(np.abs(step).max(), 1e-9))
                for freedom, amount in zip(self.freedoms[index], step, strict=True):
                    self._change(freedom, float(amount), self.lengths[index])
            now = self._residuals(wanted)
            for index in sorted(going):
                gain = np.linalg.norm(now[index]) / np.linalg.norm(rest[index])
                if gain < 1:
                    rest[index] = now[index]
                else:
                    for name in self.owned[index]:
                        self.armature.pose.bones[name].matrix_basis = before[name]
                    share[index] /= 4
                if 0.8 < gain < 1 or self._left(index, rest[index]) <= 1:
                    going = going - {index}
            if not going:
                break
        return rest

    def _change(self, freedom: _Freedom, amount: float, length: float) -> None:
        bone = self.armature.pose.bones[freedom.control]
        place, turn, size = bone.matrix_basis.decompose()
        if freedom.kind == "turn":
            turn = turn @ Quaternion(freedom.axis, amount)
        elif freedom.kind == "move":
            place = place + freedom.axis * amount * length
        else:
            size = Vector([min(max(size.x * (1 + amount), _SIZES[0]), _SIZES[1])] * 3)
        bone.matrix_basis = Matrix.LocRotScale(place, turn, size)
