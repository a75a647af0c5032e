"""The network over a clip: one reference's view of windows with halo, in numpy at its edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from .body_points import Body, Crop
from .crop import crops
from .device import fast_bfloat16
from .model.batch import ModelInput
from .model.network import ReferenceState, Video2Pose2Rot
from .model.prepare import PosedCrop, model_input
from .model.skeleton_graph import skeleton_graph
from .progress import CancelToken

ENCODE = 8  # frames encoded at once
MODES = 6  # places that a point may be at
CORE = 192  # frames that a window answers for; the halo of the receptive field is added on both sides


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of T frames: turn (T, J, 3, 3) in view frames since the reference, uv (T, J, K, 2) crop units,
    error (T, J) expected head error over the rig's size, weight (T, J, K) how surely each point was found; places (T, J, K, M, 2) crop units
    and chances (T, J, K, M) of where else it may be, the likeliest first; mask (T, h, w) of 255 how surely the crop shows the subject there."""

    turn: np.ndarray
    uv: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    places: np.ndarray
    chances: np.ndarray
    mask: np.ndarray

    def room(self, frames: int) -> Prediction:
        """One of that many frames, to be filled: kept stretch by stretch, they would lie scattered between what a window needs for a moment, and memory
        would grow by several times their size."""
        return Prediction(*(np.empty((frames, *(value := getattr(self, f.name)).shape[1:]), value.dtype) for f in fields(self)))

    def fill(self, start: int, found: Prediction) -> int:
        """Put a stretch in at frame `start`; the frame after it."""
        for f in fields(self):
            getattr(self, f.name)[start : start + len(found.turn)] = getattr(found, f.name)
        return start + len(found.turn)


class _Held:
    """The frames that were encoded last, in tensors that stay where they are: allocated anew for every window, memory would fall into pieces."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.first, self.stop = capacity, 0, 0
        self.parts: list[Tensor] = []

    def add(self, encoded: tuple[Tensor, ...]) -> None:
        """The next frames."""
        if not self.parts:
            self.parts = [part.new_empty(self.capacity, *part.shape[1:]) for part in encoded]
        begin, count = self.stop - self.first, len(encoded[0])
        for mine, part in zip(self.parts, encoded, strict=True):
            mine[begin : begin + count] = part
        self.stop += count

    def drop(self, first: int) -> None:
        """Frames before this one are not needed any more."""
        shift, self.first = first - self.first, first
        for part in self.parts if shift > 0 else []:
            for row in range(self.stop - first):  # one by one, since source and target overlap
                part[row] = part[row + shift]

    def rows(self, low: int, high: int) -> tuple[Tensor, ...]:
        """Some of the frames."""
        return tuple(part[low - self.first : high - self.first] for part in self.parts)


class Predictor:
    """One body, one primary reference, one device."""

    def __init__(self, model: Video2Pose2Rot, body: Body, references: list[PosedCrop], device: torch.device, turns: bool = True) -> None:
        """turns: whether rotations are wanted, or places alone."""
        self.model, self.body, self.references, self.device, self.turns = model, body, references, device, turns
        self.size, self.rough = model.config.image_size, fast_bfloat16(device)
        self.graph = skeleton_graph(body.carriers)
        with torch.inference_mode():
            empty = torch.zeros(1, 3, 1, 1)
            self.state: ReferenceState = model.encode_references(self._input(empty, np.zeros(1), np.ones(1)))

    def _input(self, images: Tensor, times: np.ndarray, sides: np.ndarray) -> ModelInput:
        return model_input(self.body, self.references, images, times, sides, self.graph).to(self.device)

    def encode(self, images: list[np.ndarray], crop: Crop) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (H, W, 3) through crops (T,) to tokens, fine maps and mask logits, each (T, …)."""
        cut = crops(images, crop.center, crop.side, self.size).to(self.device).float()[None] / 255
        # of pictures alone: poses would differ with the rig's bone axes by more than rounding
        with torch.autocast("cpu", torch.bfloat16, enabled=self.rough):
            encoded = self.model.encode_frames(cut, self.state)
        tokens, fine, mask = (part[0].float() for part in encoded)
        return tokens, fine, mask

    def decode(self, encoded: tuple[Tensor, ...], times: np.ndarray, sides: np.ndarray, core: slice) -> Prediction:
        """What `encode` said of some frames to what the network says of those of `core` among them."""
        tokens, fine, mask = encoded
        x = self._input(torch.zeros(1, 3, 1, 1), times, sides)
        told = self.model.decode(x, self.state, tokens[None], fine[None], core, MODES, self.turns)
        inside = ((told.uv > -0.1) & (told.uv < 1.1)).all(-1)
        weight = told.certainty * x.point_mask[0] * inside
        shown = (255 * mask[core].sigmoid()).round().byte()
        said = [value.float() for value in (told.turn, told.uv, told.log_error.exp(), weight)] + [told.places.half(), told.chances.half(), shown]
        return Prediction(*(value.cpu().numpy() for value in said))

    def locate(self, images: list[np.ndarray], times: np.ndarray, crop: Crop, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Existing points (T, P, 2) in crop units and their certainty (T, P) in frames given as pictures shrunk by `scale`."""
        with torch.inference_mode():
            tokens, fine, _ = self.encode(images, Crop(crop.center * scale, crop.side * scale))
            x = self._input(torch.zeros(1, 3, 1, 1), times, crop.side)
            uv, certainty = self.model.locate(x, self.state, tokens[None], fine[None])
        uv, certainty = uv[0].float().cpu(), certainty[0].float().cpu()
        weight = certainty * ((uv > -0.1) & (uv < 1.1)).all(-1)
        return uv.numpy()[:, self.body.mask].astype(np.float64), weight.numpy()[:, self.body.mask].astype(np.float64)

    def windows(self, frames: Iterator[tuple[int, np.ndarray]], crop: Crop, times: np.ndarray, cancel: CancelToken) -> Iterator[tuple[int, Prediction | None]]:
        """Stream frames (index into crop and times, picture) and yield (frames encoded so far, a stretch of predictions or None).

        Stretches come in order and together cover all frames once. A frame's answer sees `receptive_field` frames to either side, so the
        result does not depend on how the clip is cut, and no more than a window is held.
        """
        halo = self.model.config.receptive_field
        held = _Held(CORE + 2 * halo + ENCODE)
        done, count = 0, 0  # answered; encoded
        batch: list[np.ndarray] = []
        total = len(times)
        for _, image in frames:
            batch.append(image)
            if len(batch) < ENCODE and count + len(batch) < total:
                continue
            cancel.check()
            with torch.inference_mode():
                held.add(self.encode(batch, crop.at(slice(count, count + len(batch)))))
            count += len(batch)
            batch = []
            yield count, None
            while done < total and (count >= min(done + CORE + halo, total)):
                stop = min(done + CORE, total)
                low, high = max(done - halo, 0), min(stop + halo, total)
                cancel.check()
                with torch.inference_mode():
                    found = self.decode(held.rows(low, high), times[low:high], crop.side[low:high], slice(done - low, stop - low))
                yield count, found
                done = stop
                with torch.inference_mode():
                    held.drop(max(done - halo, 0))
