"""Which device a capture runs on, and the same result every time on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from .errors import CaptureError


def choose_device(name: str) -> torch.device:
    """auto: CUDA, then Apple's MPS, then the CPU; raises CaptureError where the wanted device is not there."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    if name not in ("cpu", "cuda", "mps"):
        raise CaptureError(f"There is no device '{name}'. Choose auto, cpu, cuda or mps.")
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        kind = "an NVIDIA card that this PyTorch can use" if name == "cuda" else "an Apple graphics chip that this PyTorch can use"
        raise CaptureError(f"The device '{name}' needs {kind}, and there is none here. Choose auto or cpu.")
    return torch.device(name)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether this CPU multiplies in bfloat16, for which pictures are exact enough; where it does not, bfloat16 would be slower."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every PyTorch
    return device.type == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def seed_everything() -> None:
    """A capture draws nothing at random; fixing the seed keeps that true of whatever a library draws."""
    torch.manual_seed(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """For many small steps: threads that wait for each other make them slower, on a busy machine ten times.

    And optical flow depends on their number, for each begins its search anew.
    """
    threads, others = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(others)
