"""All that touches bpy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

log = logging.getLogger(__name__)

_undo: list[Callable[[], object]] = []


def register() -> None:
    """Make the extension known to Blender. Imports happen here, so that a part of the package can be used without the rest."""
    import bpy

    from . import (
        capture_job,
        capture_operator,
        command_line,
        operators,
        panels,
        preferences,
        properties,
        retarget_operators,
        retarget_panel,
        retarget_properties,
    )
    from .diagnostics import start_logging, stop_logging

    start_logging()
    _undo.append(stop_logging)
    classes = (*properties.CLASSES, *preferences.CLASSES, *operators.CLASSES, *capture_operator.CLASSES, *panels.CLASSES)
    for cls in (*classes, *retarget_properties.CLASSES, *retarget_operators.CLASSES, *retarget_panel.CLASSES):
        bpy.utils.register_class(cls)
        _undo.append(partial(bpy.utils.unregister_class, cls))
    bpy.types.Object.mocap_anything = bpy.props.PointerProperty(name="Capture from Video", type=properties.CaptureProperties, override=properties.OVERRIDABLE)
    _undo.append(lambda: delattr(bpy.types.Object, "mocap_anything"))
    bpy.types.Object.mocap_anything_retarget = bpy.props.PointerProperty(
        name="Retarget Action", type=retarget_properties.RetargetProperties, override=properties.OVERRIDABLE
    )
    _undo.append(lambda: delattr(bpy.types.Object, "mocap_anything_retarget"))
    command = bpy.utils.register_cli_command(command_line.COMMAND, command_line.main)
    _undo.append(lambda: bpy.utils.unregister_cli_command(command))
    bpy.types.VIEW3D_MT_pose.append(capture_operator.draw_menu_item)
    _undo.append(lambda: bpy.types.VIEW3D_MT_pose.remove(capture_operator.draw_menu_item))
    _undo.append(capture_job.stop_running)
    preferences.apply()


def unregister() -> None:
    while _undo:
        _undo.pop()()
