"""Numbers as pictures: black, white and colours where they belong."""

import numpy as np
import pytest

import cnnx
from cnnx.inspection.pictures import as_filters, as_pictures, first_convolution, overlay, span_of


def test_white_is_what_the_model_knows_or_the_largest_value():
    X = np.array([0, 0.25, 1]).reshape(1, 1, 3, 1)
    assert as_pictures(X, span_of(X, 1.0)).tolist() == [[[0, 64, 255]]]
    assert as_pictures(255 * X, span_of(X, 255)).tolist() == [[[0, 64, 255]]]
    assert as_pictures(X, span_of(X, 0.5)).tolist() == [[[0, 128, 255]]]
    assert as_pictures(4 * X - 2, span_of(4 * X - 2, None)).tolist() == [[[0, 64, 255]]]
    assert as_pictures(0 * X + 7, span_of(0 * X + 7, None)).tolist() == [[[0, 0, 0]]]
    assert span_of(np.array([np.nan, 2.0, np.inf, 1.0]), None) == (1, 2)
    assert span_of(X[:0], None) == (0, 1)


def test_three_channels_are_colours_and_others_their_mean():
    X = np.zeros((1, 1, 1, 3))
    X[..., 1] = 1
    assert as_pictures(X, (0, 1)).tolist() == [[[[0, 255, 0]]]]
    assert as_pictures(np.tile(X, 2), (0, 1)).tolist() == [[[85]]]


def test_a_filters_largest_weight_is_white_or_black_and_nothing_is_grey():
    layer = cnnx.ConvolutionLayer(filters=3, filter_size=(1, 3))
    layer.build((4, 4, 1), seed=0)
    layer.params["W"][0, :, 0, :] = np.array([[2, 0, -1], [0, -5, 0], [0, 0, 0]]).T
    assert as_filters(layer).tolist() == [[[255, 128, 64]], [[128, 0, 128]], [[128, 128, 128]]]


def test_the_first_convolution_may_be_inside_a_block():
    inner = cnnx.ConvolutionLayer(filters=2, filter_size=3, padding=1)
    model = cnnx.Model(cnnx.ResidualLayer(cnnx.ReluLayer(), inner), cnnx.Flatten(), cnnx.SoftmaxLayer())
    assert first_convolution(model.layers, "here") is inner
    with pytest.raises(ValueError, match="here: expected a model with a ConvolutionLayer"):
        first_convolution(model.layers[1:], "here")


def test_colours_lie_where_the_map_is_high_and_small_pictures_become_larger():
    picture, heat = np.full((1, 8, 8), 100, np.uint8), np.zeros((1, 2, 2))
    heat[0, 0, 1] = 3
    laid = overlay(picture, heat)
    assert laid.shape == (1, 64, 64, 3)
    assert laid[0, 0, -1].tolist() == np.rint(0.2 * 100 + 0.8 * np.array([252, 255, 164])).tolist()
    assert laid[0, -1, 0].tolist() == np.rint(0.85 * 100 + 0.15 * np.array([0, 0, 4])).tolist()
    assert overlay(np.zeros((2, 90, 70, 3), np.uint8), np.zeros((2, 5, 5))).shape == (2, 90, 70, 3)
