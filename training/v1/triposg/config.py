"""Sizes as the published files name them, and how a clip is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from ....backend.errors import CaptureError

Config = TypeVar("Config")


@dataclass(frozen=True)
class TransformerConfig:
    """transformer/config.json; the defaults are the published ones."""

    num_attention_heads: int = 16
    width: int = 2048
    in_channels: int = 64
    num_layers: int = 21
    cross_attention_dim: int = 1024


@dataclass(frozen=True)
class SchedulerConfig:
    """scheduler/scheduler_config.json. shift: how far the noise levels are bent towards noise."""

    shift: float = 1.0


@dataclass(frozen=True)
class DecoderConfig:
    """What vae/config.json says of the decoder; the encoder is not needed."""

    in_channels: int = 3
    latent_channels: int = 64
    num_attention_heads: int = 8
    width_decoder: int = 1024
    num_layers_decoder: int = 16
    embed_frequency: int = 8
    embed_include_pi: bool = False


# of keys that are not ours, the values with which the arithmetic here is the published one
_ASSUMED = {"use_cross_attention_2": False, "embedding_type": "frequency", "use_dynamic_shifting": False, "num_train_timesteps": 1000}


def read_config(kind: type[Config], values: Mapping[str, Any], name: str) -> Config:
    """A config from a published file's values; raises CaptureError where the file asks for another arithmetic."""
    other = [key for key, value in _ASSUMED.items() if values.get(key, value) != value]
    if other:
        raise CaptureError(f"{name} sets {', '.join(other)} to what this reader does not compute. Use the weights of VAST-AI/TripoSG.")
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Settings:
    """How a clip is run; steps, guidance and tokens are the published ones.

    tokens: latents of a shape. window: frames to either side that a frame looks at. resolution: cells along an axis of the grid that the surface
    is read from, a multiple of 4. seed: of the one noise that all frames start from.
    """

    steps: int = 50
    guidance: float = 7.0
    tokens: int = 2048
    window: int = 1
    resolution: int = 128
    seed: int = 0

    def changed(self, words: Sequence[str]) -> Settings:
        """With words such as steps=25 applied; raises CaptureError where one is not NAME=NUMBER."""
        result = self
        for word in words:
            name, _, value = word.partition("=")
            try:
                result = replace(result, **{name: float(value) if name == "guidance" else int(value)})  # type: ignore[arg-type]
            except (TypeError, ValueError):
                names = ", ".join(field.name for field in fields(self))
                raise CaptureError(f"'{word}' says nothing that TripoSG knows. Write NAME=NUMBER with one of: {names}.") from None
        if min(result.steps, result.tokens) < 1 or result.window < 0 or result.resolution < 8 or result.resolution % 4:
            raise CaptureError("TripoSG needs steps and tokens of at least 1, a window of at least 0 and a resolution of 8, 12, 16 …: change what you set.")
        return result
