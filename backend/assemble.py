"""From what the network says, in view frames, to a motion in the armature frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .body_points import Body, Crop
from .camera import Camera, view_rotation
from .finish.root import keep_yaw, solve_translation
from .finish.smoothing import from_local, to_local
from .kinematics import bone_rotations, carrier_offsets, heads_from_offsets, pose_along_carriers
from .motion import Motion
from .quaternions import interpolate
from .reference import Reference
from .rig import Rig
from .settings import CaptureSettings
from .turns import motion_from_turns, turns_from_rotations

_CHUNK = 512  # frames whose points are worked out at once
_SAID = ("turn", "uv", "error", "weight", "places", "chances", "mask", "shift")


@dataclass(frozen=True, eq=False)
class Track:
    """A stretch of frames answered from one reference.

    reference_crop, crop: the reference's window (one) and the frames' (T,). camera: of one time or of T. times: (T,).
    turn: (T, J, 3, 3), uv: (T, J, K, 2) crop units, error: (T, J), weight: (T, J, K), places: (T, J, K, M, 2), chances: (T, J, K, M), mask: (T, h, w)
        as in predictor.Prediction (None: the turns are final), J driven bones. shift: (T, 3) of all roots since the reference, armature frame; None: as the
        points tell.
    """

    reference: Reference
    reference_crop: Crop
    camera: Camera
    crop: Crop
    times: np.ndarray
    turn: np.ndarray
    uv: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    places: np.ndarray | None = None
    chances: np.ndarray | None = None
    mask: np.ndarray | None = None
    shift: np.ndarray | None = None

    def rotations(self, body: Body) -> np.ndarray:
        """(T, J, 3, 3) orientations of the driven bones, armature frame."""
        return motion_from_turns(self.turn.astype(np.float64), *self._frames(body))

    def turns(self, body: Body, rotations: np.ndarray) -> np.ndarray:
        """The turns (T, J, 3, 3) that orientations of the driven bones, armature frame, are."""
        return turns_from_rotations(rotations, *self._frames(body)).astype(np.float32)

    def part(self, rows: slice | np.ndarray) -> Track:
        """Some of the frames."""
        said: dict[str, Any] = {name: None if (value := getattr(self, name)) is None else value[rows] for name in _SAID}
        camera = self.camera if self.camera.from_armature.ndim == 2 else self.camera.at(rows)
        return replace(self, camera=camera, crop=self.crop.at(rows), times=self.times[rows], **said)

    def _frames(self, body: Body) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What turns are told from: the reference's orientations, both cameras' and both view frames."""
        reference = bone_rotations(self.reference.pose)[body.bones]
        view = view_rotation(np.broadcast_to(self.camera.intrinsics, (len(self.times), 4)), self.crop.center)
        then = view_rotation(self.reference.camera.intrinsics, self.reference_crop.center)
        return reference, self.camera.rotation, self.reference.camera.rotation, view, then

    def pixels(self, part: slice = slice(None)) -> np.ndarray:
        """(T, J, K, 2) points in the picture, of some of the frames."""
        uv = self.uv[part]
        return self.crop.at(part).to_pixels(uv.reshape(len(uv), -1, 2).astype(np.float64)).reshape(uv.shape)


def blend_tracks(tracks: list[Track], aligned: np.ndarray) -> list[Track]:
    """The tracks to assemble: all aligned ones, or of several rendered references the one that the network is surest of."""
    if len(aligned):
        return tracks
    return [min(tracks, key=lambda track: float(np.mean(track.error)))]


def assemble(rig: Rig, body: Body, tracks: list[Track], settings: CaptureSettings, up: np.ndarray) -> Motion:
    """The raw motion of all tracks, blended between neighbouring references by time."""
    motions = [_one(rig, body, track, settings, up) for track in tracks]
    merged = motions[0]
    for before, after, motion in zip(tracks[:-1], tracks[1:], motions[1:], strict=True):
        merged = _join(rig, merged, motion, before.reference.time or 0.0, after.reference.time or 0.0)
    return merged


