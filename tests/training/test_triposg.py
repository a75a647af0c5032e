"""TripoSG as V1's first stage, on a tiny configuration with random weights saved as the hub has it; and the published sizes by name and shape."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_anything.backend.errors import CaptureError
from mocap_anything.backend.model.config import ModelConfig
from mocap_anything.backend.silhouette import silhouette
from mocap_anything.training import papers
from mocap_anything.training.data.asset import Asset, save_asset
from mocap_anything.training.filming import film
from mocap_anything.training.takes import make_take
from mocap_anything.training.v1 import flops, speed
from mocap_anything.training.v1.config import V1Config
from mocap_anything.training.v1.network import MoCapV1, save_v1
from mocap_anything.training.v1.triposg.align import Similarity, align, procrustes
from mocap_anything.training.v1.triposg.config import DecoderConfig, Settings, TransformerConfig
from mocap_anything.training.v1.triposg.decoder import Decoder, sparse_grid, surface_points
from mocap_anything.training.v1.triposg.load import load_triposg
from mocap_anything.training.v1.triposg.method import coarser, silhouettes
from mocap_anything.training.v1.triposg.pictures import Preprocessing, on_white
from mocap_anything.training.v1.triposg.transformer import Transformer, denoise, noise_levels
from mocap_anything.training.zoo import make_creature
from safetensors.torch import load_file, save_file
from scipy.spatial.transform import Rotation
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

TRANSFORMER = TransformerConfig(num_attention_heads=4, width=32, in_channels=8, num_layers=5, cross_attention_dim=24)
DECODER = DecoderConfig(latent_channels=8, num_attention_heads=4, width_decoder=32, num_layers_decoder=2)
SETTINGS = ["steps=3", "tokens=12", "resolution=16"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
V1 = V1Config(
    encoder=ModelConfig(image_size=128, stem_dims=(16, 16), token_dim=32, token_head_dim=16, encoder_layers=1), dim=32, head_dim=16, surface_points=80,
    mesh_layers=1, prompt_layers=1, motion_layers=1, token_window=1, time_window=1,
)  # fmt: skip


def write(folder: Path, name: str, values: dict[str, object]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub repository's files, tiny."""
    folder = tmp_path_factory.mktemp("TripoSG")
    torch.manual_seed(0)
    transformer, decoder = Transformer(TRANSFORMER), Decoder(DECODER)
    for weight in transformer.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    with torch.no_grad():  # a field that is as often positive as negative has a surface
        places = torch.rand(1, 500, 3) * 2 - 1
        decoder.decoder.proj_out.bias += decoder.field(decoder.memory(torch.randn(1, 12, 8)), places).median()
    write(folder, "transformer/config.json", {"_class_name": "TripoSGDiTModel", **vars(TRANSFORMER)})
    write(folder, "vae/config.json", {"_class_name": "TripoSGVAEModel", "width_encoder": 16, "embedding_type": "frequency", **vars(DECODER)})
    write(folder, "scheduler/scheduler_config.json", {"num_train_timesteps": 1000, "shift": 1, "use_dynamic_shifting": False})
    write(folder, "feature_extractor_dinov2/preprocessor_config.json",
          {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "image_mean": MEAN, "image_std": STD})
    save_file(transformer.state_dict(), folder / "transformer/diffusion_pytorch_model.safetensors")
    unused = {"encoder.proj_in.weight": torch.zeros(2, 2), "quant.bias": torch.zeros(2)}
    save_file(decoder.state_dict() | unused, folder / "vae/diffusion_pytorch_model.safetensors")
    encoder = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56)
    Dinov2Model(encoder).save_pretrained(folder / "image_encoder_dinov2")
    return folder


@pytest.fixture(scope="module")
def beast() -> Asset:
    asset = make_creature(np.random.default_rng(4), "quadruped")
    first = asset.clips[0]
    clips = tuple(replace(first, name=name, pose=first.pose[start : start + 8], held_out=True) for name, start in (("a", 0), ("b", 4)))
    return replace(asset, name="beast", clips=clips, split="unseen")


def rows(*shape: int, start: float = 0.0) -> torch.Tensor:
    """Numbers that anyone can write down again."""
    return torch.sin(torch.arange(int(np.prod(shape)), dtype=torch.float64) * 0.7 + start).float().reshape(shape)


def filled(network: nn.Module) -> nn.Module:
    """With weights that tell from their names."""
    for name, value in network.state_dict().items():
        value.copy_(0.3 * rows(*value.shape, start=len(name)) + float(value.ndim == 1 and name.endswith("weight")))
    return network.eval().requires_grad_(False)


