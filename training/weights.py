"""Weights of networks that training alone knows: one safetensors file in float16, with the config in the file's own metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..backend.errors import CaptureError


@dataclass(frozen=True)
class WeightsFile:
    """One kind of them. format: its mark in the file; what: its name for people; made_by: the command that writes one."""

    format: str
    what: str
    made_by: str

    def save(self, model: nn.Module, config: dict[str, Any], path: Path, metadata: dict[str, str] | None = None) -> None:
        state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
        save_file(state, str(path), metadata={"format": self.format, "config": json.dumps(config)} | (metadata or {}))

    def read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Config and weights in float32; raises CaptureError where the file is missing or another."""
        if not path.is_file():
            raise CaptureError(f"There is no {self.what} at '{path}'. Train one with `{self.made_by}`.")
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (no mapping, though it looks like one)
        if header.get("format") != self.format:
            raise CaptureError(f"'{path.name}' is not a {self.what}. Choose one that `{self.made_by}` wrote.")
        return json.loads(header["config"]), state
