"""Pairs of pictures, where their points really go, and a few steps of the follower's training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.model.checkpoint import load_follower, load_model
from mocap_anything.backend.model.eye import carried
from mocap_anything.backend.model.follower import Follower, FollowerConfig
from mocap_anything.training.data.pairs import PairConfig, PairStream
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
    other = FollowerTrainer(config, tmp_path / "other", [creature])
    other.start_from(tmp_path / "model.safetensors")
    with pytest.raises(CaptureError):
        other.borrow(tmp_path / "model.safetensors")
