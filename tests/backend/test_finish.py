"""Smoothing, root travel, root options and honouring keyed frames, against what they must give exactly."""

import numpy as np
from mocap_anything.backend.camera import Camera, project
from mocap_anything.backend.finish.contacts import hold_contacts
from mocap_anything.backend.finish.honour import honour
from mocap_anything.backend.finish.root import keep_yaw, solve_translation
from mocap_anything.backend.finish.smoothing import from_local, gaussian_in_time, mean_rotations, smooth, to_local
from mocap_anything.backend.motion import Motion
from mocap_anything.backend.quaternions import matrices, power, quaternions_of
from mocap_anything.backend.rig import Rig


def rotations(rng, *shape, angle=0.6):
    axis = rng.normal(size=(*shape, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    half = angle * rng.random((*shape, 1)) / 2
    return matrices(np.concatenate([np.cos(half), np.sin(half) * axis], -1))


def chain(count=4):
    rest = np.tile(np.eye(4), (count, 1, 1))
    rest[:, 1, 3] = np.arange(count)
    ends = rest[:, :3, 3] + [0, 1, 0]
    parents = np.arange(count, dtype=np.int32) - 1
    flags = np.ones(count, bool)
    return Rig(tuple("abcdef"[:count]), parents, parents.copy(), rest, ends, flags, ("",) * count, flags, flags, ("FULL",) * count)


def motion(rng, rig, frames=30):
    times = np.sort(rng.random(frames)) + np.arange(frames) * 0.04
    return Motion(times, rotations(rng, frames, len(rig)), rng.normal(size=(frames, len(rig), 3)), np.zeros((frames, len(rig)), np.float32),
                  np.zeros((frames, len(rig), 2), np.float32))


def test_gaussian_equals_the_plain_sum_on_uneven_times():
    rng = np.random.default_rng(0)
    times, values, weights = np.cumsum(rng.uniform(0.03, 0.05, 40)), rng.normal(size=(40, 2)), rng.random(40) + 0.1
    kernel = np.exp(-0.5 * ((times[:, None] - times) / 0.05) ** 2) * weights
    plain = kernel @ values / kernel.sum(1, keepdims=True)
    assert np.abs(gaussian_in_time(times, values, 0.05, weights) - plain).max() < 0.02
    assert np.array_equal(gaussian_in_time(times, values, 0.0), values)


def test_smoothing_keeps_a_still_pose_and_calms_a_noisy_one():
    rng = np.random.default_rng(1)
    still = np.tile(rotations(rng, 1, 3), (20, 1, 1, 1))
    times = np.arange(20) / 24
    assert np.allclose(mean_rotations(times, still, 0.1), still, atol=1e-9)
    noisy = still @ rotations(rng, 20, 3, angle=0.2)
    calm = mean_rotations(times, noisy, 0.1)
    assert np.linalg.norm(np.diff(calm, axis=0)) < 0.5 * np.linalg.norm(np.diff(noisy, axis=0))
    assert np.allclose(calm @ np.swapaxes(calm, -1, -2), np.eye(3), atol=1e-9)


def test_local_and_back():
    rng = np.random.default_rng(2)
    rig = chain()
    world = rotations(rng, 7, 4, angle=3)
    assert np.allclose(from_local(rig, to_local(rig, world)), world, atol=1e-12)


def test_power_walks_along_the_shortest_arc():
    rng = np.random.default_rng(3)
    r = rotations(rng, 20, angle=3.1)
    half = power(r, 0.5)
    assert np.allclose(half @ half, r, atol=1e-9)
    assert np.allclose(power(r, 0.0), np.eye(3), atol=1e-12)
    assert np.allclose(matrices(quaternions_of(r)), r, atol=1e-12)


def test_honoured_frames_are_exact_and_the_rest_bends_smoothly():
    rng = np.random.default_rng(4)
    rig = chain()
    raw = smooth(rig, motion(rng, rig), 0.2)
    index = [5, 20]
    wanted, heads = rotations(rng, 2, 4, angle=1.0), rng.normal(size=(2, 4, 3))
    result = honour(rig, raw, raw.times[index], wanted, heads)
    assert np.allclose(result.rotations[index], wanted, atol=1e-9)
    assert np.allclose(result.heads[index], heads, atol=1e-9)
    before = np.swapaxes(to_local(rig, raw.rotations), -1, -2) @ to_local(rig, result.rotations)
    assert np.allclose(before[0], before[5], atol=1e-9)
    assert np.allclose(before[29], before[20], atol=1e-9)
    assert np.array_equal(honour(rig, raw, np.zeros(0), wanted[:0], heads[:0]).rotations, raw.rotations)


def test_translation_is_found_through_outliers():
    rng = np.random.default_rng(5)
    frames, count = 12, 40
    points = rng.normal(size=(frames, count, 3)) * 0.5
    truth = np.stack([np.linspace(-1, 1, frames), np.linspace(0.2, 0.4, frames), np.full(frames, 6.0)], 1)
    camera = Camera(np.tile([800.0, 800, 320, 240], (frames, 1)), np.tile(np.eye(4), (frames, 1, 1)), 640, 480)
    pixels = project(camera.intrinsics, points + truth[:, None])
    pixels[:, :4] += 150
    found = solve_translation(camera, points, pixels, np.ones((frames, count)), np.array([0.0, 0, 5.5]), np.arange(frames) / 24)
    assert np.abs(found - truth)[:, :2].max() < 0.05
    assert np.abs(found - truth)[:, 2].max() < 0.15


def test_yaw_alone_is_kept():
    up = np.array([0.0, 0, 1])
    reference = rotations(np.random.default_rng(6), angle=2)
    c, s = np.cos(0.7), np.sin(0.7)
    yaw = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    kept = keep_yaw(np.stack([yaw @ reference, yaw @ tilt @ reference]), reference, up)
    assert np.allclose(kept[0], yaw @ reference, atol=1e-9)
    turned = kept[1] @ reference.T
    assert np.allclose(turned @ up, up, atol=1e-9)


def test_a_foot_that_slides_on_the_ground_is_held_and_a_swinging_one_is_not():
    rig = chain(2)
    frames = 48
    times = np.arange(frames) / 24
    heads = np.zeros((frames, 2, 3))
    heads[:, 0, 1] = 2.0
    heads[:, 1, 1] = 1.0
    heads[:, :, 0] = np.linspace(0, 0.3, frames)[:, None]
    flipped = np.tile(np.diag([-1.0, -1.0, 1.0]), (frames, 2, 1, 1))  # ends point down, along -y
    still = Motion(times, flipped, heads, np.zeros((frames, 2), np.float32), np.zeros((frames, 2, 2), np.float32))
    up = np.array([0.0, 1, 0])
    held = hold_contacts(rig, still, up)
    assert np.ptp(held.heads[:, 1, 0]) < 0.6 * np.ptp(heads[:, 1, 0])
    fast = Motion(times, flipped, heads * [30, 1, 1], still.confidence, still.joints_2d)
    assert np.allclose(hold_contacts(rig, fast, up).heads, fast.heads)
