"""What is installed, what is missing and how to get it; a short memory of the log for bug reports."""

from __future__ import annotations

import collections
import importlib.util
import logging
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import bpy
import numpy

PACKAGE = (__package__ or "").rpartition(".")[0]
# module → what pip calls it
REQUIRED = {"torch": "torch", "av": "av", "safetensors": "safetensors", "PIL": "pillow", "cv2": "opencv-python-headless"}

log = logging.getLogger(__name__)


class _Memory(logging.Handler):
    """The last lines of the log."""

    def __init__(self, lines: int) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: collections.deque[str] = collections.deque(maxlen=lines)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


_memory = _Memory(300)
_console = logging.StreamHandler()
_console.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def start_logging(level: str = "WARNING") -> None:
    """Show the package's log on the console from `level` on, and remember its last lines."""
    logger = logging.getLogger(PACKAGE)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in (_memory, _console):
        if handler not in logger.handlers:
            logger.addHandler(handler)
    set_log_level(level)


def stop_logging() -> None:
    logger = logging.getLogger(PACKAGE)
    for handler in (_memory, _console):
        logger.removeHandler(handler)
    logger.propagate = True


def set_log_level(level: str) -> None:
    _console.setLevel(level)


@cache
def _installed(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


def missing_modules() -> list[str]:
    """What a capture needs and this Python does not have, as pip calls it; found without importing anything."""
    return [pip_name for module, pip_name in REQUIRED.items() if not _installed(module)]


def forget_missing() -> None:
    """Look again next time: the user may have installed something since."""
    _installed.cache_clear()
    importlib.invalidate_caches()


def install_command() -> str:
    """The command that installs what is missing where this Blender finds it."""
    words = [sys.executable, "-m", "pip", "install"]
    if bpy.app.binary_path:
        # an installed Blender's own folder is often read-only; it looks for modules in the user's scripts folder too
        words += ["--target", str(Path(bpy.utils.user_resource("SCRIPTS", path="modules")))]
    # and the numpy that is here: with --target, pip would bring another, which Blender's own modules may not stand
    words += [*missing_modules(), f"numpy=={numpy.__version__}"]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def missing_message() -> str:
    """What is missing and how to get it, in a few lines; empty if nothing is."""
    names = missing_modules()
    if not names:
        return ""
    python = f"Blender {bpy.app.version_string}'s Python {platform.python_version()}"
    return f"{', '.join(names)} missing in {python}.\nRun this in a terminal, then start Blender again:\n{install_command()}"


def _version(module: str) -> str:
    import importlib.metadata  # slow to load, and needed for a bug report alone

    try:
        return importlib.metadata.version(REQUIRED.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "installed" if _installed(module) else "missing"


def _devices() -> str:
    if not _installed("torch"):
        return "unknown without torch"
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def extension_version() -> str:
    import tomllib

    manifest = Path(__file__).resolve().parent.parent / "blender_manifest.toml"
    return str(tomllib.loads(manifest.read_text("utf-8"))["version"])


def diagnostics() -> str:
    """All that a bug report needs; no path of the user's files save what the log says."""
    lines = [
        f"Capture from Video {extension_version()}",
        f"Blender {bpy.app.version_string}{'' if bpy.app.binary_path else ' as a module'}",
        f"Python {platform.python_version()} on {platform.platform()} {platform.machine()}",
        *(f"{module} {_version(module)}" for module in ("numpy", *REQUIRED)),
        f"devices: {_devices()}",
        "log:",
        *(_memory.lines or ["(empty)"]),
    ]
    return "\n".join(lines)
