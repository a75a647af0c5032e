"""One typed config per model; its switches are the rows of the ablation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

SURFACE_POINTS = 3


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches of the network.

    image_size: pixels of the square crop. token_dim: image tokens at 1/8, fine_dim: each of the two correlation maps at 1/4. joint_dim: joint queries.
    encoder_layers: transformer layers that see one frame; match_layers: layers in which a frame's tokens attend to the references'.
    prompt_layers, pose_layers, lift_layers, rot_layers: joint blocks of the prompts, of video2pose before and after the 2D
        read-out, and of pose2rot. time_window: frames to either side that one time attention sees.
    surface_points: points off the bone's axis per bone beside head and end. closed_form: pose2rot starts from the shrunk
        Procrustes turn. carried: pose2rot answers relative to each bone's carrier, so that what it does not know stays on the carrier;
        else with the turn itself. since_reference: the answer counts from the reference's pose, else from the rest pose, as in the papers.
        image_to_rot: pose2rot sees video2pose's joint features. sample_reference: prompts see features of the
        reference image. attention: alternating local and global joint attention, or one kind alone.
    """

    image_size: int = 128
    stem_dims: tuple[int, int] = (32, 64)
    token_dim: int = 192
    fine_dim: int = 64
    joint_dim: int = 160
    head_dim: int = 32
    token_head_dim: int = 64
    encoder_layers: int = 2
    match_layers: int = 2
    prompt_layers: int = 1
    pose_layers: int = 2
    lift_layers: int = 3
    rot_layers: int = 3
    time_window: int = 4
    surface_points: int = SURFACE_POINTS
    closed_form: bool = True
    carried: bool = True
    since_reference: bool = True
    image_to_rot: bool = True
    sample_reference: bool = True
    attention: Literal["both", "local", "global"] = "both"

    @property
    def points(self) -> int:
        """Points that describe a bone: head, end, surface points."""
        return 2 + self.surface_points

    @property
    def receptive_field(self) -> int:
        """Frames to either side of a frame that its output depends on."""
        return self.time_window * (self.pose_layers + self.lift_layers + self.rot_layers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Raises ValueError on an unknown field: a config of another version must not load silently."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model config fields: {sorted(unknown)}")
        if "stem_dims" in values:
            values = values | {"stem_dims": tuple(values["stem_dims"])}
        return cls(**values)
