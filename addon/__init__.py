"""All that touches bpy."""

from __future__ import annotations


def register() -> None:
    pass


def unregister() -> None:
    pass
