"""A random appearance: coat, light and exposure, drawn once per clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import shading

# sRGB colours of fur, skin, feathers and shells; drawn pairs are blended and jittered, so these are only the centres of a cloud.
NATURAL = np.array([
    [0.24, 0.16, 0.10], [0.42, 0.28, 0.17], [0.60, 0.44, 0.28], [0.76, 0.62, 0.44], [0.86, 0.78, 0.64], [0.93, 0.91, 0.87], [0.10, 0.09, 0.09],
    [0.20, 0.19, 0.19], [0.42, 0.41, 0.40], [0.62, 0.61, 0.59], [0.62, 0.31, 0.13], [0.78, 0.45, 0.18], [0.38, 0.36, 0.22], [0.50, 0.50, 0.34],
    [0.33, 0.40, 0.24], [0.28, 0.33, 0.40], [0.70, 0.52, 0.48], [0.90, 0.66, 0.60],
])


def draw_color(rng: np.random.Generator, vivid: float = 0.1) -> np.ndarray:
    """One sRGB colour (3,): mostly of animals, sometimes any hue."""
    if rng.random() < vivid:
        return _rotate_hue(np.array([rng.uniform(0.3, 1.0), rng.uniform(0.0, 0.7), rng.uniform(0.0, 0.5)]), rng.uniform(0, 2 * np.pi))
    one, other = NATURAL[rng.integers(len(NATURAL), size=2)]
    return np.clip((one + rng.uniform(0, 0.5) * (other - one)) * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03, 3), 0.02, 0.98)


def _rotate_hue(color: np.ndarray, angle: float) -> np.ndarray:
    """Turn sRGB colours (..., 3) about the grey axis by an angle in radians."""
    axis = np.full(3, 3.0 ** -0.5)
    cross = np.cross(np.broadcast_to(axis, color.shape), color)
    return np.clip(color * np.cos(angle) + cross * np.sin(angle) + axis * (color @ axis)[..., None] * (1 - np.cos(angle)), 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Light:
    """Light of a clip, in a frame whose third axis stands against gravity.

    elevation, azimuth: the sun's place, radians. sun, sky, ground: (3,) linear colours. wrap: how far light creeps round an edge.
    shadow: 0..1 darkness of cast shadows. softness: of their edge, share of the subject's size. exposure: factor. balance: (3,) factors.
    dapple: (3,) darkness, frequency (patches in the subject's size) and offset of the shade of leaves.
    """

    elevation: float
    azimuth: float
    sun: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    wrap: float
    shadow: float
    softness: float
    exposure: float
    balance: np.ndarray
    dapple: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Light:
        """From an overcast sky to a hard low sun."""
        hard = rng.random() ** 1.2
        warm = rng.normal(0, 0.10) * hard
        sun = (0.15 + 1.15 * hard) * np.array([1 + warm, 1.0, 1 - warm])
        sky = (1.05 - 0.75 * hard) * rng.uniform(0.6, 1.2) * np.array([0.97, 1.0, 1.05 + rng.uniform(0, 0.12)])
        ground = sky * rng.uniform(0.15, 0.75) * (1 + rng.normal(0, 0.06, 3)) + 0.05 * sun
        elevation = np.radians(rng.uniform(18, 88) if rng.random() < 0.9 else rng.uniform(-5, 18))
        if hard < 0.35:  # what is left of the shadow under clouds lies below the body
            elevation = np.radians(rng.uniform(65, 88))
        softness = rng.uniform(0.002, 0.04) + 0.12 * (1 - hard) ** 2
        return cls(elevation, rng.uniform(-np.pi, np.pi), sun, sky, ground, rng.uniform(0, 0.4), float(np.clip(0.15 + hard * rng.uniform(0.6, 1.2), 0, 0.95)),
                   softness, float(np.exp(rng.normal(0.0, 0.3))), np.exp(rng.normal(0, 0.05, 3)),
                   np.array([rng.uniform(0.3, 0.95) if rng.random() < 0.15 else 0.0, np.exp(rng.uniform(0.4, 2.2)), rng.uniform(0, 30)]))

    @property
    def falls(self) -> float:
        """Darkness of the shadow on the ground: none where the sun hardly stands above it."""
        return self.shadow if self.elevation > 0.1 else 0.0

    def direction(self, up: np.ndarray) -> np.ndarray:
        """Unit vector (3,) to the sun in the camera frame, given up (3,) there; azimuth 0 is behind the camera."""
        back = np.array([0.0, 0.0, -1.0]) - up * -up[2]
        back = back / np.linalg.norm(back) if np.linalg.norm(back) > 1e-3 else np.array([0.0, 1.0, 0.0])
        side = np.array([up[1] * back[2] - up[2] * back[1], up[2] * back[0] - up[0] * back[2], up[0] * back[1] - up[1] * back[0]])
        flat = np.cos(self.azimuth) * back + np.sin(self.azimuth) * side
        return np.cos(self.elevation) * flat + np.sin(self.elevation) * up

    def pack(self, up: np.ndarray, size: float) -> np.ndarray:
        """The row that shading.shade reads (LIGHT_SIZE,) float32; size is the subject's, in camera-frame units."""
        darkness, frequency, offset = self.dapple
        return np.concatenate([self.direction(up), up, self.sun, self.sky, self.ground, [self.exposure, self.wrap, self.shadow, 0.025 * size, 0.0],
                               [darkness, frequency / max(size, 1e-9), offset]]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Look:
    """Appearance of one creature and the light on it.

    base, belly: (3,) sRGB; belly_amount: 0..1 of countershading; cloud: (V, 3) slow colour variation, sRGB offsets.
    mesh: (V, 3) sRGB of the mesh, tinted, and mesh_amount 0..1 of it. coat: (shading.COAT_SIZE,) parameters of the pattern.
    camouflage: 0..1 of the backdrop's colour that the coat takes on. up: (3,) up at rest.
    """

    base: np.ndarray
    belly: np.ndarray
    belly_amount: float
    cloud: np.ndarray
    mesh: np.ndarray
    mesh_amount: float
    coat: np.ndarray
    camouflage: float
    light: Light
    up: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))

    @classmethod
    def random(cls, rng: np.random.Generator, mesh_colors: np.ndarray, rest_vertices: np.ndarray, up: np.ndarray | None = None) -> Look:
        """Draw an appearance for a mesh: colors (V, 3) sRGB 0..1 and rest positions (V, 3); up at rest, Blender's by default."""
        base = draw_color(rng)
        kind = rng.choice(["procedural", "mesh", "flat"], p=[0.68, 0.24, 0.08])
        belly = np.clip(base + rng.uniform(-0.1, 0.45) * (1 - base) + rng.normal(0, 0.03, 3), 0, 1) if rng.random() < 0.8 else draw_color(rng)
        rest = normalized(rest_vertices)
        amount = rng.uniform(0.0, 0.16) if kind == "procedural" else 0.03
        cloud = sum(_cloud(rng, rest, frequency) * (amount * 1.5 / frequency ** 0.5) for frequency in (1.5, 3.0, 7.0))
        mesh = _tint(rng, np.asarray(mesh_colors, np.float64))
        return cls(base, belly, rng.uniform(0.2, 1.0) if kind == "procedural" and rng.random() < 0.6 else 0.0, np.asarray(cloud), mesh,
                   {"procedural": 0.0, "mesh": rng.uniform(0.8, 1.0), "flat": 0.0}[str(kind)], _coat(rng, base, str(kind)),
                   rng.uniform(0.1, 0.8) if rng.random() < 0.2 else 0.0, Light.random(rng), np.array([0.0, 0.0, 1.0]) if up is None else np.asarray(up))

    def albedo(self, normals: np.ndarray, backdrop: np.ndarray | None = None) -> np.ndarray:
        """Linear colour (V, 3) float32 of the vertices; normals (V, 3) at rest, backdrop (3,) sRGB mean for camouflage."""
        below = np.clip(0.35 - 0.9 * (normals @ self.up), 0, 1)[:, None] * self.belly_amount
        color = self.base + below * (self.belly - self.base) + self.cloud
        color = color + self.mesh_amount * (self.mesh - color)
        if backdrop is not None and self.camouflage > 0:
            color = color + self.camouflage * (backdrop - color.mean(0))
        return (np.clip(color, 0.01, 0.97) ** 2).astype(np.float32)


