"""The zip in a real Blender with a window; run by `make test-blender`.

Each Blender lives in a Debian system of its own (BLENDER_CHROOT). The steps inside Blender are in `drive.py`; what they leave is judged
here, and the pictures in out/gui are for looking at.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROOT = Path(os.environ.get("BLENDER_CHROOT", ""))
SAMPLE = ROOT / "assets" / "sample"
DISPLAY = ":97"
INSIDE = "/tmp/mocap-anything"


def in_chroot(*command: str, timeout: int = 1800) -> subprocess.CompletedProcess[str]:
    """Run inside, with Blender's user files in the folder of the test."""
    environment = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", f"BLENDER_USER_RESOURCES={INSIDE}/user", f"DISPLAY={DISPLAY}"]
    return subprocess.run(["chroot", str(CHROOT), *environment, *command], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def inside() -> Path:
    """A fresh folder inside, with the zip, the sample and the steps."""
    folder = CHROOT / INSIDE.lstrip("/")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (zip_file,) = (ROOT / "out").glob("mocap_anything-*.zip")
    for path in (zip_file, SAMPLE / "sample.blend", SAMPLE / "sample.mp4", Path(__file__).with_name("drive.py"), Path(__file__).parents[1] / "conftest.py"):
        shutil.copy(path, folder / ("extension.zip" if path == zip_file else path.name))
    return folder


@pytest.fixture(scope="module")
def installed(inside: Path) -> str:
    """Blender's version, once its own command has installed and enabled the zip."""
    result = in_chroot("blender", "--command", "extension", "install-file", "-r", "user_default", "-e", f"{INSIDE}/extension.zip")
    assert result.returncode == 0, result.stdout + result.stderr
    return in_chroot("blender", "-b", "--version").stdout.splitlines()[0].removeprefix("Blender ")


@pytest.fixture(scope="module")
def seen(inside: Path, installed: str) -> dict[str, object]:
    """What happened in the window; the pictures are copied to out/gui/VERSION."""
    screen = subprocess.Popen(
        ["chroot", str(CHROOT), "Xvfb", DISPLAY, "-screen", "0", "1600x900x24", "+extension", "GLX", "-nolisten", "tcp"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    out = ROOT / "out" / "gui" / installed.split()[0]
    try:
        result = in_chroot("blender", "--window-geometry", "0", "0", "1600", "900", f"{INSIDE}/sample.blend", "-P", f"{INSIDE}/drive.py")
    finally:
        screen.terminate()
        screen.wait()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        for picture in inside.glob("*.png"):
            shutil.copy(picture, out)
    log = result.stdout + result.stderr
    (out / "log.txt").write_text(log)
    story = inside / "story.json"
    assert story.exists(), log[-5000:]
    told = json.loads(story.read_text())
    assert "failed" not in told, told["failed"]
    assert "Traceback" not in log, "drawing a panel must not fail either"
    print(installed, {key: value for key, value in told.items() if key.startswith("seconds")})
    return told


def test_panel_is_there(seen: dict[str, object]) -> None:
    assert seen["panel"] == "Capture"
    assert seen["torch loaded on enabling"] is False


def test_the_button_leads_to_keys(seen: dict[str, object]) -> None:
    assert seen["progress seen"]
    assert seen["action after"] == "sample"
    assert seen["keys"] > 100
    assert seen["pose moves"]
    assert seen["stashed"]


def test_undo_is_one_step(seen: dict[str, object]) -> None:
    assert seen["changed after undo"] == []


def test_escape_leaves_everything(seen: dict[str, object]) -> None:
    assert seen["running when escape was pressed"] is True
    assert seen["changed after cancel"] == []


def test_command_of_the_executable(inside: Path, installed: str) -> None:
    out = inside / "command.blend"
    result = in_chroot(
        "blender", "-b", f"{INSIDE}/sample.blend", "--command", "mocap_anything", "capture", "--video", f"{INSIDE}/sample.mp4", "--trim-end", "0.5",
        "--output", f"{INSIDE}/command.blend", "--report", f"{INSIDE}/command.json", "--export", f"{INSIDE}/joints.csv",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert out.is_file()
    assert json.loads((inside / "command.json").read_text())["blender"].startswith(installed.split()[0])
    failed = in_chroot("blender", "-b", "--command", "mocap_anything", "capture", f"{INSIDE}/sample.blend", "--video", f"{INSIDE}/none.mp4")
    assert failed.returncode == 1
    assert "mocap_anything: error: There is no file" in failed.stderr


def test_joints_solve_in_the_executable(inside: Path, installed: str) -> None:
    if not (inside / "joints.csv").exists():
        pytest.skip("the capture that writes them was not run")
    result = in_chroot(
        "blender", "-b", f"{INSIDE}/sample.blend", "--command", "mocap_anything", "solve", "--joints", f"{INSIDE}/joints.csv",
        "--output", f"{INSIDE}/solved.blend", "--report", f"{INSIDE}/solved.json",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (inside / "solved.blend").is_file()
    report = json.loads((inside / "solved.json").read_text())
    assert report["tracks"]["times"] > 10
    assert len(report["bones"]["keyed"]) > 20
    assert report["error"]["largest"] < 1e-3, "the joints were this rig's own"