def test_it_says_what_the_published_classes_say() -> None:
    """The numbers are those of the published classes with the same weights (with random ones they agreed to 5e-6)."""
    model = filled(Transformer(TransformerConfig(num_attention_heads=2, width=16, in_channels=4, num_layers=5, cross_attention_dim=12)))
    x, tokens = rows(2, 6, 4), rows(2, 5, 12, start=1.0)
    velocity = model(x, torch.tensor([1000.0, 250.0]), tokens)[:, -1]
    np.testing.assert_allclose(velocity, [[-1.18181, 0.28516, 1.60299, 0.69119], [-1.1591, 0.26233, 1.57101, 0.70104]], atol=3e-5)
    guided = denoise(model, x, tokens, Settings(steps=5, window=0))[:, -1]
    np.testing.assert_allclose(guided, [[0.18208, 1.33354, 1.61509, -0.01166], [-1.69363, 0.46588, 2.28254, 1.57989]], atol=3e-5)
    shifted = denoise(model, x, tokens, Settings(steps=5, guidance=1.0, window=0), shift=3.0)[:, -1]
    np.testing.assert_allclose(shifted, [[-0.16992, 1.1284, 1.8838, 0.30258], [-1.74622, 0.35154, 2.28871, 1.69673]], atol=3e-5)
    decoder = filled(Decoder(DecoderConfig(latent_channels=4, num_attention_heads=2, width_decoder=16, num_layers_decoder=2)))
    field = decoder.field(decoder.memory(x), rows(2, 7, 3, start=2.0))[:, :4]
    np.testing.assert_allclose(field, [[-0.42221, -0.3602, -0.09782, -0.45031], [-0.43159, -0.10758, -0.40425, -0.45219]], atol=3e-5)


def test_published_sizes_have_the_published_names() -> None:
    with torch.device("meta"):
        parts = Transformer(TransformerConfig()), Decoder(DecoderConfig())
    transformer, decoder = ({name: tuple(value.shape) for name, value in part.state_dict().items()} for part in parts)
    wide, seen = (2048, 2048), (2048, 1024)
    layer = {f"attn{n}.{name}.weight": shape for n, source in ((1, wide), (2, seen)) for name, shape in
             (("to_q", wide), ("to_k", source), ("to_v", source), ("to_out.0", wide), ("norm_q", (128,)), ("norm_k", (128,)))}
    layer |= {f"attn{n}.to_out.0.bias": (2048,) for n in (1, 2)} | {f"norm{n}.{part}": (2048,) for n in (1, 2, 3) for part in ("weight", "bias")}
    layer |= {"ff.net.0.proj.weight": (8192, 2048), "ff.net.0.proj.bias": (8192,), "ff.net.2.weight": (2048, 8192), "ff.net.2.bias": (2048,)}
    skip = {"skip_linear.weight": (2048, 4096), "skip_linear.bias": (2048,), "skip_norm.weight": (2048,), "skip_norm.bias": (2048,)}
    wanted = {f"blocks.{n}.{name}": shape for n in range(21) for name, shape in (layer | (skip if n > 10 else {})).items()}
    for name, shape in {"time_proj.linear_1": (8192, 2048), "time_proj.linear_2": (2048, 8192), "proj_in": (2048, 64), "proj_out": (64, 2048)}.items():
        wanted |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert transformer == wanted | {"norm_out.weight": (2048,), "norm_out.bias": (2048,)}
    # in float32 these are the 5.76 GB of the published file
    assert sum(int(np.prod(shape)) for shape in transformer.values()) == 1_439_556_160
    assert decoder["post_quant.weight"] == (1024, 64)
    assert decoder["decoder.proj_query.weight"] == (1024, 51)
    assert decoder["decoder.blocks.16.attn2.norm_cross.weight"] == (1024,)
    assert {name.split(".")[2] for name in decoder if ".blocks." in name} == {str(n) for n in range(17)}
    assert sum(int(np.prod(shape)) for shape in decoder.values()) == 214_208_513


