"""Captures of training clips, what is made of them, and a few steps of the denoiser's training."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.model.rotations import geodesic
from mocap_anything.training.data.fits import Recorder, make_one
from mocap_anything.training.data.fitted import FittedStream, all_batches, batch_of, leaning, load_fit
from mocap_anything.training.denoiser import DenoiserConfig, load_denoiser, places, whole_turns
from mocap_anything.training.evidence import Evidence
from mocap_anything.training.train_denoiser import DenoiserTrainConfig, DenoiserTrainer, moving
from mocap_anything.training.zoo import make_creature

SMALL = DenoiserConfig(dim=16, head_dim=8, layers=2, time_window=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One real capture of a creature."""
    place = tmp_path_factory.mktemp("fits")
    rng = np.random.default_rng(3)
    said = make_one(rng, make_creature(np.random.default_rng(2), "quadruped", frames=14), Recorder("anywhere"), place / "0-000000.npz")
    assert "14 frames" in said, said
    return place


def apart(heads: torch.Tensor) -> torch.Tensor:
    """(T, A, A) distances."""
    return (heads[:, :, None] - heads[:, None]).norm(dim=-1)


def test_a_capture_is_kept_with_its_truth(folder: Path):
    evidence, true = load_fit(folder / "0-000000.npz")
    assert true.shape == evidence.turn.shape
    assert np.isfinite(true).all()
    assert evidence.times.min() <= 0 <= evidence.times.max()
    held = int(np.abs(evidence.times).argmin())
    assert np.abs(true[held]).max() < 1e-4, "turns count from the reference"
    assert np.abs(evidence.turn[held]).max() < 2e-2
    off, still = (np.linalg.norm(given - true, axis=-1).mean() for given in (evidence.turn, 0 * true))
    assert off < 1.3 * still, "in the same axes"
    variance = np.linalg.eigvalsh(evidence.spread)
    assert (variance > 0).all()


def test_a_leaning_camera_a_mirror_and_time_backwards_show_the_same_motion(folder: Path):
    evidence, true = load_fit(folder / "0-000000.npz")
    before = batch_of([(evidence, true)])
    distance = apart(places(whole_turns(before.true, before.fits.above), before.fits)[0])
    for seed in range(4):
        after = batch_of([leaning(np.random.default_rng(seed), evidence, true)])
        found = apart(places(whole_turns(after.true, after.fits.above), after.fits)[0])
        backwards = not torch.allclose(after.fits.times, before.fits.times)
        torch.testing.assert_close(found.flip(0) if backwards else found, distance, atol=1e-4, rtol=0)
        angle = geodesic(whole_turns(after.fits.turn, after.fits.above), whole_turns(after.true, after.fits.above))[0]
        expected = geodesic(whole_turns(before.fits.turn, before.fits.above), whole_turns(before.true, before.fits.above))[0]
        torch.testing.assert_close(angle.flip(0) if backwards else angle, expected, atol=2e-3, rtol=0)


def test_batches_depend_on_the_seed_and_their_number(folder: Path):
    first, second = (next(iter(FittedStream(folder, 2, seed=4, start=start))) for start in (0, 0))
    assert torch.equal(first.fits.turn, second.fits.turn)
    assert not torch.equal(first.true, next(iter(FittedStream(folder, 2, seed=4, start=1))).true)
    with pytest.raises(FileNotFoundError, match="no fits"):
        FittedStream(folder / "none", 2)


def test_training_learns_resumes_and_is_read(tmp_path: Path, folder: Path):
    config = DenoiserTrainConfig(denoiser=SMALL, fits=str(folder), batch=2, bf16=False)
    trainer = DenoiserTrainer(config, tmp_path, [])
    batch = all_batches(folder)[0]
    before = trainer.measure(batch)
    assert before["degrees"] == pytest.approx(before["fit_degrees"], abs=1e-3)
    losses = [trainer.train_step(batch, 3e-3)[0]["loss"] for _ in range(30)]
    assert losses[-1] < 0.98 * losses[0]
    assert moving(batch.true, batch.fits).any()
    trainer.validate({"seen": [batch]})
    again = DenoiserTrainer(config, tmp_path, [])
    assert again.step == 30
    assert load_denoiser(tmp_path / "model.safetensors").config == SMALL
    other = DenoiserTrainer(config, tmp_path / "other", [])
    other.start_from(tmp_path / "model.safetensors")
    assert other.step == 0


def test_every_field_of_the_evidence_is_kept(folder: Path):
    with np.load(folder / "0-000000.npz") as data:
        assert {f.name for f in fields(Evidence)} <= set(data.files)
