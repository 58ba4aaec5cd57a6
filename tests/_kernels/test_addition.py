import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@pytest.mark.usefixtures("restored_kernels")
@given(st.sampled_from([(0,), (1,), (7, 5), (2, 3, 4, 5), (17000,)]), dtypes, seeds, st.integers(1, 4), st.booleans())
def test_addition_agrees_with_its_twin(shape, dtype, seed, threads, relu):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    values = np.array([-2, -0.0, 0, 1.5, np.nan, np.inf, -np.inf], dtype)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN in both
        assert_twins_agree(
            "add", [rng.choice(values, shape), rng.choice(values, shape), relu], [np.empty(shape, dtype)], exact=True
        )


@pytest.mark.usefixtures("backend")
def test_relu_after_an_addition_closes_what_is_negative_and_passes_nan_on(dtype):
    a, b = np.array([1, -2, 3, np.nan], dtype), np.array([0.5, 1, -3, 1], dtype)
    out = np.empty_like(a)
    _kernels.add(a, b, False, out)
    np.testing.assert_array_equal(out, [1.5, -1, 0, np.nan])
    _kernels.add(a, b, True, out)
    np.testing.assert_array_equal(out, [1.5, 0, 0, np.nan])
