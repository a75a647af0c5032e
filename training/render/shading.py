"""Compiled shading: coat texture at rest positions, light, shadows and coverage of one picture.

What these functions call lies in this file, since numba's cache looks at one file only to see whether it is stale.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled

# Columns of a creature's coat parameters (filled by appearance.py).
(ACCENT, STRIPE, STRIPE_FREQUENCY, AXIS, BLOTCH, FREQUENCY, THRESHOLD, SOFTNESS, STRENGTH, OFFSET, DETAIL, DETAIL_FREQUENCY, SPECULAR, SHININESS,
 FUZZ, FLAT, STRETCH, MIRROR) = (0, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 25)
COAT_SIZE = 26
LIGHT_SIZE = 23
TURNS = np.stack([np.cos(np.arange(16) * np.pi / 32), np.sin(np.arange(16) * np.pi / 32)], 1)
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
def barycentric(points, triangle, dx, dy):  # type: ignore[no-untyped-def]
    """Perspective-correct weights of the corners where the ray (dx, dy, 1) meets a triangle, and the depth there."""
    a, b, c = triangle[0], triangle[1], triangle[2]
    ax, ay, az = float(points[a, 0]), float(points[a, 1]), float(points[a, 2])
    bx, by, bz = float(points[b, 0]), float(points[b, 1]), float(points[b, 2])
    qx, qy, qz = float(points[c, 0]), float(points[c, 1]), float(points[c, 2])
    wa = dx * (by * qz - bz * qy) + dy * (bz * qx - bx * qz) + (bx * qy - by * qx)
    wb = dx * (qy * az - qz * ay) + dy * (qz * ax - qx * az) + (qx * ay - qy * ax)
    wc = dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + (ax * by - ay * bx)
    total = wa + wb + wc
    det = ax * (by * qz - bz * qy) + ay * (bz * qx - bx * qz) + az * (bx * qy - by * qx)
    inverse = 1.0 / total
    return wa * inverse, wb * inverse, wc * inverse, det * inverse


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
    x, y, z = x * g * p[STRETCH], y * g * p[STRETCH + 1], z * g * p[STRETCH + 2]
    grain = value_noise(lattice, x, y, z) + 0.6 * value_noise(lattice, y * 2.3 + 7.0, z * 2.3, x * 2.3)
    return share, max(0.05, 1.0 + p[DETAIL] * grain)


@compiled(inline="always")
def lit(shadow_map, to_light, fx, x, y, z, bias, spread, turn):  # type: ignore[no-untyped-def]
    """Share of four taps of the shadow map (inverse depths from the light) at which a camera-frame point sees the light.

    spread: radius of the taps in texels; turn: any whole number, turns the taps so that the steps of soft shadows become grain.
    """
    px = to_light[0, 0] * x + to_light[0, 1] * y + to_light[0, 2] * z + to_light[0, 3]
    py = to_light[1, 0] * x + to_light[1, 1] * y + to_light[1, 2] * z + to_light[1, 3]
    pz = to_light[2, 0] * x + to_light[2, 1] * y + to_light[2, 2] * z + to_light[2, 3]
    if pz <= 0.0:
        return 1.0
    side = shadow_map.shape[0]
    u, v = px / pz * fx + 0.5 * side, py / pz * fx + 0.5 * side
    if u < -spread or v < -spread or u > side + spread or v > side + spread:
        return 1.0
    limit = 1.0 / (pz - bias)
    cosine, sine = TURNS[turn & 15, 0] * spread, TURNS[turn & 15, 1] * spread
    seen = 0.0
    for _ in range(4):
        cosine, sine = -sine, cosine
        i, j = int(v + sine), int(u + cosine)
        if i < 0 or j < 0 or i >= side or j >= side or shadow_map[i, j] < limit:
            seen += 0.25
    return seen


@compiled(inline="always")
def dappled(lattice, to_light, light, x, y, z):  # type: ignore[no-untyped-def]
    """Share of the sun that foliage, fixed in the camera frame, lets through to a point."""
    u = (to_light[0, 0] * x + to_light[0, 1] * y + to_light[0, 2] * z) * light[21]
    v = (to_light[1, 0] * x + to_light[1, 1] * y + to_light[1, 2] * z) * light[21]
    noise = value_noise(lattice, u, v, light[22]) + 0.5 * value_noise(lattice, 2.1 * u, 2.1 * v, light[22] + 9.5)
    return 1.0 - light[20] * min(1.0, max(0.0, 0.5 + 2.5 * noise))


@compiled(inline="always")
def surface(points, triangle, dx, dy, normals, rest, albedo, occlusion, p, lattice, light, shadow_map, to_light, light_fx, turn):  # type: ignore[no-untyped-def]
    """Colour (square root of light, three channels) where the ray (dx, dy, 1) meets a triangle, both faces alike."""
    wa, wb, wc, z = barycentric(points, triangle, dx, dy)
    a, b, c = triangle[0], triangle[1], triangle[2]
    share, grain = coat(lattice, p, wa * rest[a, 0] + wb * rest[b, 0] + wc * rest[c, 0], wa * rest[a, 1] + wb * rest[b, 1] + wc * rest[c, 1],
                        wa * rest[a, 2] + wb * rest[b, 2] + wc * rest[c, 2])
    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
    inverse = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    facing = -(nx * dx + ny * dy + nz)
    if facing < 0.0:
        inverse, facing = -inverse, -facing
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    ray = 1.0 / math.sqrt(dx * dx + dy * dy + 1.0)
    facing *= abs(inverse) * ray
    sun = max(0.0, (nx * light[0] + ny * light[1] + nz * light[2] + light[16]) / (1.0 + light[16]))
    if sun > 0.0 and light[17] > 0.0:
        sun *= 1.0 - light[17] * (1.0 - lit(shadow_map, to_light, light_fx, dx * z, dy * z, z, light[18], light[19], turn))
        if light[20] > 0.0:
            sun *= dappled(lattice, to_light, light, dx * z, dy * z, z)
    height = 0.5 + 0.5 * (nx * light[3] + ny * light[4] + nz * light[5])
    open_sky = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
    gloss = 0.0
    if p[SPECULAR] > 0.0:
        hx, hy, hz = light[0] - dx * ray, light[1] - dy * ray, light[2] - ray
        half = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
        gloss = p[SPECULAR] * max(0.0, half) ** p[SHININESS] * min(1.0, sun * 2.0)
    flat = p[FLAT]
    rim = (1.0 + p[FUZZ] * (1.0 - facing) ** 2) * (1.0 - flat)
    gain = light[15] * grain
    out = (0.0, 0.0, 0.0)
    for channel in range(3):
        base = wa * albedo[a, channel] + wb * albedo[b, channel] + wc * albedo[c, channel]
        base += share * (p[ACCENT + channel] - base)
        sky = (light[12 + channel] + height * (light[9 + channel] - light[12 + channel])) * open_sky
        value = math.sqrt(min(1.0, max(0.0, gain * (base * ((sun * light[6 + channel] + sky) * rim + flat) + gloss * light[6 + channel]))))
        out = (out[1], out[2], value)
    return out


@compiled()
def shade(ids, nearness, points, normals, triangles, owner, rest, albedo, occlusion, coats, lattice, intrinsics, samples, light,  # type: ignore[no-untyped-def]
          shadow_map, to_light, light_fx, color, cover, subject, depth):
    """Resolve a sample grid into one picture.

    ids, nearness: (S·samples, S·samples) of rasterize; points: (M, V, 3) per moment, M is 1 or samples² (one per sample position).
    normals: (V, 3) of the middle moment; owner: (F,) creature of a triangle, 0 is the subject; rest: (V, 3) normalised; albedo: (V, 3) linear.
    occlusion: (V,) share of the sky that is seen; coats: (creatures, COAT_SIZE).
    light: (LIGHT_SIZE,) direction to the light, up, sun colour, sky colour, ground colour, exposure, wrap, darkness of shadows, bias, radius of
    soft shadows in texels, darkness, frequency and offset of dapples.
    color: (S, S, 3) premultiplied square root of light; cover, subject: (S, S) 0..1; depth: (S, S) subject's inverse depth. All written.
    """
    size, moments = color.shape[0], points.shape[0]
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    weight = 1.0 / (samples * samples)
    for row in range(size):
        for column in range(size):
            previous, z_before = -1, 0.0
            red, green, blue = 0.0, 0.0, 0.0
            total_r, total_g, total_b, all_cover, subject_cover, nearest = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for sample in range(samples * samples):
                i, j = row * samples + sample // samples, column * samples + sample % samples
                k = ids[i, j]
                if k < 0:
                    continue
                all_cover += weight
                if owner[k] == 0:
                    subject_cover += weight
                    nearest = max(nearest, nearness[i, j])
                z = 1.0 / nearness[i, j]
                # A neighbouring triangle of the same surface has nearly the same colour: shading once a pixel is enough there.
                if previous < 0 or (k != previous and (moments > 1 or abs(z - z_before) > light[18] or owner[k] != owner[previous])):
                    previous, z_before = k, z
                    turn = row * 7 + column * 13 + sample * 3
                    red, green, blue = surface(points[sample if moments > 1 else 0], triangles[k], ((j + 0.5) / samples - cx) / fx,
                                               ((i + 0.5) / samples - cy) / fy, normals, rest, albedo, occlusion, coats[owner[k]], lattice, light,
                                               shadow_map, to_light, light_fx, turn)
                total_r += red
                total_g += green
                total_b += blue
            color[row, column, 0], color[row, column, 1], color[row, column, 2] = total_r * weight, total_g * weight, total_b * weight
            cover[row, column], subject[row, column], depth[row, column] = all_cover, subject_cover, nearest


@compiled()
def seen_from(points, normals, shadow_map, to_light, light_fx, toward, bias, total, weight):  # type: ignore[no-untyped-def]
    """Add to total (V,) the light that each vertex gets from one direction, and to weight (V,) what it would get unhindered."""
    for v in range(points.shape[0]):
        facing = normals[v, 0] * toward[0] + normals[v, 1] * toward[1] + normals[v, 2] * toward[2] + 0.3
        if facing > 0.0:
            weight[v] += facing
            total[v] += facing * lit(shadow_map, to_light, light_fx, points[v, 0], points[v, 1], points[v, 2], bias, 0.5, 0)


@compiled()
def composite(color, cover, backdrop, gain, intrinsics, up, height, shadow, lattice, light, shadow_map, to_light, light_fx, out):  # type: ignore[no-untyped-def]
    """Lay a shaded picture over its backdrop, with the shadow that falls on the ground plane up·p = height.

    color: (S, S, 3) premultiplied; backdrop: (S, S, 3) uint8; gain: (3,) white balance of the result; shadow: 0..1 darkness; out: (S, S, 3) float32 0..255.
    """
    size, spread = color.shape[0], light[19]
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
                    turn = row * 7 + column * 13
                    inner = lit(shadow_map, to_light, light_fx, dx * z, dy * z, z, 0.0, spread * 0.5, turn + 5)
                    seen = 0.5 * inner + 0.5 * lit(shadow_map, to_light, light_fx, dx * z, dy * z, z, 0.0, spread, turn)
                    if light[20] > 0.0:
                        seen *= dappled(lattice, to_light, light, dx * z, dy * z, z)
                    dim = 1.0 - shadow * (1.0 - seen)
            for channel in range(3):
                value = color[row, column, channel] * 255.0 + rest * dim * backdrop[row, column, channel]
                out[row, column, channel] = min(255.0, max(0.0, value * gain[channel]))


@compiled()
def lay_over(picture, cover, front):  # type: ignore[no-untyped-def]
    """Lay something (S, S, 4) uint8 over a picture (S, S, 3) float32 0..255 and take it out of a coverage (S, S), in place."""
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            if front[i, j, 3] > 0:
                alpha = front[i, j, 3] / 255.0
                cover[i, j] *= 1.0 - alpha
                for c in range(3):
                    picture[i, j, c] += alpha * (front[i, j, c] - picture[i, j, c])
