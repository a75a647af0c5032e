"""`batch JOBS.toml|DIR`: many captures in one command, in this process or in workers, with a journal that outlives it."""

from __future__ import annotations

import argparse
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..backend.batch.jobs import Job, JobsError, read_jobs
from ..backend.batch.journal import Journal, alone
from ..backend.batch.workers import Answer, Worker, WorkerProcess, answer, run_all
from ..backend.errors import CaptureCancelled, CaptureError
from . import command_line
from .scene_capture import prepare

log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Make the command known to the command line."""
    batch = commands.add_parser("batch", help="capture many clips onto many rigs", description="Capture many clips onto many rigs.")
    batch.add_argument("jobs", type=Path, metavar="JOBS.toml|DIR", help="what to capture; of a folder: each of its videos onto each of its scenes")
    batch.add_argument("--output", type=Path, metavar="DIR", help="folder of the results and of the journal (default: JOBS_results)")
    batch.add_argument("--workers", type=_count, default=1, metavar="N", help="processes, each with its own model in memory (default: 1)")
    batch.add_argument("--retries", type=_count, default=1, metavar="N", help="how often a failed job is tried again (default: 1)")
    batch.add_argument("--check", action="store_true", help="only check all jobs, and list those that are left to do")
    batch.add_argument("--part", type=_part, default=(1, 1), metavar="I/N", help="only every Nth job, from the Ith: for a render farm's tasks")
    batch.add_argument("--ray", metavar="ADDRESS", help='run the workers on a Ray cluster; "local" starts one on this machine')
    batch.add_argument("--only-summary", action="store_true", help="only write the summary of what was done")
    batch.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    batch.add_argument("--verbose", action="store_true", help="log what happens, and show where an error comes from")
    batch.set_defaults(run=run)


def _count(text: str) -> int:
    if (value := int(text)) < 0:
        raise ValueError
    return value


def _part(text: str) -> tuple[int, int]:
    index, count = (int(word) for word in text.split("/"))
    if not 1 <= index <= count:
        raise ValueError
    return index, count


def run(arguments: argparse.Namespace) -> int:
    """Check all jobs, then do those that are left; returns 0 only if all are done at the end."""
    jobs = read_jobs(arguments.jobs)
    folder = (arguments.output or arguments.jobs.with_name(f"{arguments.jobs.absolute().stem}_results")).absolute()
    journal = Journal(folder)
    if arguments.worker:
        return _serve(jobs, folder)
    index, count = arguments.part
    part = jobs[index - 1 :: count]
    if arguments.only_summary:
        return _conclude(folder, jobs, part)
    left = [job for job in part if journal.standing(job).state != "done"]
    # what a run was killed over goes last, lest it be what killed it
    left.sort(key=lambda job: journal.standing(job).state == "started")
    check(left, folder)
    _tell(f"{len(part) - len(left)} of {len(part)} jobs are done already" if len(left) < len(part) else f"{len(part)} jobs")
    if arguments.check:
        print(*(job.name for job in left), sep="\n")
        return 0
    with alone(folder, f"part-{index}-of-{count}"):
        _do(left, folder, arguments)
        return _conclude(folder, jobs, part)


def check(jobs: Sequence[Job], folder: Path) -> None:
    """Read every job's scene, clip and references as its capture will, and raise a CaptureError that lists all that is wrong."""
    from ..backend.capture import model_path

    faults = []
    opened = None
    for job in sorted(jobs, key=lambda job: job.scene):
        try:
            arguments = command_line.make_parser().parse_args(job.arguments(folder))
            if job.scene != opened:
                command_line.open_scene(job.scene)
                opened = job.scene
            armature = command_line.find_armature(bpy.context.scene, arguments.armature)
            options = command_line.options_of(arguments, bpy.context.scene, armature)
            if not model_path(options.settings.model).is_file():
                raise CaptureError(f"There is no model '{options.settings.model}'. Name a bundled model or give a .safetensors file.")
            prepare(bpy.context.scene, armature, options)
        except (CaptureError, command_line.UsageError) as error:
            faults.append(f"  {job.name}: {error}")
    if faults:
        log.debug("%d of %d jobs are wrong", len(faults), len(jobs))
        raise JobsError(f"{len(faults)} of {len(jobs)} jobs cannot be captured; nothing was started.\n" + "\n".join(faults))


