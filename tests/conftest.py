"""Blender as a module under pytest: user files in a temporary folder, an empty scene per test, the extension enabled once."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import bpy

# read by Blender when it is first imported: nothing of the user's is touched and nothing of the user's changes a test
_resources = None if "BLENDER_USER_RESOURCES" in os.environ else tempfile.mkdtemp(prefix="mocap-anything-blender-")
if _resources is not None:
    os.environ["BLENDER_USER_RESOURCES"] = _resources
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
# run inside a Blender with a window by `make test-blender`
collect_ignore = [] if os.environ.get("BLENDER_CHROOT") else ["gui"]


_exit_status = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Remove Blender's user files, and end without taking Blender down: once it has exported glTF, 4.2 as a module crashes there and 4.5 hangs."""
    if _resources is not None:
        shutil.rmtree(_resources, ignore_errors=True)
    if "bpy" in sys.modules and sys.modules["bpy"].app.version < (5, 0, 0):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of rigs and footage beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared")
    return folder


@pytest.fixture(scope="session")
def extension() -> Iterator[None]:
    """The extension, enabled as Blender enables an add-on."""
    import bpy  # noqa: F401, I001 (what follows is within reach only then)
    import addon_utils

    assert addon_utils.enable("mocap_anything", default_set=True) is not None, "the extension does not enable"
    yield
    addon_utils.disable("mocap_anything", default_set=True)


@pytest.fixture
def scene(extension: None) -> bpy.types.Scene:
    """An empty scene; the preferences stay, so the extension stays enabled."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene


@pytest.fixture
def rig(scene: bpy.types.Scene) -> bpy.types.Object:
    """A worm of three bones with a skinned tube, the active object."""
    import bpy
    import numpy as np

    data = bpy.data.armatures.new("Worm")
    armature = bpy.data.objects.new("Worm", data)
    scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for index in range(3):
        bone = data.edit_bones.new(f"Segment {index}")
        bone.head, bone.tail = (0, 0, index), (0, 0, index + 1)
        bone.parent, parent = parent, bone
        bone.use_connect = index > 0
    bpy.ops.object.mode_set(mode="OBJECT")
    rings, sides = 13, 8
    angles = np.arange(sides) * 2 * np.pi / sides
    points = [(0.3 * np.cos(a), 0.3 * np.sin(a), 3 * ring / (rings - 1)) for ring in range(rings) for a in angles]
    faces = [
        (ring * sides + side, ring * sides + (side + 1) % sides, (ring + 1) * sides + (side + 1) % sides, (ring + 1) * sides + side)
        for ring in range(rings - 1) for side in range(sides)
    ]
    mesh = bpy.data.meshes.new("Tube")
    mesh.from_pydata(points, [], faces)
    tube = bpy.data.objects.new("Tube", mesh)
    scene.collection.objects.link(tube)
    tube.parent = armature
    tube.modifiers.new("Armature", "ARMATURE").object = armature
    for index in range(3):
        group = tube.vertex_groups.new(name=f"Segment {index}")
        group.add([v for v, point in enumerate(points) if index - 1e-6 <= point[2] < index + 1 or (index == 2 and point[2] >= 3 - 1e-6)], 1.0, "REPLACE")
    bpy.context.view_layer.update()
    return armature


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of video in which a bright bar leans from side to side before a dark ground, 160 x 120 at 12 frames per second."""
    import av
    import numpy as np

    path = tmp_path_factory.mktemp("clip") / "bar.mp4"
    rows, columns = np.mgrid[:120, :160]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for index in range(12):
            lean = 0.3 * np.sin(index / 2)
            bar = (abs(columns - 80 - lean * (100 - rows)) < 12) & (rows > 20) & (rows < 100)
            picture = np.where(bar[..., None], [210, 120, 60], [40, 50, 60]).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def file_state() -> Callable[[], dict[str, object]]:
    """A function that reads every property of every data-block, so that two states of the file can be compared."""
    return read_file_state


# what Blender itself counts; brushes, in which 4.2 as a module has a dangling pointer
_VOLATILE = {"rna_type", "users", "tag", "is_evaluated", "session_uid", "is_updated", "is_updated_data", "original", "depsgraph", "is_runtime_data"}
_VOLATILE |= {"tool_settings"}
_WINDOW = {"window_managers", "screens", "workspaces", "all_ids"}


def read_file_state() -> dict[str, object]:
    import bpy

    state: dict[str, object] = {}
    for collection in bpy.data.bl_rna.properties:
        if collection.type != "COLLECTION" or collection.identifier in _WINDOW:
            continue
        for block in getattr(bpy.data, collection.identifier):
            _read_properties(block, f"{collection.identifier}[{block.name}]", state, 0)
    return state


