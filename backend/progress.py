"""One progress object and one cancel token, from the operator down to the model's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .errors import CaptureCancelled


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
