import numpy as np
import pytest

from cnnx.datasets import load_digits


def test_shapes_types_and_range():
    (X_train, y_train), (X_test, y_test) = load_digits()
    assert (X_train.shape, X_test.shape) == ((1438, 8, 8, 1), (359, 8, 8, 1))
    assert (y_train.shape, y_test.shape) == ((1438,), (359,))
    assert (X_train.dtype, y_train.dtype) == (np.float32, np.int64)
    for X in (X_train, X_test):
        assert (X.min(), X.max()) == (0, 1)
    assert set(y_train) == set(y_test) == set(range(10))


def test_the_arrays_are_the_callers_own():
    first = load_digits()[0][0]
    first[...] = 7
    assert load_digits()[0][0].max() == 1


def test_these_are_the_digits_of_scikit_learn():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    (X_train, y_train), (X_test, y_test) = load_digits()
    test = np.arange(1797) % 5 == 4
    np.testing.assert_array_equal(X_test[..., 0] * 16, digits.images[test])
    np.testing.assert_array_equal(X_train[..., 0] * 16, digits.images[~test])
    np.testing.assert_array_equal(y_test, digits.target[test])
    np.testing.assert_array_equal(y_train, digits.target[~test])
