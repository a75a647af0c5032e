"""The whole pipeline on a small procedural creature, with a network of random weights: what must hold whatever the network says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mocap_anything.backend.calibration import UNTOUCHED, Calibration, Curve
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.capture import CaptureRequest, capture
from mocap_anything.backend.errors import CaptureCancelled, CaptureError
from mocap_anything.backend.kinematics import skin
from mocap_anything.backend.model.checkpoint import load_model, save_model
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.model.network import Video2Pose2Rot
from mocap_anything.backend.progress import CancelToken
from mocap_anything.backend.rasterizer import draw_rig
from mocap_anything.backend.reference import Reference
from mocap_anything.backend.settings import CaptureSettings
from mocap_anything.backend.video import open_clip
from mocap_anything.training.data.views import random_camera
from mocap_anything.training.zoo import make_creature
from PIL import Image

TINY = ModelConfig(image_size=64, stem_dims=(16, 16), token_dim=32, fine_dim=16, joint_dim=32, head_dim=16, token_head_dim=16, encoder_layers=1,
                   match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1, time_window=2)
FRAMES = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(3)
    network = Video2Pose2Rot(TINY)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(network, path)
    return str(path)


@pytest.fixture(scope="module")
def case(tmp_path_factory, model):
    """A quadruped before a still camera, as an image sequence and a request with one aligned reference in the middle."""
    rng = np.random.default_rng(5)
    asset = make_creature(rng, "quadruped", frames=FRAMES)
    pose = asset.clips[0].pose[:FRAMES].astype(np.float64)
    camera = random_camera(rng, pose[:1, :, :3, 3].mean(1), asset.rig.size, np.asarray(asset.up), np.zeros(1)).at(0)
    camera = Camera(camera.intrinsics * 240 / camera.height, camera.from_armature, round(camera.width * 240 / camera.height), 240)
    folder = tmp_path_factory.mktemp("clip")
    for k in range(FRAMES):
        image, _ = draw_rig(asset.rig, pose[k], camera, (camera.height, camera.width), (0.35, 0.4, 0.3))
        Image.fromarray(image).save(folder / f"f_{k:04d}.png")
    clip = open_clip(folder)
    return asset.rig, pose, camera, clip, CaptureSettings(device="cpu", model=model, refine=True)


def reference(case, index):
    _, pose, camera, clip, _ = case
    return Reference(clip.frame_at(clip.times[index]), camera, pose[index], float(clip.times[index]))


def request(case, *indices, **settings):
    rig, _, camera, clip, chosen = case
    return CaptureRequest(rig, clip, camera, tuple(reference(case, i) for i in indices), replace(chosen, **settings))


def run(wanted, cancel=None):
    steps, seen = capture(wanted, cancel or CancelToken()), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as stop:
            return stop.value, seen


def posed(rig, motion):
    pose = np.tile(np.eye(4), (len(motion), len(rig), 1, 1))
    pose[..., :3, :3], pose[..., :3, 3] = motion.rotations, motion.heads
    return pose


def test_result_passes_through_every_reference_and_progress_never_goes_back(case):
    rig, pose, *_ = case
    result, seen = run(request(case, 6, 16))
    assert len(result.motion) == FRAMES
    for index in (6, 16):
        assert np.abs(result.motion.rotations[index] - pose[index, :, :3, :3]).max() < 1e-6
        assert np.abs(result.motion.heads[index] - pose[index, :, :3, 3]).max() < 1e-4 * rig.size
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {"Loading the model", "Following the subject", "Capturing", "Fitting the rig", "Finishing"} <= {p.stage for p in seen}
    assert set(result.seconds) == {"load", "follow", "capture", "fit", "finish"}


def test_confidence_is_the_models_calibration_of_the_networks_word(case, model):
    """The same capture under the network's own word, under numbers of the model, and without the fit."""
    def under(calibration, **settings):
        def loader(path, device):
            network = load_model(path, device)
            network.calibration = calibration
            return network

        steps = capture(request(case, 6, 16, **settings), CancelToken(), loader)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value

    rig, _, _, clip, _ = case
    said = under(UNTOUCHED, fit=False).motion.confidence.astype(float)
    measured = Calibration(Curve(2.0, 0.5 * said[:, rig.driven].min(), 0.1), Curve(3.0, 0.0, 0.0), True)
    result = under(measured, fit=True)
    gap = np.abs(clip.times[:, None] - clip.times[[6, 16]]).min(1)
    assert np.allclose(result.motion.confidence, measured.fitted.expected(said, gap), rtol=1e-4)
    assert (result.motion.confidence[[6, 16]] == 0).all()
    assert result.report["calibrated"]
    assert np.allclose(under(measured, fit=False).motion.confidence, np.minimum(3 * said, 1), rtol=1e-4)
    assert not run(request(case, 6, fit=False))[0].report["calibrated"], "a model file without numbers"


