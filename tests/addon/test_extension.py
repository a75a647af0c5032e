"""The zip that users install: built by Blender's builder, installed by Blender's installer, enabled in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

INSTALL = """
import sys, bpy, addon_utils
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True, overwrite=True)
name = "bl_ext.user_default.mocap_anything"
assert name in bpy.context.preferences.addons
print("HEAVY", [m for m in ("torch", "av", "PIL", "safetensors", "cv2") if m in sys.modules])
print("PREFERENCES", bpy.context.preferences.addons[name].preferences.device)
print("OPERATOR", bpy.types.Operator.bl_rna_get_subclass_py("ARMATURE_OT_capture_from_video").__module__)
print("PROPERTIES", bpy.types.Object.bl_rna.properties["mocap_anything"].fixed_type.identifier)
for _ in range(2):
    addon_utils.disable(name)
    assert bpy.types.Operator.bl_rna_get_subclass_py("ARMATURE_OT_capture_from_video") is None
    assert "mocap_anything" not in bpy.types.Object.bl_rna.properties
    assert addon_utils.enable(name) is not None
addon_utils.disable(name)
"""


@pytest.fixture(scope="module")
def zip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zip")
    result = subprocess.run([sys.executable, str(ROOT / "tools" / "build_zip.py"), str(out)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = out.glob("*.zip")
    return path


def test_zip_holds_what_a_capture_needs_and_no_more(zip_file: Path) -> None:
    names = zipfile.ZipFile(zip_file).namelist()
    for needed in ("__init__.py", "blender_manifest.toml", "LICENSE", "addon/operators.py", "backend/rig.py"):
        assert needed in names
    assert {name.split("/")[0] for name in names if "/" in name} <= {"addon", "backend", "assets"}
    assert zip_file.stat().st_size < 60e6


def test_zip_installs_enables_and_disables(zip_file: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", INSTALL, str(zip_file)], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "HEAVY []" in result.stdout
    assert "PREFERENCES auto" in result.stdout
    assert "OPERATOR bl_ext.user_default.mocap_anything.addon" in result.stdout
    assert "PROPERTIES CaptureProperties" in result.stdout


def test_manifest_and_project_agree() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert manifest["version"] == project["version"]
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"files", "clipboard"}
    assert all(len(reason) <= 64 and not reason.endswith(".") for reason in manifest["permissions"].values())
