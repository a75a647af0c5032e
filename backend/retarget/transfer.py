"""A motion of the driving rig onto the target rig: turns since the reference, carried over by correspondence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import CaptureError
from ..finish.smoothing import from_local, nearest, to_local
from ..kinematics import bone_rotations, pose_along_carriers
from ..motion import Motion
from ..quaternions import interpolate
from ..rig import Rig
from .anatomy import Anatomy
from .contacts import Pairs, carry_contacts
from .links import Link, chain

_SAME_HEADING = np.radians(12)  # linked bones that lie so far apart about up face the same way
_SAME_AXES = np.radians(10)  # two bones of one name whose axes differ by less about the bone may be of one template,
_TEMPLATE = 0.9  # and are, where so many of all bones of the same names are alike


@dataclass(frozen=True, eq=False)
class Posed:
    """A rig in its half of the pose pair. pose: (J, 4, 4) bone to armature. up, front: (3,) in the armature frame."""

    rig: Rig
    pose: np.ndarray
    up: np.ndarray
    front: np.ndarray

    def anatomy(self) -> Anatomy:
        """Made once, since one body is often retargeted to many."""
        return self._anatomy

    @cached_property
    def _anatomy(self) -> Anatomy:
        return Anatomy(self.rig, self.pose, self.up, self.front)


@dataclass(frozen=True)
class RetargetSettings:
    """scale: of the root's travel, None for the ratio of the legs. travel: whether the root travels at all. contacts: hold what the driver's feet held."""

    scale: float | None = None
    travel: bool = True
    contacts: bool = True


def retarget(driving: Posed, target: Posed, links: Sequence[Link], motion: Motion, settings: RetargetSettings | None = None) -> Motion:
    """The target's motion, of the driver's times, with the driver's confidence.

    A bone's turn since the driver's reference pose, in the driver's body axes, becomes the target bone's turn since the target's pose, in
    the target's body axes; no bone axis takes part, so neither roll nor rest pose matters. Bones of one template (see `same_axes`) turn
    within what carries them, about their own axes, as the driver's do. Bones without a link ride on what carries them. Raises
    CaptureError where no link names bones of the rigs.
    """
    settings = settings or RetargetSettings()
    if not links:
        raise CaptureError("No bones of the two rigs are linked. Press Propose, or link bones by hand.")
    mine, theirs = target.anatomy(), driving.anatomy()
    pairs = [(chain(target.rig, link.target), chain(driving.rig, link.driving)) for link in links]
    across = body_to_body(mine, theirs, pairs)
    turns = across @ (motion.rotations @ np.swapaxes(bone_rotations(driving.pose), -1, -2)) @ across.T
    copied = same_axes(driving.rig, target.rig, pairs, across)
    rotations, confidence = _rotations(driving, target, mine, theirs, pairs, turns, motion, copied)
    scale = settings.scale if settings.scale is not None else leg_ratio(mine, theirs, pairs)
    heads = _heads(target, rotations, len(motion))
    if settings.travel:
        moved = (motion.heads[:, theirs.hub] - driving.pose[theirs.hub, :3, 3]) @ across.T * scale
        heads = heads + (target.pose[mine.hub, :3, 3] + moved - heads[:, mine.hub])[:, None]
    unknown = np.full((len(motion), len(target.rig), 2), np.nan, np.float32)
    result = Motion(motion.times, rotations, heads, confidence, unknown)
    if settings.contacts and settings.travel:
        result = carry_contacts(theirs, mine, pairs, motion, result, across * scale)
    return result


def body_to_body(mine: Anatomy, theirs: Anatomy, pairs: Pairs) -> np.ndarray:
    """(3, 3) rotation from the driver's armature frame to the target's: left to left, front to front, up to up.

    As the two face at rest, where the linked bones agree; else as they face in the pair's poses. Where they lie a quarter or half turn
    apart even then, one of the bodies was taken to face another way, and it is turned.
    """
    if abs(_heading(mine, mine.facing_at_rest, theirs, theirs.facing_at_rest, pairs)) < _SAME_HEADING:
        return mine.facing_at_rest @ theirs.facing_at_rest.T
    angle = _heading(mine, mine.facing, theirs, theirs.facing, pairs)
    quarter = np.round(angle / (np.pi / 2)) * (np.pi / 2)
    turn = np.array([[np.cos(quarter), -np.sin(quarter), 0], [np.sin(quarter), np.cos(quarter), 0], [0, 0, 1]])
    return mine.facing @ turn @ theirs.facing.T


def _heading(mine: Anatomy, facing: np.ndarray, theirs: Anatomy, other_facing: np.ndarray, pairs: Pairs) -> float:
    """Angle about up between linked bones as they lie from the hubs, each body seen along the axes (3, 3) in which it is said to face."""
    own = ((mine.heads[[bones[-1] for bones, _ in pairs]] - mine.heads[mine.hub]) @ facing / mine.size)[:, :2]
    other = ((theirs.heads[[drivers[-1] for _, drivers in pairs]] - theirs.heads[theirs.hub]) @ other_facing / theirs.size)[:, :2]
    # Kabsch in the plane
    return float(np.arctan2((other[:, 0] * own[:, 1] - other[:, 1] * own[:, 0]).sum(), (own * other).sum()))


def same_axes(driving: Rig, target: Rig, pairs: Pairs, across: np.ndarray) -> dict[int, int]:
    """Bones of the target and their drivers, where both have one name, hang from bones of one name, and have the same axes about themselves.

    across: (3, 3) from `body_to_body`. Such bones come from one template, whose artist copies local keys from rig to rig however the limbs
    lie at rest; axes that were rolled or made anew differ by more. None, where that holds for some of the rig's bones alone: by chance.
    """
    found: dict[int, int] = {}
    named = 0
    for bones, drivers in pairs:
        bone, driver = bones[0], drivers[0]
        carriers = int(target.carriers[bone]), int(driving.carriers[driver])
        if len(bones) != 1 or len(drivers) != 1 or min(carriers) < 0 or target.names[bone] != driving.names[driver]:
            continue
        if target.names[carriers[0]] != driving.names[carriers[1]]:
            continue
        named += 1
        if _roll(bone_rotations(target.rest[bone]), across @ bone_rotations(driving.rest[driver])) < _SAME_AXES:
            found[bone] = driver
    return found if len(found) >= _TEMPLATE * named else {}


def _roll(own: np.ndarray, other: np.ndarray) -> float:
    """Angle between two bones' axes (3, 3) once the second is swung the shortest way along the first."""
    axis, cosine = np.cross(other[:, 1], own[:, 1]), float(other[:, 1] @ own[:, 1])
    if cosine < -0.999:
        return np.pi
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    swung = (np.eye(3) + cross + cross @ cross / (1 + cosine)) @ other
    return float(np.arccos(np.clip(swung[:, 0] @ own[:, 0], -1, 1)))


