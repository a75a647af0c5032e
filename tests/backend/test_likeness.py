"""Drawn rigs compared with pictures: masks made sharp, what pixels ask of bones, and poses found by it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import exp_rotation
from mocap_anything.backend.body_points import Crop
from mocap_anything.backend.ik_chain import Chain, Targets
from mocap_anything.backend.likeness import Likeness
from mocap_anything.backend.rasterizer import draw_rig
from mocap_anything.backend.segmentation import sharpened
from mocap_anything.backend.surface import Seen, Shot, Surface


def overlap(said: np.ndarray, truth: np.ndarray) -> float:
    return float(((said > 0.5) & truth).sum() / ((said > 0.5) | truth).sum())


def coarse(mask: np.ndarray, size: int = 32) -> np.ndarray:
    """A mask as the network tells it."""
    return cv2.resize(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), mask.shape[0] / size), (size, size), interpolation=cv2.INTER_AREA)


def shot_of(image: np.ndarray, mask: np.ndarray, crop: Crop) -> Shot:
    """A frame through a window, with the subject's mask as the network tells it."""
    grid = crop.center[None] - float(crop.side) / 2 + (np.stack(np.meshgrid(np.arange(128), np.arange(128)), -1) + 0.5) * float(crop.side) / 128 - 0.5
    window = cv2.remap(mask.astype(np.float32), *np.moveaxis(grid.astype(np.float32), -1, 0), cv2.INTER_LINEAR)
    return Shot(image, None, 1.0, (255 * coarse(window)).astype(np.uint8), crop)


def test_colours_sharpen_a_coarse_mask():
    rng = np.random.default_rng(1)
    truth = np.zeros((128, 128), np.uint8)
    cv2.line(truth, (30, 20), (100, 90), 1, 7)  # a limb that is thinner than the network's cells
    cv2.circle(truth, (60, 60), 22, 1, -1)
    picture = np.where(truth[..., None] > 0, [150, 90, 40], [70, 120, 150]) + rng.normal(0, 12, (128, 128, 3))
    said = cv2.resize(coarse(truth), (128, 128), interpolation=cv2.INTER_LINEAR)
    better = sharpened(picture.clip(0, 255).astype(np.uint8), said)
    assert overlap(better, truth > 0) > max(0.93, overlap(said, truth > 0) + 0.05)
    plain = sharpened(np.full((128, 128, 3), 90, np.uint8), said)
    assert np.abs(plain - said).mean() < 0.05, "where colours tell nothing the mask stays"
    assert np.isfinite(sharpened(picture.clip(0, 255).astype(np.uint8), np.zeros((128, 128), np.float32))).all()


