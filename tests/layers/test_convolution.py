import numpy as np
import pytest

from cnnx.layers.convolution import ConvolutionLayer

DECK_IMAGE = np.array(
    [
        [3, 0, 1, 2, 7, 4],
        [1, 5, 8, 9, 3, 1],
        [2, 7, 2, 5, 1, 3],
        [0, 1, 3, 1, 7, 8],
        [4, 2, 1, 6, 2, 8],
        [2, 4, 5, 2, 3, 9],
    ]
)
DECK_FILTER = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]])
DECK_RESULT = np.array([[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]])


@pytest.mark.usefixtures("backend")
def test_the_decks_vertical_edge_example(dtype):
    layer = ConvolutionLayer(filters=1, filter_size=3)
    layer.build((6, 6, 1), dtype=dtype)
    layer.params["W"][...] = DECK_FILTER[:, :, np.newaxis, np.newaxis]
    y = layer.forward(DECK_IMAGE[np.newaxis, :, :, np.newaxis])
    np.testing.assert_array_equal(y[0, :, :, 0], DECK_RESULT)


@pytest.mark.usefixtures("backend")
def test_channels_are_summed_and_biases_added():
    layer = ConvolutionLayer(filters=2, filter_size=1)
    layer.build((1, 2, 3))
    layer.params["W"][...] = [[[[1, 10], [2, 20], [3, 30]]]]
    layer.params["b"][...] = [0.5, -1]
    y = layer.forward([[[[1, 1, 1], [0, 1, 0]]]])
    np.testing.assert_array_equal(y, [[[[6.5, 59], [2.5, 19]]]])


@pytest.mark.parametrize(
    ("arguments", "size", "expected"),
    [
        ({"filter_size": 3, "padding": 1}, (32, 32), (32, 32)),
        ({"filter_size": 5}, (14, 14), (10, 10)),
        ({"filter_size": (3, 5), "stride": (2, 3)}, (10, 20), (4, 6)),
        ({"filter_size": 3, "stride": 2, "padding": "same"}, (7, 8), (4, 4)),
        ({"filter_size": 2, "padding": "same"}, (7, 8), (7, 8)),
        ({"filter_size": 3, "padding": "valid"}, (7, 8), (5, 6)),
        ({"filter_size": 4, "padding": (2, 0)}, (3, 6), (4, 3)),
        ({"filter_size": 3, "dilation": (3, 2)}, (7, 8), (1, 4)),
        ({"filter_size": 3, "groups": 2, "dilation": (2, 1)}, (7, 8), (3, 6)),
        ({"filter_size": 3, "groups": 2, "dilation": 3, "padding": "same", "stride": 2}, (7, 8), (4, 4)),
    ],
)
def test_output_shapes(arguments, size, expected):
    layer = ConvolutionLayer(filters=4, **arguments)
    assert layer.build((*size, 2)) == (*expected, 4)


