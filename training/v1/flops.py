"""Arithmetic of the published sizes: floating point operations a frame, counted as two for each multiply and add. Stated as computed, not measured.

Only what dominates is counted: matrix products of linear layers and of attention. Where a paper leaves a number open it is taken low for V1
and high for V2, so that the ratio errs in V1's favour.
"""

from __future__ import annotations

from dataclasses import dataclass


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


def published(joints: int = 50, points: int = 2048) -> list[Part]:
    """V1 and V2 as published, for a rig of so many joints.

    V2: released configuration (DINOv2-large on 257 tokens; video2pose 8 layers, pose2rot 4 + 4 + 8 of width 256). V1: TripoSG (1.5 billion
    parameters on 2048 latent tokens, 50 steps, each with and without its condition; its decoder is left out), mesh2pose (4 and 12 layers of
    width 256, windows of 5 frames of image and point tokens), inverse kinematics as here.
    """
    image, dim = 257, 256
    dino = vision_transformer(image, 1024, 24)
    graph = linear(4 * joints, dim, dim) + attention(joints, joints, dim)
    feed_forward = linear(joints, dim, 8 * dim)
    time = linear(4 * joints, dim, dim) + attention(joints, 5, dim)
    video2pose = linear(image, 1024, dim) + 8 * (2 * graph + cross(joints, image, dim, 5))
    pose2rot = 4 * (graph + time + 2 * feed_forward) + 8 * (graph + time + 2 * feed_forward + linear(5 * joints, dim, dim))
    triposg = 2 * 50 * 2 * 1.5e9 * 2048
    mesh2pose = linear(image, 1024, dim) + 12 * (graph + time + feed_forward + cross(joints, image, dim, 5) + cross(joints, points, dim, 5))
    solver = 8 * (linear(3 * joints, 3 * joints, 3 * joints) + (3 * joints) ** 3)
    return [
        Part("V1", "video2mesh (TripoSG)", triposg, "2 · 50 steps · 2 FLOPs · 1.5e9 parameters · 2048 tokens, no decoder"),
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
