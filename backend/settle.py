"""The denoiser over a fit of any length, in windows with halo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .evidence import Evidence
from .model.denoiser import Denoiser, Fits
from .model.skeleton_graph import skeleton_graph

_CORE = 128  # frames that a window answers for
_TIMED = ("turn", "said", "spread", "error", "sight")
_BONED = ("head", "vector")


def fits_of(evidence: Sequence[Evidence]) -> Fits:
    """A batch, padded to the longest and the largest."""
    bones, frames = max(len(e.above) for e in evidence), max(len(e.times) for e in evidence)
    values: dict[str, Tensor] = {}
    for name in _TIMED + _BONED:
        first = getattr(evidence[0], name)
        boned = 1 if name in _TIMED else 0
        shape = ([frames] if name in _TIMED else []) + ([bones] if name != "sight" else []) + list(first.shape[boned + (name != "sight") :])
        values[name] = torch.zeros(len(evidence), *shape)
        for row, one in enumerate(evidence):
            part = torch.from_numpy(getattr(one, name))
            values[name][(row, *(slice(n) for n in part.shape))] = part
    above, times = torch.full((len(evidence), bones), -1), torch.zeros(len(evidence), frames)
    hop, edge = (torch.full((len(evidence), bones, bones), kind) for kind in (7, 4))
    for row, one in enumerate(evidence):
        count = len(one.above)
        above[row, :count], times[row, : len(one.times)] = torch.from_numpy(one.above), torch.from_numpy(one.times)
        hop[row, :count, :count], edge[row, :count, :count] = (torch.from_numpy(part) for part in skeleton_graph(one.above))
    exist = [torch.tensor([[k < n for k in range(most)] for n in counts])
             for counts, most in (([len(e.above) for e in evidence], bones), ([len(e.times) for e in evidence], frames))]  # fmt: skip
    return Fits(times=times, above=above, hop=hop, edge=edge, bones=exist[0], frames=exist[1], **values)


class Settler:
    """A denoiser as a fit asks it."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model

    def __call__(self, evidence: Evidence) -> np.ndarray:
        """(T, A, 3) axis-angles in the evidence's axes; a frame's answer does not depend on where windows begin."""
        frames, halo = len(evidence.times), self.model.config.receptive_field
        told = []
        for start in range(0, frames, _CORE):
            low, stop = max(start - halo, 0), min(start + _CORE, frames)
            with torch.inference_mode():
                answer = self.model(fits_of([evidence.part(slice(low, min(stop + halo, frames)))]))
            told.append(answer[0, start - low : stop - low].numpy())
        return np.concatenate(told)
