"""How tasks are dealt to threads: all are done, once, whoever does them."""

import numpy as np
import pytest

import cnnx
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has no threads"),
    pytest.mark.usefixtures("restored_kernels"),
]
STRAIGHT = ((1, 1), (1, 1), (1, 1))


def products(x, W, grad, features, weights, units):
    """What the kernels make of shares: bands of images, blocks of them, panels and rows of a dense layer."""
    y, x_grad, W_grad, b_grad = (np.full_like(a, np.nan) for a in (grad, x, W, grad[0, 0, 0]))
    z, f_grad, w_grad, u_grad = (np.full_like(a, np.nan) for a in (units, features, weights, units[0]))
    convolution, dense = _compiled["convolution"], _compiled["dense"]
    convolution.convolution_forward(x, W, np.ones_like(b_grad), STRAIGHT, False, y)
    convolution.convolution_input_gradient(grad, W, STRAIGHT, x_grad)
    convolution.convolution_weight_gradient(x, grad, STRAIGHT, W_grad, b_grad)
    dense.dense_forward(features, weights, units[0], True, z)
    dense.dense_input_gradient(units, weights, f_grad)
    dense.dense_weight_gradient(features, units, w_grad, u_grad)
    return y, x_grad, W_grad, b_grad, z, f_grad, w_grad, u_grad


@pytest.mark.parametrize("threads", [2, 5, 16, 21])  # more than the tasks of some kernels, and than there are shares
def test_every_task_is_done_once(threads, rng, dtype):
    for images, channels, filters in [(19, 3, 3), (7, 16, 40), (33, 2, 20)]:
        shapes = [(images, 24, 24, channels), (3, 3, channels, filters), (images, 24, 24, filters)]
        shapes += [(11 * images, 130), (130, 100), (11 * images, 100)]
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        cnnx.set_num_threads(1)
        expected = products(*arrays)
        cnnx.set_num_threads(threads)
        for array, alone in zip(products(*arrays), expected, strict=True):
            np.testing.assert_array_equal(array, alone)
