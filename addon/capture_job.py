"""A capture on a worker thread: the main thread asks how far it is, and may cancel it. Nothing here touches bpy."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from ..backend.errors import CaptureCancelled
from ..backend.progress import CancelToken, OnProgress, Progress, drain

if TYPE_CHECKING:
    from ..backend.capture import CaptureRequest, CaptureResult, ModelLoader

log = logging.getLogger(__name__)


class CaptureJob:
    """One capture, running.

    progress: the last that was heard of it. result: set when it is done. error: what ended it otherwise (CaptureCancelled too).
    """

    def __init__(self, request: CaptureRequest) -> None:
        self.request = request
        self.token = CancelToken()
        self.progress = Progress("Starting", 0.0)
        self.result: CaptureResult | None = None
        self.error: BaseException | None = None
        self._started = time.monotonic()
        self._messages: queue.SimpleQueue[Progress | CaptureResult | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to go, None while there is too little to judge by."""
        elapsed = time.monotonic() - self._started
        if self.progress.fraction < 0.02 or elapsed < 1.0:
            return None
        return elapsed * (1.0 - self.progress.fraction) / self.progress.fraction

    def start(self) -> None:
        self._started = time.monotonic()
        _started[:] = [job for job in _started if job._thread.is_alive()] + [self]
        self._thread.start()

    def restart_clock(self) -> None:
        """Estimate the time to go from now on: what comes after the worker has a pace of its own."""
        self._started = time.monotonic()

    def poll(self) -> None:
        """Take in what the worker said since the last time."""
        while True:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Progress):
                self.progress = message
            elif isinstance(message, BaseException):
                self.error = message
            else:
                self.result = message

    def cancel(self) -> None:
        self.token.cancel()

    def join(self, seconds: float) -> None:
        """Give the worker time to end."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _work(self) -> None:
        try:
            self._messages.put(run(self.request, self.token, self._messages.put))
        except CaptureCancelled as cancelled:
            self._messages.put(cancelled)
        except BaseException as error:  # whatever it was, the main thread has to hear of it
            log.debug("The capture ended with an error", exc_info=True)
            self._messages.put(error)


running: CaptureJob | None = None
"""The one that the user interface shows."""
_started: list[CaptureJob] = []
"""Also those that were cancelled and have not heard of it yet."""


def stop_running() -> None:
    """Cancel what runs and wait a moment: a thread that is still working while Blender quits may crash it."""
    for job in _started:
        job.cancel()
    for job in _started:
        job.join(5.0)


def run(
    request: CaptureRequest, token: CancelToken, on_progress: OnProgress, loader: ModelLoader | None = None
) -> CaptureResult:
    """The whole capture in the calling thread. Raises CaptureError or CaptureCancelled."""
    from ..backend.capture import capture

    def heard(progress: Progress) -> None:
        on_progress(progress)
        token.check()

    return drain(capture(request, token, loader), heard)
