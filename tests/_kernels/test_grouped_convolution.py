"""Convolution in groups, beside its twin and beside the convolution of each group."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare"),
    pytest.mark.usefixtures("restored_kernels"),
]


@on_every_instruction_set
@given(
    images=st.integers(0, 3),
    size=st.tuples(st.integers(6, 15), st.integers(6, 15)),
    groups=st.integers(1, 4),
    seen=st.sampled_from([1, 2, 3, 5, 24]),
    seeing=st.sampled_from([1, 2, 5, 24]),
    filter_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 3),
)
def test_each_group_is_a_convolution_of_its_own_bit_for_bit(
    instruction_set, images, size, groups, seen, seeing, filter_size, stride, dilation, dtype, seed, threads
):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    padding = (1, 2)
    output = tuple(
        (n + 2 * p - d * (f - 1) - 1) // s + 1
        for n, p, d, f, s in zip(size, padding, dilation, filter_size, stride, strict=True)
    )
    rng = np.random.default_rng(seed)
    # Whole numbers, so that sums are exact, whatever their order.
    x = rng.integers(-3, 4, (images, *size, groups * seen)).astype(dtype)
    W = rng.integers(-3, 4, (*filter_size, seen, groups * seeing)).astype(dtype)
    b = rng.integers(-3, 4, groups * seeing).astype(dtype)
    grad = rng.integers(-3, 4, (images, *output, groups * seeing)).astype(dtype)
    window = (stride, padding, dilation)
    for relu in (False, True):
        arguments = [x, W, b, window, groups, relu]
        assert_twins_agree("grouped_convolution_forward", arguments, [grad], exact=True)
    assert_twins_agree("grouped_convolution_input_gradient", [grad, W, window, groups], [x], exact=True)
    assert_twins_agree("grouped_convolution_weight_gradient", [x, grad, window, groups], [W, b], exact=True)

    x, W, b, grad = (rng.standard_normal(array.shape).astype(dtype) for array in (x, W, b, grad))
    y, x_grad, W_grad, b_grad = (np.full_like(array, np.nan) for array in (grad, x, W, b))
    module, plain = _compiled["grouped_convolution"], _compiled["convolution"]
    module.grouped_convolution_forward(x, W, b, window, groups, True, y)
    module.grouped_convolution_input_gradient(grad, W, window, groups, x_grad)
    module.grouped_convolution_weight_gradient(x, grad, window, groups, W_grad, b_grad)
    for group in range(groups):
        channels = slice(group * seen, (group + 1) * seen)
        filters = slice(group * seeing, (group + 1) * seeing)
        x_part, W_part, grad_part = (
            np.ascontiguousarray(array) for array in (x[..., channels], W[..., filters], grad[..., filters])
        )
        expected = [np.full_like(array, np.nan) for array in (grad_part, x_part, W_part, b[filters])]
        plain.convolution_forward(x_part, W_part, b[filters], window, True, expected[0])
        plain.convolution_input_gradient(grad_part, W_part, window, expected[1])
        plain.convolution_weight_gradient(x_part, grad_part, window, *expected[2:])
        parts = [y[..., filters], x_grad[..., channels], W_grad[..., filters], b_grad[filters]]
        for array, alone in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(array, alone)
