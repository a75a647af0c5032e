"""The panel of retargeting, beside the capture's."""

import bpy

from .operators import active_armature
from .scene_capture import armature_problem


class VIEW3D_UL_retarget_links(bpy.types.UIList):
    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index):  # type: ignore[no-untyped-def]
        row = layout.row(align=True)
        row.label(text=_chain(item.target, item.target_end), icon="BONE_DATA")
        row.label(text=_chain(item.driving, item.driving_end), icon="BACK")


def _chain(first: str, last: str) -> str:
    return f"{first} … {last}" if last else first


class VIEW3D_PT_retarget(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Capture"
    bl_label = "Retarget Action"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not armature_problem(active_armature(context))

    def draw(self, context: bpy.types.Context) -> None:
        layout, target = self.layout, active_armature(context)
        chosen = target.mocap_anything_retarget
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(chosen, "driving")
        column.prop(chosen, "use_pair_frame")
        if chosen.use_pair_frame:
            column.prop(chosen, "pair_frame")
        else:
            layout.label(text=f"The poses on frame {context.scene.frame_current} mean the same", icon="INFO")
        _draw_links(layout, target, chosen)
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        for name in ("travel", "contacts", "limbs", "use_scale"):
            column.prop(chosen, name)
        if chosen.use_scale:
            column.prop(chosen, "scale")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("armature.retarget_action", icon="PLAY")


def _draw_links(layout: bpy.types.UILayout, target: bpy.types.Object, chosen: bpy.types.PropertyGroup) -> None:
    layout.operator("armature.retarget_propose", icon="VIEWZOOM")
    row = layout.row()
    row.template_list("VIEW3D_UL_retarget_links", "", chosen, "links", chosen, "link_index", rows=4)
    column = row.column(align=True)
    column.operator("armature.retarget_link_add", text="", icon="ADD")
    column.operator("armature.retarget_link_remove", text="", icon="REMOVE")
    column.separator()
    column.operator("armature.retarget_preset_load", text="", icon="IMPORT")
    column.operator("armature.retarget_preset_save", text="", icon="EXPORT")
    if not chosen.links:
        layout.label(text="Empty: bones are proposed", icon="INFO")
    elif chosen.link_index < len(chosen.links):
        line = chosen.links[chosen.link_index]
        box = layout.column(align=True)
        for owner, names in ((target, ("target", "target_end")), (chosen.driving, ("driving", "driving_end"))):
            if owner is not None and owner.type == "ARMATURE":
                for name in names:
                    box.prop_search(line, name, owner.data, "bones")


CLASSES = (VIEW3D_UL_retarget_links, VIEW3D_PT_retarget)
