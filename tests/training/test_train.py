"""Training: samples whose truth agrees with their pictures, losses at known values, and a run that resumes to the same result."""

import os
import socket
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from mocap_anything.backend.model import pose2rot
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.model.rotations import along_carriers, matrix_from_axis_angle, relative_to_carrier
from mocap_anything.training.data.asset import load_asset, save_asset
from mocap_anything.training.data.sample import SampleConfig, SampleMaker, Truth, collate
from mocap_anything.training.data.stream import Batch, SampleStream, StreamConfig
from mocap_anything.training.distributed import Team
from mocap_anything.training.losses import heat_loss
from mocap_anything.training.train import TrainConfig, Trainer, noisy_positions
from mocap_anything.training.watch import clip_metrics
from mocap_anything.training.zoo import make_creature, make_pair

MODEL = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                    match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1, time_window=2)
SAMPLE = SampleConfig(frames=3, image_size=64, max_bones=10, rendered_share=0.0, loose_share=0.0)
STREAM = StreamConfig(batch=2, motion_batch=2, motion_frames=4, baked_share=0.0, creature_uses=2, sample=SAMPLE)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(11)
    return SampleMaker(replace(SAMPLE, max_bones=60)).make(rng, make_creature(rng, "quadruped"))


def test_truth_lies_on_the_subject_and_turns_carry_the_reference_to_the_frame(sample):
    x, truth = sample
    assert x.images.shape == (1, 3, 3, 64, 64)
    assert truth.uv.shape[0] == 3
    inside = ((truth.uv > 0) & (truth.uv < 1)).all(-1) & x.point_mask[0]
    cell = (truth.uv.clamp(0, 0.999) * 16).long()
    covered = torch.stack([truth.mask[t][cell[t, ..., 1], cell[t, ..., 0]] for t in range(3)])
    assert covered[inside].gt(0.02).float().mean() > 0.8
    # a bone's points are rigid: its turn carries the reference's vectors onto the frame's, whatever the camera did
    then = x.ref_xyz[0, 0, :, 1:] - x.ref_xyz[0, 0, :, :1]
    now = truth.xyz[:, :, 1:] - truth.xyz[:, :, :1]
    carried = torch.einsum("tjab,jkb->tjka", truth.turn, then)
    assert (carried - now).abs()[:, x.point_mask[0, :, 1:]].max() < 1e-4


def test_points_of_a_rig_sit_on_another_subject_and_stay_fixed_to_its_bones():
    rng = np.random.default_rng(4)
    rig, twin = make_pair(rng, "quadruped")
    x, truth = SampleMaker(replace(SAMPLE, max_bones=60)).make(rng, rig, twin)
    inside = ((truth.uv[..., 0, :] > 0) & (truth.uv[..., 0, :] < 1)).all(-1)
    cell = (truth.uv[..., 0, :].clamp(0, 0.999) * 16).long()
    covered = torch.stack([truth.mask[t][cell[t, ..., 1], cell[t, ..., 0]] for t in range(3)])
    assert covered[inside].gt(0.02).float().mean() > 0.8
    then = x.ref_xyz[0, 0, :, 1:] - x.ref_xyz[0, 0, :, :1]
    now = truth.xyz[:, :, 1:] - truth.xyz[:, :, :1]
    assert (torch.einsum("tjab,jkb->tjka", truth.turn, then) - now).abs()[:, x.point_mask[0, :, 1:]].max() < 1e-4


def test_heat_loss_is_least_at_the_truth():
    uv = torch.tensor([[0.40, 0.71]])
    side = 8
    v, u = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    def peak(at):
        return (-8 * ((u / side - at[0]) ** 2 + (v / side - at[1]) ** 2) * side).flatten()[None]
    mask = torch.ones(1, dtype=torch.bool)
    right, wrong = heat_loss(peak(uv[0]), uv, mask), heat_loss(peak(torch.tensor([0.7, 0.3])), uv, mask)
    assert right < 0.5 * wrong


