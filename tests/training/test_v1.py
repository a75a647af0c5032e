"""The V1 baseline at tiny sizes: its parts by hand, and that training moves it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.body_points import view_orientations, view_points
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.kinematics import bone_rotations
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.model.network import Video2Pose2Rot
from mocap_anything.training import network_methods
from mocap_anything.training.data.sample import SampleConfig
from mocap_anything.training.data.scene import sample_surface
from mocap_anything.training.data.stream import Batch, SampleStream, StreamConfig
from mocap_anything.training.filming import Filmed, film, heads_of_positions, motion_of_turns
from mocap_anything.training.methods import posed
from mocap_anything.training.metrics import score
from mocap_anything.training.takes import PROTOCOLS, Take, make_take
from mocap_anything.training.v1 import flops, speed
from mocap_anything.training.v1.config import V1Config
from mocap_anything.training.v1.mesh2pose import windowed
from mocap_anything.training.v1.network import MoCapV1, V1Output, load_v1, save_v1
from mocap_anything.training.v1.train import V1Trainer, v1_config, v1_terms
from mocap_anything.training.v1.video2mesh import chamfer
from mocap_anything.training.zoo import make_creature

ENCODER = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, token_head_dim=16, encoder_layers=1)
SECOND = replace(ENCODER, fine_dim=16, joint_dim=32, head_dim=16, match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1)
TINY = V1Config(encoder=ENCODER, dim=32, head_dim=16, surface_points=24, mesh_layers=1, prompt_layers=2, motion_layers=2, token_window=1, time_window=2)
SAMPLE = SampleConfig(frames=4, image_size=64, max_bones=10, rendered_share=0.0, loose_share=0.0)
CONFIG = replace(v1_config(StreamConfig(batch=2, baked_share=0.0, creature_uses=2, sample=SAMPLE), TINY), bf16=False, warmup=1)


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return list(islice(iter(SampleStream(CONFIG.stream, [])), 2))


def test_the_streams_surface_is_the_skin_in_the_joints_own_axes(batches: list[Batch]) -> None:
    x, truth = batches[0].clips
    assert batches[0].motion is None
    assert truth.surface.shape == (2, 4, 24, 3)
    assert truth.ref_surface.shape == (2, 24, 3)
    # bones lie inside their skin: the two boxes have one middle and much the same size
    heads = truth.xyz[..., 0, :]
    for clip in range(2):
        bones = heads[clip][:, x.joint_mask[clip]]
        reach = (truth.surface[clip].amax(1) - truth.surface[clip].amin(1)).norm(dim=-1)
        apart = (truth.surface[clip].mean(1) - bones.mean(1)).norm(dim=-1)
        assert (apart < 0.4 * reach).all()
        assert (reach > 0.3).all()
        assert (reach < 3).all()


def test_surface_points_lie_on_their_triangles_and_ride_along() -> None:
    rest = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 9.0]])
    triangles = np.array([[0, 1, 2], [0, 0, 3]])  # the second has no area
    moved = np.stack([rest, 2 * rest + [1, 0, 0]])
    points = sample_surface(np.random.default_rng(0), rest, triangles, moved, 500)
    assert (points[0, :, 2] == 0).all()
    assert ((points[0, :, :2] >= 0).all(1) & (points[0, :, :2].sum(1) <= 4 + 1e-9)).all()
    np.testing.assert_allclose(points[1], 2 * points[0] + [1, 0, 0])
    np.testing.assert_allclose(points[0].mean(0), [4 / 3, 4 / 3, 0], atol=0.15)


def test_chamfer_by_hand() -> None:
    there, back = chamfer(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[0.0, 0, 0], [0, 3, 0], [0, 0, 4]]))
    assert float(there) == pytest.approx(0.5)  # 0 and 1
    assert float(back) == pytest.approx(7 / 3)  # 0, 3 and 4


def test_windows_of_tokens_hide_what_is_not_there() -> None:
    tokens = torch.arange(4.0)[None, :, None, None].expand(1, 4, 2, 1)
    frames = torch.tensor([[True, True, True, False]])
    seen, bias = windowed(tokens, frames, 1)
    assert seen[0, 1, :, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert (bias[0, :, 0, 0, ::2] == 0).tolist() == [[False, True, True], [True, True, True], [True, True, False], [True, True, False]]


def test_a_clips_answer_depends_on_its_receptive_field_alone(batches: list[Batch]) -> None:
    torch.manual_seed(0)
    config = replace(TINY, mesh_layers=1, motion_layers=1, token_window=0, time_window=1)
    model = MoCapV1(config).eval()
    assert config.receptive_field == 2
    torch.nn.init.normal_(model.mesh2pose.head[-1].weight, std=0.1)
    x, truth = batches[0].clips
    changed = replace(x, images=x.images.clone())
    changed.images[:, 3] = 0.3
    with torch.no_grad():
        a, b = (model(each, truth.ref_surface) for each in (x, changed))
    assert torch.equal(a.xyz[:, 0], b.xyz[:, 0])
    assert not torch.allclose(a.xyz[:, 2], b.xyz[:, 2])


def test_losses_are_zero_at_the_truth_and_padding_does_not_count() -> None:
    surface, xyz = torch.randn(1, 3, 5, 3), torch.randn(1, 3, 2, 3)
    mask = torch.tensor([[True, False]])
    off = xyz.clone()
    off[:, :, 1] += 9
    assert all(float(v) < 1e-3 for v in v1_terms(V1Output(surface, off), surface, xyz, mask).values())
    off[:, 0, 0, 0] += 3
    terms = v1_terms(V1Output(surface, off), surface, xyz, mask)
    assert float(terms["position"]) == pytest.approx(3 / 9)
    assert float(terms["change"]) == pytest.approx(3 / 6)


def test_it_trains_and_goes_on_where_it_stopped(batches: list[Batch], tmp_path: Path) -> None:
    trainer = V1Trainer(CONFIG, tmp_path / "run", [])
    losses = [trainer.train_step(batches[0], 3e-3)[0] for _ in range(12)]
    assert losses[-1]["loss"] < 0.8 * losses[0]["loss"]
    assert losses[-1]["completeness"] < losses[0]["completeness"]
    trainer.save()
    again = V1Trainer(CONFIG, tmp_path / "run", [])
    assert again.step == 12
    a, b = (each.train_step(batches[1], 1e-3)[0] for each in (trainer, again))
    assert a == pytest.approx(b)
    row = trainer.measure(batches[0])
    assert set(row) == {"xyz", "xyz_true_mesh", "hold_xyz", "chamfer"}
    assert all(np.isfinite(value) for value in row.values())
    model = load_v1(tmp_path / "run" / "model.safetensors")
    assert model.config == TINY


def test_mesh2pose_alone_learns_from_geometry(tmp_path: Path) -> None:
    stream = StreamConfig(batch=0, motion_batch=4, motion_frames=4, baked_share=0.0, creature_uses=2, sample=SAMPLE)
    trainer = V1Trainer(replace(v1_config(stream, TINY), stage="motion", bf16=False, warmup=1), tmp_path, [])
    batch = next(iter(trainer.stream()))
    assert batch.clips is None
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    losses = [trainer.train_step(batch, 3e-3)[0]["position"] for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]
    changed = {name.split(".")[0] for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"mesh2pose"}
    assert set(trainer.measure(batch)) == {"xyz", "hold_xyz"}
    trainer.save()
    whole = V1Trainer(CONFIG, tmp_path / "whole", [])
    whole.start_from(tmp_path / "model.safetensors", whole.motion_parts)
    there, here = (each.state_dict()["mesh2pose.head.1.weight"] for each in (trainer.average, whole.model))
    np.testing.assert_allclose(there.numpy(), here.numpy(), atol=1e-3)


@pytest.fixture(scope="module")
def filmed_takes() -> list[tuple[Take, Filmed]]:
    """Eight frames of a creature after each protocol."""
    asset = make_creature(np.random.default_rng(4), "quadruped")
    first, *rest = (replace(clip, held_out=True) for clip in asset.clips)
    rest = rest or [replace(first, name="other", pose=first.pose[::-1])]
    asset = replace(asset, clips=(first, *rest))
    found = []
    for protocol in PROTOCOLS:
        take = make_take(asset, first, protocol, "unseen")
        assert take is not None
        take = replace(take, frames=np.arange(8), **({"reference": (first, 4), "keyed": 4} if protocol == "aligned" else {}))
        found.append((take, film(take, 64, TINY.surface_points)))
    return found


def test_true_answers_come_back_as_the_true_poses(filmed_takes: list[tuple[Take, Filmed]]) -> None:
    """What a perfect network would say of the pictures is the take's own motion, before whatever camera."""
    for take, filmed in filmed_takes:
        pose, bones = take.pose, filmed.body.bones
        camera, crop = filmed.camera, filmed.crop
        now = view_orientations(camera, crop, bone_rotations(pose)[:, bones])
        then = view_orientations(filmed.reference.camera, filmed.reference_crop, bone_rotations(take.reference_pose)[bones])
        uv, xyz = view_points(filmed.body, camera, crop, filmed.body.points(pose))
        motion = motion_of_turns(take, filmed, now @ np.swapaxes(then, -1, -2), uv.astype(np.float32), np.full(now.shape[:2], 0.01))
        driven = score(take.asset.rig, pose, posed(motion.rotations, motion.heads), 24, take.asset.up)
        assert driven["rotation"] < 0.1
        assert driven["mpjpe"] < 1
        heads = heads_of_positions(filmed, xyz[..., 0, :])
        truth = pose[:, bones][..., :3, 3]
        apart = (heads - heads.mean(1, keepdims=True)) - (truth - truth.mean(1, keepdims=True))
        assert np.abs(apart).max() < 1e-4 * take.asset.rig.size


