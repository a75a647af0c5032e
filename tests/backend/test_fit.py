"""The fit: from where points show to rotations, through wrong places that look better and frames without any."""

from dataclasses import replace

import numpy as np
import torch
from mocap_anything.backend.assemble import Track, assemble
from mocap_anything.backend.body_points import Body
from mocap_anything.backend.fit import fit
from mocap_anything.backend.fit_problem import Problem, Stage
from mocap_anything.backend.fit_settings import FitSettings
from mocap_anything.backend.habits import Habits
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.model.checkpoint import bundled_prior
from mocap_anything.backend.rig import Rig
from mocap_anything.backend.settings import CaptureSettings

EXACT = FitSettings(noise=0.004, brisk=20.0, lively=50.0)
HABITS = Habits(bundled_prior(), np.array([0.0, 0, 1]))


def held(track: Track, places: np.ndarray, chances: np.ndarray) -> Track:
    """A network that saw the points but answers no turn at all."""
    turn = np.broadcast_to(np.eye(3), track.turn.shape)
    return replace(track, turn=turn, places=places.astype(np.float32), chances=chances.astype(np.float32))


def fitted(rig: Rig, body: Body, track: Track, settings: FitSettings | None = None) -> Track:
    steps = fit(rig, body, track, HABITS, 10, settings)
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            assert shares == sorted(shares)
            assert shares[-1] == 1
            return end.value


def error(body: Body, track: Track, pose: np.ndarray) -> float:
    """Mean angle in degrees to the true orientations."""
    cosine = (np.trace(track.rotations(body) @ np.swapaxes(bone_rotations(pose)[:, body.bones], -1, -2), axis1=-2, axis2=-1) - 1) / 2
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean())


def test_points_alone_give_the_rotations(oracle):
    rig, body, pose, track = oracle
    blind = held(track, track.uv[..., None, :], body.mask[None, ..., None] * np.ones((30, 1, 1, 1)))
    still, found = error(body, blind, pose), error(body, fitted(rig, body, blind, EXACT), pose)
    assert found < 0.5 * still
    assert error(body, fitted(rig, body, blind), pose) < still  # as a capture weighs it, for matches of a few per cent


def test_of_two_places_the_one_is_taken_that_the_bone_moves_to(oracle):
    rig, body, pose, track = oracle
    places = np.stack([track.uv + [0.2, -0.15], track.uv], -2)  # the likelier one is somebody else's
    chances = body.mask[None, ..., None] * np.array([0.6, 0.3])
    sure = held(track, track.uv[..., None, :], body.mask[None, ..., None] * np.ones((30, 1, 1, 1)))
    best, found = (error(body, fitted(rig, body, t, EXACT), pose) for t in (sure, held(track, places, np.broadcast_to(chances, places.shape[:-1]))))
    assert found < best + 0.25 * error(body, sure, pose)


def test_where_nothing_is_seen_the_rig_stays_as_in_the_reference(oracle):
    rig, body, pose, track = oracle
    lost = replace(track, places=np.zeros((*track.uv.shape[:-1], 1, 2), np.float32), chances=np.zeros((*track.uv.shape[:-1], 1), np.float32))
    found = fitted(rig, body, lost).rotations(body)
    assert np.abs(found - bone_rotations(pose[10])[body.bones]).max() < 1e-4


def test_what_a_frame_left_open_the_next_is_not_held_to(oracle):
    rig, body, _, track = oracle
    seen = np.broadcast_to(body.mask[None, ..., None] * np.ones((30, 1, 1, 1)), (*track.uv.shape[:-1], 1))
    holds = []
    for chances in (seen, np.zeros_like(seen)):
        problem = Problem(rig, body, held(track, track.uv[..., None, :], chances), HABITS, EXACT)
        state, part, gap = problem.start(), slice(11, 12), torch.tensor([1 / 24], dtype=torch.float64)
        first = problem.before(state.angles[part], state.shift[part], gap)
        posed = problem.pose(state, part)
        problem.settle(state, part, posed, (problem.look(posed, part), None), first, Stage(3))
        problem.know(state, part, first)
        holds.append(problem.before(state.angles[part], state.shift[part], gap).hold)
        assert torch.linalg.eigvalsh(first.hold - holds[-1])[0] > -1e-6 * first.hold.diagonal().max(), "from the reference on, which is known"
    assert holds[1].trace() < 0.9 * holds[0].trace()
    problem.forget()
    assert torch.equal(problem.before(state.angles[part], state.shift[part], gap).hold, first.hold)


def test_the_reference_stays(oracle):
    rig, body, pose, track = oracle
    blind = held(track, track.uv[..., None, :], body.mask[None, ..., None] * np.ones((30, 1, 1, 1)))
    found = fitted(rig, body, blind)
    assert np.abs(found.rotations(body)[10] - bone_rotations(pose[10])[body.bones]).max() < 1e-4


def test_what_is_lost_while_it_turns_far_goes_on_as_a_number(oracle):
    rig, body, _, track = oracle
    far = np.linspace(0, 3.0, 30)[:, None, None, None] * (track.uv[:, :, :1] - track.uv[:1, :, :1]) * 3 + track.uv
    seen = (np.arange(30) % 9 < 5)[:, None, None, None] * body.mask[None, ..., None] * np.ones((30, 1, 1, 1))
    found = fitted(rig, body, held(track, far[..., None, :], seen), replace(EXACT, lively=100.0))
    assert np.isfinite(found.turn).all()


def test_where_the_rig_goes_is_the_fits_word(oracle):
    rig, body, pose, track = oracle
    blind = held(track, track.uv[..., None, :], body.mask[None, ..., None] * np.ones((30, 1, 1, 1)))
    found = fitted(rig, body, blind, EXACT)
    assert found.shift is not None
    assert np.abs(found.shift[10]).max() < 1e-4 * rig.size
    motion = assemble(rig, body, [found], CaptureSettings(), np.array([0.0, 0, 1]))
    middle = body.bones
    away, still = (np.linalg.norm((heads - pose[:, :, :3, 3])[:, middle].mean(1), axis=1).mean()
                   for heads in (motion.heads, np.broadcast_to(pose[10, :, :3, 3], pose[:, :, :3, 3].shape)))
    assert away < 0.5 * still + 0.01 * rig.size
