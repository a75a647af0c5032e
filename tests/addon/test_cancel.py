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
