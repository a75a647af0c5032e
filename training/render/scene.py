"""From posed meshes to the pictures of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import raster, shading
from .appearance import Look, normalized
from .background import Background

SHADOW_SIDE = 112
DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True, eq=False)
class Creature:
    """Another mesh in the picture: vertices (T, V, 3) float32 camera frame, triangles (F, 3), rest_vertices (V, 3), its look."""

    vertices: np.ndarray
    triangles: np.ndarray
    rest_vertices: np.ndarray
    look: Look


@dataclass(frozen=True, eq=False)
class Rendered:
    """images: (T, S, S, 3) uint8 sRGB. mask: (T, S, S) uint8, 0..255 of the subject as visible. depth: (T, S, S) float32, nearest z of
    the visible subject in the pixel, inf elsewhere (occluders of the background do not hide it, other creatures do)."""

    images: np.ndarray
    mask: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, eq=False)
class _World:
    """All creatures as one mesh."""

    points: np.ndarray
    triangles: np.ndarray
    owner: np.ndarray
    rest: np.ndarray
    albedo: np.ndarray
    coats: np.ndarray


def render_clip(vertices: np.ndarray, triangles: np.ndarray, rest_vertices: np.ndarray, intrinsics: np.ndarray, size: int, look: Look,
                background: Background, rng: np.random.Generator, up_cam: np.ndarray | None = None, ground_height: float | None = None,
                samples: int = 2, extra: Sequence[Creature] = (), shutter: float | None = None) -> Rendered:
    """Draw a clip of the subject through a moving crop.

    vertices: (T, V, 3) camera frame; rest_vertices: (V, 3); intrinsics: (T, 4) fx, fy, cx, cy of the crop in output pixels.
    up_cam: (3,) against gravity in the camera frame, none: no shadow on the ground. ground_height: up·p of the ground (the camera is 0),
    the lowest vertex by default. shutter: share of a frame that it is open (motion blur), drawn when None.
    """
    intrinsics = np.asarray(intrinsics, np.float64)
    up = DOWN if up_cam is None else np.asarray(up_cam, np.float64) / np.linalg.norm(up_cam)
    centers, sides = (size / 2 - intrinsics[:, 2:]) / intrinsics[:, :2], size / intrinsics[:, 0]
    middle = len(vertices) // 2
    horizon = -(up[0] * centers[middle, 0] + up[2]) / up[1] if up_cam is not None and up[1] < -0.3 else None
    background.place(centers[middle], float(sides[middle]), size, horizon)
    world = _gather(Creature(vertices, triangles, rest_vertices, look), extra, background.mean_color())
    if ground_height is None:
        ground_height = float((np.asarray(vertices) @ up).min())
    if shutter is None:
        shutter = rng.uniform(0.1, 0.9) if rng.random() < 0.45 else 0.0
    drawer = _Drawer(world, look, up, float(ground_height), up_cam is not None, size, samples, shutter, float(np.ptp(vertices[middle], 0).max()))
    images, mask, depth = (np.empty((len(vertices), size, size, *c), d) for c, d in (((3,), np.uint8), ((), np.uint8), ((), np.float32)))
    for index in range(len(vertices)):
        backdrop = background.image(index, centers[index], float(sides[index]), size)
        picture, cover, near = drawer.frame(index, intrinsics[index], backdrop)
        front = background.foreground(index, centers[index], float(sides[index]), size)
        if front is not None:
            alpha = front[..., 3:].astype(np.float32) / 255
            picture, cover = picture + alpha * (front[..., :3] - picture), cover * (1 - alpha[..., 0])
        images[index], mask[index] = (picture + 0.5).astype(np.uint8), (cover * 255 + 0.5).astype(np.uint8)
        with np.errstate(divide="ignore"):
            depth[index] = 1.0 / near
    return Rendered(images, mask, depth)


def _gather(subject: Creature, extra: Sequence[Creature], backdrop: np.ndarray) -> _World:
    """Join the creatures; the subject comes first."""
    creatures = [subject, *extra]
    offsets = np.cumsum([0, *(c.vertices.shape[1] for c in creatures)])
    triangles = [np.asarray(c.triangles, np.int32) + np.int32(o) for c, o in zip(creatures, offsets, strict=False)]
    albedo = []
    for creature in creatures:
        rest = np.ascontiguousarray(creature.rest_vertices, np.float32)
        normals = np.zeros_like(rest)
        raster.vertex_normals(rest, np.asarray(creature.triangles, np.int32), normals)
        albedo.append(creature.look.albedo(normals, backdrop))
    return _World(np.concatenate([np.asarray(c.vertices, np.float32) for c in creatures], 1), np.concatenate(triangles),
                  np.concatenate([np.full(len(t), i, np.int32) for i, t in enumerate(triangles)]),
                  np.concatenate([normalized(c.rest_vertices) for c in creatures]), np.concatenate(albedo),
                  np.stack([c.look.coat for c in creatures]).astype(np.float32))


class _Drawer:
    """Buffers and constants of one clip."""

    def __init__(self, world: _World, look: Look, up: np.ndarray, ground: float, has_ground: bool, size: int, samples: int, shutter: float,
                 extent: float) -> None:
        self.world, self.up, self.ground, self.size, self.samples, self.shutter = world, up, ground, size, samples, shutter
        self.light = look.light.pack(up, extent)
        self.falls = look.light.shadow if has_ground and look.light.elevation > 0.1 else 0.0
        self.softness, self.balance = look.light.softness * extent, look.light.balance.astype(np.float32)
        self.nearness, self.ids = np.empty((size * samples,) * 2, np.float32), np.empty((size * samples,) * 2, np.int32)
        self.normals = np.empty_like(world.points[0])
        self.shadow_map, self.shadow_ids = (np.empty((SHADOW_SIDE, SHADOW_SIDE), d) for d in (np.float32, np.int32))

    def frame(self, index: int, intrinsics: np.ndarray, backdrop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture (S, S, 3) float32 0..255, coverage of the subject (S, S) 0..1 and its inverse depth (S, S)."""
        world, size = self.world, self.size
        moments = self._moments(index)
        self._rasterize(moments, intrinsics)
        raster.vertex_normals(world.points[index], world.triangles, self.normals)
        to_light, light_fx = self._shadow(world.points[index])
        color, picture = np.empty((size, size, 3), np.float32), np.empty((size, size, 3), np.float32)
        cover, subject, depth = (np.empty((size, size), np.float32) for _ in range(3))
        shading.shade(self.ids, self.nearness, moments, self.normals, world.triangles, world.owner, world.rest, world.albedo, world.coats,
                      shading.LATTICE, intrinsics, self.samples, self.light, self.shadow_map, to_light, light_fx, color, cover, subject, depth)
        shading.composite(color, cover, backdrop, self.balance, intrinsics, self.up, self.ground, self.falls, self.shadow_map, to_light, light_fx,
                          float(self.light[19]), picture)
        return picture, subject, depth

    def _moments(self, index: int) -> np.ndarray:
        """Vertices (M, V, 3) at the moments of the shutter: one, or one for each sample of a pixel."""
        points = self.world.points
        if self.shutter <= 0 or len(points) == 1:
            return points[index:index + 1]
        count = self.samples ** 2
        before, after = points[max(index - 1, 0)], points[min(index + 1, len(points) - 1)]
        times = self.shutter * ((np.arange(count) * 5 % count + 0.5) / count - 0.5) if count > 1 else np.zeros(1)
        return np.stack([points[index] + (after - points[index]) * t if t > 0 else points[index] + (points[index] - before) * t for t in times]).astype(np.float32)

    def _rasterize(self, moments: np.ndarray, intrinsics: np.ndarray) -> None:
        """Fill the sample grid in one pass, or in one for each moment."""
        self.nearness[:] = 0.0
        self.ids[:] = -1
        triangles, s = self.world.triangles, self.samples
        fx, fy, cx, cy = (float(v) for v in intrinsics)
        if len(moments) == 1:
            raster.rasterize(moments[0], triangles, 0, fx * s, fy * s, cx * s, cy * s, 1, 0, 0, raster.NEAR, self.nearness, self.ids)
            return
        for k, points in enumerate(moments):
            oy, ox = divmod(k, s)
            x, y = cx + 0.5 - (ox + 0.5) / s, cy + 0.5 - (oy + 0.5) / s
            raster.rasterize(points, triangles, 0, fx, fy, x, y, s, ox, oy, raster.NEAR, self.nearness, self.ids)

    def _shadow(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Draw the shadow map; returns the camera-to-light transform (3, 4) and the map's focal length in texels."""
        self.shadow_map[:] = 0.0
        low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
        middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2 + 1e-9
        toward = self.light[:3].astype(np.float64)
        side = np.cross(toward, [0.0, 0.0, 1.0] if abs(toward[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        rotation = np.stack([side, np.cross(-toward, side), -toward])
        distance = 12.0 * radius
        to_light = np.concatenate([rotation, (-rotation @ (middle + toward * distance))[:, None]], 1).astype(np.float32)
        focal = SHADOW_SIDE / 2 * (distance - radius) / radius
        self.light[19] = self.softness * focal / distance
        if self.light[17] > 0:
            seen = points @ to_light[:, :3].T + to_light[:, 3]
            raster.rasterize(seen, self.world.triangles, 0, focal, focal, SHADOW_SIDE / 2, SHADOW_SIDE / 2, 1, 0, 0, raster.NEAR, self.shadow_map, self.shadow_ids)
        return to_light, focal
