"""Pictures drawn on the device that trains: what the compiled renderer draws, the same truth, the same again for a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.training.data.sample import SampleConfig, SampleMaker
from mocap_anything.training.data.scene import Scene
from mocap_anything.training.data.staging import StagingMaker
from mocap_anything.training.data.stream import SampleStream, StreamConfig
from mocap_anything.training.data.views import crop_intrinsics
from mocap_anything.training.render import Look, shading
from mocap_anything.training.render.scene import Creature, _Drawer, _gather
from mocap_anything.training.studio import faults
from mocap_anything.training.studio import studio as studio_module
from mocap_anything.training.studio.chance import Chance
from mocap_anything.training.studio.crowd import gather, lights
from mocap_anything.training.studio.shading import coat
from mocap_anything.training.studio.stage import join
from mocap_anything.training.studio.studio import Studio
from mocap_anything.training.train import TrainConfig, Trainer
from mocap_anything.training.zoo import make_creature

CPU = torch.device("cpu")
SIZE = 64
SAMPLE = SampleConfig(frames=2, image_size=SIZE, max_bones=12, rendered_share=0.4)
STREAM = StreamConfig(seed=3, batch=3, motion_batch=0, baked_share=0.0, creature_uses=2, staged=True, sample=SAMPLE)


@pytest.fixture(scope="module")
def batch():
    return next(iter(SampleStream(STREAM, [])))


class _Keeps(StagingMaker):
    """Remembers the scenes that it staged."""

    scenes: tuple[Scene, ...] = ()

    def film(self, rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        self.scenes = (*self.scenes, scene)
        return super().film(rng, scene)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("patterned", "least"), [(False, 0.002), (True, 0.01)])  # soft shadows turn their taps in another way
def test_bodies_look_as_the_compiled_renderer_draws_them(seed: int, patterned: bool, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio_module, "_SAMPLES", 1)  # the compiled renderer shades several samples of a pixel once
    rng = np.random.default_rng(seed)
    maker = _Keeps(replace(SAMPLE, rendered_share=0.0))
    asset = make_creature(rng, "quadruped")
    maker.make(rng, asset)
    scene = maker.scenes[0]
    mesh = asset.rig.mesh
    drawing = maker._drawing(np.random.default_rng(7), scene)
    look = Look.random(np.random.default_rng(7), mesh.colors, mesh.vertices, np.asarray(asset.up))
    standing = drawing.standing[0]
    if not patterned:
        look.coat[[shading.STRENGTH, shading.DETAIL]] = 0
        look = replace(look, light=replace(look.light, shadow=0.0))
        drawing.light[:, 17] = 0
        standing = replace(standing, body=replace(standing.body, coat=look.coat))
    drawing = replace(drawing, standing=[standing], shutter=0.0, slot=np.arange(len(scene.frames)))
    studio, stage = Studio(SIZE, CPU), join([drawing])
    crowd = gather(stage)
    sun, light = lights(crowd, stage.light[:, :3]), stage.light.clone()
    light[:, 19] *= sun.texels
    color, cover, subject = studio._bodies(stage, crowd, sun, light, stage.albedo)
    heads = scene.camera.to_camera(scene.seen[..., 0, :])
    extent = float(np.ptp(heads[len(heads) // 2], 0).max())  # the staging's unit
    vertices = scene.camera.to_camera(scene.vertices).astype(np.float32)
    world = _gather(Creature(vertices, mesh.triangles.astype(np.int32), mesh.vertices, replace(look, camouflage=0.0)), (), None, np.zeros(3))
    drawer = _Drawer(world, look, SIZE, 1, 0.0, extent, True)
    intrinsics = crop_intrinsics(scene.camera, scene.crop, SIZE).astype(np.float64)
    for p in range(len(scene.frames)):
        drawer.frame(p, intrinsics[p], drawing.up[p], 0.0, np.zeros((SIZE, SIZE, 3), np.uint8), np.empty((SIZE, SIZE), np.float32))
        assert np.abs(cover[p].numpy() - drawer.cover).mean() < 2e-3
        assert np.abs(subject[p].numpy() - drawer.subject).mean() < 2e-3
        apart = np.abs(color[p].permute(1, 2, 0).numpy() - drawer.color)[drawer.cover > 0.99]
        assert apart.mean() < least


def test_coats_are_the_compiled_ones() -> None:
    rng = np.random.default_rng(2)
    at = rng.uniform(-1, 1, (40, 3)).astype(np.float32)
    for _ in range(6):
        look = Look.random(rng, np.full((8, 3), 0.5), rng.normal(0, 1, (8, 3)))
        share, grain = coat(torch.from_numpy(shading.LATTICE), torch.from_numpy(look.coat).expand(40, -1), torch.from_numpy(at))
        theirs = np.array([shading.coat(shading.LATTICE, look.coat, *(float(v) for v in point)) for point in at])
        np.testing.assert_allclose(torch.stack([share, grain], 1).numpy(), theirs, atol=2e-3)


def test_pictures_fill_a_batch_and_show_its_points(batch) -> None:
    x, truth = Studio(SIZE, CPU).fill(*batch.clips, batch.stage, 5)
    assert x.images.shape == (3, 2, 3, SIZE, SIZE)
    assert x.ref_images.shape == (3, 1, 3, SIZE, SIZE)
    assert x.ref_masks.shape == (3, 1, 1, SIZE, SIZE)
    assert truth.mask.shape == (3, 2, SIZE // 4, SIZE // 4)
    assert x.images.isfinite().all()
    assert x.images.std((1, 2, 3, 4)).min() > 0.01
    wide = torch.nn.functional.max_pool2d(truth.mask, 3, 1, 1)  # ends of ears and toes may be thinner than a cell
    cell = (truth.uv.clamp(0, 0.999) * SIZE // 4).long()
    inside = ((truth.uv > 0) & (truth.uv < 1)).all(-1) & x.point_mask[:, None]
    found = torch.stack([torch.stack([wide[b, t][cell[b, t, ..., 1], cell[b, t, ..., 0]] for t in range(2)]) for b in range(3)])
    assert (found[inside] > 0.02).float().mean() > 0.8


def test_a_seed_gives_the_same_pictures_again(batch) -> None:
    studio = Studio(SIZE, CPU)
    first, again, other = (studio.film(batch.stage, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_everything_is_made_on_the_studios_device(batch) -> None:
    """What is made without naming a device lands on the meta device here, and cannot be mixed with the rest."""
    with torch.device("meta"):
        pictures, _ = Studio(SIZE, CPU).film(batch.stage, 5)
    assert pictures.device == CPU


def test_staging_leaves_the_truth_as_it_is() -> None:
    asset = make_creature(np.random.default_rng(1), "quadruped")
    config = replace(SAMPLE, rendered_share=0.0, loose_share=0.0)
    (x, truth), (staged, other) = (maker(config).make(np.random.default_rng(4), asset) for maker in (SampleMaker, StagingMaker))
    assert torch.equal(x.times, staged.times)
    # the first picture's camera is drawn before anything that painting draws
    assert torch.equal(truth.uv, other.uv)
    assert torch.equal(truth.turn, other.turn)


def test_a_packed_picture_is_the_picture_but_for_rounding() -> None:
    line = torch.linspace(0, 1, 32)
    picture = torch.stack([line[None].expand(32, -1), line[:, None].expand(-1, 32), torch.full((32, 32), 0.5)])[None]
    coarse = [faults._quantised(picture[:, :1] * 255, faults._LUMA, torch.tensor([scale])) / 255 for scale in (1e-6, 2.0)]
    np.testing.assert_allclose(coarse[0].numpy(), picture[:, :1].numpy(), atol=3e-3)  # steps of one
    assert 2e-3 < (coarse[1] - picture[:, :1]).abs().mean() < 0.05
    shot = torch.zeros(1, dtype=torch.long)
    for fault in (faults.blur, faults.tone, faults.resample, faults.compress):
        assert fault(Chance(1, CPU), picture, shot, 1).shape == picture.shape


def test_a_run_learns_from_what_it_draws_itself(tmp_path) -> None:
    model = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                        match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1, time_window=2)  # fmt: skip
    trainer = Trainer(TrainConfig(stage="match", model=model, stream=STREAM, warmup=2), tmp_path, [])
    trainer.run(60, False, {}, workers=1, steps=2)
    assert trainer.step >= 2
    resumed = Trainer(TrainConfig(stage="match", model=model, stream=STREAM, warmup=2), tmp_path, [])
    assert resumed.step == trainer.step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card here")
def test_a_card_draws_what_the_cpu_draws(batch) -> None:
    """Bodies alone: random numbers are not the same on both."""
    covers = []
    for device in (CPU, torch.device("cuda")):
        stage = batch.stage.to(device)
        crowd = gather(stage)
        covers.append(Studio(SIZE, device)._bodies(stage, crowd, lights(crowd, stage.light[:, :3]), stage.light, stage.albedo)[1].cpu())
    assert (covers[0] - covers[1]).abs().mean() < 1e-3
