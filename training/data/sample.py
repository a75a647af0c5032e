"""One training sample: a creature before a random camera, some references, some frames, and the truth about them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from ...backend.body_points import Body, Crop, read_body, view_orientations, view_points
from ...backend.camera import Camera, view_rotation
from ...backend.kinematics import bone_rotations, skin
from ...backend.model.batch import ModelInput
from ...backend.model.config import SURFACE_POINTS
from ...backend.model.prepare import PosedCrop, images_to_tensor, model_input
from ..render import Background, Look, augment, render_clip
from .asset import Asset, AssetClip
from .scene import Scene, Subject, choose_frames, coat_of, sample_surface, thin_out, worn_points
from .views import crop_intrinsics, picture_in_crop, random_camera, random_crop

_PAINTED = 3  # scenes that one batch paints
SAME_COAT = 0.7  # of rendered references show the video's own creature, others one of another coat
COMPANY = 0.12  # of shots have others of the subject's kind in them


@dataclass(frozen=True)
class SampleConfig:
    """What a sample looks like.

    frames, references: counts. image_size: pixels. max_bones: larger rigs lose random leaves. rendered_share: samples whose
    references are plain renders of another clip's pose. loose_share: aligned references posed slightly wrong. surface_samples: points of the
    skin in the truth, for models that reconstruct it (training/v1). surface_points: of each bone, as in the model's config.
    """

    frames: int = 6
    references: int = 1
    image_size: int = 128
    max_bones: int = 36
    rendered_share: float = 0.12
    loose_share: float = 0.4
    surface_samples: int = 0
    surface_points: int = SURFACE_POINTS


@dataclass
class Truth:
    """uv (T, J, K, 2), xyz (T, J, K, 3), turn (T, J, 3, 3) since the primary reference, mask (T, h, w) 0..1 at 1/4 size.

    surface (T, M, 3), ref_surface (M, 3): points of the skin in the axes and unit of xyz, the same points in each, where asked for.
    """

    uv: torch.Tensor
    xyz: torch.Tensor
    turn: torch.Tensor
    mask: torch.Tensor
    surface: torch.Tensor | None = None
    ref_surface: torch.Tensor | None = None

    def to(self, device: torch.device) -> Truth:
        moved: dict[str, Any] = {f.name: None if (value := getattr(self, f.name)) is None else value.to(device) for f in fields(self)}
        return replace(self, **moved)


@dataclass
class Shot:
    """One posed clip before a camera: P pictures, the references' first.

    seen (P, J, K, 3): points of the subject, which uv is about; points (P, J, K, 3), rotations (P, J, 3, 3): the rig's. All armature frame.
    """

    camera: Camera
    crop: Crop
    seen: np.ndarray
    points: np.ndarray
    rotations: np.ndarray
    images: np.ndarray
    mask: np.ndarray
    times: np.ndarray
    surface: np.ndarray | None = None


def _on_grey(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """As a rendered reference looks: the rig's mesh before a plain backdrop."""
    cover = mask[..., None].astype(np.float32) / 255
    return (images * cover + 128 * (1 - cover)).astype(np.uint8)


def quartered(mask: torch.Tensor) -> torch.Tensor:
    """(P, S/4, S/4) means of masks (P, S, S), as the network tells them; a single pixel stays one."""
    return mask if mask.shape[-1] < 4 else torch.nn.functional.avg_pool2d(mask, 4)


