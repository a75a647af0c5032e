"""Turns of bones since the reference in closed form, from where points on them went (weighted Procrustes, shrunk by expected noise)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .kinematics import bone_rotations
from .rig import Rig

_SQUARINGS = 7  # the start of Newton's iteration is the 128th power of the shifted Davenport matrix
_POLISH = 2
_FREE = 0.7  # the baseline's own spread, radians: from true positions a bone may turn as far as it likes
_DAMPING = 1e-4  # of the matrix's trace: turns about an axis that no point shows stay at the carrier's and get no exploding gradient


def turns_from_points(
    ref_vectors: Tensor, now_vectors: Tensor, weights: Tensor, noise: Tensor, carriers: Tensor | np.ndarray, spread: float = 0.155,
) -> Tensor:
    """Turn (..., J, 3, 3) of each bone since the reference: argmin over R of sum_k w_k |R a_k - b_k|^2 + l |R - R_carrier|^2.

    ref_vectors a, now_vectors b: (..., J, K, 3) points of the bone relative to its head, in the same axes, divided by the rig's size.
    weights: (..., J, K) not negative, 0 where the point is absent. noise: (..., J) expected position error in the same unit.
    carriers: (J,), or (B, J) where the first dimension holds different rigs; -1 for roots, which shrink towards no turn at all.
    spread: how far a bone is expected to turn from its carrier, radians; l = noise^2 / (2 spread^2) is then the maximum-a-posteriori
        weight of both terms. A bone without points follows its carrier; a single direction turns the shortest way from the carrier's.
    """
    dtype = torch.promote_types(ref_vectors.dtype, torch.float32)
    with torch.autocast(ref_vectors.device.type, enabled=False):  # half precision has not the digits for this
        scatter = (now_vectors.to(dtype) * weights[..., None].to(dtype)).transpose(-1, -2) @ ref_vectors.to(dtype)
    shrink = (noise.to(scatter.dtype) ** 2 / (2.0 * spread**2)).expand(scatter.shape[:-2])
    groups = torch.as_tensor(carriers, device="cpu")
    groups = groups[None] if groups.ndim == 1 else groups
    rigs, bones = groups.shape
    # Matrix elements first, then one row per bone of each rig, then everything else.
    rows = scatter.reshape(rigs, -1, bones, 3, 3).permute(3, 4, 0, 2, 1).reshape(3, 3, rigs * bones, -1)
    pull = shrink.reshape(rigs, -1, bones).transpose(1, 2).reshape(rigs * bones, -1)
    turns = _turn_by_levels(rows, pull, groups)
    return turns.reshape(3, 3, rigs, bones, -1).permute(2, 4, 3, 0, 1).reshape(scatter.shape)


def _turn_by_levels(scatter: Tensor, pull: Tensor, carriers: Tensor) -> Tensor:
    """Rows (3, 3, R, N) to turns, roots first, then all rows whose carriers are known, one depth at a time."""
    found: list[Tensor] = []
    order, above = _levels(carriers)
    eye = torch.eye(3, dtype=scatter.dtype, device=scatter.device)[:, :, None, None]
    for rows, places in zip(order, above, strict=True):
        rows = rows.to(scatter.device)
        relative = scatter[:, :, rows]
        # In the carrier's turned axes the prior pulls towards no turn, and "the shortest way" means from the carrier.
        carried = found[-1][:, :, places.to(scatter.device)] if found else None
        if carried is not None:
            relative = _product(relative, carried.transpose(0, 1))
        turn = _nearest_rotation(relative + pull[rows] * eye)
        found.append(turn if carried is None else _product(turn, carried))
    back = torch.argsort(torch.cat(order)).to(scatter.device)
    return torch.cat(found, 2)[:, :, back]


def _levels(carriers: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Rows of each depth, and for each row the place of its carrier within the depth above."""
    above = carriers.reshape(-1, carriers.shape[-1]).long()
    rigs, bones = above.shape
    flat = torch.where(above >= 0, above + torch.arange(rigs)[:, None] * bones, -1).reshape(-1)
    order = [torch.nonzero(flat < 0).reshape(-1)]
    places = [torch.zeros_like(order[0])]
    done = len(order[0])
    place = torch.full_like(flat, -1)
    while done < len(flat):
        place.fill_(-1)
        place[order[-1]] = torch.arange(len(order[-1]))
        rows = torch.nonzero((flat >= 0) & (place[flat.clamp(min=0)] >= 0)).reshape(-1)
        if not len(rows):
            raise ValueError("carriers form a cycle")
        order.append(rows)
        places.append(place[flat[rows]])
        done += len(rows)
    return order, places


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Proper rotation R (..., 3, 3) that maximises tr(R^T M); where M leaves R open, the smallest such turn. Differentiable, no SVD.

    Davenport's quaternion form brings the start into the basin of the maximum for reflections and half turns alike; Newton's steps on
    the rotation group make it exact. The derivative comes from the last step alone, which at the solution is the implicit one.
    """
    return _nearest_rotation(matrix.movedim((-2, -1), (0, 1))).movedim((0, 1), (-2, -1))


# Below, matrices and quaternions have their elements first, (3, 3, ...) and (4, ...): whole rows of numbers are many times
# faster than batches of tiny matrices.


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of (n, k, ...) and (k, m, ...)."""
    total = a[:, 0, None] * b[None, 0]
    for k in range(1, a.shape[1]):
        total = torch.addcmul(total, a[:, k, None], b[None, k])
    return total


def _norm(vectors: Tensor) -> Tensor:
    """Lengths (...) of (k, ...)."""
    return sum(v * v for v in vectors).clamp(min=1e-36).sqrt()  # type: ignore[union-attr]