def test_local_rotation_error_by_hand():
    quarter = matrix_from_axis_angle(torch.tensor([0.0, 0.0, torch.pi / 2]))
    turn = torch.stack([quarter, quarter])[None, None]
    local = relative_to_carrier(turn, torch.tensor([[-1, 0]]))
    assert torch.allclose(local[0, 0, 0], quarter)
    assert torch.allclose(local[0, 0, 1], torch.eye(3), atol=1e-6)


def test_turns_relative_to_carriers_multiply_back_along_any_skeleton():
    carriers = torch.tensor([[-1, 0, 1, 2, 1, 4, 5], [1, -1, 1, -1, 3, 4, 5]])
    turn = matrix_from_axis_angle(torch.randn(2, 3, 7, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(along_carriers(relative_to_carrier(turn, carriers), carriers), turn, atol=1e-5)


def test_collating_pads_bones_only(sample):
    rng = np.random.default_rng(3)
    small = SampleMaker(SAMPLE).make(rng, make_creature(rng, "snake"))
    x, truth = collate([sample, small])
    count = small[0].point_mask.shape[1]
    assert x.joint_mask[1].sum() == count
    assert not x.point_mask[1, count:].any()
    assert torch.equal(truth.xyz[1, :, :count], small[1].xyz)


def test_batches_are_finite_and_the_same_for_the_same_seed():
    a, b = (next(iter(SampleStream(STREAM, []))) for _ in range(2))
    for name in ("images", "ref_xyz", "ref_uv"):
        assert torch.equal(getattr(a.clips[0], name), getattr(b.clips[0], name))
        assert torch.isfinite(getattr(a.clips[0], name)).all()
    following = list(islice(iter(SampleStream(STREAM, [])), 2))[1]
    resumed = next(iter(SampleStream(STREAM, [], start=1)))
    assert torch.equal(following.clips[0].images, resumed.clips[0].images)


def test_noise_has_the_size_that_it_announces():
    g = torch.Generator().manual_seed(0)
    xyz = torch.zeros(4, 40, 12, 5, 3)
    noisy, log_error = noisy_positions(xyz, g)
    ratio = noisy[..., 0, :].norm(dim=-1).mean((1,)) / log_error.exp().mean(1)
    assert 0.5 < ratio.median() < 2.5


def test_training_resumes_to_the_same_result(tmp_path):
    config = TrainConfig(model=MODEL, stream=STREAM, bf16=False, warmup=2)
    batches = list(islice(iter(SampleStream(STREAM, [])), 4))
    straight = Trainer(config, tmp_path / "straight", [])
    losses = [straight.train_step(batch, 1e-3)[0]["loss"] for batch in batches]
    assert all(np.isfinite(losses))
    first = Trainer(config, tmp_path / "parts", [])
    for batch in batches[:2]:
        first.train_step(batch, 1e-3)
    first.save()
    second = Trainer(config, tmp_path / "parts", [])
    assert second.step == 2
    for batch in batches[2:]:
        second.train_step(batch, 1e-3)
    for a, b in zip(straight.model.parameters(), second.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("stage", ["match", "motion", "joint", "finetune"])
def test_nothing_of_a_step_stays_on_the_cpu(stage, tmp_path, monkeypatch):
    """On the meta device, which refuses to be mixed with another as a card does; but for what looks at numbers, which it has none of."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(pose2rot, "along_carriers", lambda turn, _: turn)
    monkeypatch.setattr(pose2rot, "turns_from_points", lambda _, now, *__: now.new_zeros(*now.shape[:-2], 3, 3))
    batch = next(iter(SampleStream(STREAM, [])))
    batch = Batch(None if stage == "motion" else batch.clips, None if stage == "match" else batch.motion)
    trainer = Trainer(TrainConfig(stage=stage, model=MODEL, stream=STREAM, bf16=False), tmp_path, [], "meta")
    for trainer.step in (0, 1):
        loss, terms = trainer.losses(batch)
        assert {value.device.type for value in (loss, *terms.values())} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card here")
@pytest.mark.parametrize("stage", ["match", "motion", "joint"])
def test_a_step_on_a_card_is_the_step_on_the_cpu(stage, tmp_path):
    batch = next(iter(SampleStream(STREAM, [])))
    batch = Batch(None if stage == "motion" else batch.clips, None if stage == "match" else batch.motion)
    config = TrainConfig(stage=stage, model=MODEL, stream=STREAM, bf16=False, warmup=2)
    losses = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(config, tmp_path / device, [], device)
        losses.append([trainer.train_step(batch, 1e-3)[0]["loss"] for _ in range(2)])
        trainer.validate({"unseen": [batch]})
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)


def test_metrics_of_a_perfect_answer_are_zero(sample):
    x, truth = collate([sample])
    from mocap_anything.backend.model.batch import ModelOutput

    out = ModelOutput(truth.uv, torch.zeros(1), truth.xyz, torch.zeros(truth.xyz.shape[:3]), truth.turn, truth.turn, truth.mask)
    found = clip_metrics(out, Truth(truth.uv, truth.xyz, truth.turn, truth.mask), x)
    assert found["local"] < 0.1
    assert found["xyz"] == 0
    assert found["pck05"] == 1
    assert found["hold_local"] > 1


def test_assets_survive_the_disk(tmp_path):
    asset = make_creature(np.random.default_rng(0), "bird")
    save_asset(asset, tmp_path / "a.npz")
    again = load_asset(tmp_path / "a.npz")
    assert again.rig.names == asset.rig.names
    assert np.array_equal(again.clips[0].pose, asset.clips[0].pose)
    assert np.array_equal(again.rig.mesh.weights, asset.rig.mesh.weights)


def _two_halves(rank, port, config, folder, batches):
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.full((3,), float(rank))
    team = Team()
    assert team.average_gradients([parameter], stop=rank == 1) is True
    assert torch.equal(parameter.grad, torch.full((3,), 0.5))
    trainer = Trainer(config, folder / str(rank), [])
    losses = [trainer.train_step(batch, 1e-3)[0]["loss"] for batch in batches[rank::2]]
    torch.save(losses, folder / str(rank) / "losses.pt")
    trainer.save()
    trainer.team.leave()


def _run_two(config, folder, batches):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_two_halves, (port, config, folder, batches), nprocs=2)


def test_two_processes_stay_in_step(tmp_path):
    """Gradients are the mean of both, any process can end the run, and after steps on different batches both hold the same weights."""
    config = TrainConfig(model=MODEL, stream=STREAM, bf16=False, warmup=2)
    _run_two(config, tmp_path, list(islice(iter(SampleStream(STREAM, [])), 4)))
    a, b = (torch.load(tmp_path / str(rank) / "state.pt", weights_only=True)["model"] for rank in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_learn_as_one_with_the_double_batch(tmp_path):
    """Near enough: in the double batch a clip counts by its points in the picture, in halves within its half."""
    rng = np.random.default_rng(5)
    asset, maker = make_creature(rng, "quadruped"), SampleMaker(SAMPLE)
    config = TrainConfig(stage="match", model=MODEL, stream=STREAM, bf16=False, warmup=2)
    samples = [[maker.make(rng, asset) for _ in range(4)] for _ in range(4)]
    _run_two(config, tmp_path, [Batch(collate(half), None) for four in samples for half in (four[:2], four[2:])])
    alone = Trainer(config, tmp_path / "alone", [])
    curve = [alone.train_step(Batch(collate(four), None), 1e-3)[0]["loss"] for four in samples]
    halves = np.mean([torch.load(tmp_path / str(rank) / "losses.pt", weights_only=True) for rank in range(2)], 0)
    np.testing.assert_allclose(halves, curve, rtol=0.02)
    together = torch.load(tmp_path / "0" / "state.pt", weights_only=True)["model"]
    start = Trainer(config, tmp_path / "start", []).model.state_dict()
    moved = [torch.cat([(state[name] - start[name]).flatten() for name in start if start[name].is_floating_point()])
             for state in (together, alone.model.state_dict())]
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.8
