"""Steps inside a Blender with a window: `blender SCENE -P drive.py`. Each yield hands control back to Blender for that many seconds."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

HERE = Path(__file__).resolve().parent
EXTENSION = "bl_ext.user_default.mocap_anything"
LIMIT = 1500.0  # seconds: a window that never answers must not hang the test
story: dict[str, object] = {"torch loaded on enabling": "torch" in sys.modules}

spec = importlib.util.spec_from_file_location("tests_conftest", HERE / "conftest.py")
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
bpy.context.preferences.view.show_splash = False  # it opens right after this script has run


def view() -> tuple[bpy.types.Window, bpy.types.Area, dict[str, bpy.types.Region]]:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                return window, area, {region.type: region for region in area.regions}
    raise RuntimeError("there is no 3D view")


def override() -> object:
    window, area, regions = view()
    return bpy.context.temp_override(window=window, area=area, region=regions["WINDOW"])


def picture(name: str) -> Path:
    """The whole screen as the X server has it; Blender's own screenshot is black here."""
    path = HERE / f"{name}.png"
    subprocess.run(["import", "-window", "root", str(path)], check=True)
    return path


def pointer(x: int, y: int, *more: str) -> None:
    subprocess.run(["xdotool", "mousemove", str(x), str(y), *more], check=True)


def capture_button(enabled: Path, disabled: Path) -> tuple[int, int]:
    """Middle of the lowest thing in the sidebar that turns grey when there is no video: the capture button."""
    import numpy as np
    from PIL import Image

    _, _, regions = view()
    left = regions["UI"].x
    on, off = (np.asarray(Image.open(path).convert("L"), np.int16)[:, left : left + regions["UI"].width] for path in (enabled, disabled))
    rows = np.flatnonzero((abs(on - off) > 8).sum(1) > 3)
    bands = np.split(rows, np.flatnonzero(np.diff(rows) > 8) + 1)
    band = bands[-1]
    columns = np.flatnonzero((abs(on - off) > 8)[band].any(0))
    return left + int(columns.mean()), int(band.mean())


def difference(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def steps() -> Iterator[float]:
    from bl_ext.user_default.mocap_anything.addon import capture_job
    from bl_ext.user_default.mocap_anything.addon.blender_versions import assigned_action, channels

    armature = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE")
    armature.mocap_anything.use_trim, armature.mocap_anything.trim_start, armature.mocap_anything.trim_end = True, 1.0, 2.0
    bpy.context.view_layer.objects.active = armature
    window, area, regions = view()
    area.spaces.active.show_region_ui = True
    area.spaces.active.region_3d.view_perspective = "CAMERA"
    yield 2.0
    _, area, regions = view()
    regions["UI"].active_panel_category = "Capture"
    area.tag_redraw()
    yield 1.5
    story["panel"] = regions["UI"].active_panel_category
    without = picture("1-panel-without-video")
    armature.mocap_anything.clip = str(HERE / "sample.mp4")
    area.tag_redraw()
    yield 1.5
    x, y = capture_button(picture("2-panel"), without)
    with override():
        bpy.ops.ed.undo_push(message="Before the capture")
    before = conftest.read_file_state()

    pointer(x, y)
    yield 0.5
    pointer(x, y, "click", "1")
    began = time.monotonic()
    yield 1.0
    fractions = set()
    while capture_job.running is not None:
        fractions.add(round(capture_job.running.progress.fraction, 3))
        if capture_job.running.progress.fraction > 0.3 and "progress seen" not in story:
            picture("3-running")
            story["progress seen"] = True
        yield 0.2
    story["seconds of the capture"] = round(time.monotonic() - began, 1)
    yield 1.0
    action, slot = assigned_action(armature)
    story["action after"] = action.name
    curves = channels(action, slot).fcurves
    story["keys"] = sum(len(curve.keyframe_points) for curve in curves)
    story["stashed"] = [track.name for track in armature.animation_data.nla_tracks]
    scene = bpy.context.scene
    frame = scene.frame_current
    first = [tuple(bone.matrix[0]) for bone in armature.pose.bones]
    scene.frame_set(frame + 9)
    story["pose moves"] = first != [tuple(bone.matrix[0]) for bone in armature.pose.bones]
    yield 1.0
    picture("4-result")
    scene.frame_set(frame)
    with override():
        bpy.ops.ed.undo()
    yield 1.0
    story["changed after undo"] = difference(before, conftest.read_file_state())
    picture("5-undone")

    before = conftest.read_file_state()
    pointer(x, y)
    yield 0.5
    pointer(x, y, "click", "1")
    yield 1.0
    while capture_job.running is not None and capture_job.running.progress.fraction < 0.2:
        yield 0.1
    story["running when escape was pressed"] = capture_job.running is not None
    subprocess.run(["xdotool", "key", "Escape"], check=True)
    pressed = time.monotonic()
    while capture_job.running is not None:
        yield 0.02
    story["seconds from escape to the end"] = round(time.monotonic() - pressed, 2)
    yield 1.0
    story["changed after cancel"] = difference(before, conftest.read_file_state())
    picture("6-cancelled")
    with override():
        bpy.ops.preferences.addon_show(module=EXTENSION)
    yield 3.0
    picture("7-preferences")


running = steps()
started = time.monotonic()


def tick() -> float | None:
    try:
        if time.monotonic() - started > LIMIT:
            raise TimeoutError("the steps took too long")
        return next(running)
    except StopIteration:
        pass
    except BaseException:
        story["failed"] = traceback.format_exc()
        picture("failed")
    (HERE / "story.json").write_text(json.dumps(story, indent=1))
    sys.stdout.flush()
    os._exit(0)


bpy.app.timers.register(tick, first_interval=2.0)
