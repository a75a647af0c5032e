"""The z-buffer against plain loops, and pictures of rigs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mocap_anything.backend import rasterizer
from mocap_anything.backend.bone_shapes import bone_mesh
from mocap_anything.backend.camera import Camera
from mocap_anything.backend.rasterizer import draw_mesh, draw_rig, rasterize, shade, vertex_normals
from mocap_anything.backend.rig import Mesh, Rig

SIZE = (20, 27)
INTRINSICS = np.array([25.0, 24.0, 13.1, 10.3])


def plain_raster(points: np.ndarray, triangles: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, weights and depths by asking every triangle at every pixel centre."""
    ids, weights, depth = np.full(size, -1), np.zeros((*size, 3)), np.full(size, np.inf)
    fx, fy, cx, cy = intrinsics
    for number, triangle in enumerate(triangles):
        corners = points[triangle]
        if (corners[:, 2] <= rasterizer.NEAR).any():
            continue
        x, y = corners[:, 0] / corners[:, 2] * fx + cx, corners[:, 1] / corners[:, 2] * fy + cy
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if abs(area) < 1e-9:
            continue
        for row in range(size[0]):
            for column in range(size[1]):
                px, py = column + 0.5, row + 0.5
                w = [(x[i] - px) * (y[j] - py) - (x[j] - px) * (y[i] - py) for i, j in ((1, 2), (2, 0), (0, 1))] / area
                near = w / corners[:, 2]
                if (w >= 0).all() and 1 / near.sum() < depth[row, column]:
                    depth[row, column], ids[row, column], weights[row, column] = 1 / near.sum(), number, near / near.sum()
    return ids, weights, depth


