"""A contact sheet of what training sees: `python -m mocap_anything.training.data.sheet OUT.png [--draw device] [--baked DIR]`; reference, frames, mask."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from ..studio.studio import Studio
from .sample import SampleConfig
from .stream import SampleStream, StreamConfig, training_assets


def strips(config: StreamConfig, baked: Path | None) -> np.ndarray:
    """(B, S, (T + 2)·S, 3) uint8: the first batch of a stream, a clip in a row."""
    batch = next(iter(SampleStream(config, training_assets(baked) if baked else [])))
    assert batch.clips is not None
    x, truth = batch.clips
    if batch.stage is not None:
        x, truth = Studio(config.sample.image_size, torch.device("cpu")).fill(x, truth, batch.stage, config.seed)
    mask = interpolate(truth.mask[:, -1:], x.images.shape[-2:]).expand(-1, 3, -1, -1)
    row = torch.cat([x.ref_images[:, :1], x.images, mask[:, None]], 1)
    return (row.permute(0, 3, 1, 4, 2).flatten(2, 3).numpy() * 255).astype(np.uint8)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--baked", type=Path)
    parser.add_argument("--draw", choices=["workers", "device"], default="workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=3)
    options = parser.parse_args()
    sample = SampleConfig(frames=2, image_size=104, rendered_share=0.25)
    config = StreamConfig(seed=options.seed, batch=options.rows * options.columns, motion_batch=0, baked_share=0.5 if options.baked else 0.0,
                          staged=options.draw == "device", sample=sample)  # fmt: skip
    drawn = strips(config, options.baked)
    sheet = np.vstack([np.hstack(list(part)) for part in np.split(drawn, options.rows)])
    Image.fromarray(sheet).save(options.out)


if __name__ == "__main__":
    main()
