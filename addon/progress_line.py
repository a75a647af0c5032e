"""How far a capture is, on stderr."""

from __future__ import annotations

import sys

from ..backend.progress import Progress


class ProgressLine:
    """Stage and percentage on stderr: a line that is overwritten on a terminal, a line per stage and tenth elsewhere."""

    def __init__(self, label: str = "") -> None:
        self._shown: tuple[str, int] = ("", -1)
        self._label = f"{label}  " if label else ""
        self._terminal = sys.stderr.isatty() and not label

    def __call__(self, progress: Progress) -> None:
        step = int(progress.fraction * (100 if self._terminal else 10))
        if (progress.stage, step) == self._shown:
            return
        self._shown = (progress.stage, step)
        line = f"{progress.fraction:4.0%}  {progress.stage}"
        if self._terminal:
            print(f"\r{line:<70}", end="\n" if progress.fraction >= 1 else "", file=sys.stderr, flush=True)
        else:
            print(f"{self._label}{line}", file=sys.stderr, flush=True)
