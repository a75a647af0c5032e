"""Coat, light and shadow in plain torch: the same formulas as the compiled renderer's (training/render/shading.py), for all samples at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..render import shading as rows
from .crowd import SUN_SIDE, Crowd, Seen, Sun
from .stage import Stage

_BIAS, _WRAP, _SHADE, _SPREAD = 18, 16, 17, 19  # columns of a light's row
_DAPPLE, _DAPPLE_FREQUENCY, _DAPPLE_OFFSET = 20, 21, 22


def value_noise(lattice: Tensor, at: Tensor) -> Tensor:
    """Smooth noise (M,) in -1..1 of a repeating 32³ lattice at points (M, 3)."""
    cell = at.floor()
    f = at - cell
    f = f * f * (3 - 2 * f)
    low = cell.long() & 31
    high = (low + 1) & 31
    flat = lattice.flatten()
    total = torch.zeros_like(at[:, 0])
    for corner in range(8):
        bits = [(corner >> axis) & 1 for axis in range(3)]
        i, j, k = (high[:, axis] if bits[axis] else low[:, axis] for axis in range(3))
        weight = _product([f[:, axis] if bits[axis] else 1 - f[:, axis] for axis in range(3)])
        total = total + weight * flat[(i * 32 + j) * 32 + k]
    return total


def _product(factors: list[Tensor]) -> Tensor:
    """Their product."""
    return factors[0] * factors[1] * factors[2]


def coat(lattice: Tensor, p: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the accent colour (M,) and brightness (M,) at normalised rest places (M, 3), for rows (M, COAT_SIZE) of coat parameters."""
    at = torch.where((p[:, rows.MIRROR] > 0.5)[:, None] & torch.tensor([True, False, False], device=at.device), at.abs(), at)
    at = at + p[:, rows.OFFSET : rows.OFFSET + 3]
    blotch = value_noise(lattice, at * p[:, rows.FREQUENCY, None])
    phase = (at * p[:, rows.AXIS : rows.AXIS + 3]).sum(1) * p[:, rows.STRIPE_FREQUENCY] + blotch
    field = p[:, rows.BLOTCH] * blotch + p[:, rows.STRIPE] * torch.sin(2 * math.pi * phase)
    t = ((field - p[:, rows.THRESHOLD]) / p[:, rows.SOFTNESS] * 0.5 + 0.5).clamp(0, 1)
    share = p[:, rows.STRENGTH] * t * t * (3 - 2 * t)
    fine = at * p[:, rows.DETAIL_FREQUENCY, None] * p[:, rows.STRETCH : rows.STRETCH + 3]
    crossed = torch.stack([fine[:, 1] * 2.3 + 7, fine[:, 2] * 2.3, fine[:, 0] * 2.3], 1)
    grain = value_noise(lattice, fine) + 0.6 * value_noise(lattice, crossed)
    return share, (1 + p[:, rows.DETAIL] * grain).clamp_min(0.05)


def lit(sun: Sun, picture: Tensor, at: Tensor, bias: Tensor, spread: Tensor, turn: Tensor) -> Tensor:
    """Share (M,) of four taps of the picture's shadow map at which camera-frame points (M, 3) see the light; turn (M,) rotates the taps."""
    matrix, focal = sun.matrix[picture], sun.focal[picture]
    there = torch.einsum("mab,mb->ma", matrix[..., :3], at) + matrix[..., 3]
    z = there[:, 2].clamp_min(1e-9)
    u, v = (there[:, axis] / z * focal + SUN_SIDE / 2 for axis in (0, 1))
    limit = 1 / (z - bias)
    angle = (turn & 15) * (math.pi / 32)
    cosine, sine = angle.cos() * spread, angle.sin() * spread
    flat, seen = sun.nearness.flatten(), torch.zeros_like(z)
    for _ in range(4):
        cosine, sine = -sine, cosine
        i, j = (v + sine).long(), (u + cosine).long()
        inside = (i >= 0) & (j >= 0) & (i < SUN_SIDE) & (j < SUN_SIDE)
        place = (picture * SUN_SIDE + i.clamp(0, SUN_SIDE - 1)) * SUN_SIDE + j.clamp(0, SUN_SIDE - 1)
        seen = seen + 0.25 * (~inside | (flat[place] < limit))
    return torch.where(there[:, 2] <= 0, 1.0, seen)


def dappled(lattice: Tensor, sun: Sun, picture: Tensor, light: Tensor, at: Tensor) -> Tensor:
    """Share (M,) of the sun that foliage lets through to camera-frame points (M, 3); light (M, LIGHT_SIZE)."""
    flat = torch.einsum("mab,mb->ma", sun.matrix[picture][:, :2, :3], at) * light[:, _DAPPLE_FREQUENCY, None]
    offset = light[:, _DAPPLE_OFFSET, None]
    noise = value_noise(lattice, torch.cat([flat, offset], 1)) + 0.5 * value_noise(lattice, torch.cat([2.1 * flat, offset + 9.5], 1))
    return 1 - light[:, _DAPPLE] * (0.5 + 2.5 * noise).clamp(0, 1)


