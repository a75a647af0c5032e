"""The motion prior: what it reads of a rig, what it is trained on, and a few steps of its training."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.bone_features import bones_at_rest
from mocap_anything.backend.carriers import nearest_above
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.model.checkpoint import bundled_prior, load_model, load_prior
from mocap_anything.backend.model.motion_prior import MotionPrior, PriorConfig, usual_turns
from mocap_anything.backend.moves import against_carriers
from mocap_anything.training.data.turns import PlainTurnStream, TurnConfig, TurnStream, moving_bones, turns_of
from mocap_anything.training.train_prior import PriorTrainConfig, PriorTrainer, fold_of, unlikely
from mocap_anything.training.zoo import make_creature

TURNS = TurnConfig(shots=3, turns=6)


@pytest.fixture(scope="module")
def creature():
    return make_creature(np.random.default_rng(2), "quadruped", frames=40)


@pytest.fixture(scope="module")
def batch(creature):
    return PlainTurnStream(TURNS, [creature]).batch(np.random.default_rng(0), [])


def rolled(rig, turns, size=1.0):
    """The rig with bones of other axes, and of another unit."""
    rest, ends = rig.rest.copy(), rig.ends * size
    rest[:, :3, :3] = rest[:, :3, :3] @ turns
    rest[:, :3, 3] *= size
    mesh = None if rig.mesh is None else replace(rig.mesh, vertices=rig.mesh.vertices * np.float32(size))
    return replace(rig, rest=rest, ends=ends, mesh=mesh)


def test_neither_bone_axes_nor_units_exist_for_it(creature):
    rng = np.random.default_rng(1)
    turns, _ = np.linalg.qr(rng.normal(size=(len(creature.rig), 3, 3)))
    turns *= np.linalg.det(turns)[:, None, None]
    active, up = moving_bones(creature.rig), np.asarray(creature.up)
    plain, other = bones_at_rest(creature.rig, active, up), bones_at_rest(rolled(creature.rig, turns, 37.0), active, up)
    assert np.abs(plain.features - other.features).max() < 1e-4
    model = bundled_prior()
    carriers = creature.rig.carriers[active]
    axes = torch.from_numpy(np.where((carriers >= 0)[:, None, None], turns[carriers], np.eye(3)))
    for told, again in zip(usual_turns(model, plain), usual_turns(model, other), strict=True):
        assert (axes @ again @ axes.transpose(-1, -2) - told).abs().max() < 1e-4 * told.abs().max()


def test_a_mirror_image_turns_as_its_body_does(creature):
    active = moving_bones(creature.rig)
    body = bones_at_rest(creature.rig, active, np.asarray(creature.up))
    twin = body.mirrored()
    assert np.abs(twin.mirrored().features - body.features).max() < 1e-6
    model = bundled_prior()
    mirror = torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))  # of axes of turns
    for left, right, axes, other in zip(usual_turns(model, body), usual_turns(model, twin), (body.axes,) * 2, (twin.axes,) * 2, strict=True):
        told, seen = (torch.from_numpy(a) @ c @ torch.from_numpy(a).transpose(-1, -2) for a, c in ((axes, left), (other, right)))
        assert (mirror @ told @ mirror - seen).abs().max() < 1e-5


def test_who_carries_whom_by_way_of_bones_that_do_not_count():
    carriers = np.array([-1, 0, 1, 2, 0])
    assert nearest_above(carriers, np.array([0, 2, 3, 4])).tolist() == [-1, 0, 1, 0]
    assert nearest_above(carriers, np.array([3, 4])).tolist() == [-1, -1]


def test_turns_are_the_clips_own(creature):
    rig, clip, active = creature.rig, creature.clips[0], moving_bones(creature.rig)
    done = turns_of(np.random.default_rng(3), rig, active, clip, 200)
    assert done.shape == (2, 200, len(active), 3)
    turned = against_carriers(rig, active, bone_rotations(clip.pose.astype(np.float64)))
    step = np.swapaxes(turned[:-1], -1, -2)
    cosine = (np.trace(turned[1:] @ step, axis1=-2, axis2=-1) - 1) / 2
    assert np.linalg.norm(done[1], axis=-1).max() <= np.arccos(np.clip(cosine, -1, 1)).max() + 1e-6
    assert np.linalg.norm(done[0], axis=-1).max() > 0.05


def test_likelihood_is_students(batch):
    rng = np.random.default_rng(4)
    half = rng.normal(size=(2, 2, 3, 3)) * 0.3 + np.eye(3)
    scale, turns, freedom = half @ np.swapaxes(half, -1, -2), rng.normal(size=(2, 5, 2, 3)), np.array([3.0, 5.5])
    found = unlikely(torch.from_numpy(scale)[None], torch.from_numpy(freedom), torch.from_numpy(turns)[None], torch.ones(1, 2, dtype=torch.bool))[0]
    for kind in range(2):
        whole = np.zeros((6, 6))
        whole[:3, :3], whole[3:, 3:] = scale[kind]
        flat, free = turns[kind].reshape(5, 6), freedom[kind]
        far = np.einsum("si,ij,sj->s", flat, np.linalg.inv(whole), flat)
        front = math.lgamma(free / 2) - math.lgamma((free + 6) / 2) + 3 * math.log(free * math.pi) + np.linalg.slogdet(whole)[1] / 2
        assert np.allclose(found[kind], (front + (free + 6) / 2 * np.log1p(far / free)) / 6, atol=1e-5)


def test_bones_that_only_fill_up_change_nothing(creature, batch):
    other = make_creature(np.random.default_rng(5), "biped", frames=30)
    model = MotionPrior(PriorConfig(dim=24, layers=1))
    alone = PlainTurnStream(replace(TURNS, shots=1), [other]).batch(np.random.default_rng(0), [])
    count = alone.bones.shape[1]
    grown = {name: torch.nn.functional.pad(getattr(alone, name), pad) for name, pad in {"features": (0, 0, 0, 4), "bones": (0, 4)}.items()}
    hop, edge = (torch.nn.functional.pad(x, (0, 4, 0, 4), value=4) for x in (alone.hop, alone.edge))
    told, again = model(alone.features, alone.hop, alone.edge, alone.bones), model(grown["features"], hop, edge, grown["bones"])
    assert (told - again[:, :, :count]).abs().max() < 1e-5


def test_the_same_seed_gives_the_same_batch_and_processes_get_others(creature):
    stream = TurnStream(TURNS, [creature])
    first, again = (stream.batch(np.random.default_rng(0), []) for _ in range(2))
    assert (first.turns == again.turns).all()
    one, two = (next(iter(TurnStream(TURNS, [creature], rank=rank, size=2))) for rank in (0, 1))
    assert one.turns.shape != two.turns.shape or (one.turns != two.turns).any()


def test_training_learns_resumes_and_its_model_is_read(tmp_path: Path, creature, batch):
    config = PriorTrainConfig(prior=PriorConfig(dim=24, layers=1), turns=TURNS)
    trainer = PriorTrainer(config, tmp_path, [creature])
    losses = [trainer.train_step(batch, 3e-3)[0]["loss"] for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1
    assert set(trainer.measure(batch)) == {"since", "pace"}
    trainer.save()
    assert PriorTrainer(config, tmp_path, [creature]).step == 30
    assert load_prior(tmp_path / "model.safetensors").config == config.prior
    with pytest.raises(CaptureError, match="not a model of this extension"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(CaptureError, match="is not in"):
        load_prior(tmp_path / "none.safetensors")
    assert fold_of(creature) in (0, 1)
