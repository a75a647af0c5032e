"""What lenses, sensors, scaling and encoders do to pictures (P, 3, S, S) sRGB 0..1; what belongs to a clip is alike in all its pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from .chance import Chance

_RADIUS = 5
# The quantisation tables that the JPEG standard gives as an example (ITU-T T.81, annex K), brightness and colour
_LUMA = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]  # fmt: skip
_CHROMA = [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66] + 38 * [99]


def filtered(pictures: Tensor, kernels: Tensor) -> Tensor:
    """Each picture (P, 3, S, S) through its own kernel (P, K, K)."""
    count, channels, height, width = pictures.shape
    margin = kernels.shape[-1] // 2
    flat = pad(pictures, (margin,) * 4, mode="replicate").reshape(1, count * channels, height + 2 * margin, width + 2 * margin)
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    return conv2d(flat, weight, groups=count * channels).view(count, channels, height, width)


def blur(chance: Chance, pictures: Tensor, shot: Tensor, shots: int) -> Tensor:
    """Defocus in four clips of ten, a shaken camera in one; each breathes from picture to picture."""
    size = pictures.shape[-1]
    kind, breath = chance.uniform(0, 1, shots)[shot], (0.15 * chance.normal(len(shot))).exp()
    sigma = size / 128 * chance.uniform(math.log(0.25), math.log(1.5), shots).exp()[shot] * breath
    length, angle = size / 128 * chance.uniform(1, 5, shots)[shot] * breath, chance.uniform(0, math.pi, shots)[shot]
    line = torch.arange(-_RADIUS, _RADIUS + 1, device=chance.device, dtype=torch.float32)
    y, x = line[:, None], line[None, :]
    round_ = (-(x**2 + y**2) / (2 * sigma[:, None, None] ** 2)).exp()
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    streak = (1 - (c * y - s * x).abs()).clamp_min(0) * (length[:, None, None] / 2 + 0.5 - (c * x + s * y).abs()).clamp(0, 1)
    sharp = ((x == 0) & (y == 0)).float().expand_as(round_)
    kernel = torch.where((kind < 0.4)[:, None, None], round_, torch.where((kind < 0.5)[:, None, None], streak, sharp))
    return filtered(pictures, kernel / kernel.sum((1, 2), keepdim=True))


def tone(chance: Chance, pictures: Tensor, shot: Tensor, shots: int) -> Tensor:
    """Exposure, gamma, contrast, colour and grain, half of it alike in all channels."""
    def each(values: Tensor) -> Tensor:
        return values[shot][:, :, None, None]

    mean = torch.zeros(shots, device=chance.device).scatter_reduce(0, shot, pictures.mean((1, 2, 3)), "mean", include_self=False)
    chosen = ((0.44 / mean.clamp_min(0.02)) ** (0.9 * chance.uniform(0, 1, shots).sqrt())).clamp(0.5, 4)  # cameras choose their exposure by the picture
    gamma, gain = (0.15 * chance.normal(shots, 1)).exp(), (0.12 * chance.normal(shots, 1)).exp() * chosen[:, None]
    lift, bend = (0.03 * chance.normal(shots, 1)).clamp_min(0), torch.where(chance.truth(0.4, shots, 1), chance.uniform(-0.12, 0.3, shots, 1), 0.0)
    curve = pictures.clamp(0, 1) ** each(gamma) * each(gain)
    curve = curve + each(bend) * (curve * curve * (3 - 2 * curve.clamp_max(1)) - curve)
    tint = each((0.04 * chance.normal(shots, 3)).exp()) * (0.02 * chance.normal(len(shot), 1, 1, 1)).exp()
    toned = (curve * (1 - each(lift)) + each(lift)) * tint
    grey = chance.truth(0.03, shots)[shot][:, None, None, None]
    toned = torch.where(grey, (toned * torch.tensor([0.3, 0.59, 0.11], device=chance.device)[:, None, None]).sum(1, keepdim=True), toned)
    strength = torch.where(chance.truth(0.75, shots, 1), chance.uniform(math.log(0.4), math.log(9.0), shots, 1).exp() / 255, 0.0)
    noise = chance.normal(len(shot), 1, *pictures.shape[2:]) + 0.5 * chance.normal(*pictures.shape)
    soft = avg_pool2d(pad(noise, (1, 1, 1, 1), mode="replicate"), 3, 1) * 2.2
    return (toned + each(strength) * torch.where(chance.truth(0.5, shots)[shot][:, None, None, None], soft, noise)).clamp(0, 1)


def resample(chance: Chance, pictures: Tensor, shot: Tensor, shots: int) -> Tensor:
    """A smaller video enlarged: down and up again, in three clips of ten."""
    size, choice = pictures.shape[-1], chance.integers(10, shots)[shot]
    result = pictures
    for number, (share, mode) in enumerate([(0.4, "bilinear"), (0.6, "bicubic"), (0.8, "bilinear")]):
        small = interpolate(pictures, (max(8, round(size * share)),) * 2, mode="area")
        large = interpolate(small, (size, size), mode=mode, align_corners=False).clamp(0, 1)
        result = torch.where((choice == number)[:, None, None, None], large, result)
    return result


def compress(chance: Chance, pictures: Tensor, shot: Tensor, shots: int) -> Tensor:
    """JPEG's blocks and halved colour, in seven clips of ten; some pictures are better ones, as in a video."""
    quality = chance.uniform(12, 85, shots)[shot] + torch.where(chance.truth(0.12, len(shot)), 15.0, 0.0)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    red, green, blue = (pictures * 255).unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    halves = avg_pool2d(torch.stack([0.564 * (blue - luma), 0.713 * (red - luma)], 1), 2)
    luma = _quantised(luma[:, None] - 128, _LUMA, scale) + 128
    halves = interpolate(_quantised(halves, _CHROMA, scale), pictures.shape[2:], mode="bilinear", align_corners=False)
    cb, cr = halves[:, :1], halves[:, 1:]
    packed = torch.cat([luma + 1.402 * cr, luma - 0.344 * cb - 0.714 * cr, luma + 1.773 * cb], 1) / 255
    return torch.where(chance.truth(0.7, shots)[shot][:, None, None, None], packed.clamp(0, 1), pictures)


