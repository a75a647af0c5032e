"""Training samples of the refiner: a frame, the rig drawn as it is wrongly believed to stand, and where each drawn point really is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...backend.axis_angles import exp_rotation
from ...backend.body_points import read_body
from ...backend.drawn import CHANNELS, Painted, Visible, draw, project
from ...backend.kinematics import bone_rotations, pose_along_carriers, skin
from ...backend.model.config import SURFACE_POINTS
from ...backend.rig import Rig
from ..render import raster
from ..render.appearance import normalized
from .asset import Asset, AssetClip
from .sample import SampleConfig, SampleMaker, Shot
from .shots import ShotStream, Tensors, centred
from .views import crop_intrinsics

_LATE = np.array([0, 1, 2, 3, 4, 6, 9])  # frames between a guess and its truth
_LATE_SHARE = np.array([0.08, 0.27, 0.25, 0.15, 0.1, 0.1, 0.05])
_STRIDES, _STRIDE_SHARE = (1, 2, 3, 4), (0.35, 0.35, 0.2, 0.1)  # frames of a clip from one to the next: fast limbs are what is hard
_LOST, _LOST_SHARE = (0.12, 0.4, 0.8), (0.65, 0.25, 0.1)  # how wrong the pose of the frame before is
_FAR = 0.35  # of the crop: farther flow is not asked for


@dataclass
class GuessBatch(Tensors):
    """drawn (B, CHANNELS, S, S), frame (B, 3, S, S) -0.5..0.5, flow (B, 2, S/2, S/2) shares of S, known (B, S/2, S/2) bool."""

    drawn: torch.Tensor
    frame: torch.Tensor
    flow: torch.Tensor
    known: torch.Tensor


@dataclass(frozen=True)
class GuessConfig:
    """frames a shot, guesses a frame, shots a batch, share of shots of baked rigs, share in which the rig's shape is not the subject's."""

    frames: int = 4
    guesses: int = 2
    shots: int = 2
    baked_share: float = 0.6
    misfit: float = 0.5
    seed: int = 0
    image_size: int = 128


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


def bent(rng: np.random.Generator, rig: Rig, pose: np.ndarray, usual: float) -> np.ndarray:
    """A pose (J, 4, 4) with some joints turned wrongly and the whole shifted, by amounts that vary from sample to sample."""
    strength = usual * np.exp(rng.normal(0, 0.7))
    count = len(rig)
    spread = 0.04 + 0.22 * (rng.random(count) < 0.25)
    angles = rng.normal(0, 1, (count, 3)) * spread[:, None] * strength
    angles[rig.carriers < 0] = rng.normal(0, 0.07 * strength, 3)
    angles[~rig.driven & (rig.carriers >= 0)] = 0
    own = exp_rotation(torch.from_numpy(np.clip(angles, -1.5, 1.5))).numpy()
    turn = own.copy()
    for bone in rig.carrier_order:
        if rig.carriers[bone] >= 0:
            turn[bone] = turn[rig.carriers[bone]] @ own[bone]
    heads = pose[:, :3, 3] + rng.normal(0, 0.012 * strength * rig.size, 3)
    return _turned(rig, pose, turn, heads)


def _turned(rig: Rig, pose: np.ndarray, turn: np.ndarray, heads: np.ndarray) -> np.ndarray:
    result = pose.copy()
    result[:, :3, :3] = turn @ pose[:, :3, :3]
    result[:, :3, 3] = pose_along_carriers(rig, turn @ bone_rotations(pose), pose, heads)
    return result


def reshaped(rng: np.random.Generator, rig: Rig) -> Rig:
    """The rig with a mesh that is not quite the subject's: stretched along the axes and swollen in waves."""
    assert rig.mesh is not None
    places = normalized(rig.mesh.vertices)
    waves = sum(np.sin(places @ rng.normal(0, f, (3, 3)) + rng.uniform(0, 6.3, 3)) / f for f in (6.0, 14.0))
    amount = rng.uniform(0, 0.12)
    moved = rig.mesh.vertices + rig.size * (places * rng.normal(0, 0.06, 3) + amount * np.asarray(waves) * rng.uniform(0.2, 1))
    return replace(rig, mesh=replace(rig.mesh, vertices=moved.astype(np.float32)))


