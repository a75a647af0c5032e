"""Settings of this machine: device, folder of models, how much is logged."""

import bpy

from .diagnostics import PACKAGE, missing_message, set_log_level

DEVICES = [
    ("auto", "Automatic", "The fastest that works: CUDA, else Metal, else the processor"),
    ("cpu", "CPU", "The processor"),
    ("cuda", "CUDA", "An NVIDIA graphics card"),
    ("mps", "Metal", "An Apple graphics processor"),
]
LOG_LEVELS = [
    ("ERROR", "Errors", "Only what went wrong"),
    ("WARNING", "Warnings", "What went wrong or may have"),
    ("INFO", "Information", "What a capture does"),
    ("DEBUG", "Everything", "For reporting a bug"),
]


def _log_level_changed(self: "CapturePreferences", _context: bpy.types.Context) -> None:
    set_log_level(self.log_level)


class CapturePreferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    device: bpy.props.EnumProperty(name="Device", description="What a capture runs on", items=DEVICES, default="auto")
    model_folder: bpy.props.StringProperty(name="Model Folder", description="Further models, as .safetensors files", subtype="DIR_PATH")
    log_level: bpy.props.EnumProperty(
        name="Log", description="How much is written to Blender's console", items=LOG_LEVELS, default="WARNING", update=_log_level_changed
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "device")
        layout.prop(self, "model_folder")
        layout.prop(self, "log_level")
        layout.operator("wm.capture_copy_diagnostics")
        if missing := missing_message():
            box = layout.box()
            for line in missing.splitlines():
                box.label(text=line)
            box.operator("wm.capture_copy_install_command")


def preferences(context: bpy.types.Context | None = None) -> CapturePreferences | None:
    """The extension's preferences, or None where it runs without being enabled as one (`python -m mocap_anything`)."""
    addon = (context or bpy.context).preferences.addons.get(PACKAGE)
    return addon.preferences if addon is not None else None


def apply() -> None:
    """Put the stored preferences to work."""
    if (chosen := preferences()) is not None:
        set_log_level(chosen.log_level)


CLASSES = (CapturePreferences,)
