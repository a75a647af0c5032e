"""Turns since the reference, the network's answer, to and from bone orientations: exact arithmetic (design: capture)."""

from __future__ import annotations

import numpy as np


def _bone_to_view(to_camera: np.ndarray, view: np.ndarray | None) -> np.ndarray:
    return to_camera if view is None else view @ to_camera


def _transpose(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def motion_from_turns(
    turns: np.ndarray,
    reference: np.ndarray,
    to_camera: np.ndarray,
    reference_to_camera: np.ndarray,
    view: np.ndarray | None = None,
    reference_view: np.ndarray | None = None,
) -> np.ndarray:
    """Bone orientations (..., J, 3, 3) in the armature frame from turns since a reference.

    turns: (..., J, 3, 3) rotations in the view frame, G(t) G(ref)^T with G = V Q A: A the bone in the armature frame, Q the
        orthogonal part of the armature's place before the camera (`Camera.rotation`, determinant -1 where mirrored), V the rotation
        to the view frame (`camera.view_rotation`; identity where None).
    reference: (J, 3, 3) the reference's orientations, armature frame (`kinematics.bone_rotations`).
    to_camera, view: (..., 3, 3) at the turns' times (broadcast). reference_to_camera, reference_view: (3, 3) at the reference.
    """
    now = _bone_to_view(to_camera, view)[..., None, :, :]
    then = _bone_to_view(reference_to_camera, reference_view)[..., None, :, :]
    return _transpose(now) @ turns @ (then @ reference)


def turns_from_rotations(
    rotations: np.ndarray,
    reference: np.ndarray,
    to_camera: np.ndarray,
    reference_to_camera: np.ndarray,
    view: np.ndarray | None = None,
    reference_view: np.ndarray | None = None,
) -> np.ndarray:
    """Turns (..., J, 3, 3) since the reference in the view frame; the inverse of `motion_from_turns`, same arguments.

    rotations: (..., J, 3, 3) bone orientations, armature frame. Replacing a bone's axes by any other (A to A S with S constant,
    in the reference as well) leaves its turn as it is.
    """
    now = _bone_to_view(to_camera, view)[..., None, :, :]
    then = _bone_to_view(reference_to_camera, reference_view)[..., None, :, :]
    return (now @ rotations) @ _transpose(then @ reference)
