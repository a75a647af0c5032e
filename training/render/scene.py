"""From posed meshes to the pictures of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import raster, shading
from .appearance import Look, normalized
from .background import Background
from .shadow import Sun, sky_occlusion

DOWN = np.array([0.0, -1.0, 0.0])
STANDS_STILL, OWN_COAT = 0.3, 0.6  # of companions
GHOSTS = 4.0  # pixels of motion blur above which four moments would be seen as four edges


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
    the visible subject in the pixel, inf elsewhere (occluders of the background do not hide it, other creatures do).
    outside: (T, S, S) bool, pixels beyond the video's own picture, filled with one colour; augment wants to know of them."""

    images: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    outside: np.ndarray


@dataclass(frozen=True, eq=False)
class _World:
    """All creatures as one mesh, the subject first; velocity (T, V, 3) or None, moves per frame."""

    points: np.ndarray
    velocity: np.ndarray | None
    triangles: np.ndarray
    owner: np.ndarray
    rest: np.ndarray
    albedo: np.ndarray
    occlusion: np.ndarray
    coats: np.ndarray


def render_clip(vertices: np.ndarray, triangles: np.ndarray, rest_vertices: np.ndarray, intrinsics: np.ndarray, size: int, look: Look,
                background: Background, rng: np.random.Generator, up_cam: np.ndarray | None = None, ground_height: float | None = None,
                samples: int = 2, extra: Sequence[Creature] = (), shutter: float | None = None, velocity: np.ndarray | None = None,
                camera: np.ndarray | None = None, frame: np.ndarray | None = None, company: float = 0.12) -> Rendered:
    """Draw a clip of the subject through a moving crop.

    vertices: (T, V, 3) camera frame; rest_vertices: (V, 3); intrinsics: (T, 4) fx, fy, cx, cy of the crop in output pixels.
    up_cam: (3,) or (T, 3) against gravity in the camera frame, none: no shadow on the ground. ground_height: up·p of the ground (the camera
    is 0), the lowest vertex by default. shutter: share of a frame that it is open (motion blur), drawn when None.
    velocity: (T, V, 3) the subject's displacement a frame; without it neighbouring pictures are taken for neighbours in time.
    camera: (T, 3, 3) or (T, 4, 4) world to camera; when given, the backdrop slides as the camera turns.
    frame: (T, 4) left, top, right, bottom of the video's picture in crop pixels: beyond it there is nothing to see.
    company: how often others of the subject's kind are about, behind it or in front.
    """
    intrinsics = np.asarray(intrinsics, np.float64)
    count, middle = len(vertices), len(vertices) // 2
    ups = np.broadcast_to(DOWN if up_cam is None else np.asarray(up_cam, np.float64), (count, 3))
    ups = ups / np.linalg.norm(ups, axis=1, keepdims=True)
    up = ups[middle]
    subject = Creature(vertices, triangles, rest_vertices, look)
    if rng.random() < company:
        extra = [*extra, *(companion(rng, subject, up) for _ in range(int(rng.integers(1, 3))))]
    places, sides, horizon = over_scenery(intrinsics, size, None if up_cam is None else up, camera)
    background.place(places[middle], float(sides[middle]), size, horizon)
    world = _gather(subject, extra, velocity, background.mean_color())
    heights = np.full(count, np.einsum("tvc,tc->tv", vertices, ups).min() if ground_height is None else ground_height)
    if shutter is None:
        shutter = random_shutter(rng)
    if shutter > 0 and samples == 2 and shutter * _travel(world, intrinsics[middle], middle) > GHOSTS:
        samples = 3
    drawer = _Drawer(world, look, size, samples, shutter, float(np.ptp(vertices[middle], 0).max()), up_cam is not None)
    images, mask = np.empty((count, size, size, 3), np.uint8), np.empty((count, size, size), np.uint8)
    nearness = np.empty((count, size, size), np.float32)
    for index in range(count):
        backdrop = background.image(index, places[index], float(sides[index]), size)
        picture, cover = drawer.frame(index, intrinsics[index], ups[index], heights[index], backdrop, nearness[index])
        front = background.foreground(index, places[index], float(sides[index]), size)
        if front is not None:
            shading.lay_over(picture, cover, front)
        images[index], mask[index] = picture, cover * 255 + 0.5
    outside = np.zeros(mask.shape, bool)
    if frame is not None:
        outside = _beyond(np.asarray(frame, np.float64), size)
        mask[outside], images[outside] = 0, (background.mean_color() * 255).astype(np.uint8)
    with np.errstate(divide="ignore"):
        return Rendered(images, mask, 1.0 / nearness, outside)


