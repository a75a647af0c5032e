"""What the user can press, save the capture itself."""

from pathlib import Path
from typing import Any

import bpy

from ..backend.errors import CaptureError
from ..backend.formats import VIDEO_SUFFIXES
from .blender_versions import assign_action
from .diagnostics import diagnostics, forget_missing, install_command, missing_message
from .properties import first_frame
from .scene_capture import armature_problem


def active_armature(context: bpy.types.Context) -> Any:
    """The armature that the user means: the active object, or the one that deforms it; None or another object if there is none."""
    active = context.view_layer.objects.active if context.view_layer else None
    if active is None or active.type == "ARMATURE":
        return active
    return active.find_armature()


def clip_path(armature: bpy.types.Object) -> Path:
    return Path(bpy.path.abspath(armature.mocap_anything.clip))


class NeedsArmature:
    """An armature of this file, out of Edit Mode."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if problem := armature_problem(active_armature(context)):
            cls.poll_message_set(problem)  # type: ignore[attr-defined]
            return False
        return True


class NeedsPackages:
    """What Blender's Python must have besides; stands before another of these classes."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):  # type: ignore[misc]
            return False
        if missing := missing_message():
            cls.poll_message_set(missing)  # type: ignore[attr-defined]
            return False
        return True


def without_chosen(lines: Any, index: int) -> int:
    """Take the chosen line off a list; returns the line that is chosen then."""
    index = min(index, len(lines) - 1)
    lines.remove(index)
    return max(0, index - 1)


class NeedsClip(NeedsArmature):
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not active_armature(context).mocap_anything.clip:
            cls.poll_message_set("Choose a video first")  # type: ignore[attr-defined]
            return False
        return True


class SCENE_OT_camera_from_video(NeedsClip, bpy.types.Operator):
    """Make the scene camera show the video behind the rig, with the video's shape and length"""

    bl_idname = "scene.camera_from_video"
    bl_label = "Set Up Camera from Video"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from .scene_camera import set_up_camera

        armature = active_armature(context)
        try:
            set_up_camera(context.scene, clip_path(armature), first_frame(armature.mocap_anything, context.scene), armature)
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class ARMATURE_OT_capture_reference_add(NeedsArmature, bpy.types.Operator):
    """Take the rig's pose on the current frame as a reference: posed as the subject is in the video"""

    bl_idname = "armature.capture_reference_add"
    bl_label = "Add Reference"
    bl_options = {"REGISTER", "UNDO"}

    key_pose: bpy.props.BoolProperty(name="Key the Pose", description="Key the whole pose on this frame, so that it stays", default=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = active_armature(context)
        chosen, frame = armature.mocap_anything, context.scene.frame_current
        if self.key_pose:
            _key_pose(armature, frame)
        if frame not in [reference.frame for reference in chosen.references]:
            chosen.references.add().frame = frame
            # kept in the order of time
            places = sorted(range(len(chosen.references)), key=lambda place: chosen.references[place].frame)
            chosen.references.move(len(chosen.references) - 1, places.index(len(chosen.references) - 1))
        chosen.reference_index = [reference.frame for reference in chosen.references].index(frame)
        return {"FINISHED"}


def _key_pose(armature: bpy.types.Object, frame: int) -> None:
    for bone in armature.pose.bones:
        rotation = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(bone.rotation_mode, "rotation_euler")
        for channel in ("location", rotation, "scale"):
            bone.keyframe_insert(channel, frame=frame, group=bone.name)


class ARMATURE_OT_capture_reference_remove(NeedsArmature, bpy.types.Operator):
    """Take the chosen frame off the list of references; its keys stay"""

    bl_idname = "armature.capture_reference_remove"
    bl_label = "Remove Reference"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not active_armature(context).mocap_anything.references:
            cls.poll_message_set("There is no reference in the list")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = active_armature(context).mocap_anything
        chosen.reference_index = without_chosen(chosen.references, chosen.reference_index)
        return {"FINISHED"}


class ARMATURE_OT_capture_reference_go(NeedsArmature, bpy.types.Operator):
    """Go to this reference's frame"""

    bl_idname = "armature.capture_reference_go"
    bl_label = "Go to Reference"
    bl_options = {"INTERNAL"}

    frame: bpy.props.IntProperty()

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.frame_set(self.frame)
        return {"FINISHED"}


class ARMATURE_OT_capture_use_result(NeedsArmature, bpy.types.Operator):
    """Play the finished result, or the raw one as the model gave it"""

    bl_idname = "armature.capture_use_result"
    bl_label = "Use Result"
    bl_options = {"REGISTER", "UNDO"}

    result: bpy.props.EnumProperty(
        name="Result", items=[("FINISHED", "Finished", "After clean-up"), ("RAW", "Raw", "As the model gave it")], default="FINISHED"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if active_armature(context).mocap_anything.finished_action is None:
            cls.poll_message_set("Nothing was captured on this armature yet")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = active_armature(context)
        chosen = armature.mocap_anything
        action = chosen.finished_action if self.result == "FINISHED" else chosen.raw_action
        if action is None:
            self.report({"ERROR"}, "That result is no longer in the file. Capture again.")
            return {"CANCELLED"}
        assign_action(armature, action, action.slots[0] if hasattr(action, "slots") else None)
        return {"FINISHED"}


class ARMATURE_OT_capture_drop_video(NeedsArmature, bpy.types.Operator):
    """Capture from the dropped video"""

    bl_idname = "armature.capture_drop_video"
    bl_label = "Choose Video for Capture"
    bl_options = {"INTERNAL", "UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not Path(bpy.path.abspath(self.filepath)).is_file():
            self.report({"ERROR"}, f"There is no file at '{self.filepath}'.")
            return {"CANCELLED"}
        active_armature(context).mocap_anything.clip = self.filepath
        return {"FINISHED"}


class VIEW3D_FH_capture_video(bpy.types.FileHandler):
    """Videos may be dropped into the viewport."""

    bl_idname = "VIEW3D_FH_capture_video"
    bl_label = "Video to capture from"
    bl_import_operator = "armature.capture_drop_video"
    bl_file_extensions = ";".join(VIDEO_SUFFIXES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D" and not armature_problem(active_armature(context))


class WM_OT_capture_copy_diagnostics(bpy.types.Operator):
    """Copy versions, device and the last lines of the log to the clipboard, for a bug report"""

    bl_idname = "wm.capture_copy_diagnostics"
    bl_label = "Copy Diagnostics"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = diagnostics()
        self.report({"INFO"}, "Diagnostics are on the clipboard")
        return {"FINISHED"}


class WM_OT_capture_copy_install_command(bpy.types.Operator):
    """Copy the command that installs what is missing; run it in a terminal, then start Blender again"""

    bl_idname = "wm.capture_copy_install_command"
    bl_label = "Copy Install Command"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        forget_missing()
        context.window_manager.clipboard = install_command()
        self.report({"INFO"}, "The command is on the clipboard. Run it in a terminal, then start Blender again")
        return {"FINISHED"}


CLASSES = (
    SCENE_OT_camera_from_video,
    ARMATURE_OT_capture_reference_add,
    ARMATURE_OT_capture_reference_remove,
    ARMATURE_OT_capture_reference_go,
    ARMATURE_OT_capture_use_result,
    ARMATURE_OT_capture_drop_video,
    VIEW3D_FH_capture_video,
    WM_OT_capture_copy_diagnostics,
    WM_OT_capture_copy_install_command,
)
