"""Contact sheets of the zoo: a creature per row, times from left to right, over a grid on the ground.

python -m mocap_anything.training.zoo.sheet OUT.png [--plan quadruped] [--seed 0] [--rows 6] [--columns 8]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...backend.camera import Camera
from ...backend.kinematics import skin
from ...backend.rasterizer import draw_rig
from ..data.asset import Asset
from . import PLANS, make_creature


def look_at(target: np.ndarray, up: np.ndarray, yaw: float, pitch: float, distance: float) -> np.ndarray:
    """(4, 4) armature to OpenCV camera that looks at a point from `distance`, yaw round `up`, pitch above the horizon, in radians."""
    side = np.cross(up, np.roll(up, 1))
    side /= np.linalg.norm(side)
    ahead = np.cross(side, up)
    back = np.cos(pitch) * (np.cos(yaw) * side + np.sin(yaw) * ahead) + np.sin(pitch) * up
    z = -back
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, np.cross(z, x), z])
    matrix[:3, 3] = -matrix[:3, :3] @ (target + back * distance)
    return matrix


def _ground(camera: Camera, up: np.ndarray, centre: np.ndarray, cell: float, size: int) -> np.ndarray:
    """A pale picture with a grid of the plane through the armature's origin."""
    picture = Image.new("RGB", (size, size), (236, 236, 240))
    draw = ImageDraw.Draw(picture)
    a = np.cross(up, np.roll(up, 1))
    b = np.cross(up, a)
    origin = np.round((centre @ a) / cell) * cell * a + np.round((centre @ b) / cell) * cell * b
    span = np.linspace(-3, 3, 25) * cell
    for line in range(-3, 4):
        for p, q in ((a, b), (b, a)):
            points = camera.project(origin + line * cell * p + span[:, None] * q)
            good = [(float(x), float(y)) for x, y in points if np.isfinite(x)]
            draw.line(good, fill=(200, 200, 205), width=1)
    return np.asarray(picture)


def strip(asset: Asset, columns: int, size: int, yaw: float, pitch: float = 0.25) -> np.ndarray:
    """One row of pictures (size, columns * size, 3) of an asset's first clip, the camera following at a constant distance."""
    clip, up = asset.clips[0], np.asarray(asset.up)
    assert asset.rig.mesh is not None
    times = np.linspace(0, len(clip.pose) - 1, columns).astype(int)
    points = skin(asset.rig.mesh, asset.rig, clip.pose[times])
    span = float(np.max(np.linalg.norm(points.max(1) - points.min(1), axis=1)))
    row = []
    for index, t in enumerate(times):
        centre = (points[index].max(0) + points[index].min(0)) / 2
        camera = Camera(np.array([1.9 * size, 1.9 * size, size / 2, size / 2]), look_at(centre, up, yaw, pitch, 1.8 * span), size, size)
        background = _ground(camera, up, centre, span / 4, size)
        row.append(draw_rig(asset.rig, clip.pose[t].astype(float), camera, (size, size), background, samples=2)[0])
    return np.concatenate(row, 1)


def sheet(assets: list[Asset], columns: int = 8, size: int = 128, seed: int = 0) -> Image.Image:
    """The contact sheet of several assets, each with its name and what it does written in its row."""
    rng = np.random.default_rng(seed)
    rows = [strip(asset, columns, size, float(rng.uniform(0, 2 * np.pi))) for asset in assets]
    picture = Image.fromarray(np.concatenate(rows, 0))
    draw = ImageDraw.Draw(picture)
    for index, asset in enumerate(assets):
        draw.text((4, index * size + 2), f"{asset.name}  {asset.clips[0].name}  {len(asset.rig)} bones", fill=(40, 40, 40))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--plan", choices=PLANS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    assets = [make_creature(np.random.default_rng(args.seed + i), args.plan) for i in range(args.rows)]
    sheet(assets, args.columns, args.size, args.seed).save(args.output)


if __name__ == "__main__":
    main()
