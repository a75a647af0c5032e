"""The studio: from a stage to the pictures and masks of a batch, all on one device."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...backend.model.batch import ModelInput
from ..data.sample import Truth, quartered
from ..render.background import SPAN
from ..render.shading import LATTICE
from . import faults, scenery
from .chance import Chance
from .crowd import Crowd, Sun, gather, lights, look
from .shading import ground_shadow, shade
from .stage import Stage

_SAMPLES = 2  # a side of a pixel; each of its samples² is one moment of the shutter
_PAINTED = 1.1  # pixels of scenery for one of the picture's


class Studio:
    """Draws pictures of `size` pixels on a device."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self.device = size, device
        self.lattice = torch.from_numpy(LATTICE).to(device)

    @torch.no_grad()
    def film(self, stage: Stage, seed: int) -> tuple[Tensor, Tensor]:
        """Pictures (P, 3, S, S) sRGB 0..1 of a stage on this device and the subject's coverage (P, S, S); the same seed gives the same."""
        chance, shots = Chance(seed, self.device), len(stage.falls)
        crowd = gather(stage)
        light = stage.light.clone()
        sun = lights(crowd, light[:, :3])
        light[:, 19] *= sun.texels
        scenes = scenery.paint(chance, stage.horizon, int(SPAN * self.size * _PAINTED))
        color, cover, mask = self._bodies(stage, crowd, sun, light, self._albedo(stage, scenes))
        backdrop = scenery.window(scenes, stage.shot, stage.window, self.size, "reflection")
        backdrop = backdrop * ground_shadow(stage, sun, light, self._ground(stage, crowd), self.lattice, self._rays(stage.intrinsics))[:, None]
        plain = stage.plain[stage.shot][:, None, None, None]
        pictures = (color + (1 - cover[:, None]) * backdrop) * stage.balance[stage.shot][:, :, None, None]
        filmed, mask = self._faults(chance, pictures.clamp(0, 1), mask, stage, shots, scenes)
        return torch.where(plain, color + (1 - cover[:, None]) * (128 / 255), filmed), torch.where(plain[:, 0], cover, mask)

    def fill(self, x: ModelInput, truth: Truth, stage: Stage, seed: int) -> tuple[ModelInput, Truth]:
        """A batch's pictures and masks put where its samples have empty pixels."""
        pictures, mask = self.film(stage, seed)
        batch, references = x.ref_images.shape[:2]
        order = torch.empty_like(stage.slot).scatter_(0, stage.slot, torch.arange(len(stage.slot), device=self.device))
        pictures, mask = (part[order].unflatten(0, (batch, -1)) for part in (pictures, mask))
        x = replace(x, ref_images=pictures[:, :references], ref_masks=mask[:, :references, None], images=pictures[:, references:])
        return x, replace(truth, mask=quartered(mask[:, references:]))

    def _bodies(self, stage: Stage, crowd: Crowd, sun: Sun, light: Tensor, albedo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Premultiplied colour (P, 3, S, S), coverage of all bodies and of the subject (P, S, S)."""
        count, size = len(stage.shot), self.size
        totals = torch.zeros(count * size * size, 5, device=self.device)
        moments = _SAMPLES**2
        for k in range(moments):
            opening = ((k * 5 % moments) + 0.5) / moments - 0.5
            lens = stage.intrinsics.clone()
            lens[:, 2] += 0.5 - (k % _SAMPLES + 0.5) / _SAMPLES
            lens[:, 3] += 0.5 - (k // _SAMPLES + 0.5) / _SAMPLES
            seen = look(crowd, stage.shutter[stage.shot] * opening, lens, size)
            rays = self._rays(lens).view(-1, 3)[seen.pixel]
            own = stage.subject[crowd.owner[seen.triangle]].float()
            color = shade(stage, crowd, seen, sun, light, albedo, self.lattice, rays)
            totals[seen.pixel] += torch.cat([color, torch.ones_like(color[:, :1]), own[:, None]], 1) / moments
        totals = totals.view(count, size, size, 5)
        return totals[..., :3].permute(0, 3, 1, 2), totals[..., 3], totals[..., 4]

    def _albedo(self, stage: Stage, scenes: Tensor) -> Tensor:
        """Linear colours (V, 3), of coats that take on the scenery's colour where they do."""
        n = scenes.shape[-1]
        mean = scenes[:, :, n // 3 : 2 * n // 3, n // 3 : 2 * n // 3].mean((2, 3))
        shot = torch.zeros_like(stage.first_vertex[:-1]).scatter_(0, stage.body, stage.shot[stage.picture])
        body = torch.repeat_interleave(stage.first_vertex.diff())
        color = stage.albedo.sqrt()
        own = torch.zeros(len(shot), 3, device=self.device).index_add_(0, body, color) / stage.first_vertex.diff()[:, None].clamp_min(1)
        return (color + stage.camouflage[body, None] * (mean[shot] - own)[body]).clamp(0.01, 0.97) ** 2

    def _ground(self, stage: Stage, crowd: Crowd) -> Tensor:
        """Height (P,) against gravity of the lowest vertex in the picture's shot."""
        subject = stage.subject[crowd.standing]
        height = (crowd.places * stage.up[crowd.picture]).sum(-1)[subject]
        lowest = torch.full((len(stage.falls),), torch.inf, device=self.device)
        return lowest.scatter_reduce(0, stage.shot[crowd.picture[subject]], height, "amin")[stage.shot]

    def _rays(self, intrinsics: Tensor) -> Tensor:
        """(P, S, S, 3) through the pixels' centres, z = 1."""
        line = torch.arange(self.size, device=self.device) + 0.5
        x, y = ((line - intrinsics[:, 2 + axis, None]) / intrinsics[:, axis, None] for axis in (0, 1))
        x, y = x[:, None, :].expand(-1, self.size, -1), y[:, :, None].expand(-1, -1, self.size)
        return torch.stack([x, y, torch.ones_like(x)], -1)

    def _faults(self, chance: Chance, pictures: Tensor, mask: Tensor, stage: Stage, shots: int, scenes: Tensor) -> tuple[Tensor, Tensor]:
        """What stands in front, lens, sensor, encoder, and one colour beyond the video's own picture."""
        moved = torch.cat([stage.window[:, :2] * stage.parallax[stage.shot, None], stage.window[:, 2:]], 1)
        front = scenery.window(scenery.paint_front(chance, shots, scenes.shape[-1]), stage.shot, moved, self.size, "zeros")
        pictures, mask = torch.lerp(pictures, front[:, :3], front[:, 3:]), mask * (1 - front[:, 3])
        for fault in (faults.blur, faults.tone, faults.resample, faults.compress):
            pictures = fault(chance, pictures, stage.shot, shots)
        pictures, mask = faults.overlay(chance, pictures, mask, stage.shot, shots)
        at = torch.arange(self.size, device=self.device) + 0.5
        left, top, right, bottom = (edge[:, None] for edge in stage.frame.unbind(1))
        outside = ((at < top) | (at > bottom))[:, :, None] | ((at < left) | (at > right))[:, None]
        inside = (~outside).float()[:, None]
        mean = (pictures * inside).sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp_min(1)
        fill = (mean + 0.047 * chance.normal(shots, 3, 1, 1)[stage.shot]).clamp(0, 1)
        return torch.where(outside[:, None], fill, pictures), torch.where(outside, 0.0, mask)
