import numpy as np
import pytest
from hypothesis import given, strategies as st

import cnnx
from cnnx.checks.geometry import slide

sizes = st.integers(1, 40)


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5), p=st.integers(0, 9))
def test_the_output_is_the_most_windows_that_fit(n, f, s, p):
    if n + 2 * p < f:
        with pytest.raises(ValueError, match="does not fit"):
            slide((n, n), (f, f), (s, s), (p, p), "layer")
        return
    rows = slide((n, n), (f, f), (s, s), (p, p), "layer").output[0]
    assert (rows - 1) * s + f <= n + 2 * p < rows * s + f


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5), p=st.integers(0, 9), d=st.integers(1, 4))
def test_a_dilated_filter_counts_for_the_pixels_it_spans(n, f, s, p, d):
    span = 1 + d * (f - 1)
    if n + 2 * p < span:
        with pytest.raises(ValueError, match="does not fit"):
            slide((n, n), (f, f), (s, s), (p, p), "layer", (d, d))
        return
    for padding in ((p, p), "same"):
        dilated = slide((n, n), (f, f), (s, s), padding, "layer", (d, d))
        assert dilated == slide((n, n), (span, span), (s, s), padding, "layer")


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5))
def test_same_gives_the_images_size_over_the_stride(n, f, s):
    windows = slide((n, 1), (f, 1), (s, 1), "same", "layer")
    assert windows.output[0] == -(-n // s)
    before = windows.padding[0]
    after = max((windows.output[0] - 1) * s + f - n - before, 0)
    assert before <= after <= before + 1 or before == after == 0


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5))
def test_valid_is_no_padding(n, f, s):
    if f <= n:
        assert slide((n, n), (f, f), (s, s), "valid", "layer") == slide((n, n), (f, f), (s, s), (0, 0), "layer")


def test_arrays_of_whole_numbers_are_taken_as_pairs():
    layer = cnnx.ConvolutionLayer(4, np.array([3, 5]), stride=np.array(2), padding=np.array([1, 0], np.uint8))
    assert (layer.filter_size, layer.stride, layer.padding) == ((3, 5), (2, 2), (1, 0))
    assert cnnx.PaddingLayer(np.array([[1, 2], [3, 4]])).padding == ((1, 2), (3, 4))
    cut = cnnx.augmentation.CutOut(np.array([2, 4]))
    assert (cut.smallest, cut.largest) == (2, 4)


@pytest.mark.parametrize(
    "size",
    [
        *(np.array(size) for size in ([3.0, 3.0], [3, 3, 3], [[3, 3]], [True, True])),
        [np.array([3, 3]), 3],
        [np.ones(2), 1],
    ],
)
def test_what_is_no_pair_of_whole_numbers_is_named(size):
    with pytest.raises(TypeError, match="filter_size: expected an integer or a pair of integers, got"):
        cnnx.ConvolutionLayer(4, size)
    with pytest.raises(TypeError, match="padding"):
        cnnx.PaddingLayer(size)