def test_noise_levels_by_hand() -> None:
    assert noise_levels(4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert noise_levels(2, 3.0).tolist() == [1, 0.75, 0]


def test_a_window_reaches_as_far_as_its_layers() -> None:
    torch.manual_seed(1)
    # three of its layers look along time, the first of them before it has seen a picture
    model = Transformer(TRANSFORMER).eval().requires_grad_(False)
    tokens, noise = torch.randn(7, 5, 24), torch.randn(1, 6, 8).expand(7, -1, -1)
    changed, time = tokens.clone(), torch.full((7,), 500.0)
    changed[0] += 1
    alone = torch.cat([model(noise[:1], time[:1], tokens[frame : frame + 1]) for frame in range(7)])
    torch.testing.assert_close(model(noise, time, tokens, 0), alone)
    for window in (1, 2):
        a, b = (model(noise, time, each, window) for each in (tokens, changed))
        moved = ((a - b).abs().amax((1, 2)) > 1e-6).tolist()
        assert moved == [frame <= 2 * window for frame in range(7)]


def test_a_clips_frames_start_from_one_noise_and_agree_more_the_more_they_see(hub: Path) -> None:
    words = [*SETTINGS, "seed=3"]
    still, near = (load_triposg(str(hub), Settings().changed([*words, f"window={window}"]), "cpu") for window in (0, 2))
    tokens = torch.randn(6, 5, 24, generator=torch.Generator().manual_seed(2))
    same = tokens[:1].expand(6, -1, -1)
    for model in (still, near):
        torch.testing.assert_close(model.latents(same), model.latents(same)[:1].expand(6, -1, -1), atol=1e-4, rtol=1e-4)
    apart = [float(model.latents(tokens).diff(dim=0).norm(dim=-1).mean()) for model in (still, near)]
    assert apart[1] < apart[0]


def test_surface_of_a_known_field() -> None:
    asked = []

    def ball(places: torch.Tensor) -> torch.Tensor:
        asked.append(len(places))
        return ((0.6 - (places - torch.tensor([0.1, 0, 0])).norm(dim=-1)) * 20).clamp(-1, 1)

    values = sparse_grid(ball, 64, torch.device("cpu"))
    assert values.shape == (65, 65, 65)
    assert sum(asked) < 65**3 / 4
    points = surface_points(values, 4000)
    assert points is not None
    assert points.shape == (4000, 3)
    np.testing.assert_allclose(np.linalg.norm(points - [0.1, 0, 0], axis=1), 0.6, atol=0.005)
    np.testing.assert_allclose(points.mean(0), [0.1, 0, 0], atol=0.03)  # evenly: its middle is the ball's
    assert surface_points(-torch.ones(9, 9, 9), 10) is None


def test_its_operations_are_counted_from_its_layers() -> None:
    """What the arithmetic of published sizes says is what torch counts of the network, at sizes that can be run: one frame more, all others there."""
    model, settings = Transformer(TRANSFORMER).requires_grad_(False), Settings(steps=2, tokens=12)
    counts = []
    for frames in (6, 7):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            denoise(model, torch.randn(frames, 12, 8), torch.randn(frames, 5, 24), settings)
        counts.append(counter.get_total_flops())
    assert counts[1] - counts[0] == flops.triposg(TRANSFORMER, settings, 5, 24)
    decoder = Decoder(DECODER).requires_grad_(False)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        decoder.memory(torch.randn(1, 12, 8))
    assert counter.get_total_flops() == flops.triposg_decoder(DECODER, 12)


def test_alignment_finds_the_way_back() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(1500, 3)) * [0.5, 0.15, 0.1] + np.where(rng.random((1500, 1)) < 0.2, [[0.8, 0.4, 0.05]], 0)
    for turn in Rotation.random(4, random_state=1).as_matrix():
        found = align((rng.permutation(target)[:1200] @ turn) * 2.5 + [3, 1, 2], target)
        assert found.scale == pytest.approx(1 / 2.5, rel=0.03)
        np.testing.assert_allclose(found.rotation, turn, atol=0.05)
    exact = procrustes(target, Similarity(0.3, turn, np.array([1.0, 2, 3]))(target))
    np.testing.assert_allclose(exact.rotation, turn, atol=1e-9)
    mirrored = procrustes(target, target * [1, 1, -1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)


def test_pictures_are_cut_out_and_prepared_as_published() -> None:
    picture, mask = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(0)), torch.zeros(60, 60)
    mask[10:50, 20:30] = 1
    cut = on_white(picture, mask)
    assert cut.shape == (3, 48, 48)  # 40 pixels and a tenth on each side
    torch.testing.assert_close(cut[:, 4:44, 19:29], picture[:, 10:50, 20:30])
    assert float(cut[:, :, :19].min()) == float(cut[:, :4].min()) == 1
    torch.testing.assert_close(on_white(picture, torch.zeros(60, 60)), picture)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), (100, 100), mode="bicubic")[0].clamp(0, 1)
    image = (smooth * 255).byte()
    theirs = BitImageProcessorPil(
        do_resize=True, size={"shortest_edge": 256}, resample=3, do_center_crop=True, crop_size={"height": 224, "width": 224}, do_rescale=True,
        rescale_factor=1 / 255, do_normalize=True, image_mean=list(MEAN), image_std=list(STD),
    )(image.permute(1, 2, 0).numpy(), return_tensors="pt").pixel_values[0]  # fmt: skip
    torch.testing.assert_close(Preprocessing(256, 224, MEAN, STD)(image.float() / 255), theirs, atol=0.03, rtol=0)  # it rounds to 8 bits: 1/255 over 0.22


