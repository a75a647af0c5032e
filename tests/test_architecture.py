"""The house rules: who may import whom, what enabling the extension may load, how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("addon", "backend", "training")
# which rooms a room may import, besides itself
ALLOWED_ROOMS = {"addon": {"backend"}, "backend": set(), "training": {"backend"}}
# training bakes assets through the add-on's own reader of rigs
ALLOWED_MODULES = {"training": {"addon.rig_reader", "addon.rig_mesh", "addon.blender_versions"}}
FORBIDDEN = {"backend": {"bpy", "mathutils", "bpy_extras", "numba", "scipy", "tqdm"}, "addon": {"numba", "scipy", "cv2", "tqdm"}, "training": set()}
HEAVY = {"torch", "av", "PIL", "safetensors", "cv2"}


def modules(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module as an absolute dotted name (ours without the package's own name), and whether it is imported on loading."""
    package = path.relative_to(ROOT).parts[:-1]
    tree = ast.parse(path.read_text("utf-8"), str(path))
    lazy = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for inner in ast.walk(node)}
    conditions = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    typing_only = {id(inner) for node in conditions if "TYPE_CHECKING" in ast.unparse(node.test) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        on_loading = id(node) not in lazy and id(node) not in typing_only
        if isinstance(node, ast.Import):
            yield from ((alias.name, on_loading) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield (name, on_loading)
            # `from . import a, b`: the names are modules themselves
            if node.level:
                yield from ((f"{name}.{alias.name}".lstrip("."), on_loading) for alias in node.names)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "mocap_anything":
        parts = parts[1:]
    return parts[0] if parts and parts[0] in ROOMS else None


def all_imports(room: str) -> Iterator[tuple[str, str, bool]]:
    for path in modules(room):
        for name, on_loading in imports(path):
            yield str(path.relative_to(ROOT)), name, on_loading


def may_import(room: str, name: str) -> bool:
    other = room_of(name)
    exceptions = ALLOWED_MODULES.get(room, set())
    excepted = any(name == module or name.startswith(module + ".") or module.startswith(name + ".") for module in exceptions)
    return name.split(".")[0] not in FORBIDDEN[room] and (other in (None, room) or other in ALLOWED_ROOMS[room] or excepted)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    wrong = [f"{path} imports {name}" for path, name, _ in all_imports(room) if not may_import(room, name)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_own_modules_are_imported_relatively(room: str) -> None:
    wrong = [f"{path} imports {name}" for path, name, _ in all_imports(room) if name.split(".")[0] == "mocap_anything"]
    assert not wrong, "\n".join(wrong)


def test_addon_loads_nothing_heavy_at_import() -> None:
    wrong = [f"{path} imports {name}" for path, name, on_loading in all_imports("addon") if on_loading and name.split(".")[0] in HEAVY]
    assert not wrong, "\n".join(wrong)


def test_enabling_the_extension_loads_no_torch() -> None:
    """What makes enabling slow are these libraries; a clock would only measure the machine."""
    code = f"import sys, bpy, mocap_anything; mocap_anything.register(); print([m for m in {sorted(HEAVY)} if m in sys.modules]); mocap_anything.unregister()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[]"


def test_every_package_is_listed_for_installation() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    found = {".".join(("mocap_anything", *path.parent.relative_to(ROOT).parts)) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    assert listed == {"mocap_anything"} | found


def test_no_module_is_too_long() -> None:
    long = {str(path.relative_to(ROOT)): lines for room in ROOMS for path in modules(room) if (lines := len(path.read_text("utf-8").splitlines())) > 500}
    assert not long
