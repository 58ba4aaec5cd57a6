import numpy as np
import pytest

from cnnx import ConvolutionLayer, DepthwiseConvolutionLayer

pytestmark = pytest.mark.usefixtures("backend")


def pattern(*shape, modulus=13):
    """Whole numbers without an order to be seen."""
    k = np.arange(np.prod(shape))
    return ((3 * k * k + k) % modulus - modulus // 2).astype(float).reshape(shape)


# torch.nn.functional.conv2d(x, W, b, stride=(1, 2), padding=1, dilation=(2, 1), groups=2) of PyTorch 2, on `pattern`.
RECORDED = [
    [[27, -13, -13, 2], [-7, 1, 69, 38]],
    [[-19, 2, 20, 37], [-16, 44, -13, 2]],
    [[-56, 42, 21, 2], [-45, 29, 39, 74]],
    [[6, -15, -4, 13], [38, -10, -20, -5]],
]


def test_channels_times_multiplier_come_out_in_pytorchs_order(dtype):
    layer = DepthwiseConvolutionLayer((2, 3), multiplier=2, stride=(1, 2), padding=1, dilation=(2, 1))
    assert layer.build((4, 4, 2), dtype=dtype) == (4, 2, 4)
    layer.params["W"][...] = pattern(2, 3, 2, 2, modulus=11)
    layer.params["b"][...] = range(4)
    np.testing.assert_array_equal(layer.forward(pattern(1, 4, 4, 2)), [RECORDED])


def test_a_mean_over_each_channel_by_hand():
    layer = DepthwiseConvolutionLayer(filter_size=(1, 2))
    layer.build((1, 3, 2))
    layer.params["W"][...] = [[[[0.5], [1]], [[0.5], [-1]]]]
    layer.params["b"][...] = [0, 10]
    np.testing.assert_array_equal(layer.forward([[[[1, 5], [3, 2], [7, 2]]]]), [[[[2, 13], [5, 10]]]])


@pytest.mark.parametrize("multiplier", [1, 3])
def test_a_convolution_with_a_group_for_each_channel_is_the_same(multiplier, rng):
    shape, window = (7, 6, 5), {"filter_size": 3, "stride": 2, "padding": "same", "dilation": 2}
    layer = DepthwiseConvolutionLayer(multiplier=multiplier, **window)
    grouped = ConvolutionLayer(filters=5 * multiplier, groups=5, **window)
    assert layer.build(shape, seed=0) == grouped.build(shape)
    grouped.params["W"][...] = layer.params["W"].reshape(3, 3, 1, -1)
    x, upstream = rng.standard_normal((2, *shape)), rng.standard_normal((2, *layer.output_shape))
    np.testing.assert_array_equal(layer.forward(x, training=True), grouped.forward(x, training=True))
    np.testing.assert_array_equal(layer.backward(upstream), grouped.backward(upstream))
    np.testing.assert_array_equal(layer.grads["W"].reshape(3, 3, 1, -1), grouped.grads["W"])
    np.testing.assert_array_equal(layer.grads["b"], grouped.grads["b"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filter_size": 0}, ValueError, "filter_size: expected 1 or more, got 0"),
        ({"filter_size": 3, "multiplier": 0}, ValueError, "multiplier: expected 1 or more, got 0"),
        ({"filter_size": 3, "multiplier": 1.5}, TypeError, "multiplier: expected an integer, got 1.5"),
        ({"filter_size": 3, "stride": 0}, ValueError, "stride: expected 1 or more, got 0"),
        ({"filter_size": 3, "dilation": 0}, ValueError, "dilation: expected 1 or more, got 0"),
        ({"filter_size": 3, "padding": "full"}, ValueError, "padding: expected 'same', 'valid'"),
        ({"filter_size": 3, "initializer": "magic"}, ValueError, "initializer: expected one of"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^DepthwiseConvolutionLayer: {message}"):
        DepthwiseConvolutionLayer(**arguments)


def test_a_dilated_filter_larger_than_the_padded_image_is_an_error():
    layer = DepthwiseConvolutionLayer(filter_size=3, dilation=(3, 1))
    with pytest.raises(ValueError, match=r"a filter of 3x3 with dilation \(3, 1\) does not fit into an image of 6x9"):
        layer.build((6, 9, 1))
    assert layer.build((7, 9, 1)) == (1, 7, 1)
