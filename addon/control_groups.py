"""Controls of which several turn the same deform bones, as of spines, gathered so that they are put together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from .control_effects import AXES, EffectSolver, Freedom, Group, bases, group_length, put_back
from .control_plan import ControlPlan
from .control_probe import evaluated_bones

_PROBE = 0.1  # radians
_STILL = 0.02  # share of that by which a bone may turn against its carrier and still count as carried along
_PLACES = 0.1  # a spine that is stretched is followed in direction, not in length
_OWN = 0.05  # share of a control's effect that the others together do not have, for it to be asked as well


class GroupFinder:
    """Gathers what turns bones that controls put one after another do not bring to where they are wanted."""

    def __init__(self, armature: bpy.types.Object, plan: ControlPlan, controls: Collection[str]) -> None:
        """controls: those that may be put."""
        self.armature, self.plan, self.rig = armature, plan, plan.rig
        self.assigned = {row: {of[row] for of in (plan.moves, plan.turns, plan.twists) if row in of} for row in range(len(plan.rig))}
        self.acts = _acting(armature, plan, [name for name in plan.controls if name in controls])
        in_order = [*plan.moves.values(), *(plan.turns[row] for row in plan.rig.carrier_order if row in plan.turns), *plan.twists.values()]
        self.rank = {name: (in_order.index(name) if name in in_order else len(in_order), -int(rows.sum()), name) for name, rows in self.acts.items()}

    def gather(self, hard: Collection[int], wanted: Sequence[Matrix]) -> EffectSolver:
        """Groups of all that turns hard rows, with what their controls do in the present pose; rows that nothing turns are in none."""
        found = [self._around({row}) for row in sorted(hard)]
        parts: list[tuple[set[int], set[str]]] = []
        for rows, controls in found:
            for other in [part for part in parts if part[1] & controls or part[0] & rows]:
                rows, controls = rows | other[0], controls | other[1]
                parts.remove(other)
            if controls:
                parts.append((rows, controls))
        groups = [Group(tuple(sorted(rows)), tuple(self._freedoms(controls)), group_length(self.rig, sorted(rows)), _PLACES) for rows, controls in parts]
        whole = EffectSolver(self.armature, self.rig, groups)
        solver = EffectSolver(self.armature, self.rig, groups)
        for index, group in enumerate(groups):
            # one by one: what carries one group would show in what is measured of another
            effect = whole.measure(wanted, [index])[index]
            chosen = _independent(effect)
            solver.groups[index] = Group(group.rows, tuple(group.freedoms[n] for n in chosen), group.length, group.places)
            solver.effects[index] = effect[:, chosen]
        return solver

    def _around(self, rows: set[int]) -> tuple[set[int], set[str]]:
        """All rows and controls that have to do with these: what turns a row, and what that turns besides, unless something else sees to it."""
        controls: set[str] = set()
        while True:
            grown = {name for name, acted in self.acts.items() if any(acted[row] for row in rows)}
            reached = {row for row in range(len(self.rig)) if any(self.acts[name][row] for name in grown)}
            wider = rows | {row for row in reached if not self.assigned[row] or self.assigned[row] & grown}
            if (wider, grown) == (rows, controls):
                return rows, controls
            rows, controls = wider, grown

    def _freedoms(self, controls: Collection[str]) -> Iterator[Freedom]:
        """All ways to change these, the ones that the plan goes by first."""
        for name in sorted(controls, key=lambda name: self.rank[name]):
            bone = self.armature.pose.bones[name]
            if name in self.plan.moves.values():
                yield from (Freedom(name, "move", axis) for axis, locked in zip(AXES, bone.lock_location, strict=True) if not locked)
            yield from (Freedom(name, "turn", axis) for axis, locked in zip(AXES, bone.lock_rotation, strict=True) if not locked)


def _acting(armature: bpy.types.Object, plan: ControlPlan, controls: Sequence[str]) -> dict[str, np.ndarray]:
    """(J,) for each control which deform bones it turns, other than by what carries them."""
    rig = plan.rig

    def turns() -> tuple[list[Quaternion], list[Quaternion]]:
        bones = evaluated_bones(armature)
        stand = [bones[name].matrix.to_quaternion() for name in rig.names]
        return stand, [stand[carrier].inverted() @ turn if carrier >= 0 else turn for turn, carrier in zip(stand, rig.carriers, strict=True)]

    before, found = turns(), {}
    for name in controls:
        basis = bases(armature, [name])
        armature.pose.bones[name].matrix_basis = basis[name] @ Quaternion((0.48, 0.6, 0.64), _PROBE).to_matrix().to_4x4()
        angles = [[one.rotation_difference(two).to_exponential_map().length for one, two in zip(then, now, strict=True)]
                  for then, now in zip(before, turns(), strict=True)]  # fmt: skip
        # what stays as it is while its carrier turns is not acted upon, as a tail that the body does not turn
        found[name] = (np.array(angles) > _STILL * _PROBE).all(0)
        put_back(armature, basis)
        if name in plan.moves.values():
            # it turns all that rides on the body, and that is not what it is there for
            found[name] &= np.array([plan.moves.get(row) == name for row in range(len(rig))])
    return found


def _independent(effect: np.ndarray) -> list[int]:
    """Columns that do something that those before them do not."""
    chosen: list[int] = []
    basis = np.zeros((len(effect), 0))
    for column in range(effect.shape[1]):
        own = effect[:, column] - basis @ (basis.T @ effect[:, column])
        much = float(np.linalg.norm(own))
        if much > _OWN * max(1.0, float(np.linalg.norm(effect[:, column]))):
            chosen.append(column)
            basis = np.column_stack([basis, own / much])
    return chosen
