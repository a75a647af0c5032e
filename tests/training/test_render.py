"""The compiled renderer: its geometry against a plain rasteriser, and what training relies on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("cv2")

from mocap_anything.training.render import Background, Creature, Look, Rendered, augment, render_clip
from mocap_anything.training.render.raster import draw
from mocap_anything.training.render.shapes import ball, limbs, staged

SIZE = 48


def plain_raster(points: np.ndarray, triangles: np.ndarray, intrinsics: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and depths by testing every sample against every triangle in front of the camera, in screen space."""
    fx, fy, cx, cy = intrinsics
    ids, depth = np.full((side, side), -1), np.full((side, side), np.inf)
    for number, triangle in enumerate(triangles):
        corners = points[triangle].astype(np.float64)
        if (corners[:, 2] <= 0).any():
            continue
        x, y = corners[:, 0] / corners[:, 2] * fx + cx, corners[:, 1] / corners[:, 2] * fy + cy
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if abs(area) < 1e-12:
            continue
        for row in range(side):
            for column in range(side):
                px, py = column + 0.5, row + 0.5
                w = np.array([(x[1] - px) * (y[2] - py) - (x[2] - px) * (y[1] - py), (x[2] - px) * (y[0] - py) - (x[0] - px) * (y[2] - py), 0.0]) / area
                w[2] = 1 - w[0] - w[1]
                if (w >= 0).all():
                    z = 1 / (w / corners[:, 2]).sum()
                    if z < depth[row, column]:
                        depth[row, column], ids[row, column] = z, number
    return ids, depth


