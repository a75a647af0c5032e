"""More motions than there are clips: an asset's own ones warped in time, layered and mirrored, and another's of the same plan carried over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...backend.carriers import descendants
from ...backend.errors import CaptureError
from ...backend.kinematics import bone_rotations
from ...backend.retarget.correspondence import propose
from ...backend.retarget.sheet import poses_of
from ...backend.retarget.transfer import Posed, RetargetSettings, retarget
from .asset import Asset, AssetClip, motion_of

# kinds of the open zoo's index and plans of the procedural zoo whose motions suit each other; those of one name always do
_ALIKE = {
    "humanoid": "biped", "humanoid creature": "biped", "robot biped": "biped", "biped creature": "biped", "biped dinosaur": "theropod",
    "biped bird": "bird", "insect robot": "insect", "arachnid": "spider", "fish/cetacean": "fish",
}  # fmt: skip
_WARP = 0.5  # log of the tempo's usual change within a clip
_TEMPI = 4  # times in a clip that it is drawn anew
_MOST = 0.7  # of a rig's bones: larger branches are the whole body
_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def plan_of(asset: Asset) -> str:
    """The procedural plan whose motions suit it."""
    return _ALIKE.get(asset.plan, asset.plan)


def varied(rng: np.random.Generator, asset: Asset) -> Asset:
    """The asset with one of its clips, some of the time layered with another, warped, and mirrored with its body."""
    clip = asset.clips[rng.integers(len(asset.clips))]
    if len(asset.clips) > 1 and rng.random() < 0.4:
        clip = layered(rng, asset, clip, asset.clips[rng.integers(len(asset.clips))])
    if len(clip.pose) > 2 and rng.random() < 0.4:
        clip = warped(rng, clip)
    one = replace(asset, clips=(clip,))
    return mirrored(one) if rng.random() < 0.5 else one


def warped(rng: np.random.Generator, clip: AssetClip) -> AssetClip:
    """The clip with a tempo that changes smoothly; its first and last pose stay, and so does its number of frames."""
    frames = len(clip.pose)
    tempo = np.exp(np.interp(np.linspace(0, 1, frames - 1), np.linspace(0, 1, _TEMPI), rng.normal(0, _WARP, _TEMPI)))
    place = np.concatenate([[0.0], np.cumsum(tempo)])
    place *= (frames - 1) / place[-1]
    low = np.minimum(place.astype(int), frames - 2)
    share = (place - low)[:, None, None, None]
    pose = clip.pose.astype(np.float64)
    mixed = pose[low] * (1 - share) + pose[low + 1] * share
    # a mixture of two rotations is shorter than they are: the bones' axes are made rectangular, of the lengths between
    length = np.linalg.norm(pose[..., :3, :3], axis=-2, keepdims=True)
    mixed[..., :3, :3] = bone_rotations(mixed) * (length[low] * (1 - share) + length[low + 1] * share)
    return replace(clip, pose=mixed.astype(np.float32))


def layered(rng: np.random.Generator, asset: Asset, clip: AssetClip, other: AssetClip) -> AssetClip:
    """The clip with one branch of the body moving as in another."""
    rig, frames = asset.rig, len(clip.pose)
    below = descendants(rig.carriers)
    sizes = (below & rig.driven).sum(1)
    branches = np.flatnonzero((rig.carriers >= 0) & rig.driven & (sizes >= 2) & (sizes <= _MOST * rig.driven.sum()))
    if not len(branches):
        return clip
    branch = int(rng.choice(branches))
    pose = clip.pose.astype(np.float64)
    theirs = other.pose[np.minimum(np.arange(frames), len(other.pose) - 1)].astype(np.float64)
    carried = rig.carriers[branch]
    moved = pose[:, carried] @ np.linalg.inv(theirs[:, carried])  # where the other's carrier comes to lie on this one's
    pose[:, below[branch]] = moved[:, None] @ theirs[:, below[branch]]
    return replace(clip, name=f"{clip.name}+{other.name}", pose=pose.astype(np.float32))


def mirrored(asset: Asset) -> Asset:
    """The asset and its clips seen in a mirror: a body whose left and right are swapped."""
    rig = asset.rig
    mesh = rig.mesh
    if mesh is not None:
        mesh = replace(mesh, vertices=mesh.vertices * np.array([-1, 1, 1], np.float32), triangles=np.ascontiguousarray(mesh.triangles[:, ::-1]))
    other = replace(rig, rest=_MIRROR @ rig.rest @ _MIRROR, ends=rig.ends * [-1, 1, 1], mesh=mesh)
    mirror = _MIRROR.astype(np.float32)
    clips = tuple(replace(clip, pose=mirror @ clip.pose @ mirror) for clip in asset.clips)
    return replace(asset, rig=other, clips=clips, up=np.asarray(asset.up) * [-1, 1, 1])


def carried(driver: Asset, clip: AssetClip, target: Asset) -> AssetClip | None:
    """A clip of one creature on another, from the first pose of each one's clips on; None where no bones correspond, or what comes out is no motion."""
    start, stand = clip.pose[0].astype(np.float64), target.clips[0].pose[0].astype(np.float64)
    driving, own = Posed(driver.rig, start, driver.up, driver.front), Posed(target.rig, stand, target.up, target.front)
    try:
        links = propose(own.anatomy(), driving.anatomy())
        found = retarget(driving, own, links, motion_of(clip.pose, clip.fps), RetargetSettings(contacts=False))
    except (CaptureError, ValueError):
        return None
    out = poses_of(target.rig, found)
    out[..., :3, :3] *= np.linalg.norm(stand[:, :3, :3], axis=-2, keepdims=True)
    if not np.isfinite(out).all() or np.ptp(found.rotations, axis=0).max() < 0.05:
        return None
    return AssetClip(f"{driver.name}: {clip.name}", clip.fps, out.astype(np.float32))