def test_a_clip_becomes_points_in_the_rigs_frame(hub: Path, beast: Asset) -> None:
    take = make_take(beast, beast.clips[0], "same-clip", "unseen")
    assert take is not None
    filmed = film(take, 64, 90)
    assert filmed.ref_surface is not None
    masks = silhouettes(take, filmed)
    assert masks.shape == (8, 64, 64)
    # drawn in the same way the reference's is the renderer's own
    again = silhouette(beast.rig, filmed.body, take.reference_pose, filmed.reference.camera, filmed.reference_crop, 64)
    assert float((torch.from_numpy(again) - filmed.x.ref_masks[0, 0, 0]).abs().mean()) < 0.005
    assert all(float(mask.mean()) > 0.02 for mask in masks)
    model = load_triposg(str(hub), Settings().changed(SETTINGS), "cpu")
    found = model(filmed.x, masks, filmed.ref_surface)
    assert found.shape == (1, 8, 90, 3)
    assert torch.equal(found, model(filmed.x, masks, filmed.ref_surface))
    target = filmed.ref_surface
    assert float((found[0].mean((0, 1)) - target.mean(0)).norm()) < 0.5
    spread = float(found[0].std(1).norm() / 8**0.5 / target.std(0).norm())
    assert 0.5 < spread < 2
    reference = model.surfaces(filmed.x.ref_images[0, :1], filmed.x.ref_masks[0, :1, 0], 90)[0]
    laid = align(reference, target.numpy().astype(np.float64))
    np.testing.assert_allclose(found[0].numpy(), laid(model.surfaces(filmed.x.images[0], masks, 90)), atol=1e-5)
    small = coarser(filmed.x)
    assert small.images.shape == (1, 8, 3, 32, 32)
    assert small.ref_masks.shape == (1, 1, 1, 32, 32)


def test_what_cannot_be_loaded_says_why(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CaptureError, match=r"no folder here, and the hub did not give it.*download VAST-AI/TripoSG"):
        load_triposg("nobody/has-this-one-here")
    with pytest.raises(CaptureError, match="no folder here"):
        load_triposg(str(tmp_path / "none"))
    with pytest.raises(CaptureError, match=r"lacks transformer/config.json.*image_encoder_dinov2/\*.safetensors"):
        load_triposg(str(tmp_path))

    def altered(name: str, **values: object) -> str:
        folder = tmp_path / f"{name.replace('/', ' ')} {' '.join(values)}"
        folder.mkdir()
        for path in hub.iterdir():
            (folder / path.name).mkdir()
            for file in path.iterdir():
                (folder / path.name / file.name).symlink_to(file)
        (folder / name).unlink()
        write(folder, name, json.loads((hub / name).read_text()) | values)
        return str(folder)

    for name, values, said in (
        ("transformer/config.json", {"width": 64}, "do not fit its config.json"),
        ("transformer/config.json", {"use_cross_attention_2": True}, "sets use_cross_attention_2"),
        ("vae/config.json", {"embedding_type": "learned"}, "sets embedding_type"),
        ("scheduler/scheduler_config.json", {"use_dynamic_shifting": True}, "sets use_dynamic_shifting"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10}, "sets num_train_timesteps"),
        ("image_encoder_dinov2/config.json", {"hidden_size": 32}, "do not fit each other"),
        ("image_encoder_dinov2/config.json", {"num_hidden_layers": 3}, "lacks encoder.layer.2"),
        ("feature_extractor_dinov2/preprocessor_config.json", {"size": {"height": 3}}, "does not say 'shortest_edge'"),
    ):
        with pytest.raises(CaptureError, match=said):
            load_triposg(altered(name, **values))
    cut = Path(altered("vae/config.json")) / "vae/diffusion_pytorch_model.safetensors"
    cut.unlink()
    cut.write_bytes(b"a part")
    with pytest.raises(CaptureError, match=r"vae' cannot be read.*Download all of"):
        load_triposg(str(cut.parent.parent))
    for words in (["steps"], ["size=3"], ["tokens=few"], ["resolution=30"], ["window=-1"]):
        with pytest.raises(CaptureError, match="TripoSG"):
            Settings().changed(words)
    assert Settings().changed(["steps=9", "guidance=2.5"]) == Settings(steps=9, guidance=2.5)