def _travel(world: _World, intrinsics: np.ndarray, index: int) -> float:
    """Pixels that the fastest twentieth of the vertices move in a frame."""
    points = world.points[index]
    near = world.points[min(index + 1, len(world.points) - 1)] - points if world.velocity is None else world.velocity[index]
    speed = np.abs(near[::5, :2]).max(1) * intrinsics[0] / np.maximum(points[::5, 2], 1e-9)
    return float(np.partition(speed, -(len(speed) // 20) - 1)[-(len(speed) // 20) - 1])


def companion(rng: np.random.Generator, subject: Creature, up: np.ndarray) -> Creature:
    """Another of the subject's kind: turned about `up`, at another time, beside it, mostly further away, with a coat of its own or the same."""
    points = np.roll(np.asarray(subject.vertices, np.float32), int(rng.integers(len(subject.vertices))), 0)
    if rng.random() < STANDS_STILL:
        points = np.broadcast_to(points[:1], points.shape)
    place = beside(rng, points, up)
    look = subject.look
    if rng.random() < OWN_COAT:
        look = Look.random(rng, look.mesh, subject.rest_vertices, look.up)
    moved = points @ place[:, :3].T + place[:, 3]
    return Creature(moved.astype(np.float32), subject.triangles, subject.rest_vertices, look)


def beside(rng: np.random.Generator, points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(3, 4) map of camera-frame points (T, N, 3) that turns their body about `up` on its feet and puts it beside itself, mostly further away."""
    foot = points.mean((0, 1))
    foot = foot + up * ((points @ up).min() - foot @ up)
    extent = float(np.ptp(points[0], 0).max())
    angle = rng.uniform(-np.pi, np.pi)
    cross = np.array([[0, -up[2], up[1]], [up[2], 0, -up[0]], [-up[1], up[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    far = rng.uniform(0.4, 3.0) if rng.random() < 0.8 else rng.uniform(-1.0, -0.5)
    shift = np.array([rng.choice([-1, 1]) * rng.uniform(0.35, 1.0) * (1 + max(far, 0) * 0.3), 0.0, far]) * extent
    shift -= up * (up @ shift)
    linear = rng.uniform(0.75, 1.2) * turn
    return np.concatenate([linear, (foot + shift - linear @ foot)[:, None]], 1)


def random_shutter(rng: np.random.Generator) -> float:
    """Share of a frame that a camera's shutter is open: none that shows, or some."""
    return rng.uniform(0.1, 0.9) if rng.random() < 0.45 else 0.0


def over_scenery(intrinsics: np.ndarray, size: int, up: np.ndarray | None, camera: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Where crops lie over a scene that stays put: middles (T, 2) and sides (T,) on the picture plane, and the height of the horizon there, if in sight.

    intrinsics (T, 4) of the crops, size in pixels; up (3,) in the middle picture; camera (T, 3, 3) or (T, 4, 4) as in render_clip.
    """
    middle = len(intrinsics) // 2
    centers, sides = (size / 2 - intrinsics[:, 2:]) / intrinsics[:, :2], size / intrinsics[:, 0]
    horizon = -(up[0] * centers[middle, 0] + up[2]) / up[1] if up is not None and up[1] < -0.3 else None
    places = centers if camera is None else _turned(centers, np.asarray(camera, np.float64)[:, :3, :3], middle)
    return places, sides, horizon


def _turned(centers: np.ndarray, rotations: np.ndarray, middle: int) -> np.ndarray:
    """Crop centres (T, 2) on the picture plane as they would lie for the middle camera, unrolled so that a full turn stays finite."""
    rays = np.concatenate([centers, np.ones((len(centers), 1))], 1)
    there = np.einsum("ab,tcb,tc->ta", rotations[middle], rotations, rays)
    yaw, pitch = np.arctan2(there[:, 0], there[:, 2]), np.arctan2(there[:, 1], np.hypot(there[:, 0], there[:, 2]))
    angles = np.stack([np.unwrap(yaw), pitch], 1)
    return centers[middle] + angles - angles[middle]


def _beyond(frame: np.ndarray, size: int) -> np.ndarray:
    """Which pixels (T, S, S) have their centre outside rectangles (T, 4)."""
    at = np.arange(size) + 0.5
    x = (at < frame[:, :1]) | (at > frame[:, 2:3])
    y = (at < frame[:, 1:2]) | (at > frame[:, 3:4])
    return y[:, :, None] | x[:, None, :]


def _gather(subject: Creature, extra: Sequence[Creature], velocity: np.ndarray | None, backdrop: np.ndarray) -> _World:
    """Join the creatures; the subject comes first, and what is not told to move stands still."""
    creatures = [subject, *extra]
    offsets = np.cumsum([0, *(c.vertices.shape[1] for c in creatures)])
    triangles = [np.asarray(c.triangles, np.int32) + np.int32(o) for c, o in zip(creatures, offsets, strict=False)]
    albedo, occlusion = [], []
    for creature in creatures:
        rest, faces = normalized(creature.rest_vertices), np.asarray(creature.triangles, np.int32)
        normals = np.empty_like(rest)
        box = raster.vertex_normals(rest, faces, normals)
        albedo.append(creature.look.albedo(normals, backdrop))
        occlusion.append(sky_occlusion(rest, faces, normals, box))
    points = np.concatenate([np.asarray(c.vertices, np.float32) for c in creatures], 1)
    if velocity is not None:
        velocity = np.pad(velocity, ((0, 0), (0, points.shape[1] - velocity.shape[1]), (0, 0))).astype(np.float32)
    return _World(points, velocity, np.concatenate(triangles), np.concatenate([np.full(len(t), i, np.int32) for i, t in enumerate(triangles)]),
                  np.concatenate([normalized(c.rest_vertices) for c in creatures]), np.concatenate(albedo), np.concatenate(occlusion),
                  np.stack([c.look.coat for c in creatures]).astype(np.float32))


class _Drawer:
    """Buffers and constants of one clip."""

    def __init__(self, world: _World, look: Look, size: int, samples: int, shutter: float, extent: float, has_ground: bool) -> None:
        self.world, self.look, self.size, self.samples, self.shutter, self.extent = world, look, size, samples, shutter, extent
        self.falls = look.light.falls if has_ground else 0.0
        self.balance = look.light.balance.astype(np.float32)
        self.nearness, self.ids = np.empty((size * samples,) * 2, np.float32), np.empty((size * samples,) * 2, np.int32)
        self.normals = np.empty_like(world.points[0])
        self.color, self.picture = np.empty((size, size, 3), np.float32), np.empty((size, size, 3), np.float32)
        self.cover, self.subject = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
        self.sun, self.near = Sun(), raster.NEAR * extent  # rigs come in all units

    def frame(self, index: int, intrinsics: np.ndarray, up: np.ndarray, ground: float, backdrop: np.ndarray,
              nearness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture (S, S, 3) float32 0..255 and coverage of the subject (S, S) 0..1, both reused by the next call; fills nearness (S, S)."""
        world, light = self.world, self.look.light.pack(up, self.extent)
        moments = self._moments(index)
        self._rasterize(moments, intrinsics)
        points = world.points[index]
        box = raster.vertex_normals(points, world.triangles, self.normals)
        sun = self.sun
        sun.cast(points, world.triangles, box, light[:3].astype(np.float64), light[17] > 0)
        light[19] = self.look.light.softness * self.extent * sun.texels
        shading.shade(self.ids, self.nearness, moments, self.normals, world.triangles, world.owner, world.rest, world.albedo, world.occlusion,
                      world.coats, shading.LATTICE, intrinsics, self.samples, light, sun.map, sun.matrix, sun.focal, self.color, self.cover,
                      self.subject, nearness)
        shading.composite(self.color, self.cover, backdrop, self.balance, intrinsics, up, ground, self.falls, shading.LATTICE, light,
                          sun.map, sun.matrix, sun.focal, self.picture)
        return self.picture, self.subject

    def _moments(self, index: int) -> np.ndarray:
        """Vertices (M, V, 3) at the moments of the shutter: one, or one for each sample of a pixel."""
        points, velocity, count = self.world.points, self.world.velocity, self.samples ** 2
        if self.shutter <= 0 or count == 1 or (len(points) == 1 and velocity is None):
            return points[index:index + 1]
        opening = (self.shutter * ((np.arange(count) * 5 % count + 0.5) / count - 0.5)).astype(np.float32)[:, None, None]
        if velocity is not None:
            return points[index] + velocity[index] * opening
        ahead, behind = points[min(index + 1, len(points) - 1)] - points[index], points[index] - points[max(index - 1, 0)]
        return points[index] + np.maximum(opening, 0) * ahead + np.minimum(opening, 0) * behind

    def _rasterize(self, moments: np.ndarray, intrinsics: np.ndarray) -> None:
        """Fill the sample grid in one pass, or in one for each moment."""
        self.nearness[:] = 0.0
        self.ids[:] = -1
        triangles, s = self.world.triangles, self.samples
        fx, fy, cx, cy = (float(v) for v in intrinsics)
        if len(moments) == 1:
            raster.rasterize(moments[0], triangles, 0, fx * s, fy * s, cx * s, cy * s, 1, 0, 0, self.near, self.nearness, self.ids)
            return
        for k, points in enumerate(moments):
            oy, ox = divmod(k, s)
            x, y = cx + 0.5 - (ox + 0.5) / s, cy + 0.5 - (oy + 0.5) / s
            raster.rasterize(points, triangles, 0, fx, fy, x, y, s, ox, oy, self.near, self.nearness, self.ids)
