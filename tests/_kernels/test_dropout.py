import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare"),
    pytest.mark.usefixtures("restored_kernels"),
]


@settings(max_examples=30)
@given(
    st.sampled_from([(0, 3, 2, 4), (1, 1, 1, 1), (3, 5, 4, 2), (7, 2, 3, 17), (4, 40, 11, 40)]),
    st.integers(0, 65535),
    dtypes,
    seeds,
    st.integers(1, 4),
)
def test_spatial_dropout_agrees_with_its_twin(shape, dropped, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([-2, 0.3, 1.5, np.nan, np.inf], dtype), shape)
    bits = rng.choice(np.array([0, dropped, max(dropped, 1) - 1, 65535, 300], np.uint16), (shape[0], shape[3]))
    assert_twins_agree("spatial_dropout", [x, bits, dropped], [x], exact=True)
