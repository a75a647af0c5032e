"""Which bone carries which: a foot that hangs off the root for its IK still belongs to a leg, and must stay on it.

Seen on artists' rigs: bones that do not ride on their parent hang directly off a top bone (or have no parent), share no skin with it,
and share skin with, or lie at the surface of, the last bone of a limb. The heaviest branch of a top bone is the body itself and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rig import Mesh

# Shares and distances found on the training rigs of the open zoo (docs/open-zoo.md says how well they do).
_SHARED_SKIN = 0.01  # of the branch's own skin, to count as grown together
_PARENT_SKIN = 0.5  # of the best candidate's shared skin: a parent that holds this much carries the bone itself
_CLOSE_RIVAL = 0.5  # of the best candidate's share: others that may take its place where it would close a ring
_TOUCHING = 0.05  # of the rig's size, from the bone's head to the carrier's skin
_AT_THE_BONE = 0.02  # of the rig's size, from the bone's head to the carrier's own axis
_AMBIGUOUS = 2.0  # a second candidate nearer than this times the first one's distance leaves the bone with its parent


@dataclass(frozen=True)
class _Evidence:
    """What a rest pose says about bones: (J, J) tables, [a, b] of bone a with regard to bone b; distances as shares of the size.

    below: b is a or hangs under it. skin: shared skin. touch: head of a to the skin of b. axis: head of a to the axis of b.
    area: (J,) skin that follows each bone; branch: (J,) the same with all bones below.
    """

    below: np.ndarray
    skin: np.ndarray
    touch: np.ndarray
    axis: np.ndarray
    area: np.ndarray
    branch: np.ndarray


def infer_carriers(parents: np.ndarray, rest: np.ndarray, ends: np.ndarray, driven: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    """(J,) int32 carriers: the parent, save for driven bones that belong to another limb than their parent; -1 for roots."""
    carriers = parents.astype(np.int32).copy()
    evidence = _evidence(parents, rest, ends, mesh)
    hanging = [bone for bone in np.flatnonzero(driven) if parents[bone] < 0 or parents[parents[bone]] < 0]
    bodies = {max((b for b in hanging if parents[b] == hub), key=lambda b: evidence.branch[b]) for hub in {int(parents[b]) for b in hanging}}
    # Small branches first: where two could carry each other, the smaller rides on the larger.
    for bone in sorted(set(hanging) - bodies, key=lambda b: evidence.branch[b]):
        others = np.array([k for k in np.flatnonzero(driven) if not evidence.below[bone, k] and k != parents[bone]])
        if not len(others):
            continue
        for carrier in _candidates(bone, parents[bone], others, evidence):
            if not _leads_to(carriers, carrier, bone) and _is_limb(bone, parents[bone], carrier, evidence):
                carriers[bone] = carrier
                break
    return carriers


def _candidates(bone: int, parent: int, others: np.ndarray, evidence: _Evidence) -> np.ndarray:
    """Possible carriers, likeliest first: by shared skin, or where parts are separate pieces, by touch if unambiguous."""
    shared = evidence.skin[evidence.below[bone]].sum(0)
    best = shared[others].max()
    if best > _SHARED_SKIN * shared[evidence.below[bone]].sum():
        if parent >= 0 and shared[parent] > _PARENT_SKIN * best:
            return others[:0]
        order = others[np.argsort(-shared[others], kind="stable")]
        return order[shared[order] > _CLOSE_RIVAL * best]
    nearest = others[evidence.touch[bone, others].argmin()]
    distance = evidence.touch[bone, nearest]
    rivals = others[~evidence.below[nearest, others]]
    if parent >= 0:
        rivals = np.append(rivals, parent)
        if evidence.touch[bone, rivals].min() < _AMBIGUOUS * distance:
            return others[:0]
    return np.array([nearest]) if distance < _TOUCHING else others[:0]


def _is_limb(bone: int, parent: int, carrier: int, evidence: _Evidence) -> bool:
    """Whether carrier is the last bone of its limb (less skin below it than the bone has) or the bone sits on its axis.

    Other bones of a hub with a parentless top (thighs beside a torso) ride on the hub as well as on each other: they stay.
    """
    last = evidence.branch[carrier] - evidence.area[carrier] < evidence.branch[bone]
    return parent < 0 or bool(last) or bool(evidence.axis[bone, carrier] < _AT_THE_BONE)


def _evidence(parents: np.ndarray, rest: np.ndarray, ends: np.ndarray, mesh: Mesh | None) -> _Evidence:
    count, heads = len(parents), rest[:, :3, 3]
    points = heads if mesh is None else mesh.vertices
    size = max(float(np.linalg.norm(np.ptp(points, axis=0))), 1e-12)
    below = descendants(parents)
    axis = segment_distance(heads[:, None], heads, ends) / size
    if mesh is None:
        lengths = np.linalg.norm(ends - heads, axis=-1)
        return _Evidence(below, np.zeros((count, count)), axis, axis, lengths, below @ lengths)
    touch = np.full((count, count), np.inf)
    for bone in range(count):
        own = mesh.vertices[np.where(mesh.bones == bone, mesh.weights, 0).sum(1) > 0.3]
        if len(own):
            touch[:, bone] = np.sqrt(((heads[:, None] - own[None]) ** 2).sum(-1).min(1)) / size
    area = skin_area(mesh, count)
    return _Evidence(below, shared_skin(mesh, count), touch, axis, area, below @ area)


def skin_area(mesh: Mesh, count: int) -> np.ndarray:
    """(J,) surface that follows each bone."""
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 6
    held = np.zeros(count)
    np.add.at(held, mesh.bones[mesh.triangles], mesh.weights[mesh.triangles] * areas[:, None, None])
    return held


def shared_skin(mesh: Mesh, count: int) -> np.ndarray:
    """(J, J) how much skin two bones have in common: over the triangles' welded corners, the sum of products of their mean weights."""
    rounded = np.round(mesh.vertices / max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-12) * 1e5).astype(np.int64)
    _, place = np.unique(rounded, axis=0, return_inverse=True)
    place = place.reshape(-1)
    weight = np.zeros((place.max() + 1, count))
    np.add.at(weight, (place[:, None], mesh.bones), mesh.weights)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1e-12)
    mean = weight[place[mesh.triangles]].mean(1)
    return mean.T @ mean


def descendants(parents: np.ndarray) -> np.ndarray:
    """(J, J) bool, [a, b] true where b is a or hangs below it, of bones in any order."""
    below = np.eye(len(parents), dtype=bool)
    step = np.array(parents, np.int64)
    for _ in range(len(parents)):
        rows = np.flatnonzero(step >= 0)
        below[step[rows], rows] = True
        step[rows] = parents[step[rows]]
    return below


def nearest_above(carriers: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(A,) which of the chosen bones (A,) carries each of them, by way of others or not, or -1."""
    row = np.full(len(carriers), -1, np.int64)
    row[chosen] = np.arange(len(chosen))
    step = carriers[chosen].astype(np.int64)
    while (passed := (step >= 0) & (row[step] < 0)).any():
        step[passed] = carriers[step[passed]]
    return np.where(step >= 0, row[step], -1)


def segment_distance(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (...) of points (..., 3) to segments from start to end (..., 3)."""
    along, away = end - start, point - start
    share = np.clip((away * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-24), 0, 1)
    return np.linalg.norm(away - share[..., None] * along, axis=-1)


def _leads_to(carriers: np.ndarray, start: int, wanted: int) -> bool:
    """Whether the chain of carriers from start passes through wanted."""
    while start >= 0 and start != wanted:
        start = carriers[start]
    return bool(start == wanted)
