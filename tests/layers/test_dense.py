import numpy as np
import pytest

from cnnx.layers.dense import DenseLayer


@pytest.mark.usefixtures("backend")
def test_outputs_are_weighted_sums_plus_biases(dtype):
    layer = DenseLayer(units=2)
    layer.build((3,), dtype=dtype)
    layer.params["W"][...] = [[1, 4], [2, 5], [3, 6]]
    layer.params["b"][...] = [10, 20]
    np.testing.assert_array_equal(layer.forward([[1, 0, 0], [1, 1, 1]], training=True), [[11, 24], [16, 35]])
    np.testing.assert_array_equal(layer.backward([[1, 0], [0, 1]]), [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(layer.grads["W"], [[1, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(layer.grads["b"], [1, 1])


@pytest.mark.parametrize("units", [0, -1])
def test_units_below_one_are_an_error(units):
    with pytest.raises(ValueError, match=f"DenseLayer: units: expected 1 or more, got {units}"):
        DenseLayer(units=units)


def test_images_need_a_flatten_layer_first():
    with pytest.raises(ValueError, match="a Flatten layer before it makes vectors of images"):
        DenseLayer(units=3).build((4, 4, 1))
