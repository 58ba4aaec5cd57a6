"""The NumPy twins against the deck's worked numbers, naive loops and adjoints: computed in another way."""

import numpy as np
import pytest

from cnnx._kernels.reference import convolution, pooling, softmax

# Filter size, stride, padding; for convolution also dilation.
FILTERS = [((1, 1), (1, 1), (0, 0)), ((3, 2), (2, 1), (1, 0)), ((2, 4), (3, 2), (1, 3)), ((5, 5), (1, 1), (2, 2))]
WINDOWS = [(*window, (1, 1)) for window in FILTERS] + [
    ((3, 2), (1, 1), (0, 0), (2, 3)),
    ((2, 3), (2, 1), (1, 2), (4, 1)),
    ((3, 3), (3, 2), (4, 1), (2, 2)),
]


def output_size(size, filter_size, stride, padding, dilation=(1, 1)):
    return tuple(
        (n + 2 * p - d * (f - 1) - 1) // s + 1
        for n, f, s, p, d in zip(size, filter_size, stride, padding, dilation, strict=True)
    )


def naive_windows(x, filter_size, stride, padding, output, dilation=(1, 1)):
    """(n, oh, ow, cells, channels): the pixels of each window one by one, None outside the image."""
    for n, oh, ow in np.ndindex(len(x), *output):
        cells = []
        for i, j in np.ndindex(filter_size):
            h, w = oh * stride[0] + i * dilation[0] - padding[0], ow * stride[1] + j * dilation[1] - padding[1]
            inside = 0 <= h < x.shape[1] and 0 <= w < x.shape[2]
            cells.append(x[n, h, w] if inside else None)
        yield n, oh, ow, cells


@pytest.mark.parametrize(("filter_size", "stride", "padding", "dilation"), WINDOWS)
def test_convolution_is_the_sum_of_products_over_each_window(rng, filter_size, stride, padding, dilation):
    x = rng.standard_normal((2, 7, 6, 3))
    W, b = rng.standard_normal((*filter_size, 3, 4)), rng.standard_normal(4)
    output = output_size((7, 6), filter_size, stride, padding, dilation)
    out = np.full((2, *output, 4), np.nan)
    convolution.convolution_forward(x, W, b, (stride, padding, dilation), False, out)
    for n, oh, ow, cells in naive_windows(x, filter_size, stride, padding, output, dilation):
        expected = b.copy()
        for cell, weights in zip(cells, W.reshape(-1, 3, 4), strict=True):
            if cell is not None:
                expected += cell @ weights
        np.testing.assert_allclose(out[n, oh, ow], expected, rtol=1e-12)


@pytest.mark.parametrize(("filter_size", "stride", "padding", "dilation"), WINDOWS)
def test_convolution_gradients_are_the_adjoints_of_the_linear_forward_pass(rng, filter_size, stride, padding, dilation):
    x = rng.standard_normal((2, 7, 6, 3))
    W, b = rng.standard_normal((*filter_size, 3, 4)), np.zeros(4)
    grad = rng.standard_normal((2, *output_size((7, 6), filter_size, stride, padding, dilation), 4))
    y, x_grad, W_grad, b_grad = np.empty_like(grad), np.empty_like(x), np.empty_like(W), np.empty(4)
    convolution.convolution_forward(x, W, b, (stride, padding, dilation), False, y)
    convolution.convolution_input_gradient(grad, W, (stride, padding, dilation), x_grad)
    convolution.convolution_weight_gradient(x, grad, (stride, padding, dilation), W_grad, b_grad)
    product = np.vdot(grad, y)
    assert np.vdot(x_grad, x) == pytest.approx(product, rel=1e-12)
    assert np.vdot(W_grad, W) == pytest.approx(product, rel=1e-12)
    np.testing.assert_allclose(b_grad, grad.reshape(-1, 4).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize(("filter_size", "stride", "padding"), FILTERS)
def test_pooling_takes_the_largest_and_the_mean_of_each_window(rng, filter_size, stride, padding):
    padding = tuple(min(p, f - 1) for p, f in zip(padding, filter_size, strict=True))
    x = rng.permutation(2 * 7 * 6 * 3).reshape(2, 7, 6, 3) - 500.0  # all negative: padding must not win
    output = output_size((7, 6), filter_size, stride, padding)
    largest, mean, argmax = np.empty((2, *output, 3)), np.empty((2, *output, 3)), np.empty((2, *output, 3), np.uint8)
    pooling.max_pool_forward(x, filter_size, stride, padding, largest, argmax)
    pooling.average_pool_forward(x, filter_size, stride, padding, mean)
    for n, oh, ow, cells in naive_windows(x, filter_size, stride, padding, output):
        pixels = np.array([cell for cell in cells if cell is not None])
        np.testing.assert_array_equal(largest[n, oh, ow], pixels.max(axis=0))
        np.testing.assert_allclose(mean[n, oh, ow], pixels.mean(axis=0), rtol=1e-12)
        for c in range(3):
            assert cells[argmax[n, oh, ow, c]][c] == largest[n, oh, ow, c]


@pytest.mark.parametrize(("filter_size", "stride", "padding"), FILTERS)
def test_average_pooling_backward_is_the_adjoint_of_forward(rng, filter_size, stride, padding):
    padding = tuple(min(p, f - 1) for p, f in zip(padding, filter_size, strict=True))
    x = rng.standard_normal((2, 7, 6, 3))
    grad = rng.standard_normal((2, *output_size((7, 6), filter_size, stride, padding), 3))
    y, x_grad = np.empty_like(grad), np.empty_like(x)
    pooling.average_pool_forward(x, filter_size, stride, padding, y)
    pooling.average_pool_backward(grad, filter_size, stride, padding, x_grad)
    assert np.vdot(x_grad, x) == pytest.approx(np.vdot(grad, y), rel=1e-12)


def test_max_pooling_names_the_first_of_equal_pixels_and_the_first_nan():
    x = np.array([[5.0, 5, 1, np.nan], [5, 2, np.nan, 9]]).reshape(1, 2, 4, 1)
    out, argmax = np.empty((1, 1, 2, 1)), np.empty((1, 1, 2, 1), np.uint8)
    pooling.max_pool_forward(x, (2, 2), (2, 2), (0, 0), out, argmax)
    np.testing.assert_array_equal(out.ravel(), [5, np.nan])
    np.testing.assert_array_equal(argmax.ravel(), [0, 1])


def test_softmax_jacobian_product_equals_the_whole_jacobian(rng):
    y, out = np.empty((3, 5)), np.empty((3, 5))
    softmax.softmax_forward(rng.standard_normal((3, 5)), y)
    grad = rng.standard_normal((3, 5))
    softmax.softmax_backward(grad, y, out)
    for n in range(3):
        jacobian = np.diag(y[n]) - np.outer(y[n], y[n])
        np.testing.assert_allclose(out[n], jacobian @ grad[n], rtol=1e-12)


def test_cross_entropy_is_minus_the_log_of_the_right_class_probability(rng):
    x, y, losses = rng.standard_normal((4, 3)), np.empty((4, 3)), np.empty(4)
    labels = np.array([0, 2, 1, 1])
    softmax.softmax_cross_entropy_forward(x, np.eye(3)[labels], y, losses)
    np.testing.assert_allclose(losses, -np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))[range(4), labels])