@pytest.mark.parametrize(("compare", "library", "least"), [(False, "motions", 1e-4), (True, "none", 1e-3)])
def test_re_rolling_every_bone_moves_no_vertex(case, compare, library, least):
    """Capture.md: replacing each bone's axes by any others changes nothing that is seen; drawn pixels may fall to either side of an edge, by rounding,
    of which more comes in a random network's captures where motions near one pose and near another say different things."""
    rig, pose, camera, clip, settings = case = (*case[:4], replace(case[4], refine=compare, library=library))
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(len(rig), 3, 3)))[0]
    turn *= np.linalg.det(turn)[:, None, None]
    extra = np.tile(np.eye(4), (len(rig), 1, 1))
    extra[:, :3, :3] = turn
    rolled = replace(rig, rest=rig.rest @ extra)
    plain, _ = run(request(case, 12))
    first = reference(case, 12)
    again, _ = run(CaptureRequest(rolled, clip, camera, (Reference(first.image, camera, pose[12] @ extra, first.time),), settings))
    a, b = skin(rig.mesh, rig, posed(rig, plain.motion)), skin(rolled.mesh, rolled, posed(rolled, again.motion))
    assert np.abs(a - b).max() < least * rig.size
    assert np.abs(a - a[12]).max() > 0.01 * rig.size, "the random network must move something, or this shows nothing"


def test_scale_mirror_and_turn_of_the_armature_change_nothing_in_the_world(case):
    # powers of two are exact in the mesh's float32: what is left is the pipeline's own arithmetic
    rig, pose, camera, clip, settings = case
    plain, _ = run(request(case, 12))
    world = camera.to_camera(skin(rig.mesh, rig, posed(rig, plain.motion)))
    first = reference(case, 12)
    for change in (np.diag([128.0] * 3), np.diag([1 / 128] * 3), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])):
        matrix = np.eye(4)
        matrix[:3, :3] = change
        scale = np.abs(np.linalg.det(change)) ** (1 / 3)
        # the armature is `change` times as large or turned; the object's matrix takes it back, so the world is the same
        inner = np.linalg.inv(matrix)
        bones = np.eye(4)
        bones[:3, :3] *= scale

        def moved(m, matrix=matrix, bones=bones):
            return matrix @ m @ np.linalg.inv(bones)

        mesh = replace(rig.mesh, vertices=(rig.mesh.vertices @ change.T).astype(np.float32))
        other = replace(rig, rest=moved(rig.rest), ends=rig.ends @ change.T, mesh=mesh)
        seen = Camera(camera.intrinsics, camera.from_armature @ inner, camera.width, camera.height)
        up = tuple(change @ [0.0, 0.0, 1.0] / scale)
        result, _ = run(CaptureRequest(other, clip, seen, (Reference(first.image, seen, moved(pose[12]), first.time),), settings, up))
        again = seen.to_camera(skin(other.mesh, other, posed(other, result.motion)))
        assert np.abs(again - world).max() < 1e-4 * rig.size


def test_trim_and_in_place_and_locked_root(case):
    rig, pose, _, clip, _ = case
    result, _ = run(request(case, 12, start=float(clip.times[8]), end=float(clip.times[18]), root_travel="in_place", root_rotation="locked", smoothing=0.0))
    assert len(result.motion) == 11
    assert np.allclose(result.motion.times, clip.times[8:19])
    roots = rig.carriers < 0
    assert np.abs(result.motion.heads[:, roots] - pose[12, roots, :3, 3]).max() < 1e-6 * rig.size
    assert np.abs(result.motion.rotations[:, roots] - result.motion.rotations[4, roots]).max() < 1e-6


def test_cancel_stops_at_every_stage(case):
    for stage in ("Loading the model", "Following the subject", "Capturing", "Fitting the rig"):
        cancel = CancelToken()
        steps = capture(request(case, 12), cancel)
        next(step for step in steps if step.stage == stage)
        cancel.cancel()
        with pytest.raises(CaptureCancelled):
            list(steps)


def test_what_cannot_be_captured_says_why(case):
    rig, pose, camera, clip, settings = case
    away = camera.from_armature.copy()
    away[:3, 3] += [50 * rig.size, 0, 0]
    first = reference(case, 12)
    outside = Reference(first.image, Camera(camera.intrinsics, away, camera.width, camera.height), first.pose, first.time)
    with pytest.raises(CaptureError, match="outside the picture"):
        run(CaptureRequest(rig, clip, camera, (outside,), settings))
    with pytest.raises(CaptureError, match="no reference"):
        run(CaptureRequest(rig, clip, camera, (), settings))
    with pytest.raises(CaptureError, match="no device"):
        run(request(case, 12, device="abacus"))
    with pytest.raises(CaptureError, match="trim"):
        run(request(case, 12, start=0.001, end=0.002))
    if not torch.cuda.is_available():
        with pytest.raises(CaptureError, match="NVIDIA"):
            run(request(case, 12, device="cuda"))


def test_the_same_request_gives_the_same_result(case):
    a, _ = run(request(case, 12))
    b, _ = run(request(case, 12))
    assert np.array_equal(a.motion.rotations, b.motion.rotations)
