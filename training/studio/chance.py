"""Random numbers on a device, from a seed."""

from __future__ import annotations

import torch
from torch import Tensor


class Chance:
    """A generator on a device: the same seed gives the same pictures there."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self._generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, device=self.device)

    def integers(self, below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, generator=self._generator, device=self.device)

    def truth(self, share: float, *shape: int) -> Tensor:
        """Which are true, `share` of them."""
        return self.uniform(0, 1, *shape) < share