def normalized(rest_vertices: np.ndarray) -> np.ndarray:
    """Rest positions (V, 3) float32 about their middle, longest side 1."""
    low, high = rest_vertices.min(0), rest_vertices.max(0)
    return ((rest_vertices - (low + high) / 2) / max(float((high - low).max()), 1e-12)).astype(np.float32)


def _cloud(rng: np.random.Generator, rest: np.ndarray, frequency: float) -> np.ndarray:
    """Slow random colour (V, 3): sines of random direction and phase, one luminance and one chroma field."""
    phases = rest @ rng.normal(0, frequency * 2.5, (3, 6)) + rng.uniform(0, 2 * np.pi, 6)
    wave = np.sin(phases)
    return wave[:, :3].sum(1, keepdims=True) * 0.5 + wave[:, 3:] * np.array([0.25, 0.15, 0.3])


def _tint(rng: np.random.Generator, colors: np.ndarray) -> np.ndarray:
    """The mesh's own colours, kept or changed in hue, contrast and brightness as a whole."""
    if rng.random() < 0.5:
        colors = _rotate_hue(colors, rng.normal(0, 0.3))
    if rng.random() < 0.5:
        colors = (colors - colors.mean(0)) * rng.uniform(0.3, 1.3) + colors.mean(0)
    return np.clip(colors, 0, 1) ** float(np.exp(rng.normal(0, 0.3))) if rng.random() < 0.7 else np.clip(colors, 0, 1)


