"""Training samples of the follower: a frame and a later or earlier one through the same crop, and where each point of the skin that shows has gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...backend.body_points import Crop, read_body
from ...backend.drawn import Visible, project
from ...backend.model.config import SURFACE_POINTS
from ..follower import first_flow
from ..render import raster
from .asset import Asset
from .sample import SampleConfig, SampleMaker
from .scene import Scene
from .shots import ShotStream, Tensors, centred
from .views import crop_intrinsics, random_crop

_STRIDES, _STRIDE_SHARE = (1, 2, 3, 4), (0.45, 0.3, 0.15, 0.1)  # frames of a clip from one to the next
_ROOM = 1.05  # of the crop: what flow is looked for in, as in a capture
_STILL, _STILL_SHARE = 0.002, 0.3  # of the picture: pairs whose skin moves less than this in the mean, of which so many are kept
_FAR = 0.3  # of the picture: farther flow is not asked for
_FEW = 20  # pixels of the skin that must show


@dataclass
class PairBatch(Tensors):
    """before, after (B, 3, S, S) -0.5..0.5, start (B, 2, S/4, S/4) and flow (B, 2, S/2, S/2) shares of S, known (B, S/2, S/2) bool."""

    before: torch.Tensor
    after: torch.Tensor
    start: torch.Tensor
    flow: torch.Tensor
    known: torch.Tensor


@dataclass(frozen=True)
class PairConfig:
    """frames a shot, shots a batch, pairs a shot, share of shots of baked rigs, pixels of the pictures' side."""

    frames: int = 4
    shots: int = 3
    pairs: int = 5
    baked_share: float = 0.6
    seed: int = 0
    image_size: int = 192


def see(vertices: np.ndarray, triangles: np.ndarray, intrinsics: np.ndarray, size: int) -> Visible:
    """What shows of a mesh (V, 3) in the camera frame, by the compiled z-buffer."""
    ids, _ = raster.draw(vertices, triangles, intrinsics, size, 1)
    pixel = np.flatnonzero(ids.ravel() >= 0)
    triangle = ids.ravel()[pixel]
    ray = np.stack([(pixel % size + 0.5 - intrinsics[2]) / intrinsics[0], (pixel // size + 0.5 - intrinsics[3]) / intrinsics[1], np.ones(len(pixel))], 1)
    a, b, c = np.moveaxis(vertices[triangles[triangle]].astype(np.float64), 1, 0)
    weights = np.stack([(ray * np.cross(*pair)).sum(1) for pair in ((b, c), (c, a), (a, b))], 1)
    total = weights.sum(1, keepdims=True)
    return Visible(size, pixel, triangle, np.clip(weights / np.where(np.abs(total) > 1e-20, total, 1), 0, 1))


class _Steady(SampleMaker):
    """Films all pictures of a shot through one crop."""

    def crop(self, rng: np.random.Generator, pixels: np.ndarray, references: int) -> Crop:
        crop = random_crop(rng, pixels, references)
        low, high = (crop.center - crop.side[:, None] / 2).min(0), (crop.center + crop.side[:, None] / 2).max(0)
        count = len(pixels)
        side = (0.6 * float(crop.side.mean()) + 0.4 * float((high - low).max())) * _ROOM
        return Crop(np.tile((low + high) / 2, (count, 1)), np.full(count, side))


class PairMaker:
    """Makes samples; everything random comes from the generator that is handed in."""

    def __init__(self, config: PairConfig) -> None:
        self.config = config
        self.maker = _Steady(SampleConfig(frames=config.frames, image_size=config.image_size))

    def make(self, rng: np.random.Generator, asset: Asset) -> list[tuple[np.ndarray, ...]]:
        """Some pairs of one shot: (before, after uint8 (S, S, 3), start, flow, known) each."""
        config, clip = self.config, asset.clips[rng.integers(len(asset.clips))]
        mesh = asset.rig.mesh
        assert mesh is not None
        start, stride = rng.integers(0, len(clip.pose)), int(rng.choice(_STRIDES, p=_STRIDE_SHARE)) * int(rng.choice([-1, 1]))
        frames = np.clip(start + stride * np.arange(config.frames), 0, len(clip.pose) - 1)
        shot = self.maker.shoot(rng, asset, clip, read_body(asset.rig, SURFACE_POINTS), frames, 0, plain=False)
        intrinsics = crop_intrinsics(shot.camera, shot.crop, config.image_size).astype(np.float64)
        scene = Scene(asset, clip, frames, shot.camera, shot.crop, shot.seen, False)
        vertices = shot.camera.to_camera(scene.vertices)
        ways = [(k, k + 1) for k in range(config.frames - 1)] + [(k + 1, k) for k in range(config.frames - 1)]
        samples: list[tuple[np.ndarray, ...]] = []
        for number in rng.permutation(len(ways))[: config.pairs]:
            then, now = ways[number]
            visible = see(vertices[then], mesh.triangles, intrinsics[then], config.image_size)
            flow = (project(visible.blend(vertices[now], mesh.triangles), intrinsics[now]) - visible.centers) / config.image_size
            if not len(flow) or (np.linalg.norm(flow, axis=1).mean() < _STILL and rng.random() > _STILL_SHARE):
                continue
            full = np.zeros((3, config.image_size**2), np.float32)
            shows = shot.mask[then].ravel()[visible.pixel] > 127  # and nothing stands before it
            full[:2, visible.pixel], full[2, visible.pixel] = flow.T, shows & (np.linalg.norm(flow, axis=1) < _FAR)
            full = full.reshape(3, config.image_size, config.image_size)[:, ::2, ::2]
            before, after = shot.images[then], shot.images[now]
            samples.append((before, after, first_flow(before, after), full[:2], full[2] > 0))
        return samples


class PairStream(ShotStream[PairConfig, PairBatch]):
    """Batches of pairs."""

    kind = 78

    def batch(self, rng: np.random.Generator, pool: list[Asset]) -> PairBatch:
        maker = PairMaker(self.config)
        found: list[tuple[np.ndarray, ...]] = []
        while len(found) < self.config.shots * self.config.pairs:
            made = maker.make(rng, self.pick(rng, pool))
            found += [s for s in made if all(np.isfinite(v).all() for v in s) and s[4].sum() > _FEW]
        return collate(found)


def collate(samples: list[tuple[np.ndarray, ...]]) -> PairBatch:
    """Samples as a batch of tensors."""
    before, after, start, flow, known = (np.stack(part) for part in zip(*samples, strict=True))
    return PairBatch(centred(before), centred(after), torch.from_numpy(start), torch.from_numpy(flow), torch.from_numpy(known))
