"""A frame compared with the rig as it would look in it: drawn in its reference's colours, and moved until picture and drawing agree.

Both pictures are of two things, the subject's mask and its colours on it (brightness, which light changes, apart from hue), and blurred, by which a limb
is also drawn from where it does not yet lie (coarse to fine). Where the skin at a pixel moves by u, the drawing there changes by -grad . u (Lucas and
Kanade 1981; with the mean of both pictures' gradients, Malis 2004, ICRA), for the rim of the mask as for what is inside it. So every
pixel asks the bone that carries it for a step, all pixels of a bone are one 6 x 6 system of its motion in space, and those of all bones that
ride on a bone add up to what it is asked.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from .camera import Camera
from .crop import crop_square
from .drawn import Painted, Visible
from .reference import Reference
from .segmentation import sharpened
from .surface import Shot, Standing, Surface

_SIZE = 64  # pixels, in which pictures are compared
_FINE = 128  # pixels, in which the mask is sharpened
_MASK, _LIGHT, _HUE = 0.2, 0.3, 0.1  # usual errors of the mask, of brightness and of hue
_HUES = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0], [0.25, 0.25, -0.5]], np.float32).T / np.array([_LIGHT, _HUE, _HUE], np.float32)
_ASTRAY = 2.0  # usual errors at which a pixel counts as half
_RIM = 1.5  # blurs beyond the drawing's rim, so far its pixels speak too


class Likeness:
    """A surface in the colours of an aligned reference, compared with a frame at a time; without one by its outline alone."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.paint: Painted | None = None

    def color_as(self, start: Standing, reference: Reference) -> None:
        """From now on in the colours of an aligned reference, in which the surface stands so."""
        self.reach = self.surface.rig.size * float(reference.camera.scale)
        cut = crop_square(reference.image, start.crop.center, float(start.crop.side), start.size).permute(1, 2, 0).numpy()
        self.paint = Painted(cut, start.intrinsics, start.vertices, start.visible.depth(start.vertices, start.triangles))

    def observe(self, shot: Shot, camera: Camera) -> None:
        """Look at a frame, whose `outline` (S, S) is then known: how surely, 0..1, the subject is at each pixel of the window."""
        size = (_SIZE, _SIZE)
        self.outline, fine = _looked_at(shot)
        subject, picture = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (self.outline, fine.astype(np.float32)))
        self.camera, self.window = camera, shot.window
        self.color = picture / 255 - 0.5
        colors = [] if self.paint is None else [_hues(self.color) * subject[..., None]]
        self.seen = np.concatenate([subject[..., None] / _MASK, *colors], -1)
        self.blurred: dict[float, np.ndarray] = {}

    def normal(self, rotations: np.ndarray, heads: np.ndarray, blur: float) -> tuple[Tensor, Tensor] | None:
        """What the frame adds to the normal equations of a pose: (3A + 3, 3A + 3) and (3A + 3,); None where nothing of it shows. blur: pixels of 64."""
        standing = self.surface.stand(rotations, heads, self.camera, self.window, _SIZE)
        if standing is None or not len(standing.visible.pixel):
            return None
        visible = standing.visible
        seen, drawn = self._both(standing, blur)
        residual, mean = seen - drawn, (seen + drawn) / 2
        near, owner = _owners(visible, _RIM * blur)
        slope = np.stack([np.gradient(mean, axis=axis).reshape(-1, mean.shape[-1])[near] for axis in (1, 0)], -1) * _SIZE  # a crop's side
        off = residual.reshape(-1, mean.shape[-1])[near]
        weight = 1 / (4 * np.pi * blur**2 * (1 + (off * off).sum(1) / _ASTRAY**2))  # pixels within a blur say the same
        weighted = slope * weight[:, None, None]
        information = _gathered(owner, weighted.transpose(0, 2, 1) @ slope, len(visible.pixel))
        force = _gathered(owner, -(weighted * off[..., None]).sum(1), len(visible.pixel))
        return self.surface.pulled(standing, information, force, self.camera.from_armature, (rotations, heads))

    def cost(self, rotations: np.ndarray, heads: np.ndarray, blur: float) -> float:
        """How unlikely a pose makes the frame, in logarithms; infinite where nothing of it shows. blur: pixels of 64."""
        standing = self.surface.stand(rotations, heads, self.camera, self.window, _SIZE)
        if standing is None or not len(standing.visible.pixel):
            return float("inf")
        seen, drawn = self._both(standing, blur)
        return float(np.log1p(np.square(seen - drawn).sum(-1) / _ASTRAY**2).sum() * _ASTRAY**2 / (8 * np.pi * blur**2))

    def _both(self, standing: Standing, blur: float) -> tuple[np.ndarray, np.ndarray]:
        """(size, size, C) the frame and the drawing, blurred."""
        if blur not in self.blurred:
            self.blurred[blur] = _blurred(self.seen, blur)
        return self.blurred[blur], _blurred(self._drawn(standing), blur)

    def _drawn(self, standing: Standing) -> np.ndarray:
        """(size, size, 4) the rig's mask and its colours, if it has any; what the reference doesn't show of it looks as the frame does there."""
        visible = standing.visible
        if self.paint is None:
            outline = np.zeros((_SIZE * _SIZE, 1), np.float32)
            outline[visible.pixel] = 1 / _MASK
            return outline.reshape(_SIZE, _SIZE, 1)
        paint = self.paint.sample(visible, standing.triangles, self.reach)
        color = np.where(paint[:, 3:] > 0, paint[:, :3], self.color.reshape(-1, 3)[visible.pixel])
        full = np.zeros((_SIZE * _SIZE, 4), np.float32)
        full[visible.pixel, 0] = 1 / _MASK
        full[visible.pixel, 1:] = _hues(color[:, None])[:, 0]
        return full.reshape(_SIZE, _SIZE, 4)


def _looked_at(shot: Shot) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) float32 how surely the subject is at each pixel of a shot's window, and (S, S, 3) uint8 the picture there."""
    center, side = np.asarray(shot.window.center) * shot.scale, float(shot.window.side) * shot.scale
    fine = crop_square(shot.image, center, side, _FINE).permute(1, 2, 0).numpy()
    return sharpened(fine, cv2.resize(shot.mask, (_FINE, _FINE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255), fine


def _hues(color: np.ndarray) -> np.ndarray:
    """Brightness and two hues in usual errors, of colours (H, W, 3); by OpenCV, since numpy's threads would stand in the way of optical flow's."""
    return cv2.transform(np.ascontiguousarray(color, np.float32), _HUES.T)


def _blurred(picture: np.ndarray, blur: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), blur, borderType=cv2.BORDER_REPLICATE).reshape(picture.shape)  # OpenCV drops a single plane's axis


def _owners(visible: Visible, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N,) of the drawing and those not farther from it than `reach`, and which of its pixels each is nearest to."""
    empty = np.ones(visible.size**2, np.uint8)
    empty[visible.pixel] = 0
    shape = (visible.size, visible.size)
    away, label = cv2.distanceTransformWithLabels(empty.reshape(shape), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(label.max() + 1, np.int64)
    owner[label.ravel()[visible.pixel]] = np.arange(len(visible.pixel))
    near = np.flatnonzero(away.ravel() <= reach)
    return near, owner[label.ravel()[near]]


def _gathered(owner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) sums of values (N, ...) by owner (N,)."""
    flat = torch.from_numpy(np.ascontiguousarray(values.reshape(len(values), -1)).astype(np.float64))
    return torch.zeros(count, flat.shape[1], dtype=torch.float64).index_add_(0, torch.from_numpy(owner), flat).numpy().reshape(count, *values.shape[1:])
