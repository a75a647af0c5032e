"""Training samples of the follower: a frame and a later or earlier one through the same crop, and where each point of the skin that shows has gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ...backend.body_points import Crop, read_body
from ...backend.drawn import project
from ...backend.model.config import SURFACE_POINTS
from ..follower import first_flow
from .asset import Asset
from .guesses import see
from .sample import SampleConfig, SampleMaker
from .scene import Scene
from .views import crop_intrinsics, random_crop

_STRIDES, _STRIDE_SHARE = (1, 2, 3, 4), (0.45, 0.3, 0.15, 0.1)  # frames of a clip from one to the next
_ROOM = 1.05  # of the crop: what flow is looked for in, as in a capture
_STILL, _STILL_SHARE = 0.002, 0.3  # of the picture: pairs whose skin moves less than this in the mean, of which so many are kept
_FAR = 0.3  # of the picture: farther flow is not asked for


@dataclass
class PairBatch:
    """before, after (B, 3, S, S) -0.5..0.5, start (B, 2, S/4, S/4) and flow (B, 2, S/2, S/2) shares of S, known (B, S/2, S/2) bool."""

    before: torch.Tensor
    after: torch.Tensor
    start: torch.Tensor
    flow: torch.Tensor
    known: torch.Tensor

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class PairConfig:
    """frames a shot, shots a batch, pairs a shot, share of shots of baked rigs, pixels of the pictures' side."""

    frames: int = 4
    shots: int = 3
    pairs: int = 5
    baked_share: float = 0.6
    seed: int = 0
    image_size: int = 192


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


class PairStream(IterableDataset[PairBatch]):
    """Batches for ever; the same seed gives the same batches, dealt out to `size` processes by rank."""

    def __init__(self, config: PairConfig, assets: list[Asset], start: int = 0, rank: int = 0, size: int = 1) -> None:
        self.config, self.assets = config, assets
        self.start, self.rank, self.size = start, rank, size

    def __iter__(self) -> Iterator[PairBatch]:
        from ..zoo import make_pair

        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            torch.set_num_threads(1)
        index = self.start + worker
        pool: list[Asset] = []
        maker = PairMaker(self.config)
        while True:
            rng = np.random.default_rng((self.config.seed, 78, index * self.size + self.rank))
            if self.config.baked_share < 1 and (len(pool) < 4 or rng.random() < 0.3):
                pool = [*pool, make_pair(rng)[0]][-4:]
            yield self.batch(rng, pool, maker)
            index += workers

    def batch(self, rng: np.random.Generator, pool: list[Asset], maker: PairMaker | None = None) -> PairBatch:
        maker = maker or PairMaker(self.config)
        found: list[tuple[np.ndarray, ...]] = []
        while len(found) < self.config.shots * self.config.pairs:
            baked = self.assets and (not pool or rng.random() < self.config.baked_share)
            asset = self.assets[rng.integers(len(self.assets))] if baked else pool[rng.integers(len(pool))]
            found += [s for s in maker.make(rng, asset) if all(np.isfinite(v).all() for v in s) and s[4].sum() > 20]
        return collate(found)


def collate(samples: list[tuple[np.ndarray, ...]]) -> PairBatch:
    """Samples as a batch of tensors."""
    before, after, start, flow, known = (np.stack(part) for part in zip(*samples, strict=True))
    return PairBatch(_tensor(before), _tensor(after), torch.from_numpy(start), torch.from_numpy(flow), torch.from_numpy(known))


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - 0.5