def _do(jobs: Sequence[Job], folder: Path, arguments: argparse.Namespace) -> None:
    """Run all jobs and say what comes of each."""
    by_name, journal = {job.name: job for job in jobs}, Journal(folder)
    workers = _workers(folder, arguments, min(max(arguments.workers, 1), max(len(jobs), 1)))
    for number, said in enumerate(run_all([job.name for job in jobs], workers, arguments.retries), 1):
        job = by_name[said.job]
        if said.error and journal.standing(job).state == "started":  # it could not say so itself
            journal.write(job, "failed", error=said.error)
        _tell(f"{number}/{len(jobs)}  {said.job}  {'failed: ' + said.error if said.error else 'done'}")


def _workers(folder: Path, arguments: argparse.Namespace, count: int) -> Sequence[Worker]:
    command = [*worker_command(), "batch", str(arguments.jobs.absolute()), "--output", str(folder), "--worker"]
    if arguments.ray:
        from ..backend.batch.on_ray import ray_workers

        return ray_workers(command, count, arguments.ray)
    return [WorkerProcess(command) for _ in range(count)]


def worker_command() -> list[str]:
    """The command line that starts this command in a process of its own, in the Blender that runs now."""
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "--background", "--command", command_line.COMMAND]
    return [sys.executable, "-m", __package__.rpartition(".")[0]]


def _serve(jobs: Sequence[Job], folder: Path) -> int:
    """A worker: jobs' names come in, answers go out; when the input ends, so does the worker, whatever it was doing."""
    by_name, names = {job.name: job for job in jobs}, queue.SimpleQueue[str | None]()

    def listen() -> None:
        for line in sys.stdin:
            names.put(line.strip())
        # whoever gave the jobs is gone, and may have been started again: the job in hand must not go on beside its successor
        os._exit(command_line.INTERRUPTED)

    threading.Thread(target=listen, daemon=True).start()
    loader = _model_loader()
    while (name := names.get()) is not None:
        answer(sys.__stdout__ or sys.stdout, do_job(by_name[name], folder, loader))
    return 0


def _model_loader() -> Callable[..., Any]:
    """Reads a model once and keeps the last one."""
    from functools import lru_cache

    from ..backend.model.checkpoint import load_model

    return lru_cache(maxsize=1)(load_model)


def do_job(job: Job, folder: Path, loader: Callable[..., Any]) -> Answer:
    """Capture one job and journal it. Raises CaptureCancelled or KeyboardInterrupt when interrupted."""
    journal, begin = Journal(folder), time.perf_counter()
    journal.write(job, "started")
    own = folder / job.name
    own.mkdir(parents=True, exist_ok=True)
    for torn in own.glob(".*.partial*"):
        torn.unlink(missing_ok=True)
    try:
        command_line.capture(command_line.make_parser().parse_args(job.arguments(folder)), loader, job.name)
    except (CaptureCancelled, KeyboardInterrupt):
        raise
    except Exception as error:
        log.debug("%s failed", job.name, exc_info=True)
        reason = str(error) if isinstance(error, CaptureError) else f"unexpected {type(error).__name__}: {error}"
        journal.write(job, "failed", error=reason, seconds=round(time.perf_counter() - begin, 2))
        return Answer(job.name, reason)
    journal.write(job, "done", seconds=round(time.perf_counter() - begin, 2))
    return Answer(job.name)


def _conclude(folder: Path, jobs: Sequence[Job], part: Sequence[Job]) -> int:
    from ..backend.batch.summary import write_summary

    page, _ = write_summary(folder, jobs)
    journal = Journal(folder)
    failed = [job.name for job in part if journal.standing(job).state != "done"]
    _tell(f"{len(part) - len(failed)} of {len(part)} jobs are done" + (f", not done: {', '.join(failed)}" if failed else ""))
    print(page)
    return command_line.FAILED if failed else 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
