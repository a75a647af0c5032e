"""Where the rig stands in a frame of which no aligned reference says it: what a capture from rendered references starts from.

The network tells where the subject is and what its outline is, but of points seen from another side it finds too few. So poses that such a rig takes
are laid over the outline, in any heading and at any distance (outline_search.py), and the likeliest are fitted to it as a frame is in a fit, by
the outline alone, since the rig's materials need not be the subject's. The pose whose drawing then agrees best becomes an aligned reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from .assemble import Track
from .body_points import Body, Crop
from .camera import Camera
from .fit_problem import Before, Posed, Problem, Stage
from .fit_settings import FitSettings
from .habits import Habits
from .likeness import Likeness
from .outline_search import Poses, known_poses, laid_over
from .reference import Reference
from .rig import Rig
from .surface import Shot, Surface
from .video import Clip

_FRAMES = 5  # spread over the clip, that are tried
_TRIED = 8  # poses that are fitted to each
_STAGES = (Stage(4, 4.0), Stage(4, 2.0), Stage(3, 1.0))
_LEAST = 0.01  # of the window, that the subject covers at least
_FREE = 1e-6  # how firmly the pose that is tried holds bones, against what is usual


def find_start(rig: Rig, body: Body, track: Track, habits: Habits, clip: Clip, first: int) -> Iterator[Reference | None]:
    """An aligned reference of the frame of a rendered one's track in which a pose is found that looks most like the subject; None after each pose that was
    tried, and alone where nothing of it shows. first: the clip's frame that is the track's first."""
    if rig.mesh is None:
        return
    rows = np.unique(np.linspace(0, len(track.times) - 1, _FRAMES + 2).round().astype(int)[1:-1])
    here = track.part(rows)
    problem = Problem(rig, body, here, habits, FitSettings())
    problem.surface = Surface(rig, problem.chain, track.reference.pose)
    problem.likeness = Likeness(problem.surface)
    poses = known_poses(problem, problem.surface)
    best: tuple[float, Reference] | None = None
    for k, row in enumerate(rows):
        camera = here.camera if here.camera.from_armature.ndim == 2 else here.camera.at(k)
        time = float(clip.times[first + row])
        image = clip.frame_at(time)
        assert here.mask is not None
        problem.likeness.observe(Shot(image, None, 1.0, here.mask[k], here.crop.at(k)), camera)
        for cost, pose in _in_frame(problem, poses, k, here.crop.at(k), camera, np.asarray(habits.up)):
            if np.isfinite(cost) and (best is None or cost < best[0]):
                best = cost, Reference(image, camera, pose, time)
            yield None
    if best is not None:
        yield best[1]


def _in_frame(problem: Problem, poses: Poses, row: int, window: Crop, camera: Camera, up: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """How unlikely each of the likeliest poses is, fitted to the frame that is looked at, and the pose (J, 4, 4)."""
    likeness, rig = problem.likeness, problem.chain.rig
    assert likeness is not None
    if likeness.outline.mean() < _LEAST:
        return
    laid = laid_over(poses, likeness.outline, window, camera, up, _TRIED)
    for angles, from_armature in zip(laid.angles, laid.from_armature, strict=True):
        likeness.camera = replace(camera, from_armature=from_armature)
        problem.stand_before(likeness.camera)
        cost, (rotations, heads) = _fitted(problem, likeness, torch.from_numpy(angles)[None], slice(row, row + 1))
        pose = np.tile(np.eye(4), (len(rig), 1, 1))
        pose[:, :3, :3], pose[:, :3, 3] = rotations[0].numpy() @ problem.surface.stretch, heads[0].numpy() * rig.size
        yield cost, np.linalg.inv(camera.from_armature) @ from_armature @ pose


def _fitted(problem: Problem, likeness: Likeness, angles: torch.Tensor, part: slice) -> tuple[float, Posed]:
    """How unlikely the one frame of a part and a pose are, in logarithms, once the pose, from angles (1, A, 3) on, has been fitted to it; and the pose."""
    settings, state = problem.settings, problem.start()
    state.angles[part] = angles
    posed = problem.pose(state, part)
    nothing = torch.zeros(3 * angles.shape[1], dtype=torch.float64)
    free = _FREE * torch.eye(len(nothing), dtype=torch.float64)
    before = Before(angles, state.shift[part].clone(), torch.ones(1, dtype=torch.float64), free, nothing, problem.firmness)
    for stage in _STAGES:
        goal, sure = problem.look(posed, part)
        posed = problem.settle(state, part, posed, ((goal, settings.heard * sure), None), before, stage)
    since = state.angles[part].flatten()
    unlikely = float(since @ problem.firmness @ since) / 2
    return unlikely + sum(likeness.cost(posed[0][0].numpy(), posed[1][0].numpy(), blur) for blur in (1.0, 2.0)), posed
