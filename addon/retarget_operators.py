"""The buttons of retargeting: propose, edit, keep as a preset, and carry the action over."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..backend.errors import CaptureError
from .operators import NeedsArmature, NeedsPackages, active_armature, without_chosen
from .retargeting import RetargetOptions, pair_problem, proposed_links, retarget_action

if TYPE_CHECKING:
    from ..backend.retarget.links import Link

SUFFIX = ".json"


def chosen_links(chosen: Any) -> tuple["Link", ...]:
    """The list's lines; those without both bones are left out."""
    from ..backend.retarget.links import Link

    return tuple(
        Link((line.target, line.target_end or line.target), (line.driving, line.driving_end or line.driving))
        for line in chosen.links if line.target and line.driving
    )  # fmt: skip


def show_links(chosen: Any, links: tuple["Link", ...]) -> None:
    """Put links into the list instead of what is there."""
    chosen.links.clear()
    for link in links:
        line = chosen.links.add()
        line.target, line.driving = link.target[0], link.driving[0]
        line.target_end = link.target[1] if link.target[1] != link.target[0] else ""
        line.driving_end = link.driving[1] if link.driving[1] != link.driving[0] else ""
    chosen.link_index = 0


def _pair_frame(chosen: Any) -> float | None:
    return float(chosen.pair_frame) if chosen.use_pair_frame else None


class _NeedsPair(NeedsArmature):
    """Two armatures, and numpy's companions for the arithmetic."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        target = active_armature(context)
        driving = target.mocap_anything_retarget.driving if target is not None and target.type == "ARMATURE" else None
        if problem := pair_problem(target, driving):
            cls.poll_message_set(problem)  # type: ignore[attr-defined]
            return False
        return True


class ARMATURE_OT_retarget_propose(_NeedsPair, bpy.types.Operator):
    """Find which bones mean the same, by topology, side, names and position; the list is replaced"""

    bl_idname = "armature.retarget_propose"
    bl_label = "Propose Bones"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        target = active_armature(context)
        chosen = target.mocap_anything_retarget
        try:
            links = proposed_links(context.scene, target, chosen.driving, _pair_frame(chosen))
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        show_links(chosen, links)
        self.report({"INFO"}, f"{len(links)} links proposed")
        return {"FINISHED"}


class ARMATURE_OT_retarget_link_add(NeedsArmature, bpy.types.Operator):
    """Add a line for the active bone"""

    bl_idname = "armature.retarget_link_add"
    bl_label = "Add Link"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        target = active_armature(context)
        chosen = target.mocap_anything_retarget
        line = chosen.links.add()
        line.target = target.data.bones.active.name if target.data.bones.active else ""
        chosen.link_index = len(chosen.links) - 1
        return {"FINISHED"}


class ARMATURE_OT_retarget_link_remove(NeedsArmature, bpy.types.Operator):
    """Take the chosen line off the list: that bone rides on what carries it"""

    bl_idname = "armature.retarget_link_remove"
    bl_label = "Remove Link"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not active_armature(context).mocap_anything_retarget.links:
            cls.poll_message_set("The list is empty")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = active_armature(context).mocap_anything_retarget
        chosen.link_index = without_chosen(chosen.links, chosen.link_index)
        return {"FINISHED"}


class _Preset(NeedsArmature):
    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class ARMATURE_OT_retarget_preset_save(_Preset, bpy.types.Operator):
    """Save the list of bones as a JSON file, for other files with these rigs"""

    bl_idname = "armature.retarget_preset_save"
    bl_label = "Save Preset"

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..backend.retarget.links import save_links

        try:
            path = Path(bpy.path.abspath(self.filepath)).with_suffix(SUFFIX)
            save_links(path, chosen_links(active_armature(context).mocap_anything_retarget))
        except (CaptureError, ValueError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class ARMATURE_OT_retarget_preset_load(_Preset, bpy.types.Operator):
    """Load a list of bones that was saved; the list is replaced"""

    bl_idname = "armature.retarget_preset_load"
    bl_label = "Load Preset"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..backend.retarget.links import load_links

        try:
            show_links(active_armature(context).mocap_anything_retarget, load_links(Path(bpy.path.abspath(self.filepath))))
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class ARMATURE_OT_retarget_action(NeedsPackages, _NeedsPair, bpy.types.Operator):
    """Carry the driving armature's action over to this one, through the pose in which both mean the same, as a new action"""

    bl_idname = "armature.retarget_action"
    bl_label = "Retarget Action"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        target = active_armature(context)
        chosen = target.mocap_anything_retarget
        frame = _pair_frame(chosen)
        options = RetargetOptions(
            frame, chosen_links(chosen), None, chosen.scale if chosen.use_scale else None, chosen.travel, chosen.contacts, chosen.limbs
        )  # fmt: skip
        try:
            done = retarget_action(context.scene, target, chosen.driving, options)
        except CaptureError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not chosen.links:
            show_links(chosen, done.links)
        # on this frame the result is the pose that was paired: the next time it is still right, wherever the scene stands then
        if frame is None:
            chosen.use_pair_frame, chosen.pair_frame = True, context.scene.frame_current
        self.report({"INFO"}, f"{len(done.motion)} frames on {len(done.written.bones)} bones")
        return {"FINISHED"}


CLASSES = (
    ARMATURE_OT_retarget_propose,
    ARMATURE_OT_retarget_link_add,
    ARMATURE_OT_retarget_link_remove,
    ARMATURE_OT_retarget_preset_save,
    ARMATURE_OT_retarget_preset_load,
    ARMATURE_OT_retarget_action,
)
