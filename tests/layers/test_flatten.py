import numpy as np

from cnnx.layers.flatten import Flatten


def test_each_examples_values_stay_together():
    layer = Flatten()
    assert layer.build((2, 3, 1)) == (6,)
    x = np.arange(12).reshape(2, 2, 3, 1)
    np.testing.assert_array_equal(layer.forward(x, training=True), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    np.testing.assert_array_equal(layer.backward(np.arange(12).reshape(2, 6)), x)


def test_vectors_stay_as_they_are():
    layer = Flatten()
    assert layer.build((7,)) == (7,)
    x = np.ones((2, 7), np.float32)
    np.testing.assert_array_equal(layer.forward(x), x)
