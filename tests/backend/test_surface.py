"""The skin on a chain: where it is, how turns move it, how it is drawn, and where optical flow sees it."""

import cv2
import numpy as np
import pytest
import torch
from mocap_anything.backend.axis_angles import exp_rotation
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.ik_chain import Chain, Targets
from mocap_anything.backend.kinematics import skin
from mocap_anything.backend.model.eye import window
from mocap_anything.backend.skin_tracks import SkinTracks, _inverse
from mocap_anything.backend.surface import Seen, Shot, Standing, Surface


@pytest.fixture
def posed(oracle):
    rig, body, pose, track = oracle
    rows, slots = np.nonzero(body.mask)
    chain = Chain(rig, pose[10], Targets(body.bones[rows], body.offsets[rows, slots], np.zeros((1, len(rows), 3)), np.zeros(1)))
    return rig, chain, Surface(rig, chain, pose[10]), pose, track


def shot(image: np.ndarray, standing: Standing, scale: float = 1.0, after: np.ndarray | None = None, share: float = 1.0) -> Shot:
    """A frame whose mask shows the subject in the leftmost `share` of the rig's crop."""
    mask = np.zeros((32, 32), np.uint8)
    mask[:, : round(32 * share)] = 255
    return Shot(image, after, scale, mask, standing.crop)


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
    sure = np.tile(np.eye(2) * 100, (40, 1, 1))
    seen = Seen(corners, rng.dirichlet(np.ones(3), 40), target, sure, np.ones(40), camera.intrinsics / camera.height, camera.from_armature)
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


def test_nothing_stands_behind_the_camera(posed):
    rig, chain, surface, _, track = posed
    camera = track.camera.at(10)
    rotations, heads = chain.reference.numpy(), chain.ref_heads.numpy()
    assert surface.stand(rotations, heads - np.linalg.inv(camera.from_armature)[:3, :3] @ [0, 0, 1] * 1e3, camera) is None
    within = camera.from_armature.copy()
    within[:3, 3] -= camera.to_camera(track.reference.pose[:, :3, 3]).mean(0)
    assert surface.stand(rotations, heads, Camera(camera.intrinsics, within, camera.width, camera.height)) is None


def noise(camera: Camera) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 255, (camera.height, camera.width, 3)).astype(np.uint8)


def test_points_of_the_skin_go_where_the_picture_goes(posed):
    _, chain, surface, _, track = posed
    camera = track.camera.at(10)
    standing = surface.stand(chain.reference.numpy(), chain.ref_heads.numpy(), camera)
    image = cv2.GaussianBlur(noise(camera), (0, 0), 2)
    eye = SkinTracks(surface)
    assert eye.look(standing, camera, shot(image, standing)) is None, "nothing was remembered"
    eye.remember(standing, shot(image, standing))
    first = eye.look(standing, camera, shot(image, standing))
    assert len(first.target) > 50
    there = np.abs(surface.residuals(first, chain.reference.numpy(), chain.ref_heads.numpy())[0])
    assert there.max() < 1e-3, "it is born where it is drawn"
    moved = eye.look(standing, camera, shot(np.roll(image, (2, 3), (0, 1)), standing))
    assert 0.8 * len(first.target) < len(moved.target) <= len(first.target)
    step = np.median(moved.target, 0) - np.median(first.target, 0)
    assert np.abs(step * float(standing.crop.side) - [3, 2]).max() < 0.4
    assert (np.linalg.eigvalsh(moved.information) > 0).all()
    tiny = cv2.resize(image, (8, 8))
    eye.remember(standing, shot(tiny, standing, 8 / camera.width))
    assert eye.look(standing, camera, shot(tiny.copy(), standing, 8 / camera.width)) is None, "no flow in so few pixels"
    eye.forget()
    assert eye.look(standing, camera, shot(image, standing)) is None


