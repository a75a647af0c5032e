"""Rotations that put the posed rig's points onto where the video shows them: what the network found, made poses by geometry.

What the network finds in the picture is more exact than the turns that it answers, which add nothing to it, and of legs that look alike it often takes
the wrong one. So all places where it sees each point are data: a frame's cost, minimised by damped Gauss-Newton steps, is

    sum over points  w rho(|project(x(e)) - place|^2 / noise^2)     in crop units, rho Cauchy's
  + e^T since^-1 e                                                  as far, and about such axes, as bones of such a body usually turn
  + d^T (pace dt^2 + unsure)^-1 d                                   d from the frame before, with the speed then: as fast as they usually do

over axis-angles e of all bones against their carriers since the reference and one translation, as in an extended Kalman filter: `unsure` is the
covariance of the frame before's. What is usual a network tells from the rig and, where there are any, its own actions and those of bodies like it
(habits.py). The place is the mean of a point's places, each by its chance and by how near it is to where the pose so far puts the point (expectation
maximisation); a point with none near weighs nothing. The fit starts at the reference and goes outward frame by frame: of two like legs the one is
taken that moves there. Points of the skin are data as well, where optical flow has carried them. Then the rig is drawn as it stands and compared
with the frame (likeness.py), first blurred, and then sharply. In the end all bones together are smoothed by what later frames found (smoother.py),
and each, and where the whole stands, is steadied over time by what each frame knew of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .assemble import Track
from .body_points import Body
from .fit_problem import Problem, Stage, State
from .fit_settings import FitSettings
from .habits import Habits
from .ik_chain import Chain
from .rig import Rig
from .smoother import Smoother
from .steady import steady
from .surface import Shot

_CHUNK = 64  # frames posed at once
_LEAST_GAP = 1e-3  # seconds
_POINTS = Stage(3)  # by points alone
_GLANCE = Stage(1)  # by points, where the picture is compared afterwards
_STAGES = (Stage(3, 2.0), Stage(3, 1.0))  # by both, coarse to fine


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit knows in the end of a track of a body on a chain: turn (T, A, 3) axis-angles in the carriers' axes, and how surely these are known,
    information (T, A, 3, 3)."""

    body: Body
    track: Track
    chain: Chain
    turn: Tensor
    information: Tensor


Settle = Callable[[Fitted], Tensor]  # to the turns (T, A, 3) to take


def fit(
    rig: Rig, body: Body, track: Track, habits: Habits, seed: int, settings: FitSettings | None = None, compare: bool = True,
    pictures: Iterator[np.ndarray] | None = None, scale: float = 1.0, settle: Settle | None = None,
) -> Generator[float, None, Track]:
    """The track, whose reference must be aligned and of its frame `seed`, with fitted turns; yields the share done.

    habits: tell how the rig's bones usually turn.
    pictures: shrunk by `scale`, in the order of the fit: from the reference's to the last, then from the one before it back to the first; without
    them the skin is not looked at. compare: the drawn rig with them. settle: takes part in an experiment, and says what turns to take.
    """
    settings = settings or FitSettings()
    problem = Problem(rig, body, track, habits, settings)
    if pictures is not None:
        problem.watch(rig, track, compare)
    state = problem.start()
    try:
        yield from _outward(problem, state, seed, pictures if problem.tracks is not None else None, scale)
    finally:
        problem.close()
    state.angles = steady(problem.times, state.angles, problem.known, seed, settings.surge)
    state.shift = steady(problem.times, state.shift[:, None], problem.placed[:, None], seed, settings.rush)[:, 0]
    if settle is not None:
        state.angles = settle(Fitted(body, track, problem.chain, state.angles, problem.known / settings.doubtful))
    parts = [slice(k, k + _CHUNK) for k in range(0, len(track.times), _CHUNK)]
    turn = np.concatenate([track.part(part).turns(body, problem.pose(state, part)[0].numpy()[:, body.bones]) for part in parts])
    return replace(track, turn=turn, shift=state.shift.numpy() * rig.size)


def _outward(problem: Problem, state: State, seed: int, pictures: Iterator[np.ndarray] | None, scale: float) -> Iterator[float]:
    """From the reference's frame to either end of the stretch, each frame from the pose before it."""
    frames, settings, done = len(state.angles), problem.settings, 0
    first: Shot | None = None  # the reference's frame, from which both ways start
    for path in (range(seed, frames), range(seed - 1, -1, -1)):
        shots = problem.shots(path, pictures, scale)
        problem.forget()
        smoother = Smoother(state.angles)
        if first is not None:
            problem.remember(problem.pose(state, slice(seed, seed + 1)), slice(seed, seed + 1), first)
        angles, shift = torch.zeros_like(state.angles[:1]), torch.zeros_like(state.shift[:1])
        speed, before = torch.zeros_like(angles), seed
        for frame in path:
            part = slice(frame, frame + 1)
            gap = (problem.times[part] - problem.times[before]).abs().clamp(min=_LEAST_GAP)
            expected = angles + settings.onward * speed * gap
            state.angles[part], state.shift[part] = expected, shift
            shot = next(shots, None)
            first = shot if first is None else first
            unsure, before_it = problem.unsure, problem.before(expected, shift, gap)
            posed = problem.pose(state, part)
            comparing = shot is not None and problem.likeness is not None and frame != seed
            for _ in range(settings.looks):
                goal = problem.look(posed, part)
                seen = None if shot is None else problem.follow(posed, part, shot)
                posed = problem.settle(state, part, posed, (goal, seen), before_it, _GLANCE if comparing else _POINTS)
            if shot is not None and comparing:
                problem.observe(part, shot)
                for stage in _STAGES:
                    posed = problem.settle(state, part, posed, ((goal[0], settings.heard * goal[1]), seen), before_it, stage)
            problem.know(state, part, before_it)
            if unsure is not None and before != seed:
                smoother.add(before, frame, expected[0], unsure @ before_it.hold)
            if shot is not None:
                problem.remember(posed, part, shot)
            if frame != before:
                speed = (state.angles[part] - angles) / gap
            angles, shift, before, done = state.angles[part].clone(), state.shift[part].clone(), frame, done + 1
            yield done / frames
        smoother.finish()
