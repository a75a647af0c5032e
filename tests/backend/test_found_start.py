"""A rig found in a video by the subject's outline: laid over it, and fitted to it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import exp_rotation
from mocap_anything.backend.fit_problem import Problem
from mocap_anything.backend.fit_settings import FitSettings
from mocap_anything.backend.found_start import find_start
from mocap_anything.backend.habits import Habits
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.model.checkpoint import bundled_prior
from mocap_anything.backend.moves import Moves
from mocap_anything.backend.outline_search import known_poses, laid_over
from mocap_anything.backend.rasterizer import draw_rig
from mocap_anything.backend.silhouette import silhouette
from mocap_anything.backend.surface import Surface
from mocap_anything.training.metrics import geodesic

UP = np.array([0.0, 0.0, 1.0])
GROUND = (60, 140, 190)


@pytest.fixture
def filmed(oracle):
    """A rig, its body, what the clip's frames look like, and a track of a rendered reference, which knows the outline and no point."""
    rig, body, pose, track = oracle
    size = track.camera.height, track.camera.width
    pictures = [draw_rig(rig, pose[k], track.camera.at(k), size, GROUND)[0] for k in range(len(pose))]
    clip = SimpleNamespace(times=track.times, frame_at=lambda time: pictures[int(np.abs(track.times - time).argmin())])
    masks = np.stack([silhouette(rig, body, pose[k], track.camera.at(k), track.crop.at(k), 32) for k in range(len(pose))])
    places = np.full((len(pose), *body.mask.shape, 1, 2), 0.5, np.float32)
    unknown = {"places": places, "chances": np.zeros(places.shape[:-1], np.float32), "mask": (255 * masks).astype(np.uint8)}
    return rig, body, pose, clip, replace(track, reference=replace(track.reference, time=None), **unknown)


def turned(pose, degrees, place):
    """A pose turned about up, and elsewhere."""
    by = np.eye(4)
    by[:3, :3], by[:3, 3] = exp_rotation(torch.tensor(UP * np.radians(degrees))[None])[0].numpy(), place
    return by @ pose


@pytest.mark.parametrize("degrees", [0, 45])
def test_a_pose_is_laid_over_an_outline_from_any_heading_and_distance(filmed, degrees):
    rig, body, pose, _, track = filmed
    here = track.part(slice(10, 11))
    reference = turned(pose[10], degrees, 2.5 * rig.size * np.array([1, 0.5, 0]))
    problem = Problem(rig, body, replace(here, reference=replace(track.reference, pose=reference)), Habits(bundled_prior(), UP), FitSettings())
    camera = here.camera.at(0)
    mask = silhouette(rig, body, pose[10], camera, here.crop.at(0), 128)
    laid = laid_over(known_poses(problem, Surface(rig, problem.chain, reference)), mask, here.crop.at(0), camera, UP, 3)
    assert np.abs(laid.angles).max() == 0, "of a rig without motions its reference's pose alone is known"
    stands = [np.linalg.inv(camera.from_armature) @ matrix @ reference for matrix in laid.from_armature]
    off = [geodesic(bone_rotations(stand), bone_rotations(pose[10])).mean() for stand in stands]
    best = int(np.argmin(off))
    assert off[best] < 1
    middle, true = (camera.to_camera(each[:, :3, 3]).mean(0) for each in (stands[best], pose[10]))
    assert np.linalg.norm(middle - true) < 0.15 * np.linalg.norm(true)


def test_the_pose_that_a_frame_shows_is_found(filmed):
    rig, body, pose, clip, track = filmed
    known = bone_rotations(pose[::3])
    moves = Moves("walk", known, known, np.ones(len(rig), bool))
    reference = replace(track.reference, pose=turned(pose[3], 20, np.zeros(3)))
    steps = list(find_start(rig, body, replace(track, reference=reference), Habits(bundled_prior(), UP, (moves,)), clip, 0))
    found = steps[-1]
    assert found is not None
    assert all(step is None for step in steps[:-1])
    frame = int(np.abs(track.times - found.time).argmin())
    np.testing.assert_array_equal(found.image, clip.frame_at(found.time))
    shown, true = (silhouette(rig, body, each, track.camera.at(frame), track.crop.at(frame), 64) > 0.5 for each in (found.pose, pose[frame]))
    assert (shown & true).sum() > 0.8 * (shown | true).sum()
    truth = bone_rotations(pose[frame])
    got, held = (geodesic(bone_rotations(each), truth)[body.bones].mean() for each in (found.pose, reference.pose))
    assert got < 0.8 * held


def test_where_nothing_of_the_subject_shows_nothing_is_found(filmed):
    rig, body, _, clip, track = filmed
    blank = replace(track, mask=np.zeros_like(track.mask))
    assert [step for step in find_start(rig, body, blank, Habits(bundled_prior(), UP), clip, 0) if step is not None] == []
