"""Models on disk: one safetensors file holding weights and config, one card beside it. Never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ..calibration import Calibration
from ..errors import CaptureError
from ..settings import MODELS
from .config import ModelConfig
from .motion_prior import MotionPrior, PriorConfig
from .network import Video2Pose2Rot

FORMAT = "mocap_anything.v1"
PRIOR_FORMAT = "mocap_anything.motion_prior.v1"
Network = TypeVar("Network", bound=torch.nn.Module)


def save_model(model: Video2Pose2Rot, path: Path, metadata: dict[str, str] | None = None, half: bool = False) -> None:
    """Write weights (in float16 if half) with the config in the file's own metadata."""
    state = {k: (v.half() if half and v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
    header = {"format": FORMAT, "config": json.dumps(model.config.to_dict())} | (metadata or {})
    if model.calibration.measured:
        header["calibration"] = model.calibration.to_json()
    save_file(state, str(path), metadata=header)


def load_model(path: Path, device: torch.device | str = "cpu") -> Video2Pose2Rot:
    """Read a model written by save_model; raises CaptureError where the file is missing, damaged, or of another kind."""
    def make(header: dict[str, str]) -> Video2Pose2Rot:
        model = Video2Pose2Rot(ModelConfig.from_dict(json.loads(header["config"])))
        model.calibration = Calibration.from_json(header.get("calibration"))
        return model

    return _load(path, FORMAT, make, device)


def save_prior(model: MotionPrior, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a motion prior in float16, with its config in the file's own metadata."""
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(state, str(path), metadata={"format": PRIOR_FORMAT, "config": json.dumps(model.config.to_dict())} | (metadata or {}))


def load_prior(path: Path) -> MotionPrior:
    """Read what save_prior wrote; raises CaptureError as load_model does."""
    return _load(path, PRIOR_FORMAT, lambda header: MotionPrior(PriorConfig.from_dict(json.loads(header["config"]))), "cpu")


@cache
def bundled_prior() -> MotionPrior:
    """The motion prior that comes with the extension."""
    return load_prior(MODELS / "motion_prior.safetensors")


def _load(path: Path, kind: str, make: Callable[[dict[str, str]], Network], device: torch.device | str) -> Network:
    header, state = _read(path, kind)
    try:
        model = make(header)
        model.load_state_dict(state, strict=True)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise CaptureError(f"{path.name} was made for another version of the extension ({first}). Update the extension or choose another model.") from error
    return model.to(device).eval().requires_grad_(False)


def save_calibration(path: Path, calibration: Calibration, place: Path | None = None) -> None:
    """Put a calibration into a model file, or into a copy of it at `place`; the weights stay as they are, to the bit."""
    header, _ = _read(path, FORMAT)
    place = place or path
    partial = place.with_name(f".{place.name}.partial")  # the file that is read must not be the one that is written
    save_file(load_file(str(path)), str(partial), metadata=header | {"calibration": calibration.to_json()})
    partial.chmod(path.stat().st_mode)
    os.replace(partial, place)


def _read(path: Path, kind: str) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise CaptureError(f"The model file {path.name} is not in {path.parent}. Choose another model, or reinstall the extension to get the bundled one.")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (no mapping, though it looks like one)
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise CaptureError(f"The model file {path.name} is damaged and cannot be read ({error}). Download or install it again.") from error
    if header.get("format") != kind:
        raise CaptureError(f"{path.name} is not a model of this extension. Choose a file made for Capture from Video.")
    return header, state
