"""The button: capture on a worker thread while the window stays alive, and keys when it is done."""

import logging
import time
from collections.abc import Generator
from typing import Any

import bpy

from ..backend.errors import CaptureCancelled, CaptureError
from ..backend.progress import CancelToken, Progress
from . import capture_job
from .capture_job import CaptureJob
from .operators import NeedsClip, NeedsPackages, active_armature, clip_path
from .preferences import preferences
from .properties import first_frame, settings_of
from .scene_capture import Captured, CaptureOptions, Prepared, finish, finish_steps, prepare, resolve_model
from .sureness_report import least_sure_line

log = logging.getLogger(__name__)

_TIMER_SECONDS = 0.1
_SLICE_SECONDS = 0.2


def options_of(context: bpy.types.Context, armature: bpy.types.Object) -> CaptureOptions:
    """The panel's choices. References default to the current frame."""
    chosen, machine = armature.mocap_anything, preferences(context)
    model = resolve_model(chosen.model, machine.model_folder if machine else "")
    frames = tuple(reference.frame for reference in chosen.references) or (context.scene.frame_current,)
    try:
        settings = settings_of(chosen, machine.device if machine else "auto", model)
    except ValueError as error:
        raise CaptureError(f"{str(error).capitalize()}.") from error
    return CaptureOptions(clip_path(armature), first_frame(chosen, context.scene), settings, frames, chosen.reference_kind, keep_raw=True, limbs=chosen.limbs)


class ARMATURE_OT_capture_from_video(NeedsPackages, NeedsClip, bpy.types.Operator):
    """Capture the video's motion and key it on the armature, as a new action"""

    bl_idname = "armature.capture_from_video"
    bl_label = "Capture from Video"
    bl_options = {"REGISTER", "UNDO"}

    _job: CaptureJob | None = None
    _timer: bpy.types.Timer | None = None
    _finishing: Generator[Progress, None, Captured] | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if capture_job.running is not None:
            cls.poll_message_set("A capture is running")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Without a window: the same steps, in this thread."""
        armature = active_armature(context)
        try:
            prepared = prepare(context.scene, armature, options_of(context, armature))
            result = capture_job.run(prepared.request, CancelToken(), lambda now: log.info("%s %.0f%%", now.stage, 100 * now.fraction))
            self._show(armature, prepared, finish(armature, prepared, result))
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        if bpy.app.background:
            return self.execute(context)
        armature = active_armature(context)
        context.window.cursor_set("WAIT")
        try:
            self._prepared = prepare(context.scene, armature, options_of(context, armature))
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            context.window.cursor_set("DEFAULT")
        self._armature_name = armature.name
        self._scene_name = context.scene.name
        self._job = capture_job.running = CaptureJob(self._prepared.request)
        self._job.start()
        self._timer = context.window_manager.event_timer_add(_TIMER_SECONDS, window=context.window)
        context.window_manager.progress_begin(0, 100)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        job = self._job
        assert job is not None
        if (event.type == "ESC" and event.value == "PRESS") or job.token.cancelled:
            self._stop(context)
            self.report({"INFO"}, "Capture cancelled, nothing was changed")
            return {"CANCELLED"}
        if event.type != "TIMER":
            # while controls are posed the rig is not as the user left it: whatever else is pressed has to wait
            return {"PASS_THROUGH"} if self._finishing is None else {"RUNNING_MODAL"}
        if self._finishing is None:
            job.poll()
        _redraw(context)
        context.window_manager.progress_update(100 * job.progress.fraction)
        return {"PASS_THROUGH"} if not job.done else self._end(context, job)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the operator itself, as when another file is opened."""
        self._stop(context)

    def _end(self, context: bpy.types.Context, job: CaptureJob) -> set[str]:
        """Go on with the keys for a moment; they take more than one where controls are posed."""
        try:
            if job.error is not None:
                raise job.error
            armature = bpy.data.objects.get(self._armature_name)
            if armature is None or armature.name not in bpy.data.scenes[self._scene_name].objects:
                raise CaptureError(f"The armature '{self._armature_name}' was removed or renamed during the capture. Capture again.")
            if self._finishing is None:
                assert job.result is not None
                self._finishing = finish_steps(armature, self._prepared, job.result)
                job.restart_clock()
            captured = _go_on(self._finishing, job)
        except Exception as error:
            self._stop(context)
            return self._failed(error)
        if captured is None:
            return {"RUNNING_MODAL"}
        self._stop(context)
        self._show(armature, self._prepared, captured)
        return {"FINISHED"}

    def _failed(self, error: Exception) -> set[str]:
        if isinstance(error, CaptureError):
            self.report({"ERROR"}, str(error))
        elif not isinstance(error, CaptureCancelled):
            log.error("The capture failed", exc_info=error)
            self.report({"ERROR"}, f"The capture failed unexpectedly ({type(error).__name__}: {error}). Use Copy Diagnostics and report it.")
        return {"CANCELLED"}

    def _show(self, armature: bpy.types.Object, prepared: Prepared, captured: Captured) -> None:
        chosen = armature.mocap_anything
        if not chosen.references:  # the pose that was right is still right at the next capture, wherever the scene stands then
            for frame in prepared.reference_frames:
                chosen.references.add().frame = round(frame)
        chosen.summary, chosen.least_sure = _summary(captured.report), least_sure_line(captured.report)
        self.report({"INFO"}, chosen.summary)

    def _stop(self, context: bpy.types.Context) -> None:
        """Leave nothing running: the worker hears of it at its next step, and what it still says is dropped."""
        if self._job is not None:
            self._job.cancel()
        if self._finishing is not None:
            self._finishing.close()
        self._finishing = None
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            context.window_manager.progress_end()
        self._timer = None
        capture_job.running = None
        _redraw(context)


def _go_on(steps: Generator[Progress, None, Captured], job: CaptureJob) -> Captured | None:
    """Take steps for a moment; returns what was written once all are done."""
    until = time.monotonic() + _SLICE_SECONDS
    while True:
        try:
            job.progress = next(steps)
        except StopIteration as stop:
            captured: Captured = stop.value
            return captured
        if time.monotonic() > until:
            return None


def _summary(report: dict[str, Any]) -> str:
    driven, learned = sum(bone["driven"] for bone in report["bones"]), len(report["capture"]["own_actions"])
    said = f", learned from {learned} action{'s' * (learned > 1)}" if learned else ""
    if (time := report["capture"]["found_at"]) is not None:
        said += f", found in the video at {time:.2f} s"
    return f"{report['frames']['captured']} frames on {driven} bones in {sum(report['seconds'].values()):.0f} s{said}"


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":  # the sidebar alone: the scene does not change meanwhile, and drawing it takes time from the capture
                        region.tag_redraw()


def draw_menu_item(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    """In the Pose menu, so that search and menu find it."""
    self.layout.separator()
    self.layout.operator(ARMATURE_OT_capture_from_video.bl_idname)


class ARMATURE_OT_capture_cancel(bpy.types.Operator):
    """Stop the running capture and leave everything as it was"""

    bl_idname = "armature.capture_cancel"
    bl_label = "Cancel Capture"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if capture_job.running is None:
            cls.poll_message_set("No capture is running")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        if capture_job.running is not None:
            capture_job.running.cancel()
        return {"FINISHED"}


CLASSES = (ARMATURE_OT_capture_from_video, ARMATURE_OT_capture_cancel)
