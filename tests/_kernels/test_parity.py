"""Every compiled kernel against its NumPy twin, over shapes, strides, paddings, dtypes, threads, instruction sets."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import TOLERANCE, assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import KERNELS, _compiled, twins
from cnnx._kernels.reference import activation, convolution, optimizer, pooling, softmax

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare"),
    pytest.mark.usefixtures("restored_kernels"),
]


@st.composite
def windows(draw, most_padding=4, most_dilation=1):
    """Images, filter, stride, padding, dilation and output size that fit together; odd, non-square and asymmetric."""
    filter_size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, most_dilation), st.integers(1, most_dilation)))
    padding = tuple(draw(st.integers(0, min(most_padding, f - 1 if most_padding < 9 else 9))) for f in filter_size)
    span = tuple(d * (f - 1) + 1 for f, d in zip(filter_size, dilation, strict=True))
    size = tuple(draw(st.integers(max(1, f - p), 17)) for f, p in zip(span, padding, strict=True))
    # As with 'same', there may be more padding after the image than before it.
    extra = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    output = tuple(
        max((n + 2 * p + min(e, max(f - 1 - p, 0)) - f) // s + 1, 1)
        for n, p, f, s, e in zip(size, padding, span, stride, extra, strict=True)
    )
    images = draw(st.sampled_from([0, 1, 2, 3, 4, 9]))
    channels = draw(st.sampled_from([1, 2, 3, 5, 16, 17, 33, 70]))
    return images, size, channels, filter_size, stride, padding, dilation, output


@on_every_instruction_set
@given(
    case=windows(most_padding=9, most_dilation=3),
    filters=st.sampled_from([1, 3, 6, 8, 9, 16, 17, 33]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_convolution_agrees_with_its_twin(instruction_set, case, filters, dtype, seed, threads):
    images, size, channels, filter_size, stride, padding, dilation, output = case
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, *size, channels)).astype(dtype)
    W = (rng.standard_normal((*filter_size, channels, filters)) / np.sqrt(channels * np.prod(filter_size))).astype(
        dtype
    )
    b = rng.standard_normal(filters).astype(dtype)
    grad = (rng.standard_normal((images, *output, filters)) / max(images * np.prod(output), 1)).astype(dtype)
    window = (stride, padding, dilation)
    for relu in (False, True):
        assert_twins_agree("convolution_forward", [x, W, b, window, relu], [grad])
    assert_twins_agree("convolution_input_gradient", [grad, W, window], [x])
    assert_twins_agree("convolution_weight_gradient", [x, grad, window], [W, b])


@on_every_instruction_set
@pytest.mark.parametrize("dilation", [(1, 2), (11, 1), (4, 3)])
@pytest.mark.parametrize(("channels", "filters"), [(40, 17), (40, 3), (1, 5)])
def test_dilation_gives_the_bits_of_a_filter_with_zeros_between_its_weights_whatever_the_threads(
    instruction_set, channels, filters, dilation, dtype, rng
):
    _kernels.use_instruction_set(instruction_set)
    # Whole numbers, so that sums are exact. The images are too large for one tile.
    x = rng.integers(-3, 4, (1, 30, 20, channels)).astype(dtype)
    W, b = rng.integers(-3, 4, (3, 3, channels, filters)).astype(dtype), np.arange(filters, dtype=dtype)
    wide = np.zeros((2 * dilation[0] + 1, 2 * dilation[1] + 1, channels, filters), dtype)
    between = (slice(None, None, dilation[0]), slice(None, None, dilation[1]))
    wide[between] = W
    grad = rng.integers(-3, 4, (1, 30, 20, filters)).astype(dtype)
    module, results = _compiled["convolution"], []
    for weights, spacing, threads in ((W, dilation, 1), (W, dilation, 3), (wide, (1, 1), 1)):
        cnnx.set_num_threads(threads)
        y, x_grad, W_grad, b_grad = (np.full_like(a, np.nan) for a in (grad, x, weights, b))
        module.convolution_forward(x, weights, b, ((1, 1), dilation, spacing), False, y)
        module.convolution_input_gradient(grad, weights, ((1, 1), dilation, spacing), x_grad)
        module.convolution_weight_gradient(x, grad, ((1, 1), dilation, spacing), W_grad, b_grad)
        results.append([y, x_grad, W_grad if weights is W else W_grad[between], b_grad])
    for dilated in results[:2]:
        for array, expected in zip(dilated, results[2], strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    "window", [((2**60, 1), (0, 0), (1, 1)), ((1, 1), (0, 2**50), (1, 1)), ((1, 1), (0, 0), (2**62, 1))]
)
def test_windows_that_reach_too_far_are_an_error_instead_of_an_overflow(window):
    x, W, b = np.zeros((1, 4, 4, 1)), np.zeros((2, 2, 1, 1)), np.zeros(1)
    for name, arguments in (
        ("convolution_forward", [x, W, b, window, False, x]),
        ("convolution_input_gradient", [x, W, window, x]),
        ("convolution_weight_gradient", [x, x, window, W, b]),
    ):
        with pytest.raises(ValueError, match=f"^{name}: .* reaches too far beyond images"):
            getattr(_compiled["convolution"], name)(*arguments)


@pytest.mark.parametrize(
    ("window", "kind"),
    [
        (None, TypeError),
        ([(1, 1), (0, 0), (1, 1)], TypeError),
        (((1, 1), (0, 0)), ValueError),
        (((1, 1), (0, 0), (1, 1), (2, 2), (3, 3)), ValueError),
        (((1, 1), (0, 0), 1, 2), TypeError),
        (((1, 1), 0, (1, 1)), TypeError),
        (((1, 1), (0, 0, 0), (1, 1)), ValueError),
        (((1, 1), (0, 0, 0), (1, 1), (1, 1)), ValueError),
        (((1, 1), (0, 0.5), (1, 1)), TypeError),
        (((1, 1), (0, 2**70), (1, 1)), OverflowError),
    ],
)
def test_a_window_that_is_none_is_an_error_in_every_convolution(window, kind):
    x, W, b, argmax = np.ones((1, 4, 4, 1)), np.ones((1, 1, 1, 1)), np.ones(1), np.zeros((1, 4, 4, 1), np.uint8)
    calls = {
        "convolution_forward": [x, W, b, window, False, x],
        "convolution_pool_forward": [x, W, b, window, False, x, argmax],
        "convolution_max_forward": [x, W, b, window, False, ((4, 4), (1, 1), (1, 1), (0, 0)), x],
        "convolution_average_forward": [x, W, b, window, False, ((4, 4), (1, 1), (1, 1), (0, 0)), x],
        "convolution_input_gradient": [x, W, window, x],
        "convolution_pool_input_gradient": [x, argmax, W, window, x],
        "convolution_weight_gradient": [x, x, window, W, b],
        "convolution_pool_weight_gradient": [x, x, argmax, window, W, b],
        "grouped_convolution_forward": [x, W, b, window, 1, False, x],
        "depthwise_input_gradient": [x, W, window, x],
    }
    pairs = {name: 4 if "pool" in name else 3 for name in calls}
    for name, arguments in calls.items():
        module = next(module for module, functions in KERNELS.items() if name in functions)
        message = (
            f"^{name}: window: expected {pairs[name]} pairs of integers, got |^Argument 'window' has incorrect type"
        )
        errors = (kind, ValueError) if window and len(window) != pairs[name] else kind
        with pytest.raises(errors, match=message):
            getattr(_compiled[module], name)(*arguments)


@on_every_instruction_set
@given(
    case=windows(most_padding=9),
    filters=st.sampled_from([1, 3, 6, 8, 9, 16, 17, 33]),
    pool_size=st.sampled_from([(2, 2), (1, 1), (3, 2), (2, 5)]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_convolution_with_pooling_agrees_with_its_twin(instruction_set, case, filters, pool_size, dtype, seed, threads):
    images, size, channels, filter_size, stride, padding, _, output = case
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    size_before = tuple(max(n, p) for n, p in zip(output, pool_size, strict=True))
    pooled = tuple(n // p for n, p in zip(size_before, pool_size, strict=True))
    rng = np.random.default_rng(seed)
    # Small integers, so that sums are exact: rounding must not choose another maximum in one of the twins.
    x = rng.integers(-3, 4, (images, *size, channels)).astype(dtype)
    W = rng.integers(-3, 4, (*filter_size, channels, filters)).astype(dtype)
    b = rng.integers(-3, 4, filters).astype(dtype)
    y, argmax = np.empty((images, *pooled, filters), dtype), np.empty((images, *pooled, filters), np.uint8)
    window = (stride, padding, size_before, pool_size)
    for relu in (False, True):
        arguments = [x, W, b, window, relu]
        assert_twins_agree("convolution_pool_forward", arguments, [y, argmax], exact=True)
        convolution.convolution_pool_forward(*arguments, y, argmax)
        for module in (_compiled["convolution"], convolution):
            without_places = np.full_like(y, np.nan)
            module.convolution_pool_forward(*arguments, without_places, None)
            np.testing.assert_array_equal(without_places, y)
        grad = rng.integers(-3, 4, y.shape).astype(dtype)
        assert_twins_agree("convolution_pool_input_gradient", [grad, argmax, W, window], [x], exact=True)
        assert_twins_agree("convolution_pool_weight_gradient", [x, grad, argmax, window], [W, b], exact=True)


@on_every_instruction_set
@pytest.mark.parametrize("pool_size", [(2, 2), (5, 3), (7, 1)])
@pytest.mark.parametrize("filters", [1, 2, 3, 5, 6])
def test_gradients_of_few_filters_and_tall_images_agree_with_their_twin(
    instruction_set, filters, pool_size, dtype, rng
):
    """They are taken in several bands, whose ends are not those of all windows."""
    _kernels.use_instruction_set(instruction_set)
    x = rng.integers(-3, 4, (3, 67, 41, 3)).astype(dtype)
    W, b = np.empty((3, 3, 3, filters), dtype), np.empty(filters, dtype)
    grad = rng.integers(-3, 4, (3, 67, 41, filters)).astype(dtype)
    assert_twins_agree("convolution_weight_gradient", [x, grad, ((1, 1), (1, 1), (1, 1))], [W, b], exact=True)
    pooled = (3, 67 // pool_size[0], 41 // pool_size[1], filters)
    grad = rng.integers(-3, 4, pooled).astype(dtype)
    # The last place is that of a maximum which ReLU has closed.
    argmax = rng.choice([*range(pool_size[0] * pool_size[1]), _kernels.CLOSED], pooled).astype(np.uint8)
    window = ((1, 1), (1, 1), (67, 41), pool_size)
    assert_twins_agree("convolution_pool_weight_gradient", [x, grad, argmax, window], [W, b], exact=True)


@on_every_instruction_set
@pytest.mark.parametrize("width", [15, 31, 60, 140])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (5, 1), (6, 2), (7, 6), (20, 1), (1, 5)])
def test_few_channels_and_filters_of_wide_images_agree_with_their_twin(
    instruction_set, channels, filters, width, dtype, rng
):
    """Blocks of one filter are two, four or eight vectors wide; few channels fill a part of one."""
    _kernels.use_instruction_set(instruction_set)
    x = rng.integers(-3, 4, (2, 6, width, channels)).astype(dtype)
    W, b = rng.integers(-3, 4, (3, 3, channels, filters)).astype(dtype), rng.integers(-3, 4, filters).astype(dtype)
    grad = rng.integers(-3, 4, (2, 6, width, filters)).astype(dtype)
    window = ((1, 1), (1, 1), (1, 1))
    assert_twins_agree("convolution_forward", [x, W, b, window, True], [grad], exact=True)
    assert_twins_agree("convolution_input_gradient", [grad, W, window], [x], exact=True)
    assert_twins_agree("convolution_weight_gradient", [x, grad, window], [W, b], exact=True)
    pooled = np.zeros((2, 2, width // 3, filters), dtype)
    arguments = [x, W, b, ((1, 1), (1, 1), (6, width), (3, 3)), True]
    assert_twins_agree("convolution_pool_forward", arguments, [pooled, pooled.astype(np.uint8)], exact=True)


@given(windows(), dtypes, seeds, st.integers(1, 4), st.sampled_from([np.uint8, np.int32]))
def test_pooling_agrees_with_its_twin(case, dtype, seed, threads, place):
    images, size, channels, filter_size, stride, padding, _, output = case
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    shape, out_shape = (images, *size, channels), (images, *output, channels)
    # Few distinct values, so that there are ties; NaN and infinities among them.
    values = np.array([-1, 0, 1, 2, np.nan, np.inf, -np.inf], dtype)
    x = rng.choice(values, shape, p=[0.3, 0.3, 0.2, 0.1, 0.03, 0.03, 0.04])
    window = [filter_size, stride, padding]
    y, argmax = np.empty(out_shape, dtype), np.empty(out_shape, place)
    assert_twins_agree("max_pool_forward", [x, *window], [y, argmax], exact=True)
    pooling.max_pool_forward(x, *window, y, argmax)
    without_places = np.empty_like(y)
    for kernel in (pooling.max_pool_forward, _compiled["pooling"].max_pool_forward):
        kernel(x, *window, without_places, None)
        np.testing.assert_array_equal(without_places, y)
    grad = rng.standard_normal(out_shape).astype(dtype)
    assert_twins_agree("max_pool_backward", [grad, argmax, *window], [x])
    x = rng.standard_normal(shape).astype(dtype)
    assert_twins_agree("average_pool_forward", [x, *window], [y])
    assert_twins_agree("average_pool_backward", [grad, *window], [x])


@on_every_instruction_set
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("channels", [1, 4, 7, 8, 13, 16, 24, 37])
@pytest.mark.parametrize("size", [(3, 3), (9, 10), (12, 7)])
@pytest.mark.parametrize("closed", [False, True])
def test_gradients_of_overlapping_windows_agree_with_their_twin(
    instruction_set, padding, channels, size, closed, dtype, rng
):
    _kernels.use_instruction_set(instruction_set)
    output = tuple((n + p + 1 - 3) // 2 + 1 for n, p in zip(size, padding, strict=True))
    grad = rng.integers(-9, 10, (3, *output, channels)).astype(dtype)
    # Places in the margin, too, and with `closed` those of no window: nothing may be written there.
    argmax = rng.integers(0, 256 if closed else 9, grad.shape).astype(np.uint8)
    x = np.empty((3, *size, channels), dtype)
    assert_twins_agree("max_pool_backward", [grad, argmax, (3, 3), (2, 2), padding], [x], exact=True)


@on_every_instruction_set
@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 33])
@pytest.mark.parametrize("window", [(2, 2), (1, 3), (5, 4), (9, 11)])
def test_gradients_of_averages_agree_with_their_twin(instruction_set, channels, window, dtype, rng):
    _kernels.use_instruction_set(instruction_set)
    grad = rng.standard_normal((2, 9 // window[0], 11 // window[1], channels)).astype(dtype)
    assert_twins_agree("average_pool_backward", [grad, window, window, (0, 0)], [np.empty((2, 9, 11, channels), dtype)])


@on_every_instruction_set
@given(
    batch=st.integers(0, 70) | st.sampled_from([257, 600]),
    inputs=st.integers(1, 600),
    units=st.integers(1, 40) | st.sampled_from([128, 259]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_dense_agrees_with_its_twin(instruction_set, batch, inputs, units, dtype, seed, threads):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, inputs)).astype(dtype)
    W = (rng.standard_normal((inputs, units)) / np.sqrt(inputs)).astype(dtype)
    b = rng.standard_normal(units).astype(dtype)
    grad = (rng.standard_normal((batch, units)) / max(batch, 1)).astype(dtype)
    for relu in (False, True):
        assert_twins_agree("dense_forward", [x, W, b, relu], [grad])
    assert_twins_agree("dense_input_gradient", [grad, W], [x])
    assert_twins_agree("dense_weight_gradient", [x, grad], [W, b])


@on_every_instruction_set
@pytest.mark.parametrize("inputs", [1, 255, 256, 257, 513, 900])
@pytest.mark.parametrize("units", [1, 7, 8, 9, 16, 17, 31, 32, 33, 63, 65, 100, 129, 200, 300])
def test_a_dense_layer_gives_an_example_the_same_bits_alone_and_in_a_batch(instruction_set, inputs, units, dtype, rng):
    # Of a single example several panels are read at a time, of a few they are read in place, of many they are packed.
    _kernels.use_instruction_set(instruction_set)
    x, W = rng.standard_normal((40, inputs)).astype(dtype), rng.standard_normal((inputs, units)).astype(dtype)
    b = rng.standard_normal(units).astype(dtype)
    batch = np.empty((40, units), dtype)
    _compiled["dense"].dense_forward(x, W, b, False, batch)
    prepared = {}
    for first, last in [(0, 1), (7, 8), (3, 5), (20, 32), (20, 33)]:
        for kept in ((), (prepared,)):
            out = np.empty((last - first, units), dtype)
            _compiled["dense"].dense_forward(x[first:last], W, b, False, out, *kept)
            np.testing.assert_array_equal(out, batch[first:last])


@on_every_instruction_set
@pytest.mark.parametrize("filters", [1, 2, 3, 5, 6, 12, 16, 24, 33])
@pytest.mark.parametrize("relu", [False, True])
def test_a_convolution_with_pooling_chooses_among_ties_and_nans_as_pooling_alone(
    instruction_set, filters, relu, dtype, rng
):
    _kernels.use_instruction_set(instruction_set)
    # With filters of one pixel of one channel, outputs are the pixels: few distinct values, NaN and infinities.
    values = np.array([-1, 0, 1, 2, np.nan, np.inf, -np.inf], dtype)
    x = rng.choice(values, (3, 23, 39, 1), p=[0.3, 0.3, 0.2, 0.1, 0.03, 0.03, 0.04])
    W, b = np.ones((1, 1, 1, filters), dtype), np.zeros(filters, dtype)
    pooled, argmax = np.empty((3, 11, 19, filters), dtype), np.empty((3, 11, 19, filters), np.uint8)
    _compiled["convolution"].convolution_pool_forward(x, W, b, ((1, 1), (0, 0), (23, 39), (2, 2)), relu, pooled, argmax)
    expected, places = np.empty_like(pooled), np.empty_like(argmax)
    pooling.max_pool_forward(np.repeat(x, filters, axis=3), (2, 2), (2, 2), (0, 0), expected, places)
    if relu:
        places[expected <= 0] = _kernels.CLOSED
        expected[expected <= 0] = 0
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(argmax, places)


@given(st.integers(0, 40), st.integers(1, 30), dtypes, seeds, st.sampled_from([1, 50, 1000]))
def test_softmax_agrees_with_its_twin(batch, classes, dtype, seed, spread):
    rng = np.random.default_rng(seed)
    x = (spread * rng.standard_normal((batch, classes))).astype(dtype)
    grad = rng.standard_normal((batch, classes)).astype(dtype)
    targets = np.eye(classes, dtype=dtype)[rng.integers(0, classes, batch)]
    soft = rng.dirichlet(np.ones(classes), batch).astype(dtype)
    y = np.empty_like(x)
    softmax.softmax_forward(x, y)
    assert_twins_agree("softmax_forward", [x], [x])
    assert_twins_agree("softmax_backward", [grad, y], [x])
    for target in (targets, soft):
        assert_twins_agree("softmax_cross_entropy_forward", [x, target], [x, np.empty(batch, dtype)])
        assert_twins_agree("softmax_cross_entropy_backward", [y, target], [x])


@given(st.sampled_from([(0,), (1,), (7, 5), (2, 3, 4, 5), (40000,)]), dtypes, seeds, st.integers(1, 4))
def test_relu_agrees_with_its_twin(shape, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([-2, -0.0, 0, 1.5, np.nan, np.inf, -np.inf], dtype), shape)
    grad = rng.standard_normal(shape).astype(dtype)
    assert_twins_agree("relu_forward", [x], [x], exact=True)
    y = np.empty_like(x)
    activation.relu_forward(x, y)
    assert_twins_agree("relu_backward", [grad, y], [x], exact=True)


@on_every_instruction_set
@given(
    positions=st.sampled_from([(0,), (1,), (2,), (7,), (3, 5, 4), (70, 9), (2, 50, 61)]),
    channels=st.sampled_from([1, 2, 3, 10, 16, 33, 63, 64, 70, 300]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
    relu=st.booleans(),
)
def test_batch_normalization_agrees_with_its_twin(instruction_set, positions, channels, dtype, seed, threads, relu):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = (3 + rng.standard_normal((*positions, channels))).astype(dtype)
    grad = rng.standard_normal(x.shape).astype(dtype) / max(x.size // channels, 1)
    mean, inv_std, gamma, beta = (a.astype(dtype) for a in rng.uniform(0.5, 2, (4, channels)) * [[3], [1], [1], [-1]])
    normalized = [x, (mean, inv_std), (gamma, beta)]
    assert_twins_agree("batch_norm_statistics", [x], [mean, mean])
    assert_twins_agree("batch_norm_forward", [*normalized, relu], [x])
    # For a gate, one bit decides: the output must not lie so near to zero that rounding does.
    y = (x - mean) * (gamma * inv_std) + beta
    grad[np.abs(y) < 1e-4] = 0
    assert_twins_agree("batch_norm_parameter_gradient", [grad, *normalized, relu], [gamma, beta])
    sums = [a.astype(dtype) for a in rng.standard_normal((2, channels))]
    assert_twins_agree("batch_norm_input_gradient", [grad, *normalized, *sums, relu], [x])


@on_every_instruction_set
@pytest.mark.parametrize("channels", [1, 12, 33, 70])
def test_the_gradient_of_batch_normalization_may_be_written_over_its_input(instruction_set, channels, dtype, rng):
    _kernels.use_instruction_set(instruction_set)
    x, grad, expected = rng.standard_normal((3, 50, 7, channels)).astype(dtype)
    numbers = [(x[0, 0], x[0, 1]), (x[0, 2], x[0, 3])]
    numbers = [tuple(a.copy() for a in pair) for pair in numbers]
    for relu in (False, True):
        given = [grad, *numbers, x[0, 4].copy(), x[0, 5].copy(), relu]
        _compiled["normalization"].batch_norm_input_gradient(grad, x, *given[1:], expected)
        over = x.copy()
        _compiled["normalization"].batch_norm_input_gradient(grad, over, *given[1:], over)
        np.testing.assert_array_equal(over, expected)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize(
    "wrong",
    [None, np.ones(3), (np.ones(3),), (np.ones(3),) * 3, (np.ones(3), None), (np.ones(3), np.ones(3, np.float32))],
)
def test_batch_normalization_refuses_a_pair_that_is_none(place, wrong):
    one, two = np.ones(3), np.zeros((2, 3))
    for name, before, after in (
        ("batch_norm_forward", [two], [False, two]),
        ("batch_norm_parameter_gradient", [two, two], [False, one, one]),
        ("batch_norm_input_gradient", [two, two], [one, one, False, two]),
    ):
        pairs = [wrong, (one, one)] if place == 1 else [(one, one), wrong]
        with pytest.raises((TypeError, ValueError)):
            getattr(_compiled["normalization"], name)(*before, *pairs, *after)


@given(st.sampled_from([(0,), (1,), (7, 5), (40000,)]), st.integers(0, 65535), dtypes, seeds, st.integers(1, 4))
def test_dropout_agrees_with_its_twin(shape, dropped, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([-2, 0.3, 1.5, np.nan, np.inf], dtype), shape)
    bits = rng.choice(np.array([0, dropped, max(dropped, 1) - 1, 65535, 300], np.uint16), x.size)
    assert_twins_agree("dropout", [x, bits, dropped], [x], exact=True)


@given(st.sampled_from([0, 1, 17, 40000]), dtypes, seeds, st.integers(1, 4))
def test_sgd_agrees_with_its_twin(size, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    params, grads = rng.standard_normal((2, size)).astype(dtype)
    results = []
    for function in (_compiled["optimizer"].sgd_step, optimizer.sgd_step):
        updated = params.copy()
        function(updated, grads, 0.1)
        results.append(updated)
    # A difference may cancel, and be rounded once where a processor multiplies and adds in one instruction.
    tolerance = TOLERANCE[np.dtype(dtype).char]
    np.testing.assert_allclose(*results, rtol=tolerance, atol=tolerance)


def test_every_kernel_has_a_twin_with_the_same_arguments_and_a_parity_test():
    tested = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for module, functions in KERNELS.items():
        for name in functions:
            compiled = inspect.signature(getattr(_compiled[module], name))
            expected = inspect.signature(getattr(twins(module), name))
            assert list(compiled.parameters) == list(expected.parameters), name
            assert f'"{name}"' in tested or f".{name}" in tested, f"{name} has no parity test"
            assert callable(getattr(_kernels, name))


# Kernels of a single array of any size: there is none that does not fit.
OF_ONE_ARRAY = {"all_finite", "clip_elements", "scale_elements"}


@pytest.mark.parametrize("name", sorted({name for names in KERNELS.values() for name in names} - OF_ONE_ARRAY))
def test_compiled_kernels_refuse_shapes_that_do_not_fit_instead_of_crashing(name):
    four, two, one = np.zeros((2, 5, 5, 3)), np.zeros((2, 3)), np.zeros(3)
    window, ranges = [(2, 2), (1, 1), (0, 0)], np.array([[0, 2]], np.intp)
    filters, mask = np.zeros((2, 2, 3, 3)), np.zeros((2, 5, 5, 3), np.uint8)
    calls = {
        "add": [two, two, True, np.zeros((3, 3))],
        "convolution_forward": [four, np.zeros((2, 2, 4, 3)), one, ((1, 1), (0, 0), (1, 1)), False, four],
        "convolution_pool_forward": [four, filters, one, ((1, 1), (0, 0), (5, 5), (2, 2)), True, four, mask],
        "convolution_max_forward": [four, filters, one, ((1, 1), (0, 0), (1, 1)), True, ((4, 4), *window), four],
        "convolution_average_forward": [four, filters, one, ((1, 1), (0, 0), (1, 1)), True, ((0, 4), *window), four],
        "convolution_pool_input_gradient": [four, mask, filters, ((1, 1), (0, 0), (5, 5), (0, 2)), four],
        "convolution_pool_weight_gradient": [four, four, mask[:1], ((1, 1), (0, 0), (10, 10), (2, 2)), filters, one],
        "convolution_input_gradient": [four, filters, ((1, 1), (0, 0), (1, 0)), four],
        "convolution_weight_gradient": [four, four, ((0, 1), (0, 0), (1, 1)), filters, one],
        "grouped_convolution_forward": [four, filters, one, ((1, 1), (0, 0), (1, 1)), 2, False, four],
        "grouped_convolution_input_gradient": [four, filters, ((1, 1), (0, 0), (1, 1)), 3, four],
        "grouped_convolution_weight_gradient": [four, four, ((1, 1), (0, 0), (1, 1)), 0, filters, one],
        "depthwise_forward": [four, np.zeros((2, 2, 3, 2)), one, ((1, 1), (0, 0), (1, 1)), False, four],
        "depthwise_input_gradient": [four, np.zeros((2, 2, 3, 1)), ((1, 1), (0, 0), (1, 0)), four],
        "depthwise_weight_gradient": [four, four, ((1, 1), (0, 0), (1, 1)), np.zeros((2, 2, 3, 1)), np.zeros(4)],
        "max_pool_forward": [four, *window, np.zeros((2, 4, 4, 4)), np.zeros((2, 4, 4, 4), np.uint8)],
        "max_pool_backward": [four, np.zeros((2, 4, 5, 3), np.uint8), *window, four],
        "average_pool_forward": [four, *window, np.zeros((2, 9, 4, 3))],
        "average_pool_backward": [four, *window, np.zeros((1, 5, 5, 3))],
        "dense_forward": [two, np.zeros((4, 3)), one, False, two],
        "dense_input_gradient": [two, np.zeros((4, 3)), two],
        "dense_weight_gradient": [two, np.zeros((3, 3)), np.zeros((3, 3)), one],
        "softmax_forward": [two, np.zeros((3, 3))],
        "softmax_backward": [two, np.zeros((3, 3)), two],
        "softmax_cross_entropy_forward": [two, np.zeros((3, 3)), two, np.zeros(2)],
        "softmax_cross_entropy_backward": [two, np.zeros((3, 3)), two],
        "sigmoid_cross_entropy_forward": [two, two, np.zeros(3)],
        "sigmoid_cross_entropy_backward": [two, np.zeros((3, 3)), two],
        "relu_forward": [two, np.zeros((3, 3))],
        "relu_backward": [two, two, np.zeros((3, 3))],
        "leaky_relu_forward": [two, 0.1, np.zeros((3, 3))],
        "leaky_relu_backward": [two, np.zeros((3, 3)), 0.1, two],
        "elu_forward": [two, 1.0, 1.0, np.zeros((3, 3))],
        "elu_backward": [two, np.zeros((3, 3)), 1.0, 1.0, two],
        "gelu_forward": [two, np.zeros((3, 3))],
        "gelu_backward": [two, np.zeros((3, 3)), two],
        "silu_forward": [two, np.zeros((3, 3))],
        "silu_backward": [two, np.zeros((3, 3)), two],
        "sigmoid_forward": [two, np.zeros((3, 3))],
        "sigmoid_backward": [two, np.zeros((3, 3)), two],
        "tanh_forward": [two, np.zeros((3, 3))],
        "tanh_backward": [two, np.zeros((3, 3)), two],
        "softplus_forward": [two, np.zeros((3, 3))],
        "softplus_backward": [two, np.zeros((3, 3)), two],
        "hard_swish_forward": [two, np.zeros((3, 3))],
        "hard_swish_backward": [two, np.zeros((3, 3)), two],
        "prelu_forward": [two, np.zeros(2), two],
        "prelu_backward": [two, two, one, np.zeros(2), two],
        "spatial_dropout": [four, np.zeros((2, 4), np.uint16), 5, four],
        "dropout": [two, np.zeros(7, np.uint16), 5, two],
        "batch_norm_statistics": [four, np.zeros(4), one],
        "batch_norm_forward": [four, (one, one), (one, one), False, np.zeros((2, 5, 4, 3))],
        "batch_norm_parameter_gradient": [two, two, (one, one), (one, np.zeros(2)), True, one, one],
        "batch_norm_input_gradient": [two, two, (one, one), (one, one), one, one, False, np.zeros((3, 3))],
        "batch_norm_pool_forward": [four, (one, one), (one, one), (2, 2), True, np.zeros((2, 2, 3, 3)), None],
        "batch_norm_pool_parameter_gradient": [
            four,
            four.astype(np.uint8),
            four,
            (one, one),
            (one, one),
            (2, 1),
            one,
            one,
        ],
        "batch_norm_pool_input_gradient": [
            four,
            four.astype(np.uint8),
            four,
            (one, one),
            (one, np.zeros(2)),
            (1, 1),
            (one, one),
            four,
        ],
        "nearest_upsample_forward": [four, np.zeros((2, 10, 11, 3))],
        "nearest_upsample_backward": [four, np.zeros((2, 10, 5, 3))],
        "bilinear_upsample_forward": [four, np.zeros((1, 10, 10, 3))],
        "bilinear_upsample_backward": [np.zeros((2, 10, 10, 4)), four],
        "group_norm_forward": [four[0], one, one, 0.1, np.zeros((5, 2)), np.zeros((5, 2)), four[0]],
        "group_norm_parameter_gradient": [four[0], four[1, :4], np.zeros((5, 1)), np.zeros((5, 1)), one, one],
        "group_norm_input_gradient": [four[0], four[1], np.zeros((5, 3)), np.zeros((4, 3)), one, four[0]],
        "sgd_step": [one, np.zeros(4), 0.1],
        "shift_images": [four, np.zeros((2, 2), np.intp), np.zeros((3, 2), np.uint8), 0.0, four],
        "affine_images": [four, np.zeros((2, 3, 3)), 0.0, four],
        "erase_images": [four, np.zeros((1, 4), np.intp), 0.0, four],
        "momentum_step": [one, one, np.zeros(4), ranges, 0.1, 0.9, False, 0.1],
        "adagrad_step": [one, one, np.zeros(4), ranges, 0.1, (0.9, 0.1), 1e-8, 0.1],
        "adam_step": [one, one, (one, np.zeros(4)), ranges, (0.9, 0.99), (0.1, 0.0), (1.0, 1e-8), (0.1, 0.0)],
        "lion_step": [one, one, one, np.array([[0, 4]], np.intp), 0.1, (0.9, 0.99), 0.1],
        "moving_average": [one, np.zeros(4), 0.9],
        "penalty": [one, one, ranges, 0.1, 0.1, one],
        "sum_of_squares": [one, one],
        "rough_square": [one, one],
        "absolute_error_backward": [two, np.zeros((3, 3)), two],
        "absolute_error_forward": [two, two, np.zeros(3)],
        "absolute_errors": [two, two, np.zeros(3)],
        "add_bias": [np.zeros(4), four],
        "batch_sums": [one, np.zeros(4), None, one],
        "bias_gradient": [four, np.zeros(4)],
        "classes_agree": [two, np.zeros((2, 4)), np.zeros(2)],
        "crop_images": [four, 1, 3, np.zeros((2, 3, 3, 3))],
        "encode_classes": [np.zeros(3, np.intp), 0.1, two],
        "hinge_backward": [two, two, True, np.zeros((3, 3))],
        "hinge_forward": [two, np.zeros((2, 4)), False, np.zeros(2)],
        "huber_backward": [two, two, 0.5, np.zeros((2, 4))],
        "huber_forward": [two, np.zeros((3, 3)), 0.5, np.zeros(2)],
        "inverse_deviation": [one, 1e-5, np.zeros(4)],
        "labels_agree": [np.zeros((2, 0)), np.zeros((2, 0)), 0.5, np.zeros(2)],
        "pad_images": [four, -1, 0, np.zeros((2, 7, 7, 3))],
        "running_average": [one, np.zeros(4), 0.9, 1.0, one],
        "sigmoid_focal_backward": [two, two, 2.0, np.zeros((3, 3))],
        "sigmoid_focal_forward": [two, two, 2.0, np.zeros(3)],
        "smooth_rows": [two, 0.1, np.zeros((2, 4))],
        "softmax_focal_backward": [two, np.zeros((3, 3)), 2.0, two],
        "softmax_focal_forward": [two, two, 2.0, np.zeros((3, 3)), np.zeros(2)],
        "squared_error_backward": [two, two, np.zeros((2, 4))],
        "squared_error_forward": [two, np.zeros((2, 4)), np.zeros(2)],
        "weigh_rows": [np.zeros(3), two],
    }
    module = next(module for module, functions in KERNELS.items() if name in functions)
    with pytest.raises(ValueError, match=f"^{name}: (shapes|sizes) do not fit"):
        getattr(_compiled[module], name)(*calls[name])
