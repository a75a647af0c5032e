"""`retarget`: an action, or a video by way of a capture on the driving armature, onto another armature of the same scene."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bpy

from ..backend.errors import CaptureError
from ..backend.formats import EXPORT_SUFFIXES
from . import command_line
from .blender_versions import assign_action
from .export import ExportOptions, Outputs, export_motion, save_scene, writing
from .properties import LIMBS
from .retargeting import Retargeted, RetargetOptions, retarget_action


def add_parser(commands: Any) -> None:
    """Make the command known to the command line."""
    text = "carry a motion from one armature of a scene over to another"
    retarget = commands.add_parser("retarget", help=text, description=f"{text.capitalize()}.", allow_abbrev=False)
    retarget.add_argument("scene", nargs="?", type=Path, metavar="SCENE.blend", help="the scene (default: the file that Blender has open)")
    retarget.add_argument("--armature", required=True, metavar="NAME", help="the armature that is keyed")
    retarget.add_argument("--driving", required=True, metavar="NAME", help="the armature whose motion is carried over")
    source = retarget.add_mutually_exclusive_group()
    source.add_argument("--action", metavar="NAME", help="default: the driving armature's active one")
    source.add_argument("--video", type=Path, metavar="CLIP", help="capture this on the driving armature first, with what is stored with it")
    retarget.add_argument("--pair-frame", type=float, metavar="N", help="frame on which both are posed to mean the same (default: the scene's current)")
    retarget.add_argument("--links", type=Path, metavar="PRESET.json", help="which bones mean the same (default: those in the file, else proposed)")
    retarget.add_argument("--scale", type=float, metavar="X", help="of the travel (default: by the length of the legs)")
    retarget.add_argument("--travel", action=argparse.BooleanOptionalAction, default=True, help="move through the scene")
    retarget.add_argument("--contacts", action=argparse.BooleanOptionalAction, default=True, help="hold feet while the driving rig's stand")
    retarget.add_argument("--limbs", choices=[item for item, *_ in LIMBS], help="of control rigs: what limbs with both are switched to (default: as stored)")
    results = retarget.add_argument_group("results")
    results.add_argument("--output", type=command_line.file_type(".blend"), metavar="OUT.blend", help="default: SCENE_retargeted.blend")
    results.add_argument("--export", type=command_line.file_type(*EXPORT_SUFFIXES), metavar="OUT" + "|".join(EXPORT_SUFFIXES))
    results.add_argument("--save-links", type=command_line.file_type(".json"), metavar="OUT.json", help="the links that were used, as a preset")
    results.add_argument("--contact-sheet", type=command_line.file_type(".png"), metavar="OUT.png", help="both rigs at some times")
    retarget.add_argument("--verbose", action="store_true", help="log what happens, and show where an error comes from")
    retarget.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Open, capture if there is a video, carry over, write; returns 0."""
    if arguments.scene is not None:
        command_line.open_scene(arguments.scene)
    scene = bpy.context.scene
    target, driving = (command_line.find_armature(scene, name) for name in (arguments.armature, arguments.driving))
    with Outputs() as outputs:
        places = {place: outputs.add(place) for place in _places(arguments)}
        pair_frame = arguments.pair_frame
        if arguments.video is not None:
            captured_frame = command_line.capture_onto(scene, driving, arguments.video)
            pair_frame = captured_frame if pair_frame is None else pair_frame
        elif arguments.action is not None:
            _play(driving, arguments.action)
        limbs = arguments.limbs or target.mocap_anything_retarget.limbs
        options = RetargetOptions(pair_frame, _links(arguments, target), None, arguments.scale, arguments.travel, arguments.contacts, limbs)
        done = retarget_action(scene, target, driving, options)
        _write(places, arguments, target, done)
    for place in places:
        print(place)
    return 0


def _play(driving: bpy.types.Object, name: str) -> None:
    action = bpy.data.actions.get(name)
    if action is None:
        listed = ", ".join(f"'{each.name}'" for each in bpy.data.actions) or "none"
        raise CaptureError(f"There is no action '{name}' in the scene; there are: {listed}.")
    slots = [slot for slot in getattr(action, "slots", ()) if slot.target_id_type in ("OBJECT", "UNSPECIFIED")]
    assign_action(driving, action, slots[0] if slots else None)
    bpy.context.view_layer.update()


def _links(arguments: argparse.Namespace, target: bpy.types.Object) -> Any:
    from ..backend.retarget.links import load_links
    from .retarget_operators import chosen_links

    return load_links(arguments.links) if arguments.links else chosen_links(target.mocap_anything_retarget)


def _places(arguments: argparse.Namespace) -> list[Path]:
    wanted = [arguments.output, arguments.export, arguments.save_links, arguments.contact_sheet]
    if arguments.output is None and arguments.export is None:
        scene = arguments.scene or Path(bpy.data.filepath or "untitled.blend")
        wanted[0] = scene.with_name(f"{scene.stem}_retargeted.blend")
    return [place for place in wanted if place is not None]


def _write(places: dict[Path, Path], arguments: argparse.Namespace, target: bpy.types.Object, done: Retargeted) -> None:
    """Every result under its temporary name; the scene first, since exporting changes what is selected."""
    from ..backend.retarget.links import save_links
    from ..backend.retarget.sheet import poses_of, retarget_sheet

    for place, temporary in sorted(places.items(), key=lambda entry: entry[0].suffix != ".blend"):
        with writing(place):
            if place.suffix == ".blend":
                save_scene(temporary, place)
            elif place.suffix == ".json":
                save_links(temporary, done.links)
            elif place.suffix == ".png":
                rows = [(arguments.driving, done.driving, done.poses), (arguments.armature, done.target, poses_of(done.target.rig, done.motion))]
                retarget_sheet(temporary, rows, done.motion.times)
            else:
                first, last = done.written.action.frame_range
                export_motion(bpy.context, target, temporary, place, ExportOptions((first, last), first))
