"""Cut-out."""

import numpy as np
import pytest

from cnnx.augmentation import CutOut


def erased(cutout, count=600, height=9, width=11):
    X, _ = cutout(np.ones((count, height, width, 3)), np.zeros(count), np.random.default_rng(0))
    assert (X[..., :1] == X).all(), "a pixel is erased in all channels"
    return X[..., 0] != 1


def test_the_box_is_a_square_around_any_pixel_cut_at_the_border(backend):
    mask = erased(CutOut(3))
    rows, columns = mask.any(axis=2).sum(axis=1), mask.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(mask.sum(axis=(1, 2)), rows * columns)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(2, 2), (2, 3), (3, 2), (3, 3)}
    # The corner pixel is erased by boxes around 2x2 pixels, one in the middle by those around 3x3.
    assert mask[:, 0, 0].mean() == pytest.approx(4 / 99, abs=0.02)
    assert mask[:, 4, 5].mean() == pytest.approx(9 / 99, abs=0.03)


def test_a_box_as_large_as_the_image_is_accepted(backend):
    assert erased(CutOut(9), height=9).any(axis=(1, 2)).all()


def test_with_a_range_height_and_width_are_drawn_one_by_one(backend):
    mask = erased(CutOut((1, 4), fill=-1))
    rows, columns = mask.any(axis=2).sum(axis=1), mask.any(axis=1).sum(axis=1)
    assert set(rows.tolist()) == set(columns.tolist()) == {1, 2, 3, 4}
    assert (rows != columns).any()


@pytest.mark.parametrize("probability", [0, 0.3, 1])
def test_the_share_of_images_with_a_box_is_the_probability(backend, probability):
    assert erased(CutOut(2, probability=probability)).any(axis=(1, 2)).mean() == pytest.approx(probability, abs=0.06)
