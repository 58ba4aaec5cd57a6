"""Mirrored and moved images."""

import numpy as np
import pytest

from cnnx.augmentation import Flip, RandomCrop, Shift


def images(count, height=5, width=7):
    """Images with no pixel twice, so that each place can be told from its value."""
    return np.arange(1.0, count * height * width * 3 + 1).reshape(count, height, width, 3)


@pytest.mark.parametrize(
    ("flip", "mirrored"),
    [
        (Flip(), [lambda x: x, lambda x: x[:, ::-1]]),
        (Flip(horizontal=False, vertical=True), [lambda x: x, lambda x: x[::-1]]),
        (Flip(vertical=True), [lambda x: x, lambda x: x[:, ::-1], lambda x: x[::-1], lambda x: x[::-1, ::-1]]),
    ],
    ids=repr,
)
def test_each_way_of_mirroring_is_as_frequent_as_the_others(backend, flip, mirrored):
    X = images(800)
    flipped, _ = flip(X, np.zeros(800), np.random.default_rng(0))
    which = np.array([[np.array_equal(after, way(x)) for way in mirrored] for x, after in zip(X, flipped, strict=True)])
    np.testing.assert_array_equal(which.sum(axis=1), 1)
    np.testing.assert_allclose(which.mean(axis=0), 1 / len(mirrored), atol=0.06)


@pytest.mark.parametrize(
    ("move", "down", "right", "fill"), [(RandomCrop(2), 2, 2, 0), (Shift((0, 3), fill=-4), 0, 3, -4)], ids=repr
)
def test_a_moved_image_is_cut_out_of_the_padded_one_at_every_place_alike(backend, move, down, right, fill):
    X = images(1500)
    moved, _ = move(X, np.zeros(1500), np.random.default_rng(0))
    padded = np.pad(X, ((0, 0), (down, down), (right, right), (0, 0)), constant_values=fill)
    crops = [
        padded[:, i : i + 5, j : j + 7]
        for i in range(2 * down + 1)
        for j in range(2 * right + 1)
    ]  # fmt: skip
    which = np.array([(moved == crop).all(axis=(1, 2, 3)) for crop in crops])
    np.testing.assert_array_equal(which.sum(axis=0), 1)
    np.testing.assert_allclose(which.mean(axis=1), 1 / len(crops), atol=0.03)
