"""The same workers on a Ray cluster: Ray places them, restarts them, and shares out the machines; the jobs and the journal stay the same.

Every node needs this package and Blender (or `bpy`), and sees the scenes, clips and results under the same paths.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import CaptureError
from .workers import Answer, WorkerProcess

log = logging.getLogger(__name__)


class _NodeWorker(WorkerProcess):
    """A worker process beside the Ray process of some node."""

    def __init__(self, command: Sequence[str], interpreter: str) -> None:
        # the interpreter that gave the order has another place on this machine
        super().__init__([sys.executable if word == interpreter else word for word in command])


class RayWorker:
    """A worker somewhere on the cluster. If its node dies, the job in hand fails, and Ray starts another elsewhere for the next."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def run(self, job: str) -> Answer:
        import ray

        try:
            return ray.get(self.actor.run.remote(job))
        except ray.exceptions.RayActorError as error:
            log.debug("A worker of the cluster was lost", exc_info=True)
            return Answer(job, f"The worker on the cluster was lost in the middle of the job ({type(error).__name__}). Look at that node's memory and log.")

    def close(self) -> None:
        import ray

        if ray.is_initialized():
            ray.kill(self.actor)


def ray_workers(command: Sequence[str], count: int, address: str) -> list[RayWorker]:
    """`count` workers on the cluster at an address, or on one of this machine's own where the address is "local".

    Raises CaptureError where Ray is missing or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise CaptureError("Ray is not installed in this Python. Install it (pip install ray), or leave out --ray.") from error
    try:
        # a local one has as many slots as workers: they are processes that mostly wait for a worker process of their own
        options = {"num_cpus": count, "include_dashboard": False} if address == "local" else {}
        ray.init(address, ignore_reinit_error=True, log_to_driver=True, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise CaptureError(f"There is no Ray cluster at '{address}' ({error}). Check the address, or use --ray local.") from error
    gpus = ray.cluster_resources().get("GPU", 0.0)
    # graphics cards are shared evenly: several workers on one where there are fewer cards than workers
    actor = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count), max_restarts=-1, max_task_retries=0)(_NodeWorker)
    return [RayWorker(actor.remote(list(command), sys.executable)) for _ in range(count)]