def _read_properties(owner: object, path: str, state: dict[str, object], depth: int) -> None:
    import bpy

    for rna in owner.bl_rna.properties:
        if rna.identifier in _VOLATILE or depth > 6:
            continue
        name = f"{path}.{rna.identifier}"
        try:
            value = getattr(owner, rna.identifier)
        except (AttributeError, RuntimeError):
            continue
        if rna.type == "COLLECTION":
            for index, item in enumerate(value):
                if isinstance(item, bpy.types.ID):
                    state[f"{name}[{index}]"] = item.name_full
                elif item is not None:
                    _read_properties(item, f"{name}[{index}]", state, depth + 1)
        elif rna.type == "POINTER":
            if value is None or isinstance(value, bpy.types.ID):
                state[name] = value.name_full if value is not None else None
            elif not isinstance(value, type(owner)):
                _read_properties(value, name, state, depth + 1)
        else:
            state[name] = repr(tuple(value) if getattr(rna, "is_array", False) and not isinstance(value, str) else value)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was never trained: what it says is noise, how it is loaded, run and written is real."""
    import torch
    from mocap_anything.backend.model.checkpoint import save_model
    from mocap_anything.backend.model.config import ModelConfig
    from mocap_anything.backend.model.network import Video2Pose2Rot

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = ModelConfig(
        image_size=64, stem_dims=(8, 16), token_dim=64, fine_dim=32, joint_dim=64, encoder_layers=1, match_layers=1, pose_layers=1, lift_layers=1, rot_layers=1
    )
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    save_model(Video2Pose2Rot(config), path)
    return path


@pytest.fixture
def posed_rig(rig: bpy.types.Object, clip_file: Path, model_file: Path) -> bpy.types.Object:
    """The worm before the scene's camera with the clip behind it, and one reference on frame 9."""
    import bpy

    rig.mocap_anything.clip = str(clip_file)
    rig.mocap_anything.model = str(model_file)
    bpy.ops.scene.camera_from_video()
    bpy.context.scene.frame_set(9)
    bpy.ops.armature.capture_reference_add()
    return rig


@pytest.fixture
def posed_file(posed_rig: bpy.types.Object, tmp_path: Path) -> Path:
    """The posed worm as a file."""
    import bpy

    path = tmp_path / "posed.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    return path


@pytest.fixture
def as_played() -> Callable[..., None]:
    """Assert that moves of an armature's active action, keyed on frames 1 to 20 at 24 a second, are what Blender plays."""

    def check(armature: bpy.types.Object, rig: object, moves: object) -> None:
        import bpy
        import numpy as np
        from mocap_anything.addon.reference_reader import read_pose
        from mocap_anything.backend.kinematics import bone_rotations

        frames = np.linspace(1, 19, len(moves.rotations))
        for late, found in ((0, moves.rotations), (1, moves.after)):
            for frame, rotations in zip(frames + late, found, strict=True):
                bpy.context.scene.frame_set(int(frame), subframe=float(frame % 1))
                np.testing.assert_allclose(rotations, bone_rotations(read_pose(armature, rig)), atol=2e-5)

    return check


@pytest.fixture(params=[("quadruped", False, 1.0), ("snake", True, 1.0), ("biped", True, -1.0)], ids=["still", "moving camera", "mirrored"])
def oracle(request):
    """A creature with rigid limbs, and the track that a perfect network would give from frame 10."""
    import numpy as np
    from mocap_anything.backend.assemble import Track
    from mocap_anything.backend.body_points import Crop, crop_around, read_body, view_orientations, view_points
    from mocap_anything.backend.camera import Camera
    from mocap_anything.backend.kinematics import bone_rotations, carrier_offsets, heads_from_offsets
    from mocap_anything.backend.reference import Reference
    from mocap_anything.training.data.views import random_camera
    from mocap_anything.training.zoo import make_creature

    plan, moving, mirror = request.param
    rng = np.random.default_rng(7)
    asset = make_creature(rng, plan, frames=30)
    rig, pose = asset.rig, asset.clips[0].pose[:30].astype(np.float64)
    rotations = bone_rotations(pose)
    offsets = carrier_offsets(rig, rotations, pose[..., :3, 3])
    linked = rig.carriers >= 0
    offsets[:, linked] = offsets[10, linked]  # no limb stretches
    pose = np.tile(np.eye(4), (*pose.shape[:2], 1, 1))
    pose[..., :3, :3], pose[..., :3, 3] = rotations, heads_from_offsets(rig, rotations, offsets)
    times = np.arange(30) / 24
    camera = random_camera(rng, pose[:, :, :3, 3].mean(1), rig.size, np.asarray(asset.up), times if moving else np.zeros(30))
    matrix = camera.from_armature if moving else np.tile(camera.from_armature[:1], (30, 1, 1))
    camera = Camera(camera.intrinsics, matrix @ np.diag([mirror, 1, 1, 1]), camera.width, camera.height)
    body = read_body(rig, 3)
    points = body.points(pose)
    crop = crop_around(camera.project(points[:, body.mask]))
    uv, _ = view_points(body, camera, crop, points)
    seen = view_orientations(camera, crop, rotations[:, body.bones])
    turn = seen @ np.swapaxes(seen[10], -1, -2)
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    reference = Reference(image, camera.at(10), pose[10], float(times[10]))
    weight = np.broadcast_to(body.mask, (30, *body.mask.shape)).astype(float)
    track = Track(reference, Crop(crop.center[10], crop.side[10]), camera, crop, times, turn, uv, np.full((30, len(body.bones)), 0.01), weight)
    return rig, body, pose, track
