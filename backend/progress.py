"""One progress object and one cancel token, from the operator down to the model's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from .errors import CaptureCancelled

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """Where a capture stands.

    stage: name shown to the user, such as "Following the subject".
    fraction: share of the whole capture that is done, 0 to 1.
    frames_done, frames_total: within the stage; zero where frames mean nothing.
    """

    stage: str
    fraction: float
    frames_done: int = 0
    frames_total: int = 0


OnProgress = Callable[[Progress], None]


def drain(steps: Generator[Progress, None, Result], on_progress: OnProgress | None = None) -> Result:
    """Take all steps and return what comes of them; where on_progress raises, they are closed and put back what they changed."""
    with closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            if on_progress is not None:
                on_progress(progress)


class CancelToken:
    """Set from the UI thread, looked at in the worker's loops."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise CaptureCancelled if the user asked to stop."""
        if self._event.is_set():
            raise CaptureCancelled
