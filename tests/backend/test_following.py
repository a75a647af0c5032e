"""The follower's answers: where points go, how sure that is in which direction, and the same wherever the picture is cut."""

import cv2
import numpy as np
import pytest
import torch
from mocap_anything.backend.body_points import Crop
from mocap_anything.backend.following import FollowWorker, Step, first_flow
from mocap_anything.backend.model.follower import COVARIANCE, SHARP, Follower, FollowerConfig, covariance, missed_cell, unlikely


@pytest.fixture
def follower() -> Follower:
    torch.manual_seed(0)
    return Follower(FollowerConfig(96, (8, 16, 16, 16))).eval().requires_grad_(False)


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(5).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def test_search_finds_a_shift():
    image = picture(128, 128)
    flow = first_flow(image, np.roll(image, (2, -3), (0, 1)))
    assert flow.shape == (2, 32, 32)
    assert np.abs(np.median(flow.reshape(2, -1), 1) * 128 - [-3, 2]).max() < 0.1


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_points_go_where_the_picture_goes_in_pixels_of_the_clip(follower, scale):
    image = picture()
    worker = FollowWorker(follower)
    crop = Crop(np.array([82.0, 57.0]) / scale, np.asarray(70.0 / scale))
    worker.begin(image, after := np.roll(image, (2, 3), (0, 1)), scale, crop)
    assert worker.began(image, after)
    step = worker.take()
    places = np.array([[80.0, 60.0], [90.5, 49.25], [10.0, 10.0]]) / scale
    end, spread, inside = step.at(places)
    assert inside.tolist() == [True, True, False]
    assert np.abs((end - places)[:2] * scale - [3, 2]).max() < 0.3
    assert (np.linalg.eigvalsh(spread) > 0).all()
    assert worker.take() is None
    worker.close()


def test_a_place_is_read_at_the_pixel_that_it_is_about():
    answer = np.zeros((8, 8, 5), np.float32)
    answer[..., 0] = np.arange(8)[None] / 100  # flow that grows with the column
    answer[..., 2:4] = 5
    step = Step(answer, np.array([16.0, 16.0]), 16.0)  # 16 pixels, of which the even ones are answered for
    end, spread, inside = step.at(np.array([[8 + 2 * 3 + 0.5, 16.0], [8 + 2 * 3 + 1.5, 16.0]]))
    assert np.abs(end[:, 0] - [14.5 + 0.03 * 16, 15.5 + 0.035 * 16]).max() < 0.05  # a remap's coordinates are rounded to a 32nd
    assert np.allclose(spread, np.eye(2) * COVARIANCE * 256 * np.exp(-10))
    assert inside.all()
    assert step.at(np.zeros((0, 2)))[0].shape == (0, 2)


def test_the_answer_is_a_distribution_of_its_covariance():
    torch.manual_seed(1)
    answer = torch.tensor([0.01, -0.02, 3.0, 3.5, 0.4]).view(1, 5, 1, 1)
    grid = torch.linspace(-1.5, 1.5, 1201)
    truth = torch.stack(torch.meshgrid(grid, grid, indexing="xy"))[None]
    density = torch.exp(-unlikely(answer.expand(-1, -1, 1201, 1201), truth)) / (2 * np.pi) * (grid[1] - grid[0]) ** 2
    assert float(density.sum()) == pytest.approx(1, abs=0.01)
    off = truth - answer[:, :2]
    spread = [(density * off[:, a] * off[:, b]).sum() for a, b in ((0, 0), (0, 1), (1, 1))]
    assert torch.stack(spread).numpy() == pytest.approx(covariance(answer)[0, :, 0, 0].numpy(), rel=0.03)
    step = Step(answer[0].permute(1, 2, 0).numpy().repeat(2, 0).repeat(2, 1), np.zeros(2), 1.0)
    assert step.at(np.zeros((1, 2)))[1][0][[0, 0, 1], [0, 1, 1]] == pytest.approx(covariance(answer)[0, :, 0, 0].numpy(), rel=1e-5)


def test_untrained_it_says_what_the_search_found_but_for_a_little(follower):
    torch.manual_seed(2)
    start = torch.full((1, 2, 24, 24), 0.03)
    answer, windows, first = follower(torch.rand(1, 3, 96, 96) - 0.5, torch.rand(1, 3, 96, 96) - 0.5, start)
    assert answer.shape == (1, 5, 48, 48)
    assert 0 < (first - start).abs().max() < 0.03, "where features are alike it would go"
    assert (answer[:, :2] - 0.03).abs().max() < 0.04
    assert torch.equal(answer[:, 2:4], torch.full((1, 2, 48, 48), SHARP))
    assert [logits.shape[1:] for logits, _ in windows] == [(49, 24, 24), (81, 12, 12), (49, 24, 24)]


def test_a_cell_is_missed_unless_it_is_the_right_one():
    truth = torch.zeros(1, 2, 16, 16)
    truth[:, 0] = 2 / 8
    logits, known = torch.zeros(1, 49, 8, 8), torch.ones(1, 16, 16, dtype=torch.bool)
    logits[:, 3 * 7 + 3 + 2] = 20
    assert missed_cell(logits, torch.zeros(1, 2, 8, 8), truth, known) < 1e-3
    assert missed_cell(logits, torch.zeros(1, 2, 8, 8), -truth, known) > 10
    assert missed_cell(logits, truth[..., ::2, ::2], truth, known) > 10, "about where it goes nothing is left to go"
