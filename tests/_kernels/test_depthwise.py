"""Depthwise convolution: the twins against naive loops and adjoints, the compiled kernels against the twins."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from cnnx._kernels.reference import depthwise

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")

# Filter size, stride, padding, dilation.
WINDOWS = [
    ((1, 1), (1, 1), (0, 0), (1, 1)),
    ((3, 2), (2, 1), (1, 0), (1, 3)),
    ((2, 4), (3, 2), (1, 3), (2, 1)),
    ((3, 3), (2, 3), (2, 4), (2, 2)),
]


def output_size(size, filter_size, stride, padding, dilation):
    return tuple(
        (n + 2 * p - d * (f - 1) - 1) // s + 1
        for n, f, s, p, d in zip(size, filter_size, stride, padding, dilation, strict=True)
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_each_output_is_a_sum_over_the_window_of_one_channel(rng, window):
    filter_size, stride, padding, dilation = window
    x = rng.standard_normal((2, 7, 6, 3))
    W, b = rng.standard_normal((*filter_size, 3, 2)), rng.standard_normal(6)
    out = np.full((2, *output_size((7, 6), *window), 6), np.nan)
    depthwise.depthwise_forward(x, W, b, (stride, padding, dilation), False, out)
    for n, oh, ow, f in np.ndindex(out.shape):
        expected = b[f]
        for i, j in np.ndindex(filter_size):
            h, w = oh * stride[0] + i * dilation[0] - padding[0], ow * stride[1] + j * dilation[1] - padding[1]
            if 0 <= h < 7 and 0 <= w < 6:
                expected += x[n, h, w, f // 2] * W[i, j, f // 2, f % 2]
        assert out[n, oh, ow, f] == pytest.approx(expected, rel=1e-12)
    clipped = np.empty_like(out)
    depthwise.depthwise_forward(x, W, b, (stride, padding, dilation), True, clipped)
    np.testing.assert_array_equal(clipped, np.maximum(out, 0))


@pytest.mark.parametrize("window", WINDOWS)
def test_gradients_are_the_adjoints_of_the_linear_forward_pass(rng, window):
    rest = window[1:]
    x, W, b = rng.standard_normal((2, 7, 6, 3)), rng.standard_normal((*window[0], 3, 2)), np.zeros(6)
    grad = rng.standard_normal((2, *output_size((7, 6), *window), 6))
    y, x_grad, W_grad, b_grad = np.empty_like(grad), np.empty_like(x), np.empty_like(W), np.empty(6)
    depthwise.depthwise_forward(x, W, b, rest, False, y)
    depthwise.depthwise_input_gradient(grad, W, rest, x_grad)
    depthwise.depthwise_weight_gradient(x, grad, rest, W_grad, b_grad)
    product = np.vdot(grad, y)
    assert np.vdot(x_grad, x) == pytest.approx(product, rel=1e-12)
    assert np.vdot(W_grad, W) == pytest.approx(product, rel=1e-12)
    np.testing.assert_allclose(b_grad, grad.reshape(-1, 6).sum(axis=0), rtol=1e-12)


@st.composite
def images(draw):
    """Sizes that fit together: odd, non-square, asymmetric, with windows that lie in the padding as a whole."""
    window = [draw(st.tuples(st.integers(a, b), st.integers(a, b))) for a, b in ((1, 5), (1, 4), (0, 7), (1, 3))]
    filter_size, _, padding, dilation = window
    size = tuple(
        max(1, d * (f - 1) + 1 - 2 * p) + draw(st.integers(0, 19))
        for f, p, d in zip(filter_size, padding, dilation, strict=True)
    )
    return size, *window


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@on_every_instruction_set
@given(
    case=images(),
    batch=st.integers(0, 4),
    channels=st.sampled_from([1, 3, 4, 5, 8, 16, 17, 33, 70]),
    multiplier=st.sampled_from([1, 1, 1, 2, 3]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_depthwise_agrees_with_its_twin(instruction_set, case, batch, channels, multiplier, dtype, seed, threads):
    size, *window = case
    filter_size, rest = window[0], tuple(window[1:])
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    output = output_size(size, *window)
    x = rng.standard_normal((batch, *size, channels)).astype(dtype)
    W = (rng.standard_normal((*filter_size, channels, multiplier)) / np.sqrt(np.prod(filter_size))).astype(dtype)
    b = rng.standard_normal(channels * multiplier).astype(dtype)
    grad = rng.standard_normal((batch, *output, channels * multiplier)) / max(batch * np.prod(output), 1)
    grad = grad.astype(dtype)
    for relu in (False, True):
        assert_twins_agree("depthwise_forward", [x, W, b, rest, relu], [grad])
    assert_twins_agree("depthwise_input_gradient", [grad, W, rest], [x])
    assert_twins_agree("depthwise_weight_gradient", [x, grad, rest], [W, b])


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@on_every_instruction_set
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("window", [((3, 3), (1, 1), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1), (1, 1)), WINDOWS[2]])
def test_bits_depend_neither_on_threads_nor_on_fused_relu(instruction_set, multiplier, window, dtype, rng):
    _kernels.use_instruction_set(instruction_set)
    rest = window[1:]
    x = rng.standard_normal((9, 30, 31, 35)).astype(dtype)
    W = rng.standard_normal((*window[0], 35, multiplier)).astype(dtype)
    b = rng.standard_normal(35 * multiplier).astype(dtype)
    grad = rng.standard_normal((9, *output_size((30, 31), *window), 35 * multiplier)).astype(dtype)
    module = _compiled["depthwise"]
    results = []
    for threads in (1, 3):
        cnnx.set_num_threads(threads)
        y, clipped, x_grad, W_grad, b_grad = (np.empty_like(a) for a in (grad, grad, x, W, b))
        module.depthwise_forward(x, W, b, rest, False, y)
        module.depthwise_forward(x, W, b, rest, True, clipped)
        np.testing.assert_array_equal(clipped, np.maximum(y, 0))
        module.depthwise_input_gradient(grad, W, rest, x_grad)
        module.depthwise_weight_gradient(x, grad, rest, W_grad, b_grad)
        results.append([y, x_grad, W_grad, b_grad])
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@on_every_instruction_set
def test_nan_passes_through_relu_and_stays_in_its_channel(instruction_set, dtype):
    _kernels.use_instruction_set(instruction_set)
    x = np.ones((1, 5, 5, 19), dtype)
    x[0, 2, 2, 4] = np.nan
    out = np.empty((1, 5, 5, 19), dtype)
    W, b = np.ones((3, 3, 19, 1), dtype), np.zeros(19, dtype)
    _compiled["depthwise"].depthwise_forward(x, W, b, ((1, 1), (1, 1), (1, 1)), True, out)
    where = np.zeros(out.shape, bool)
    where[0, 1:4, 1:4, 4] = True
    np.testing.assert_array_equal(np.isnan(out), where)
