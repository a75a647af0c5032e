"""Pictures of a posed rig: a batched z-buffer in plain torch, the same on any device.

Fill convention, shared with the compiled renderer of training: the origin of pixel coordinates is the outer corner of the top left pixel,
samples lie at pixel centres (+0.5), and a sample belongs to a triangle where all three barycentric weights are ≥ 0, so both triangles of
a shared edge may claim it. The nearer wins, among equally near the one with the lower index. Both sides of a triangle are drawn. A
triangle with a corner at or behind the near plane is left out. Depth is z of the camera frame, interpolated in 1/z (perspective-correct).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .bone_shapes import bone_mesh
from .camera import Camera
from .kinematics import skin
from .rig import Rig

NEAR = 1e-3
LIGHT = (-0.4, -0.7, -0.6)
AMBIENT = 0.35
_EDGE = 1e-6  # barycentric slack, so that rounding opens no crack along a shared edge
_CHUNK = 1 << 23  # samples in flight: bounds the memory, not the result


@dataclass(frozen=True, eq=False)
class Buffers:
    """What is seen in B pictures of (H, W) pixels, kept for the N pixels at which something is.

    shape: (B, H, W). pixel: (N,) int64 index into the flattened pictures, increasing. triangle: (N,) int64. weights: (N, 3)
    perspective-correct barycentric weights. distance: (N,) camera-frame z. facing: (N,) bool, whether the triangle's counter-clockwise
    side is seen.
    """

    shape: tuple[int, int, int]
    pixel: torch.Tensor
    triangle: torch.Tensor
    weights: torch.Tensor
    distance: torch.Tensor
    facing: torch.Tensor

    def spread(self, values: torch.Tensor, empty: float) -> torch.Tensor:
        """(B, H, W, ...) of values (N, ...), `empty` where nothing is seen."""
        full = values.new_full((int(np.prod(self.shape)), *values.shape[1:]), empty)
        full.index_copy_(0, self.pixel, values)
        return full.view(*self.shape, *values.shape[1:])

    @property
    def triangle_id(self) -> torch.Tensor:
        """(B, H, W) int64, -1 where nothing is."""
        return self.spread(self.triangle, -1)

    @property
    def barycentric(self) -> torch.Tensor:
        """(B, H, W, 3), 0 where nothing is."""
        return self.spread(self.weights, 0.0)

    @property
    def depth(self) -> torch.Tensor:
        """(B, H, W), inf where nothing is."""
        return self.spread(self.distance, torch.inf)


@dataclass(frozen=True, eq=False)
class _Triangles:
    """The K triangles of a batch that can be seen, set up relative to the first pixel centre of their bounding box.

    weights: (K, 9) for the three corners in turn: weight at that pixel, its change per column, its change per row. nearness: (K, 3) 1/z.
    first, last: (K, 2) int64 column and row of the box. picture, number: (K,) int64. facing: (K,) bool.
    """

    weights: torch.Tensor
    nearness: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    picture: torch.Tensor
    number: torch.Tensor
    facing: torch.Tensor


def rasterize(vertices: torch.Tensor, triangles: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int], near: float = NEAR) -> Buffers:
    """See B pictures of (H, W) pixels of one mesh: vertices (B, V, 3) in the camera frame, triangles (F, 3), intrinsics (B, 4) fx fy cx cy."""
    corners = vertices.index_select(1, triangles.long().flatten()).view(-1, 3, 3)
    picture = torch.arange(len(vertices), device=vertices.device).repeat_interleave(len(triangles))
    number = torch.arange(len(triangles), device=vertices.device).repeat(len(vertices))
    return rasterize_corners(corners, picture, number, intrinsics, size, near)


def rasterize_corners(
    corners: torch.Tensor, picture: torch.Tensor, number: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int], near: float = NEAR,
) -> Buffers:  # fmt: skip
    """See pictures of different meshes: K triangles' corners (K, 3, 3) in the camera frame of their picture (K,), with the number (K,) that each has there.

    intrinsics (B, 4); triangles of one picture stand together, their numbers increasing. Buffers.triangle holds the numbers.
    """
    height, width = size
    setup = _set_up(corners, picture, number, intrinsics, size, near)
    nearest = corners.new_zeros(len(intrinsics) * height * width)
    winner = torch.full(nearest.shape, len(setup.number), dtype=torch.int32, device=corners.device)  # Metal reduces no int64
    area = (setup.last - setup.first + 1).prod(1).cumsum(0)
    chunks = 1 + (int(area[-1]) // _CHUNK if len(area) else 0)
    cuts = torch.searchsorted(area, torch.arange(1, chunks, device=area.device) * _CHUNK).tolist()
    for begin, end in zip([0, *cuts], [*cuts, len(area)], strict=True):
        pixel, nearness, owner = _samples(setup, begin, end, size)
        before = nearest.clone() if chunks > 1 else None
        nearest.scatter_reduce_(0, pixel, nearness, "amax")
        if before is not None:  # what an earlier chunk showed there is now hidden
            winner = torch.where(nearest > before, len(setup.number), winner)
        wins = nearness == nearest[pixel]
        winner.scatter_reduce_(0, pixel[wins], owner[wins].int(), "amin")
    return _resolve(setup, winner, (len(intrinsics), height, width))


def _set_up(
    corners: torch.Tensor, picture: torch.Tensor, number: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int], near: float,
) -> _Triangles:  # fmt: skip
    z = corners[..., 2]
    lens = intrinsics.index_select(0, picture)[:, None]
    flat = corners[..., :2] / z.clamp(min=near)[..., None] * lens[..., :2] + lens[..., 2:]
    limit = torch.tensor([size[1], size[0]], dtype=flat.dtype, device=flat.device)
    a, b, c = flat.unbind(1)
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    first = torch.minimum((torch.minimum(torch.minimum(a, b), c) - 0.5 - 1e-4).ceil().clamp(min=0), limit)
    last = torch.minimum((torch.maximum(torch.maximum(a, b), c) - 0.5 + 1e-4).floor().clamp(min=-1), limit - 1)
    seen = (z.amin(-1) > near) & (last >= first).all(-1) & (area.abs() > 1e-9) & torch.isfinite(area)
    kept = seen.nonzero()[:, 0]
    first, last, area, flat, z, picture, number = (value.index_select(0, kept) for value in (first, last, area, flat, z, picture, number))
    a, b, c = (flat - first[:, None] - 0.5).unbind(1)
    weights = torch.cat([_edge(b, c), _edge(c, a), _edge(a, b)], 1) / area[:, None]
    return _Triangles(weights, 1 / z, first.long(), last.long(), picture, number, area < 0)


def _edge(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(K, 3) twice the area of (origin, p, q): at the origin, its change per column, its change per row."""
    return torch.stack([p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0], p[:, 1] - q[:, 1], q[:, 0] - p[:, 0]], 1)


