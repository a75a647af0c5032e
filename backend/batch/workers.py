"""Worker processes of a batch: each takes one job after another, holds its model all the while, and is replaced when it dies."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

log = logging.getLogger(__name__)

# before a worker's answers, since Blender prints what it likes as well
MARK = "@mocap_anything "


@dataclass(frozen=True)
class Answer:
    """What came of one job. error: empty where it is done."""

    job: str
    error: str = ""


class Worker(Protocol):
    """Something that does one job at a time."""

    def run(self, job: str) -> Answer: ...

    def close(self) -> None: ...


class WorkerProcess:
    """The command line as a worker: a job's name goes in, a line of JSON comes out. Closing its input ends it, also in the middle of a job."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[str] | None = None

    def run(self, job: str) -> Answer:
        """Do a job; a worker that dies over it is a failed job, and the next job gets a new one."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
            log.info("Worker %d started", process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{job}\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(MARK):
                    return Answer(**json.loads(line.removeprefix(MARK)))
        except OSError:
            pass  # it is gone, which the exit code tells better
        code = process.wait()
        self._process = None
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return Answer(job, f"The worker process ended in the middle of the job ({how}). It may have run out of memory; use fewer --workers.")

    def close(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def answer(stream: IO[str], said: Answer) -> None:
    """A worker's side: say what came of a job."""
    stream.write(f"{MARK}{json.dumps({'job': said.job, 'error': said.error})}\n")
    stream.flush()


def run_all(jobs: Sequence[str], workers: Sequence[Worker], retries: int) -> Iterator[Answer]:
    """Hand out jobs to workers, and yield the last answer for each as it comes; a failed job is tried `retries` times more, after the others.

    Ending the iteration early ends the workers, in the middle of their jobs if need be.
    """
    waiting: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[str, int, Answer | BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()
    for job in jobs:
        waiting.put((job, 0))

    def serve(worker: Worker) -> None:
        while (task := waiting.get()) is not None and not stopped.is_set():
            try:
                answers.put((*task, worker.run(task[0])))
            except BaseException as error:  # whatever it was, the batch has to hear of it
                answers.put((*task, error))

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        left = len(jobs)
        while left:
            job, attempt, said = _take(answers)
            if isinstance(said, BaseException):
                raise said
            if said.error and attempt < retries:
                log.warning("%s failed and is tried again: %s", job, said.error)
                waiting.put((job, attempt + 1))
                continue
            left -= 1
            yield said
    finally:
        stopped.set()
        for _ in threads:
            waiting.put(None)
        for worker in workers:
            worker.close()


def _take(answers: queue.SimpleQueue[tuple[str, int, Answer | BaseException]]) -> tuple[str, int, Answer | BaseException]:
    """The next answer; woken now and then, since an interrupt is not heard while a thread waits for ever on some systems."""
    while True:
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            continue
