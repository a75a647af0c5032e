"""Where the refiner sees the skin of a posed rig in a frame: the rig drawn, painted with the reference and the frame before, beside the frame."""

from __future__ import annotations

import numpy as np
import torch

from .camera import Camera
from .crop import crop_square
from .drawn import Painted, Visible, draw
from .model.refiner import Refiner
from .reference import Reference
from .surface import Seen, Shot, Standing, Surface

_LEFT = 0.5  # share of a likelihood below which it says nothing


class Comparison:
    """The refiner on a surface that is painted with an aligned reference.

    least: error of a point that the refiner saw, usual: how far such points were from where they were drawn where it learned, shares of the crop.
    """

    def __init__(self, surface: Surface, start: Standing, reference: Reference, refiner: Refiner, least: float = 0.01, usual: float = 0.03) -> None:
        assert surface.size == refiner.config.image_size
        self.surface, self.refiner, self.least, self.usual = surface, refiner, least, usual
        self.device = next(refiner.parameters()).device
        self.first = self.last = self._painted(start, reference.image, 1.0)

    def forget(self) -> None:
        """Paint the rig with the reference alone."""
        self.last = self.first

    def close(self) -> None:
        """Nothing is left running."""

    def remember(self, standing: Standing, shot: Shot) -> None:
        """Paint the rig with a frame for which its pose was found, when it looks at the next one."""
        self.last = self._painted(standing, shot.image, shot.scale)

    def look(self, standing: Standing, camera: Camera, shot: Shot) -> Seen | None:
        """Compare the rig posed so with a frame; None where nothing of it is in the picture."""
        surface, visible = self.surface, standing.visible
        if not len(visible.pixel):
            return None
        extent = surface.rig.size * float(camera.scale)
        drawn = torch.from_numpy(draw(visible, standing.vertices, surface.triangles, (self.first, self.last), extent))
        frame = crop_square(shot.image, standing.crop.center * shot.scale, float(standing.crop.side) * shot.scale, surface.size).float() / 255 - 0.5
        with torch.inference_mode():
            flow, log_error, _ = self.refiner(drawn[None].to(self.device), frame[None].to(self.device))
        return self._seen(visible, flow[0].cpu().numpy(), log_error[0].cpu().exp().numpy(), standing.intrinsics, camera.from_armature)

    def _painted(self, standing: Standing, image: np.ndarray, scale: float) -> Painted:
        size, crop = self.surface.size, standing.crop
        cut = crop_square(image, crop.center * scale, float(crop.side) * scale, size).permute(1, 2, 0).numpy()
        return Painted(cut, standing.intrinsics, standing.vertices, standing.visible.depth(standing.vertices, standing.triangles))

    def _seen(self, visible: Visible, flow: np.ndarray, error: np.ndarray, intrinsics: np.ndarray, matrix: np.ndarray) -> Seen:
        """The answer at the pixels that the refiner answers for.

        An unsure refiner says that a point is where it is drawn, for in training it mostly was nearby; the fit knows that already, from the frame
        before. So that prior is taken out: of a Gaussian posterior of variance v under a prior of variance p, the likelihood has the variance
        v / (1 - v / p), and its mean is 1 / (1 - v / p) times as far away.
        """
        surface, size = self.surface, self.surface.size
        y, x = visible.pixel // size, visible.pixel % size
        row = np.flatnonzero((y % 2 == 0) & (x % 2 == 0))
        y, x = y[row] // 2, x[row] // 2
        corners, weights = surface.triangles[visible.triangle[row]], visible.weights[row].astype(np.float64)
        # under a Laplace distribution of the plane a coordinate has three times its scale's square as variance
        variance = 3 * np.square(error[y, x].astype(np.float64)) + self.least**2
        left = np.clip(1 - variance / self.usual**2, _LEFT, None)
        target = visible.centers[row] / size + flow[:, y, x].T / left[:, None]
        chief = surface.chiefs(corners, weights)
        share = (left > _LEFT) / np.bincount(chief, minlength=len(surface.rig))[chief]
        information = np.eye(2) * (left / variance)[:, None, None]
        return Seen(corners, weights, target.astype(np.float64), information, share, intrinsics / size, matrix)
