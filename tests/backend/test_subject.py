"""Following the subject: strays do not pull the crop."""

import numpy as np
from mocap_anything.backend.subject import smooth_crops, without_strays


def test_points_found_elsewhere_are_put_where_the_rest_says():
    rng = np.random.default_rng(0)
    shape = rng.uniform(0.2, 0.8, (40, 2))
    zoom, shift = np.array([1.0, 0.8, 1.3])[:, None, None], rng.uniform(-0.2, 0.2, (3, 1, 2))
    true = zoom * (shape - 0.5) + 0.5 + shift
    moved = true + rng.normal(0, 0.01, true.shape)
    moved[:, :3, 1] += 0.12  # a leg that swings stays where it was found
    found = moved.copy()
    found[:, 30:] = rng.uniform(1.5, 2.0, (3, 10, 2))
    tamed = without_strays(found, np.full((3, 40), 0.5), shape)
    np.testing.assert_array_equal(tamed[:, :30], moved[:, :30])
    assert np.abs(tamed[:, 30:] - true[:, 30:]).max() < 0.05


def test_a_single_leap_of_the_crop_is_smoothed_away():
    times = np.arange(30) / 24
    centers = np.stack([100 + 40 * times, np.full(30, 80.0)], 1)
    seen, sides = centers.copy(), np.full(30, 60.0)
    seen[12], sides[12] = [400, 300], 200
    crop = smooth_crops(times, np.arange(30), seen, sides, np.full(30, 0.6))
    assert np.abs(crop.center - centers).max() < 3
    assert np.abs(crop.side / 60 - 1).max() < 0.02


def test_frames_that_were_not_looked_at_lie_between_those_that_were():
    times, looks = np.arange(31) / 24, np.arange(0, 31, 2)[::-1]  # in any order
    centers = np.stack([100 + 40 * times, np.full(31, 80.0)], 1)
    crop = smooth_crops(times, looks, centers[looks], 60 + looks / 10, np.full(len(looks), 0.6))
    assert np.abs(crop.center - centers).max() < 2
    assert np.abs(crop.side / (60 + np.arange(31) / 10) - 1).max() < 0.02