def subject(seed: int, frames: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A walking thing of balls: vertices (T, V, 3), triangles, rest and intrinsics whose crop follows it."""
    rest, triangles = limbs()
    vertices, _, intrinsics = staged(rest, frames, SIZE, np.random.default_rng(seed))
    return vertices, triangles, rest, intrinsics


def rendered(seed: int, **options: object) -> Rendered:
    vertices, triangles, rest, intrinsics = subject(seed)
    rng = np.random.default_rng(seed)
    look, background = Look.random(rng, np.full_like(rest, 0.5), rest), Background.random(rng)
    background.occluder = ""
    return render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, np.array([0.0, -1.0, 0.0]), company=0.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_rasteriser(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = (rng.normal(0, 1, (24, 3)) + [0, 0, 5]).astype(np.float32)
    points[20:] = points[20]  # degenerate triangles among the rest
    triangles = np.concatenate([rng.integers(0, 24, (20, 3)), [[20, 21, 22], [3, 3, 4]]]).astype(np.int32)
    intrinsics = np.array([30.0, 27.0, 15.3, 17.1])
    ids, depth = draw(points, triangles, intrinsics, 16, 2)
    plain_ids, plain_depth = plain_raster(points, triangles, intrinsics * 2, 32)
    assert (ids != plain_ids).mean() < 0.005  # samples exactly on an edge may fall either way
    same = (ids == plain_ids) & (ids >= 0)
    assert same.sum() > 100
    np.testing.assert_allclose(depth[same], plain_depth[same], rtol=1e-5)


def test_equals_the_rasteriser_that_ships() -> None:
    torch = pytest.importorskip("torch")
    from mocap_anything.backend.rasterizer import rasterize

    torch.set_num_threads(1)
    vertices, triangles, _, intrinsics = subject(1)
    theirs = rasterize(*(torch.from_numpy(np.asarray(a)) for a in (vertices, triangles.astype(np.int64), intrinsics.astype(np.float32))), (SIZE, SIZE))
    for t in range(len(vertices)):
        ids, depth = draw(vertices[t], triangles, intrinsics[t], SIZE, 1)
        other = theirs.triangle_id[t].numpy()
        assert ((ids >= 0) != (other >= 0)).mean() < 0.001
        assert (ids != other).mean() < 0.005  # samples on an edge, surfaces that cross
        seen = (ids >= 0) & (other >= 0)
        np.testing.assert_allclose(depth[seen], theirs.depth[t].numpy()[seen], rtol=5e-4)  # grazing triangles in single precision


def test_a_triangle_through_the_camera_plane_is_cut_not_lost() -> None:
    points = np.array([[-5, 1, 10], [5, 1, 10], [0, 1, -10]], np.float32)  # a floor one unit below the eye that passes under the camera
    ids, depth = draw(points, np.array([[0, 1, 2]], np.int32), np.array([16.0, 16.0, 16.0, 16.0]), 32, 1)
    row = 30
    assert (ids[row, 8:24] == 0).all()
    np.testing.assert_allclose(depth[row, 16], 16.0 / (row + 0.5 - 16.0), rtol=1e-5)
    assert (ids[:16] == -1).all()


def test_the_same_seed_gives_the_same_clip() -> None:
    one, other, third = rendered(3), rendered(3), rendered(4)
    assert (one.images == other.images).all()
    assert (one.mask == other.mask).all()
    assert (one.images != third.images).any()
    images = [augment(one.images, np.random.default_rng(s)) for s in (7, 7, 8)]
    assert (images[0] == images[1]).all()
    assert (images[0] != images[2]).any()


@pytest.mark.parametrize("shutter", [0.0, 0.8])
def test_the_mask_agrees_with_the_depth_and_the_vertices(shutter: float) -> None:
    clip = rendered(1, shutter=shutter)
    assert ((clip.mask > 0) == np.isfinite(clip.depth)).all()
    vertices, _, _, intrinsics = subject(1)
    for t in range(len(vertices)):
        flat = vertices[t, :, :2] / vertices[t, :, 2:] * intrinsics[t, :2] + intrinsics[t, 2:]
        inside = flat[:, 1].argsort()[len(flat) // 2]  # a vertex well within the body
        column, row = np.floor(flat[inside]).astype(int)
        assert clip.mask[t, row - 1:row + 2, column - 1:column + 2].max() > 128
        ys, xs = np.nonzero(clip.mask[t] > 128)
        slack = 1.5 + 4 * shutter
        assert abs(xs.min() - flat[:, 0].min()) < slack
        assert abs(xs.max() + 1 - flat[:, 0].max()) < slack
        assert abs(ys.min() - flat[:, 1].min()) < 1.5
        assert abs(ys.max() + 1 - flat[:, 1].max()) < 1.5
        nearest = clip.depth[t][np.isfinite(clip.depth[t])]
        assert vertices[t, :, 2].min() - 0.05 < nearest.min()
        assert nearest.max() < vertices[t, :, 2].max() + 0.05


def test_the_backdrop_slides_with_the_crop() -> None:
    for seed in range(20):
        background = Background.random(np.random.default_rng(seed))
        background.pan, background.shake = np.zeros(2), 0.0
        first = background.image(0, np.array([0.0, 0.0]), 1.0, 64)
        moved = background.image(3, np.array([0.25, -0.125]), 1.0, 64)
        difference = np.abs(first[:56, 16:].astype(int) - moved[8:, :48])
        assert np.median(difference) <= 2, seed


def test_what_stands_before_the_subject_hides_it_and_leaves_the_mask() -> None:
    vertices, triangles, rest, intrinsics = subject(2)
    rng = np.random.default_rng(2)
    look, background = Look.random(rng, np.full_like(rest, 0.5), rest), Background.random(rng)
    background.occluder = ""
    sphere, faces = ball(2)
    middle = vertices.mean(1, keepdims=True) * 0.8
    other = Creature((sphere * 0.3 + middle).astype(np.float32), faces, sphere, Look.random(rng, np.full_like(sphere, 0.5), sphere))
    free = render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, shutter=0.0, company=0.0)
    hidden = render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, shutter=0.0, extra=[other], company=0.0)
    assert hidden.mask.sum() < 0.95 * free.mask.sum()
    assert (hidden.mask <= free.mask).all()


def test_an_occluder_of_the_scene_lowers_the_mask() -> None:
    vertices, triangles, rest, intrinsics = subject(2)
    look = Look.random(np.random.default_rng(5), np.full_like(rest, 0.5), rest)
    masks = {}
    for kind in ("", "bars", "leaves"):
        background = Background.random(np.random.default_rng(5))
        background.occluder = kind
        masks[kind] = render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, np.random.default_rng(5), shutter=0.0,
                                  company=0.0).mask
    assert masks["bars"].sum() < masks[""].sum()
    assert masks["leaves"].sum() < masks[""].sum()


def test_others_about_leave_the_truth_of_the_subject() -> None:
    vertices, triangles, rest, intrinsics = subject(1)
    for seed in range(6):
        clips = []
        for company in (0.0, 1.0):
            rng = np.random.default_rng(seed)
            look, background = Look.random(rng, np.full_like(rest, 0.5), rest), Background.random(rng)
            up = np.array([0.0, -1.0, 0.0])
            clips.append(render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, up, shutter=0.0, company=company))
        alone, among = clips
        assert (among.mask <= alone.mask).all()
        assert (among.images != alone.images).any()


def test_beyond_the_videos_picture_there_is_nothing() -> None:
    vertices, triangles, rest, intrinsics = subject(1)
    rng = np.random.default_rng(1)
    look, background = Look.random(rng, np.full_like(rest, 0.5), rest), Background.random(rng)
    frame = np.tile([-5.0, -5.0, 100.0, 30.0], (len(vertices), 1))
    clip = render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, frame=frame)
    assert clip.outside[:, 30:].all()
    assert not clip.outside[:, :30].any()
    assert (clip.mask[:, 30:] == 0).all()
    images = augment(clip.images, rng, clip.mask, clip.outside)
    assert (images[:, 30:] == images[0, 40, 5]).all()


def test_the_backdrop_slides_when_the_camera_turns() -> None:
    vertices, triangles, rest, intrinsics = subject(1, 2)
    vertices, intrinsics = vertices[[0, 0]], intrinsics[[0, 0]]
    turn = 0.05
    camera = np.stack([np.eye(3), [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]])
    clips = []
    for cameras in (None, camera):
        background = Background.random(np.random.default_rng(3))
        background.pan, background.shake, background.occluder = np.zeros(2), 0.0, ""
        look = Look.random(np.random.default_rng(3), np.full_like(rest, 0.5), rest)
        rng = np.random.default_rng(3)
        clips.append(render_clip(vertices, triangles, rest, intrinsics, SIZE, look, background, rng, shutter=0.0, company=0.0, camera=cameras))
    still, turned = clips
    assert (still.images[0] == still.images[1]).all()
    beside = turned.mask[1] == 0
    assert (turned.images[0][beside] != turned.images[1][beside]).mean() > 0.3


def test_the_unit_of_length_does_not_matter() -> None:
    vertices, triangles, rest, intrinsics = subject(1, 2)
    up, masks = np.array([0.0, -1.0, 0.0]), []
    for unit in (1.0, 1e-3, 1e3):
        look, background = Look.random(np.random.default_rng(1), np.full_like(rest, 0.5), rest * unit), Background.random(np.random.default_rng(1))
        masks.append(render_clip(vertices * unit, triangles, rest * unit, intrinsics, SIZE, look, background, np.random.default_rng(1), up).mask)
    assert masks[0].any()
    for mask in masks[1:]:
        assert (np.abs(mask.astype(int) - masks[0]) > 70).mean() < 0.002


def test_compiled_code_is_cached_outside_the_checkout() -> None:
    import numba

    root = Path(__file__).resolve().parents[2]
    assert root not in Path(os.path.abspath(numba.config.CACHE_DIR)).parents