def sunlight(lattice: Tensor, sun: Sun, picture: Tensor, light: Tensor, at: Tensor, turn: Tensor) -> Tensor:
    """Share (M,) of the sun at camera-frame points of bodies."""
    shade = light[:, _SHADE]
    share = 1 - shade * (1 - lit(sun, picture, at, light[:, _BIAS], light[:, _SPREAD], turn))
    return torch.where((light[:, _DAPPLE] > 0) & (shade > 0), share * dappled(lattice, sun, picture, light, at), share)


def shade(stage: Stage, crowd: Crowd, seen: Seen, sun: Sun, light: Tensor, albedo: Tensor, lattice: Tensor, rays: Tensor) -> Tensor:
    """Colour (M, 3), square root of light, of samples seen along rays (M, 3) with z = 1; light (P, LIGHT_SIZE), albedo (V, 3) linear."""
    corners = crowd.triangles[seen.triangle]
    body = stage.body[crowd.owner[seen.triangle]]

    def mixed(values: Tensor) -> Tensor:
        weights = seen.weights if values.ndim == 1 else seen.weights[..., None]
        return (values[corners] * weights).sum(1)

    vertex = crowd.vertex
    p, row = stage.coat[body], light[seen.picture]
    share, grain = coat(lattice, p, mixed(stage.unit[vertex]))
    normal = mixed(crowd.normals)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-10)
    facing = -(normal * rays).sum(-1)
    normal = torch.where(facing[:, None] < 0, -normal, normal)
    toward = rays / rays.norm(dim=-1, keepdim=True)
    facing = facing.abs() / rays.norm(dim=-1)
    direct = (((normal * row[:, :3]).sum(-1) + row[:, _WRAP]) / (1 + row[:, _WRAP])).clamp_min(0)
    turn = seen.pixel * 7 + seen.triangle * 3
    direct = direct * sunlight(lattice, sun, seen.picture, row, rays * seen.depth[:, None], turn)
    height = 0.5 + 0.5 * (normal * row[:, 3:6]).sum(-1, keepdim=True)
    half = row[:, :3] - toward
    gloss = p[:, rows.SPECULAR] * ((normal * half).sum(-1) / half.norm(dim=-1).clamp_min(1e-4)).clamp_min(0) ** p[:, rows.SHININESS].clamp_min(1)
    gloss = (gloss * (direct * 2).clamp_max(1))[:, None]
    flat = p[:, rows.FLAT, None]
    rim = (1 + p[:, rows.FUZZ, None] * (1 - facing[:, None]) ** 2) * (1 - flat)
    base = mixed(albedo[vertex])
    base = base + share[:, None] * (p[:, rows.ACCENT : rows.ACCENT + 3] - base)
    sky = (row[:, 12:15] + height * (row[:, 9:12] - row[:, 12:15])) * mixed(stage.occlusion[vertex])[:, None]
    value = row[:, 15:16] * grain[:, None] * (base * ((direct[:, None] * row[:, 6:9] + sky) * rim + flat) + gloss * row[:, 6:9])
    return value.clamp(0, 1).sqrt()


def ground_shadow(stage: Stage, sun: Sun, light: Tensor, ground: Tensor, lattice: Tensor, rays: Tensor) -> Tensor:
    """Brightness (P, S, S) of scenery under the shadows that fall on the ground up·p = ground (P,); rays (P, S, S, 3) with z = 1."""
    count, size = rays.shape[:2]
    picture = torch.arange(count, device=rays.device).repeat_interleave(size * size)
    flat = rays.reshape(-1, 3)
    along = (flat * stage.up[picture]).sum(-1)
    z = ground[picture] / torch.where(along.abs() > 1e-6, along, 1e-6)
    ahead = (z > 0) & (along.abs() > 1e-6)
    at, row = flat * z.clamp(0, 1e4)[:, None], light[picture]
    turn = torch.arange(len(flat), device=rays.device) * 7
    none = torch.zeros_like(z)
    spread = row[:, _SPREAD]
    seen = 0.5 * lit(sun, picture, at, none, spread * 0.5, turn + 5) + 0.5 * lit(sun, picture, at, none, spread, turn)
    seen = torch.where(row[:, _DAPPLE] > 0, seen * dappled(lattice, sun, picture, row, at), seen)
    dim = 1 - stage.falls[stage.shot[picture]] * (1 - seen)
    return torch.where(ahead, dim, 1.0).view(count, size, size)
