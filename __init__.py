# SPDX-License-Identifier: GPL-3.0-or-later
"""MoCap Anything for Blender: capture any skeleton's motion from video."""


def register() -> None:
    from . import addon

    addon.register()


def unregister() -> None:
    from . import addon

    addon.unregister()
