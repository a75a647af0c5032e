"""Pairs of pictures, where their points really go, and a few steps of the follower's training."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.model.checkpoint import load_model
from mocap_anything.training.data.pairs import PairConfig, PairStream
from mocap_anything.training.follower import (
    SHARP,
    Follower,
    FollowerConfig,
    carried,
    covariance,
    first_flow,
    load_follower,
    unlikely,
)
from mocap_anything.training.misses import missed_cell
from mocap_anything.training.train_follower import FollowerTrainConfig, FollowerTrainer
from mocap_anything.training.zoo import make_creature

SMALL = FollowerConfig(96, (8, 16, 16, 16))
PAIRS = PairConfig(shots=1, frames=3, pairs=3, image_size=96)


@pytest.fixture(scope="module")
def creature():
    return make_creature(np.random.default_rng(2), "quadruped", frames=40)


@pytest.fixture(scope="module")
def batch(creature):
    return PairStream(PAIRS, [creature]).batch(np.random.default_rng(0), [])


def test_the_skin_goes_where_the_truth_says(batch):
    assert batch.before.shape[1:] == batch.after.shape[1:] == (3, 96, 96)
    assert batch.start.shape[1:] == (2, 24, 24)
    assert batch.flow.shape[1:] == (2, 48, 48)
    assert batch.known.any((1, 2)).all()
    assert batch.flow.norm(dim=1)[batch.known].max() < 0.3
    before, after = batch.before[..., ::2, ::2], batch.after[..., ::2, ::2]
    gone, stayed = ((carried(after, flow) - before).abs().mean(1)[batch.known].mean() for flow in (batch.flow, torch.zeros_like(batch.flow)))
    assert gone < 0.8 * stayed, "along the truth the pictures are alike"


def test_the_same_seed_gives_the_same_batch_and_processes_get_others(creature, batch):
    again = PairStream(PAIRS, [creature]).batch(np.random.default_rng(0), [])
    assert (again.before == batch.before).all()
    assert (again.flow == batch.flow).all()
    first, second = (next(iter(PairStream(PAIRS, [creature], rank=rank, size=2))) for rank in (0, 1))
    assert first.before.shape != second.before.shape or (first.before != second.before).any()


def test_training_learns_resumes_and_its_model_is_read(tmp_path: Path, creature, batch):
    config = FollowerTrainConfig(follower=SMALL, pairs=PAIRS, bf16=False, learning_rate=1e-3)
    trainer = FollowerTrainer(config, tmp_path, [creature])
    losses = [trainer.train_step(batch, 1e-3)[0]["loss"] for _ in range(24)]
    assert losses[-1] < losses[0]
    row = trainer.measure(batch)
    assert row["hold"] == pytest.approx(float(batch.flow.norm(dim=1)[batch.known].mean()))
    assert row["expected"] > 0
    trainer.save()
    assert FollowerTrainer(config, tmp_path, [creature]).step == 24
    assert isinstance(load_follower(tmp_path / "model.safetensors"), Follower)
    with pytest.raises(CaptureError, match="not a model of this extension"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(CaptureError, match="no follower"):
        load_follower(tmp_path / "none.safetensors")
    other = FollowerTrainer(config, tmp_path / "other", [creature])
    other.start_from(tmp_path / "model.safetensors")


def test_search_finds_a_shift():
    image = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 255, (128, 128, 3)).astype(np.uint8), (0, 0), 2)
    flow = first_flow(image, np.roll(image, (2, -3), (0, 1)))
    assert flow.shape == (2, 32, 32)
    assert np.abs(np.median(flow.reshape(2, -1), 1) * 128 - [-3, 2]).max() < 0.1


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


def test_untrained_it_says_what_the_search_found_but_for_a_little():
    torch.manual_seed(2)
    follower = Follower(SMALL).requires_grad_(False)
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
    assert missed_cell(logits, truth, known, torch.zeros(1, 2, 8, 8)) < 1e-3
    assert missed_cell(logits, -truth, known, torch.zeros(1, 2, 8, 8)) > 10
    assert missed_cell(logits, truth, known, truth[..., ::2, ::2]) > 10, "about where it goes nothing is left to go"
