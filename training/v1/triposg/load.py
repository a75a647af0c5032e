"""TripoSG from a folder in the hub's layout, or from the hub itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ....backend.errors import CaptureError
from .config import DecoderConfig, SchedulerConfig, Settings, TransformerConfig, read_config
from .decoder import Decoder
from .model import TripoSG
from .pictures import Preprocessing
from .transformer import Transformer

PUBLISHED = "VAST-AI/TripoSG"
_TRANSFORMER, _VAE, _SCHEDULER = "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"
_ENCODER, _PICTURES = "image_encoder_dinov2/config.json", "feature_extractor_dinov2/preprocessor_config.json"
_FILES = (_TRANSFORMER, _VAE, _SCHEDULER, _ENCODER, _PICTURES)
_WEIGHTS = ("transformer", "vae", "image_encoder_dinov2")
_UNUSED = ("encoder.", "quant.")  # the other half of the published autoencoder
_LIBRARIES = "TripoSG needs the libraries of the extra `train`. Install them with: pip install -e '.[train]'."
_AGAIN = f"Download all of {PUBLISHED} again."


def load_triposg(source: str, settings: Settings | None = None, device: str | None = None) -> TripoSG:
    """TripoSG from a folder, or by its name on the hub, whose 8 GB are then downloaded once; on CUDA in float16 where there is one.

    Raises CaptureError where it is not to be had, or is not what this reader computes.
    """
    folder = _folder(source)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.float16 if device.startswith("cuda") else torch.float32
    config = read_config(TransformerConfig, _json(folder / _TRANSFORMER), _TRANSFORMER)
    vae = read_config(DecoderConfig, _json(folder / _VAE), _VAE)
    scheduler = read_config(SchedulerConfig, _json(folder / _SCHEDULER), _SCHEDULER)
    if _json(folder / _ENCODER).get("hidden_size") != config.cross_attention_dim or vae.latent_channels != config.in_channels:
        raise CaptureError(f"The parts of TripoSG in '{folder}' do not fit each other. {_AGAIN}")
    transformer = _with_weights(Transformer, config, folder / "transformer", kind, device)
    decoder = _with_weights(Decoder, vae, folder / "vae", kind, device)
    encoder = _image_encoder(folder / "image_encoder_dinov2").to(device=device, dtype=kind)
    model = TripoSG(transformer, decoder, encoder, _preprocessing(_json(folder / _PICTURES)), settings or Settings(), scheduler.shift)
    return model.eval().requires_grad_(False)


def triposg_of(words: Sequence[str]) -> TripoSG:
    """What the commands' --triposg says: a folder or a name on the hub, then settings. Raises CaptureError as load_triposg does."""
    return load_triposg(words[0], Settings().changed(words[1:]))


def _folder(source: str) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        folder = _from_hub(source)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    missing += [f"{name}/*.safetensors" for name in _WEIGHTS if not list((folder / name).glob("*.safetensors"))]
    if missing:
        raise CaptureError(f"'{folder}' is not TripoSG as its hub repository lies: it lacks {', '.join(missing)}. Download all of {PUBLISHED} into it.")
    return folder


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise CaptureError(_LIBRARIES) from None
    try:
        return Path(snapshot_download(name, allow_patterns=[*_FILES, *(f"{part}/*.safetensors" for part in _WEIGHTS)]))
    except (OSError, HfHubHTTPError, HFValidationError, RuntimeError) as error:
        raise CaptureError(
            f"'{name}' is no folder here, and the hub did not give it ({_first(error)}). Check the name and the network, or download {PUBLISHED} "
            "on another machine and name the folder."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CaptureError(f"'{path}' cannot be read ({error}). {_AGAIN}") from None


def _preprocessing(values: dict[str, Any]) -> Preprocessing:
    try:
        return Preprocessing.from_dict(values)
    except (KeyError, TypeError) as error:
        raise CaptureError(f"preprocessor_config.json does not say {error}. {_AGAIN}") from None


def _image_encoder(folder: Path) -> nn.Module:
    try:
        from transformers import Dinov2Model
    except ImportError:
        raise CaptureError(_LIBRARIES) from None
    try:
        loaded: Any = Dinov2Model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CaptureError(f"The image encoder in '{folder}' cannot be read ({_first(error)}). {_AGAIN}") from None
    model, said = loaded
    if said["missing_keys"]:  # which would be random
        raise CaptureError(f"The image encoder in '{folder}' lacks {', '.join(sorted(said['missing_keys'])[:3])}. {_AGAIN}")
    return model


def _with_weights(network: Any, config: Any, folder: Path, kind: torch.dtype, device: str) -> Any:
    """A network with the weights of a folder, without ever having others."""
    with torch.device("meta"):
        model: nn.Module = network(config)
    try:
        model.load_state_dict(_state(folder, kind, device), strict=True, assign=True)
    except SafetensorError as error:
        raise CaptureError(f"The weights in '{folder}' cannot be read ({_first(error)}). {_AGAIN}") from None
    except RuntimeError as error:
        lines = " ".join(str(error).splitlines()[1:3]).strip()
        raise CaptureError(f"The weights in '{folder}' do not fit its config.json ({lines[:300]}). {_AGAIN}") from None
    return model


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _state(folder: Path, kind: torch.dtype, device: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt", device=device) as file:
            names = [name for name in file.keys() if not name.startswith(_UNUSED)]  # noqa: SIM118 (no mapping, though it looks like one)
            state |= {name: file.get_tensor(name).to(kind) for name in names}
    return state