def test_a_frame_without_a_surface_takes_its_neighbours(hub: Path) -> None:
    model = load_triposg(str(hub), Settings().changed([*SETTINGS, "window=0"]), "cpu")
    pictures, masks = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(5)), torch.ones(3, 40, 40)
    latents = model.latents(model.image_tokens(pictures, masks))
    highest = torch.stack([model.decoder.grid(model.decoder.memory(latents[frame : frame + 1]), 16).max() for frame in range(3)])
    order = highest.argsort()
    model.decoder.decoder.proj_out.bias.data += highest[order[:2]].mean()  # the lowest field is nowhere inside now
    found = model.surfaces(pictures, masks, 10)
    gone = int(order[0])
    neighbour = 1 if gone != 1 else 0
    np.testing.assert_array_equal(found[gone], found[neighbour])
    assert not np.array_equal(found[int(order[1])], found[int(order[2])])
    model.decoder.decoder.proj_out.bias.data += 1e3
    with pytest.raises(CaptureError, match="no surface in any frame"):
        model.surfaces(pictures, masks, 10)


def test_it_computes_in_half_precision(hub: Path) -> None:
    """As on CUDA."""
    whole, half = (load_triposg(str(hub), Settings().changed(SETTINGS), "cpu") for _ in range(2))
    half.half()
    pictures, masks = torch.rand(3, 3, 40, 40), torch.ones(3, 40, 40)
    tokens, rough = whole.image_tokens(pictures, masks), half.image_tokens(pictures, masks)
    assert rough.dtype == torch.float16
    torch.testing.assert_close(half.latents(rough), whole.latents(tokens), atol=0.05, rtol=0.05)
    assert half.surfaces(pictures, masks, 20).shape == (3, 20, 3)


def test_weights_in_half_precision_are_read(hub: Path, tmp_path: Path) -> None:
    for path in hub.iterdir():
        (tmp_path / path.name).mkdir()
        for file in path.iterdir():
            (tmp_path / path.name / file.name).symlink_to(file)
    file = tmp_path / "transformer/diffusion_pytorch_model.safetensors"
    half = {name: value.half() for name, value in load_file(file).items()}
    file.unlink()
    save_file(half, file)
    model = load_triposg(str(tmp_path), device="cpu")
    assert model.transformer.proj_in.weight.dtype == torch.float32
    assert not any(weight.requires_grad or weight.is_meta for weight in model.parameters())


def test_papers_and_speed_run_with_it(hub: Path, beast: Asset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    v1 = MoCapV1(V1)
    torch.nn.init.normal_(v1.mesh2pose.head[-1].weight, std=0.1)  # an untrained one moves nothing
    save_v1(v1, tmp_path / "v1.safetensors")
    (tmp_path / "baked").mkdir()
    save_asset(beast, tmp_path / "baked" / "beast.npz")
    arguments = [str(tmp_path / "baked"), "--out", str(tmp_path / "out"), "--protocols", "same-clip", "--clips", "1"]
    with pytest.raises(SystemExit):
        papers.main([*arguments, "--triposg", str(hub)])
    assert "--triposg needs --v1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        papers.main([*arguments, "--v1", str(tmp_path / "v1.safetensors"), "--triposg", str(tmp_path)])
    assert "is not TripoSG as its hub repository lies" in capsys.readouterr().err
    assert papers.main([*arguments, "--v1", str(tmp_path / "v1.safetensors"), "--triposg", str(hub), *SETTINGS]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    scores = {row["method"]: row["scores"] for row in results["averages"]}
    assert np.isfinite(scores["V1, TripoSG mesh"]["rotation"])
    assert scores["V1, TripoSG mesh"]["mpjpe_cm"] != scores["V1, predicted mesh"]["mpjpe_cm"]
    options = ["--frames", "4", "--runs", "1", "--no-capture", "--v1", str(tmp_path / "v1.safetensors"), "--triposg", str(hub), *SETTINGS]
    assert speed.main([*options, "--rig", str(tmp_path / "baked" / "beast.npz")]) == 0
    text = capsys.readouterr().out
    assert "V1, with TripoSG, takes" in text
    row = next(line for line in text.splitlines() if "video2mesh, TripoSG" in line)
    assert float(row.split("|")[5]) > 0  # its operations are counted
