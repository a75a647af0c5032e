"""Blender as a module under pytest: user files in a temporary folder, an empty scene per test, the extension enabled once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import bpy

# read by Blender when it is first imported: nothing of the user's is touched and nothing of the user's changes a test
os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp(prefix="mocap-anything-blender-"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
# run inside a Blender with a window by `make test-blender`
collect_ignore = ["gui"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of rigs and footage beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared")
    return folder


@pytest.fixture(scope="session")
def extension() -> Iterator[None]:
    """The extension, enabled as Blender enables an add-on."""
    import addon_utils

    assert addon_utils.enable("mocap_anything", default_set=True) is not None, "the extension does not enable"
    yield
    addon_utils.disable("mocap_anything", default_set=True)


@pytest.fixture
def scene(extension: None) -> bpy.types.Scene:
    """An empty scene; the preferences stay, so the extension stays enabled."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene
