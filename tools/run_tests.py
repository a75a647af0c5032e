"""The whole suite: `python tools/run_tests.py [pytest's options]`; with paths among them, plain pytest on those.

Blender as a module keeps the harm that one of its own operators does for the rest of the process: 4.2 dies now and then in edit mode long after
a glTF export. So each file that works in Blender has a process of its own, and one that Blender's death by a signal took down is run once more.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NOTHING_COLLECTED = 5


def groups() -> list[list[str]]:
    """What shares a process."""
    own = sorted(str(path.relative_to(ROOT)) for folder in ("addon", "training") for path in (ROOT / "tests" / folder).glob("test_*.py"))
    return [["tests/test_architecture.py", "tests/backend"], *([path] for path in own)]


def run(arguments: list[str]) -> int:
    """pytest's exit status; negative if a signal ended it twice."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status < 0:
        print(f"Blender died of signal {-status} in {' '.join(arguments)}: once more", flush=True)
        status = subprocess.run(command, cwd=ROOT).returncode
    return status


def main(arguments: list[str]) -> int:
    if any(not word.startswith("-") and (ROOT / word.split("::")[0]).exists() for word in arguments):
        return run(arguments)
    failed = []
    for group in groups():
        print("== " + " ".join(group), flush=True)
        if run([*group, *arguments]) not in (0, _NOTHING_COLLECTED):
            failed.append(" ".join(group))
    print("failed: " + ", ".join(failed) if failed else "all passed", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
