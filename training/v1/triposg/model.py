"""TripoSG over a clip: pictures to points on the surface, in the frame and the unit that mesh2pose takes them in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ....backend.errors import CaptureError
from ....backend.model.batch import ModelInput
from .align import align
from .config import Settings
from .decoder import Decoder, surface_points
from .pictures import Preprocessing, on_white
from .transformer import Transformer, denoise


class TripoSG(nn.Module):
    """V1's first stage from published weights, instead of video2mesh.Video2Mesh.

    All frames of a clip start from one noise, and look at their neighbours in every other layer: without either each frame would have a shape
    of its own. What is reconstructed has its own axes, middle and size; the similarity that lays the reference's reconstruction onto the
    rig's skin there is taken for every frame. What it cannot give: the characters that TripoSG was trained on all face one way and fill one
    box, so a subject that turns before the camera, or a camera that goes round it, is followed only as far as the weights do.
    """

    def __init__(self, transformer: Transformer, decoder: Decoder, image_encoder: nn.Module, prepared: Preprocessing, settings: Settings, shift: float) -> None:
        super().__init__()
        self.transformer, self.decoder, self.image_encoder = transformer, decoder, image_encoder
        self.prepared, self.settings, self.shift = prepared, settings, shift

    def forward(self, x: ModelInput, masks: Tensor, ref_surface: Tensor) -> Tensor:
        """One clip's pictures under masks (T, S, S) of its subject, and the rig's skin in the reference (M, 3), to surface points (1, T, M, 3).

        View frame, from the heads' centroid, over the rig's size, as Video2Mesh gives them. Raises CaptureError where no surface is found.
        """
        count = len(ref_surface)
        reference = self.surfaces(x.ref_images[0, :1], x.ref_masks[0, :1, 0], count)[0]
        place = align(reference, ref_surface.double().cpu().numpy())
        found = self.surfaces(x.images[0], masks, count)
        return torch.from_numpy(place(found)).to(x.images)[None]

    def surfaces(self, images: Tensor, masks: Tensor, count: int) -> np.ndarray:
        """(T, count, 3) points spread evenly over the surfaces of T frames, in TripoSG's own frame, from pictures (T, 3, S, S) and masks (T, S, S)."""
        latents = self.latents(self.image_tokens(images, masks))
        found = [self._surface(latents[frame : frame + 1], count) for frame in range(len(latents))]
        known = [frame for frame, points in enumerate(found) if points is not None]
        if not known:
            raise CaptureError("TripoSG found no surface in any frame. Check that the subject is seen in the pictures and masks, or change its seed.")
        nearest = [min(known, key=lambda there, frame=frame: abs(there - frame)) for frame in range(len(found))]  # type: ignore[misc]
        return np.stack([found[frame] for frame in nearest])  # type: ignore[misc]

    def image_tokens(self, images: Tensor, masks: Tensor) -> Tensor:
        """(T, L, D) of the subject alone, from pictures (T, 3, S, S) and masks (T, S, S)."""
        weight = self.transformer.proj_in.weight
        prepared = torch.stack([self.prepared(on_white(image, mask)) for image, mask in zip(images, masks, strict=True)])
        return self.image_encoder(pixel_values=prepared.to(weight)).last_hidden_state

    def latents(self, tokens: Tensor) -> Tensor:
        """(T, N, C) of T frames' image tokens (T, L, D)."""
        own = torch.Generator().manual_seed(self.settings.seed)
        noise = torch.randn(1, self.settings.tokens, self.transformer.config.in_channels, generator=own)
        return denoise(self.transformer, noise.to(tokens.device).expand(len(tokens), -1, -1), tokens, self.settings, self.shift)

    def _surface(self, latents: Tensor, count: int) -> np.ndarray | None:
        grid = self.decoder.grid(self.decoder.memory(latents), self.settings.resolution)
        return surface_points(grid, count, self.settings.seed)
