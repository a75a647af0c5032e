"""The network: what it must not depend on, windows against the whole, and models on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.model.batch import ModelInput
from mocap_anything.backend.model.checkpoint import load_model, save_model
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.model.network import Video2Pose2Rot
from mocap_anything.backend.model.rotations import geodesic, matrix_from_6d, matrix_from_axis_angle, matrix_to_6d
from mocap_anything.backend.model.skeleton_graph import skeleton_graph
from mocap_anything.backend.model.video2pose import local_argmax, local_modes

TINY = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                   match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1, time_window=2)
CARRIERS = np.array([-1, 0, 1, 0, 3, 4])


def tiny_model(seed: int = 0) -> Video2Pose2Rot:
    torch.manual_seed(seed)
    model = Video2Pose2Rot(TINY)
    for parameter in model.parameters():  # heads start at zero: shake them, so that every path matters
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def clip(frames: int = 5, references: int = 1, seed: int = 1) -> ModelInput:
    g = torch.Generator().manual_seed(seed)
    joints, points, size = len(CARRIERS), TINY.points, TINY.image_size
    hop, edge = skeleton_graph(CARRIERS)
    turns = matrix_from_axis_angle(0.5 * torch.randn(1, references, joints, 3, generator=g))
    turns[:, 0] = torch.eye(3)
    return ModelInput(
        ref_images=torch.rand(1, references, 3, size, size, generator=g), ref_masks=torch.rand(1, references, 1, size, size, generator=g),
        ref_uv=torch.rand(1, references, joints, points, 2, generator=g), ref_xyz=0.3 * torch.randn(1, references, joints, points, 3, generator=g),
        ref_turn=turns, rest_turn=torch.eye(3).expand(1, joints, 3, 3), point_mask=torch.ones(1, joints, points, dtype=torch.bool),
        joint_mask=torch.ones(1, joints, dtype=torch.bool), carriers=torch.from_numpy(CARRIERS)[None], hop=torch.from_numpy(hop)[None],
        edge=torch.from_numpy(edge)[None], ref_times=torch.zeros(1, references),
        zoom=torch.ones(1, frames), images=torch.rand(1, frames, 3, size, size, generator=g),
        times=torch.arange(frames)[None] / 24, frame_mask=torch.ones(1, frames, dtype=torch.bool),
    )


def test_skeleton_graph_by_hand():
    hop, edge = skeleton_graph(CARRIERS)
    assert hop[2].tolist() == [2, 1, 0, 3, 4, 5]
    assert edge[2].tolist() == [1, 1, 0, 4, 4, 4]
    assert edge[1].tolist() == [1, 0, 2, 3, 4, 4]
    apart, kinds = skeleton_graph(np.array([-1, -1]))
    assert apart[0, 1] == 7
    assert kinds[0, 1] == 4


def test_local_argmax_finds_a_peak_between_cells_and_ignores_a_second_one():
    side = 16
    v, u = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
    main = np.exp(-((u - 5.3) ** 2 + (v - 9.6) ** 2))
    other = 0.6 * np.exp(-((u - 14) ** 2 + (v - 2) ** 2))
    heat = torch.from_numpy(np.log(main + other + 1e-9)).float().flatten()[None]
    uv, certainty = local_argmax(heat, side)
    assert np.allclose(uv[0].numpy() * side, [5.3, 9.6], atol=0.12)
    assert 0.5 < float(certainty[0, 0]) < 0.75


def test_local_modes_name_both_places_that_a_point_may_be_at():
    cells = torch.arange(16) + 0.5
    u, v = torch.meshgrid(cells, cells, indexing="xy")
    bumps = sum(share * torch.exp(-((u - x) ** 2 + (v - y) ** 2) / 2) for x, y, share in ((4.3, 5.6, 0.7), (11.4, 10.6, 0.3)))
    places, chances = local_modes((bumps / bumps.sum() + 1e-9).log().flatten()[None, None], 16, 3)
    assert torch.allclose(places[0, 0, :2] * 16, torch.tensor([[4.3, 5.6], [11.4, 10.6]]), atol=0.1)
    assert torch.allclose(chances[0, 0, :2], torch.tensor([0.7, 0.3]), atol=0.05)
    assert chances[0, 0, 2] < 1e-3


def test_rotations_round_trip_and_geodesic_at_the_edges():
    v = torch.randn(50, 3)
    rotation = matrix_from_axis_angle(v)
    assert torch.allclose(matrix_from_6d(matrix_to_6d(rotation)), rotation, atol=1e-5)
    angles = torch.tensor([0.0, 1e-3, 1.0, 3.1])
    turned = matrix_from_axis_angle(angles[:, None] * torch.tensor([0.0, 0.0, 1.0]))
    assert torch.allclose(geodesic(torch.eye(3).expand(4, 3, 3), turned), angles, atol=2e-3)


def test_padding_bones_changes_nothing():
    model, x = tiny_model(), clip()
    wide = replace(x)
    padding = [("ref_uv", (2,), 0), ("ref_xyz", (2,), 0), ("point_mask", (1,), 0), ("joint_mask", (1,), 0), ("carriers", (1,), -1), ("hop", (1, 2), 7)]
    for name, axes, fill in [*padding, ("edge", (1, 2), 4)]:
        tensor = getattr(x, name)
        for axis in axes:
            shape = list(tensor.shape)
            shape[axis] = 3
            tensor = torch.cat([tensor, torch.full(shape, fill, dtype=tensor.dtype)], axis)
        setattr(wide, name, tensor)
    eye = torch.eye(3)
    wide.ref_turn = torch.cat([x.ref_turn, eye.expand(1, 1, 3, 3, 3)], 2)
    wide.rest_turn = torch.cat([x.rest_turn, eye.expand(1, 3, 3, 3)], 1)
    with torch.no_grad():
        a, b = model(x), model(wide)
    for name in ("uv", "xyz", "turn", "log_error"):
        assert torch.allclose(getattr(a, name), getattr(b, name)[:, :, : len(CARRIERS)], atol=1e-5), name


def test_a_frame_sees_its_receptive_field_and_no_more():
    model, x = tiny_model(), clip(frames=20)
    changed = replace(x, images=x.images.clone())
    changed.images[:, 19] = torch.rand(3, TINY.image_size, TINY.image_size)
    with torch.no_grad():
        a, b = model(x), model(changed)
    gap = (a.turn - b.turn).abs().amax((0, 2, 3, 4))
    reach = TINY.receptive_field
    assert gap[: 19 - reach].max() == 0
    assert gap[19] > 0
    assert gap[19 - reach] > 0


def test_several_references_are_all_looked_at():
    model, x = tiny_model(), clip(references=3)
    changed = replace(x, ref_images=x.ref_images.clone())
    changed.ref_images[:, 2] = 0.5
    with torch.no_grad():
        assert (model(x).xyz - model(changed).xyz).abs().max() > 1e-6


def test_rotation_loss_reaches_the_image_encoder():
    model, x = tiny_model(), clip()
    model(x).turn.square().sum().backward()
    gradient = model.encoder.stem[0].weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


OFF = [{"closed_form": False}, {"image_to_rot": False}, {"sample_reference": False}, {"carried": False}, {"since_reference": False}]
SWITCHES = [*OFF, {"attention": "local"}, {"attention": "global"}, {"surface_points": 0}]


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_row_of_the_ablation_runs(switch):
    config = replace(TINY, **switch)
    x = clip()
    points = config.points
    x = replace(x, ref_uv=x.ref_uv[..., :points, :], ref_xyz=x.ref_xyz[..., :points, :], point_mask=x.point_mask[..., :points])
    out = Video2Pose2Rot(config)(x)
    assert out.xyz.shape == (1, 5, len(CARRIERS), points, 3)
    assert torch.isfinite(out.turn).all()


def test_model_file_round_trip_and_what_is_refused(tmp_path):
    model, path = tiny_model(), tmp_path / "tiny.safetensors"
    save_model(model, path)
    again = load_model(path)
    assert again.config == TINY
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(CaptureError, match="is not in"):
        load_model(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CaptureError, match="damaged"):
        load_model(damaged)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "foreign.safetensors"))
    with pytest.raises(CaptureError, match="not a model"):
        load_model(tmp_path / "foreign.safetensors")
    other = Video2Pose2Rot(replace(TINY, rot_layers=2))
    other.config = TINY
    save_model(other, tmp_path / "mismatch.safetensors")
    with pytest.raises(CaptureError, match="another version"):
        load_model(tmp_path / "mismatch.safetensors")