def _samples(setup: _Triangles, begin: int, end: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(pixel, 1/z, triangle) of every sample that triangles [begin, end) cover: each is cut into rows, each row into its samples."""
    first, last = setup.first[begin:end], setup.last[begin:end]
    triangle, row = repeated(last[:, 1] - first[:, 1] + 1)
    low, high = torch.zeros_like(row, dtype=setup.weights.dtype), (last[:, 0] - first[:, 0])[triangle].to(setup.weights.dtype)
    nearness, step = torch.zeros_like(low), torch.zeros_like(low)
    table = _columns(setup.weights[begin:end], setup.nearness[begin:end], triangle)
    for corner in range(3):
        value, slope, down = table[3 * corner : 3 * corner + 3]
        left = value + down * row
        crossing = -(left + _EDGE) / slope
        low = torch.where(slope > 0, torch.maximum(low, crossing), torch.where((slope == 0) & (left < -_EDGE), torch.inf, low))
        high = torch.where(slope < 0, torch.minimum(high, crossing), high)
        nearness, step = nearness + left * table[9 + corner], step + slope * table[9 + corner]
    low, high = low.ceil(), high.floor()
    filled = (high >= low).nonzero()[:, 0]
    triangle, row, low, high, nearness, step = (value.index_select(0, filled) for value in (triangle, row, low, high, nearness, step))
    span, column = repeated((high - low).long() + 1)
    origin = (setup.picture[begin:end] * size[0] + first[:, 1]) * size[1] + first[:, 0]
    pixel = origin.index_select(0, triangle) + row * size[1] + low.long()
    start = nearness + step * low
    return (
        pixel.index_select(0, span) + column,
        (start.index_select(0, span) + step.index_select(0, span) * column).clamp(min=0),
        triangle.index_select(0, span) + begin,
    )


def _columns(weights: torch.Tensor, nearness: torch.Tensor, index: torch.Tensor) -> list[torch.Tensor]:
    """The twelve numbers of a triangle, each (N,) for triangles index (N,): apart, since strided columns are slow to compute with."""
    return [column.index_select(0, index) for column in torch.cat([weights, nearness], 1).T.contiguous()]


def repeated(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(index, place) of counts.sum() entries: index i comes counts[i] times, with places 0 … counts[i] - 1."""
    index = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return index, torch.arange(len(index), device=counts.device) - before[index]


def _resolve(setup: _Triangles, winner: torch.Tensor, shape: tuple[int, int, int]) -> Buffers:
    """Weights and depth of the triangle that won each pixel."""
    pixel = (winner < len(setup.number)).nonzero()[:, 0]
    triangle = winner.index_select(0, pixel).long()
    first = setup.first.index_select(0, triangle)
    column, row = pixel % shape[2] - first[:, 0], pixel // shape[2] % shape[1] - first[:, 1]
    table = _columns(setup.weights, setup.nearness, triangle)
    flat = [(table[3 * k] + table[3 * k + 1] * column + table[3 * k + 2] * row).clamp(min=0) for k in range(3)]
    scaled = [weight * table[9 + k] for k, weight in enumerate(flat)]
    total = scaled[0] + scaled[1] + scaled[2]
    weights = torch.stack(scaled, 1) / total[:, None]
    distance = (flat[0] + flat[1] + flat[2]) / total
    return Buffers(shape, pixel, setup.number.index_select(0, triangle), weights, distance, setup.facing.index_select(0, triangle))


def vertex_normals(vertices: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Area-weighted unit normals (B, V, 3) of vertices (B, V, 3); 0 where no triangle gives one."""
    a, b, c = (vertices.index_select(1, corner.long()) for corner in triangles.unbind(1))
    normals = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(1, triangles[:, corner].long(), normals)
    return total / total.norm(dim=-1, keepdim=True).clamp(min=1e-20)


def shade(
    buffers: Buffers, triangles: torch.Tensor, normals: torch.Tensor, colors: torch.Tensor, background: torch.Tensor,
    light: tuple[float, float, float] = LIGHT, ambient: float = AMBIENT,
) -> torch.Tensor:  # fmt: skip
    """Lambert and ambient light on B pictures: (B, H, W, 3) sRGB 0..1.

    normals: (B, V, 3) camera frame; colors: (V, 3) sRGB 0..1; background: (3,), (H, W, 3) or (B, H, W, 3) sRGB; light: towards the light, in
    the camera frame. Each vertex is lit for both sides of the surface, the pixel takes the side that is seen.
    """
    direction = torch.tensor(light, dtype=normals.dtype, device=normals.device)
    toward = normals @ (direction / direction.norm())
    sun = torch.stack([-toward, toward], -1).clamp(min=0)
    lit = colors[None, :, None] * (ambient + (1 - ambient) * sun[..., None]).sqrt()  # a square root stands for sRGB's curve
    table = lit.flatten(0, 2)
    picture = buffers.pixel // (buffers.shape[1] * buffers.shape[2])
    corners = triangles.long().index_select(0, buffers.triangle)
    place = ((picture * normals.shape[1])[:, None] + corners) * 2 + buffers.facing.long()[:, None]
    color = sum(table.index_select(0, place[:, k]) * buffers.weights[:, k : k + 1] for k in range(3))
    image = background.to(normals).expand(*buffers.shape, 3).clone()
    image.view(-1, 3).index_copy_(0, buffers.pixel, torch.as_tensor(color))
    return image


def draw_mesh(
    vertices: torch.Tensor, triangles: torch.Tensor, colors: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int], samples: int = 2,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """(colour (B, H, W, 3) 0..1 multiplied by coverage, coverage (B, H, W) 0..1) of meshes (B, V, 3), samples² per pixel."""
    height, width = size
    buffers = rasterize(vertices, triangles, intrinsics * samples, (height * samples, width * samples))
    image = shade(buffers, triangles, vertex_normals(vertices, triangles), colors, vertices.new_zeros(3))
    seen = buffers.spread(torch.ones_like(buffers.distance), 0.0)
    both = torch.cat([image, seen[..., None]], -1).view(len(vertices), height, samples, width, samples, 4)
    mean = both[:, :, 0, :, 0]  # added one by one: several times faster than a mean over two axes
    for sample in range(1, samples**2):
        mean = mean + both[:, :, sample // samples, :, sample % samples]
    mean = mean / samples**2
    return mean[..., :3], mean[..., 3]


@dataclass(frozen=True, eq=False)
class Layer:
    """A drawn rig before it is laid over anything: the part of a picture in which it can be seen.

    left, top: where that part begins. color: (h, w, 3) float32 0..1 multiplied by coverage: (h, w) float32 0..1. size: (H, W) of the picture.
    """

    left: int
    top: int
    color: np.ndarray
    coverage: np.ndarray
    size: tuple[int, int]

    def over(self, picture: np.ndarray, alpha: float = 1.0) -> np.ndarray:
        """(H, W, 3) uint8: laid over a picture (H, W, 3) uint8."""
        result = picture.copy()
        part = result[self.top : self.top + self.coverage.shape[0], self.left : self.left + self.coverage.shape[1]]
        part[:] = np.rint(self.color * (255 * alpha) + part * (1 - alpha * self.coverage[..., None]))
        return result

    def mask(self) -> np.ndarray:
        """(H, W) bool: pixels that are covered at least half."""
        mask = np.zeros(self.size, bool)
        mask[self.top : self.top + self.coverage.shape[0], self.left : self.left + self.coverage.shape[1]] = self.coverage >= 0.5
        return mask


def draw_rig(
    rig: Rig, pose: np.ndarray, camera: Camera, size: tuple[int, int], background: tuple[int, int, int] | np.ndarray,
    *, samples: int = 2, device: str | torch.device = "cpu",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Picture (H, W, 3) uint8 of a rig in pose (J, 4, 4) over a background, and the mask (H, W) bool of what the rig covers at least half.

    camera: of one time; size: (H, W) of the picture, the camera's view scaled to it; background: sRGB 0..255, one colour or (H, W, 3). A
    rig without a mesh is drawn as octahedra, one a bone.
    """
    layer = render_rig(rig, pose, camera, size, samples=samples, device=device)
    return layer.over(np.broadcast_to(np.asarray(background, np.uint8), (*size, 3))), layer.mask()


def render_rig(
    rig: Rig, pose: np.ndarray, camera: Camera, size: tuple[int, int], *, samples: int = 2, device: str | torch.device = "cpu",
) -> Layer:  # fmt: skip
    """As draw_rig, not laid over anything yet."""
    mesh = rig.mesh if rig.mesh is not None and len(rig.mesh.triangles) else bone_mesh(rig)
    points = camera.to_camera(skin(mesh, rig, pose))
    intrinsics = np.asarray(camera.intrinsics, np.float64) * ([size[1] / camera.width, size[0] / camera.height] * 2)
    left, top, right, bottom = _box(points, intrinsics, size)
    if left >= right or top >= bottom:
        return Layer(0, 0, np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32), size)
    window = torch.as_tensor(intrinsics - [0, 0, left, top], dtype=torch.float32, device=device)[None]
    vertices = torch.as_tensor(points, dtype=torch.float32, device=device)[None]
    triangles, colors = torch.as_tensor(mesh.triangles, device=device).long(), torch.as_tensor(mesh.colors, dtype=torch.float32, device=device)
    color, coverage = draw_mesh(vertices, triangles, colors, window, (bottom - top, right - left), samples)
    return Layer(left, top, color[0].cpu().numpy(), coverage[0].cpu().numpy(), size)


def _box(points: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the picture in which camera-frame points (V, 3) can be seen: the rest need not be drawn."""
    ahead = points[points[:, 2] > NEAR]
    if not len(ahead):
        return 0, 0, 0, 0
    flat = ahead[:, :2] / ahead[:, 2:] * intrinsics[:2] + intrinsics[2:]
    limits = (size[1], size[0])
    low = np.clip(np.floor(flat.min(0)), 0, limits).astype(int)
    high = np.clip(np.ceil(flat.max(0)), 0, limits).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
