"""A capture that is cancelled, at whatever stage, leaves every data-block as it was."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import pytest

State = Callable[[], dict[str, object]]
STAGES = ("Loading the model", "Following the subject", "Capturing", "Fitting the rig", "Finishing")


def prepared(armature: bpy.types.Object) -> object:
    from mocap_anything.addon.capture_operator import options_of
    from mocap_anything.addon.scene_capture import prepare

    return prepare(bpy.context.scene, armature, options_of(bpy.context, armature))


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]


def test_reading_the_scene_changes_nothing(posed_rig: bpy.types.Object, file_state: State) -> None:
    bpy.context.scene.frame_set(20)
    posed_rig.pose.bones[1].rotation_quaternion = (0.8, 0, 0.6, 0)  # not keyed: a visit to another frame would drop it
    bpy.context.view_layer.update()
    before = file_state()
    prepared(posed_rig)
    assert changes(before, file_state()) == []


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_at_each_stage(posed_rig: bpy.types.Object, file_state: State, stage: str) -> None:
    from mocap_anything.addon import capture_job
    from mocap_anything.backend.errors import CaptureCancelled
    from mocap_anything.backend.progress import CancelToken, Progress

    before, token, seen = file_state(), CancelToken(), []

    def on_progress(progress: Progress) -> None:
        seen.append(progress.stage)
        if progress.stage == stage:
            token.cancel()

    request = prepared(posed_rig).request
    with pytest.raises(CaptureCancelled):
        capture_job.run(request, token, on_progress)
    assert seen[-1] == stage
    assert changes(before, file_state()) == []


@pytest.mark.parametrize("stage", ["Following the subject", "Capturing", "Fitting the rig"])
def test_cancel_of_the_worker_thread(posed_rig: bpy.types.Object, file_state: State, stage: str) -> None:
    from mocap_anything.addon.capture_job import CaptureJob
    from mocap_anything.backend.errors import CaptureCancelled

    before = file_state()
    job = CaptureJob(prepared(posed_rig).request)
    job.start()
    while job.progress.stage != stage and not job.done:
        job.join(0.001)
        job.poll()
    job.cancel()
    job.join(60)
    job.poll()
    assert isinstance(job.error, CaptureCancelled)
    assert job.result is None
    assert changes(before, file_state()) == []


def test_the_worker_thread_gives_the_same_as_the_calling_thread(posed_rig: bpy.types.Object) -> None:
    import numpy as np
    from mocap_anything.addon import capture_job
    from mocap_anything.backend.progress import CancelToken

    request = prepared(posed_rig).request
    job = capture_job.CaptureJob(request)
    job.start()
    while not job.done:
        job.join(0.01)
        job.poll()
    assert job.error is None
    assert job.progress.fraction == 1.0
    direct = capture_job.run(request, CancelToken(), lambda _: None)
    np.testing.assert_allclose(job.result.motion.rotations, direct.motion.rotations, atol=1e-6)


def test_what_goes_wrong_in_the_thread_arrives(posed_rig: bpy.types.Object, file_state: State) -> None:
    from mocap_anything.addon.capture_job import CaptureJob
    from mocap_anything.backend.errors import CaptureError

    posed_rig.mocap_anything.model = "no such model"
    before = file_state()
    job = CaptureJob(prepared(posed_rig).request)
    job.start()
    job.join(60)
    job.poll()
    assert isinstance(job.error, CaptureError)
    assert "no such model" in str(job.error)
    with pytest.raises(RuntimeError, match="no such model"):
        bpy.ops.armature.capture_from_video()
    assert changes(before, file_state()) == []


@pytest.mark.parametrize("share", [0.1, 0.7], ids=["finished", "raw"])
def test_cancel_while_controls_are_posed(posed_rig: bpy.types.Object, file_state: State, share: float) -> None:
    """In the middle of the finished motion, and of the raw one, before anything is keyed."""
    from mocap_anything.addon import capture_job
    from mocap_anything.addon.scene_capture import finish
    from mocap_anything.backend.errors import CaptureCancelled
    from mocap_anything.backend.progress import CancelToken, Progress

    hang_on_a_control(posed_rig)
    ready, token, seen = prepared(posed_rig), CancelToken(), []
    result = capture_job.run(ready.request, CancelToken(), lambda _: None)
    before = file_state()

    def on_progress(progress: Progress) -> None:
        seen.append(progress)
        if progress.fraction >= share:
            token.cancel()
        token.check()

    with pytest.raises(CaptureCancelled):
        finish(posed_rig, ready, result, on_progress)
    assert {progress.stage for progress in seen} == {"Posing the controls"}
    assert seen[-1].fraction < 1
    assert changes(before, file_state()) == []


def test_escape_while_controls_are_posed(posed_rig: bpy.types.Object, file_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The button's own handler of events: other keys wait, Esc ends it."""
    from types import SimpleNamespace

    from mocap_anything.addon import capture_job, capture_operator
    from mocap_anything.addon.capture_operator import ARMATURE_OT_capture_from_video as Button
    from mocap_anything.backend.progress import CancelToken

    monkeypatch.setattr(capture_operator, "_SLICE_SECONDS", 0.0)  # a step at a time: a worm is posed in no time
    hang_on_a_control(posed_rig)
    ready = prepared(posed_rig)
    job = capture_job.running = capture_job.CaptureJob(ready.request)
    job.result = capture_job.run(ready.request, CancelToken(), lambda _: None)
    said: list[str] = []
    button = SimpleNamespace(
        _job=job, _timer=None, _finishing=None, _prepared=ready, _armature_name=posed_rig.name, _scene_name=bpy.context.scene.name,
        report=lambda _kind, text: said.append(text),
    )  # fmt: skip
    for name in ("_stop", "_end", "_failed", "_show"):
        setattr(button, name, getattr(Button, name).__get__(button))

    def press(key: str) -> set[str]:
        return Button.modal(button, bpy.context, SimpleNamespace(type=key, value="PRESS"))

    before = file_state()
    assert press("G") == {"PASS_THROUGH"}, "the capture is at work, the user too"
    assert press("TIMER") == {"RUNNING_MODAL"}
    assert job.progress.stage == "Posing the controls"
    assert 0 < job.progress.fraction < 1
    assert press("G") == {"RUNNING_MODAL"}, "the rig is not as the user left it"
    assert press("ESC") == {"CANCELLED"}
    assert said == ["Capture cancelled, nothing was changed"]
    assert capture_job.running is None
    assert changes(before, file_state()) == []


def hang_on_a_control(worm: bpy.types.Object) -> None:
    """The worm's middle segment turns with a control above it."""
    bpy.context.view_layer.objects.active = worm
    bpy.ops.object.mode_set(mode="EDIT")
    bone = worm.data.edit_bones.new("Control")
    bone.head, bone.tail = (0, 0, 1), (0, 0, 1.4)
    bone.parent = worm.data.edit_bones["Segment 0"]
    bpy.ops.object.mode_set(mode="OBJECT")
    worm.data.bones["Control"].use_deform = False
    constraint = worm.pose.bones["Segment 1"].constraints.new("COPY_ROTATION")
    constraint.target, constraint.subtarget = worm, "Control"
    bpy.context.view_layer.update()