def soup(seed: int, triangles: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes, some behind the camera, some through it, some degenerate."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) * [1.5, 1.2, 2] + [0, 0, 2.5]
    points[:20] = rng.normal(size=(20, 3)) * 0.3 + [0.4, 0.2, 3]
    faces = rng.integers(0, 60, (triangles, 3))
    faces[-1] = faces[-2]
    return points, faces


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_plain_loops(seed: int, dtype: torch.dtype) -> None:
    points, faces = soup(seed)
    points = points.astype(np.float32).astype(np.float64)
    ids, weights, depth = plain_raster(points, faces, INTRINSICS, SIZE)
    got = rasterize(torch.tensor(points, dtype=dtype)[None], torch.tensor(faces), torch.tensor(INTRINSICS, dtype=dtype)[None], SIZE)
    same = got.triangle_id[0].numpy() == ids
    assert same.mean() > (0.995 if dtype == torch.float32 else 0.9999)
    assert np.abs(got.barycentric[0].numpy() - weights)[same].max() < 1e-3
    seen = same & (ids >= 0)
    assert np.abs(got.depth[0].numpy()[seen] / depth[seen] - 1).max() < 1e-4
    assert np.isinf(got.depth[0].numpy()[ids < 0][same[ids < 0]]).all()


def test_weights_and_depth_give_the_point_on_the_ray() -> None:
    points, faces = soup(1)
    got = rasterize(torch.tensor(points)[None], torch.tensor(faces), torch.tensor(INTRINSICS)[None], SIZE)
    row, column = (got.triangle_id[0] >= 0).nonzero(as_tuple=True)
    corners = torch.tensor(points)[torch.tensor(faces)[got.triangle_id[0, row, column]]]
    on_triangle = (got.barycentric[0, row, column][..., None] * corners).sum(1)
    fx, fy, cx, cy = INTRINSICS
    ray = torch.stack([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, torch.ones(len(row))], 1)
    assert (on_triangle - ray * got.depth[0, row, column, None]).abs().max() < 1e-6


def test_batch_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = torch.tensor(soup(0)[1])
    points = torch.stack([torch.tensor(soup(seed)[0]) for seed in range(4)])
    intrinsics = torch.tensor(INTRINSICS) * torch.tensor([[0.8], [1.0], [1.3], [2.0]])
    whole = rasterize(points, faces, intrinsics, SIZE)
    alone = [rasterize(points[i : i + 1], faces, intrinsics[i : i + 1], SIZE).triangle_id[0] for i in range(4)]
    assert torch.equal(whole.triangle_id, torch.stack(alone))
    monkeypatch.setattr(rasterizer, "_CHUNK", 700)
    again = rasterize(points, faces, intrinsics, SIZE)
    assert torch.equal(whole.triangle_id, again.triangle_id)
    assert torch.equal(whole.depth, again.depth)


def ball(rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A unit ball, counter-clockwise from outside."""
    u, v = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings), indexing="ij")
    points = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3)
    i = np.arange(rings * rings).reshape(rings, rings)
    halves = [(i[:-1, :-1], i[1:, :-1], i[:-1, 1:]), (i[1:, 1:], i[:-1, 1:], i[1:, :-1])]
    return points, np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])


def test_a_closed_mesh_has_no_cracks_and_shows_its_outside() -> None:
    points, faces = ball()
    intrinsics = torch.tensor([[180.0, 180.0, 64.0, 64.0]])
    got = rasterize(torch.tensor(points + [0, 0, 4], dtype=torch.float32)[None], torch.tensor(faces), intrinsics, (128, 128))
    y, x = np.mgrid[:128, :128] + 0.5
    outline = 180 / np.sqrt(15)  # tangent cone of a unit ball at distance 4
    inside = np.hypot(x - 64, y - 64) < outline - 1.5
    assert (got.triangle_id[0].numpy()[inside] >= 0).all()
    assert (got.triangle_id[0].numpy()[np.hypot(x - 64, y - 64) > outline + 0.5] < 0).all()
    assert got.facing.float().mean() > 0.99
    assert (got.distance < 4).float().mean() > 0.99


def test_agrees_with_the_compiled_renderer_of_training() -> None:
    pytest.importorskip("numba")
    from mocap_anything.training.render.raster import draw

    points, faces = ball()
    points = (points * [1, 0.6, 1.2] + [0.3, -0.2, 4]).astype(np.float32)
    intrinsics = np.array([60.0, 60.0, 32.5, 31.0])
    ids, depth = draw(points, faces, intrinsics, 64, samples=1)
    got = rasterize(torch.from_numpy(points)[None], torch.tensor(faces), torch.tensor(intrinsics, dtype=torch.float32)[None], (64, 64))
    same = got.triangle_id[0].numpy() == ids
    assert same.mean() > 0.995
    assert np.abs(got.depth[0].numpy()[same & (ids >= 0)] / depth[same & (ids >= 0)] - 1).max() < 1e-4


def test_light_is_lambert_on_the_side_that_is_seen() -> None:
    points = torch.tensor([[[-1.0, -1, 2], [1, -1, 2], [0, 1, 2]]])
    normals = vertex_normals(points, torch.tensor([[0, 1, 2]]))
    assert torch.allclose(normals, torch.tensor([0.0, 0, 1]).expand(1, 3, 3))
    color, black = torch.full((3, 3), 0.5), torch.zeros(3)
    intrinsics = torch.tensor([[10.0, 10.0, 5.0, 5.0]])
    for faces in (torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])):
        buffers = rasterize(points, faces, intrinsics, (10, 10))
        lit = shade(buffers, faces, vertex_normals(points, faces), color, black, light=(0.0, 0.0, -1.0), ambient=0.25)
        away = shade(buffers, faces, vertex_normals(points, faces), color, black, light=(0.0, 0.0, 1.0), ambient=0.25)
        assert torch.allclose(lit[0, 4, 5], torch.full((3,), 0.5))
        assert torch.allclose(away[0, 4, 5], torch.full((3,), 0.5 * 0.25**0.5))
        assert torch.equal(lit[0, 9, 0], black)


def test_supersampling_is_the_share_that_is_covered() -> None:
    points = torch.tensor([[[-10.0, -10, 1], [0.25, -10, 1], [0.25, 10, 1], [-10, 10, 1]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    color, coverage = draw_mesh(points, faces, torch.ones(4, 3), torch.tensor([[1.0, 1.0, 3.0, 3.0]]), (6, 6), samples=4)
    assert torch.allclose(coverage[0, 3], torch.tensor([1.0, 1, 1, 0.25, 0, 0]))
    assert (color[..., 0] <= coverage + 1e-6).all()


def chain(mesh: Mesh | None) -> Rig:
    """Three bones up the armature's z axis, the last without length."""
    rest = np.tile(np.eye(4), (3, 1, 1))
    rest[:, 2, 3] = [0, 1, 2]
    ends = np.array([[0.0, 0, 1], [0, 0, 2], [0, 0, 2]])
    flags = np.ones(3, bool)
    parents = np.array([-1, 0, 1], np.int32)
    return Rig(("a", "b", "c"), parents, parents, rest, ends, flags, ("",) * 3, flags, flags, ("FULL",) * 3, mesh)


def front(width: int = 64, height: int = 48, mirrored: bool = False) -> Camera:
    """A camera that looks along the armature's y axis at the chain's middle from five units away."""
    matrix = np.array([[-1.0 if mirrored else 1.0, 0, 0, 0], [0, 0, -1, 1], [0, 1, 0, 5], [0, 0, 0, 1]])
    return Camera(np.array([60.0, 60.0, width / 2, height / 2]), matrix, width, height)


def test_a_rig_without_a_mesh_shows_its_bones() -> None:
    rig = chain(None)
    mesh = bone_mesh(rig)
    normals = np.cross(mesh.vertices[1::3] - mesh.vertices[::3], mesh.vertices[2::3] - mesh.vertices[::3])
    center = mesh.vertices.reshape(3, -1, 3).mean(1)
    outward = (mesh.vertices.reshape(3, 8, 3, 3).mean(2) - center[:, None]).reshape(-1, 3)
    assert (np.einsum("fi,fi->f", normals, outward) > 0).all()
    image, mask = draw_rig(rig, rig.rest, front(), (192, 256), (10, 20, 30))
    assert image.dtype == np.uint8
    assert mask[[90, 138], 128].all()
    assert mask[50:140].any(1).mean() > 0.9
    assert (image[0, 0] == [10, 20, 30]).all()
    turned = rig.rest.copy()
    turned[1:, 2, 3] = [-1, -2]
    assert not np.array_equal(draw_rig(rig, turned, front(), (192, 256), (10, 20, 30))[1], mask)


@pytest.mark.parametrize("mirrored", [False, True])
def test_picture_of_a_skinned_rig(mirrored: bool) -> None:
    points, faces = ball()
    weights = np.tile(np.array([1.0, 0, 0, 0], np.float32), (len(points), 1))
    bones = np.full((len(points), 4), 1, np.int32)
    colors = np.tile(np.array([0.2, 0.9, 0.2], np.float32), (len(points), 1))
    rig = chain(Mesh((points * 0.5 + [0, 0, 1]).astype(np.float32), faces.astype(np.int32), bones, weights, colors))
    backdrop = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    pose = rig.rest.copy()
    pose[1, 0, 3] = 0.7
    image, mask = draw_rig(rig, pose, front(mirrored=mirrored), (48, 64), backdrop)
    rows, columns = mask.nonzero()
    assert abs((columns + 0.5).mean() - (32 + (-1 if mirrored else 1) * 60 * 0.7 / 5)) < 0.5
    assert abs((rows + 0.5).mean() - 24) < 0.5
    assert (image[mask][:, 1] > image[mask][:, 0]).mean() > 0.9
    assert np.array_equal(image[:5], backdrop[:5])
    upper, lower = image[rows.min() + 2, int(columns.mean())], image[rows.max() - 2, int(columns.mean())]
    assert upper[1] > lower[1] + 20, "lit from above, also where the armature is mirrored"
    large, large_mask = draw_rig(rig, pose, front(mirrored=mirrored), (96, 128), (0, 0, 0))
    assert large.shape == (96, 128, 3)
    assert abs(large_mask.mean() - mask.mean()) < 0.01


def test_nothing_in_view() -> None:
    rig = chain(None)
    behind = Camera(np.array([60.0, 60.0, 32.0, 24.0]), np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, -9], [0, 0, 0, 0]]), 64, 48)
    aside = rig.rest.copy()
    aside[:, 0, 3] = 1e6
    for pose, camera in ((rig.rest, behind), (aside, front())):
        image, mask = draw_rig(rig, pose, camera, (48, 64), (1, 2, 3))
        assert not mask.any()
        assert (image == [1, 2, 3]).all()


@pytest.mark.parametrize("place", [(100.0, 0.0, 1.0), (0.0, 0.0, -1.0)], ids=["beside the picture", "behind the camera"])
def test_what_is_out_of_sight_covers_nothing(place: tuple[float, float, float]) -> None:
    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]]) + torch.tensor(place)
    seen = rasterize(corners, torch.tensor([[0, 1, 2]]), torch.tensor([[64.0, 64, 32, 32]]), (64, 64))
    assert len(seen.pixel) == len(seen.triangle) == 0
