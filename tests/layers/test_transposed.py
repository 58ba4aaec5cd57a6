import numpy as np
import pytest

from cnnx import ConvolutionLayer, TransposedConvolutionLayer

pytestmark = pytest.mark.usefixtures("backend")


def pattern(*shape, modulus=13):
    """Whole numbers without an order to be seen."""
    k = np.arange(np.prod(shape))
    return ((3 * k * k + k) % modulus - modulus // 2).astype(float).reshape(shape)


# torch.nn.functional.conv_transpose2d(x, W, b, stride=(2, 1), padding=(1, 0), output_padding=(1, 0)) of PyTorch 2 on
# `pattern`, and its gradients.
OUTPUT = [
    [[11, -26, 17], [46, -47, 47], [46, -51, 46], [43, -20, 37]],
    [[-18, -9, 21], [-10, 27, -10], [-17, 13, 53], [-26, 41, -18]],
    [[-13, 25, -10], [-31, -3, -19], [-4, 23, -5], [-36, 11, -26]],
    [[8, 0, -26], [13, -40, -5], [1, 13, -19], [6, -37, -10]],
]
INPUT_GRADIENT = [[[-57, 39], [-139, -33], [-19, -144]], [[76, 136], [-102, 48], [59, 93]]]
WEIGHT_GRADIENT = [
    [[[-46, -48], [44, 40], [29, 23]], [[-23, -14], [-10, -20], [-17, -29]]],
    [[[-15, -33], [124, 79], [-46, 4]], [[-134, -88], [30, -27], [-47, -34]]],
    [[[95, 70], [28, 29], [-25, -46]], [[21, 15], [-38, -26], [-15, -33]]],
]


def test_it_is_pytorchs_transposed_convolution(dtype):
    layer = TransposedConvolutionLayer(3, (3, 2), stride=(2, 1), padding=(1, 0), output_padding=(1, 0))
    assert layer.build((2, 3, 2), dtype=dtype) == (4, 4, 3)
    layer.params["W"][...] = pattern(3, 2, 3, 2, modulus=11)
    layer.params["b"][...] = [1, -2, 3]
    np.testing.assert_array_equal(layer.forward(pattern(1, 2, 3, 2), training=True), [OUTPUT])
    np.testing.assert_array_equal(layer.backward(pattern(1, 4, 4, 3, modulus=17)), [INPUT_GRADIENT])
    np.testing.assert_array_equal(layer.grads["W"], WEIGHT_GRADIENT)
    np.testing.assert_array_equal(layer.grads["b"], [-16, -19, -11])


# torch.nn.functional.conv_transpose2d(x, W, b, stride=(3, 1), padding=(2, 1), output_padding=(0, 1), dilation=(2, 3)).
DILATED_OUTPUT = [
    [[10, -23, 15], [15, -32, 19], [37, -26, 35], [32, -21, 30], [43, -20, 37]],
    [[7, -3, 2], [-28, 0, 10], [-28, 11, -34], [7, -4, 11], [-24, 3, -32]],
    [[5, -13, 18], [1, -12, 29], [9, 26, 13], [6, 23, 12], [-1, 36, 17]],
    [[4, -8, 6], [-12, 25, -11], [-34, 3, -22], [9, -4, 9], [-36, 11, -26]],
]
DILATED_INPUT_GRADIENT = [[[-106, 23], [-52, 12], [-26, -1]], [[-27, 65], [-142, 24], [8, 40]]]
DILATED_WEIGHT_GRADIENT = [
    [[[-22, -18], [36, 30], [33, 28]], [[-41, -44], [-29, -17], [-20, -10]]],
    [[[13, 0], [78, 50], [-86, -54]], [[-35, -25], [6, -27], [61, 56]]],
    [[[26, 20], [53, 34], [14, 12]], [[-86, -40], [-86, -42], [101, 44]]],
]


def test_dilation_and_the_output_padding_that_it_permits_are_pytorchs(dtype):
    window = {"stride": (3, 1), "padding": (2, 1), "output_padding": (0, 1), "dilation": (2, 3)}
    layer = TransposedConvolutionLayer(3, (3, 2), **window)
    assert layer.build((2, 3, 2), dtype=dtype) == (4, 5, 3)
    layer.params["W"][...] = pattern(3, 2, 3, 2, modulus=11)
    layer.params["b"][...] = [1, -2, 3]
    np.testing.assert_array_equal(layer.forward(pattern(1, 2, 3, 2), training=True), [DILATED_OUTPUT])
    np.testing.assert_array_equal(layer.backward(pattern(1, 4, 5, 3, modulus=17)), [DILATED_INPUT_GRADIENT])
    np.testing.assert_array_equal(layer.grads["W"], DILATED_WEIGHT_GRADIENT)
    np.testing.assert_array_equal(layer.grads["b"], [-16, -35, -2])


def test_a_single_pixel_spreads_the_filter_over_its_window():
    layer = TransposedConvolutionLayer(filters=1, filter_size=2, stride=2)
    layer.build((1, 2, 1))
    layer.params["W"][...] = np.reshape([1, 2, 3, 4], (2, 2, 1, 1))
    layer.params["b"][...] = 100
    y = layer.forward([[[[1], [10]]]])
    np.testing.assert_array_equal(y[0, :, :, 0], [[101, 102, 110, 120], [103, 104, 130, 140]])


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ((7, 8), {"filter_size": 3, "stride": 2, "padding": 1}),
        ((9, 5), {"filter_size": (4, 1), "stride": (3, 2)}),
        ((5, 5), {"filter_size": 5, "padding": 2}),
        ((8, 9), {"filter_size": 3, "stride": 2, "dilation": (2, 3)}),
    ],
)
def test_it_comes_back_to_the_size_of_the_image_that_a_convolution_was_given(size, arguments):
    convolution = ConvolutionLayer(filters=2, **arguments)
    output = convolution.build((*size, 3))
    back = TransposedConvolutionLayer(filters=3, **arguments)
    missing = tuple(n - m for n, m in zip(size, back.build(output)[:2], strict=True))
    back = TransposedConvolutionLayer(filters=3, output_padding=missing, **arguments)
    assert back.build(output) == (*size, 3)


