"""What a fit knows of a motion, told without the rig's axes and units: what the denoiser reads, and is trained on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ..backend.camera import view_rotation
from ..backend.carriers import nearest_above
from ..backend.fit import Fitted
from ..backend.ik_chain import Chain, end_offsets

_WIDEST = 1.5  # radians: of a turn of which nothing is known


@dataclass(frozen=True, eq=False)
class Evidence:
    """A bones' turns against their carriers since the reference, in T frames. Everything is told in the reference's view axes (x right, y down, z into
    the picture) and in sizes of the rig, float32.

    times: (T,) seconds since the reference. above: (A,) the bone that carries each, or -1. turn: (T, A, 3) axis-angles that were fitted, spread:
    (T, A, 3, 3) their covariance. error: (T, A) that the network expects of each head. head: (A, 3) in the reference, of the mean of all. vector: (A, 3)
    from there to the bone's end. sight: (T, 3) where the frame's camera looks. axes: (A, 3, 3) float64, by which axis-angles in each bone's carrier's
    axes were brought here.
    """

    times: np.ndarray
    above: np.ndarray
    turn: np.ndarray
    spread: np.ndarray
    error: np.ndarray
    head: np.ndarray
    vector: np.ndarray
    sight: np.ndarray
    axes: np.ndarray

    def in_carriers(self, turn: np.ndarray) -> np.ndarray:
        """(T, A, 3) float64 axis-angles in the carriers' axes of those (T, A, 3) in the view's."""
        return np.einsum("jab,tja->tjb", self.axes, turn.astype(np.float64))

    def part(self, rows: slice) -> Evidence:
        """Some of the frames."""
        timed = {"times", "turn", "spread", "error", "sight"}
        return Evidence(**{f.name: getattr(self, f.name)[rows] if f.name in timed else getattr(self, f.name) for f in fields(self)})


def evidence_of(fitted: Fitted) -> Evidence:
    """What the fit knew, in the reference's view axes."""
    body, track, chain = fitted.body, fitted.track, fitted.chain
    reference, frames = track.reference, len(track.times)
    view = view_rotation(reference.camera.intrinsics, track.reference_crop.center) @ reference.camera.rotation
    sight = np.linalg.inv(np.broadcast_to(track.camera.rotation, (frames, 3, 3)))
    rays = np.linalg.inv(view_rotation(np.broadcast_to(track.camera.intrinsics, (frames, 4)), track.crop.center))[..., 2]
    axes = _view_axes(view, chain)
    spread = torch.linalg.inv(fitted.information.double() + torch.eye(3, dtype=torch.float64) / _WIDEST**2).numpy()
    heads = chain.ref_heads.numpy()[chain.active] @ view.T
    row = np.full(len(chain.rig), -1)
    row[body.bones] = np.arange(len(body.bones))
    known = row[chain.active] >= 0
    error = np.where(known, track.error[:, row[chain.active]], 0.0)
    vector = np.einsum("jab,jb->ja", chain.reference.numpy(), end_offsets(chain.rig) / chain.size)[chain.active] @ view.T
    values = {
        "times": track.times - (reference.time or 0.0), "turn": in_view(axes, fitted.turn),
        "spread": axes @ spread @ np.swapaxes(axes, -1, -2), "error": error, "head": heads - heads.mean(0), "vector": vector,
        "sight": np.einsum("ab,tbc,tc->ta", view, sight, rays),
    }
    return Evidence(above=nearest_above(chain.rig.carriers, chain.active), axes=axes, **{name: np.asarray(value, np.float32) for name, value in values.items()})


def _view_axes(view: np.ndarray, chain: Chain) -> np.ndarray:
    """(A, 3, 3) that take axis-angles in each active bone's carrier's axes, as in the reference, to those of a view (3, 3)."""
    above = chain.rig.carriers[chain.active]
    axes = np.where((above >= 0)[:, None, None], chain.reference.numpy()[above], np.eye(3))
    return np.linalg.det(view) * view @ axes  # axes of turns are mirrored with their sense


def in_view(axes: np.ndarray, turn: Tensor) -> np.ndarray:
    """(T, A, 3) float32 axis-angles in the axes of evidence, of those (T, A, 3) in the carriers'."""
    return np.einsum("jab,tjb->tja", axes, turn.numpy()).astype(np.float32)
