"""Numbers that no array can have: every door of a kernel and every layer answers at once, and nothing is written."""

import inspect
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import cnnx
from cnnx._kernels import FAMILIES, _compiled, twins
from cnnx.layers import LAYERS

needs_compiled = pytest.mark.skipif(not _compiled, reason="no compiled kernels")
HUGE = st.sampled_from([2**62, 2**63 - 1, 2**40, 2**31, 2**31 - 1, 0, -1, -(2**31), -(2**62), 10**9, 1, 2])
REFUSED = (ValueError, TypeError, OverflowError)

x, W, b, y = np.ones((1, 4, 4, 2), "f4"), np.ones((2, 2, 2, 2), "f4"), np.ones(2, "f4"), np.empty((1, 3, 3, 2), "f4")
y4, places = np.empty((1, 3, 3, 4), "f4"), np.zeros((1, 3, 3, 2), np.uint8)
b4, one = np.ones(4, "f4"), np.empty((1, 1, 1, 2), "f4")

# Doors that are told numbers beside arrays: the stride, padding and dilation of a window, and what else they take.
DOORS = {
    "convolution_forward": lambda s, p, d, n: (x, W, b, (s, p, d), True, y),
    "convolution_input_gradient": lambda s, p, d, n: (y, W, (s, p, d), x.copy()),
    "convolution_weight_gradient": lambda s, p, d, n: (x, y, (s, p, d), W.copy(), b.copy()),
    "convolution_pool_forward": lambda s, p, d, n: (x, W, b, (s, p, d, (n, n)), True, y, None),
    "convolution_max_forward": (
        lambda s, p, d, n: (x, W, b, ((1, 1), (0, 0), (1, 1)), True, ((n, n) if n % 2 else d, d, s, p), one.copy())
    ),
    "convolution_average_forward": (
        lambda s, p, d, n: (x, W, b, (s, p, d), True, ((n, n), (n, n), (1, 1), (0, 0)), one.copy())
    ),
    "convolution_pool_input_gradient": lambda s, p, d, n: (y, places, W, (s, p, d, (n, n)), x.copy()),
    "convolution_pool_weight_gradient": lambda s, p, d, n: (x, y, places, (s, p, d, (n, n)), W.copy(), b.copy()),
    "grouped_convolution_forward": lambda s, p, d, n: (x, W[:, :, :1].copy(), b, (s, p, d), n, True, y),
    "grouped_convolution_input_gradient": lambda s, p, d, n: (y, W[:, :, :1].copy(), (s, p, d), n, x.copy()),
    "grouped_convolution_weight_gradient": (lambda s, p, d, n: (x, y, (s, p, d), n, W[:, :, :1].copy(), b.copy())),
    "depthwise_forward": lambda s, p, d, n: (x, W, b4, (s, p, d), True, y4),
    "depthwise_input_gradient": lambda s, p, d, n: (y4, W, (s, p, d), x.copy()),
    "depthwise_weight_gradient": lambda s, p, d, n: (x, y4, (s, p, d), W.copy(), b4.copy()),
    "max_pool_forward": lambda s, p, d, n: (x, d, s, p, one.copy(), np.empty(one.shape, np.int32)),
    "max_pool_backward": lambda s, p, d, n: (one, np.zeros(one.shape, np.int64), d, s, p, x.copy()),
    "average_pool_forward": lambda s, p, d, n: (x, d, s, p, one.copy()),
    "average_pool_backward": lambda s, p, d, n: (one, d, s, p, x.copy()),
    "batch_norm_pool_forward": lambda s, p, d, n: (x, (b, b), (b, b), d, True, one.copy(), None),
    "batch_norm_pool_parameter_gradient": (
        lambda s, p, d, n: (one, places[:, :1, :1].copy(), x, (b, b), (b, b), d, b.copy(), b.copy())
    ),
    "batch_norm_pool_input_gradient": (
        lambda s, p, d, n: (one, places[:, :1, :1].copy(), x, (b, b), (b, b), d, (b, b), x.copy())
    ),
    "pad_images": lambda s, p, d, n: (x, *s, np.empty((1, 5, 5, 2), "f4")),
    "crop_images": lambda s, p, d, n: (x, *s, y.copy()),
}


@needs_compiled
@pytest.mark.parametrize("name", DOORS)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    stride=st.tuples(HUGE, HUGE),
    padding=st.tuples(HUGE, HUGE),
    dilation=st.tuples(HUGE, HUGE),
    number=HUGE,
    few=st.integers(0, 3),
)
def test_a_kernel_refuses_what_no_index_holds_or_computes_it_at_once(name, stride, padding, dilation, number, few):
    # Often all but one are ordinary, so that it alone decides.
    if few != 0:
        padding = (0, 0)
    if few == 1:
        dilation = (1, 1)
    if few == 2:
        stride = (1, 1)
    began = time.monotonic()
    try:
        getattr(_compiled[FAMILIES[name]], name)(*DOORS[name](stride, padding, dilation, number))
    except (*REFUSED, MemoryError):
        pass
    assert time.monotonic() - began < 2