def test_it_is_the_adjoint_of_the_convolution_with_its_weights(rng):
    window = {"filter_size": (3, 4), "stride": (2, 3), "padding": (2, 1), "dilation": (1, 2)}
    layer = TransposedConvolutionLayer(filters=2, output_padding=(1, 2), **window)
    layer.build((4, 3, 5), seed=0, dtype=np.float64)
    convolution = ConvolutionLayer(filters=5, **window)
    convolution.build(layer.output_shape, dtype=np.float64)
    convolution.params["W"][...] = layer.params["W"]
    x, image = rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((2, *layer.output_shape))
    assert np.vdot(layer.forward(x), image) == pytest.approx(np.vdot(x, convolution.forward(image)), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filters": 0, "filter_size": 3}, ValueError, "filters: expected 1 or more, got 0"),
        ({"filters": 2, "filter_size": 3, "padding": -1}, ValueError, "padding: expected 0 or more, got -1"),
        ({"filters": 2, "filter_size": 3, "padding": "same"}, TypeError, "padding: expected an integer or a pair"),
        ({"filters": 2, "filter_size": 3, "output_padding": 1}, ValueError, "output_padding: expected less than"),
        ({"filters": 2, "filter_size": 3, "dilation": 0}, ValueError, "dilation: expected 1 or more, got 0"),
        ({"filters": 2, "filter_size": 3, "initializer": "magic"}, ValueError, "initializer: expected one of"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^TransposedConvolutionLayer: {message}"):
        TransposedConvolutionLayer(**arguments)


def test_padding_that_leaves_nothing_is_an_error():
    layer = TransposedConvolutionLayer(filters=1, filter_size=2, padding=2)
    with pytest.raises(ValueError, match="leaves nothing of the output of an image of 3x9: 0x6"):
        layer.build((3, 9, 1))