def _nearest_rotation(matrix: Tensor) -> Tensor:
    matrix = matrix / _norm(matrix.detach().flatten(0, 1))
    with torch.no_grad():
        rotation = _quaternion_to_matrix(_dominant_quaternion(matrix.detach()))
        for _ in range(_POLISH):
            rotation = _newton_step(rotation, matrix.detach())
    return _newton_step(rotation, matrix)


def _dominant_quaternion(m: Tensor) -> Tensor:
    """Power iteration by repeated squaring on Davenport's K (Horn 1987), started from no turn; (4, ...) w, x, y, z; |M| = 1."""
    x, y, z = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    a, b, c = m[0, 0], m[1, 1], m[2, 2]
    xy, xz, yz = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    elements = [a + b + c, x, y, z, x, a - b - c, xy, xz, y, xy, b - a - c, yz, z, xz, yz, c - a - b]
    davenport = torch.stack(elements).reshape(4, 4, *x.shape)
    power = davenport.clone()
    for i in range(4):
        power[i, i] += 1.7321  # |M| = 1, so no eigenvalue is below -sqrt(3): all become positive and keep their order
    for _ in range(_SQUARINGS):
        power = power / (power[0, 0] + power[1, 1] + power[2, 2] + power[3, 3])
        power = _product(power, power)
    # A column is its eigenvector times that eigenvector's own entry: the first one, the start without a turn, is the shortest way
    # where there is a choice, and fails only next to a half turn.
    widest = power[1, 1]
    first, other = power[:, 0], power[:, 1]
    for i in (2, 3):
        other = torch.where(power[i, i] > widest, power[:, i], other)
        widest = torch.maximum(widest, power[i, i])
    first, other = (q / _norm(q) for q in (first, other))
    reached, best = ((q * _product(davenport, q[:, None])[:, 0]).sum(0) for q in (first, other))
    return torch.where(reached > best - 1e-4, first, other)


def _newton_step(rotation: Tensor, matrix: Tensor) -> Tensor:
    """One step towards the maximum of tr(R^T M) on the rotation group; |M| = 1."""
    s = _product(rotation.transpose(0, 1), matrix)
    gradient = torch.stack([s[2, 1] - s[1, 2], s[0, 2] - s[2, 0], s[1, 0] - s[0, 1]])
    s = s.detach()
    a, b, c = s[1, 1] + s[2, 2] + _DAMPING, s[0, 0] + s[2, 2] + _DAMPING, s[0, 0] + s[1, 1] + _DAMPING
    d, e, f = -0.5 * (s[0, 1] + s[1, 0]), -0.5 * (s[0, 2] + s[2, 0]), -0.5 * (s[1, 2] + s[2, 1])
    # The inverse of the symmetric Hessian [[a, d, e], [d, b, f], [e, f, c]] by its cofactors.
    bc, ef, df, ac, de, ab = b * c - f * f, e * f - c * d, d * f - b * e, a * c - e * e, d * e - a * f, a * b - d * d
    determinant = (a * bc + d * ef + e * df).clamp(min=1e-12)
    x, y, z = gradient
    turn = torch.stack([bc * x + ef * y + df * z, ef * x + ac * y + de * z, df * x + de * y + ab * z]) / determinant
    turn = turn / _norm(turn.detach()).clamp(min=1.0)  # a radian at most: farther off the quadratic says nothing
    quaternion = torch.cat([torch.ones_like(turn[:1]), 0.5 * turn])
    return _product(rotation, _quaternion_to_matrix(quaternion / _norm(quaternion)))


def _quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Unit quaternions (4, ...) w, x, y, z to rotations (3, 3, ...)."""
    w, x, y, z = quaternion
    elements = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]
    return torch.stack(elements).reshape(3, 3, *w.shape)


def closed_form_motion(rig: Rig, reference_pose: np.ndarray, heads: np.ndarray, ends: np.ndarray | None = None, noise: float = 0.0) -> np.ndarray:
    """Bone rotations (T, J, 3, 3), armature frame, that positions alone tell: the baseline without learning.

    reference_pose: (J, 4, 4) bone to armature. heads, ends: (T, J, 3) armature frame; without ends a leaf follows its carrier.
    noise: expected error of the positions as a share of the rig's size.
    """
    count = len(rig)
    children = [np.flatnonzero(rig.carriers == j) for j in range(count)]
    slots = max(1, max(len(c) for c in children)) + 1
    ref = np.zeros((count, slots, 3))
    now = np.zeros((len(heads), count, slots, 3))
    weights = np.zeros((count, slots))
    ref_heads = reference_pose[:, :3, 3]
    rest_inverse = np.linalg.inv(rig.rest)
    for j, of in enumerate(children):
        ref[j, : len(of)] = ref_heads[of] - ref_heads[j]
        now[:, j, : len(of)] = heads[:, of] - heads[:, j, None]
        weights[j, : len(of)] = 1.0
        if ends is not None:
            local_end = rest_inverse[j, :3, :3] @ rig.ends[j] + rest_inverse[j, :3, 3]
            ref[j, -1] = reference_pose[j, :3, :3] @ local_end
            now[:, j, -1] = ends[:, j] - heads[:, j]
            weights[j, -1] = 1.0
    turns = turns_from_points(
        torch.from_numpy(ref / rig.size).expand(len(heads), -1, -1, -1), torch.from_numpy(now / rig.size),
        torch.from_numpy(weights).expand(len(heads), -1, -1), torch.full((len(heads), count), noise, dtype=torch.float64), rig.carriers,
        spread=_FREE,
    )
    return turns.numpy() @ bone_rotations(reference_pose)
