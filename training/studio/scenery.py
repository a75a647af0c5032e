"""Painted scenery, one picture a shot: floors to the horizon, walls, thickets, scattered shapes, light and shade; and what stands in front."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from ..render.background import SPAN
from ..render.textures import PALETTES
from .chance import Chance

_SHAPES = 40


def fractal(chance: Chance, count: int, n: int, coarsest: Tensor, roughness: Tensor) -> Tensor:
    """Noise (C, 1, n, n) of unit deviation whose power falls with frequency: octaves from `coarsest` (C,) cells on, each weaker by roughness (C,)."""
    total, power, level = torch.zeros(count, 1, n, n, device=chance.device), torch.zeros_like(roughness), 3
    while level < 2 * n:
        octave = (level / coarsest).log2()
        amplitude = torch.where(octave > -0.5, roughness ** octave.clamp_min(0), 0.0)
        noise = chance.normal(count, 1, min(level, n), min(level, n))
        total += amplitude[:, None, None, None] * interpolate(noise, (n, n), mode="bilinear", align_corners=False)
        power += amplitude**2
        level *= 2
    return total / power.clamp_min(1e-9).sqrt()[:, None, None, None]


def palette(chance: Chance, count: int, colors: int) -> Tensor:
    """Colours (C, K, 3) about one of the palettes of the painted backdrops, each with its own brightness."""
    table = torch.tensor(PALETTES, dtype=torch.float32, device=chance.device)
    base = table[chance.integers(len(table), count)]
    picked = torch.gather(base, 1, chance.integers(base.shape[1], count, colors)[..., None].expand(-1, -1, 3))
    return ((picked + 0.035 * chance.normal(count, colors, 3)) * chance.uniform(0.65, 1.25, count, colors, 1)).clamp(0.01, 1)


def ramp(field: Tensor, colors: Tensor) -> Tensor:
    """Fields (C, 1, n, n) of unit deviation through rows of colours (C, K, 3): (C, 3, n, n)."""
    steps = colors.shape[1] - 1
    at = (field[:, 0].clamp(-1.66, 1.66) + 1.66) / 3.32 * steps
    low = at.floor().clamp_max(steps - 1)
    picked = [torch.gather(colors, 1, (low.long() + k).flatten(1)[..., None].expand(-1, -1, 3)).view(*at.shape, 3) for k in (0, 1)]
    return torch.lerp(picked[0], picked[1], (at - low)[..., None]).permute(0, 3, 1, 2)


def mosaic(chance: Chance, count: int, n: int, grain: Tensor) -> Tensor:
    """Patches of random colour with frayed edges (C, 3, n, n); grain (C, 2, n, n) frays them."""
    cells = 64
    colors = palette(chance, count, 8)
    picked = torch.gather(colors, 1, chance.integers(8, count, cells * cells)[..., None].expand(-1, -1, 3)) * chance.uniform(0.6, 1.25, count, cells**2, 1)
    cell = chance.uniform(1.3, 4.0, count).exp()[:, None, None] * n / 420
    line = torch.arange(n, device=chance.device, dtype=torch.float32)
    aspect, fray = chance.uniform(0.5, 3.0, count)[:, None, None], chance.uniform(0.2, 0.7, count)[:, None, None]
    x = (line / cell + fray * grain[:, 0]).floor().long() % cells
    y = (line[:, None] / (cell * aspect) + fray * grain[:, 1]).floor().long() % cells
    return torch.gather(picked, 1, (y * cells + x).flatten(1)[..., None].expand(-1, -1, 3)).view(count, n, n, 3).permute(0, 3, 1, 2).clamp(0, 1)


def bumps(picture: Tensor, grain: Tensor, strength: Tensor) -> Tensor:
    """Light pictures (C, 3, n, n) as if they were bumpy: the slope of noise (C, 1, n, n) towards the light brightens."""
    return picture * (1 + 1.5 * strength[:, None, None, None] * (grain - grain.roll((1, 1), (2, 3)))).clamp_min(0)


def floor(texture: Tensor, horizon: Tensor, eye: Tensor) -> Tensor:
    """Textures (C, 3, n, n) laid out as a plane below the row horizon (C,) in shares of the height; it fades into its mean far away."""
    count, _, n, _ = texture.shape
    line = (torch.arange(n, device=texture.device) + 0.5) / n
    below = (line[None] - horizon[:, None]).clamp_min(0.5 / n)
    v = (0.8 * eye[:, None] / below)[:, :, None].expand(-1, -1, n)
    u = (line - 0.5) * (1.2 * eye[:, None, None] / below[:, :, None])
    flat = grid_sample(texture, torch.stack([u, v], -1), padding_mode="reflection", align_corners=False)
    far = (-below / 0.06).exp()[:, None, :, None]
    return torch.lerp(flat, texture.mean((2, 3), keepdim=True), far)


def scatter(chance: Chance, count: int, n: int, shapes: int, small: float, large: float, top: Tensor, bottom: Tensor) -> tuple[Tensor, Tensor]:
    """Ellipses, boxes and blades of power-law sizes between heights top and bottom (C,): colours (C, 3, n, n) of the foremost, and coverage (C, 1, n, n)."""
    line = (torch.arange(n, device=chance.device) + 0.5) / n
    colors = palette(chance, count, shapes) * chance.uniform(0.6, 1.3, count, shapes, 1)
    size = small * (1 - chance.uniform(0, 1, count, shapes) * (1 - (small / large) ** 1.5)) ** (-1 / 1.5)
    size = size.sort(1, descending=True).values
    x, y = chance.uniform(-0.1, 1.1, count, shapes), torch.lerp(top[:, None], bottom[:, None], chance.uniform(0, 1, count, shapes))
    angle, slim = chance.uniform(0, 3.14, count, shapes), chance.uniform(-2.5, -0.4, count, shapes).exp()
    corner = torch.where(chance.uniform(0, 1, count, 1) < 0.5, 2.0, 12.0)  # of one kind in a scene: round, or with corners
    color, cover = torch.zeros(count, 3, n, n, device=chance.device), torch.zeros(count, 1, n, n, device=chance.device)
    for k in range(shapes):
        dx, dy = line[None, None] - x[:, k, None, None], line[None, :, None] - y[:, k, None, None]
        c, s, half = angle[:, k, None, None].cos(), angle[:, k, None, None].sin(), size[:, k, None, None] / 2
        u, v = (c * dx + s * dy) / half, (c * dy - s * dx) / (half * slim[:, k, None, None])
        power = corner[:, :, None]
        inside = ((1 - (u.abs() ** power + v.abs() ** power)) * half * slim[:, k, None, None] * n + 0.5).clamp(0, 1)[:, None]
        color = torch.lerp(color, colors[:, k, :, None, None].expand_as(color), inside)
        cover = torch.maximum(cover, inside)
    return color, cover


def paint(chance: Chance, horizon: Tensor, n: int) -> Tensor:
    """Scenery (C, 3, n, n) sRGB 0..1, three crop sides wide; horizon (C,) in crop sides below the middle, NaN where it is not known."""
    count = len(horizon)
    grain = fractal(chance, 2 * count, n, chance.uniform(2, 4, 2 * count).exp(), chance.uniform(0.55, 0.9, 2 * count))
    grain = grain.view(count, 2, n, n)

    def stuff() -> Tensor:
        soft = ramp(fractal(chance, count, n, chance.uniform(1, 3.2, count).exp(), chance.uniform(0.5, 0.95, count)), palette(chance, count, 4))
        picture = torch.where(chance.truth(0.35, count)[:, None, None, None], mosaic(chance, count, n, grain), soft)
        return bumps(picture, grain[:, :1], chance.uniform(0, 0.6, count))

    row = 0.5 + horizon / SPAN
    row = torch.where(row.isnan() | chance.truth(0.1, count), chance.uniform(0.05, 0.7, count), row).clamp(-4, 0.9)
    bare = chance.truth(0.3, count)  # nothing but floor or wall
    row = torch.where(bare, torch.where(chance.truth(0.5, count), -1.0, 1.1), row)
    ground = floor(stuff(), row, chance.uniform(0.5, 1.5, count) * (1 - row).clamp_min(0.5))
    line = ((torch.arange(n, device=chance.device) + 0.5) / n)[None, :, None]
    share = (line / row.clamp_min(0.05)[:, None, None]).clamp(0, 1)[:, None]
    top, low = (torch.tensor(c, device=chance.device)[None, :, None, None] * chance.uniform(0.5, 1.1, count)[:, None, None, None]
                for c in ([0.45, 0.62, 0.88], [0.85, 0.88, 0.92]))
    sky = torch.lerp(top, low, share) * (1 + 0.06 * grain[:, 1:].clamp_min(0))
    above = torch.where(chance.truth(0.3, count)[:, None, None, None], sky, stuff())
    edge = row[:, None, None] + 0.02 * grain[:, :1, n // 2].clamp(-2, 2) * chance.uniform(0, 1, count)[:, None, None]
    picture = torch.where((edge > line)[:, None], above, ground)
    color, cover = scatter(chance, count, n, _SHAPES, 0.02, 0.35, row - 0.1, torch.where(bare, row + 1.2, row + 0.25))
    picture = torch.where(chance.truth(0.5, count)[:, None, None, None], torch.lerp(picture, color, cover), picture)
    shadow = torch.tanh(2 * fractal(chance, count, n, chance.uniform(0.7, 2, count).exp(), torch.full_like(row, 0.5)))
    picture = picture * (1 + torch.where(chance.truth(0.4, count), chance.uniform(0.1, 0.5, count), 0.0)[:, None, None, None] * shadow)
    mean = picture.mean((1, 2, 3), keepdim=True)
    contrast, gain = chance.uniform(0.5, 1.25, count, 1, 1, 1), (0.2 * chance.normal(count, 1, 1, 1)).exp()
    return ((picture - mean) * contrast + mean * gain + 0.02 * chance.normal(count, 3, 1, 1)).clamp(0, 1)


def paint_front(chance: Chance, count: int, n: int) -> Tensor:
    """What stands before the subject in one shot of five (C, 4, n, n), the last channel its coverage: shapes, blades or bars."""
    middle = torch.full((count,), 0.3, device=chance.device)
    color, cover = scatter(chance, count, n, 6, 0.05, 0.18, middle, 1 - middle)
    line = torch.arange(n, device=chance.device)[None, None, None] / n
    step, width = chance.uniform(0.25, 1.2, count, 1, 1, 1) / SPAN, chance.uniform(0.01, 0.09, count, 1, 1, 1) / SPAN
    bars = (((line + chance.uniform(0, 1, count, 1, 1, 1) * step) % step) < width).float().expand(-1, -1, n, -1)
    barred = chance.truth(0.4, count)[:, None, None, None]
    some = chance.truth(0.2, count)[:, None, None, None]
    color = torch.where(barred, palette(chance, count, 1)[:, 0, :, None, None].expand_as(color), color)
    return torch.cat([color, torch.where(barred, bars, cover) * some], 1)


def window(pictures: Tensor, shot: Tensor, at: Tensor, size: int, padding: str) -> Tensor:
    """Crops (P, channels, S, S) of shots' pictures (C, channels, n, n): middle and side (P, 3) in crop sides."""
    line = (torch.arange(size, device=at.device) + 0.5) / size - 0.5
    x, y = ((at[:, axis, None] + at[:, 2, None] * line) * 2 / SPAN for axis in (0, 1))
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    return grid_sample(pictures[shot], grid, padding_mode=padding, align_corners=False)
