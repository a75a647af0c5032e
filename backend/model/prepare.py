"""From bodies, references and crops to the network's input tensors: the one way for training and for a capture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..body_points import Body, Crop, view_orientations, view_points
from ..camera import Camera
from ..kinematics import bone_rotations
from .batch import ModelInput
from .skeleton_graph import skeleton_graph


@dataclass(frozen=True, eq=False)
class PosedCrop:
    """One reference as the network sees it: image (S, S, 3) uint8, mask (S, S) 0..1, uv (J, K, 2), xyz (J, K, 3),
    orientation (J, 3, 3) in the view frame, rest (J, 3, 3) the rest orientation carried into the same axes; time and the crop's side in the
    clip's pixels, or both NaN for a picture that is not the clip's."""

    image: np.ndarray
    mask: np.ndarray
    uv: np.ndarray
    xyz: np.ndarray
    orientation: np.ndarray
    rest: np.ndarray
    time: float
    side: float


def posed_crop(body: Body, camera: Camera, crop: Crop, pose: np.ndarray, image: np.ndarray, mask: np.ndarray, time: float) -> PosedCrop:
    """A reference from a camera of one time and a pose (all bones, 4, 4)."""
    uv, xyz = view_points(body, camera, crop, body.points(pose))
    orientation = view_orientations(camera, crop, bone_rotations(pose[body.bones]))
    side = float(crop.side) if np.isfinite(time) else float("nan")
    return PosedCrop(image, mask, uv, xyz, orientation, view_orientations(camera, crop, body.rest), time, side)


def images_to_tensor(images: np.ndarray) -> Tensor:
    """(…, S, S, 3) uint8 to (…, 3, S, S) float 0..1."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, -3))).float() / 255


def model_input(
    body: Body, references: list[PosedCrop], images: Tensor, times: np.ndarray, sides: np.ndarray, graph: tuple[np.ndarray, np.ndarray] | None = None
) -> ModelInput:
    """A batch of one clip: images (T, 3, S, S), times (T,) seconds, sides (T,) of the crops in pixels; the first reference is the primary one."""
    first = references[0].orientation
    hop, edge = graph if graph is not None else skeleton_graph(body.carriers)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float()[None]

    return ModelInput(
        ref_images=images_to_tensor(np.stack([r.image for r in references]))[None],
        ref_masks=tensor(np.stack([r.mask for r in references])[:, None]),
        ref_uv=tensor(np.stack([r.uv for r in references]).clip(-1, 2)),
        ref_xyz=tensor(np.stack([r.xyz for r in references])),
        ref_turn=tensor(np.stack([r.orientation @ np.swapaxes(first, -1, -2) for r in references])),
        rest_turn=tensor(first @ np.swapaxes(references[0].rest, -1, -2)),
        point_mask=torch.from_numpy(body.mask)[None],
        joint_mask=torch.ones(1, len(body.bones), dtype=torch.bool),
        carriers=torch.from_numpy(body.carriers)[None],
        hop=torch.from_numpy(hop)[None],
        edge=torch.from_numpy(edge)[None],
        ref_times=tensor(np.array([r.time for r in references])),
        images=images[None],
        times=tensor(times),
        frame_mask=torch.ones(1, len(times), dtype=torch.bool),
        zoom=tensor(np.nan_to_num(sides / references[0].side, nan=1.0)),
    )
