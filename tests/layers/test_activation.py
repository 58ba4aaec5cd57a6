import numpy as np
import pytest

from cnnx.layers.activation import ReluLayer


@pytest.mark.usefixtures("backend")
def test_relu_is_the_positive_part_with_gradient_zero_at_zero(dtype):
    layer = ReluLayer()
    layer.build((5,), dtype=dtype)
    y = layer.forward([[-2, -0.0, 0, 3, np.inf]], training=True)
    np.testing.assert_array_equal(y, [[0, 0, 0, 3, np.inf]])
    np.testing.assert_array_equal(layer.backward([[1, 2, 3, 4, 5]]), [[0, 0, 0, 4, 5]])


@pytest.mark.usefixtures("backend")
def test_nan_stays_nan():
    layer = ReluLayer()
    layer.build((2,))
    y = layer.forward([[np.nan, 1]], training=True)
    np.testing.assert_array_equal(y, [[np.nan, 1]])
    np.testing.assert_array_equal(layer.backward([[7, 8]]), [[7, 8]])
