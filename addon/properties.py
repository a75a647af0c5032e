"""What the user chose for one armature; it is stored with the armature object and so travels with the file.

No method and no callback of a property here: Blender 4.2 as a module crashes on exit when a property group holds any function.
"""

import bpy

from ..backend.settings import CaptureSettings

# the choices of a character that a shot links from a library are the shot's own
OVERRIDABLE, INSERTABLE = {"LIBRARY_OVERRIDABLE"}, {"LIBRARY_OVERRIDABLE", "USE_INSERTION"}

ROOT_ROTATIONS = [
    ("captured", "Captured", "The body turns as it does in the video"),
    ("yaw", "Yaw Only", "The body turns about the armature's up axis alone"),
    ("locked", "Locked", "The body keeps its orientation of the reference"),
]
ROOT_TRAVELS = [
    ("estimated", "Estimated", "The body moves through the scene, as seen by the scene camera"),
    ("in_place", "In Place", "The body stays where it stands in the reference"),
]
REFERENCE_KINDS = [
    ("auto", "Automatic", "Aligned if the scene camera's picture has the shape of the clip's, otherwise rendered"),
    ("aligned", "Aligned", "The rig is posed over the video's own frame through the scene camera, which is the accurate way"),
    ("rendered", "Rendered", "The rig may stand in any pose: it is found in the video by the subject's outline; less exact than a pose over the video"),
]
LIMBS = [
    ("FK", "FK", "Limbs that can be switched between IK and FK play by FK, whose controls alone are keyed"),
    ("IK", "IK", "Limbs that can be switched between IK and FK play by IK, and stand the same when they are switched; slower"),
]


class ReferenceFrame(bpy.types.PropertyGroup):
    """One frame on which the rig's pose is right."""

    frame: bpy.props.IntProperty(override=OVERRIDABLE, name="Frame", description="Scene frame on which the rig is posed as the subject is in the video")


