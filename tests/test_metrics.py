import numpy as np
import pytest

from cnnx.metrics import class_figures


def test_figures_of_a_small_table_by_hand():
    y, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    figures = class_figures(y, predicted, 4)
    np.testing.assert_array_equal(figures.examples, [3, 2, 1, 0])
    np.testing.assert_allclose(figures.precision, [2 / 4, 1 / 2, 0, 0])
    np.testing.assert_allclose(figures.recall, [2 / 3, 1 / 2, 0, 0])
    np.testing.assert_allclose(figures.f1, [4 / 7, 1 / 2, 0, 0])


def test_figures_are_scikit_learns(rng):
    metrics = pytest.importorskip("sklearn.metrics")
    y, predicted = rng.integers(0, 7, (2, 500))
    expected = metrics.precision_recall_fscore_support(y, predicted, labels=range(8), zero_division=0)
    figures = class_figures(y, predicted, 8)
    np.testing.assert_allclose((figures.precision, figures.recall, figures.f1), expected[:3], rtol=1e-12)
    np.testing.assert_array_equal(figures.examples, expected[3])
