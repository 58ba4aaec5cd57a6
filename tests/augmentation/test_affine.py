"""Turned and scaled images, with numbers drawn by hand."""

import numpy as np
import pytest

from cnnx.augmentation import Rotate, Scale


class Drawn:
    """A generator that draws what it is told to, as a share of the way from low to high."""

    def __init__(self, share):
        self.share = share

    def uniform(self, low, high, size):
        return np.full(size, low + self.share * (high - low))


@pytest.mark.parametrize(("share", "quarters"), [(1, 1), (0, -1), (0.5, 0)])
def test_a_quarter_turn_goes_against_the_clock(backend, rng, dtype, share, quarters):
    X = rng.standard_normal((2, 6, 6, 3)).astype(dtype)
    turned, _ = Rotate(90)(X, np.zeros(2), Drawn(share))
    np.testing.assert_allclose(turned, np.rot90(X, quarters, axes=(1, 2)), rtol=1e-5, atol=1e-5)


def test_a_half_turn_of_an_oblong_image_mirrors_it_twice(backend, rng):
    X = rng.standard_normal((2, 5, 8, 1))
    turned, _ = Rotate(180)(X, np.zeros(2), Drawn(1))
    np.testing.assert_allclose(turned, X[:, ::-1, ::-1], atol=1e-12)


def test_a_turned_image_has_fill_in_its_corners(backend):
    turned, _ = Rotate(45, fill=-3)(np.ones((1, 9, 9, 1)), np.zeros(1), Drawn(1))
    np.testing.assert_allclose(turned[0, [0, 0, -1, -1], [0, -1, 0, -1], 0], -3)
    assert turned[0, 4, 4, 0] == 1


def test_an_enlarged_image_shows_its_middle(backend):
    # One row of four pixels, the middle between the second and the third; places -0.25, 0.75, 1.25, ... of the source.
    X = np.array([10.0, 20, 40, 80]).reshape(1, 1, 4, 1)
    enlarged, _ = Scale(1, 2)(X, np.zeros(1), Drawn(1))
    np.testing.assert_allclose(enlarged.ravel(), [17.5, 25, 35, 50])


def test_a_shrunken_image_is_surrounded_by_fill(backend):
    # Places -1.5, 0.5, 2.5, 4.5 of the source.
    X = np.array([10.0, 20, 40, 80]).reshape(1, 1, 4, 1)
    shrunken, _ = Scale(0.5, 1, fill=1)(X, np.zeros(1), Drawn(0))
    np.testing.assert_allclose(shrunken.ravel(), [1, 15, 60, 1])


def test_angles_and_factors_fill_their_range():
    angles = np.arctan2(*np.moveaxis(Rotate(30).draw(2000, np.random.default_rng(0)), 0, -1)[0, ::-1])
    assert np.degrees(angles.min()) == pytest.approx(-30, abs=0.1)
    assert np.degrees(angles.max()) == pytest.approx(30, abs=0.1)
    factors = 1 / Scale(0.5, 1.5).draw(2000, np.random.default_rng(0))[:, 0, 0]
    assert (factors.min(), factors.max()) == pytest.approx((0.5, 1.5), abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.02)
