"""What a fit tells the denoiser, and what that makes of it."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import log_rotation
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.fit import Fitted
from mocap_anything.backend.fit_problem import chain_of
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.training.denoiser import (
    Denoiser,
    DenoiserConfig,
    Settler,
    fits_of,
    load_denoiser,
    places,
    save_denoiser,
    whole_turns,
)
from mocap_anything.training.evidence import Evidence, evidence_of

SMALL = DenoiserConfig(dim=16, head_dim=8, layers=2, time_window=2)


def told(oracle) -> tuple[Evidence, np.ndarray]:
    """The evidence of a fit that found the truth, and the bones' true heads in the view's axes."""
    rig, body, pose, track = oracle
    chain = chain_of(rig, body, track.reference.pose, track.times)
    turn = log_rotation(chain.turns(torch.from_numpy(bone_rotations(pose)))[:, chain.active])
    evidence = evidence_of(Fitted(body, track, chain, turn, torch.eye(3).expand(*turn.shape, 3)))
    np.testing.assert_allclose(evidence.in_carriers(evidence.turn), turn.numpy(), atol=1e-6)
    turns = chain.turns(torch.from_numpy(bone_rotations(pose)))
    still = torch.eye(3, dtype=turns.dtype).expand_as(turns).clone()
    still[:, chain.active] = turns[:, chain.active]
    heads = chain.pose(still, chain.ref_heads.expand(len(pose), -1, -1))[1].numpy()[:, chain.active]
    view = np.linalg.lstsq(chain.ref_heads.numpy()[chain.active] - chain.ref_heads.numpy()[chain.active].mean(0), evidence.head, rcond=None)[0]
    return evidence, (heads - chain.ref_heads.numpy()[chain.active].mean(0)) @ view


def trained(seed: int = 0) -> Denoiser:
    """One that answers something."""
    torch.manual_seed(seed)
    model = Denoiser(SMALL).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head[-1].weight, std=0.5)
    return model


def test_turns_in_the_views_axes_pose_the_rig_as_its_own_do(oracle):
    evidence, heads = told(oracle)
    x = fits_of([evidence])
    found = places(whole_turns(x.turn, x.above), x)[0].numpy()
    roots = evidence.above < 0
    # roots stay where they were, and all that hangs from them with them
    moved = found - heads
    np.testing.assert_allclose(moved[:, ~roots] - moved[:, roots][:, :1], 0, atol=2e-5) if roots.sum() == 1 else None
    assert np.abs(found - evidence.head).max() > 0.05


def test_how_a_rigs_bones_are_rolled_does_not_matter(oracle):
    rig, body, pose, track = oracle
    spin = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    rolled = replace(rig, rest=rig.rest @ spin)
    reference = replace(track.reference, pose=track.reference.pose @ spin)
    other_body = replace(body, offsets=body.offsets @ spin[:3, :3])
    first, _ = told(oracle)
    second, _ = told((rolled, other_body, pose @ spin, replace(track, reference=reference)))
    for f in fields(Evidence):
        if f.name != "axes":
            np.testing.assert_allclose(getattr(first, f.name), getattr(second, f.name), atol=2e-6)


def test_untrained_it_leaves_the_fit_as_it_is(oracle):
    evidence, _ = told(oracle)
    np.testing.assert_allclose(Settler(Denoiser(SMALL)).settled(evidence), evidence.turn, atol=1e-6)


def test_neither_padding_nor_windows_change_an_answer(oracle, monkeypatch):
    evidence, _ = told(oracle)
    model = trained()
    whole = Settler(model).settled(evidence)
    assert np.abs(whole - evidence.turn).max() > 1e-3
    many = fits_of([evidence, evidence.part(slice(0, 7))])
    np.testing.assert_allclose(model(many)[1, :2, : len(evidence.above)].numpy(), whole[:2], atol=1e-5)
    monkeypatch.setattr("mocap_anything.training.denoiser._CORE", 8)
    np.testing.assert_allclose(Settler(model).settled(evidence), whole, atol=1e-5)


def test_a_file_gives_the_same_answers_and_another_is_refused(oracle, tmp_path: Path):
    evidence, _ = told(oracle)
    model = trained()
    save_denoiser(model, tmp_path / "denoiser.safetensors")
    read = Settler(load_denoiser(tmp_path / "denoiser.safetensors"))
    # weights are kept in float16
    np.testing.assert_allclose(read.settled(evidence), Settler(model).settled(evidence), atol=2e-3)
    with pytest.raises(CaptureError, match="not a denoiser"):
        load_denoiser(Path(__file__).parents[2] / "assets" / "models" / "anywhere.safetensors")
