"""What a run writes down: `log.jsonl`, the same for TensorBoard, and pictures of what the model says."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..backend.model.batch import ModelInput
from .data.sample import Truth

log = logging.getLogger(__name__)

_CLIPS, _CELL = 4, 192  # rows of a sheet, pixels of a picture
_FOUND, _TRUE = (255, 60, 60), (60, 255, 60)


class Journal:
    """A run's folder; what TensorBoard shows is in its folder `board`."""

    def __init__(self, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here: it takes a second, and a capture never needs it

        self.out, self.board = out, SummaryWriter(out / "board")

    def write(self, step: int, row: Mapping[str, object]) -> None:
        """A line of numbers; those of a validation have a text `set`."""
        row = {"step": step} | {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
        log.info(json.dumps(row))
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if isinstance(value, float):
                self.board.add_scalar(f"{row.get('set', 'train')}/{name}", value, step)
        self.board.flush()

    def show(self, step: int, name: str, sheet: np.ndarray) -> None:
        """A picture (H, W, 3) as `NAME-STEP.png`."""
        Image.fromarray(sheet).save(self.out / f"{name}-{step:06d}.png")
        self.board.add_image(name, sheet, step, dataformats="HWC")


def overlay(x: ModelInput, truth: Truth, uv: np.ndarray) -> np.ndarray:
    """Clips of a batch, a row each: the reference with its heads, then the frames with true heads (green) and a line to where uv (B, T, J, K, 2)
    has them (red)."""
    rows = []
    for clip in range(min(_CLIPS, len(x.images))):
        bones = np.flatnonzero(x.joint_mask[clip].numpy())
        heads = x.ref_uv[clip, 0, bones, 0].numpy()
        cells = [_drawn(x.ref_images[clip, 0].numpy(), heads, heads)]
        for image, true, found in zip(x.images[clip].numpy(), truth.uv[clip, :, bones, 0].numpy(), uv[clip][:, bones, 0], strict=True):
            cells.append(_drawn(image, true, found))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def _drawn(image: np.ndarray, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(S, S, 3) of a crop (3, H, W) 0..1 with points (J, 2) in shares of it."""
    picture = (np.moveaxis(image, 0, 2) * 255).round().clip(0, 255).astype(np.uint8)
    canvas = cv2.resize(picture, (_CELL, _CELL), interpolation=cv2.INTER_LINEAR)
    for start, end in zip(*(np.nan_to_num(points * _CELL).clip(-_CELL, 2 * _CELL).astype(int).tolist() for points in (true, found)), strict=True):
        cv2.line(canvas, start, end, _FOUND, 1, cv2.LINE_AA)
        cv2.circle(canvas, start, 2, _TRUE, -1, cv2.LINE_AA)
    return canvas
