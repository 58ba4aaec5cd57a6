"""What is done to a gradient before a step: the compiled kernels against their twins."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled


@pytest.mark.usefixtures("backend")
def test_a_gradient_is_limited_and_scaled_by_hand(dtype):
    gradient = np.array([-3, 0.5, 2, np.nan, np.inf, -np.inf], dtype)
    _kernels.clip_elements(1.5, gradient)
    np.testing.assert_array_equal(gradient, [-1.5, 0.5, 1.5, np.nan, 1.5, -1.5])
    _kernels.scale_elements(2.0, gradient)
    np.testing.assert_array_equal(gradient, [-3, 1, 3, np.nan, 3, -3])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, None])
@pytest.mark.parametrize("size", [0, 1, 33, 16384, 40000])
def test_a_rough_sum_of_squares_tells_where_something_is_not_finite(dtype, size, wrong, rng):
    x, out = rng.standard_normal(size).astype(dtype), np.empty(1)
    if size and wrong is not None:
        x[rng.integers(size)] = wrong
    _kernels.rough_square(x, out)
    assert np.isfinite(out[0]) == (size == 0 or wrong is None)
    if wrong is None:
        np.testing.assert_allclose(out[0], (x.astype(np.float64) ** 2).sum(), rtol=1e-4)


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@pytest.mark.usefixtures("restored_kernels")
@given(st.sampled_from([0, 1, 17, 40000]), st.sampled_from([0.1, 1 / 3, 1e3]), dtypes, seeds, st.integers(1, 4))
def test_gradients_are_changed_as_by_their_twins(size, number, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    gradient = rng.standard_normal(size).astype(dtype)
    gradient[rng.random(size) < 0.1] = np.nan
    gradient[rng.random(size) < 0.1] = -np.inf
    assert_twins_agree("clip_elements", [number], [gradient], exact=True, in_place=True)
    assert_twins_agree("scale_elements", [number], [gradient], exact=True, in_place=True)
