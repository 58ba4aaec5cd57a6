"""Winograd's products for small square filters, beside the direct ones."""

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from cnnx._kernels.families import CLOSED
from cnnx._kernels.reference import pooling

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has no Winograd products"),
    pytest.mark.usefixtures("restored_kernels"),
]
STRAIGHT = ((1, 1), (1, 1), (1, 1))


@on_every_instruction_set
@given(
    filter_size=st.sampled_from([3, 3, 3, 4, 5, 6, 7, 8]),
    size=st.tuples(st.integers(2, 19), st.integers(2, 19)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    images=st.integers(0, 4),
    channels=st.sampled_from([6, 8, 12, 24, 27, 32, 50]),
    filters=st.sampled_from([8, 12, 17, 24, 25, 48]),
    pool_size=st.sampled_from([(2, 2), (1, 1), (3, 2), (4, 3), (2, 5)]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_small_integers_give_what_the_twins_give_but_for_rounding(
    instruction_set, filter_size, size, padding, images, channels, filters, pool_size, dtype, seed, threads
):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    output = tuple(n + 2 * p - filter_size + 1 for n, p in zip(size, padding, strict=True))
    assume(min(output) > 0)
    rng = np.random.default_rng(seed)
    # Tiles of 4x4 outputs multiply by roots and thirds: their sums are whole numbers but for rounding.
    x = rng.integers(-3, 4, (images, *size, channels)).astype(dtype)
    W = rng.integers(-3, 4, (filter_size, filter_size, channels, filters)).astype(dtype)
    b = rng.integers(-3, 4, filters).astype(dtype)
    grad = rng.integers(-3, 4, (images, *output, filters)).astype(dtype)
    window = ((1, 1), padding, (1, 1))
    for relu in (False, True):
        assert_twins_agree("convolution_forward", [x, W, b, window, relu], [grad], whole=True)
    assert_twins_agree("convolution_input_gradient", [grad, W, window], [x], whole=True)
    assert_twins_agree("convolution_weight_gradient", [x, grad, window], [W, b], whole=True)
    pooled = tuple(n // p for n, p in zip(output, pool_size, strict=True))
    if min(pooled) == 0:
        return
    module = _compiled["convolution"]
    module.convolution_forward(x, W, b, window, True, grad)
    expected, places = np.empty((images, *pooled, filters), dtype), np.empty((images, *pooled, filters), np.uint8)
    pooling.max_pool_forward(grad, pool_size, pool_size, (0, 0), expected, places)
    places[expected <= 0] = CLOSED
    y, argmax, without_places = np.full_like(expected, np.nan), np.empty_like(places), np.full_like(expected, np.nan)
    window = ((1, 1), padding, output, pool_size)
    module.convolution_pool_forward(x, W, b, window, True, y, argmax)
    module.convolution_pool_forward(x, W, b, window, True, without_places, None)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(argmax, places)
    np.testing.assert_array_equal(without_places, expected)
    y = np.rint(y)
    assert_twins_agree("convolution_pool_input_gradient", [y, argmax, W, window], [x], exact=True)
    assert_twins_agree("convolution_pool_weight_gradient", [x, y, argmax, window], [W, b], exact=True)


@on_every_instruction_set
def test_weights_that_meet_nothing_but_zeros_have_a_gradient_of_zero(instruction_set, dtype, rng):
    """In a small image that is likely; a rounding error in its place would be a whole step for Adam."""
    _kernels.use_instruction_set(instruction_set)
    x = rng.standard_normal((8, 2, 2, 32)).astype(dtype)
    grad = rng.standard_normal((8, 2, 2, 24)).astype(dtype)
    x[:, 0, 0] = 0
    W, b = np.full((3, 3, 32, 24), np.nan, dtype), np.empty(24, dtype)
    _compiled["convolution"].convolution_weight_gradient(x, grad, STRAIGHT, W, b)
    assert (W[0, 0] == 0).all()
    assert (W[1, 1] != 0).any()


def _rms(array):
    return np.sqrt(np.mean(np.square(array)))


@on_every_instruction_set
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(
    ("filter_size", "size", "channels", "filters"),
    [
        (3, 16, 12, 14),
        (3, 16, 24, 24),
        (3, 9, 64, 64),
        (3, 6, 128, 96),
        (3, 8, 128, 130),
        (4, 9, 24, 40),
        (5, 16, 20, 24),
        (6, 11, 32, 32),
        (7, 12, 24, 32),
        (8, 16, 17, 16),
    ],
)
def test_the_error_is_within_ten_times_that_of_the_direct_products(
    instruction_set, filter_size, size, channels, filters, rectified, rng
):
    _kernels.use_instruction_set(instruction_set)
    module = _compiled["convolution"]
    margin = filter_size // 2
    outputs = size + 2 * margin - filter_size + 1
    x, grad = rng.standard_normal((8, size, size, channels)), rng.standard_normal((8, outputs, outputs, filters))
    W = rng.standard_normal((filter_size, filter_size, channels, filters)) / (filter_size * np.sqrt(channels))
    if rectified:
        x = np.maximum(x, 0)

    def results(dtype, directly):
        # Winograd's products are those of square filters: with a column of zeros, the same are taken directly.
        column = ((0, 0), (0, int(directly)))
        images = np.pad(x, ((0, 0), *column, (0, 0))).astype(dtype)
        weights = np.pad(W, (*column, (0, 0), (0, 0))).astype(dtype)
        gradients = grad.astype(dtype)
        y, x_grad, W_grad = (np.empty_like(array) for array in (gradients, images, weights))
        window, b = ((1, 1), (margin, margin), (1, 1)), np.zeros(filters, dtype)
        module.convolution_forward(images, weights, b, window, False, y)
        module.convolution_input_gradient(gradients, weights, window, x_grad)
        module.convolution_weight_gradient(images, gradients, window, W_grad, b)
        return y, x_grad[:, :, :size], W_grad[:, :filter_size]

    exact = results(np.float64, directly=True)
    winograd, direct = results(np.float32, directly=False), results(np.float32, directly=True)
    for array, beside, expected in zip(winograd, direct, exact, strict=True):
        assert not np.array_equal(array, beside)
        assert 0 < _rms(array - expected) < 10 * _rms(beside - expected)
        assert np.abs(array - expected).max() < 10 * np.abs(beside - expected).max()


@on_every_instruction_set
@pytest.mark.parametrize(
    ("filter_size", "images", "size", "channels", "filters"),
    [
        (3, 3, (31, 18), 24, 40),
        (3, 40, (7, 7), 33, 50),
        (3, 1, (9, 8), 64, 140),
        (3, 3, (7, 7), 80, 64),
        (5, 4, (15, 18), 16, 24),
        (7, 3, (18, 12), 20, 18),
    ],
)
def test_bits_depend_neither_on_threads_nor_on_the_images_beside_one(
    instruction_set, filter_size, images, size, channels, filters, dtype, rng
):
    _kernels.use_instruction_set(instruction_set)
    module = _compiled["convolution"]
    x, grad = (rng.standard_normal((images, *size, n)).astype(dtype) for n in (channels, filters))
    W = rng.standard_normal((filter_size, filter_size, channels, filters)).astype(dtype)
    b, padding = rng.standard_normal(filters).astype(dtype), (filter_size // 2, filter_size // 2)
    window = ((1, 1), padding, (1, 1))
    results = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        y, x_grad, W_grad, b_grad = (np.empty_like(array) for array in (grad, x, W, b))
        pooled = np.empty((images, size[0] // 3, size[1] // 2, filters), dtype)
        argmax = np.empty(pooled.shape, np.uint8)
        module.convolution_forward(x, W, b, window, True, y)
        module.convolution_pool_forward(x, W, b, (*window[:2], size, (3, 2)), True, pooled, argmax)
        module.convolution_input_gradient(grad, W, window, x_grad)
        module.convolution_weight_gradient(x, grad, window, W_grad, b_grad)
        results.append([y, x_grad, W_grad, b_grad, pooled, argmax])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(array, expected)
    alone = np.empty_like(results[0][0][:1])
    module.convolution_forward(x[-1:], W, b, window, True, alone)
    np.testing.assert_array_equal(alone, results[0][0][-1:])


@on_every_instruction_set
@pytest.mark.parametrize(("filter_size", "size"), [(3, 4), (3, 6), (4, 6), (5, 8), (7, 9)])
def test_nothing_is_read_past_an_image_or_written_past_an_output(instruction_set, dtype, filter_size, size):
    """Arrays within larger ones full of NaN; channels that do not fill whole vectors."""
    _kernels.use_instruction_set(instruction_set)
    module = _compiled["convolution"]
    for channels, filters in ((27, 25), (32, 48)):
        room, arrays = {}, {}
        pixels, taps = size + filter_size - 1, filter_size**2
        shapes = [
            (2, pixels, pixels, channels),
            (filter_size, filter_size, channels, filters),
            (filters,),
            (2, size, size, filters),
        ]
        for name, shape in zip("xWby", shapes, strict=True):
            elements = int(np.prod(shape))
            room[name] = np.full(elements + 128, np.nan, dtype)
            arrays[name] = room[name][64 : 64 + elements].reshape(shape)
        x, W, b, y = arrays["x"], arrays["W"], arrays["b"], arrays["y"]
        x[...], W[...], b[...] = 1, 1, 0
        window = ((1, 1), (0, 0), (1, 1))
        module.convolution_forward(x, W, b, window, False, y)
        assert (np.rint(y) == taps * channels).all()
        y[...] = 2
        module.convolution_weight_gradient(x, y, window, W, b)
        assert (b == 2 * size * size * 2).all()
        assert (np.rint(W) == b[0]).all()
        W[...], y[...] = 1, 1
        module.convolution_input_gradient(y, W, window, x)
        assert (np.rint(x[:, filter_size - 1 : size, filter_size - 1 : size]) == taps * filters).all()
        for name, array in room.items():
            assert np.isnan(array[:64]).all(), name
            assert np.isnan(array[-64:]).all(), name
