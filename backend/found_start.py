"""Where the rig stands in a frame of which no aligned reference says it: what a capture from rendered references starts from.

The network tells where the subject is and what its outline is, but of points seen from another side it finds too few. So poses that such a rig takes
are laid over the outline, in any heading and at any distance (outline_search.py), and the likeliest are fitted to it as a frame is in a fit, by
the outline alone, since the rig's materials need not be the subject's. The pose whose drawing then agrees best becomes an aligned reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch

from .assemble import Track
from .body_points import Body, Crop
from .crop import crop_square
from .fit_problem import Before, Posed, Problem, Stage
from .fit_settings import FitSettings
from .habits import Habits
from .kinematics import bone_rotations
from .likeness import Likeness
from .outline_search import laid_over
from .reference import Reference
from .rig import Rig
from .segmentation import sharpened
from .surface import Shot, Surface
from .video import Clip

_FRAMES = 5  # spread over the clip, that are tried
_TRIED = 8  # poses that are fitted to each
_STAGES = (Stage(4, 4.0), Stage(4, 2.0), Stage(3, 1.0))
_FINE = 128  # pixels, in which the mask is sharpened
_LEAST = 0.01  # of the window, that the subject covers at least
_FREE = 1e-6  # how firmly the pose that is tried holds bones, against what is usual


def find_start(rig: Rig, body: Body, track: Track, habits: Habits, clip: Clip, first: int) -> Iterator[Reference | None]:
    """An aligned reference of the frame of a rendered one's track in which a pose is found that looks most like the subject; None after each pose that was
    tried, and alone where nothing of it shows. first: the clip's frame that is the track's first."""
    best: tuple[float, Reference] | None = None
    for row in np.unique(np.linspace(0, len(track.times) - 1, _FRAMES + 2).round().astype(int)[1:-1]):
        for found in _in_frame(rig, body, track, habits, clip, first, int(row)):
            if best is None or found[0] < best[0]:
                best = found
            yield None
    if best is not None:
        yield best[1]


def _in_frame(rig: Rig, body: Body, track: Track, habits: Habits, clip: Clip, first: int, row: int) -> Iterator[tuple[float, Reference]]:
    """Poses fitted to one frame, and how unlikely each is."""
    here = track.part(slice(row, row + 1))
    camera = here.camera if here.camera.from_armature.ndim == 2 else here.camera.at(0)
    time = float(clip.times[first + row])
    image = clip.frame_at(time)
    assert here.mask is not None
    shot = Shot(image, None, 1.0, here.mask[0], here.crop.at(0))
    mask = _outline(shot)
    if rig.mesh is None or mask.mean() < _LEAST:
        return
    problem = Problem(rig, body, here, habits, FitSettings())
    problem.surface = Surface(rig, problem.chain, track.reference.pose)
    problem.likeness = Likeness(problem.surface)
    stretch = np.swapaxes(bone_rotations(track.reference.pose), -1, -2) @ track.reference.pose[:, :3, :3]
    laid = laid_over(problem, problem.surface, mask, shot.window, camera, np.asarray(habits.up), _TRIED)
    for angles, from_armature in zip(laid.angles, laid.from_armature, strict=True):
        problem.stand_before(replace(camera, from_armature=from_armature))
        cost, (rotations, heads) = _fitted(problem, torch.from_numpy(angles)[None], shot)
        if np.isfinite(cost):
            pose = np.tile(np.eye(4), (len(rig), 1, 1))
            pose[:, :3, :3], pose[:, :3, 3] = rotations[0].numpy() @ stretch, heads[0].numpy() * rig.size
            yield cost, Reference(image, camera, np.linalg.inv(camera.from_armature) @ from_armature @ pose, time)


def _outline(shot: Shot) -> np.ndarray:
    """(S, S) float32 0..1 where the subject is in a shot's window."""
    window: Crop = shot.window
    fine = crop_square(shot.image, window.center, float(window.side), _FINE).permute(1, 2, 0).numpy()
    return sharpened(fine, cv2.resize(shot.mask, (_FINE, _FINE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255)


def _fitted(problem: Problem, angles: torch.Tensor, shot: Shot) -> tuple[float, Posed]:
    """How unlikely the frame and a pose are, in logarithms, once the pose, from angles (1, A, 3) on, has been fitted to it; and the pose."""
    part, settings, likeness = slice(0, 1), problem.settings, problem.likeness
    assert likeness is not None
    state = problem.start()
    state.angles[part] = angles
    posed = problem.pose(state, part)
    problem.observe(part, shot)
    nothing = torch.zeros(3 * angles.shape[1], dtype=torch.float64)
    free = _FREE * torch.eye(len(nothing), dtype=torch.float64)
    before = Before(angles, state.shift[part].clone(), torch.ones(1, dtype=torch.float64), free, nothing, problem.firmness)
    for stage in _STAGES:
        goal, sure = problem.look(posed, part)
        posed = problem.settle(state, part, posed, ((goal, settings.heard * sure), None), before, stage)
    since = state.angles.flatten()
    unlikely = float(since @ problem.firmness @ since) / 2
    return unlikely + sum(likeness.cost(posed[0][0].numpy(), posed[1][0].numpy(), blur) for blur in (1.0, 2.0)), posed