@pytest.mark.usefixtures("backend")
def test_same_padding_puts_the_odd_pixel_after_the_image_as_keras_does():
    layer = ConvolutionLayer(filters=1, filter_size=(1, 2), padding="same")
    layer.build((1, 3, 1))
    layer.params["W"][...] = np.reshape([1, 10], (1, 2, 1, 1))
    np.testing.assert_array_equal(layer.forward([[[[1], [2], [3]]]]).ravel(), [21, 32, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filters": 0, "filter_size": 3}, ValueError, "filters: expected 1 or more, got 0"),
        ({"filters": -2, "filter_size": 3}, ValueError, "filters: expected 1 or more, got -2"),
        ({"filters": 2.5, "filter_size": 3}, TypeError, "filters: expected an integer, got 2.5"),
        ({"filters": True, "filter_size": 3}, ValueError, "filters: expected 1 or more, got True"),
        ({"filters": 2, "filter_size": 0}, ValueError, "filter_size: expected 1 or more, got 0"),
        ({"filters": 2, "filter_size": (3, 3, 3)}, TypeError, "filter_size: expected an integer or a pair"),
        ({"filters": 2, "filter_size": 3.0}, TypeError, "filter_size: expected an integer or a pair"),
        ({"filters": 2, "filter_size": 3, "stride": 0}, ValueError, "stride: expected 1 or more, got 0"),
        ({"filters": 2, "filter_size": 3, "padding": -1}, ValueError, "padding: expected 0 or more, got -1"),
        ({"filters": 2, "filter_size": 3, "padding": "full"}, ValueError, "padding: expected 'same', 'valid'"),
        ({"filters": 2, "filter_size": 3, "initializer": "magic"}, ValueError, "initializer: expected one of"),
        ({"filters": 2, "filter_size": 3, "dilation": 0}, ValueError, "dilation: expected 1 or more, got 0"),
        ({"filters": 2, "filter_size": 3, "groups": 0}, ValueError, "groups: expected 1 or more, got 0"),
        ({"filters": 4, "filter_size": 3, "groups": 3}, ValueError, "groups: expected a divisor of 4 filters, got 3"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^ConvolutionLayer: {message}"):
        ConvolutionLayer(**arguments)


def test_a_filter_larger_than_the_padded_image_is_an_error():
    layer = ConvolutionLayer(filters=1, filter_size=6, padding=1)
    with pytest.raises(ValueError, match="a filter of 6x6 does not fit into an image of 3x9 with padding"):
        layer.build((3, 9, 1))


@pytest.mark.parametrize("shape", [(8,), (8, 8), (8, 8, 1, 1), (8, 0, 1), (8, 8, 1.5)])
def test_examples_that_are_no_images_are_an_error(shape):
    with pytest.raises(ValueError, match=r"expected examples of shape \(height, width, channels\)"):
        ConvolutionLayer(filters=1, filter_size=1).build(shape)


def pattern(*shape, modulus=13):
    """Whole numbers without an order to be seen."""
    k = np.arange(np.prod(shape))
    return ((3 * k * k + k) % modulus - modulus // 2).astype(float).reshape(shape)


@pytest.mark.usefixtures("backend")
def test_groups_are_pytorchs(dtype):
    layer = ConvolutionLayer(filters=6, filter_size=(2, 3), stride=(1, 2), padding=(0, 1), groups=2)
    assert layer.build((3, 4, 4), dtype=dtype) == (2, 2, 6)
    layer.params["W"][...] = pattern(2, 3, 2, 6, modulus=11)
    layer.params["b"][...] = range(6)
    # torch.nn.functional.conv2d(x, W, b, stride=(1, 2), padding=(0, 1), groups=2) of PyTorch 2.
    recorded = [
        [[47, 11, -47, -9, 49, -33], [120, 27, 48, 108, -57, -9]],
        [[-8, -9, -58, -43, -50, 16], [40, 12, -33, 59, 60, -19]],
    ]
    np.testing.assert_array_equal(layer.forward(pattern(1, 3, 4, 4)), [recorded])


# torch.nn.functional.conv2d(x, W, b, stride=(1, 2), padding=(1, 2), dilation=3) of PyTorch 2 on `pattern`, and its
# gradients.
OUTPUT = [
    [[-21, 0, -28], [12, -5, 28]],
    [[5, 6, 47], [24, -69, 26]],
    [[7, 8, 107], [30, -40, -1]],
    [[7, 19, 37], [-46, 27, 40]],
]
INPUT_GRADIENT = [
    [[-10, 22], [16, 16], [0, 0], [38, 82], [25, 21], [0, 0]],
    [[12, 4], [-1, -31], [0, 0], [52, 68], [-1, -21], [0, 0]],
    [[39, -1], [-19, -73], [0, 0], [-44, -90], [-7, 3], [0, 0]],
    [[-58, 10], [-14, -26], [0, 0], [-48, 32], [-62, -23], [0, 0]],
    [[-32, 32], [15, 15], [0, 0], [-46, 42], [31, 30], [0, 0]],
]
WEIGHT_GRADIENT = [
    [[[-72, 64, 96], [4, 28, 48]], [[74, -21, -77], [96, -68, -103]], [[-50, 41, 10], [-18, 35, 21]]],
    [[[48, -42, -16], [14, -18, -88]], [[-44, 140, -28], [-44, 106, 10]], [[-12, 0, 10], [0, -56, 54]]],
]


@pytest.mark.usefixtures("backend")
def test_dilation_is_pytorchs(dtype):
    layer = ConvolutionLayer(filters=3, filter_size=(2, 3), stride=(1, 2), padding=(1, 2), dilation=3)
    assert layer.build((5, 6, 2), dtype=dtype) == (4, 2, 3)
    layer.params["W"][...] = pattern(2, 3, 2, 3, modulus=11)
    layer.params["b"][...] = range(3)
    np.testing.assert_array_equal(layer.forward(pattern(1, 5, 6, 2), training=True), [OUTPUT])
    np.testing.assert_array_equal(layer.backward(pattern(1, 4, 2, 3, modulus=17)), [INPUT_GRADIENT])
    np.testing.assert_array_equal(layer.grads["W"], WEIGHT_GRADIENT)
    np.testing.assert_array_equal(layer.grads["b"], [-8, -16, 7])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_each_group_is_a_convolution_of_its_own(groups, dilation, rng):
    window = {"filter_size": 3, "stride": 2, "padding": 1, "dilation": dilation}
    layer = ConvolutionLayer(filters=12, groups=groups, **window)
    layer.build((6, 5, 6), seed=0, dtype=np.float64)
    x, upstream = rng.standard_normal((2, 6, 5, 6)), rng.standard_normal((2, *layer.output_shape))
    y, x_grad = layer.forward(x, training=True), layer.backward(upstream)
    parts = zip(
        *(np.split(a, groups, axis=-1) for a in (x, upstream, y, x_grad, layer.params["W"], layer.grads["W"])),
        strict=True,
    )
    for x_part, upstream_part, y_part, x_grad_part, W, W_grad in parts:
        alone = ConvolutionLayer(filters=12 // groups, **window)
        alone.build((6, 5, 6 // groups), dtype=np.float64)
        alone.params["W"][...] = W
        np.testing.assert_allclose(y_part, alone.forward(x_part, training=True), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(x_grad_part, alone.backward(upstream_part), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(W_grad, alone.grads["W"], rtol=1e-12, atol=1e-14)


def test_starting_weights_know_how_many_channels_a_filter_sees():
    layer = ConvolutionLayer(filters=64, filter_size=3, groups=8, initializer="he_normal")
    layer.build((5, 5, 64), seed=0)
    assert layer.params["W"].shape == (3, 3, 8, 64)
    assert layer.params["W"].std() == pytest.approx(np.sqrt(2 / 72), rel=0.05)


def test_channels_that_cannot_be_cut_into_groups_are_an_error():
    with pytest.raises(ValueError, match="ConvolutionLayer: groups: expected a divisor of 6 channels, got 4"):
        ConvolutionLayer(filters=4, filter_size=1, groups=4).build((3, 3, 6))


def test_a_dilated_filter_larger_than_the_padded_image_is_an_error():
    layer = ConvolutionLayer(filters=1, filter_size=3, padding=1, dilation=(4, 1))
    with pytest.raises(ValueError, match=r"a filter of 3x3 with dilation \(4, 1\) does not fit into an image of 6x9"):
        layer.build((6, 9, 2))
    assert layer.build((7, 9, 2)) == (1, 9, 1)
