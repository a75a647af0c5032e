"""What the user may choose for a capture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MODELS = Path(__file__).resolve().parent.parent / "assets" / "models"  # and other things that come with the extension to be known


@dataclass(frozen=True)
class CaptureSettings:
    """One capture's choices.

    device: auto, cpu, cuda or mps. model: a bundled model's name or a path to a .safetensors file.
    root_rotation: captured, yaw (turns about the armature's up axis alone) or locked (as in the reference).
    root_travel: estimated through the camera, or in_place.
    fit: pose the rig until it shows where the video shows it, else keep the network's own rotations. refine: with the fit,
        compare the drawn rig with every frame as well; own_actions: and expect the rig to move as in its own actions; library: and as bodies like it do in a
        library of motions, a bundled one's name, a path to an .npz file, or none. contacts: hold feet that stand still.
    smoothing: seconds, 0 for none.
    start, end: trim of the clip in seconds, None for the whole.
    crop: x, y, width, height in pixels around the subject at the first reference, None to start from the rig's projection.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    model: str = "anywhere"
    root_rotation: Literal["captured", "yaw", "locked"] = "captured"
    root_travel: Literal["estimated", "in_place"] = "estimated"
    fit: bool = True
    refine: bool = True
    own_actions: bool = True
    library: str = "motions"
    contacts: bool = False
    smoothing: float = 0.04
    start: float | None = None
    end: float | None = None
    crop: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.smoothing < 0:
            raise ValueError("smoothing must not be negative")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("the trim's end must come after its start")
