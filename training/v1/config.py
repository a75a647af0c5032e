"""One typed config of the V1 baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ...backend.model.config import ModelConfig


@dataclass(frozen=True)
class V1Config:
    """Sizes. The paper's mesh2pose has 4 prompt and 12 motion layers; the defaults here are what can be trained on a few cores.

    encoder: of the image encoder alone, which is V2's. dim, head_dim: joint queries and tokens. surface_points: points that stand for a
    frame's mesh. mesh_layers: of video2mesh. prompt_layers, motion_layers: of mesh2pose. token_window: frames to either side whose image
    and point tokens a joint looks at. time_window: frames to either side along time.
    """

    encoder: ModelConfig = ModelConfig()
    dim: int = 160
    head_dim: int = 32
    surface_points: int = 192
    mesh_layers: int = 3
    prompt_layers: int = 2
    motion_layers: int = 4
    token_window: int = 1
    time_window: int = 4

    @property
    def receptive_field(self) -> int:
        """Frames to either side of a frame that its answer depends on."""
        return self.mesh_layers * self.time_window + self.motion_layers * (self.token_window + self.time_window)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> V1Config:
        """Raises ValueError on an unknown field."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown V1 config fields: {sorted(unknown)}")
        return cls(**values | {"encoder": ModelConfig.from_dict(values["encoder"])} if "encoder" in values else values)


# the paper's sizes of mesh2pose, for arithmetic and for whoever has the machines
PUBLISHED = V1Config(dim=256, surface_points=2048, prompt_layers=4, motion_layers=12, token_window=2)
