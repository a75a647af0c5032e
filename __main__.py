"""`python -m mocap_anything`: the command line with Blender as a module."""

import os
import shutil
import sys
from typing import NoReturn


def main() -> int:
    try:
        import bpy  # noqa: F401  (first: nothing else works without it)
    except ImportError as error:
        print(f"mocap_anything: error: Blender as a Python module is needed (pip install bpy): {error}", file=sys.stderr)
        return 1
    from . import register, unregister
    from .addon.command_line import main as run

    register()
    try:
        return run(sys.argv[1:])
    finally:
        unregister()


def leave(code: int) -> NoReturn:
    """End without taking Blender down: once it has exported glTF, 4.2 crashes there and 4.5 hangs."""
    if "bpy" in sys.modules:
        shutil.rmtree(sys.modules["bpy"].app.tempdir, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