def _join(rig: Rig, first: Motion, second: Motion, start: float, end: float) -> Motion:
    """Two motions that overlap in [start, end]: a spherical blend from the first to the second over it."""
    a = np.flatnonzero(first.times < second.times[0] - 1e-9)
    b = np.flatnonzero(second.times > first.times[-1] + 1e-9)
    share_a = np.flatnonzero(first.times >= second.times[0] - 1e-9)
    share_b = np.flatnonzero(second.times <= first.times[-1] + 1e-9)
    weight = np.clip((first.times[share_a] - start) / max(end - start, 1e-9), 0, 1)
    local = interpolate(to_local(rig, first.rotations[share_a]), to_local(rig, second.rotations[share_b]), weight[:, None])

    def mix(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        w = weight.reshape(-1, *(1,) * (x.ndim - 1))
        return np.concatenate([x[a], (1 - w) * x[share_a] + w * y[share_b], y[b]]).astype(x.dtype)

    rotations = np.concatenate([first.rotations[a], from_local(rig, local), second.rotations[b]])
    offsets = mix(carrier_offsets(rig, first.rotations, first.heads), carrier_offsets(rig, second.rotations, second.heads))
    times = np.concatenate([first.times, second.times[b]])
    heads = heads_from_offsets(rig, rotations, offsets)
    return Motion(times, rotations, heads, mix(first.confidence, second.confidence), mix(first.joints_2d, second.joints_2d))


def _one(rig: Rig, body: Body, track: Track, settings: CaptureSettings, up: np.ndarray) -> Motion:
    frames = len(track.times)
    parts = [slice(k, k + _CHUNK) for k in range(0, frames, _CHUNK)]
    rotations = np.concatenate([all_rotations(rig, body, track.part(part), settings, up) for part in parts])
    reference_heads = track.reference.pose[:, :3, 3]
    # the main tree travels as one; its root starts at the reference's place
    heads = pose_along_carriers(rig, rotations, track.reference.pose, np.broadcast_to(reference_heads, (frames, len(rig), 3)))
    if settings.root_travel == "estimated":
        heads = heads + (_travel(rig, body, track, rotations, heads) if track.shift is None else track.shift)[:, None]
    confidence = np.zeros((frames, len(rig)), np.float32)
    confidence[:, body.bones] = track.error
    joints = np.full((frames, len(rig), 2), np.nan, np.float32)
    joints[:, body.bones] = track.crop.to_pixels(track.uv[:, :, 0].astype(np.float64))
    return Motion(track.times, rotations, heads, confidence, joints)


def all_rotations(rig: Rig, body: Body, track: Track, settings: CaptureSettings, up: np.ndarray) -> np.ndarray:
    """Orientations of all bones (T, J, 3, 3): bones that are not driven ride on their carriers as in the reference."""
    frames = len(track.times)
    reference = bone_rotations(track.reference.pose)
    local = np.broadcast_to(to_local(rig, reference), (frames, *reference.shape)).copy()
    rotations = np.empty_like(local)
    driven = dict(zip(body.bones.tolist(), np.moveaxis(track.rotations(body), 1, 0), strict=True))
    for bone in rig.carrier_order:
        carrier = rig.carriers[bone]
        above = rotations[:, carrier] if carrier >= 0 else np.eye(3)
        rotations[:, bone] = driven.get(int(bone), above @ local[:, bone])
    if settings.root_rotation == "captured":
        return rotations
    local = to_local(rig, rotations)
    for root in np.flatnonzero(rig.carriers < 0):
        local[:, root] = reference[root] if settings.root_rotation == "locked" else keep_yaw(rotations[:, root], reference[root], up)
    return from_local(rig, local)


def _travel(rig: Rig, body: Body, track: Track, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(T, 3) displacement in the armature frame that puts the posed points onto their pixels."""
    frames = len(track.times)
    camera = track.camera
    if camera.from_armature.ndim == 2:
        camera = replace(camera, intrinsics=np.tile(camera.intrinsics, (frames, 1)), from_armature=np.tile(camera.from_armature, (frames, 1, 1)))
    # a stretch at a time and in single precision: this is what a long clip holds most of
    count = int(body.mask.sum())
    seen, pixels, center = np.empty((frames, count, 3), np.float32), np.empty((frames, count, 2), np.float32), np.empty((frames, 3))
    for part in (slice(k, k + _CHUNK) for k in range(0, frames, _CHUNK)):
        pose = np.tile(np.eye(4), (*heads[part].shape[:2], 1, 1))
        pose[..., :3, :3], pose[..., :3, 3] = rotations[part], heads[part]
        points = camera.at(part).to_camera(body.points(pose)[:, body.mask])
        center[part] = points.mean(1)
        seen[part] = points - center[part, None]
        pixels[part] = track.pixels(part)[:, body.mask]
    then = track.reference.camera.to_camera(body.points(track.reference.pose)[body.mask])
    error = np.broadcast_to(track.error[..., None], track.weight.shape)[:, body.mask]
    weights = (track.weight[:, body.mask] / (0.02 + error) ** 2).astype(np.float32)
    moved = solve_translation(camera, seen, pixels, weights, _guess(then, track), track.times)
    linear = np.linalg.inv(camera.from_armature[:, :3, :3])
    return np.einsum("tab,tb->ta", linear, moved - center)


def _guess(then: np.ndarray, track: Track) -> np.ndarray:
    """(3,) where the subject is expected: at the reference's depth; a rendered reference's camera is not the clip's, its size in the picture is."""
    guess = then.mean(0)
    if track.reference.time is None:
        zoom = float(np.median(track.crop.side)) / float(track.reference_crop.side)
        focal = float(np.mean(track.camera.intrinsics[..., 0])) / float(track.reference.camera.intrinsics[0])
        guess = np.array([0.0, 0.0, guess[2] * focal / max(zoom, 1e-6)])
    return guess