def test_every_kernel_that_is_told_the_sizes_of_windows_is_tried():
    sizes = {"window", "filter_size", "top"}
    told = [
        name for name in FAMILIES if sizes & set(inspect.signature(getattr(twins(FAMILIES[name]), name)).parameters)
    ]
    assert set(told) == set(DOORS)


COUNTS = {"filters": 2, "filter_size": 2, "units": 2, "groups": 1, "multiplier": 1, "size": 2, "stride": 1}
COUNTS |= {"dilation": 1, "padding": 0, "cropping": 0, "output_padding": 0}


def sized_layers():
    """Each layer that takes numbers, one of its arguments, and the others as they may be."""
    cases = []
    for layer in LAYERS.values():
        arguments = [name for name in inspect.signature(layer).parameters if name in COUNTS]
        cases += [(layer, name, {other: COUNTS[other] for other in arguments if other != name}) for name in arguments]
    return cases


@pytest.mark.parametrize(("layer", "name", "others"), sized_layers())
@pytest.mark.parametrize("value", [2**31, 2**62, 2**64, -1, -(2**62), (1, 2**31), (2**62, 1)])
def test_a_layer_refuses_numbers_that_no_kernel_could_take(layer, name, others, value):
    with pytest.raises((ValueError, TypeError), match=name):
        layer(**others, **{name: value})


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "ResidualBlock"])
@pytest.mark.parametrize(
    "shape", [(2**62,), (2**31, 2**31, 2**31), (2**20, 2**20, 2**20), (-1, 2**62, 3), (2**48 + 1,)]
)
def test_a_layer_refuses_examples_that_no_index_could_find(name, shape):
    arguments = {key: value for key, value in COUNTS.items() if key in inspect.signature(LAYERS[name]).parameters}
    with pytest.raises((ValueError, TypeError)):
        LAYERS[name](**arguments).build(shape)


def test_an_output_that_no_index_could_find_is_refused():
    for layer in (
        cnnx.UpsampleLayer(2**31 - 1),
        cnnx.PaddingLayer(2**31 - 1),
        cnnx.DenseLayer(2**31 - 1),
    ):
        with pytest.raises(ValueError, match="expected at most 281474976710656 values"):
            layer.build((2**20,) if isinstance(layer, cnnx.DenseLayer) else (4, 4, 3))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: cnnx.TransposedConvolutionLayer(2, 3, stride=2**31 - 1),
        lambda: cnnx.ConvolutionLayer(2, (3, 1), dilation=(2**31 - 1, 1), padding="same"),
        lambda: cnnx.ConvolutionLayer(2, 3, padding=2**31 - 1),
        lambda: cnnx.ConvolutionLayer(2, 3, stride=2**31 - 1),
    ],
)
def test_a_convolution_that_would_need_endless_working_memory_is_refused_when_it_is_built(layer):
    with pytest.raises(ValueError, match=r"reaches too far beyond an image of|expected at most"):
        layer().build((4, 4, 3))


@pytest.fixture
def compiled():
    with cnnx.use_backend("compiled"):
        yield


@needs_compiled
def test_a_depthwise_layer_takes_the_largest_dilation_and_stride_at_once(compiled):
    for arguments in ({"dilation": (2**31 - 1, 1), "padding": "same"}, {"stride": 2**31 - 1}):
        layer = cnnx.DepthwiseConvolutionLayer(3, multiplier=2, **arguments)
        layer.build((5, 5, 3), seed=0)
        began = time.monotonic()
        out = layer.forward(np.ones((1, 5, 5, 3)), training=True)
        layer.backward(out)
        assert time.monotonic() - began < 1


@needs_compiled
@pytest.mark.parametrize("size", [40_000, 50_000])
def test_places_in_windows_of_more_pixels_than_an_int32_has_numbers_are_found_again(size, compiled):
    layer = cnnx.PoolLayer(size, padding=size - 1)
    layer.build((4, 4, 1))
    out = layer.forward(np.arange(16.0).reshape(1, 4, 4, 1), training=True)
    assert layer.backward(np.ones_like(out)).sum() == out.size


@needs_compiled
def test_a_place_that_has_too_few_bits_is_refused():
    for size, dtype in ((17, np.uint8), (50_000, np.int32)):
        padding = (size - 4, size - 4)
        with pytest.raises(ValueError, match=r"max_pool_forward: .* has no room for the places in a window of"):
            _compiled["pooling"].max_pool_forward(
                x, (size, size), (1, 1), padding, one.copy(), np.empty(one.shape, dtype)
            )


@needs_compiled
@pytest.mark.parametrize("count", [0, -1, 4097, 2**31, 2**62])
def test_the_compiled_core_refuses_a_number_of_threads_that_no_machine_has(count):
    with pytest.raises(ValueError, match=f"threads: expected 1 to 4096, got {count}"):
        _compiled["parallel"].set_threads(count)