def test_both_networks_are_methods_of_the_evaluation(filmed_takes: list[tuple[Take, Filmed]]) -> None:
    torch.manual_seed(0)
    take = filmed_takes[0][0]
    second = Video2Pose2Rot(SECOND).eval()
    first = MoCapV1(TINY).eval()
    for method in (network_methods.v2(second), network_methods.v1(first, True), network_methods.v1(first, False)):
        pose = method(take)
        assert pose.shape == take.pose.shape
        assert np.isfinite(pose).all()


def test_speed_names_every_stage(filmed_takes: list[tuple[Take, Filmed]]) -> None:
    second = Video2Pose2Rot(SECOND).eval().requires_grad_(False)
    stages = speed.run_v1(MoCapV1(TINY).eval().requires_grad_(False), *filmed_takes[0], count=True) + speed.run_v2(second, *filmed_takes[0], count=True)
    text = speed.report(stages, 8, 20)
    for name in ("video2mesh", "mesh2pose", "inverse kinematics", "pose2rot", "TripoSG"):
        assert name in text
    assert all(stage.flops > 0 for stage in stages if stage.name in ("video2mesh", "mesh2pose", "pose2rot"))


def test_the_arithmetic_of_published_sizes_by_hand() -> None:
    assert flops.linear(3, 2, 5) == 60
    assert flops.attention(2, 3, 4) == 96  # two products of 2 x 3 x 4 multiply-adds
    assert flops.vision_transformer(257, 1024, 24) == pytest.approx(161.7e9, rel=1e-3)  # twice 302 million weights a token, and the attention
    parts = flops.published(50)
    assert flops.total(parts, "V1") == pytest.approx(702.6e12, rel=1e-3)
    assert 165e9 < flops.total(parts, "V2") < 175e9


def test_weights_of_another_kind_are_refused(tmp_path: Path, model_file: Path) -> None:
    save_v1(MoCapV1(TINY), tmp_path / "a.safetensors")
    assert load_v1(tmp_path / "a.safetensors").config == TINY
    with pytest.raises(CaptureError, match="no V1 model"):
        load_v1(tmp_path / "none.safetensors")
    with pytest.raises(CaptureError, match="not a V1 model"):
        load_v1(model_file)
