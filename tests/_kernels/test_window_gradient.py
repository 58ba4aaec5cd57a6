"""Weight gradients straight from a pooled gradient, beside those of the gradient spread out."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import TOLERANCE, dtypes, on_every_instruction_set, seeds

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
    places = [*range(pool_size[0] * pool_size[1]), _kernels.CLOSED]
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
def test_a_pooled_gradient_gives_what_the_same_gradient_spread_out_gives(
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
    module, results = _compiled["convolution"], []
    pooled_gradient = (module.convolution_pool_weight_gradient, [x, grad, argmax, (stride, padding, output, pool_size)])
    spread_out = (module.convolution_weight_gradient, [x, spread, (stride, padding, (1, 1))])
    for threads, (function, arguments) in ((1, pooled_gradient), (3, pooled_gradient), (1, spread_out)):
        cnnx.set_num_threads(threads)
        W, b = np.full((*filter_size, channels, filters), np.nan, dtype), np.full(filters, np.nan, dtype)
        function(*arguments, W, b)
        results.append((W, b))
    for alone, threaded, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(threaded, alone)
        tolerance = TOLERANCE[alone.dtype.char] * np.abs(expected).max()
        np.testing.assert_allclose(alone, expected, rtol=0, atol=tolerance)


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
        arguments = [x, grad, argmax, ((1, 1), (0, 0), (4, 4), (2, 2))]
        _compiled["convolution"].convolution_pool_weight_gradient(*arguments, W, b)
        assert (W == 8).all()
        assert (b == 8).all()
        assert all(np.isnan(a.base[:64]).all() and np.isnan(a.base[-64:]).all() for a in (W, b))


@pytest.mark.parametrize("pool_size", [(0, 2), (2, -1), (255, 1), (16, 16)])
def test_windows_of_no_size_are_an_error(pool_size, dtype):
    x, grad = np.zeros((1, 4, 4, 1), dtype), np.zeros((1, 3, 3, 1), dtype)
    W, b, argmax = np.zeros((2, 2, 1, 1), dtype), np.zeros(1, dtype), np.zeros(grad.shape, np.uint8)
    size = tuple(3 * abs(side) for side in pool_size)
    window = ((1, 1), (0, 0), size, pool_size)
    with pytest.raises(ValueError, match=r"^convolution_pool_weight_gradient: shapes do not fit: .* pooling"):
        _compiled["convolution"].convolution_pool_weight_gradient(x, grad, argmax, window, W, b)
    with pytest.raises(ValueError, match=r"^convolution_pool_input_gradient: shapes do not fit: .* pooling"):
        _compiled["convolution"].convolution_pool_input_gradient(grad, argmax, W, window, x)
