"""The skin on a chain: where it is, how turns move it, how it is drawn, and that seeing it right brings the rig there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import exp_rotation
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.drawn import CHANNELS, PAINTS, draw
from mocap_anything.backend.ik_chain import Chain, Targets
from mocap_anything.backend.kinematics import skin
from mocap_anything.backend.model.refiner import Refiner, RefinerConfig, correlate
from mocap_anything.backend.surface import OutOfViewError, Seen, Surface


@pytest.fixture
def refiner() -> Refiner:
    torch.manual_seed(0)
    return Refiner(RefinerConfig(widths=(8, 16, 16, 16))).eval().requires_grad_(False)


@pytest.fixture
def posed(oracle, refiner):
    rig, body, pose, track = oracle
    rows, slots = np.nonzero(body.mask)
    chain = Chain(rig, pose[10], Targets(body.bones[rows], body.offsets[rows, slots], np.zeros((1, len(rows), 3)), np.zeros(1)))
    return rig, chain, Surface(rig, chain, track.reference, refiner), pose, track


def turned(chain: Chain, angles: torch.Tensor, shift: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    turns = torch.eye(3, dtype=torch.float64).expand(1, len(chain.rig), 3, 3).clone()
    turns[:, chain.active] = exp_rotation(angles)
    rotations, heads = chain.pose(turns, (chain.ref_heads + shift)[None])
    return rotations[0].numpy(), heads[0].numpy()


def test_vertices_are_where_skinning_puts_them(posed):
    rig, _, surface, pose, _ = posed
    found = surface.vertices(pose[3, :, :3, :3], pose[3, :, :3, 3] / rig.size) * rig.size
    assert np.abs(found - skin(rig.mesh, rig, pose[3])).max() < 1e-5 * rig.size


def test_residuals_change_with_turns_as_they_say(posed):
    rig, chain, surface, pose, track = posed
    rng = np.random.default_rng(3)
    corners = rig.mesh.triangles[rng.integers(0, len(rig.mesh.triangles), 40)].astype(np.int64)
    camera = track.camera.at(10)
    target = rng.random((40, 2))
    seen = Seen(corners, rng.dirichlet(np.ones(3), 40), target, np.full(40, 0.01), np.ones(40), camera.intrinsics / camera.height, camera.from_armature)
    active, step = len(chain.active), 1e-5
    rotations, heads = turned(chain, 0.2 * torch.from_numpy(rng.normal(size=(1, active, 3))), torch.zeros(3, dtype=torch.float64))
    now, jacobian = surface.residuals(seen, rotations, heads)
    for bone in rng.choice(active, 5, replace=False):
        for axis in range(3):
            turn = torch.zeros(active, 3, dtype=torch.float64)
            turn[bone, axis] = step
            local = chain.turns(torch.from_numpy(rotations)[None])[0]
            local[chain.active] = exp_rotation(turn) @ local[chain.active]
            after = chain.pose(local[None], torch.from_numpy(heads)[None])
            change = (now - surface.residuals(seen, after[0][0].numpy(), after[1][0].numpy())[0]) / step
            rigid = surface.moved[corners].std(1)[:, bone] < 1e-6  # blended skin moves only nearly as its bones
            assert np.abs(change - jacobian[:, :, 3 * bone + axis])[rigid].max() < 2e-3 * max(1, np.abs(change).max())
    assert jacobian.shape == (40, 2, 3 * active + 3)


def test_the_rig_is_drawn_where_it_stands_in_the_colours_of_its_pictures(posed):
    rig, chain, surface, _, track = posed
    rotations, heads, camera = chain.reference.numpy(), chain.ref_heads.numpy(), track.camera.at(10)
    red = np.full((camera.height, camera.width, 3), [255, 0, 0], np.uint8)
    surface.remember(rotations, heads, camera, red, 1.0)
    vertices = surface.last.vertices
    visible = surface._see(vertices, surface.last.intrinsics)
    drawn = draw(visible, vertices, surface.triangles, (surface.first, surface.last), rig.size)
    assert drawn.shape == (CHANNELS, 128, 128)
    covered = drawn[4 * PAINTS] > 0
    assert 0.02 < covered.mean() < 0.9
    assert (drawn[:, ~covered] == 0).all()
    shown = covered & (drawn[4 * PAINTS - 1] > 0)
    assert shown.sum() > 0.85 * covered.sum(), "from where it was painted nearly all of it is seen"
    assert np.abs(drawn[3:6, shown] - np.array([[0.5], [-0.5], [-0.5]])).max() < 1e-6
    normals = drawn[4 * PAINTS + 2 : 4 * PAINTS + 5, covered]
    assert np.abs(np.linalg.norm(normals, axis=0) - 1).max() < 1e-3
    surface.forget()
    assert surface.last is surface.first


def test_nothing_is_seen_of_a_rig_behind_the_camera(posed):
    rig, chain, surface, _, track = posed
    camera = track.camera.at(10)
    away = chain.ref_heads.numpy() - np.linalg.inv(camera.from_armature)[:3, :3] @ [0, 0, 1] * 1e3
    assert surface.look(chain.reference.numpy(), away, camera, track.reference.image, 1.0) is None
    within = camera.from_armature.copy()
    within[:3, 3] -= camera.to_camera(track.reference.pose[:, :3, 3]).mean(0)
    near = Camera(camera.intrinsics, within, camera.width, camera.height)
    with pytest.raises(OutOfViewError):
        Surface(rig, chain, replace(track.reference, camera=near), surface.refiner)
    found = surface.look(chain.reference.numpy(), chain.ref_heads.numpy(), camera, track.reference.image, 1.0)
    assert found is not None
    assert np.isfinite(found.target).all()
    assert np.isfinite(found.variance).all()


def test_a_window_peaks_where_the_same_is():
    features = torch.randn(1, 8, 20, 20, generator=torch.Generator().manual_seed(0))
    window = correlate(features, torch.roll(features, (2, -3), (2, 3)))
    assert (window[0, :, 6:12, 6:12].argmax(0) == (2 + 4) * 9 + (-3 + 4)).all()
    assert window.shape == (1, 81, 20, 20)
