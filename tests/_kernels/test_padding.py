"""Padding and cropping: by hand, and the compiled kernels against their twins."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")


@pytest.mark.usefixtures("backend")
def test_zeros_around_an_image_and_away_again(dtype):
    x, padded, cropped = np.array([[[[1], [2]]]], dtype), np.full((1, 3, 4, 1), 7, dtype), np.empty((1, 1, 2, 1), dtype)
    _kernels.pad_images(x, 1, 2, padded)
    np.testing.assert_array_equal(padded[0, :, :, 0], [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 0]])
    _kernels.crop_images(padded, 1, 2, cropped)
    np.testing.assert_array_equal(cropped, x)


@compiled_only
@pytest.mark.parametrize(("top", "left"), [(3, 0), (0, 3), (-1, 0), (0, -1), (2**62, 0)])
def test_an_image_that_reaches_over_the_edge_is_an_error(top, left):
    small, large = np.zeros((2, 3, 3, 1)), np.zeros((2, 5, 5, 1))
    for name, arrays in (("pad_images", (small, large)), ("crop_images", (large, small))):
        with pytest.raises(ValueError, match=f"^{name}: shapes do not fit: .* from row {top}, column {left} on"):
            getattr(_compiled["padding"], name)(arrays[0], top, left, arrays[1])


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@given(
    small=st.sampled_from([(0, 3, 2, 4), (1, 1, 1, 1), (3, 5, 4, 2), (7, 2, 3, 17), (5, 40, 11, 40), (2, 0, 3, 1)]),
    margins=st.tuples(*[st.integers(0, 3)] * 4),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_padding_and_cropping_agree_with_their_twins(small, margins, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    top, bottom, left, right = margins
    rng = np.random.default_rng(seed)
    images, height, width, channels = small
    values = np.array([0, 1.5, np.nan, np.inf], dtype)
    inner = rng.choice(values, small)
    outer = rng.choice(values, (images, top + height + bottom, left + width + right, channels))
    assert_twins_agree("pad_images", [inner, top, left], [outer], exact=True)
    assert_twins_agree("crop_images", [outer, top, left], [inner], exact=True)
