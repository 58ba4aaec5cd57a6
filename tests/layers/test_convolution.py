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
