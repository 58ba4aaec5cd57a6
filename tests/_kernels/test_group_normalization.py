import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx._kernels import _compiled
from cnnx._kernels.reference import group_normalization

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare"),
    pytest.mark.usefixtures("restored_kernels"),
]


@given(
    shape=st.sampled_from([(0, 3), (1, 1), (3, 1), (2, 7), (700, 1), (3, 300), (70, 4)]),
    groups=st.sampled_from([1, 2, 3, 16]),
    group=st.sampled_from([1, 2, 5, 8, 17, 64]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_group_normalization_agrees_with_its_twin(shape, groups, group, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    channels = groups * group
    x = (3 + rng.standard_normal((*shape, channels))).astype(dtype)
    grad = (rng.standard_normal(x.shape) / max(shape[0] * shape[1], 1)).astype(dtype)
    gamma, beta = rng.uniform(0.5, 2, (2, channels)).astype(dtype)
    mean, inv_std, out = np.empty((shape[0], groups), dtype), np.empty((shape[0], groups), dtype), np.empty_like(x)
    epsilon = 0.01  # a set of few values may have hardly any variance, whose rounding errors would grow
    assert_twins_agree("group_norm_forward", [x, gamma, beta, epsilon], [mean, inv_std, out])
    group_normalization.group_norm_forward(x, gamma, beta, epsilon, mean, inv_std, out)
    assert_twins_agree("group_norm_parameter_gradient", [grad, x, mean, inv_std], [gamma, beta])
    assert_twins_agree("group_norm_input_gradient", [grad, x, mean, inv_std, gamma], [x])