def _views(body: Body, camera: Camera, crop: Crop, seen: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uv of what the picture shows, xyz of the rig."""
    return view_points(body, camera, crop, seen)[0], view_points(body, camera, crop, points)[1]


class SampleMaker:
    """Makes samples from assets; everything random comes from the generator that is handed in."""

    def __init__(self, config: SampleConfig) -> None:
        self.config = config
        self.backdrops: list[Background] = []

    def _background(self, rng: np.random.Generator) -> Background:
        """A new scene, or one already painted, mirrored and tinted: painting is half of a sample's cost."""
        fresh = Background.random(rng)
        if len(self.backdrops) < _PAINTED:
            self.backdrops.append(fresh)
            return fresh
        painted = self.backdrops[rng.integers(len(self.backdrops))]
        if painted.picture is None:
            return fresh
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        tint = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.08, 3))
        picture = np.clip(painted.picture[:, flip] * tint, 0, 255).astype(np.uint8)
        front = painted.front if rng.random() < 0.4 else None
        return replace(fresh, picture=np.ascontiguousarray(picture), front=front)

    def shoot(
        self, rng: np.random.Generator, asset: Asset, clip: AssetClip, body: Body, frames: np.ndarray, references: int, plain: bool,
        subject: Subject | None = None, look: Look | None = None,
    ) -> Shot:
        """Frames (P,) of a rig's clip before one camera, the references' first; plain: as a rendered reference, without scenery and faults.

        The pictures show the rig's own mesh, or another subject; in the coat of `look` or any.
        """
        points = seen = body.points(clip.pose[frames].astype(np.float64))
        rotations = bone_rotations(clip.pose[frames].astype(np.float64)[:, body.bones])
        if subject is not None:
            asset, clip = subject
            seen = worn_points(points, rotations, clip.pose[frames][:, body.bones][..., :3, 3].astype(np.float64))
        times = frames / clip.fps
        camera = random_camera(rng, seen[..., 0, :].mean(1), asset.rig.size, np.asarray(asset.up), times)
        crop = self.crop(rng, camera.project(seen.reshape(len(frames), -1, 3)), references)
        scene = Scene(asset, clip, frames, camera, crop, seen, plain, look)
        images, mask = self.film(rng, scene)
        return Shot(camera, crop, seen, points, rotations, images, mask, times, self._surface(scene) if self.config.surface_samples else None)

    def crop(self, rng: np.random.Generator, pixels: np.ndarray, references: int) -> Crop:
        """Crops (P,) round the points (P, N, 2) of a shot."""
        return random_crop(rng, pixels, references)

    def film(self, rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (P, S, S, 3) uint8 of a scene, and the subject's coverage (P, S, S) uint8."""
        asset, camera, crop, size = scene.asset, scene.camera, scene.crop, self.config.image_size
        mesh = asset.rig.mesh
        assert mesh is not None
        look = scene.dressed(rng)
        # blend skinning is linear in the pose: the difference of two poses gives the vertices' displacement in a frame
        velocity = np.einsum("pab,pvb->pva", scene.turning, skin(mesh, asset.rig, scene.step))
        rendered = render_clip(
            camera.to_camera(scene.vertices).astype(np.float32), mesh.triangles.astype(np.int32), mesh.vertices.astype(np.float32),
            crop_intrinsics(camera, crop, size), size, look, self._background(rng), rng, up_cam=scene.up, velocity=velocity,
            shutter=0.0 if scene.plain else None, frame=picture_in_crop(camera, crop, size), camera=scene.turning if rng.random() < 0.3 else None,
            company=0.0 if scene.plain else COMPANY,
        )
        mask = rendered.mask
        return _on_grey(rendered.images, mask) if scene.plain else augment(rendered.images, rng, mask, rendered.outside), mask

    def keep(self) -> None:
        """The sample made last goes into the batch; others were drawn again."""

    def _surface(self, scene: Scene) -> np.ndarray:
        """(P, M, 3) points of the skin in the axes and unit of xyz, the same points in every shot of a rig."""
        mesh, camera = scene.asset.rig.mesh, scene.camera
        assert mesh is not None
        own = np.random.default_rng(zlib.crc32(scene.asset.name.encode()))
        skinned = sample_surface(own, mesh.vertices, mesh.triangles, scene.vertices, self.config.surface_samples)
        view = np.swapaxes(view_rotation(camera.intrinsics, scene.crop.center) @ scene.turning, -1, -2)
        return (skinned - scene.seen[..., 0, :].mean(-2, keepdims=True)) @ view / (scene.asset.rig.size * camera.scale)[:, None, None]

    def references(self, rng: np.random.Generator, body: Body, shot: Shot, count: int, aligned: bool) -> list[PosedCrop]:
        """The first pictures of a shot as references, aligned with the clip or of another one."""
        loose = aligned and rng.random() < self.config.loose_share
        result = []
        for n in range(count):
            camera, crop = shot.camera.at(n), Crop(shot.crop.center[n], shot.crop.side[n])
            uv, xyz = _views(body, camera, crop, shot.seen[n], shot.points[n])
            if loose:  # an animator's pose over the frame is a little off: shifted, scaled and bent
                uv = (uv - 0.5) * np.exp(rng.normal(0, 0.015)) + 0.5 + rng.normal(0, 0.006, 2) + rng.normal(0, 0.006, (uv.shape[0], 1, 2))
            orientation = view_orientations(camera, crop, shot.rotations[n])
            rest = view_orientations(camera, crop, body.rest)
            time, side = (float(shot.times[n]), float(crop.side)) if aligned else (float("nan"), float("nan"))
            result.append(PosedCrop(shot.images[n], shot.mask[n].astype(np.float32) / 255, uv, xyz, orientation, rest, time, side))
        return result

    def make_motion(self, rng: np.random.Generator, asset: Asset, frames: int) -> tuple[ModelInput, Truth]:
        """A clip as geometry alone, for lifting and pose2rot: no pictures, and no mask in the truth."""
        clip = asset.clips[rng.integers(len(asset.clips))]
        body = read_body(asset.rig, self.config.surface_points, thin_out(rng, asset, self.config.max_bones))
        chosen = choose_frames(rng, clip, frames, 1)
        pose, times = clip.pose[chosen].astype(np.float64), chosen / clip.fps
        points = body.points(pose)
        camera = random_camera(rng, points[..., 0, :].mean(1), body.size, np.asarray(asset.up), times)
        crop = random_crop(rng, camera.project(points.reshape(len(chosen), -1, 3)), 1)
        uv, xyz = view_points(body, camera, crop, points)
        orientation = view_orientations(camera, crop, bone_rotations(pose[:, body.bones]))
        rest = view_orientations(camera.at(0), Crop(crop.center[0], crop.side[0]), body.rest)
        empty = np.zeros((1, 1, 3), np.uint8)
        reference = PosedCrop(empty, np.zeros((1, 1), np.float32), uv[0], xyz[0], orientation[0], rest, float(times[0]), float(crop.side[0]))
        x = model_input(body, [reference], images_to_tensor(np.tile(empty, (frames, 1, 1, 1))), times[1:], crop.side[1:])
        turn = orientation[1:] @ np.swapaxes(orientation[0], -1, -2)
        pixels = torch.from_numpy(np.nan_to_num(uv[1:], nan=-9.0)).float()
        truth = Truth(pixels, torch.from_numpy(xyz[1:]).float(), torch.from_numpy(turn).float(), torch.zeros(frames, 1, 1))
        if self.config.surface_samples:
            skinned = torch.from_numpy(self._surface(Scene(asset, clip, chosen, camera, crop, points, True))).float()
            truth.ref_surface, truth.surface = skinned[0], skinned[1:]
        return x, truth

    def make(self, rng: np.random.Generator, asset: Asset, subject: Asset | None = None) -> tuple[ModelInput, Truth]:
        """One sample of an asset with a mesh and at least one clip; the video may show another subject of the same bones, which moves alike."""
        config = self.config
        number = int(rng.integers(len(asset.clips)))
        clip, shown = asset.clips[number], (subject, subject.clips[number]) if subject is not None and subject is not asset else None
        body = read_body(asset.rig, config.surface_points, thin_out(rng, asset, config.max_bones))
        frames = choose_frames(rng, clip, config.frames, config.references)
        aligned = rng.random() >= config.rendered_share
        count = config.references
        drawn: Shot | None = None
        if aligned:
            shot = self.shoot(rng, asset, clip, body, frames, count, plain=False, subject=shown)
            references = self.references(rng, body, shot, count, True)
        else:
            other = asset.clips[rng.integers(len(asset.clips))]
            coat = coat_of(rng, asset) if shown is None and rng.random() < SAME_COAT else None
            drawn = self.shoot(rng, asset, other, body, rng.integers(0, len(other.pose), count), count, plain=True, look=coat)
            references = self.references(rng, body, drawn, count, False)
            shot = self.shoot(rng, asset, clip, body, frames, count, plain=False, subject=shown, look=coat)
        after = slice(count, None)
        camera = Camera(shot.camera.intrinsics[after], shot.camera.from_armature[after], shot.camera.width, shot.camera.height)
        crop = Crop(shot.crop.center[after], shot.crop.side[after])
        uv, xyz = _views(body, camera, crop, shot.seen[after], shot.points[after])
        orientation = view_orientations(camera, crop, shot.rotations[after])
        turn = orientation @ np.swapaxes(references[0].orientation, -1, -2)
        x = model_input(body, references, images_to_tensor(shot.images[after]), shot.times[after], crop.side)
        small = quartered(torch.from_numpy(shot.mask[after]).float() / 255)
        pixels, places, turns = (torch.from_numpy(np.ascontiguousarray(v)).float() for v in (np.nan_to_num(uv, nan=-9.0), xyz, turn))
        truth = Truth(pixels, places, turns, small)
        if shot.surface is not None:
            then = shot.surface[0] if drawn is None or drawn.surface is None else drawn.surface[0]
            truth.surface, truth.ref_surface = (torch.from_numpy(v).float() for v in (shot.surface[after], then))
        return x, truth


def collate(samples: list[tuple[ModelInput, Truth]]) -> tuple[ModelInput, Truth]:
    """Batch clips of different bone counts by padding the bones."""
    most = max(x.point_mask.shape[1] for x, _ in samples)

    def pad(tensor: torch.Tensor, axes: tuple[int, ...], value: float = 0) -> torch.Tensor:
        for axis in axes:
            extra = most - tensor.shape[axis]
            if extra:
                shape = list(tensor.shape)
                shape[axis] = extra
                tensor = torch.cat([tensor, torch.full(shape, value, dtype=tensor.dtype)], axis)
        return tensor

    axes: dict[str, tuple[int, ...]] = {"ref_uv": (2,), "ref_xyz": (2,), "ref_turn": (2,), "hop": (1, 2), "edge": (1, 2)}
    axes |= dict.fromkeys(("rest_turn", "point_mask", "joint_mask", "carriers"), (1,))
    fill = {"carriers": -1, "hop": 7, "edge": 4}
    merged = {
        name: torch.cat([pad(getattr(x, name), axes.get(name, ()), fill.get(name, 0)) for x, _ in samples])
        for name in ModelInput.__dataclass_fields__
    }
    # padded bones get the identity, so that every rotation in the batch is one
    gone = ~merged["joint_mask"]
    merged["ref_turn"][gone[:, None].expand(-1, merged["ref_turn"].shape[1], -1)] = torch.eye(3)
    merged["rest_turn"][gone] = torch.eye(3)
    turn = torch.stack([pad(t.turn, (1,)) for _, t in samples])
    turn[gone[:, None].expand(-1, turn.shape[1], -1)] = torch.eye(3)
    uv, xyz = (torch.stack([pad(getattr(t, name), (1,)) for _, t in samples]) for name in ("uv", "xyz"))
    masks = torch.stack([t.mask for _, t in samples])
    surface, ref_surface = (torch.stack(found) if (found := [s for s in part if s is not None]) else None
                            for part in ([t.surface for _, t in samples], [t.ref_surface for _, t in samples]))
    return ModelInput(**merged), Truth(uv, xyz, turn, masks, surface, ref_surface)
