"""Sums of more values than one number of single precision can count: 2**24 and 1 is 2**24."""

import numpy as np
import pytest

from cnnx._kernels import FAMILIES, _compiled

MANY = 2**25
COLUMN, ROW, IMAGE = (MANY, 1), (1, MANY), (1, 2**13, 2**12, 1)


def ones(*shape, times=1):
    return np.full(shape, times, np.float32)


def given(count):
    return np.full(count, np.nan, np.float32)


def average_pool_forward(kernel):
    out = given(1).reshape(1, 1, 1, 1)
    kernel(ones(*IMAGE), IMAGE[1:3], (1, 1), (0, 0), out)
    return {"average": (out, 1)}


def bias_gradient(kernel):
    out = given(1)
    kernel(ones(*COLUMN), out)
    return {"gradient": (out, MANY)}


def batch_norm_statistics(kernel):
    x, mean, variance = ones(*COLUMN), given(1), given(1)
    x[::2] = 3
    kernel(x, mean, variance)
    return {"mean": (mean, 2), "variance": (variance, 1)}


def batch_norm_parameter_gradient(kernel):
    gamma, beta = given(1), given(1)
    kernel(ones(*COLUMN), ones(*COLUMN), (ones(1, times=0), ones(1)), (ones(1), ones(1)), False, gamma, beta)
    return {"gamma": (gamma, MANY), "beta": (beta, MANY)}


def group_norm_forward(kernel):
    results = {}
    for shape in ((1, 1, MANY), (1, MANY, 1)):
        x, mean, inv_std = ones(*shape), given(1).reshape(1, 1), given(1).reshape(1, 1)
        x.reshape(-1)[::2] = 3
        kernel(x, ones(shape[2]), ones(shape[2], times=0), 0.0, mean, inv_std, np.empty_like(x))
        results |= {f"mean of {shape}": (mean, 2), f"inv_std of {shape}": (inv_std, 1)}
    return results


def group_norm_parameter_gradient(kernel):
    gamma, beta, shape = given(1), given(1), (1, MANY, 1)
    kernel(ones(*shape), ones(*shape), ones(1, 1, times=0), ones(1, 1), gamma, beta)
    return {"gamma": (gamma, MANY), "beta": (beta, MANY)}


def group_norm_input_gradient(kernel):
    results = {}
    for shape in ((1, 1, MANY), (1, MANY, 1)):
        out = ones(*shape)
        kernel(ones(*shape, times=2), ones(*shape), ones(1, 1, times=0), ones(1, 1), ones(shape[2]), out)
        results[f"2 - the mean of 2 - the mean of 2 x for {shape}"] = (out.reshape(-1)[[0, -1]], -2)
    return results


def prelu_backward(kernel):
    slope = given(1)
    kernel(ones(*COLUMN), ones(*COLUMN, times=-1), ones(1), slope, None)
    return {"slope": (slope, -MANY)}


def squared_error_forward(kernel):
    losses = given(1)
    kernel(ones(*ROW), ones(*ROW, times=0), losses)
    return {"loss": (losses, 1)}


def huber_forward(kernel):
    losses = given(1)
    kernel(ones(*ROW), ones(*ROW, times=0), 1.0, losses)
    return {"loss": (losses, 0.5)}


def hinge_forward(kernel):
    losses, targets = given(1), ones(*ROW, times=0)
    targets[0, 0] = 1
    kernel(ones(*ROW), targets, False, losses)
    return {"loss": (losses, 1)}


def softmax_forward(kernel):
    out = np.empty(ROW, np.float32)
    kernel(ones(*ROW), out)
    return {"probability": (out[0, [0, -1]], 1 / MANY)}


def dense_weight_gradient(kernel):
    weights, biases = given(1).reshape(1, 1), given(1)
    kernel(ones(*COLUMN), ones(*COLUMN), weights, biases)
    return {"biases": (biases, MANY)}


def depthwise_weight_gradient(kernel):
    weights, biases = given(1).reshape(1, 1, 1, 1), given(1)
    kernel(ones(*IMAGE), ones(*IMAGE), ((1, 1), (0, 0), (1, 1)), weights, biases)
    return {"weights": (weights, MANY), "biases": (biases, MANY)}


def convolution_weight_gradient(kernel):
    weights, biases = given(1).reshape(1, 1, 1, 1), given(1)
    kernel(ones(*IMAGE), ones(*IMAGE), ((1, 1), (0, 0), (1, 1)), weights, biases)
    return {"weights": (weights, MANY), "biases": (biases, MANY)}


def nearest_upsample_backward(kernel):
    out = given(1).reshape(1, 1, 1, 1)
    kernel(ones(*IMAGE), out)
    return {"gradient": (out, MANY)}


def batch_sums(kernel):
    sums = np.empty(3)
    kernel(ones(MANY), ones(MANY), None, sums)
    return {"sums": (sums, MANY)}


SUMS = (
    average_pool_forward,
    bias_gradient,
    batch_norm_statistics,
    batch_norm_parameter_gradient,
    group_norm_forward,
    group_norm_parameter_gradient,
    group_norm_input_gradient,
    prelu_backward,
    squared_error_forward,
    huber_forward,
    hinge_forward,
    softmax_forward,
    dense_weight_gradient,
    depthwise_weight_gradient,
    convolution_weight_gradient,
    nearest_upsample_backward,
    batch_sums,
)


def check(results):
    for name, (found, expected) in results.items():
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


@pytest.mark.skipif(not _compiled, reason="no compiled kernels")
@pytest.mark.parametrize("sums", SUMS, ids=lambda sums: sums.__name__)
def test_a_sum_of_more_ones_than_single_precision_counts_is_right(sums):
    check(sums(getattr(_compiled[FAMILIES[sums.__name__]], sums.__name__)))


@pytest.mark.skipif(not _compiled, reason="no compiled kernels")
@pytest.mark.parametrize(("size", "channels", "filters"), [(1, 16, 16), (3, 1, 1), (3, 32, 32), (3, 3, 8)])
@pytest.mark.parametrize("pooled", [False, True])
def test_gradients_of_weights_from_a_large_image_keep_their_digits(size, channels, filters, pooled):
    """However they are computed: packed, in planes, by Winograd's products, from pooled windows."""
    side = 1024 if channels < 16 else 384
    x = np.full((1, side, side, channels), 0.1, np.float32)
    shape = (1, side // 2, side // 2, filters) if pooled else (1, side, side, filters)
    grad, W, b = np.ones(shape, np.float32), np.empty((size, size, channels, filters), np.float32), given(filters)
    margin = size // 2
    window = ((1, 1), (margin, margin), (1, 1))
    module = _compiled["convolution"]
    if pooled:
        window = (*window[:2], (side, side), (2, 2))
        module.convolution_pool_weight_gradient(x, grad, np.zeros(shape, np.uint8), window, W, b)
    else:
        module.convolution_weight_gradient(x, grad, window, W, b)
    np.testing.assert_allclose(W[margin, margin], grad.size / filters * 0.1, rtol=1e-4)
    np.testing.assert_array_equal(b, grad.size / filters)
