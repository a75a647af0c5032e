"""Capture the bundled sample clip onto the bundled sample rig: python tools/demo.py [OUTPUT_FOLDER]."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "assets" / "sample"
RESULTS = {
    "--output": "captured.blend", "--export": "captured.bvh", "--preview": "preview.mp4", "--contact-sheet": "contact-sheet.png", "--report": "report.json",
}


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "out" / "demo")
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mocap_anything", "capture", str(SAMPLE / "sample.blend"), "--video", str(SAMPLE / "sample.mp4")]
    for option, name in RESULTS.items():
        command += [option, str(out / name)]
    started = time.perf_counter()
    code = subprocess.call(command, stdout=subprocess.DEVNULL)
    if code:
        return code
    print("\nThe sample was captured:")
    for name in RESULTS.values():
        place = out / name
        print(f"  {place}  ({place.stat().st_size / 1e6:.2f} MB)")
    print("Seconds per stage:")
    seconds = json.loads((out / "report.json").read_text("utf-8"))["seconds"]
    for stage, value in seconds.items():
        print(f"  {value:8.2f}  {stage}")
    print(f"  {time.perf_counter() - started:8.2f}  altogether, Blender's start included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
