"""What worker processes hand to the studio: bodies, where they stand in every picture, light, and the crop's way over the scenery. No pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A creature at rest. vertices (V, 3), triangles (F, 3), bones (V, 4), weights (V, 4); unit (V, 3): normalised rest place that its coat's pattern
    is fixed to; albedo (V, 3) linear, occlusion (V,) share of the sky that it sees, coat (COAT_SIZE,), camouflage 0..1."""

    vertices: np.ndarray
    triangles: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    unit: np.ndarray
    albedo: np.ndarray
    occlusion: np.ndarray
    coat: np.ndarray
    camouflage: float


@dataclass(frozen=True, eq=False)
class Standing:
    """A body in P pictures: matrices (P, J, 3, 4) take its vertices at rest to the camera frame, step (P, J, 3, 4) is their change in a frame."""

    body: BodyModel
    matrices: np.ndarray
    step: np.ndarray


@dataclass(frozen=True, eq=False)
class Drawing:
    """One shot of P pictures, in units of the subject's extent.

    standing: the subject first. intrinsics (P, 4) in the crop's pixels. light (P, LIGHT_SIZE); balance (3,) of white. up (P, 3); falls: darkness of the
    shadow on the ground. shutter: share of a frame. horizon: height of the true horizon in the scenery, in crop sides below its middle, NaN where it
    is not in sight. window (P, 3): the crop's middle and side over the scenery, in sides of the middle crop. parallax: speed of what stands in
    front. frame (P, 4): the video's picture in the crop's pixels. plain: a rendered reference. slot (P,): place among the batch's pictures, -1 for none.
    """

    standing: list[Standing]
    intrinsics: np.ndarray
    light: np.ndarray
    balance: np.ndarray
    up: np.ndarray
    falls: float
    shutter: float
    horizon: float
    window: np.ndarray
    parallax: float
    frame: np.ndarray
    plain: bool
    slot: np.ndarray


@dataclass
class Stage:
    """Drawings of a batch, joined: B bodies, I standings of a body in a picture, P pictures, C shots.

    Of all bodies: vertices, unit, albedo (V, 3), bones, weights (V, 4), occlusion (V,), triangles (F, 3) into V; of each: first_vertex, first_triangle
    (B + 1,), coat (B, COAT_SIZE), camouflage (B,). Of standings: body, picture (I,), subject (I,) bool, matrices and step (I, J, 3, 4). Of pictures: shot (P,),
    slot (P,), intrinsics (P, 4), light (P, LIGHT_SIZE), up (P, 3), window (P, 3), frame (P, 4). Of shots: balance (C, 3), and falls, shutter,
    horizon, parallax, plain (C,). Bodies' standings of one picture stand together.
    """

    vertices: torch.Tensor
    unit: torch.Tensor
    albedo: torch.Tensor
    bones: torch.Tensor
    weights: torch.Tensor
    occlusion: torch.Tensor
    triangles: torch.Tensor
    first_vertex: torch.Tensor
    first_triangle: torch.Tensor
    coat: torch.Tensor
    camouflage: torch.Tensor
    body: torch.Tensor
    picture: torch.Tensor
    subject: torch.Tensor
    matrices: torch.Tensor
    step: torch.Tensor
    shot: torch.Tensor
    slot: torch.Tensor
    intrinsics: torch.Tensor
    light: torch.Tensor
    up: torch.Tensor
    window: torch.Tensor
    frame: torch.Tensor
    balance: torch.Tensor
    falls: torch.Tensor
    shutter: torch.Tensor
    horizon: torch.Tensor
    parallax: torch.Tensor
    plain: torch.Tensor

    def to(self, device: torch.device) -> Stage:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def join(drawings: list[Drawing]) -> Stage:
    """All drawings of a batch as one; pictures without a slot are left out."""
    bodies = [s.body for d in drawings for s in d.standing]
    first_vertex = np.cumsum([0, *(len(b.vertices) for b in bodies)])
    first_triangle = np.cumsum([0, *(len(b.triangles) for b in bodies)])
    joints = max(s.matrices.shape[1] for d in drawings for s in d.standing)
    rows: dict[str, list[Any]] = {name: [] for name in ("body", "picture", "subject", "matrices", "step", "shot")}
    kept = [np.flatnonzero(d.slot >= 0) for d in drawings]
    picture, body = 0, 0
    for shot, (drawing, pictures) in enumerate(zip(drawings, kept, strict=True)):
        for p in pictures:
            for number, standing in enumerate(drawing.standing):
                missing = ((0, joints - standing.matrices.shape[1]), (0, 0), (0, 0))
                rows["body"].append(body + number)
                rows["picture"].append(picture)
                rows["subject"].append(number == 0)
                rows["matrices"].append(np.pad(standing.matrices[p], missing).astype(np.float32))
                rows["step"].append(np.pad(standing.step[p], missing).astype(np.float32))
            rows["shot"].append(shot)
            picture += 1
        body += len(drawing.standing)
    of_bodies = {name: np.concatenate([getattr(b, name) for b in bodies]).astype(np.float32) for name in ("vertices", "unit", "albedo", "weights", "occlusion")}
    of_pictures = {name: np.concatenate([getattr(d, name)[k] for d, k in zip(drawings, kept, strict=True)])
                   for name in ("slot", "intrinsics", "light", "up", "window", "frame")}
    of_shots = {name: np.array([getattr(d, name) for d in drawings]) for name in ("balance", "falls", "shutter", "horizon", "parallax", "plain")}
    values = of_bodies | of_pictures | of_shots | {name: np.stack(row) for name, row in rows.items()} | {
        "bones": np.concatenate([b.bones for b in bodies]).astype(np.int64), "first_vertex": first_vertex, "first_triangle": first_triangle,
        "triangles": np.concatenate([b.triangles + start for b, start in zip(bodies, first_vertex, strict=False)]).astype(np.int64),
        "coat": np.stack([b.coat for b in bodies]), "camouflage": np.array([b.camouflage for b in bodies]),
    }  # fmt: skip
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}
    return Stage(**{name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
