"""Guesses, where their points really are, and a few steps of the refiner's training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.drawn import CHANNELS, PAINTS
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import bone_rotations, pose_along_carriers
from mocap_anything.backend.model.checkpoint import load_model, load_refiner, save_model
from mocap_anything.backend.model.refiner import REACH, Refiner, RefinerConfig
from mocap_anything.training.data.guesses import GuessConfig, GuessStream, bent, reshaped
from mocap_anything.training.misses import missed_cell, misses
from mocap_anything.training.train_refiner import RefinerTrainConfig, RefinerTrainer
from mocap_anything.training.zoo import make_creature

SMALL = RefinerConfig(widths=(8, 16, 16, 16))


@pytest.fixture(scope="module")
def creature():
    return make_creature(np.random.default_rng(2), "quadruped", frames=40)


@pytest.fixture(scope="module")
def batch(creature):
    return GuessStream(GuessConfig(shots=1, frames=2, guesses=2), [creature]).batch(np.random.default_rng(0), [])


def test_a_bent_pose_hangs_together(creature):
    rig, pose = creature.rig, creature.clips[0].pose[5].astype(np.float64)
    wrong = bent(np.random.default_rng(0), rig, pose, 0.5)
    assert np.abs(wrong[:, :3, 3] - pose_along_carriers(rig, bone_rotations(wrong), pose, wrong[:, :3, 3])).max() < 1e-6 * rig.size
    assert np.abs(wrong - pose).max() > 1e-3
    still = ~rig.driven & (rig.carriers >= 0)
    local = np.swapaxes(bone_rotations(wrong)[rig.carriers], -1, -2) @ bone_rotations(wrong)
    before = np.swapaxes(bone_rotations(pose)[rig.carriers], -1, -2) @ bone_rotations(pose)
    assert np.abs(local - before)[still].max(initial=0) < 1e-6


def test_a_reshaped_rig_keeps_its_bones(creature):
    other = reshaped(np.random.default_rng(1), creature.rig)
    assert np.abs(other.mesh.vertices - creature.rig.mesh.vertices).max() < 0.5 * creature.rig.size
    assert (other.rest == creature.rig.rest).all()


def test_samples_are_drawn_and_known_where_the_rig_is(batch):
    assert batch.drawn.shape[1:] == (CHANNELS, 128, 128)
    assert batch.flow.shape[1:] == (2, 64, 64)
    covered = batch.drawn[:, 4 * PAINTS, ::2, ::2] > 0
    assert (batch.known <= covered).all()
    assert batch.known.float().sum() > 0.9 * covered.sum()
    assert batch.flow.norm(dim=1)[batch.known].max() < 0.36
    assert batch.frame.min() >= -0.5
    assert batch.frame.max() <= 0.5


def test_the_same_seed_gives_the_same_batch(creature, batch):
    again = GuessStream(GuessConfig(shots=1, frames=2, guesses=2), [creature]).batch(np.random.default_rng(0), [])
    assert (again.drawn == batch.drawn).all()
    assert (again.flow == batch.flow).all()


def test_a_cell_is_missed_unless_it_is_the_right_one():
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2 / 8
    window = torch.zeros(1, (2 * REACH + 1) ** 2, 8, 8)
    known = torch.ones(1, 8, 8, dtype=torch.bool)
    window[:, REACH * (2 * REACH + 1) + REACH + 2] = 20
    assert missed_cell(window, flow, known) < 1e-3
    assert missed_cell(window, -flow, known) > 10
    assert misses(flow, 2 * flow).max() == pytest.approx(0.25, abs=1e-4)


def test_training_learns_resumes_and_its_model_is_read(tmp_path: Path, creature, batch):
    config = RefinerTrainConfig(refiner=SMALL, guesses=GuessConfig(shots=1, frames=1, guesses=1), bf16=False, learning_rate=1e-3)
    trainer = RefinerTrainer(config, tmp_path, [creature])
    losses = [trainer.train_step(batch, 1e-3)[0]["loss"] for _ in range(24)]
    assert losses[-1] < losses[0]
    row = trainer.measure(batch)
    assert row["hold"] == pytest.approx(float(batch.flow.norm(dim=1)[batch.known].mean()))
    trainer.save()
    again = RefinerTrainer(config, tmp_path, [creature])
    assert again.step == 24
    model = load_refiner(tmp_path / "model.safetensors")
    assert isinstance(model, Refiner)
    with pytest.raises(CaptureError, match="not a model of this extension"):
        load_model(tmp_path / "model.safetensors")
    save_model(Refiner(replace(SMALL, widths=(8, 16, 16, 24))), tmp_path / "other.safetensors")
    again.start_from(tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError):
        again.start_from(tmp_path / "other.safetensors")
