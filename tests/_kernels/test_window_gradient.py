"""Weight gradients straight from a pooled gradient, beside those of the gradient spread out, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from cnnx._kernels.reference import convolution

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="the twins have one way for both"),
    pytest.mark.usefixtures("restored_kernels"),
]


def _pooled_gradient(shape, pool_size, dtype, rng):
    """Gradients, and places of which some are those of maxima that ReLU has closed."""
    places = [*range(pool_size[0] * pool_size[1]), convolution.CLOSED]
    return rng.standard_normal(shape).astype(dtype), rng.choice(places, shape).astype(np.uint8)


@on_every_instruction_set
@given(
    images=st.integers(1, 5),
    size=st.tuples(st.integers(6, 40), st.integers(6, 40)),
    channels=st.sampled_from([1, 2, 3, 4, 6, 9, 17]),
    filters=st.sampled_from([1, 2, 3, 5, 6, 16, 25]),
    filter_size=st.tuples(st.integers(1, 7), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pool_size=st.sampled_from([(2, 2), (1, 2), (3, 2), (4, 5)]),
    dtype=dtypes,
    seed=seeds,
)
def test_a_pooled_gradient_gives_the_bits_of_the_same_gradient_spread_out(
    instruction_set, images, size, channels, filters, filter_size, stride, pool_size, dtype, seed
):
    _kernels.use_instruction_set(instruction_set)
    padding = (2, 1)
    output = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, filter_size, stride, strict=True))
    pooled = tuple(n // p for n, p in zip(output, pool_size, strict=True))
    if min(pooled) == 0:
        return
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, *size, channels)).astype(dtype)
    grad, argmax = _pooled_gradient((images, *pooled, filters), pool_size, dtype, rng)
    spread = convolution._spread(grad, argmax, output, pool_size)
    results = []
    for threads in (1, 3):
        cnnx.set_num_threads(threads)
        for name, arguments in (
            ("convolution_pool_weight_gradient", [x, grad, argmax, stride, padding, output, pool_size]),
            ("convolution_weight_gradient", [x, spread, stride, padding, (1, 1), pool_size]),
        ):
            W = np.full((*filter_size, channels, filters), np.nan, dtype)
            b = np.full(filters, np.nan, dtype)
            getattr(_compiled["convolution"], name)(*arguments, W, b)
            results.append((W, b))
    for W, b in results[1:]:
        np.testing.assert_array_equal(W, results[0][0])
        np.testing.assert_array_equal(b, results[0][1])


@on_every_instruction_set
def test_rows_and_columns_that_no_window_covers_count_where_they_have_a_gradient(instruction_set, dtype, rng):
    """A gradient that is not one of pooling is none the less taken whole."""
    _kernels.use_instruction_set(instruction_set)
    x = rng.integers(-3, 4, (2, 9, 8, 1)).astype(dtype)
    grad = rng.integers(-3, 4, (2, 7, 6, 4)).astype(dtype)
    results = []
    for function in (_compiled["convolution"].convolution_weight_gradient, convolution.convolution_weight_gradient):
        W, b = np.empty((3, 3, 1, 4), dtype), np.empty(4, dtype)
        function(x, grad, (1, 1), (0, 0), (1, 1), (4, 4), W, b)
        results.append((W, b))
    for array, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_nothing_is_read_past_an_image_or_written_past_a_gradient(dtype):
    """Arrays within larger ones full of NaN; channels that do not fill whole vectors."""
    for channels, filters in ((1, 5), (3, 3), (7, 16)):
        arrays = []
        for shape in [(2, 6, 6, channels), (2, 2, 2, filters), (3, 3, channels, filters), (filters,)]:
            size = int(np.prod(shape))
            room = np.full(size + 128, np.nan, dtype)
            arrays.append(room[64 : 64 + size].reshape(shape))
        x, grad, W, b = arrays
        x[...], grad[...] = 1, 1
        argmax = np.zeros(grad.shape, np.uint8)
        arguments = [x, grad, argmax, (1, 1), (0, 0), (4, 4), (2, 2)]
        _compiled["convolution"].convolution_pool_weight_gradient(*arguments, W, b)
        assert (W == 8).all()
        assert (b == 8).all()
        assert all(np.isnan(a.base[:64]).all() and np.isnan(a.base[-64:]).all() for a in (W, b))


@pytest.mark.parametrize("pool_size", [(0, 2), (2, -1), (255, 1), (16, 16)])
def test_windows_of_no_size_are_an_error(pool_size, dtype):
    x, grad = np.zeros((1, 4, 4, 1), dtype), np.zeros((1, 3, 3, 1), dtype)
    W, b = np.zeros((2, 2, 1, 1), dtype), np.zeros(1, dtype)
    window = [(1, 1), (0, 0), (1, 1), pool_size]
    with pytest.raises(ValueError, match=r"^convolution_weight_gradient: pooling \(.*\) does not have windows"):
        _compiled["convolution"].convolution_weight_gradient(x, grad, *window, W, b)
    with pytest.raises(ValueError, match=r"^convolution_input_gradient: pooling \(.*\) does not have windows"):
        _compiled["convolution"].convolution_input_gradient(grad, W, *window, x)
