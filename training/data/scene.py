"""A clip before its camera: which frames, which body wears the motion, and where its skin is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...backend.body_points import Crop
from ...backend.camera import Camera
from ...backend.kinematics import skin
from ..render import Light, Look
from .asset import Asset, AssetClip

Subject = tuple[Asset, AssetClip]  # another body of the rig's bones, and how it moves
_MISFIT = 0.3  # of what laying a rig over another subject leaves, this much an animator leaves too


def coat_of(rng: np.random.Generator, asset: Asset) -> Look:
    """A coat for a rig's mesh, and a light."""
    mesh = asset.rig.mesh
    assert mesh is not None
    return Look.random(rng, mesh.colors, mesh.vertices, np.asarray(asset.up))


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip of P frames before its camera, not yet drawn.

    seen (P, J, K, 3): the body's points. plain: as a rendered reference. look: of another picture of the creature, whose coat it keeps in a light
    of its own; by default any.
    """

    asset: Asset
    clip: AssetClip
    frames: np.ndarray
    camera: Camera
    crop: Crop
    seen: np.ndarray
    plain: bool
    look: Look | None = None

    def dressed(self, rng: np.random.Generator) -> Look:
        """Its coat and light."""
        if self.look is not None:
            return replace(self.look, light=Light.random(rng))
        return coat_of(rng, self.asset)

    @property
    def pose(self) -> np.ndarray:
        """(P, J, 4, 4) of all bones."""
        return self.clip.pose[self.frames].astype(np.float64)

    @property
    def step(self) -> np.ndarray:
        """(P, J, 4, 4) the pose's change until the next frame."""
        return self.clip.pose[np.minimum(self.frames + 1, len(self.clip.pose) - 1)] - self.pose

    @cached_property
    def vertices(self) -> np.ndarray:
        """(P, V, 3) armature frame."""
        assert self.asset.rig.mesh is not None
        return skin(self.asset.rig.mesh, self.asset.rig, self.pose)

    @property
    def turning(self) -> np.ndarray:
        """(P, 3, 3) from the armature to the camera."""
        return self.camera.from_armature[:, :3, :3]

    @property
    def up(self) -> np.ndarray:
        """(3,) against gravity, camera frame of the first picture."""
        return self.turning[0] @ self.asset.up


def choose_frames(rng: np.random.Generator, clip: AssetClip, wanted: int, references: int) -> np.ndarray:
    """Frame numbers, the references' first: mostly an even stride, sometimes any frames in order."""
    total = len(clip.pose)
    stride = int(rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.2, 0.15]))
    stride = max(1, min(stride, (total - 1) // max(wanted - 1, 1)))
    if rng.random() < 0.3 and total >= wanted:
        frames = np.sort(rng.choice(total, wanted, replace=False))
    else:
        start = rng.integers(0, max(total - stride * (wanted - 1), 1))
        frames = np.minimum(start + stride * np.arange(wanted), total - 1)
    return np.concatenate([rng.integers(0, total, references), frames])


def worn_points(points: np.ndarray, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Where a rig's points sit on another subject that moves alike: (P, J, K, 3).

    points (P, J, K, 3), rotations (P, J, 3, 3): the rig's. heads (P, J, 3): the subject's. In the first picture the rig is laid over the
    subject as an animator does it, moved and scaled as a whole, then bone by bone towards the joints that are seen; what does not fit even
    then stays fixed to the subject's bones.
    """
    rig, subject = points[0, :, 0], heads[0]
    rig_center, center = rig.mean(0), subject.mean(0)
    scale = ((rig - rig_center) * (subject - center)).sum() / np.square(rig - rig_center).sum().clip(1e-12)
    missed = (rig - rig_center) * scale + center - subject
    offset = _MISFIT * missed[:, None] + (points[0] - rig[:, None]) * scale
    turned = rotations @ np.swapaxes(rotations[0], -1, -2)
    return heads[:, :, None] + offset @ np.swapaxes(turned, -1, -2)


def sample_surface(rng: np.random.Generator, rest: np.ndarray, triangles: np.ndarray, posed: np.ndarray, count: int) -> np.ndarray:
    """(P, count, 3) points of a skin, spread evenly over its area at rest, where the posed vertices (P, V, 3) carry them."""
    corners = rest[triangles].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) + 1e-18
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    a, b = rng.random((2, count, 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)  # folded back into the triangle
    first, second, third = (posed[:, triangles[chosen, k]] for k in range(3))
    return first + a * (second - first) + b * (third - first)


def thin_out(rng: np.random.Generator, asset: Asset, limit: int) -> np.ndarray | None:
    """Keep at most `limit` driven bones by taking away random leaves; now and then take away a few more, so that rigs vary."""
    driven = asset.rig.driven.copy()
    remove = max(int(driven.sum()) - limit, int(rng.integers(0, 5)) if rng.random() < 0.3 else 0)
    if remove <= 0 or driven.sum() - remove < 4:
        return None
    for _ in range(remove):
        busy = np.zeros(len(driven), bool)
        above = asset.rig.carriers[driven]
        busy[above[above >= 0]] = True
        leaves = np.flatnonzero(driven & ~busy)
        driven[rng.choice(leaves)] = False
    return driven
