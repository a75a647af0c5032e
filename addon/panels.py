"""The sidebar tab, in the order of the work: video, camera, references, capture, result."""

import bpy

from . import capture_job
from .diagnostics import missing_message
from .operators import active_armature
from .scene_capture import armature_problem


class _CapturePanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Capture"


class _Step(_CapturePanel):
    """One step of the work; shown once an armature is chosen."""

    bl_parent_id = "VIEW3D_PT_capture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not armature_problem(active_armature(context))


class VIEW3D_PT_capture(_CapturePanel, bpy.types.Panel):
    bl_label = "Capture from Video"

    def draw(self, context: bpy.types.Context) -> None:
        armature = active_armature(context)
        if problem := armature_problem(armature):
            self.layout.label(text=problem, icon="INFO")
        else:
            self.layout.label(text=armature.name, icon="ARMATURE_DATA")


class VIEW3D_PT_capture_video(_Step, bpy.types.Panel):
    bl_label = "Video"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, active_armature(context).mocap_anything
        layout.prop(chosen, "clip", text="")
        column = _split(layout)
        column.prop(chosen, "at_scene_start")
        row = column.row()
        row.active = not chosen.at_scene_start
        row.prop(chosen, "start_frame")
        column.prop(chosen, "use_trim")
        if chosen.use_trim:
            column.prop(chosen, "trim_start")
            column.prop(chosen, "trim_end")


class VIEW3D_PT_capture_camera(_Step, bpy.types.Panel):
    bl_label = "Camera"

    def draw(self, context: bpy.types.Context) -> None:
        layout, camera = self.layout, context.scene.camera
        layout.operator("scene.camera_from_video", icon="CAMERA_DATA")
        if camera is not None and camera.type == "CAMERA":
            column = _split(layout)
            column.prop(context.scene, "camera")
            column.prop(camera.data, "lens")
        else:
            column = layout.column(align=True)
            column.label(text="Without a camera the rig is found by its outline:", icon="ERROR")
            column.label(text="a pose over the video is more exact", icon="BLANK1")


class VIEW3D_UL_capture_references(bpy.types.UIList):
    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index):  # type: ignore[no-untyped-def]
        layout.label(text=f"Frame {item.frame}", icon="KEYFRAME_HLT" if item.frame == context.scene.frame_current else "KEYFRAME")
        layout.operator("armature.capture_reference_go", text="", icon="FORWARD", emboss=False).frame = item.frame


class VIEW3D_PT_capture_references(_Step, bpy.types.Panel):
    bl_label = "References"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, active_armature(context).mocap_anything
        row = layout.row()
        row.template_list("VIEW3D_UL_capture_references", "", chosen, "references", chosen, "reference_index", rows=2)
        column = row.column(align=True)
        column.operator("armature.capture_reference_add", text="", icon="ADD")
        column.operator("armature.capture_reference_remove", text="", icon="REMOVE")
        if not chosen.references:
            layout.label(text=f"None: the pose on frame {context.scene.frame_current} is used", icon="INFO")
        _split(layout).prop(chosen, "reference_kind", text="Kind")


class VIEW3D_PT_capture_run(_Step, bpy.types.Panel):
    bl_label = "Capture"

    def draw(self, context: bpy.types.Context) -> None:
        layout, job = self.layout, capture_job.running
        if job is not None:
            left = job.seconds_left
            text = f"{job.progress.stage}  {job.progress.fraction:.0%}" + (f"  {_duration(left)} left" if left is not None else "")
            layout.progress(factor=job.progress.fraction, text=text)
            if job.done:  # controls are being posed: clicks have to wait
                layout.label(text="Esc to cancel", icon="CANCEL")
            else:
                layout.operator("armature.capture_cancel", text="Cancel (Esc)", icon="CANCEL")
            return
        row = layout.row()
        row.scale_y = 1.5
        row.operator("armature.capture_from_video", icon="PLAY")
        if missing := missing_message():
            box = layout.box()
            for line in missing.splitlines()[:2]:
                box.label(text=line, icon="ERROR" if line == missing.splitlines()[0] else "NONE")
            box.operator("wm.capture_copy_install_command", icon="COPYDOWN")


class VIEW3D_PT_capture_settings(_CapturePanel, bpy.types.Panel):
    bl_label = "Settings"
    bl_parent_id = "VIEW3D_PT_capture_run"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        chosen = active_armature(context).mocap_anything
        column = _split(self.layout)
        column.enabled = capture_job.running is None
        for name in ("model", "root_rotation", "root_travel", "fit", "refine", "own_actions", "library", "smoothing", "contacts", "limbs", "use_crop"):
            row = column.row()
            row.active = name not in ("refine", "own_actions", "library") or chosen.fit
            row.prop(chosen, name)
        if chosen.use_crop:
            column.prop(chosen, "crop")


class VIEW3D_PT_capture_result(_Step, bpy.types.Panel):
    bl_label = "Result"

    def draw(self, context: bpy.types.Context) -> None:
        layout, armature = self.layout, active_armature(context)
        chosen = armature.mocap_anything
        if chosen.summary:
            column = layout.column(align=True)  # a line for each part: the sidebar is narrow
            for part in chosen.summary.split(", "):
                column.label(text=part)
        if chosen.least_sure:
            where, _, what = chosen.least_sure.partition(": ")
            column = layout.column(align=True)  # two lines: the sidebar is narrow
            column.label(text=where, icon="VIEWZOOM")
            column.label(text=what, icon="BLANK1")
        active = armature.animation_data.action if armature.animation_data else None
        row = layout.row(align=True)
        for result, action in (("FINISHED", chosen.finished_action), ("RAW", chosen.raw_action)):
            row.operator("armature.capture_use_result", text=result.title(), depress=action is not None and action == active).result = result
        layout.operator("wm.capture_copy_diagnostics", icon="COPYDOWN")


def _split(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


CLASSES = (
    VIEW3D_PT_capture,
    VIEW3D_PT_capture_video,
    VIEW3D_PT_capture_camera,
    VIEW3D_UL_capture_references,
    VIEW3D_PT_capture_references,
    VIEW3D_PT_capture_run,
    VIEW3D_PT_capture_settings,
    VIEW3D_PT_capture_result,
)
