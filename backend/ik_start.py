"""Where inverse kinematics starts: turns told bone by bone from the nearest tracked points, and where the roots are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .closed_form import turns_from_points
from .ik_chain import Chain


def closed_form_start(chain: Chain, positions: Tensor, times: np.ndarray, noise: float, bend: float) -> tuple[Tensor, Tensor]:
    """Turns (T, J, 3, 3) against the carriers by Procrustes on the nearest tracked points below each bone, and root heads (T, J, 3).

    positions: (T, P, 3) and what comes back in sizes of the rig, armature frame, NaN where unknown. noise: their expected error, share of the size.
    bend: radians that bones usually turn.
    """
    count, frames = len(chain.rig), len(positions)
    known = torch.isfinite(positions).all(-1)
    filled = torch.where(known[..., None], positions, 0.0)
    head_point = {int(bone): p for p, bone in enumerate(chain.bones) if chain.offsets[p].norm() < 1e-9}
    below = [_tracked_below(chain, bone, head_point, known.any(0).numpy()) for bone in range(count)]
    slots = max(1, *(len(points) for points in below))
    ref, now, weights = torch.zeros(count, slots, 3).double(), torch.zeros(frames, count, slots, 3).double(), torch.zeros(frames, count, slots).double()
    roots = chain.ref_heads.expand(frames, -1, -1).clone()
    centres: dict[int, tuple[Tensor, Tensor, np.ndarray]] = {}
    for bone, points in enumerate(below):
        head = head_point.get(bone)
        if not points and (head is None or bone not in chain.roots):
            continue
        weight = known[:, points].double()
        if head is not None and bool(known[:, head].any()):
            weight = weight * known[:, head, None]
            origin_ref, origin, there = chain.ref_points[head], filled[:, head], known[:, head]
        elif bone in chain.roots:
            share = (weight / weight.sum(1, keepdim=True).clamp(min=1))[..., None]
            origin_ref, origin = (share.mean(0) * chain.ref_points[points]).sum(0) / share.mean(0).sum().clamp(min=1e-9), (share * filled[:, points]).sum(1)
            there = weight.sum(1) > 0
        else:
            continue
        ref[bone, : len(points)] = chain.ref_points[points] - origin_ref
        now[:, bone, : len(points)] = filled[:, points] - origin[:, None]
        weights[:, bone, : len(points)] = weight
        centres[bone] = (origin_ref, origin, there.numpy())
    errors = torch.full((frames, count), noise, dtype=torch.float64)
    turned = turns_from_points(ref.expand(frames, -1, -1, -1), now, weights, errors, chain.carriers.numpy(), spread=bend)
    rotations = turned @ chain.reference
    for root in chain.roots:
        if root in centres:
            origin_ref, origin, shown = centres[root]
            place = (origin + (turned[:, root] @ (chain.ref_heads[root] - origin_ref)[:, None])[..., 0]).numpy()
            # where nothing shows it, between where it was and where it is again
            roots[:, root] = torch.from_numpy(np.stack([np.interp(times, times[shown], place[shown, axis]) for axis in range(3)], -1))
    return chain.turns(rotations), roots


def _tracked_below(chain: Chain, bone: int, heads: dict[int, int], seen: np.ndarray) -> list[int]:
    """Points that show how a bone stands: its own off its head, and the nearest tracked heads along each branch that it carries."""
    own = [p for p, of in enumerate(chain.bones.tolist()) if of == bone and heads.get(bone) != p and seen[p]]
    waiting = np.flatnonzero(chain.rig.carriers == bone).tolist()
    while waiting:
        child = waiting.pop()
        if child in heads and seen[heads[child]]:
            own.append(heads[child])
        else:
            waiting += np.flatnonzero(chain.rig.carriers == child).tolist()
    return own
