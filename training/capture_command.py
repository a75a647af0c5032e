"""A capture through the real command line, as a user runs it, for evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = __name__.split(".", maxsplit=1)[0]


@dataclass(frozen=True)
class Captured:
    """What one capture left. blend: None where it failed; then error says why. seconds: wall clock, Blender's start included."""

    blend: Path | None
    error: str
    seconds: float
    report: dict[str, Any]


def capture(scene: Path, video: Path, out: Path, name: str, options: list[str], preview: bool = False) -> Captured:
    """Capture into out/NAME*: scene, report, contact sheet and, if wanted, the preview film, which may take longer than the capture."""
    out.mkdir(parents=True, exist_ok=True)
    blend, report = out / f"{name}.blend", out / f"{name}.json"
    places = ["--output", str(blend), "--report", str(report), "--contact-sheet", str(out / f"{name}.png")]
    places += ["--preview", str(out / f"{name}.mp4")] if preview else []
    command = [sys.executable, "-m", PACKAGE, "capture", str(scene), "--video", str(video), *places, *options]
    blend.unlink(missing_ok=True)
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    seconds = time.monotonic() - started
    if done.returncode != 0 or not blend.exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return Captured(None, lines[-1], seconds, {})
    return Captured(blend, "", seconds, json.loads(report.read_text()))
