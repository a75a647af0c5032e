"""Crops: exact to a fraction of a pixel, against the plain formula of the triangle filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mocap_anything.backend.crop import border_mean, crop_square, crops, from_crop, to_crop


def plain_crop(image: np.ndarray, center: tuple[float, float], side: float, size: int, fill: np.ndarray) -> np.ndarray:
    """(size, size, 3) float: every pixel's triangle-filter weight, evaluated one axis after the other on a picture padded with fill."""
    pad = int(side) + 4
    height, width = image.shape[:2]
    padded = np.empty((height + 2 * pad, width + 2 * pad, 3))
    padded[:] = fill
    padded[pad : pad + height, pad : pad + width] = image
    step = side / size
    reach = max(1.0, step)

    def weights(start: float, length: int) -> np.ndarray:
        centers = start + (np.arange(size) + 0.5) * step
        w = np.maximum(0, 1 - np.abs(np.arange(length) + 0.5 - pad - centers[:, None]) / reach)
        return w / w.sum(1, keepdims=True)

    across, down = weights(center[0] - side / 2, padded.shape[1]), weights(center[1] - side / 2, padded.shape[0])
    return np.einsum("py,yxc,qx->pqc", down, padded, across)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize(("center", "side", "size"), [
    ((30.0, 20.0), 16.0, 16), ((30.3, 19.8), 16.0, 16), ((25.25, 20.5), 33.7, 16), ((31.1, 17.3), 5.5, 24),
    ((2.0, 3.0), 20.0, 16), ((58.0, 39.0), 30.0, 12), ((30.0, 20.0), 90.0, 32),
])  # fmt: skip
def test_equals_plain_formula(image: np.ndarray, center: tuple[float, float], side: float, size: int) -> None:
    fill = (10.0, 128.0, 250.0)
    got = crop_square(image, np.array(center), side, size, fill)
    assert got.shape == (3, size, size)
    assert got.dtype == torch.uint8
    want = plain_crop(image, center, side, size, np.array(fill))
    assert np.abs(got.permute(1, 2, 0).numpy() - want).max() <= 1.6  # two passes round to whole levels


def test_unscaled_crop_is_the_picture(image: np.ndarray) -> None:
    got = crop_square(image, np.array([20.0, 18.0]), 12.0, 12).permute(1, 2, 0).numpy()
    assert np.array_equal(got, image[12:24, 14:26])


def test_outside_is_border_mean_or_fill(image: np.ndarray) -> None:
    away = crop_square(image, np.array([500.0, -300.0]), 20.0, 8)
    assert np.abs(away.float().mean((1, 2)).numpy() - np.array(border_mean(image))).max() <= 0.5
    assert (crop_square(image, np.array([500.0, -300.0]), 20.0, 8, (1, 2, 3)).permute(1, 2, 0).numpy() == [1, 2, 3]).all()


def test_large_shrink_keeps_the_mean() -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    image[:, :300] //= 4
    got = crop_square(image, np.array([300.0, 300.0]), 590.0, 10).float().numpy()
    assert abs(got[:, :, :4].mean() - image[:, 5:241].mean()) < 2
    assert abs(got[:, :, 6:].mean() - image[:, 359:595].mean()) < 2


def test_a_blob_lands_where_to_crop_says() -> None:
    y, x = np.mgrid[:200, :300] + 0.5
    at, center, side, size = np.array([171.3, 92.6]), np.array([160.2, 101.7]), 93.4, 160
    blob = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 6**2))
    got = crop_square(np.repeat(blob[..., None], 3, 2).round().astype(np.uint8), center, side, size)[0].double().numpy()
    rows, columns = np.mgrid[:size, :size] + 0.5
    found = np.array([(columns * got).sum(), (rows * got).sum()]) / got.sum() / size
    assert np.abs(found - to_crop(at, center, side)).max() * side < 0.03  # of a picture pixel


def test_coordinates_round_trip() -> None:
    rng = np.random.default_rng(1)
    points, center, side = rng.normal(size=(5, 7, 2)) * 100, rng.normal(size=(5, 1, 2)) * 100, rng.uniform(1, 50, (5, 1))
    assert np.allclose(from_crop(to_crop(points, center, side), center, side), points)
    tensors = [torch.from_numpy(a) for a in (points, center, side)]
    assert np.allclose(to_crop(*tensors).numpy(), to_crop(points, center, side))
    assert np.allclose(to_crop(center[0, 0] - side[0] / 2, center[0, 0], float(side[0, 0])), 0)


def test_batch_is_the_crops_in_turn(image: np.ndarray) -> None:
    centers, sides = np.array([[30.0, 20.0], [10.5, 8.0]]), np.array([20.0, 31.0])
    got = crops([image, image[::-1]], centers, sides, 16)
    assert torch.equal(got[1], crop_square(np.ascontiguousarray(image[::-1]), centers[1], 31.0, 16))
    assert crops([], np.zeros((0, 2)), np.zeros(0), 16).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("side", [0.0, -3.0, float("nan")])
def test_refuses_a_bad_side(image: np.ndarray, side: float) -> None:
    with pytest.raises(ValueError, match="positive side"):
        crop_square(image, np.array([1.0, 1.0]), side, 8)
