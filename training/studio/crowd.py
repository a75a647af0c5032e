"""All bodies of a batch in all its pictures: posed, set up as triangles, and what of them is seen at every sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...backend.rasterizer import rasterize_corners, repeated, vertex_normals
from .stage import Stage

NEAR = 1e-3  # of the subject's extent
SUN_SIDE = 112
_AWAY = 12.0  # radii of the scene at which the light stands: far enough for nearly parallel rays, near enough for float32


@dataclass(frozen=True, eq=False)
class Crowd:
    """N vertices and K triangles of every body in every picture it stands in.

    vertex (N,): row in the stage's vertices; standing (N,), picture (N,). places, speed (N, 3): camera frame, its change in a frame. normals (N, 3).
    triangles (K, 3) into the N vertices; owner (K,) the standing of each, triangle_picture (K,).
    """

    vertex: Tensor
    standing: Tensor
    picture: Tensor
    places: Tensor
    speed: Tensor
    normals: Tensor
    triangles: Tensor
    owner: Tensor
    triangle_picture: Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen at M samples of pictures (P, S, S): pixel (M,) into the flattened pictures, picture (M,), triangle (M,), weights (M, 3), depth (M,)."""

    pixel: Tensor
    picture: Tensor
    triangle: Tensor
    weights: Tensor
    depth: Tensor


@dataclass(frozen=True, eq=False)
class Sun:
    """What the light of each picture sees: nearness (P, SIDE, SIDE) 1/z, matrix (P, 3, 4) to it, focal length (P,) and texels per unit length (P,)."""

    nearness: Tensor
    matrix: Tensor
    focal: Tensor
    texels: Tensor


def gather(stage: Stage) -> Crowd:
    """Pose every body by linear blend skinning."""
    counts = stage.first_vertex.diff()[stage.body]
    standing, place = repeated(counts)
    vertex = stage.first_vertex[stage.body][standing] + place
    bones, rest = stage.bones[vertex], stage.vertices[vertex]
    homogeneous = torch.cat([rest, torch.ones_like(rest[:, :1])], 1)
    places, speed = torch.zeros_like(rest), torch.zeros_like(rest)
    for k in range(bones.shape[1]):
        weight = stage.weights[vertex, k, None]
        for moved, table in ((places, stage.matrices), (speed, stage.step)):
            moved += weight * torch.einsum("nab,nb->na", table[standing, bones[:, k]], homogeneous)
    owner, number = repeated(stage.first_triangle.diff()[stage.body])
    shift = (counts.cumsum(0) - counts) - stage.first_vertex[stage.body]
    triangles = stage.triangles[stage.first_triangle[stage.body][owner] + number] + shift[owner, None]
    return Crowd(vertex, standing, stage.picture[standing], places, speed, vertex_normals(places[None], triangles)[0], triangles, owner, stage.picture[owner])


def look(crowd: Crowd, moment: Tensor, intrinsics: Tensor, size: int) -> Seen:
    """Rasterise pictures (P,) with each picture's bodies where they are moment (P,) of a frame later; intrinsics (P, 4)."""
    places = crowd.places + crowd.speed * moment[crowd.picture, None]
    number = torch.arange(len(crowd.triangles), device=places.device)
    buffers = rasterize_corners(places[crowd.triangles], crowd.triangle_picture, number, intrinsics, (size, size), NEAR)
    return Seen(buffers.pixel, buffers.pixel // (size * size), buffers.triangle, buffers.weights, buffers.distance)


def lights(crowd: Crowd, toward: Tensor) -> Sun:
    """Rasterise what the light in direction toward (P, 3) sees of each picture's bodies."""
    index = crowd.picture[:, None].expand(-1, 3)
    low = torch.full_like(toward, torch.inf).scatter_reduce(0, index, crowd.places, "amin")
    high = torch.full_like(toward, -torch.inf).scatter_reduce(0, index, crowd.places, "amax")
    middle, radius = (low + high) / 2, (high - low).norm(dim=-1) / 2 + 1e-9
    x, y, z = toward.unbind(-1)
    zero = torch.zeros_like(x)
    across = torch.where((z.abs() < 0.9)[:, None], torch.stack([-y, x, zero], -1), torch.stack([zero, -z, y], -1))
    across = across / across.norm(dim=-1, keepdim=True)
    rotation = torch.stack([across, torch.linalg.cross(across, toward), -toward], 1)
    away = _AWAY * radius
    matrix = torch.cat([rotation, -rotation @ (middle + toward * away[:, None])[..., None]], 2)
    focal = SUN_SIDE / 2 * (away - radius) / radius
    there = torch.einsum("nab,nb->na", matrix[crowd.picture][..., :3], crowd.places) + matrix[crowd.picture][..., 3]
    half = torch.full_like(focal, SUN_SIDE / 2)
    number = torch.arange(len(crowd.triangles), device=toward.device)
    buffers = rasterize_corners(there[crowd.triangles], crowd.triangle_picture, number, torch.stack([focal, focal, half, half], 1), (SUN_SIDE, SUN_SIDE), 1e-9)
    return Sun(buffers.spread(1 / buffers.distance, 0.0), matrix, focal, focal / away)