class GuessMaker:
    """Makes samples; everything random comes from the generator that is handed in."""

    def __init__(self, config: GuessConfig) -> None:
        self.config = config
        self.maker = SampleMaker(SampleConfig(frames=config.frames, image_size=config.image_size))

    def make(self, rng: np.random.Generator, asset: Asset) -> list[tuple[np.ndarray, ...]]:
        """All guesses of one shot: (drawn, frame uint8 (S, S, 3), flow, known) each."""
        clip = asset.clips[rng.integers(len(asset.clips))]
        total, config = len(clip.pose), self.config
        start, stride = rng.integers(0, total), int(rng.choice(_STRIDES, p=_STRIDE_SHARE)) * int(rng.choice([-1, 1]))
        follow = np.clip(start + stride * np.arange(config.frames + 1), 0, total - 1)
        frames = np.concatenate([[np.clip(start + rng.integers(-20, 21), 0, total - 1)], follow])
        body = read_body(asset.rig, SURFACE_POINTS)
        shot = self.maker.shoot(rng, asset, clip, body, frames, 1, plain=False)
        rig = reshaped(rng, asset.rig) if rng.random() < config.misfit else asset.rig
        intrinsics = crop_intrinsics(shot.camera, shot.crop, config.image_size).astype(np.float64)
        paint = self._paint(rng, rig, clip.pose[frames[0]].astype(np.float64), shot, intrinsics)
        truth, samples = clip.pose[frames].astype(np.float64), []
        for row in range(2, len(frames)):
            before = bent(rng, rig, truth[row - 1], float(rng.choice(_LOST, p=_LOST_SHARE)))
            last = self._painted(rig, before, shot, row - 1, intrinsics)
            for _ in range(config.guesses):
                choice = rng.random()
                if choice < 0.5:  # the first look: where it stood before
                    guess = before
                elif choice < 0.75:  # the second: nearly right
                    guess = bent(rng, rig, truth[row], 0.2)
                else:
                    guess = bent(rng, rig, self._late(rng, rig, clip, int(frames[row]), truth[row]), 0.5)
                samples.append(self._sample(rig, shot, intrinsics, (paint, last), row, truth[row], guess))
        return samples

    def _late(self, rng: np.random.Generator, rig: Rig, clip: AssetClip, frame: int, truth: np.ndarray) -> np.ndarray:
        """The pose of a frame nearby, which may stand where that frame's subject stood or where this one does."""
        other = int(np.clip(frame + rng.choice(_LATE, p=_LATE_SHARE) * rng.choice([-1, 1]), 0, len(clip.pose) - 1))
        pose = clip.pose[other].astype(np.float64).copy()
        roots = rig.carriers < 0
        if rng.random() < 0.6:
            pose[:, :3, 3] += (truth[roots, :3, 3] - pose[roots, :3, 3]).mean(0)
        return pose

    def _paint(self, rng: np.random.Generator, rig: Rig, pose: np.ndarray, shot: Shot, intrinsics: np.ndarray) -> Painted:
        """The reference as an animator poses it: now and then not quite right."""
        if rng.random() < 0.4:
            turn = np.eye(3)[None].repeat(len(rig), 0)
            pose = _turned(rig, pose, turn, pose[:, :3, 3] + rng.normal(0, 0.006 * rig.size, 3))
        return self._painted(rig, pose, shot, 0, intrinsics)

    def _painted(self, rig: Rig, pose: np.ndarray, shot: Shot, row: int, intrinsics: np.ndarray) -> Painted:
        assert rig.mesh is not None
        vertices = shot.camera.at(row).to_camera(skin(rig.mesh, rig, pose))
        visible = see(vertices, rig.mesh.triangles, intrinsics[row], self.config.image_size)
        return Painted(shot.images[row], intrinsics[row], vertices, visible.depth(vertices, rig.mesh.triangles))

    def _sample(
        self, rig: Rig, shot: Shot, intrinsics: np.ndarray, paints: tuple[Painted, Painted], row: int, truth: np.ndarray, guess: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        mesh, size = rig.mesh, self.config.image_size
        assert mesh is not None
        camera = shot.camera.at(row)
        believed, real = camera.to_camera(skin(mesh, rig, np.stack([guess, truth])))
        visible = see(believed, mesh.triangles, intrinsics[row], size)
        extent = rig.size * float(camera.scale)
        drawn = draw(visible, believed, mesh.triangles, paints, extent)
        flow = (project(visible.blend(real, mesh.triangles), intrinsics[row]) - visible.centers) / size
        full = np.zeros((3, size**2), np.float32)
        full[:2, visible.pixel], full[2, visible.pixel] = flow.T, np.linalg.norm(flow, axis=1) < _FAR
        full = full.reshape(3, size, size)[:, ::2, ::2]
        return drawn, shot.images[row], full[:2], full[2] > 0


class GuessStream(ShotStream[GuessConfig, GuessBatch]):
    """Batches of guesses."""

    kind = 77

    def batch(self, rng: np.random.Generator, pool: list[Asset]) -> GuessBatch:
        maker = GuessMaker(self.config)
        found: list[tuple[np.ndarray, ...]] = []
        while len(found) < self.config.shots * self.config.frames * self.config.guesses:
            found += [s for s in maker.make(rng, self.pick(rng, pool)) if all(np.isfinite(v).all() for v in s) and s[3].any()]
        return collate(found)


def collate(samples: list[tuple[np.ndarray, ...]]) -> GuessBatch:
    """Samples as a batch of tensors."""
    drawn, frame, flow, known = (np.stack(part) for part in zip(*samples, strict=True))
    assert drawn.shape[1] == CHANNELS
    return GuessBatch(torch.from_numpy(drawn), centred(frame), torch.from_numpy(flow), torch.from_numpy(known))
