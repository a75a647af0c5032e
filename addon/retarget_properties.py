"""What the user chose for retargeting onto one armature; no method and no callback, as in properties.py."""

import bpy

from .properties import INSERTABLE, LIMBS, OVERRIDABLE


class BoneLink(bpy.types.PropertyGroup):
    """One line of the list: a bone or a chain of each armature."""

    target: bpy.props.StringProperty(override=OVERRIDABLE, name="Bone", description="Bone that is keyed, or the first one of a chain")
    target_end: bpy.props.StringProperty(override=OVERRIDABLE, name="To", description="Last bone of the chain; empty for one bone")
    driving: bpy.props.StringProperty(override=OVERRIDABLE, name="Driven By", description="Bone whose turns are carried over, or the first one of a chain")
    driving_end: bpy.props.StringProperty(override=OVERRIDABLE, name="To", description="Last bone of the chain; empty for one bone")


class RetargetProperties(bpy.types.PropertyGroup):
    """Choices of a retargeting, as `Object.mocap_anything_retarget` of the armature that is keyed."""

    driving: bpy.props.PointerProperty(
        override=OVERRIDABLE, name="Driving Armature", description="Armature whose action is carried over", type=bpy.types.Object
    )
    use_pair_frame: bpy.props.BoolProperty(
        override=OVERRIDABLE,
        name="Keep Pair Frame", description="The poses that mean the same stand on a frame of their own, instead of the current one", default=False
    )
    pair_frame: bpy.props.IntProperty(override=OVERRIDABLE, name="Pair Frame", description="Frame on which both armatures are posed to mean the same")
    links: bpy.props.CollectionProperty(type=BoneLink, override=INSERTABLE)
    link_index: bpy.props.IntProperty(override=OVERRIDABLE, name="Link")
    use_scale: bpy.props.BoolProperty(
        override=OVERRIDABLE, name="Own Scale", description="Scale the travel by a number instead of by the length of the legs", default=False
    )
    scale: bpy.props.FloatProperty(
        override=OVERRIDABLE, name="Scale", description="How far the body travels for each unit that the driving one does", default=1.0, min=0.0
    )
    travel: bpy.props.BoolProperty(override=OVERRIDABLE, name="Travel", description="The body moves through the scene as the driving one does", default=True)
    limbs: bpy.props.EnumProperty(
        override=OVERRIDABLE, name="IK-FK", description="Limbs of rigs such as Rigify's: keyed on their FK controls, or on IK's, with FK's put to match",
        items=LIMBS,
        default="FK",
    )
    contacts: bpy.props.BoolProperty(
        override=OVERRIDABLE, name="Carry Contacts Over", description="Hold feet in place while the driving rig's feet stand", default=True
    )


CLASSES = (BoneLink, RetargetProperties)