def _quantised(planes: Tensor, table: list[int], scale: Tensor) -> Tensor:
    """Planes (P, N, S, S) whose 8×8 cosine coefficients are rounded to the table's steps times scale (P,)."""
    count, channels, height, width = planes.shape
    k = torch.arange(8, device=planes.device, dtype=torch.float32)
    cosine = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * torch.where(k[:, None] == 0, math.sqrt(1 / 8), 0.5)
    steps = (torch.tensor(table, device=planes.device).view(8, 8) * scale[:, None, None]).clamp_min(1)[:, None, None, None]
    high, wide = (-height) % 8, (-width) % 8
    blocks = pad(planes, (0, wide, 0, high), mode="replicate").unfold(2, 8, 8).unfold(3, 8, 8)
    rounded = cosine.T @ ((cosine @ blocks @ cosine.T / steps).round() * steps) @ cosine
    return rounded.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, height + high, width + wide)[..., :height, :width]


def overlay(chance: Chance, pictures: Tensor, mask: Tensor, shot: Tensor, shots: int) -> tuple[Tensor, Tensor]:
    """A bar at an edge or a mark that stays in the picture, in six clips of a hundred; masks (P, S, S) lose what it hides."""
    size = pictures.shape[-1]
    line = (torch.arange(size, device=chance.device) + 0.5) / size
    height, width = chance.uniform(0.03, 0.14, shots)[shot], chance.uniform(0.15, 1.0, shots)[shot]
    left = torch.where(width > 0.6, 0.0, chance.uniform(0, 1, shots)[shot] * (1 - width))
    width = torch.where(width > 0.6, 1.0, width)
    row = torch.where(chance.truth(0.5, shots)[shot][:, None], line < height[:, None], line > 1 - height[:, None])
    column = (line >= left[:, None]) & (line <= (left + width)[:, None])
    hidden = row[:, :, None] & column[:, None] & chance.truth(0.06, shots)[shot][:, None, None]
    color = torch.where(chance.truth(0.4, shots, 1), chance.uniform(0, 1, shots, 3), 0.0)[shot][:, :, None, None]
    return torch.where(hidden[:, None], color, pictures), torch.where(hidden, 0.0, mask)
