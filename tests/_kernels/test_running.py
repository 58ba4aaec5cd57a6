"""Running averages of batch normalization: by hand, and the compiled kernels against their twins, to the bit."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

from cnnx import _kernels
from cnnx._kernels import _compiled


@pytest.mark.usefixtures("backend")
def test_an_average_goes_its_share_of_the_way(dtype):
    average, batch, out = np.array([1, 4], dtype), np.array([3, 0], dtype), np.empty(2, dtype)
    _kernels.running_average(average, batch, 0.75, 2.0, out)
    np.testing.assert_array_equal(out, [2.25, 3])
    _kernels.running_average(average, batch, 0.75, 2.0, average)
    np.testing.assert_array_equal(average, out)
    _kernels.inverse_deviation(np.array([3, 0.0], dtype), 1.0, out)
    np.testing.assert_array_equal(out, [0.5, 1])


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@given(
    size=st.sampled_from([0, 1, 7, 64, 65, 300]),
    momentum=st.sampled_from([0.0, 0.9, 0.99, 1 / 3]),
    scale=st.sampled_from([1.0, 100 / 99, 4 / 3]),
    dtype=dtypes,
    seed=seeds,
)
def test_running_averages_agree_with_their_twins_to_the_bit(size, momentum, scale, dtype, seed):
    rng = np.random.default_rng(seed)
    average, batch = rng.standard_normal((2, size)).astype(dtype)
    batch[rng.random(size) < 0.05] = np.nan
    out = np.empty(size, dtype)
    assert_twins_agree("running_average", [average, batch, momentum, scale], [out], exact=True)
    variance = np.where(rng.random(size) < 0.1, 0, batch**2)
    for epsilon in (1e-5, 1e-3, 0.1):
        assert_twins_agree("inverse_deviation", [variance, epsilon], [out], exact=True)
