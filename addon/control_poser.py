"""A motion's frames on the controls of a rig, first under FK, then for limbs that are to play by IK under that, one step a frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ..backend.motion import Motion
from ..backend.progress import Progress
from .control_ik import LimbSolver
from .control_limbs import Limb
from .control_placing import Place
from .control_plan import Chain, ControlPlan
from .control_probe import FK, IK, posing, set_switches
from .control_solver import ControlSolver


@dataclass(frozen=True)
class Fit:
    """How far deform bones stand from what was captured.

    degrees, distance: the largest angle, and the largest distance as a share of the size, over bones and frames. bone: the one with that
    angle. released: bones whose IK could not hold the pose and was keyed off. other: degrees and distance when limbs that play by IK are
    switched over to FK, None where none do.
    """

    degrees: float
    distance: float
    bone: str
    released: tuple[str, ...] = ()
    other: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class PosedControls:
    """Where controls stand on each frame: `located` ones are moved, `turned` ones turned, `sized` ones scaled. constants: (bone, property, value)
    that go with that. fit: how well deform bones stand then."""

    tracks: Mapping[str, Sequence[Place]]
    located: frozenset[str]
    turned: frozenset[str]
    sized: frozenset[str]
    constants: tuple[tuple[str, str, float], ...]
    fit: Fit


def pose_controls(armature: bpy.types.Object, plan: ControlPlan, motion: Motion, *, limbs: str = "FK") -> Generator[Progress, None, PosedControls]:
    """Find where controls have to stand for a motion of the plan's rig; a step for every frame, since Blender poses the rig often for each.

    limbs: whether limbs that can be switched play by "FK", whose controls alone are put then, or by "IK", with the controls of both put.
    However it ends, the armature is as it was.
    """
    poses = [_pose(motion, index) for index in range(len(motion))]
    by_ik = plan.limbs if limbs == "IK" else ()
    share = 1 / 3 if by_ik else 1.0
    with posing(armature):
        limb_solver = None
        if by_ik:
            # while it stands as the artist left it: how a pole stands to its limb is seen there
            set_switches(armature, _switched(plan, IK))
            limb_solver = LimbSolver(armature, plan.rig, by_ik)
        set_switches(armature, _switched(plan, FK))
        solver = ControlSolver(armature, plan)
        yield from _run(poses, solver.put, 0.0, share)
        released = tuple(chain for chain in plan.chains if not solver.holds(chain))
        if released:
            # the chain cannot stand so by IK: locked axes, a shared pole, or out of reach; its own keys can
            for chain in released:
                armature.pose.bones[chain.owner].constraints[chain.constraint].influence = 0.0
            solver = ControlSolver(armature, plan)
            yield from _run(poses, solver.put, 0.0, share)
        if limb_solver is None:
            return _posed(plan, [solver], released)
        set_switches(armature, _switched(plan, IK))
        yield from _run(poses, lambda pose: _put_limbs(armature, solver, limb_solver, pose), share, share)
        # what limbs under IK need of the controls that both share is what FK has to do with
        held = [limb for limb in plan.limbs if limb_solver.holds(limb)]
        if not held:
            return _posed(plan, [solver], released, limb_solver)
        fixed = {name: track for name, track in solver.tracks.items() if name not in {name for limb in held for name in limb.fk}}
        fixed |= {name: limb_solver.tracks[name] for limb in held for name in limb.twists.values()}
        set_switches(armature, _switched(plan, FK))
        over = ControlSolver(armature, plan, fixed)
        yield from _run(poses, over.put, 2 * share, share)
        return _posed(plan, [solver, over], released, limb_solver, held)


def _switched(plan: ControlPlan, value: float) -> dict[tuple[str, str], float]:
    """All switches at FK, but for those of limbs."""
    return dict.fromkeys(plan.switches, FK) | {limb.switch: value for limb in plan.limbs}


def _run(poses: list[list[Matrix]], put: Callable[[list[Matrix]], object], before: float, share: float) -> Generator[Progress, None, None]:
    for index, pose in enumerate(poses):
        put(pose)
        yield Progress("Posing the controls", min(before + share * (index + 1) / len(poses), 1.0), index + 1, len(poses))


def _put_limbs(armature: bpy.types.Object, solver: ControlSolver, limb_solver: LimbSolver, pose: list[Matrix]) -> None:
    for name, track in solver.tracks.items():
        armature.pose.bones[name].matrix_basis = Matrix.LocRotScale(*track[limb_solver.frames])
    limb_solver.put(pose)


def _posed(
    plan: ControlPlan, solvers: Sequence[ControlSolver], released: tuple[Chain, ...], limb_solver: LimbSolver | None = None, held: Sequence[Limb] = (),
) -> PosedControls:  # fmt: skip
    """All that is keyed, as the last of the solvers has it. held: limbs that play by IK."""
    solver, beyond = solvers[-1], []
    tracks, off, other = {**solver.held, **solver.tracks}, solver.worst.copy(), None
    located, turned, sized = {name for each in solvers for name in each.moved}, {name for each in solvers for name in each.turned}, set[str]()
    if limb_solver is not None:
        # of limbs that play by IK what they share with FK is with the solver's already; for the others it stays as FK has it
        shared = {name for limb in plan.limbs for name in limb.twists.values()}
        tracks |= {name: track for name, track in limb_solver.tracks.items() if name not in shared}
        located, turned, sized = located | limb_solver.moved, (turned | limb_solver.turned) & set(tracks), limb_solver.sized
        beyond = [limb.switch[0] for limb in plan.limbs if limb not in held]
        if by_ik := [row for limb in held for row in limb.rows]:
            off[:, by_ik] = limb_solver.worst[:, by_ik]
            other = (float(solver.worst[0, by_ik].max()), float(solver.worst[1, by_ik].max()))
    switches = {limb.switch for limb in held}
    constants = [(chain.owner, f'constraints["{bpy.utils.escape_identifier(chain.constraint)}"].influence', 0.0) for chain in released]
    constants += [(bone, f'["{key}"]', IK if (bone, key) in switches else FK) for bone, key in plan.switches]
    row = int(off[0].argmax())
    fit = Fit(float(off[0, row]), float(off[1].max()), plan.rig.names[row], (*(chain.owner for chain in released), *beyond), other)
    return PosedControls(tracks, frozenset(located), frozenset(turned), frozenset(sized), tuple(constants), fit)


def _pose(motion: Motion, index: int) -> list[Matrix]:
    poses = np.tile(np.eye(4), (motion.heads.shape[1], 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = motion.rotations[index], motion.heads[index]
    return [Matrix(pose) for pose in poses]
