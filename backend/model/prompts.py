"""Joint prompts: what the references say about each bone, and what the frames' tokens are matched against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, JointBlock, TokenLayer
from .batch import ModelInput
from .config import ModelConfig
from .encoder import sample_map
from .rotations import matrix_to_6d
from .shapes import HEAD_SCALE, by_length, log_length


class FineMap(nn.Module):
    """Fuses 1/4 convolution features with 1/8 tokens into a map in which joints are found (B, fine_dim, S/4, S/4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.side = config.image_size // 8
        self.from_fine = nn.Conv2d(config.stem_dims[1], config.fine_dim, 1)
        self.from_tokens = nn.Linear(config.token_dim, config.fine_dim)
        self.mix = nn.Sequential(nn.GELU(), nn.Conv2d(config.fine_dim, config.fine_dim, 3, padding=1))

    def forward(self, fine: Tensor, tokens: Tensor) -> Tensor:
        coarse = self.from_tokens(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        x = self.from_fine(fine) + F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return x + self.mix(x)


class References(nn.Module):
    """Encoded references: tokens (B, N·L, token_dim), appearance at each point (B, N, J, K, fine_dim), prompts (B, N, J, joint_dim)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.mask_embedding = nn.Linear(1, config.token_dim)
        self.primary_embedding = nn.Parameter(torch.zeros(config.token_dim))
        self.layer = TokenLayer(config.token_dim, config.token_head_dim)
        self.norm = nn.LayerNorm(config.token_dim)
        geometry = 4 * config.points + 3 + 2 + 6 + 6 + 1  # head, vectors, carried, their lengths, pixel, two turns, which reference
        self.from_geometry = nn.Sequential(nn.Linear(geometry, config.joint_dim), nn.GELU(), nn.Linear(config.joint_dim, config.joint_dim))
        self.from_image = nn.Linear(2 * config.token_dim + config.points * config.fine_dim, config.joint_dim)
        self.blocks = nn.ModuleList(
            JointBlock(config.joint_dim, config.head_dim, 0, config.attention, config.token_dim) for _ in range(config.prompt_layers)
        )

    def _geometry(self, x: ModelInput) -> Tensor:
        """(B, N, J, geometry): the pose as points and turns, never as the bone's own axes."""
        batch, refs, joints = x.ref_uv.shape[:3]
        head = x.ref_xyz[:, :, :, 0]
        vectors = x.ref_xyz[:, :, :, 1:] - head[:, :, :, None]
        shown = x.point_mask[:, None, :, 1:, None]
        index = x.carriers.clamp_min(0)[:, None, :, None].expand(-1, refs, -1, 3)
        carried = (head - head.gather(2, index)) * (x.carriers >= 0)[:, None, :, None]
        primary = torch.zeros(batch, refs, joints, 1, device=head.device)
        primary[:, 0] = 1
        rest = matrix_to_6d(x.rest_turn)[:, None].expand(-1, refs, -1, -1)
        sizes = torch.cat([log_length(vectors) * shown, log_length(carried)[..., None, :]], -2).flatten(3)
        parts = [head * HEAD_SCALE, (by_length(vectors, vectors) * shown).flatten(3), by_length(carried, carried), sizes]
        return torch.cat([*parts, x.ref_uv[:, :, :, 0] * 4 - 2, matrix_to_6d(x.ref_turn), rest, primary], -1)

    def forward(self, x: ModelInput, tokens: Tensor, appearance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (B·N, L, C) from the encoder and the appearance map (B·N, c, h, w)."""
        batch, refs, joints, points = x.ref_uv.shape[:4]
        side = self.config.image_size // 8
        mask = F.adaptive_avg_pool2d(x.ref_masks.flatten(0, 1), side).flatten(2).transpose(1, 2)
        tokens = tokens + self.mask_embedding(mask)
        first = (torch.arange(refs, device=tokens.device) == 0).to(tokens.dtype)
        tokens = self.layer((tokens.unflatten(0, (batch, refs)) + first[:, None, None] * self.primary_embedding).flatten(0, 1))
        uv = x.ref_uv.flatten(0, 1)
        fine_samples = sample_map(appearance, uv.flatten(1, 2)).unflatten(1, (joints, points)) * x.point_mask.repeat_interleave(refs, 0)[..., None]
        prompt = self.from_geometry(self._geometry(x))
        if self.config.sample_reference:
            token_map = tokens.transpose(1, 2).unflatten(2, (side, side))
            coarse = sample_map(token_map, uv[:, :, :2].flatten(1, 2)).unflatten(1, (joints, 2))
            image = self.from_image(torch.cat([coarse.flatten(2), fine_samples.flatten(2)], -1))
            prompt = prompt + image.unflatten(0, (batch, refs))
        else:
            fine_samples = torch.zeros_like(fine_samples)
        source = self.norm(tokens).unflatten(0, (batch, refs))
        for block in self.blocks:
            prompt = block(prompt, x.hop, x.edge, x.joint_mask, None, None, source)
        return source.flatten(1, 2), fine_samples.unflatten(0, (batch, refs)), prompt


class Memory(nn.Module):
    """Each joint reads its own prompts from all references, the nearer in time the louder: (B, T, J, dim)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.joint_dim)
        self.attention = Attention(config.joint_dim, config.head_dim)
        self.decay = nn.Parameter(torch.zeros(config.joint_dim // config.head_dim))

    def forward(self, prompts: Tensor, times: Tensor, ref_times: Tensor) -> Tensor:
        distance = (times[:, :, None] - ref_times[:, None]).abs().nan_to_num(2.0).clamp(max=4)  # (B, T, N)
        bias = -F.softplus(self.decay)[:, None, None] * distance[:, None]  # (B, heads, T, N)
        memory = self.norm(prompts).transpose(1, 2)  # (B, J, N, dim)
        start = prompts[:, :1].expand(-1, times.shape[1], -1, -1)
        query = self.norm(start).transpose(1, 2)
        bias = bias[:, None].expand(-1, memory.shape[1], -1, -1, -1)
        return start + self.attention(query, memory, bias).transpose(1, 2)
