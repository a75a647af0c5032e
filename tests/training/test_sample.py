"""The sample scene that the demo captures: one keyed frame, seen through the camera, in step with the film."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector
from mocap_anything.addon.rig_reader import read_rig
from mocap_anything.backend.kinematics import basis_from_pose, forward
from mocap_anything.backend.video import open_clip
from mocap_anything.training.cases import Truth
from mocap_anything.training.footage import at_rest

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample"


@pytest.fixture
def truth() -> Truth:
    bpy.ops.wm.open_mainfile(filepath=str(SAMPLE / "sample.blend"), load_ui=False)
    return Truth.load(SAMPLE / "truth.npz")


def test_one_frame_is_keyed_and_shows_the_truth(truth: Truth) -> None:
    armature = next(o for o in bpy.context.scene.objects if o.type == "ARMATURE")
    rig = read_rig(armature)
    assert rig.names == truth.names
    assert rig.driven.all()
    assert len(bpy.data.actions) == 1
    first, last = bpy.data.actions[0].frame_range
    assert first == last == truth.reference + 1
    bpy.context.scene.frame_set(int(first))
    bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    shown = np.array([bones[name].matrix for name in rig.names])
    assert np.abs(shown - truth.pose[truth.reference]).max() < 1e-4
    basis = basis_from_pose(rig, truth.pose)
    assert np.abs(forward(rig, basis) - truth.pose).max() < 1e-4
    joined = np.flatnonzero(rig.parents >= 0)
    assert np.abs(basis[:, joined, :3, 3]).max() < 1e-3, "only the root travels"


def test_film_and_scene_are_in_step(truth: Truth) -> None:
    scene, clip = bpy.context.scene, open_clip(SAMPLE / "sample.mp4")
    assert scene.camera is not None
    assert (scene.frame_start, scene.frame_end) == (1, len(truth.pose))
    assert len(clip.times) == len(truth.pose)
    assert clip.times[-1] == pytest.approx((len(truth.pose) - 1) / scene.render.fps)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (clip.width, clip.height)


def in_picture(places: np.ndarray) -> np.ndarray:
    """(N, 2) places (N, 3) of the world in the scene camera's picture, shares of its height."""
    scene = bpy.context.scene
    seen = np.array([world_to_camera_view(scene, scene.camera, Vector(place)) for place in places])
    return seen[:, :2] * [scene.render.resolution_x / scene.render.resolution_y, 1]


def test_a_rig_that_nobody_posed_is_found_in_the_film(truth: Truth, tmp_path: Path, extension: None) -> None:
    from mocap_anything.addon.command_line import main

    armature = next(o for o in bpy.context.scene.objects if o.type == "ARMATURE")
    name, rows = armature.name, (0, 5, 11)
    expected = [in_picture(truth.pose[row, :, :3, 3] @ np.array(armature.matrix_world)[:3, :3].T + np.array(armature.matrix_world)[:3, 3]) for row in rows]
    rest, out = at_rest(SAMPLE / "sample.blend", name, tmp_path / "rest.blend"), tmp_path / "out.blend"
    armature = bpy.data.objects[name]
    armature.matrix_world = Matrix.Translation((0.4, 0.3, 0)) @ Matrix.Rotation(np.radians(30), 4, "Z") @ armature.matrix_world
    bpy.ops.wm.save_as_mainfile(filepath=str(rest))
    options = ["--reference-kind", "rendered", "--trim-end", "0.46", "--output", str(out)]
    assert main(["capture", str(rest), "--video", str(SAMPLE / "sample.mp4"), *options]) == 0
    bpy.ops.wm.open_mainfile(filepath=str(out), load_ui=False)
    armature = bpy.data.objects[name]
    for row, there in zip(rows, expected, strict=True):
        bpy.context.scene.frame_set(row + 1)
        heads = np.array([armature.matrix_world @ armature.pose.bones[bone].head for bone in truth.names])
        off = np.linalg.norm(in_picture(heads) - there, axis=1) / (there.max(0) - there.min(0)).max()
        assert np.median(off) < 0.06
        assert off.max() < 0.25


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000
