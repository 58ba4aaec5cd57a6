"""Brightness, contrast and noise."""

import numpy as np
import pytest

from cnnx.augmentation import Brightness, Contrast, Noise


@pytest.fixture
def images(rng, dtype):
    return rng.random((400, 4, 5, 3)).astype(dtype)


def test_brightness_adds_one_number_to_all_of_an_image(images):
    X, _ = Brightness(0.3)(images, np.zeros(400), np.random.default_rng(0))
    added = (X - images).reshape(400, -1)
    assert np.ptp(added, axis=1).max() < 1e-6
    assert (added.min(), added.max()) == pytest.approx((-0.3, 0.3), abs=0.01)


def test_contrast_stretches_each_image_about_its_means(images):
    X, _ = Contrast(0.4)(images, np.zeros(400), np.random.default_rng(0))
    np.testing.assert_allclose(X.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)
    factors = X.std(axis=(1, 2)) / images.std(axis=(1, 2))
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones(3), rtol=1e-4)
    assert (factors.min(), factors.max()) == pytest.approx((0.6, 1.4), abs=0.01)


def test_noise_has_the_deviation_asked_for_and_suits_tables_too(dtype):
    X, _ = Noise(0.5)(np.full((500, 40), 3, dtype), np.zeros(500), np.random.default_rng(0))
    assert X.mean() == pytest.approx(3, abs=0.01)
    assert X.std() == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef(X[:, 0], X[:, 1])[0, 1]) < 0.1
