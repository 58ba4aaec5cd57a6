"""Products position by position: of many small images, of strides, of filters about as large as their images."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import TOLERANCE, assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="the twins have one way for all images"),
    pytest.mark.usefixtures("restored_kernels"),
]

sides = st.integers(1, 5)


@on_every_instruction_set
@given(
    images=st.sampled_from([6, 16, 17, 33, 50]),
    output=st.tuples(sides, sides),
    filter_size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    row_dilation=st.integers(1, 2),
    channels=st.sampled_from([1, 4, 7, 20, 33]),
    filters=st.sampled_from([1, 5, 16, 34]),
    dtype=dtypes,
    seed=seeds,
)
def test_many_small_images_agree_with_the_twin_and_with_each_by_itself_whatever_the_threads(
    instruction_set, images, output, filter_size, stride, padding, row_dilation, channels, filters, dtype, seed
):
    _kernels.use_instruction_set(instruction_set)
    dilation = (row_dilation, 1)
    size = tuple(
        (o - 1) * s + (k - 1) * d + 1 - 2 * p
        for o, s, k, d, p in zip(output, stride, filter_size, dilation, padding, strict=True)
    )
    if min(size) < 1:
        return
    rng = np.random.default_rng(seed)
    window = (stride, padding, dilation)
    W = (rng.standard_normal((*filter_size, channels, filters)) / filters).astype(dtype)
    grad = rng.standard_normal((images, *output, filters)).astype(dtype)
    x, b = rng.standard_normal((images, *size, channels)).astype(dtype), rng.standard_normal(filters).astype(dtype)
    assert_twins_agree("convolution_input_gradient", [grad, W, window], [x])
    grad /= images * np.prod(output)
    assert_twins_agree("convolution_weight_gradient", [x, grad, window], [W, b])
    module = _compiled["convolution"]
    results = []
    for threads, at_a_time in ((1, images), (3, images), (1, 1)):
        cnnx.set_num_threads(threads)
        x_grad, y = np.full_like(x, np.nan), np.full_like(grad, np.nan)
        for i in range(0, images, at_a_time):
            some = slice(i, i + at_a_time)
            module.convolution_input_gradient(grad[some], W, window, x_grad[some])
            module.convolution_forward(x[some], W, b, window, True, y[some])
        results.append((x_grad, y))
    for together, threaded, alone in zip(*results, strict=True):
        np.testing.assert_array_equal(threaded, together)
        np.testing.assert_allclose(alone, together, rtol=0, atol=TOLERANCE[alone.dtype.char] * np.abs(alone).max())
