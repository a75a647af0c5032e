"""`python -m mocap_anything`: the command line with Blender as a module."""

import sys


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


if __name__ == "__main__":
    sys.exit(main())
