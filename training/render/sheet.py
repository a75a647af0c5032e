"""A contact sheet of what training sees: `python -m mocap_anything.training.render.sheet [OUT.png] [--seed 0] [--rows 6]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from ...backend.camera import Camera
from ...backend.kinematics import skin
from ..data.asset import Asset
from ..zoo import make_creature
from . import Background, Look, augment, render_clip

FRAMES = 3  # pictures of a clip on the sheet


def film(rng: np.random.Generator, asset: Asset, size: int) -> np.ndarray:
    """A row (size, (FRAMES + 1) * size, 3): pictures of a creature before a random still camera and the mask of the last."""
    mesh, up = asset.rig.mesh, np.asarray(asset.up, np.float64)
    assert mesh is not None
    pose = asset.clips[0].pose
    times = np.linspace(0, min(len(pose) - 2, 24), FRAMES).astype(int)
    points, ahead = skin(mesh, asset.rig, pose[times]), skin(mesh, asset.rig, pose[times + 1])
    extent = float(np.ptp(points[0], axis=0).max())
    yaw, pitch = rng.uniform(0, 2 * np.pi), np.radians(np.clip(rng.normal(12, 14), -15, 60))
    side = np.cross(up, [1.0, 0, 0] if abs(up[0]) < 0.9 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    back = np.cos(pitch) * (np.cos(yaw) * side + np.sin(yaw) * np.cross(side, up)) + np.sin(pitch) * up
    across = np.cross(-back, up) / np.cos(pitch)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([across, np.cross(-back, across), -back])
    matrix[:3, 3] = -matrix[:3, :3] @ (points.mean((0, 1)) + back * extent * rng.uniform(2.5, 6))
    camera = Camera(np.tile([600.0, 600.0, 320.0, 240.0], (FRAMES, 1)), np.tile(matrix, (FRAMES, 1, 1)), 640, 480)
    flat = camera.project(points)
    low, high = flat.min(1), flat.max(1)
    sides, centers = 1.35 * (high - low).max(1, keepdims=True), (low + high) / 2
    crops = np.concatenate([camera.intrinsics[:, :2], camera.intrinsics[:, 2:] - centers], 1) * size / sides + [0, 0, size / 2, size / 2]
    look = Look.random(rng, mesh.colors, mesh.vertices, asset.up)
    seen = camera.to_camera(points)
    clip = render_clip(seen, mesh.triangles, mesh.vertices, crops, size, look, Background.random(rng), rng, matrix[:3, :3] @ up,
                       velocity=camera.to_camera(ahead) - seen)
    images = augment(clip.images, rng, clip.mask)
    return np.hstack([*images, np.repeat(clip.mask[-1][..., None], 3, 2)])


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).resolve().parents[2] / "docs" / "appearance.png")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--size", type=int, default=104)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    strips = [film(rng, make_creature(rng), options.size) for _ in range(options.rows * options.columns)]
    sheet = np.vstack([np.hstack(strips[k * options.columns:(k + 1) * options.columns]) for k in range(options.rows)])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).quantize(256).save(options.out, optimize=True)
    print(options.out)


if __name__ == "__main__":
    main()
