"""A compiled z-buffer with the pixel convention of backend/rasterizer.py: centres at +0.5, origin at the outer top left corner.

Triangles are set up in homogeneous form (Olano and Greer 1997): with corners a, b, c in the camera frame and the ray d = (x, y, 1)
of a pixel, the weights d·(b×c), d·(c×a), d·(a×b) all have the sign of the determinant a·(b×c) exactly where the ray meets the
triangle in front of the camera, and their sum over the determinant is 1/z. No clipping at the near plane is needed.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled

NEAR = 1e-3


@compiled()
def rasterize(points, triangles, first, fx, fy, cx, cy, stride, ox, oy, near, inverse_depth, ids):  # type: ignore[no-untyped-def]
    """Draw triangles into a sample grid, keeping the nearest.

    points: (V, 3) camera frame; triangles: (F, 3); first: number added to the triangle's index in ids.
    fx, fy, cx, cy: intrinsics in units of the grid that this pass draws; sample (row, column) of the pass has its centre at +0.5 and
    is stored at [row * stride + oy, column * stride + ox], so that several passes (one per moment) share one buffer.
    inverse_depth: (H, W) float32, 1/z, 0 where nothing; ids: (H, W) int32, -1 where nothing. Both are updated.
    """
    rows = (inverse_depth.shape[0] - oy + stride - 1) // stride
    columns = (inverse_depth.shape[1] - ox + stride - 1) // stride
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ax, ay, az = float(points[a, 0]), float(points[a, 1]), float(points[a, 2])
        bx, by, bz = float(points[b, 0]), float(points[b, 1]), float(points[b, 2])
        qx, qy, qz = float(points[c, 0]), float(points[c, 1]), float(points[c, 2])
        if az <= near and bz <= near and qz <= near:
            continue
        x0, x1, y0, y1 = 0, columns - 1, 0, rows - 1
        if az > near and bz > near and qz > near:
            ua, ub, uc = ax / az * fx + cx, bx / bz * fx + cx, qx / qz * fx + cx
            va, vb, vc = ay / az * fy + cy, by / bz * fy + cy, qy / qz * fy + cy
            left, right = min(ua, min(ub, uc)), max(ua, max(ub, uc))
            top, bottom = min(va, min(vb, vc)), max(va, max(vb, vc))
            if not (right >= 0.5 and left <= columns and bottom >= 0.5 and top <= rows):
                continue
            # One sample more on each side: rounding must not lose a sample that lies on an edge.
            x0, x1 = max(0, math.ceil(left - 0.5001)), min(columns - 1, math.floor(right - 0.4999))
            y0, y1 = max(0, math.ceil(top - 0.5001)), min(rows - 1, math.floor(bottom - 0.4999))
            if x1 < x0 or y1 < y0:
                continue
        px, py, pz = by * qz - bz * qy, bz * qx - bx * qz, bx * qy - by * qx
        det = ax * px + ay * py + az * pz
        if not abs(det) > 1e-20:
            continue
        scale = 1.0 / det
        rx, ry, rz = qy * az - qz * ay, qz * ax - qx * az, qx * ay - qy * ax
        sx, sy, sz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        stepx, stepy = 1.0 / fx, 1.0 / fy
        dx, dy = (x0 + 0.5 - cx) * stepx, (y0 + 0.5 - cy) * stepy
        wa, wb, wc = (dx * px + dy * py + pz) * scale, (dx * rx + dy * ry + rz) * scale, (dx * sx + dy * sy + sz) * scale
        wax, wbx, wcx = px * stepx * scale, rx * stepx * scale, sx * stepx * scale
        way, wby, wcy = py * stepy * scale, ry * stepy * scale, sy * stepy * scale
        number = first + k
        limit = 1.0 / near
        for y in range(y0, y1 + 1):
            fa, fb, fc = wa, wb, wc
            row = y * stride + oy
            for x in range(x0, x1 + 1):
                if fa >= 0.0 and fb >= 0.0 and fc >= 0.0:
                    nearness = fa + fb + fc
                    column = x * stride + ox
                    if nearness > inverse_depth[row, column] and nearness < limit:
                        inverse_depth[row, column] = nearness
                        ids[row, column] = number
                fa += wax
                fb += wbx
                fc += wcx
            wa += way
            wb += wby
            wc += wcy


@compiled()
def vertex_normals(points, triangles, normals):  # type: ignore[no-untyped-def]
    """Area-weighted unit normals (V, 3) of a posed mesh, written into normals; returns the box (2, 3) about the points."""
    normals[:] = 0.0
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2)
        scale = 1.0 / length if length > 1e-20 else 0.0
        normals[i, 0] *= scale
        normals[i, 1] *= scale
        normals[i, 2] *= scale
    box = np.empty((2, 3))
    for axis in range(3):
        low = high = points[0, axis]
        for i in range(points.shape[0]):
            low, high = min(low, points[i, axis]), max(high, points[i, axis])
        box[0, axis], box[1, axis] = low, high
    return box


def draw(points: np.ndarray, triangles: np.ndarray, intrinsics: np.ndarray, size: int, samples: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The bare z-buffer of one picture: triangle ids (size·samples)² int32 (-1 empty) and depths float32 (inf empty)."""
    side = size * samples
    nearness, ids = np.zeros((side, side), np.float32), np.full((side, side), -1, np.int32)
    fx, fy, cx, cy = (float(v) * samples for v in intrinsics)
    rasterize(np.asarray(points, np.float32), np.asarray(triangles, np.int32), 0, fx, fy, cx, cy, 1, 0, 0, NEAR, nearness, ids)
    with np.errstate(divide="ignore"):
        return ids, 1.0 / nearness
