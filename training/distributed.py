"""Several processes, one run: torch's own launcher starts them (`torchrun --nproc-per-node 2 -m mocap_anything.training.train …`).

Gradients are averaged by hand in one message a step: the trainer calls parts of the network, not one forward that a wrapper could hook.
On a CPU two processes of one thread each beat one of two threads, since they wait for each other once a step and not once an operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn


class Team:
    """This process's rank among `size` processes; alone unless a launcher says otherwise."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not dist.is_initialized():
            backend = "nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=timedelta(hours=1))

    @property
    def leads(self) -> bool:
        """Whether this process logs, validates and saves."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter], stop: bool = False) -> bool:
        """Mean of all processes' gradients, in place; returns whether any process wants to stop after this step."""
        if self.size == 1:
            return stop
        with_gradient = [p for p in parameters if p.requires_grad]
        flat = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in with_gradient]
        message = torch.cat([*flat, flat[0].new_tensor([float(stop)])])
        dist.all_reduce(message)
        offset = 0
        for parameter in with_gradient:
            count = parameter.numel()
            parameter.grad = message[offset : offset + count].view_as(parameter) / self.size
            offset += count
        return bool(message[-1] > 0)

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()