class CaptureProperties(bpy.types.PropertyGroup):
    """A capture's choices, as `Object.mocap_anything` of an armature."""

    clip: bpy.props.StringProperty(
        override=OVERRIDABLE, name="Video",
        description="Video file, or one image of a numbered sequence",
        subtype="FILE_PATH",
    )
    at_scene_start: bpy.props.BoolProperty(
        override=OVERRIDABLE, name="At Scene Start", description="The video's first frame is the scene's first", default=True
    )
    start_frame: bpy.props.IntProperty(override=OVERRIDABLE, name="Start Frame", description="Scene frame of the video's first frame", default=1)
    use_trim: bpy.props.BoolProperty(override=OVERRIDABLE, name="Trim", description="Capture only a part of the video", default=False)
    trim_start: bpy.props.FloatProperty(
        override=OVERRIDABLE, name="From", description="Start of the captured part, in the video's time", unit="TIME_ABSOLUTE", min=0.0
    )
    trim_end: bpy.props.FloatProperty(
        override=OVERRIDABLE, name="To", description="End of the captured part, in the video's time", unit="TIME_ABSOLUTE", min=0.0, default=10.0
    )
    references: bpy.props.CollectionProperty(type=ReferenceFrame, override=INSERTABLE)
    reference_index: bpy.props.IntProperty(override=OVERRIDABLE, name="Reference")
    reference_kind: bpy.props.EnumProperty(
        override=OVERRIDABLE, name="References", description="Where a reference's picture comes from", items=REFERENCE_KINDS, default="auto"
    )
    model: bpy.props.StringProperty(
        override=OVERRIDABLE, name="Model", description="Name of a model, or the path of a .safetensors file", default=CaptureSettings.model
    )
    root_rotation: bpy.props.EnumProperty(
        override=OVERRIDABLE, name="Root Rotation", description="How the body as a whole turns", items=ROOT_ROTATIONS, default=CaptureSettings.root_rotation
    )
    root_travel: bpy.props.EnumProperty(
        override=OVERRIDABLE, name="Root Travel", description="How the body as a whole moves", items=ROOT_TRAVELS, default=CaptureSettings.root_travel
    )
    fit: bpy.props.BoolProperty(
        override=OVERRIDABLE,
        name="Fit to Video",
        description="Pose the rig frame by frame until it shows where the video shows it. Off, the model's own rotations are kept",
        default=CaptureSettings.fit,
    )
    refine: bpy.props.BoolProperty(
        override=OVERRIDABLE,
        name="Compare Skin",
        description="While fitting, draw the rig in the reference's colours and compare it with every frame too; limbs fit better, capturing takes longer",
        default=CaptureSettings.refine,
    )
    own_actions: bpy.props.BoolProperty(
        override=OVERRIDABLE,
        name="Learn from Actions",
        description="While fitting, expect the rig to move as it does in the file's other actions",
        default=CaptureSettings.own_actions,
    )
    library: bpy.props.StringProperty(
        override=OVERRIDABLE,
        name="Motions",
        description="While fitting, expect the rig to move as bodies like it do: a library's name, the path of an .npz file, or none",
        default=CaptureSettings.library,
    )
    contacts: bpy.props.BoolProperty(
        override=OVERRIDABLE, name="Hold Contacts", description="Hold feet that stand still in place", default=CaptureSettings.contacts
    )
    smoothing: bpy.props.FloatProperty(
        override=OVERRIDABLE, name="Smoothing",
        description="Length of the smoothing filter, zero for none",
        unit="TIME_ABSOLUTE",
        min=0.0,
        soft_max=1.0,
        default=CaptureSettings.smoothing,
    )
    limbs: bpy.props.EnumProperty(
        override=OVERRIDABLE, name="IK-FK", description="Limbs of rigs such as Rigify's: keyed on their FK controls, or on IK's, with FK's put to match",
        items=LIMBS,
        default="FK",
    )
    use_crop: bpy.props.BoolProperty(
        override=OVERRIDABLE, name="Subject Box", description="Say where the subject is at the first reference, instead of starting from the rig", default=False
    )
    crop: bpy.props.FloatVectorProperty(
        override=OVERRIDABLE, name="Box", description="Left, top, width and height in the video's pixels", size=4, min=0.0, default=(0.0, 0.0, 256.0, 256.0)
    )
    finished_action: bpy.props.PointerProperty(override=OVERRIDABLE, name="Finished", description="The last capture after clean-up", type=bpy.types.Action)
    raw_action: bpy.props.PointerProperty(override=OVERRIDABLE, name="Raw", description="The last capture as the model gave it", type=bpy.types.Action)
    summary: bpy.props.StringProperty(override=OVERRIDABLE, name="Result", description="What the last capture did")
    least_sure: bpy.props.StringProperty(override=OVERRIDABLE, name="Least Sure", description="Where the last capture is likeliest to be wrong")


def first_frame(chosen: CaptureProperties, scene: bpy.types.Scene) -> int:
    """Scene frame of the clip's first frame."""
    return scene.frame_start if chosen.at_scene_start else chosen.start_frame


def settings_of(chosen: CaptureProperties, device: str, model: str) -> CaptureSettings:
    """The choices in the backend's terms."""
    return CaptureSettings(
        device=device,  # type: ignore[arg-type]
        model=model,
        root_rotation=chosen.root_rotation,
        root_travel=chosen.root_travel,
        fit=chosen.fit,
        refine=chosen.refine,
        own_actions=chosen.own_actions,
        library=bpy.path.abspath(chosen.library) if chosen.library.startswith("//") else chosen.library,
        contacts=chosen.contacts,
        smoothing=chosen.smoothing,
        start=chosen.trim_start if chosen.use_trim else None,
        end=chosen.trim_end if chosen.use_trim else None,
        crop=tuple(chosen.crop) if chosen.use_crop else None,
    )


CLASSES = (ReferenceFrame, CaptureProperties)