def _rotations(
    driving: Posed, target: Posed, mine: Anatomy, theirs: Anatomy, pairs: Pairs, turns: np.ndarray, motion: Motion, copied: dict[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Orientations (T, J, 3, 3) of the target's bones and the error (T, J) expected of them."""
    rig, pose = target.rig, bone_rotations(target.pose)
    within = np.swapaxes(to_local(driving.rig, bone_rotations(driving.pose)), -1, -2) @ to_local(driving.rig, motion.rotations)
    still = np.broadcast_to(to_local(rig, pose), (len(motion), *pose.shape))
    confidence = np.zeros((len(motion), len(rig)), np.float32)
    given: dict[int, np.ndarray] = {}
    for bones, drivers in pairs:
        for bone, turn in zip(bones, chain_turns(mine, bones, theirs, drivers, turns), strict=True):
            if rig.driven[bone]:
                given[bone] = turn @ pose[bone]
                confidence[:, bone] = motion.confidence[:, list(drivers)].max(1)
    local = still.copy()
    rotations = np.empty_like(local)
    for bone in rig.carrier_order:
        carrier = rig.carriers[bone]
        above = rotations[:, carrier] if carrier >= 0 else np.eye(3)
        if int(bone) in copied:
            rotations[:, bone] = above @ still[:, bone] @ within[:, copied[int(bone)]]
        else:
            rotations[:, bone] = given[int(bone)] if int(bone) in given else above @ still[:, bone]
    # products of many rotations drift from orthogonality by rounding alone
    return nearest(from_local(rig, to_local(rig, rotations))), confidence


def chain_turns(mine: Anatomy, bones: tuple[int, ...], theirs: Anatomy, drivers: tuple[int, ...], turns: np.ndarray) -> list[np.ndarray]:
    """A turn (T, 3, 3) for each bone of the target's chain from the driver's turns (T, J, 3, 3), by arc length.

    Chains of as many bones go bone by bone. A longer one than its driver bends evenly: turns are interpolated between the middles of the
    driver's bones, from what carries the chain onwards. A shorter one takes for each bone the mean over the stretch that it spans.
    """
    if len(bones) == len(drivers):
        return [turns[:, driver] for driver in drivers]
    own, other = mine.length(bones), theirs.length(drivers)
    ends, knots = np.cumsum(own) / own.sum(), np.cumsum(other) / other.sum()
    begins = ends - own / own.sum()
    if len(bones) < len(drivers):
        starts = knots - other / other.sum()
        spans = np.clip(np.minimum(ends[:, None], knots) - np.maximum(begins[:, None], starts), 0, None)
        return [nearest(np.einsum("d,tdab->tab", span / span.sum(), turns[:, list(drivers)])) for span in spans]
    base = int(theirs.above[drivers[0]])
    places = np.concatenate([[0.0], knots - other / other.sum() / 2])
    known = [turns[:, base] if base >= 0 else np.broadcast_to(np.eye(3), turns[:, 0].shape), *(turns[:, driver] for driver in drivers)]
    found = []
    for middle in (begins + ends) / 2:
        after = int(np.searchsorted(places, middle))
        if after == len(places):
            found.append(known[-1])
        else:
            found.append(interpolate(known[after - 1], known[after], (middle - places[after - 1]) / (places[after] - places[after - 1])))
    return found


def leg_ratio(mine: Anatomy, theirs: Anatomy, pairs: Pairs) -> float:
    """Length of the target's legs over the driver's: of linked limbs that reach down, hind ones first; of the bodies where there are none."""
    driver_of = {bone: drivers[0] for bones, drivers in pairs for bone in bones}
    for kind in ("leg", "arm"):
        ratios = []
        for limb in mine.limbs:
            linked = [driver_of[bone] for bone in limb.bones if bone in driver_of]
            other = next((other for other in theirs.limbs if linked and linked[0] in other.bones), None)
            if other is None or kind not in (limb.kind, other.kind):
                continue
            if kind == "leg" or (_reaches_down(mine, limb.bones) and _reaches_down(theirs, other.bones)):
                ratios.append(float(mine.length(limb.bones).sum() / theirs.length(other.bones).sum()))
        if ratios:
            return float(np.median(ratios))
    return mine.size / theirs.size


def _reaches_down(body: Anatomy, bones: tuple[int, ...]) -> bool:
    height = body.place(body.ends)[body.rig.driven, 2]
    return bool(body.place(body.ends[bones[-1]])[2] < height.min() + 0.15)


def _heads(target: Posed, rotations: np.ndarray, frames: int) -> np.ndarray:
    """(T, J, 3) heads with every root where it stands in the pose."""
    roots = np.broadcast_to(target.pose[:, :3, 3], (frames, len(target.rig), 3))
    return pose_along_carriers(target.rig, rotations, target.pose, roots)
