"""Staging a clip for the studio: what a worker process does instead of drawing it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ...backend.kinematics import inverse_affine
from ...backend.model.batch import ModelInput
from ...backend.rig import Mesh
from ..render import Background, Look, raster
from ..render.appearance import normalized
from ..render.scene import OWN_COAT, STANDS_STILL, beside, over_scenery, random_shutter
from ..render.shadow import sky_occlusion
from ..studio.stage import BodyModel, Drawing, Standing
from .asset import Asset
from .sample import COMPANY, SampleConfig, SampleMaker, Truth
from .scene import Scene, coat_of
from .views import crop_intrinsics, picture_in_crop


class StagingMaker(SampleMaker):
    """Makes samples whose pictures and masks are single empty pixels; the drawings beside them tell the studio what belongs there."""

    def __init__(self, config: SampleConfig) -> None:
        super().__init__(config)
        self.drawings: list[Drawing] = []
        self._shots: list[Drawing] = []
        self._kept = 0

    def make(self, rng: np.random.Generator, asset: Asset, subject: Asset | None = None) -> tuple[ModelInput, Truth]:
        self._shots = []
        return super().make(rng, asset, subject)

    def keep(self) -> None:
        """Say which of the batch's pictures each of the sample's shots fills: its references first, then its frames."""
        count = self.config.references
        places = self._kept * (count + self.config.frames) + np.arange(count + self.config.frames)
        self._kept += 1
        *plain, clip = self._shots
        self.drawings += [replace(shot, slot=places[:count]) for shot in plain]
        self.drawings.append(replace(clip, slot=np.where(np.arange(len(places)) < count, -1, places) if plain else places))

    def film(self, rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        self._shots.append(self._drawing(rng, scene))
        empty = np.zeros((len(scene.frames), 1, 1), np.uint8)
        return np.repeat(empty[..., None], 3, -1), empty

    def _drawing(self, rng: np.random.Generator, scene: Scene) -> Drawing:
        asset, size, count, middle = scene.asset, self.config.image_size, len(scene.frames), len(scene.frames) // 2
        assert asset.rig.mesh is not None
        look = scene.dressed(rng)
        heads = scene.camera.to_camera(scene.seen[..., 0, :])
        extent = float(np.ptp(heads[middle], 0).max()) + 1e-9
        standing = self._standing(rng, scene, look, heads, extent)
        intrinsics = crop_intrinsics(scene.camera, scene.crop, size)
        ups = np.tile(scene.up / np.linalg.norm(scene.up), (count, 1))
        places, sides, horizon = over_scenery(intrinsics.astype(np.float64), size, ups[middle], scene.turning if rng.random() < 0.3 else None)
        way = Background.random(rng)  # how the scenery passes; what it shows is painted by the studio
        window = (places - places[middle]) / sides[middle] + way.pan * np.arange(count)[:, None] + rng.normal(0, 1, (count, 2)) * way.shake
        light = np.stack([look.light.pack(up, 1.0) for up in ups])
        light[:, 19] = look.light.softness  # times texels, once the shadow map is there
        return Drawing(
            standing, intrinsics, light, look.light.balance, ups, look.light.falls,
            0.0 if scene.plain else random_shutter(rng),
            np.nan if horizon is None else (horizon - places[middle, 1]) / sides[middle],
            np.concatenate([window, (sides / sides[middle])[:, None]], 1), way.parallax, picture_in_crop(scene.camera, scene.crop, size),
            scene.plain, np.full(count, -1),
        )  # fmt: skip

    def _standing(self, rng: np.random.Generator, scene: Scene, look: Look, heads: np.ndarray, extent: float) -> list[Standing]:
        """The subject, and sometimes others of its kind, in units of its extent."""
        mesh = scene.asset.rig.mesh
        assert mesh is not None
        to_camera = scene.camera.from_armature / extent
        inverse = inverse_affine(scene.asset.rig.rest)
        matrices = (to_camera[:, None, :3] @ scene.pose) @ inverse
        change = (to_camera[:, None, :3] @ scene.step) @ inverse
        result = [Standing(body_model(mesh, look), matrices, change)]
        if scene.plain or rng.random() >= COMPANY:
            return result
        for _ in range(int(rng.integers(1, 3))):
            order = np.roll(np.arange(len(matrices)), int(rng.integers(len(matrices))))
            order = order[:1].repeat(len(order)) if rng.random() < STANDS_STILL else order
            place = beside(rng, heads[order] / extent, scene.up / np.linalg.norm(scene.up))
            moved = place[:, :3] @ matrices[order]
            moved[..., 3] += place[:, 3]
            coat = coat_of(rng, scene.asset) if rng.random() < OWN_COAT else look
            result.append(Standing(body_model(mesh, coat), moved, np.zeros_like(moved)))
        return result


@lru_cache(maxsize=256)
def _at_rest(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised vertices (V, 3), normals (V, 3) and the share of the sky that is seen (V,): what does not depend on coat and pose."""
    unit, faces = normalized(mesh.vertices), mesh.triangles.astype(np.int32)
    normals = np.empty_like(unit)
    box = raster.vertex_normals(unit, faces, normals)
    return unit, normals, sky_occlusion(unit, faces, normals, box)


def body_model(mesh: Mesh, look: Look) -> BodyModel:
    """A rig's mesh in a coat."""
    unit, normals, occlusion = _at_rest(mesh)
    return BodyModel(mesh.vertices, mesh.triangles, mesh.bones, mesh.weights, unit, look.albedo(normals), occlusion, look.coat, look.camouflage)
