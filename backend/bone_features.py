"""A rig's bones at rest as the motion prior reads them: in the body's own axes, so that neither bone axes nor units exist for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .carriers import descendants, nearest_above
from .ik_chain import end_offsets
from .kinematics import bone_rotations
from .retarget import names
from .retarget.anatomy import Anatomy
from .rig import Rig

_LEAST = 1e-3  # of the size: shorter bones have no length
_NEAR = 4.0  # lengths are told in quarters of the rig's size
_PARTS = ("head", "neck", "tail", "wing", "fin", "face", "finger", "arm", "leg")
_ROLES = 5  # places along a limb
_MIRROR = np.array([-1.0, 1.0, 1.0])
FEATURES = 27 + len(_PARTS) + _ROLES


@dataclass(frozen=True, eq=False)
class BonesAtRest:
    """A bones in the body's axes (left, back, up), sizes of the rig, from the middle of all.

    above: (A,) which of them carries each, or -1. head: (A, 3). vector: (A, 3) from there to the bone's end. said: (A, parts and roles) what its name
    says, as zeros and ones. axes: (A, 3, 3) by which axis-angles in each one's carrier's axes are brought here.
    """

    above: np.ndarray
    head: np.ndarray
    vector: np.ndarray
    said: np.ndarray
    axes: np.ndarray

    def placed(self, place: np.ndarray) -> BonesAtRest:
        """In other axes, by an orthogonal matrix (3, 3)."""
        return replace(self, head=self.head @ place.T, vector=self.vector @ place.T, axes=np.linalg.det(place) * place @ self.axes)

    def mirrored(self) -> BonesAtRest:
        """Its mirror image, left for right."""
        return self.placed(np.diag(_MIRROR))

    @property
    def link(self) -> np.ndarray:
        """(A, 3) from the carrier's head; zero for those without."""
        return np.where((self.above >= 0)[:, None], self.head - self.head[self.above], 0.0)

    @property
    def depth(self) -> np.ndarray:
        """(A,) how many carry each, itself among them."""
        return descendants(self.above).sum(0)

    @property
    def features(self) -> np.ndarray:
        """(A, FEATURES) float32."""
        count, linked, link = len(self.above), (self.above >= 0)[:, None], self.link
        spread = max(float(np.sqrt((self.head**2).sum(1).mean())), _LEAST)
        length, reach = (np.maximum(np.linalg.norm(v, axis=1, keepdims=True), _LEAST) for v in (self.vector, link))
        along = self.vector / length
        carrying = np.where(linked, along[self.above], 0.0)
        height = self.head[:, 2:] - self.head[:, 2].min()
        below = descendants(self.above)
        tally = np.stack([(self.above[None] == np.arange(count)[:, None]).sum(1) + 1, below.sum(1), below.sum(0)], 1)
        return np.concatenate([
            self.head / spread, height / spread, along, np.log(length) + 2, _NEAR * self.vector, link / reach, np.log(reach) + 2,
            carrying, np.cross(carrying, along), ~linked, np.log(tally), tally[:, 1:2] / count, np.full((count, 1), np.log(count) / 3), self.said,
        ], 1).astype(np.float32)  # fmt: skip


def front_of(up: np.ndarray) -> np.ndarray:
    """(3,) where a body looks that stands up so, where nothing else tells, armature frame: along -Y of a world in which its armature lies on its back at
    most."""
    up = np.asarray(up, np.float64)
    return np.cross([1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0], up)


def bones_at_rest(rig: Rig, active: np.ndarray, up: np.ndarray) -> BonesAtRest:
    """The active bones (A,) of a rig; up (3,) armature frame."""
    facing = Anatomy(rig, rig.rest, up, front_of(up)).facing
    body = np.stack([facing[:, 0], -facing[:, 1], facing[:, 2]])  # left, back, up
    turned = bone_rotations(rig.rest)
    carriers = rig.carriers[active]
    axes = np.where((carriers >= 0)[:, None, None], turned[carriers], np.eye(3))
    head = rig.rest[active, :3, 3] / rig.size
    vector = np.einsum("jab,jb->ja", turned, end_offsets(rig) / rig.size)[active]
    parts = np.array([[names.kind([rig.names[b]]) == part for part in _PARTS] for b in active])
    roles = np.array([[names.role(rig.names[b]) == place for place in range(_ROLES)] for b in active])
    plain = BonesAtRest(nearest_above(rig.carriers, active), head - head.mean(0), vector, np.concatenate([parts, roles], 1).astype(np.float64), axes)
    return plain.placed(body)
