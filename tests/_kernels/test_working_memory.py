"""The working memory that kernels keep from call to call."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnx
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has no working memory"),
    pytest.mark.usefixtures("restored_kernels"),
]
STRAIGHT = ((1, 1), (1, 1), (1, 1))


def gradients(x, W, grad):
    """Both gradients of a convolution: two kernels, of which one needs memory within memory."""
    x_grad, W_grad, b_grad = np.empty_like(x), np.empty_like(W), np.empty_like(grad[0, 0, 0])
    _compiled["convolution"].convolution_input_gradient(grad, W, STRAIGHT, x_grad)
    _compiled["convolution"].convolution_weight_gradient(x, grad, STRAIGHT, W_grad, b_grad)
    return x_grad, W_grad, b_grad


def test_kernels_in_many_python_threads_do_not_share_it(rng):
    cnnx.set_num_threads(2)
    cases = []
    for size, channels, filters in [(5, 24, 30), (17, 3, 7), (9, 64, 48), (30, 2, 2), (12, 33, 24), (6, 128, 70)]:
        shapes = (2, size, size, channels), (3, 3, channels, filters), (2, size, size, filters)
        cases.append([rng.standard_normal(shape) for shape in shapes])
    expected = [gradients(*case) for case in cases]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            for results, alone in zip(threads.map(lambda case: gradients(*case), cases), expected, strict=True):
                for array, same in zip(results, alone, strict=True):
                    np.testing.assert_array_equal(array, same)