@pytest.fixture
def drawn(oracle):
    """A rig, its chain and surface, and what a frame looks like in which it stands so."""
    rig, body, pose, track = oracle
    rows, slots = np.nonzero(body.mask)
    chain = Chain(rig, pose[10], Targets(body.bones[rows], body.offsets[rows, slots], np.zeros((1, len(rows), 3)), np.zeros(1)))
    camera, surface = track.camera.at(10), Surface(rig, chain, pose[10])

    def picture(stand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scenery = np.full((camera.height, camera.width, 3), [60, 140, 190], np.uint8)
        return draw_rig(rig, stand, camera, (camera.height, camera.width), scenery)

    start = surface.stand(chain.reference.numpy(), chain.ref_heads.numpy(), camera)
    likeness = Likeness(surface)
    likeness.color_as(start, replace(track.reference, image=picture(pose[10])[0]))
    return chain, surface, camera, likeness, picture, start.crop


def posed(chain: Chain, angles: torch.Tensor, shift: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    turns = torch.eye(3, dtype=torch.float64).expand(1, len(chain.rig), 3, 3).clone()
    turns[:, chain.active] = exp_rotation(angles)
    rotations, heads = chain.pose(turns, (chain.ref_heads + shift)[None])
    return rotations[0].numpy(), heads[0].numpy()


def test_pixels_ask_bones_as_their_jacobian_says(drawn):
    chain, surface, camera, _, _, crop = drawn
    rng = np.random.default_rng(4)
    pose = posed(chain, 0.2 * torch.from_numpy(rng.normal(size=(1, len(chain.active), 3))), torch.zeros(3, dtype=torch.float64))
    standing = surface.stand(*pose, camera, crop, 64)
    visible = standing.visible
    half = rng.normal(size=(len(visible.pixel), 2, 2))
    information, force = half @ half.transpose(0, 2, 1), rng.normal(size=(len(visible.pixel), 2))
    normal, gradient = surface.pulled(standing, information, force, camera.from_armature, pose)
    corners = standing.triangles[visible.triangle]
    seen = Seen(corners, visible.weights.astype(np.float64), np.zeros((len(corners), 2)), information, np.ones(len(corners)), standing.intrinsics / 64,
                camera.from_armature)
    _, jacobian = surface.residuals(seen, *pose)
    rows = jacobian.reshape(-1, jacobian.shape[-1])
    slow = rows.T @ (information @ jacobian).reshape(rows.shape)
    assert normal.shape == slow.shape
    assert np.abs(normal - normal.T).max() < 1e-9 * np.abs(slow).max()
    # blended skin moves only nearly as the bone does that moves it most
    assert np.linalg.norm(normal - slow) < 0.05 * np.linalg.norm(slow)
    assert np.linalg.norm(gradient - rows.T @ force.ravel()) < 0.1 * np.linalg.norm(rows.T @ force.ravel())


def test_the_rig_is_moved_until_it_looks_as_in_the_picture(drawn):
    chain, surface, camera, likeness, picture, crop = drawn
    rng = np.random.default_rng(6)
    active = len(chain.active)
    angles, shift = 0.05 * torch.from_numpy(rng.normal(size=(1, active, 3))), torch.from_numpy(0.01 * rng.normal(size=3))
    goal = posed(chain, angles, shift)
    stand = np.tile(np.eye(4), (len(chain.rig), 1, 1))
    stand[:, :3, :3], stand[:, :3, 3] = goal[0], goal[1] * chain.size
    image, mask = picture(stand)
    likeness.observe(shot_of(image, mask, crop), camera)
    goal_stands = surface.stand(*goal, camera, crop, 128)
    shown = np.unique(goal_stands.triangles[goal_stands.visible.triangle])
    found, place = torch.zeros(1, active, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def missed() -> float:
        there = surface.vertices(*posed(chain, found, place), shown) - surface.vertices(*goal, shown)
        across = there @ camera.from_armature[:2, :3].T / camera.scale
        return float(np.linalg.norm(across, axis=1).mean())

    before = missed()
    for blur in (2.0, 2.0, 2.0, 2.0, 2.0):
        said = likeness.normal(*posed(chain, found, place), blur)
        assert said is not None
        step = torch.linalg.solve(said[0] + 3.0 * torch.eye(len(said[0]), dtype=torch.float64), said[1])
        found = found + step[:-3].view(1, active, 3)
        place = place + step[-3:]
    assert missed() < 0.6 * before


def test_of_two_poses_the_one_that_looks_like_the_picture_costs_less(drawn):
    chain, surface, camera, _, picture, crop = drawn
    still = torch.zeros(1, len(chain.active), 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    other = 0.3 * torch.from_numpy(np.random.default_rng(2).normal(size=still[0].shape)), still[1]
    stand = np.tile(np.eye(4), (len(chain.rig), 1, 1))
    stand[:, :3, :3], stand[:, :3, 3] = (x * s for x, s in zip(posed(chain, *still), (1, chain.size), strict=True))
    image, mask = picture(stand)
    outline = Likeness(surface)  # knows no colours
    outline.observe(shot_of(image, mask, crop), camera)
    for blur in (1.0, 2.0):
        assert 4 * outline.cost(*posed(chain, *still), blur) < outline.cost(*posed(chain, *other), blur)
    assert outline.normal(*posed(chain, *still), 1.0)[0].shape == (3 * len(chain.active) + 3,) * 2


def test_a_rig_out_of_the_picture_says_nothing(drawn):
    chain, _, camera, likeness, picture, crop = drawn
    image, _ = picture(np.tile(np.eye(4), (len(chain.rig), 1, 1)))
    likeness.observe(Shot(image, None, 1.0, np.zeros((32, 32), np.uint8), crop), camera)
    far = torch.from_numpy(np.linalg.inv(camera.from_armature)[:3, :3] @ [0.0, 0, -1e3])
    away = posed(chain, torch.zeros(1, len(chain.active), 3, dtype=torch.float64), far)
    assert likeness.normal(*away, 1.0) is None
    assert likeness.cost(*away, 1.0) == float("inf")
