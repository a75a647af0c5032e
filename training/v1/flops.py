"""Arithmetic of the published sizes: floating point operations a frame, counted as two for each multiply and add. Stated as computed, not measured.

Only what dominates is counted: matrix products of linear layers and of attention. Where a paper leaves a number open it is taken low for V1
and high for V2, so that the ratio errs in V1's favour.
"""

from __future__ import annotations

from dataclasses import dataclass

from .triposg.config import DecoderConfig, Settings, TransformerConfig


@dataclass(frozen=True)
class Part:
    """One stage of a published model and its operations for one frame."""

    model: str
    name: str
    flops: float
    how: str


def linear(tokens: float, inner: float, outer: float) -> float:
    """A linear layer over tokens."""
    return 2 * tokens * inner * outer


def attention(queries: float, keys: float, dim: float) -> float:
    """Scores and weighted sums, without the projections."""
    return 4 * queries * keys * dim


def vision_transformer(tokens: int, dim: int, layers: int, factor: int = 4) -> float:
    """Self-attention with its four projections and a feed-forward, per layer."""
    return layers * (linear(tokens, dim, (4 + 2 * factor) * dim) + attention(tokens, tokens, dim))


def cross(queries: int, keys: int, dim: int, window: int = 1) -> float:
    """Cross-attention to the keys of `window` frames: a frame's keys are projected once, whoever looks at them."""
    return linear(2 * queries, dim, dim) + linear(2 * keys, dim, dim) + attention(queries, window * keys, dim)


def triposg(config: TransformerConfig, settings: Settings, image: int, source: int) -> float:
    """TripoSG's transformer for one frame: latents and a token of time, to themselves and to `image` tokens of so many channels; with and without
    its condition in every step; every other layer looks at the frames of the window as well. The decoder is triposg_decoder."""
    tokens, width, frames = settings.tokens + 1, config.width, 2 * settings.window + 1
    layer = vision_transformer(tokens, width, 1)
    seen = linear(2 * tokens, width, width) + linear(2 * image, source, width) + attention(tokens, image, width)
    beside = attention(tokens, (frames - 1) * tokens, width) * -(-config.num_layers // 2)
    skips = linear(tokens, 2 * width, width) * ((config.num_layers - 1) // 2)
    ends = 2 * linear(settings.tokens, config.in_channels, width) + 2 * linear(1, width, 4 * width)
    return settings.steps * (2 if settings.guidance > 1 else 1) * (config.num_layers * (layer + seen) + beside + skips + ends)


def triposg_decoder(config: DecoderConfig, tokens: int) -> float:
    """What its decoder does once for a frame's latents; places asked of it are left out, since it depends on the grid how many there are."""
    return linear(tokens, config.latent_channels, config.width_decoder) + vision_transformer(tokens, config.width_decoder, config.num_layers_decoder)


def published(joints: int = 50, points: int = 2048) -> list[Part]:
    """V1 and V2 as published, for a rig of so many joints.

    V2: released configuration (DINOv2-large on 257 tokens; video2pose 8 layers, pose2rot 4 + 4 + 8 of width 256). V1: TripoSG (21 layers of
    width 2048 on 2048 latents, 50 steps, each with and without its condition, a window of 3 frames in every other layer; its window over
    image tokens and the places that its decoder is asked for are left out), mesh2pose (4 and 12 layers of width 256, windows of 5 frames of
    image and point tokens), inverse kinematics as here.
    """
    image, dim = 257, 256
    dino = vision_transformer(image, 1024, 24)
    graph = linear(4 * joints, dim, dim) + attention(joints, joints, dim)
    feed_forward = linear(joints, dim, 8 * dim)
    time = linear(4 * joints, dim, dim) + attention(joints, 5, dim)
    video2pose = linear(image, 1024, dim) + 8 * (2 * graph + cross(joints, image, dim, 5))
    pose2rot = 4 * (graph + time + 2 * feed_forward) + 8 * (graph + time + 2 * feed_forward + linear(5 * joints, dim, dim))
    settings = Settings()
    denoising = triposg(TransformerConfig(), settings, image, 1024)
    mesh2pose = linear(image, 1024, dim) + 12 * (graph + time + feed_forward + cross(joints, image, dim, 5) + cross(joints, points, dim, 5))
    solver = 8 * (linear(3 * joints, 3 * joints, 3 * joints) + (3 * joints) ** 3)
    return [
        Part("V1", "video2mesh (TripoSG)", denoising, "2 · 50 steps, 21 layers, width 2048, 2049 and 257 tokens, in 11 layers those of 3 frames"),
        Part("V1", "its decoder", triposg_decoder(DecoderConfig(), settings.tokens), "16 layers, width 1024, 2048 tokens; no places asked"),
        Part("V1", "image tokens (DINOv2-large)", dino, "24 layers, width 1024, 257 tokens"),
        Part("V1", "mesh2pose", mesh2pose, f"12 layers, width 256, {joints} joints, 5 frames of 257 and {points} tokens"),
        Part("V1", "inverse kinematics", solver, f"8 steps, {3 * joints} unknowns"),
        Part("V2", "image tokens (DINOv2-large)", dino, "24 layers, width 1024, 257 tokens"),
        Part("V2", "video2pose", video2pose, f"8 layers, width 256, {joints} joints, 5 frames of 257 tokens"),
        Part("V2", "pose2rot", pose2rot, f"4 + 8 layers, width 256, {joints} joints"),
    ]


def total(parts: list[Part], model: str) -> float:
    """Operations a frame of one model."""
    return sum(part.flops for part in parts if part.model == model)
