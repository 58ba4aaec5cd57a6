import numpy as np
import pytest

from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer

DECK_IMAGE = np.array([[2, 3, 1, 9], [4, 7, 3, 5], [8, 2, 2, 2], [1, 3, 4, 5]])
DECK_MASK = np.array([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])

pytestmark = pytest.mark.usefixtures("backend")


def image(rows):
    return np.asarray(rows, dtype=float)[np.newaxis, :, :, np.newaxis]


def test_the_decks_max_pooling_and_its_mask():
    layer = PoolLayer(filter_size=2, stride=2, mode="max")
    layer.build((4, 4, 1))
    y = layer.forward(image(DECK_IMAGE), training=True)
    np.testing.assert_array_equal(y[0, :, :, 0], [[7, 9], [8, 5]])
    np.testing.assert_array_equal(layer.backward(np.ones_like(y))[0, :, :, 0], DECK_MASK)


def test_average_pooling_of_the_decks_image():
    layer = PoolLayer(filter_size=2, mode="average")
    layer.build((4, 4, 1))
    y = layer.forward(image(DECK_IMAGE), training=True)
    np.testing.assert_array_equal(y[0, :, :, 0], [[4, 4.5], [3.5, 3.25]])
    np.testing.assert_array_equal(layer.backward(4 * np.ones_like(y)), np.ones((1, 4, 4, 1)))


def test_stride_is_the_window_by_default():
    assert PoolLayer(filter_size=(2, 3)).stride == (2, 3)


def test_tied_pixels_send_the_gradient_to_the_first_alone():
    layer = PoolLayer(filter_size=2)
    layer.build((2, 2, 1))
    layer.forward(image([[1, 1], [1, 1]]), training=True)
    np.testing.assert_array_equal(layer.backward(image([[5]])), image([[5, 0], [0, 0]]))


def test_overlapping_windows_add_their_gradients():
    layer = PoolLayer(filter_size=2, stride=1)
    layer.build((2, 3, 1))
    layer.forward(image([[0, 9, 0], [0, 0, 0]]), training=True)
    np.testing.assert_array_equal(layer.backward(image([[2, 3]])), image([[0, 5, 0], [0, 0, 0]]))


def test_nan_passes_through_max_pooling_and_its_index_stays_in_the_window():
    layer = PoolLayer(filter_size=2)
    layer.build((2, 4, 1))
    nan = np.nan
    y = layer.forward(image([[1, nan, nan, nan], [nan, 2, nan, nan]]), training=True)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(layer.backward(image([[1, 2]])), image([[0, 1, 2, 0], [0, 0, 0, 0]]))


@pytest.mark.parametrize("lowest", [-np.inf, -5.0])
def test_padding_never_wins(lowest):
    layer = PoolLayer(filter_size=3, stride=2, padding=1)
    layer.build((3, 3, 1))
    y = layer.forward(np.full((1, 3, 3, 1), lowest), training=True)
    np.testing.assert_array_equal(y, np.full((1, 2, 2, 1), lowest))
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)).sum(), 4)


def test_average_pooling_does_not_count_padding():
    layer = PoolLayer(filter_size=3, stride=2, mode="average", padding=1)
    layer.build((3, 3, 1))
    np.testing.assert_array_equal(layer.forward(np.full((1, 3, 3, 1), 6.0)), np.full((1, 2, 2, 1), 6.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filter_size": 2, "mode": "median"}, r"mode: expected one of \('max', 'average'\), got 'median'"),
        ({"filter_size": 2, "padding": 2}, r"padding: expected less than the window's size \(2, 2\), got 2"),
        ({"filter_size": 0}, "filter_size: expected 1 or more, got 0"),
        ({"filter_size": 2, "stride": (1, -1)}, "stride: expected 1 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^PoolLayer: {message}"):
        PoolLayer(**arguments)


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match="a filter of 5x5 does not fit into an image of 4x4"):
        PoolLayer(filter_size=5).build((4, 4, 1))


@pytest.mark.parametrize("size", [(3, 4), (17, 18)])
def test_global_pooling_is_the_mean_and_the_largest_of_each_channel(rng, size, dtype):
    x = rng.standard_normal((2, *size, 5)).astype(dtype)
    upstream = rng.standard_normal((2, 5)).astype(dtype)
    mean, largest = GlobalPoolLayer(), GlobalPoolLayer(mode="max")
    for layer, expected in ((mean, x.mean(axis=(1, 2))), (largest, x.max(axis=(1, 2)))):
        assert layer.build(x.shape[1:], dtype=dtype) == (5,)
        np.testing.assert_allclose(layer.forward(x, training=True), expected, rtol=1e-5, atol=1e-6)
    shares = np.broadcast_to((upstream / (size[0] * size[1]))[:, np.newaxis, np.newaxis], x.shape)
    np.testing.assert_allclose(mean.backward(upstream), shares, rtol=1e-6)
    winners = x == x.max(axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(largest.backward(upstream), winners * upstream[:, np.newaxis, np.newaxis])


@pytest.mark.parametrize("mode", ["average", "max"])
def test_nan_in_a_channel_makes_its_global_pool_nan(mode):
    layer = GlobalPoolLayer(mode=mode)
    layer.build((2, 2, 1))
    assert np.isnan(layer.forward(image([[1, np.nan], [3, 2]]))).all()


def test_global_pooling_names_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"^GlobalPoolLayer: mode: expected one of \('max', 'average'\), got 'sum'"):
        GlobalPoolLayer(mode="sum")
    with pytest.raises(ValueError, match=r"^GlobalPoolLayer: expected examples of shape \(height, width, channels\)"):
        GlobalPoolLayer().build((7,))
