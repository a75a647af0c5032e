"""Controls that turn the same bones put together: what each does is measured, as Blender evaluates it, and inverted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..backend.rig import Rig
from .control_probe import evaluated_bones

AXES = tuple(Vector(axis) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
_STEPS = 6  # steps with what was measured once
_NUDGE = 0.01  # radians, and share of the group's length
_DAMPING = 0.01  # what has less effect than this, as the plane of a straight limb's bend, is left alone
_LARGEST = 0.4  # step, radians and share of the group's length
_SIZES = (0.7, 1.4)  # of what may change in size
_GOOD = (0.05, 5e-5)  # degrees, and share of the size: nearer than this a frame is done
ENOUGH = 5.0  # times that, with which no other way is looked for
_GAIN = 0.8  # what is left of what was, at most, for a step to be worth another
_STUCK = 0.98  # the same for a measurement


@dataclass(frozen=True)
class Freedom:
    """One way to change a control: it turns or moves along an axis of its own, or changes in size."""

    control: str
    kind: str
    axis: Vector


@dataclass(frozen=True, eq=False)
class Group:
    """Deform bones (rows of the rig) and what brings them to where they are wanted.

    length: what a move of 1 means. places: how much it counts where bones are, against how they are turned, where not both can be had.
    """

    rows: tuple[int, ...]
    freedoms: tuple[Freedom, ...]
    length: float
    places: float = 1.0

    @property
    def controls(self) -> list[str]:
        """All that is changed, each once."""
        return sorted({freedom.control for freedom in self.freedoms})


def change(armature: bpy.types.Object, freedom: Freedom, amount: float, length: float = 1.0) -> None:
    """Change a control by radians, a share of `length`, or a share of its size."""
    bone = armature.pose.bones[freedom.control]
    place, turn, size = bone.matrix_basis.decompose()
    if freedom.kind == "turn":
        turn = turn @ Quaternion(freedom.axis, amount)
    elif freedom.kind == "move":
        place = place + freedom.axis * amount * length
    else:
        size = Vector([min(max(size.x * (1 + amount), _SIZES[0]), _SIZES[1])] * 3)
    bone.matrix_basis = Matrix.LocRotScale(place, turn, size)


def group_length(rig: Rig, rows: Sequence[int]) -> float:
    """How far a group's bones reach from the first at rest, in the rig's units."""
    heads = rig.rest[list(rows), :3, 3]
    return max(float(np.linalg.norm(heads - heads[0], axis=1).max()), 1e-2 * rig.size)


class EffectSolver:
    """Brings groups of deform bones to where they are wanted while all other controls stand as they are.

    Groups that are solved at once must not get into each other's way.
    """

    def __init__(self, armature: bpy.types.Object, rig: Rig, groups: Sequence[Group]) -> None:
        self.armature, self.rig, self.groups = armature, rig, list(groups)
        self.effects: list[np.ndarray | None] = [None] * len(groups)

    def refine(self, wanted: Sequence[Matrix], among: Collection[int], measures: int = 3) -> dict[int, float]:
        """Bring these groups nearer by what their controls did the last time, and where that does not do, by what they do now.

        measures: how often that may be measured, an evaluation for each freedom.
        Returns how far each is off at its worst bone, 1 where that is good enough. It ends where another measurement would gain little.
        """
        rest, stuck = self.residuals(wanted), set[int]()
        for measured in range(measures + 1):
            going = {index for index in among if self.left(index, rest[index]) > 1} - stuck
            if not going:
                break
            fresh = {index for index in going if measured or self.effects[index] is None}
            for index, effect in self.measure(wanted, fresh).items():
                self.effects[index] = effect
            before = {index: np.linalg.norm(rest[index]) for index in fresh}
            rest = self._approach(wanted, rest, going)
            stuck |= {index for index in fresh if np.linalg.norm(rest[index]) > _STUCK * before[index]}
        return {index: self.left(index, rest[index]) for index in among}

    def residuals(self, wanted: Sequence[Matrix]) -> list[np.ndarray]:
        """For each group (its rows * 6,) what its bones lack: radians and weighted shares of its length, along axes of the bone as wanted."""
        # along its own axes a lack looks alike wherever the body faces, so effects hold from frame to frame
        bones = evaluated_bones(self.armature)
        found = []
        for group in self.groups:
            parts: list[float] = []
            for row in group.rows:
                stands, back = bones[self.rig.names[row]].matrix, wanted[row].to_quaternion().inverted()
                turn = back @ stands.to_quaternion()
                parts += [*(turn if turn.w >= 0 else -turn).to_exponential_map()]
                parts += [*(back @ (stands.to_translation() - wanted[row].to_translation()) * (group.places / group.length))]
            found.append(np.array(parts))
        return found

    def left(self, index: int, residuals: np.ndarray) -> float:
        """How far a group is off at its worst bone, 1 where that is good enough."""
        group = self.groups[index]
        angle, apart = np.linalg.norm(residuals.reshape(-1, 2, 3), axis=2).max(0)
        return float(max(np.degrees(angle) / _GOOD[0], apart * group.length / group.places / self.rig.size / _GOOD[1]))

    def measure(self, wanted: Sequence[Matrix], among: Collection[int]) -> dict[int, np.ndarray]:
        """What each freedom of these groups does to the group's residuals: a column each, per radian or share."""
        rest = self.residuals(wanted) if among else []
        found = {index: np.zeros((len(rest[index]), len(self.groups[index].freedoms))) for index in among}
        for column in range(max((effect.shape[1] for effect in found.values()), default=0)):
            asked = [index for index in found if column < found[index].shape[1]]
            before = {}
            for index in asked:
                freedom = self.groups[index].freedoms[column]
                before[freedom.control] = self.armature.pose.bones[freedom.control].matrix_basis.copy()
                change(self.armature, freedom, _NUDGE, self.groups[index].length)
            now = self.residuals(wanted)
            for index in asked:
                found[index][:, column] = (now[index] - rest[index]) / _NUDGE
            put_back(self.armature, before)
        return found

    def _approach(self, wanted: Sequence[Matrix], rest: Sequence[np.ndarray], going: set[int]) -> list[np.ndarray]:
        """Step towards what is wanted, each group for as long as that brings it well nearer; returns what is left then."""
        rest, share = list(rest), np.ones(len(self.groups))
        for _ in range(_STEPS):
            before = bases(self.armature, [name for index in going for name in self.groups[index].controls])
            steps = {index: self._step(index, rest[index], float(share[index])) for index in going}
            now = self.residuals(wanted)
            for index, step in steps.items():
                gain = np.linalg.norm(now[index]) / np.linalg.norm(rest[index])
                if gain < 1:
                    effect = self.effects[index]
                    assert effect is not None
                    # what the step did tells more of the effects for nothing (Broyden)
                    self.effects[index] = effect + np.outer(now[index] - rest[index] - effect @ step, step) / max(step @ step, 1e-12)
                    rest[index] = now[index]
                else:
                    put_back(self.armature, {name: before[name] for name in self.groups[index].controls})
                    share[index] /= 4
                if _GAIN < gain < 1 or self.left(index, rest[index]) <= 1:
                    going = going - {index}
            if not going:
                break
        return rest

    def _step(self, index: int, residuals: np.ndarray, share: float) -> np.ndarray:
        """Change a group's controls by a share of what should bring it to where it is wanted; returns by how much."""
        group, effect = self.groups[index], self.effects[index]
        assert effect is not None
        step = -np.linalg.solve(effect.T @ effect + _DAMPING**2 * np.eye(effect.shape[1]), effect.T @ residuals)
        step *= share * min(1.0, _LARGEST / max(np.abs(step).max(), 1e-9))
        for freedom, amount in zip(group.freedoms, step, strict=True):
            change(self.armature, freedom, float(amount), group.length)
        return np.asarray(step)


def bases(armature: bpy.types.Object, names: Collection[str]) -> dict[str, Matrix]:
    """Where keys have these controls now."""
    return {name: armature.pose.bones[name].matrix_basis.copy() for name in names}


def put_back(armature: bpy.types.Object, before: dict[str, Matrix]) -> None:
    """Have controls where `bases` had them."""
    for name, basis in before.items():
        armature.pose.bones[name].matrix_basis = basis
