"""Scene cameras, as Blender itself projects through them, and references read from posed frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector
from mocap_anything.addon.reference_reader import keyed_frames, read_pose, read_references, reference_frames, stored_reference_frames
from mocap_anything.addon.rig_reader import read_rig
from mocap_anything.addon.scene_camera import camera_track, default_camera, scene_camera, set_up_camera
from mocap_anything.backend.errors import CaptureError


@pytest.fixture
def blank() -> bpy.types.Scene:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene


@pytest.fixture
def armature(blank: bpy.types.Scene) -> bpy.types.Object:
    """Three bones with a box of skin on each."""
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    blank.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(3):
        bone = armature.data.edit_bones.new(f"b{index}")
        bone.head, bone.tail, bone.parent, parent = (0, 0, index), (0, 0.1, index + 1), parent, bone
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "XYZ"
    mesh = bpy.data.meshes.new("Skin")
    corners = [(x, y, z + k) for k in range(3) for x in (-0.2, 0.2) for y in (-0.2, 0.2) for z in (0.1, 0.9)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners, [], [[8 * k + c for c in side] for k in range(3) for side in sides])
    skin = bpy.data.objects.new("Skin", mesh)
    blank.collection.objects.link(skin)
    for index in range(3):
        skin.vertex_groups.new(name=f"b{index}").add(list(range(8 * index, 8 * index + 8)), 1.0, "REPLACE")
    skin.parent = armature
    skin.modifiers.new("Armature", "ARMATURE").object = armature
    bpy.context.view_layer.update()
    return armature


def add_camera(scene: bpy.types.Scene, **settings: object) -> bpy.types.Object:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.matrix_world = Matrix.Translation((1.0, -7.0, 2.5)) @ Matrix.Rotation(1.35, 4, "X") @ Matrix.Rotation(0.1, 4, "Y")
    for name, value in settings.items():
        setattr(camera.data, name, value)
    return camera


def blenders_pixels(scene: bpy.types.Scene, camera: bpy.types.Object, points: list[Vector], width: int, height: int) -> np.ndarray:
    seen = np.array([world_to_camera_view(scene, camera, point) for point in points])
    return np.stack([seen[:, 0] * width, (1 - seen[:, 1]) * height], -1)


POINTS = [Vector(p) for p in [(0, 0, 0), (0, 0, 3), (1, 0.5, 1), (-1, -0.5, 2), (0.3, 1, -1)]]


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("resolution", [(1920, 1080), (1080, 1920), (640, 640)])
@pytest.mark.parametrize("aspect", [(1.0, 1.0), (2.0, 1.0), (1.0, 1.5)])
def test_projection_is_blenders(
    blank: bpy.types.Scene, armature: bpy.types.Object, fit: str, resolution: tuple[int, int], aspect: tuple[float, float]
) -> None:
    scene = blank
    scene.render.resolution_x, scene.render.resolution_y = resolution
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
    camera = add_camera(scene, sensor_fit=fit, lens=35.0, sensor_width=30.0, sensor_height=17.0, shift_x=0.12, shift_y=-0.07)
    armature.matrix_world = Matrix.Translation((0.2, 0.1, -0.3)) @ Matrix.Rotation(0.7, 4, "Z") @ Matrix.Diagonal((2, 2, 2, 1))
    bpy.context.view_layer.update()
    ours = scene_camera(scene, bpy.context.evaluated_depsgraph_get(), camera, armature, 320, 200)
    into = armature.matrix_world.inverted()
    pixels = ours.project(np.array([into @ point for point in POINTS], np.float64))
    np.testing.assert_allclose(pixels, blenders_pixels(scene, camera, POINTS, 320, 200), atol=2e-3)
    assert ours.scale == pytest.approx(2)


def test_projection_is_blenders_where_camera_and_rig_are_scaled_and_mirrored(blank: bpy.types.Scene, armature: bpy.types.Object) -> None:
    camera = add_camera(blank)
    camera.scale = (3, 3, 3)
    parent = bpy.data.objects.new("Mirror", None)
    blank.collection.objects.link(parent)
    parent.scale, parent.rotation_euler = (-1, 1, 1), (0.2, 0.1, 0.5)
    armature.parent = parent
    bpy.context.view_layer.update()
    ours = scene_camera(blank, bpy.context.evaluated_depsgraph_get(), camera, armature, 1920, 1080)
    into = armature.matrix_world.inverted()
    pixels = ours.project(np.array([into @ point for point in POINTS], np.float64))
    np.testing.assert_allclose(pixels, blenders_pixels(blank, camera, POINTS, 1920, 1080), atol=2e-2)
    assert np.linalg.det(ours.rotation) == pytest.approx(-1)


def test_only_a_perspective_camera_will_do(blank: bpy.types.Scene, armature: bpy.types.Object) -> None:
    camera = add_camera(blank, type="ORTHO")
    bpy.context.view_layer.update()
    with pytest.raises(CaptureError, match="Perspective"):
        scene_camera(blank, bpy.context.evaluated_depsgraph_get(), camera, armature, 64, 64)


def move_by_keys(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    for frame, x in ((1, 0.0), (21, 2.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)


def zoom(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    for frame, lens in ((1, 30.0), (21, 60.0)):
        camera.data.lens = lens
        camera.data.keyframe_insert("lens", frame=frame)


def drive(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    camera.driver_add("location", 0).driver.expression = "frame / 10"


def parent_to_moving(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    parent = bpy.data.objects.new("Dolly", None)
    bpy.context.scene.collection.objects.link(parent)
    move_by_keys(parent, armature)
    camera.parent = parent


def constrain(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    target = bpy.data.objects.new("Target", None)
    bpy.context.scene.collection.objects.link(target)
    move_by_keys(target, armature)
    camera.constraints.new("TRACK_TO").target = target


def move_armature(camera: bpy.types.Object, armature: bpy.types.Object) -> None:
    move_by_keys(armature, armature)


@pytest.mark.parametrize("animate", [move_by_keys, zoom, drive, parent_to_moving, constrain, move_armature])
def test_moving_cameras_are_followed(blank: bpy.types.Scene, armature: bpy.types.Object, animate: object) -> None:
    camera = add_camera(blank)
    animate(camera, armature)
    blank.render.fps = 24
    times = np.array([0.0, 0.1, 0.25, 0.7])
    blank.frame_set(7, subframe=0.25)
    track = camera_track(blank, camera, armature, times, 1.0, 1920, 1080)
    assert (blank.frame_current, blank.frame_subframe) == (7, 0.25)
    assert track.from_armature.shape == (4, 4, 4)
    for index, time in enumerate(times):
        frame = 1 + time * 24
        blank.frame_set(int(frame), subframe=frame % 1)
        into = armature.matrix_world.inverted()
        pixels = track.at(index).project(np.array([into @ point for point in POINTS], np.float64))
        np.testing.assert_allclose(pixels, blenders_pixels(blank, camera, POINTS, 1920, 1080), atol=2e-2)


def test_a_still_camera_is_one_camera(blank: bpy.types.Scene, armature: bpy.types.Object) -> None:
    """Keys of bones, and keys that hold still, move neither the camera nor the armature object."""
    camera = add_camera(blank)
    camera.keyframe_insert("location", frame=1)
    armature.pose.bones["b0"].keyframe_insert("rotation_euler", frame=1)
    bpy.context.view_layer.update()
    assert camera_track(blank, camera, armature, np.arange(5) / 24, 1.0, 64, 48).from_armature.shape == (4, 4)


@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
@pytest.mark.parametrize("scale", [1.0, 100.0, 0.01])
def test_the_assumed_camera_sees_the_subject(armature: bpy.types.Object, size: tuple[int, int], scale: float) -> None:
    armature.scale = (scale,) * 3
    armature.rotation_euler = (np.pi / 2, 0, 0)
    bpy.context.view_layer.update()
    for yaw in (0.0, 2.0):
        camera = default_camera(armature, *size, yaw=yaw)
        pixels = camera.project(read_rig(armature).mesh.vertices.astype(float))
        low, high = pixels.min(0) / size, pixels.max(0) / size
        assert (low > 0.05).all()
        assert (high < 0.95).all()
        assert (high - low).max() > 0.4
    front = default_camera(armature, *size)
    away = front.to_camera(np.array([[0.0, 0, 0], np.linalg.inv(np.array(armature.matrix_world))[:3, :3] @ [0, 1, 0]]))
    np.testing.assert_allclose(away[1] - away[0], [0, 0, 1], atol=1e-5)


@dataclass(frozen=True)
class ArrayClip:
    """A clip whose pictures are already in memory."""

    pictures: np.ndarray
    times: np.ndarray

    @property
    def width(self) -> int:
        return self.pictures.shape[2]

    @property
    def height(self) -> int:
        return self.pictures.shape[1]

    def frame_at(self, time: float) -> np.ndarray:
        return self.pictures[np.abs(self.times - time).argmin()]


@pytest.fixture
def clip() -> ArrayClip:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
    return ArrayClip(pictures, np.arange(20) / 30)


def key_turns(armature: bpy.types.Object) -> None:
    for frame, angle in ((11, 0.0), (23, 1.2)):
        armature.pose.bones["b1"].rotation_euler.x = angle
        armature.pose.bones["b1"].keyframe_insert("rotation_euler", frame=frame)


def test_aligned_references_pair_the_pose_with_the_videos_picture(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip) -> None:
    key_turns(armature)
    camera = add_camera(blank)
    for frame, x in ((1, 0.0), (31, 3.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    blank.render.fps = 24
    blank.frame_set(15)
    rig = read_rig(armature)
    before = read_pose(armature, rig)
    found = read_references(armature, rig, blank, [23, 11], clip, 11.0, aligned=True)
    assert blank.frame_current == 15
    np.testing.assert_array_equal(read_pose(armature, rig), before)
    assert [reference.time for reference in found] == [0.0, 15 / 30]  # 12 scene frames at 24 are half a second
    for reference, frame, index in zip(found, (11, 23), (0, 15), strict=True):
        np.testing.assert_array_equal(reference.image, clip.pictures[index])
        blank.frame_set(frame)
        np.testing.assert_allclose(reference.pose, read_pose(armature, rig), atol=1e-7)
        heads = [armature.matrix_world @ bone.head for bone in armature.pose.bones]
        np.testing.assert_allclose(reference.camera.project(reference.pose[:, :3, 3]), blenders_pixels(blank, camera, heads, 64, 48), atol=1e-3)


def test_a_pose_that_is_not_keyed_yet_is_the_reference_and_stays(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip) -> None:
    key_turns(armature)
    add_camera(blank)
    blank.frame_set(11)
    armature.pose.bones["b1"].rotation_euler.x = 0.8
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    (reference,) = read_references(armature, rig, blank, [11], clip, 11.0, aligned=True)
    assert armature.pose.bones["b1"].rotation_euler.x == pytest.approx(0.8)
    turned = reference.pose[1, :3, :3] @ rig.rest[1, :3, :3].T
    assert np.arccos((np.trace(turned) - 1) / 2) == pytest.approx(0.8, abs=1e-5)


def test_constraints_are_part_of_the_pose(blank: bpy.types.Scene, armature: bpy.types.Object) -> None:
    constraint = armature.pose.bones["b2"].constraints.new("LIMIT_ROTATION")
    constraint.use_limit_x, constraint.max_x, constraint.owner_space = True, 0.2, "LOCAL"
    armature.pose.bones["b2"].rotation_euler.x = 1.0
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    turned = read_pose(armature, rig)[2, :3, :3] @ rig.rest[2, :3, :3].T
    assert np.arccos((np.trace(turned) - 1) / 2) == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize("frame", [9, 29, -100])
def test_a_reference_outside_the_clip_is_named(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip, frame: int) -> None:
    add_camera(blank)
    with pytest.raises(CaptureError, match=rf"frame {frame} .* frames 11 to 26"):
        read_references(armature, read_rig(armature), blank, [12, frame], clip, 11.0, aligned=True)


def test_aligned_references_need_a_camera(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip) -> None:
    with pytest.raises(CaptureError, match="Set Up Camera"):
        read_references(armature, read_rig(armature), blank, [11], clip, 11.0, aligned=True)
    with pytest.raises(CaptureError, match="Add Reference"):
        read_references(armature, read_rig(armature), blank, [], clip, 11.0, aligned=False)


def test_rendered_references_show_the_mesh_from_all_sides(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip) -> None:
    key_turns(armature)
    rig = read_rig(armature)
    found = read_references(armature, rig, blank, [11, 23], clip, 500.0, aligned=False)
    assert len(found) == 8
    assert all(reference.time is None for reference in found)
    assert not np.allclose(found[0].pose, found[4].pose)
    for reference in found:
        background = reference.image[0, 0]
        drawn = (reference.image != background).any(-1)
        rows, columns = np.nonzero(drawn)
        assert 0.02 < drawn.mean() < 0.6
        heads = reference.camera.project(reference.pose[:, :3, 3])
        assert (heads > [columns.min() - 40, rows.min() - 40]).all()
        assert (heads < [columns.max() + 40, rows.max() + 40]).all()
    views = [reference.camera.rotation[2] for reference in found[:4]]
    assert all(a @ b < 0.5 for a, b in pairwise(views))


def test_rendered_references_need_a_mesh(blank: bpy.types.Scene, armature: bpy.types.Object, clip: ArrayClip) -> None:
    bpy.data.objects.remove(bpy.data.objects["Skin"])
    with pytest.raises(CaptureError, match="no mesh"):
        read_references(armature, read_rig(armature), blank, [11], clip, 11.0, aligned=False)


def test_which_frames_are_references(blank: bpy.types.Scene, armature: bpy.types.Object) -> None:
    blank.frame_set(42)
    assert reference_frames(blank, armature) == [42]
    bone = armature.pose.bones["b1"]
    bone.keyframe_insert("rotation_euler", frame=30)
    bone.keyframe_insert("location", frame=30)
    armature.keyframe_insert("location", frame=5)
    assert keyed_frames(armature) == [30]
    assert reference_frames(blank, armature) == [30]
    bone.keyframe_insert("rotation_euler", frame=33)
    assert reference_frames(blank, armature) == [42]
    listed = SimpleNamespace(mocap_anything=SimpleNamespace(references=[SimpleNamespace(frame=7), SimpleNamespace(frame=3)]))
    assert stored_reference_frames(listed) == [3, 7]
    assert reference_frames(blank, listed) == [3, 7]


def write_clip(path: Path, frames: int, fps: int, width: int = 64, height: int = 48) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), index, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("fps", "size"), [(24, (64, 48)), (30, (48, 96))])
def test_the_camera_is_set_up_from_the_video(
    blank: bpy.types.Scene, armature: bpy.types.Object, tmp_path: Path, fps: int, size: tuple[int, int]
) -> None:
    """The picture and the range become the clip's, the frame rate does not, and the background shows the picture of the scene's time."""
    blank.render.fps = 24
    path = write_clip(tmp_path / "clip é.mp4", 2 * fps, fps, *size)
    camera = set_up_camera(blank, path, 11.0)
    assert blank.camera is camera
    assert (blank.render.resolution_x, blank.render.resolution_y) == size
    assert (blank.render.fps, blank.frame_start, blank.frame_end) == (24, 11, 58)
    clip = camera.data.background_images[0].clip
    assert camera.data.show_background_images
    for frame in range(11, 59):
        blank.frame_set(frame)
        assert frame - clip.frame_start + clip.frame_offset == int((frame - 11) / 24 * fps + 0.5)
    ours = scene_camera(blank, bpy.context.evaluated_depsgraph_get(), camera, armature, *size)
    assumed = default_camera(armature, *size)
    np.testing.assert_allclose(ours.intrinsics, assumed.intrinsics, rtol=1e-6)
    np.testing.assert_allclose(ours.from_armature, assumed.from_armature, atol=1e-5)


def test_the_camera_is_set_up_from_pictures(blank: bpy.types.Scene, armature: bpy.types.Object, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for index in range(12):
        image.fromarray(np.full((48, 64, 3), index, np.uint8)).save(tmp_path / f"shot_{index:04d}.png")
    camera = set_up_camera(blank, tmp_path, 1.0, armature)
    assert camera.data.background_images[0].clip.source == "SEQUENCE"
    assert (blank.frame_start, blank.frame_end) == (1, 12)


def test_a_clip_that_cannot_be_opened_changes_nothing(blank: bpy.types.Scene, armature: bpy.types.Object, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    (tmp_path / "empty").mkdir()
    size = (blank.render.resolution_x, blank.render.resolution_y, blank.frame_end)
    for path in (broken, tmp_path / "none.mp4", tmp_path / "empty"):
        with pytest.raises(CaptureError):
            set_up_camera(blank, path, 1.0)
    assert blank.camera is None
    assert not bpy.data.movieclips
    assert not bpy.data.cameras
    assert size == (blank.render.resolution_x, blank.render.resolution_y, blank.frame_end)