def _coat(rng: np.random.Generator, base: np.ndarray, kind: str) -> np.ndarray:
    """Random parameters of the pattern on the skin: stripes, spots, patches or a mixture, fine grain, gloss and fuzz."""
    p = np.zeros(shading.COAT_SIZE, np.float32)
    accent = draw_color(rng) if rng.random() < 0.6 else np.clip(base * rng.uniform(0.3, 1.5), 0.02, 0.95)
    p[shading.ACCENT:shading.ACCENT + 3] = accent ** 2
    axis = rng.normal(0, 1, 3) * (np.array([0.25, 1.0, 0.25]) if rng.random() < 0.7 else 1.0)
    p[shading.AXIS:shading.AXIS + 3] = axis / np.linalg.norm(axis)
    pattern = rng.choice(["none", "stripes", "spots", "patches", "mottle"], p=[0.3, 0.15, 0.18, 0.2, 0.17])
    if kind == "flat" or (kind == "mesh" and rng.random() < 0.75):
        pattern = "none"
    stripe, blotch, frequency, threshold, softness = {
        "none": (0.0, 0.0, 1.0, 0.0, 1.0),
        "stripes": (1.0, rng.uniform(0, 0.6), rng.uniform(1.5, 5), rng.uniform(-0.3, 0.6), rng.uniform(0.15, 0.8)),
        "spots": (0.0, 1.0, rng.uniform(7, 22), rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.4)),
        "patches": (0.0, 1.0, rng.uniform(1.5, 5), rng.uniform(-0.25, 0.3), rng.uniform(0.02, 0.3)),
        "mottle": (rng.uniform(0, 0.3), 1.0, rng.uniform(4, 16), rng.uniform(-0.2, 0.2), rng.uniform(0.4, 1.5)),
    }[str(pattern)]
    p[shading.STRIPE], p[shading.BLOTCH], p[shading.FREQUENCY], p[shading.THRESHOLD], p[shading.SOFTNESS] = stripe, blotch, frequency, threshold, softness
    p[shading.STRIPE_FREQUENCY] = rng.uniform(3, 14)
    p[shading.STRENGTH] = 0.0 if pattern == "none" else rng.uniform(0.3, 1.0)
    p[shading.OFFSET:shading.OFFSET + 3] = rng.uniform(1, 30, 3)
    p[shading.DETAIL], p[shading.DETAIL_FREQUENCY] = (rng.uniform(0.0, 0.08) if kind == "flat" else rng.uniform(0.02, 0.38)), rng.uniform(9, 38)
    p[shading.STRETCH:shading.STRETCH + 3] = np.exp(rng.normal(0, 0.5, 3)) if rng.random() < 0.5 else 1.0
    p[shading.SPECULAR] = rng.uniform(0.02, 0.5) if rng.random() < 0.35 else 0.0
    p[shading.SHININESS] = np.exp(rng.uniform(np.log(4), np.log(60)))
    p[shading.FUZZ] = rng.uniform(0, 0.8) if rng.random() < 0.4 else 0.0
    p[shading.FLAT] = rng.uniform(0.6, 1.0) if rng.random() < 0.04 else 0.0
    p[shading.MIRROR] = rng.random() < 0.4
    return p