def test_along_an_edge_a_point_is_less_sure_than_across_and_in_a_plain_picture_it_says_nothing(posed):
    _, chain, surface, _, track = posed
    camera = track.camera.at(10)
    standing = surface.stand(chain.reference.numpy(), chain.ref_heads.numpy(), camera)
    stripes = np.tile((127 + 120 * np.sin(np.arange(camera.width) / 3)).astype(np.uint8)[None, :, None], (camera.height, 1, 3))
    for image, across in ((stripes, True), (np.full_like(stripes, 90), False)):
        eye = SkinTracks(surface)
        eye.remember(standing, shot(image, standing))
        seen = eye.look(standing, camera, shot(image.copy(), standing))
        if across:
            mean = (seen.information * seen.share[:, None, None]).sum(0)
            assert mean[0, 0] > 5 * mean[1, 1]
        else:
            assert seen is None or not seen.share.any()


def test_a_point_that_the_pose_hides_or_leaves_is_given_up(posed):
    _, chain, surface, _, track = posed
    camera = track.camera.at(10)
    rotations, heads = chain.reference.numpy(), chain.ref_heads.numpy()
    image = cv2.GaussianBlur(noise(camera), (0, 0), 2)
    eye = SkinTracks(surface)
    standing = surface.stand(rotations, heads, camera)
    eye.remember(standing, shot(image, standing))
    born = len(eye.place)
    behind = surface.stand(rotations @ np.diag([-1.0, -1.0, 1.0]), heads, camera)  # turned round: the skin that showed is behind
    assert eye._shown(behind).sum() < 0.5 * born
    eye.place = eye.place + 0.2 * float(behind.crop.side)
    assert not eye._shown(standing).any()


def test_points_are_followed_on_the_subject_alone(posed):
    _, chain, surface, _, track = posed
    camera = track.camera.at(10)
    standing = surface.stand(chain.reference.numpy(), chain.ref_heads.numpy(), camera)
    image = cv2.GaussianBlur(noise(camera), (0, 0), 2)
    eye = SkinTracks(surface)
    eye.remember(standing, shot(image, standing))
    everywhere = len(eye.place)
    eye.remember(standing, shot(image, standing, share=0.5))
    assert len(eye.place) < everywhere
    assert (eye.place[:, 0] < standing.crop.center[0] + 0.05 * standing.crop.side).all(), "what the mask does not show is given up"
    eye.forget()
    eye.remember(standing, shot(image, standing, share=0.0))
    assert not len(eye.place), "nor is it born there"


def test_flow_that_was_begun_ahead_is_the_same(posed):
    _, chain, surface, _, track = posed
    camera = track.camera.at(10)
    standing = surface.stand(chain.reference.numpy(), chain.ref_heads.numpy(), camera)
    image = cv2.GaussianBlur(noise(camera), (0, 0), 2)
    moved = np.roll(image, (1, 2), (0, 1))
    places = []
    for after in (None, moved):
        eye = SkinTracks(surface)
        eye.look(standing, camera, shot(image, standing, after=after))
        assert eye.worker.began(image, moved) == (after is not None)
        eye.remember(standing, shot(image, standing, after=after))
        eye.look(standing, camera, shot(moved, standing))
        places.append(eye.place)
        eye.close()
    np.testing.assert_array_equal(*places)


def test_a_window_peaks_where_the_same_is():
    features = torch.randn(1, 8, 20, 20, generator=torch.Generator().manual_seed(0))
    near = window(features, torch.roll(features, (2, -3), (2, 3)), 4)
    assert (near[0, :, 6:12, 6:12].argmax(0) == (2 + 4) * 9 + (-3 + 4)).all()
    assert near.shape == (1, 81, 20, 20)


def test_small_covariances_are_inverted_as_numpy_does():
    some = np.random.default_rng(2).normal(size=(50, 2, 3))
    covariance = some @ some.transpose(0, 2, 1) + 1e-3 * np.eye(2)
    inverse, most = _inverse(covariance)
    np.testing.assert_allclose(inverse, np.linalg.inv(covariance), rtol=1e-8)
    np.testing.assert_allclose(most, np.linalg.eigvalsh(inverse)[:, 1], rtol=1e-8)
