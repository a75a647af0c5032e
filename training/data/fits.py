"""Whole captures of training clips, for the denoiser: what the fit made of each, beside the truth.

`python -m mocap_anything.training.data.fits OUT --baked DIR --minutes 60` films clips, captures them and keeps one file each; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from ...backend.axis_angles import log_rotation
from ...backend.errors import CaptureError
from ...backend.fit import Fitted
from ...backend.kinematics import bone_rotations
from ...backend.model.checkpoint import load_model
from ...backend.settings import CaptureSettings
from ..cases import motion_amount
from ..evidence import Evidence, evidence_of, in_view
from ..takes import Take
from ..whole_capture import captured, request_of
from .asset import Asset
from .stream import held_out_assets, training_assets
from .vary import varied

log = logging.getLogger(__name__)

_LEAST, _MOST = 10, 40  # frames
_STILL = 3.0  # degrees of motion below which a clip teaches nothing
_BAKED, _VARIED = 0.65, 0.4  # shares
_STRIDES, _STRIDE_SHARE = (1, 2), (0.8, 0.2)
_LONGEST = 90  # bones: larger rigs take too long for what they teach


def random_take(rng: np.random.Generator, asset: Asset) -> Take | None:
    """A stretch of one of its clips with a reference in it; None where hardly anything moves."""
    clip = asset.clips[rng.integers(len(asset.clips))]
    stride = int(rng.choice(_STRIDES, p=_STRIDE_SHARE))
    count = min(int(rng.integers(24, _MOST + 1)), (len(clip.pose) - 1) // stride + 1)
    if count < _LEAST:
        return None
    frames = int(rng.integers(len(clip.pose) - stride * (count - 1))) + stride * np.arange(count)
    if motion_amount(asset.rig, clip.pose[frames].astype(np.float64)) < _STILL:
        return None
    keyed = int(np.clip(round(rng.normal(0.5, 0.2) * (count - 1)), 0, count - 1))
    return Take(asset, clip, frames, (clip, int(frames[keyed])), keyed, asset.split, "")


def truth_of(fitted: Fitted, poses: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(T, A, 3) true axis-angles of a capture's active bones, in its evidence's axes."""
    turns = fitted.chain.turns(torch.from_numpy(bone_rotations(poses)))[:, fitted.chain.active]
    return in_view(axes, log_rotation(turns))


class Recorder:
    """Runs captures and keeps what their fits knew."""

    def __init__(self, model: str) -> None:
        self.settings = CaptureSettings(model=model)
        self.model: object = None

    def load(self, path: Path, device: torch.device) -> object:
        """The model, once."""
        self.model = self.model or load_model(path, device)
        return self.model

    def record(self, take: Take, seed: int) -> dict[str, np.ndarray]:
        """The evidence's arrays and the truth, `true` (T, A, 3)."""
        kept: list[Fitted] = []

        def settle(fitted: Fitted) -> torch.Tensor:
            kept.append(fitted)
            return fitted.turn

        with tempfile.TemporaryDirectory() as folder:
            captured(request_of(take, self.settings, Path(folder), seed), self.load, settle)
        evidence = evidence_of(kept[0])
        arrays = {f.name: getattr(evidence, f.name) for f in fields(Evidence)}
        return arrays | {"true": truth_of(kept[0], take.pose, evidence.axes)}


def some_baked(rng: np.random.Generator, assets: list[Asset]) -> Asset:
    """One of them."""
    return assets[rng.integers(len(assets))]


def some_asset(rng: np.random.Generator, assets: list[Asset]) -> Asset:
    """A baked rig, sometimes with a motion made of its own, or a procedural creature."""
    from ..zoo import make_creature

    if not assets or rng.random() >= _BAKED:
        return make_creature(rng)
    asset = some_baked(rng, assets)
    return varied(rng, asset) if rng.random() < _VARIED else asset


def make_one(rng: np.random.Generator, asset: Asset, recorder: Recorder, place: Path) -> str:
    """Write one capture's arrays, or nothing where the draw has no motion or can't be captured; says what became of it."""
    take = random_take(rng, asset) if len(asset.rig) <= _LONGEST else None
    if take is None:
        return f"{asset.name}: nothing moves"
    try:
        arrays = recorder.record(take, int(rng.integers(1 << 31)))
    except CaptureError as error:
        return f"{asset.name}: {error}"
    if not len(arrays.get("true", ())):
        return f"{asset.name}: nothing was fitted"
    partial = place.with_suffix(".partial.npz")
    np.savez_compressed(partial, name=asset.name, **arrays)
    partial.rename(place)
    return f"{asset.name} {take.clip.name}: {len(take.frames)} frames"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--baked", type=Path, required=True, help="folder of baked rigs")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", default="anywhere", help="a bundled model's name or a file (default: %(default)s)")
    parser.add_argument("--held-out", action="store_true", help="of held-out clips of the rigs that are for training: for validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, default=0, help="of several processes that share the work")
    parser.add_argument("--of", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    assets = held_out_assets(args.baked)["seen"] if args.held_out else training_assets(args.baked)
    choose, recorder, end, index = some_baked if args.held_out else some_asset, Recorder(args.model), time.monotonic() + 60 * args.minutes, args.rank
    while time.monotonic() < end:
        place = args.out / f"{args.seed}-{index:06d}.npz"
        if not place.exists():
            rng = np.random.default_rng((args.seed, index))
            log.info("%d %s", index, make_one(rng, choose(rng, assets), recorder, place))
        index += args.of


if __name__ == "__main__":
    main()
