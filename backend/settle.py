"""The denoiser over a fit of any length, in windows with halo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .evidence import Evidence
from .model.denoiser import Denoiser, Fits
from .model.skeleton_graph import EDGES, HOPS, skeleton_graph

_CORE = 128  # frames that a window answers for
_ALONE = (HOPS - 1, EDGES - 1)  # hop and edge of what is no bone


def padded(arrays: Sequence[np.ndarray], fill: int = 0) -> Tensor:
    """(B, …) arrays filled up to the largest of each axis."""
    whole = np.full((len(arrays), *np.max([a.shape for a in arrays], axis=0)), fill, arrays[0].dtype)
    for row, array in enumerate(arrays):
        whole[(row, *(slice(size) for size in array.shape))] = array
    return torch.from_numpy(whole)


def fits_of(evidence: Sequence[Evidence]) -> Fits:
    """A batch, padded to the longest and the largest."""
    names = ("times", "turn", "said", "spread", "error", "head", "vector", "sight")
    hop, edge = (padded(parts, kind) for parts, kind in zip(zip(*(skeleton_graph(e.above) for e in evidence), strict=True), _ALONE, strict=True))
    return Fits(
        above=padded([e.above for e in evidence], -1), hop=hop, edge=edge,
        bones=padded([np.ones(len(e.above), bool) for e in evidence]), frames=padded([np.ones(len(e.times), bool) for e in evidence]),
        **{name: padded([getattr(e, name) for e in evidence]) for name in names},
    )  # fmt: skip


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
