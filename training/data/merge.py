"""Several files of one species become one rig: whose skeletons agree, and their clips carried over onto it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...backend.kinematics import inverse_affine
from ...backend.rig import Rig
from .bake import Animated

_AGREE = 0.01  # of the rig's size, root mean square: rest poses this alike are the same
_IN_LINE = 1e-4  # second to first singular value: below, the joints do not tell how a skeleton is turned about their line
# what formats differ in where a joint's place does not tell: y up or z up
_AXES = (np.eye(3), np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))


def choose_base(files: Sequence[Animated]) -> int:
    """Index of the file whose rig serves for all: one with a mesh if there is any, the one that most others can be carried onto."""
    skinned = [i for i, file in enumerate(files) if file.rig.mesh is not None] or list(range(len(files)))
    first: dict[tuple[object, ...], int] = {}
    for i in skinned:  # files of one skeleton agree with the same others: one of each is asked
        first.setdefault((files[i].rig.names, files[i].rig.parents.tobytes(), files[i].rig.rest.round(4).tobytes()), i)
    agree = {i: sum(isinstance(similarity(files[i], other), np.ndarray) for other in files) for i in first.values()}
    return max(agree, key=lambda i: (agree[i], -i))


def similarity(base: Animated, other: Animated) -> np.ndarray | str:
    """(4, 4) rotation, scale and shift from the other's armature frame to the base's under which their rest poses agree, or why there is none.

    Skeletons agree if every bone that is keyed on the base is in the other, under the same parent; file formats differ in turning
    axes and in units, so the objects' own placing is tried first, then the best similarity (Umeyama 1991).
    """
    index = {name: i for i, name in enumerate(other.rig.names)}
    lacking = [name for name, driven in zip(base.rig.names, base.rig.driven, strict=True) if driven and name not in index]
    if lacking:
        return f"its skeleton clashes: there is no bone '{lacking[0]}'" + (f" (and {len(lacking) - 1} more are missing)" if len(lacking) > 1 else "")
    common = [i for i, name in enumerate(base.rig.names) if name in index]
    for i in common:
        here, there = _name_above(base.rig, i, index), _name_above(other.rig, index[base.rig.names[i]], set(base.rig.names))
        if here != there:
            return f"its skeleton clashes: '{base.rig.names[i]}' hangs from '{there}' and not from '{here}'"
    wanted = base.rig.rest[common, :3, 3]
    given = other.rig.rest[[index[base.rig.names[i]] for i in common], :3, 3]
    placing = (np.linalg.inv(base.world) @ other.world)[:3, :3]
    left, _, right = np.linalg.svd(placing)
    scatter = (wanted - wanted.mean(0)).T @ (given - given.mean(0))
    u, spread, v = np.linalg.svd(scatter)
    best = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    for rotation in (left @ right, best) if spread[1] > _IN_LINE * spread[0] else (left @ right, *_AXES):
        out = _scaled(rotation, wanted, given)
        error = np.sqrt(((given @ out[:3, :3].T + out[:3, 3] - wanted) ** 2).sum(1).mean())
        if error < _AGREE * base.rig.size:
            return out
    return f"its skeleton clashes: at rest its joints lie {100 * error / base.rig.size:.0f} % of the size elsewhere"


def _name_above(rig: Rig, bone: int, known: object) -> str | None:
    """The nearest ancestor whose name is known on the other side as well."""
    bone = int(rig.parents[bone])
    while bone >= 0 and rig.names[bone] not in known:  # type: ignore[operator]
        bone = int(rig.parents[bone])
    return rig.names[bone] if bone >= 0 else None


def _scaled(rotation: np.ndarray, wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(4, 4) with the scale and shift that bring rotated points (N, 3) closest to the wanted ones."""
    turned = (given - given.mean(0)) @ rotation.T
    scale = (turned * (wanted - wanted.mean(0))).sum() / max((turned**2).sum(), 1e-18)
    out = np.eye(4)
    out[:3, :3] = max(float(scale), 1e-9) * rotation if len(given) > 1 else rotation
    out[:3, 3] = wanted.mean(0) - out[:3, :3] @ given.mean(0)
    return out


def carry_over(base: Rig, other: Rig, change: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Pose (T, J, 4, 4) of the base that shows what pose (T, K, 4, 4) of the other shows; bones that the other lacks ride on their parents.

    What a bone does since the rest pose does not depend on the bone's own axes: it is that which is carried over.
    """
    since_rest = change @ (pose.astype(np.float64) @ inverse_affine(other.rest)) @ inverse_affine(change)
    index = {name: i for i, name in enumerate(other.names)}
    out = np.empty((len(pose), len(base), 4, 4))
    for bone, name in enumerate(base.names):
        parent = base.parents[bone]
        if name in index:
            out[:, bone] = since_rest[:, index[name]] @ base.rest[bone]
        elif parent >= 0:
            out[:, bone] = out[:, parent] @ np.linalg.inv(base.rest[parent]) @ base.rest[bone]
        else:
            out[:, bone] = base.rest[bone]
    return out
