"""Build the extension's zip with Blender's own builder: python tools/build_zip.py [OUTPUT_FOLDER]."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "out")
    out.mkdir(parents=True, exist_ok=True)
    # the builder is plain Python inside Blender: the same code as `blender --command extension build`
    builder = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    return subprocess.call([sys.executable, str(builder), "build", "--source-dir", str(ROOT), "--output-dir", str(out)])


if __name__ == "__main__":
    sys.exit(main())
