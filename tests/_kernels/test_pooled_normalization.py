import numpy as np
import pytest
from hypothesis import given, strategies as st

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from tests.parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

pytestmark = pytest.mark.skipif(not _compiled, reason="no compiled kernels")


def drawn(rng, shape, size, dtype):
    """Images of small integers, which every twin normalises without rounding, so that none chooses another maximum."""
    x = rng.integers(-9, 10, shape).astype(dtype)
    numbers = rng.choice(np.array([-2, -1, 0.5, 1, 2], dtype), (4, shape[3]))
    grad = rng.integers(-9, 10, (shape[0], shape[1] // size[0], shape[2] // size[1], shape[3])).astype(dtype)
    return x, (numbers[0], numbers[1]), (numbers[2], numbers[3]), grad


@on_every_instruction_set
@given(
    images=st.integers(0, 3),
    image=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    channels=st.sampled_from([1, 3, 8, 12, 16, 33, 64, 70]),
    size=st.sampled_from([(2, 2), (3, 3), (1, 2), (5, 4)]),
    relu=st.booleans(),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_pooled_batch_normalization_agrees_with_its_twin(
    instruction_set, images, image, channels, size, relu, dtype, seed, threads
):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    x, *numbers, grad = drawn(np.random.default_rng(seed), (images, *image, channels), size, dtype)
    argmax = np.empty(grad.shape, np.uint8)
    assert_twins_agree("batch_norm_pool_forward", [x, *numbers, size, relu], [grad, argmax], exact=True)
    kernels = _compiled["pooled_normalization"]
    y = np.empty_like(grad)
    kernels.batch_norm_pool_forward(x, *numbers, size, relu, y, argmax)
    without_places = np.empty_like(y)
    kernels.batch_norm_pool_forward(x, *numbers, size, relu, without_places, None)
    np.testing.assert_array_equal(without_places, y)
    given_ = [grad / max(grad.size // channels, 1), argmax, x, *numbers, size]
    assert_twins_agree("batch_norm_pool_parameter_gradient", given_, [numbers[0][0], numbers[0][1]])
    assert_twins_agree("batch_norm_pool_input_gradient", [*given_, numbers[1]], [x])


@on_every_instruction_set
@pytest.mark.parametrize("channels", [1, 7, 16, 40])
@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_it_gives_the_bits_of_its_kernels_one_by_one(instruction_set, channels, size, dtype, rng):
    _kernels.use_instruction_set(instruction_set)
    x = rng.standard_normal((40, 19, 21, channels)).astype(dtype)
    numbers = [
        tuple(rng.uniform(0.5, 2, (2, channels)).astype(dtype)),
        tuple(rng.normal(size=(2, channels)).astype(dtype)),
    ]
    pooled = (40, 19 // size[0], 21 // size[1], channels)
    windows = (size, size, (0, 0))
    grad = rng.standard_normal(pooled).astype(dtype)
    y, expected = np.empty((2, *pooled), dtype)
    argmax, places = np.empty((2, *pooled), np.uint8)
    normalised, g = np.empty_like(x), np.empty_like(x)
    _kernels.batch_norm_forward(x, *numbers, True, normalised)
    _kernels.max_pool_forward(normalised, *windows, expected, places)
    _kernels.batch_norm_pool_forward(x, *numbers, size, True, y, argmax)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(argmax, np.where(expected <= 0, _kernels.CLOSED, places))

    _kernels.max_pool_backward(grad, places, *windows, g)
    sums, expected_sums = np.empty((2, 2, channels), dtype)
    _kernels.batch_norm_parameter_gradient(g, x, *numbers, True, *expected_sums)
    _kernels.batch_norm_pool_parameter_gradient(grad, argmax, x, *numbers, size, *sums)
    np.testing.assert_array_equal(sums, expected_sums)
    over = x.copy()
    _kernels.batch_norm_input_gradient(g, x, *numbers, *sums, True, g)
    _kernels.batch_norm_pool_input_gradient(grad, argmax, over, *numbers, size, tuple(sums), over)
    np.testing.assert_array_equal(over, g)


def test_a_value_that_is_none_is_the_maximum_of_its_window_and_open():
    x = np.ones((1, 2, 4, 1))
    x[0, 1, 1] = np.nan
    one, zero = np.ones(1), np.zeros(1)
    y, argmax = np.empty((1, 1, 2, 1)), np.empty((1, 1, 2, 1), np.uint8)
    _kernels.batch_norm_pool_forward(x, (one, one), (one, zero), (2, 2), True, y, argmax)
    assert np.isnan(y[0, 0, 0, 0])
    assert argmax.ravel().tolist() == [3, _kernels.CLOSED]
