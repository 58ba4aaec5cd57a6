import numpy as np
import pytest

from cnnx import CroppingLayer, PaddingLayer


def image(rows):
    return np.asarray(rows, dtype=float)[np.newaxis, :, :, np.newaxis]


def test_padding_puts_zeros_around_an_image_and_backward_takes_them_away():
    layer = PaddingLayer(((1, 0), (2, 1)))
    assert layer.build((2, 2, 1)) == (3, 5, 1)
    y = layer.forward(image([[1, 2], [3, 4]]), training=True)
    np.testing.assert_array_equal(y, image([[0, 0, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 3, 4, 0]]))
    grad = layer.backward(image(np.arange(15).reshape(3, 5)))
    np.testing.assert_array_equal(grad, image([[7, 8], [12, 13]]))


def test_cropping_takes_margins_away_and_their_gradient_is_zero():
    layer = CroppingLayer(((1, 0), (2, 1)))
    assert layer.build((3, 5, 1)) == (2, 2, 1)
    y = layer.forward(image(np.arange(15).reshape(3, 5)), training=True)
    np.testing.assert_array_equal(y, image([[7, 8], [12, 13]]))
    grad = layer.backward(image([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(grad, image([[0, 0, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 3, 4, 0]]))


@pytest.mark.parametrize(
    ("margins", "shape"),
    [(0, (5, 6, 2)), (2, (9, 10, 2)), ((1, 3), (7, 12, 2)), ([[1, 2], [0, 4]], (8, 10, 2)), (np.int64(1), (7, 8, 2))],
)
def test_margins_are_one_number_a_pair_or_two_pairs(rng, margins, shape):
    padding, cropping = PaddingLayer(margins), CroppingLayer(margins)
    assert padding.build((5, 6, 2), dtype=np.float64) == shape
    assert cropping.build(shape, dtype=np.float64) == (5, 6, 2)
    x = rng.standard_normal((3, 5, 6, 2))
    padded = padding.forward(x)
    assert padded.sum() == pytest.approx(x.sum())
    np.testing.assert_array_equal(cropping.forward(padded), x)


@pytest.mark.parametrize(
    ("margins", "error", "message"),
    [
        (-1, ValueError, "expected 0 or more, got -1"),
        ((1, -1), ValueError, "expected 0 or more, got"),
        (((1, 1), (1, -2)), ValueError, "expected 0 or more, got"),
        (1.5, TypeError, r"expected an integer, a pair or \(\(top, bottom\), \(left, right\)\), got 1.5"),
        (None, TypeError, r"expected an integer, a pair or \(\(top, bottom\), \(left, right\)\), got None"),
        ("same", TypeError, "expected an integer or a pair of integers, got 'same'"),
        ((1, 2, 3), TypeError, "expected an integer or a pair of integers"),
        (((1, 2), 3), TypeError, "expected an integer or a pair of integers"),
        (((1, 2), (3,)), TypeError, "expected an integer or a pair of integers"),
    ],
)
def test_bad_margins_are_named(margins, error, message):
    with pytest.raises(error, match=f"^PaddingLayer: padding: {message}"):
        PaddingLayer(margins)
    with pytest.raises(error, match=f"^CroppingLayer: cropping: {message}"):
        CroppingLayer(margins)


def test_cropping_all_of_an_image_is_an_error():
    with pytest.raises(ValueError, match=r"CroppingLayer: cropping .* leaves nothing of an image of 4x9"):
        CroppingLayer(2).build((4, 9, 1))


@pytest.mark.parametrize("layer", [PaddingLayer(1), CroppingLayer(1)])
def test_what_is_no_image_is_refused(layer):
    with pytest.raises(ValueError, match=r"Layer: expected examples of shape \(height, width, channels\), got \(7,\)"):
        layer.build((7,))
