"""Compiled shading: coat texture at rest positions, light, shadows and coverage of one picture."""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled
from .raster import barycentric

# Columns of a creature's coat parameters (appearance.Coat.pack).
(ACCENT, STRIPE, STRIPE_FREQUENCY, AXIS, BLOTCH, FREQUENCY, THRESHOLD, SOFTNESS, STRENGTH, OFFSET, DETAIL, DETAIL_FREQUENCY, SPECULAR, SHININESS,
 FUZZ, FLAT, GLOW, MIRROR) = (0, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23)
COAT_SIZE = 24
LATTICE = np.random.default_rng(5).uniform(-1.0, 1.0, (32, 32, 32)).astype(np.float32)


@compiled(inline="always")
def value_noise(lattice, x, y, z):  # type: ignore[no-untyped-def]
    """Smooth noise in -1..1 of a repeating 32³ lattice at one point."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    i, j, k = int(fx) & 31, int(fy) & 31, int(fz) & 31
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v), w * w * (3.0 - 2.0 * w)
    i1, j1, k1 = (i + 1) & 31, (j + 1) & 31, (k + 1) & 31
    a = lattice[i, j, k] + u * (lattice[i1, j, k] - lattice[i, j, k])
    b = lattice[i, j1, k] + u * (lattice[i1, j1, k] - lattice[i, j1, k])
    c = lattice[i, j, k1] + u * (lattice[i1, j, k1] - lattice[i, j, k1])
    d = lattice[i, j1, k1] + u * (lattice[i1, j1, k1] - lattice[i, j1, k1])
    a += v * (b - a)
    c += v * (d - c)
    return a + w * (c - a)


@compiled(inline="always")
def coat(lattice, p, x, y, z):  # type: ignore[no-untyped-def]
    """Share of the accent colour (0..1) and brightness factor at a normalised rest position, for one row of coat parameters."""
    if p[MIRROR] > 0.5:
        x = abs(x)
    x, y, z = x + p[OFFSET], y + p[OFFSET + 1], z + p[OFFSET + 2]
    share = 0.0
    if p[STRENGTH] > 0.0:
        f = p[FREQUENCY]
        blotch = value_noise(lattice, x * f, y * f, z * f)
        field = p[BLOTCH] * blotch
        if p[STRIPE] > 0.0:
            phase = (x * p[AXIS] + y * p[AXIS + 1] + z * p[AXIS + 2]) * p[STRIPE_FREQUENCY] + blotch
            field += p[STRIPE] * math.sin(6.2831853 * phase)
        t = min(1.0, max(0.0, (field - p[THRESHOLD]) / p[SOFTNESS] * 0.5 + 0.5))
        share = p[STRENGTH] * t * t * (3.0 - 2.0 * t)
    g = p[DETAIL_FREQUENCY]
    grain = value_noise(lattice, x * g, y * g, z * g) + 0.6 * value_noise(lattice, y * g * 2.3 + 7.0, z * g * 2.3, x * g * 2.3)
    return share, max(0.05, 1.0 + p[DETAIL] * grain)


@compiled(inline="always")
def lit(shadow_map, to_light, fx, x, y, z, bias, spread, turn):  # type: ignore[no-untyped-def]
    """Share of four taps of the shadow map (inverse depths from the light) at which a camera-frame point sees the light."""
    px = to_light[0, 0] * x + to_light[0, 1] * y + to_light[0, 2] * z + to_light[0, 3]
    py = to_light[1, 0] * x + to_light[1, 1] * y + to_light[1, 2] * z + to_light[1, 3]
    pz = to_light[2, 0] * x + to_light[2, 1] * y + to_light[2, 2] * z + to_light[2, 3]
    if pz < 1e-6:
        return 1.0
    side = shadow_map.shape[0]
    u, v = px / pz * fx + 0.5 * side, py / pz * fx + 0.5 * side
    limit = 1.0 / (pz - bias)
    cosine, sine = math.cos(turn) * spread, math.sin(turn) * spread
    seen = 0.0
    for tap in range(4):
        cosine, sine = -sine, cosine
        i, j = int(v + sine), int(u + cosine)
        if i < 0 or j < 0 or i >= side or j >= side or shadow_map[i, j] < limit:
            seen += 0.25
    return seen


@compiled()
def shade(ids, nearness, points, normals, triangles, owner, rest, albedo, coats, lattice, intrinsics, samples, light, shadow_map, to_light,  # type: ignore[no-untyped-def]
          light_fx, color, cover, subject, depth):
    """Resolve a sample grid into one picture.

    ids, nearness: (S·samples, S·samples) of rasterize; points: (M, V, 3) per moment, M is 1 or samples² (one per sample position); normals: (V, 3) of the middle moment.
    owner: (F,) creature of a triangle, 0 is the subject; rest: (V, 3) normalised; albedo: (V, 3) linear; coats: (creatures, COAT_SIZE).
    light: (20,) direction to the light, up, sun colour, sky colour, ground colour, exposure, wrap, shadow strength, bias, softness of the shadow.
    color: (S, S, 3) premultiplied square root of light; cover, subject: (S, S) 0..1; depth: (S, S) subject's inverse depth. All written.
    """
    size = color.shape[0]
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    moments = points.shape[0]
    weight = 1.0 / (samples * samples)
    for row in range(size):
        for column in range(size):
            previous, moment_before = -1, -1
            red, green, blue = 0.0, 0.0, 0.0
            total_r, total_g, total_b, all_cover, subject_cover, nearest = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for sample in range(samples * samples):
                i, j = row * samples + sample // samples, column * samples + sample % samples
                k = ids[i, j]
                if k < 0:
                    continue
                all_cover += weight
                creature = owner[k]
                if creature == 0:
                    subject_cover += weight
                    nearest = max(nearest, nearness[i, j])
                moment = sample if moments > 1 else 0
                if k != previous or moment != moment_before:
                    previous, moment_before = k, moment
                    dx, dy = ((j + 0.5) / samples - cx) / fx, ((i + 0.5) / samples - cy) / fy
                    wa, wb, wc, z = barycentric(points[moment], triangles[k], dx, dy)
                    a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
                    p = coats[creature]
                    share, grain = coat(lattice, p, wa * rest[a, 0] + wb * rest[b, 0] + wc * rest[c, 0],
                                        wa * rest[a, 1] + wb * rest[b, 1] + wc * rest[c, 1], wa * rest[a, 2] + wb * rest[b, 2] + wc * rest[c, 2])
                    n = normals
                    nx, ny, nz = wa * n[a, 0] + wb * n[b, 0] + wc * n[c, 0], wa * n[a, 1] + wb * n[b, 1] + wc * n[c, 1], wa * n[a, 2] + wb * n[b, 2] + wc * n[c, 2]
                    inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
                    facing = -(nx * dx + ny * dy + nz)
                    if facing < 0.0:
                        inverse, facing = -inverse, -facing
                    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
                    ray = 1.0 / math.sqrt(dx * dx + dy * dy + 1.0)
                    facing *= abs(inverse) * ray
                    across = nx * light[0] + ny * light[1] + nz * light[2]
                    sun = max(0.0, (across + light[16]) / (1.0 + light[16]))
                    if sun > 0.0 and light[17] > 0.0:
                        turn = (row * 7 + column * 13 + sample * 3) * 0.7
                        seen = lit(shadow_map, to_light, light_fx, dx * z, dy * z, z, light[18], light[19], turn)
                        sun *= 1.0 - light[17] * (1.0 - seen)
                    height = 0.5 + 0.5 * (nx * light[3] + ny * light[4] + nz * light[5])
                    hx, hy, hz = light[0] - dx * ray, light[1] - dy * ray, light[2] - ray
                    half = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
                    gloss = p[SPECULAR] * max(0.0, half) ** p[SHININESS] * min(1.0, sun * 2.0) if p[SPECULAR] > 0.0 else 0.0
                    rim = 1.0 + p[FUZZ] * (1.0 - facing) ** 2
                    flat = p[FLAT]
                    gain = light[15] * grain
                    base_r = wa * albedo[a, 0] + wb * albedo[b, 0] + wc * albedo[c, 0]
                    base_g = wa * albedo[a, 1] + wb * albedo[b, 1] + wc * albedo[c, 1]
                    base_b = wa * albedo[a, 2] + wb * albedo[b, 2] + wc * albedo[c, 2]
                    base_r += share * (p[ACCENT] - base_r)
                    base_g += share * (p[ACCENT + 1] - base_g)
                    base_b += share * (p[ACCENT + 2] - base_b)
                    lr = (sun * light[6] + light[12] + height * (light[9] - light[12])) * rim * (1.0 - flat) + flat
                    lg = (sun * light[7] + light[13] + height * (light[10] - light[13])) * rim * (1.0 - flat) + flat
                    lb = (sun * light[8] + light[14] + height * (light[11] - light[14])) * rim * (1.0 - flat) + flat
                    red = math.sqrt(min(1.0, max(0.0, gain * (base_r * lr + gloss * light[6]))))
                    green = math.sqrt(min(1.0, max(0.0, gain * (base_g * lg + gloss * light[7]))))
                    blue = math.sqrt(min(1.0, max(0.0, gain * (base_b * lb + gloss * light[8]))))
                total_r += red
                total_g += green
                total_b += blue
            color[row, column, 0], color[row, column, 1], color[row, column, 2] = total_r * weight, total_g * weight, total_b * weight
            cover[row, column], subject[row, column], depth[row, column] = all_cover, subject_cover, nearest


@compiled()
def composite(color, cover, backdrop, gain, intrinsics, up, height, shadow, shadow_map, to_light, light_fx, spread, out):  # type: ignore[no-untyped-def]
    """Lay a shaded picture over its backdrop, with the shadow that falls on the ground plane up·p = height.

    color: (S, S, 3) premultiplied; backdrop: (S, S, 3) uint8; gain: (3,) white balance of the result; shadow: 0..1 darkness; out: (S, S, 3) float32 0..255.
    """
    size = color.shape[0]
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    for row in range(size):
        dy = (row + 0.5 - cy) / fy
        for column in range(size):
            rest = 1.0 - cover[row, column]
            dim = 1.0
            if shadow > 0.0 and rest > 0.0:
                dx = (column + 0.5 - cx) / fx
                along = dx * up[0] + dy * up[1] + up[2]
                z = height / along if abs(along) > 1e-6 else -1.0
                if z > 0.0:
                    turn = (row * 7 + column * 13) * 0.7
                    dim = 1.0 - shadow * (1.0 - lit(shadow_map, to_light, light_fx, dx * z, dy * z, z, 0.0, spread, turn))
            for channel in range(3):
                value = color[row, column, channel] * 255.0 + rest * dim * backdrop[row, column, channel]
                out[row, column, channel] = min(255.0, max(0.0, value * gain[channel]))
