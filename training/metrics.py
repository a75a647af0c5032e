"""What an evaluation measures: a captured pose track against the true one, both bone to armature, in the rig's bone order.

Poses are (T, J, 4, 4) like Blender's `pose_bone.matrix`. Lengths are shares of the rig's size unless a name says cm; cm are those of
the rig scaled until its rest pose's longest side is 1 m. Angles are degrees.
"""

from __future__ import annotations

import numpy as np

from ..backend.kinematics import bone_rotations
from ..backend.rig import Rig

MOVING = 1.0  # degrees a parent-local rotation must range over to count as moving
CONTACT_HEIGHT = 0.03  # share of the size above the lowest point that a foot touches
CONTACT_SPEED = 0.1  # sizes per second below which a true foot stands


def score(rig: Rig, truth: np.ndarray, pose: np.ndarray, fps: float, up: np.ndarray, reference: int | None = None) -> dict[str, float]:
    """All metrics of one clip; NaN where one is undefined (no leaf moves, no foot stands).

    reference: index of the keyed frame, left out of the averages, since every method is given it; `at_reference` is the greatest rotation
        error there.
    """
    counted = counted_bones(rig)
    true_local, local = parent_local(rig, truth), parent_local(rig, pose)
    moving = counted & (rotation_range(true_local) >= MOVING)
    roots, leaves = moving & (rig.parents < 0), moving & leaf_bones(rig, counted)
    frames = np.arange(len(truth)) != (-1 if reference is None else reference)
    every = geodesic(true_local, local)
    angles = every[frames]
    heads, got = truth[..., :3, 3] / rig.size, pose[..., :3, 3] / rig.size
    root = main_root(rig, counted)
    apart = (got - got[:, root, None]) - (heads - heads[:, root, None])
    errors = np.linalg.norm(apart, axis=-1)[frames][:, counted]
    velocity = np.linalg.norm(np.diff(apart, axis=0), axis=-1)[:, counted]
    cm = centimetres(rig)
    slip = foot_slip(rig, truth, pose, fps, up)
    seen, got_seen = (seen_from_aside(points[frames][:, counted], up) for points in (heads - heads[:, root, None], got - got[:, root, None]))
    return {
        "rotation": _mean(angles[:, moving]),
        "rotation_root": _mean(angles[:, roots]),
        "rotation_leaves": _mean(angles[:, leaves]),
        "rotation_velocity": _mean(rotation_velocity(true_local, local)[:, moving]),
        "moving_bones": float(moving.sum()),
        "mpjpe": 100 * _mean(errors),
        "mpjpe_cm": cm * _mean(errors),
        "mpjve": 100 * _mean(velocity),
        "mpjve_cm": cm * _mean(velocity),
        "root_position": 100 * _mean(np.linalg.norm(got[:, root] - heads[:, root], axis=-1)[frames]),
        "jitter": 100 * jitter(got[:, counted]),
        "jitter_ratio": jitter(got[:, counted]) / max(jitter(heads[:, counted]), 1e-6),
        "cd_skeleton": 100 * cd_skeleton(rig, heads[frames], got[frames], counted),
        "pck_10": pck(seen, got_seen, 0.1),
        "pck_20": pck(seen, got_seen, 0.2),
        "foot_slip_cm": slip,
        "at_reference": _greatest(every[~frames][:, moving]),
    }


def counted_bones(rig: Rig) -> np.ndarray:
    """(J,) bool: bones that move vertices or have descendants that do (all bones of a rig without a mesh)."""
    counted = np.zeros(len(rig), bool)
    if rig.mesh is None or not len(rig.mesh.vertices):
        return ~counted
    counted[rig.mesh.bones[rig.mesh.weights > 1e-4]] = True
    for bone in reversed(range(len(rig))):
        if counted[bone] and rig.parents[bone] >= 0:
            counted[rig.parents[bone]] = True
    return counted


def leaf_bones(rig: Rig, counted: np.ndarray) -> np.ndarray:
    """(J,) bool: counted bones without a counted child."""
    parents = rig.parents[counted]
    inner = np.zeros(len(rig), bool)
    inner[parents[parents >= 0]] = True
    return counted & ~inner


def main_root(rig: Rig, counted: np.ndarray) -> int:
    """The root that carries most counted bones."""
    root = np.arange(len(rig))
    for bone in rig.carrier_order:
        if rig.carriers[bone] >= 0:
            root[bone] = root[rig.carriers[bone]]
    return int(np.bincount(root[counted] if counted.any() else root).argmax())


def centimetres(rig: Rig) -> float:
    """Centimetres of one rig size once the rest pose's longest side is 1 m."""
    mesh = rig.mesh
    points = mesh.vertices if mesh is not None and len(mesh.vertices) else np.concatenate([rig.rest[:, :3, 3], rig.ends])
    return 100.0 * rig.size / max(float((points.max(0) - points.min(0)).max()), 1e-12)


def parent_local(rig: Rig, pose: np.ndarray) -> np.ndarray:
    """Rotations (T, J, 3, 3) in the parent's axes; a root's in the armature's. Free of any choice of bone axes up to a constant."""
    rotations = bone_rotations(pose)
    local = rotations.copy()
    has = rig.parents >= 0
    local[:, has] = np.swapaxes(rotations[:, rig.parents[has]], -1, -2) @ rotations[:, has]
    return local


