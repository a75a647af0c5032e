"""What was done of a batch, on disk as it happens: killed at any moment, the next run knows all but the job in hand."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import CaptureError
from .jobs import Job

State = Literal["waiting", "started", "done", "failed"]
FOLDER = "journal"


@dataclass(frozen=True)
class Standing:
    """Where one job stands. attempts: how often it was started with its present inputs. record: the last line about it."""

    state: State
    attempts: int
    record: dict[str, Any]


class Journal:
    """A file of JSON lines for each job, since several machines may write at once where only renaming and appending by one are safe.

    Lines are flushed to the disk before the work goes on. A line that a kill tore off is skipped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self.batch = folder

    def write(self, job: Job, state: State, **facts: Any) -> None:
        """Append a line about a job; it is on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"), "job": job.name, "inputs": job.fingerprint(), "state": state,
            "worker": f"{socket.gethostname()}:{os.getpid()}", **facts,
        }  # fmt: skip
        with self._path(job).open("ab") as file:
            # always from the start of a line, whatever a kill left behind
            file.write(b"\n" + json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def records(self, job: Job) -> Iterator[dict[str, Any]]:
        """All whole lines about a job, oldest first."""
        try:
            lines = self._path(job).read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record

    def standing(self, job: Job) -> Standing:
        """Where the job stands with its present inputs; done only while its report is there."""
        inputs = job.fingerprint()
        records = [record for record in self.records(job) if record.get("inputs") == inputs]
        attempts = sum(record["state"] == "started" for record in records)
        done = [record for record in records if record["state"] == "done"]
        if done and job.places(self.batch)["report"].is_file():
            return Standing("done", attempts, done[-1])
        if not records or done:
            return Standing("waiting", attempts, {})
        return Standing(records[-1]["state"], attempts, records[-1])

    def _path(self, job: Job) -> Path:
        return self.folder / f"{job.name}.jsonl"


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Hold a lock in the batch's folder; the system lets go of it when this process dies, however it dies.

    Raises CaptureError where another process holds it.
    """
    place = folder / FOLDER / f"{name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a+b") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise CaptureError(f"Another batch is running in '{folder}'. Wait until it has ended, or choose another --output.") from error
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