def geodesic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle (...) in degrees between rotations (..., 3, 3); from the chord, which keeps small angles exact."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8.0), 0, 1)))


def rotation_range(local: np.ndarray, most_frames: int = 400) -> np.ndarray:
    """(J,) greatest angle in degrees between any two frames; long clips are sampled evenly."""
    frames = np.unique(np.linspace(0, len(local) - 1, min(len(local), most_frames)).astype(int))
    flat = local[frames].reshape(len(frames), -1, 9)
    # |A - B|^2 = 6 - 2 <A, B> for rotations: the smallest inner product is the greatest angle.
    inner = np.array([(flat[:, j] @ flat[:, j].T).min() for j in range(flat.shape[1])])
    return np.degrees(np.arccos(np.clip((inner - 1) / 2, -1, 1)))


def rotation_velocity(true_local: np.ndarray, local: np.ndarray) -> np.ndarray:
    """(T-1, J) degrees between the true and the captured turn from each frame to the next."""
    true_step = true_local[1:] @ np.swapaxes(true_local[:-1], -1, -2)
    step = local[1:] @ np.swapaxes(local[:-1], -1, -2)
    return geodesic(true_step, step)


def jitter(heads: np.ndarray) -> float:
    """Mean length of the third difference of heads (T, J, 3) per frame, in their unit; 0 for fewer than four frames."""
    return float(np.linalg.norm(np.diff(heads, n=3, axis=0), axis=-1).mean()) if len(heads) > 3 else 0.0


def cd_skeleton(rig: Rig, heads: np.ndarray, got: np.ndarray, counted: np.ndarray) -> float:
    """Mean distance of each joint to the nearest bone of the other skeleton, both ways, heads (T, J, 3)."""
    bones = np.flatnonzero(counted & (rig.carriers >= 0))
    if not len(bones):
        return _mean(np.linalg.norm(heads - got, axis=-1)[:, counted])
    total = 0.0
    for joints, others in ((got, heads), (heads, got)):
        start, along = others[:, rig.carriers[bones]], others[:, bones] - others[:, rig.carriers[bones]]
        for frame in range(len(heads)):
            total += _nearest_segment(joints[frame, counted], start[frame], along[frame]).mean()
    return total / (2 * len(heads))


def _nearest_segment(points: np.ndarray, start: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Distance (N,) of points (N, 3) to the nearest of segments start + [0, 1] along (M, 3)."""
    offset = points[:, None] - start
    share = np.clip((offset * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-18), 0, 1)
    return np.linalg.norm(offset - share[..., None] * along, axis=-1).min(1)


def seen_from_aside(points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Points (..., 3) in an orthographic picture (..., 2) from 30° aside and 10° above: PCK has to be the same whatever camera filmed.

    up: (3,) unit vector. The axis that is least like it counts as across.
    """
    across = np.eye(3)[np.abs(up).argmin()]
    across = across - across @ up * up
    across /= np.linalg.norm(across)
    front = np.cross(up, across)
    right = np.cos(np.radians(30)) * across + np.sin(np.radians(30)) * front
    away = np.cross(up, right)
    return np.stack([points @ right, points @ (np.cos(np.radians(10)) * up + np.sin(np.radians(10)) * away)], -1)


def pck(truth: np.ndarray, got: np.ndarray, share: float) -> float:
    """Share of 2D joints got (T, N, 2) within share x sqrt(box area) of the true ones; NaN in truth means not annotated.

    A joint that was not found (NaN in got) is a miss. The box is that of the annotated joints in the frame.
    """
    limit = share * np.sqrt((np.nanmax(truth, 1) - np.nanmin(truth, 1)).prod(-1))
    known = np.isfinite(truth).all(-1)
    distance = np.linalg.norm(got - truth, axis=-1)
    return float((distance <= limit[:, None])[known].mean())


def foot_slip(rig: Rig, truth: np.ndarray, pose: np.ndarray, fps: float, up: np.ndarray) -> float:
    """Centimetres that feet slide along the ground per second of true contact; NaN where no true foot stands.

    Feet are the ends of leaf bones; one is in contact where it is near the lowest of the clip and slow, in both of two frames.
    """
    feet = np.flatnonzero(leaf_bones(rig, counted_bones(rig)))
    local = np.einsum("jba,jb->ja", rig.rest[feet, :3, :3], rig.ends[feet] - rig.rest[feet, :3, 3])
    true_ends, ends = ((p[:, feet] @ np.append(local, np.ones((len(feet), 1)), 1)[..., None])[..., :3, 0] / rig.size for p in (truth, pose))
    height = true_ends @ up
    low = height < height.min() + CONTACT_HEIGHT
    step = np.diff(true_ends, axis=0)
    contact = low[1:] & low[:-1] & (np.linalg.norm(step, axis=-1) * fps < CONTACT_SPEED)
    if not contact.any():
        return float("nan")
    slide = np.diff(ends, axis=0)
    slide = slide - (slide @ up)[..., None] * up
    return float(centimetres(rig) * np.linalg.norm(slide, axis=-1)[contact].mean() * fps)


def _greatest(values: np.ndarray) -> float:
    return float(values.max()) if values.size else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
