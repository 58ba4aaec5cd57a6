"""Biases: added, and their gradient; the compiled kernels against their twins."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")


@pytest.mark.usefixtures("backend")
def test_a_bias_for_each_filter_by_hand(dtype):
    out, gradient = np.zeros((1, 2, 1, 3), dtype), np.empty(3, dtype)
    _kernels.add_bias(np.array([1, 2, 3], dtype), out)
    np.testing.assert_array_equal(out, [[[[1, 2, 3]], [[1, 2, 3]]]])
    _kernels.bias_gradient(out, gradient)
    np.testing.assert_array_equal(gradient, [2, 4, 6])


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@settings(max_examples=40)
@given(
    shape=st.sampled_from([(0, 3, 2), (1, 1, 1), (3, 5, 4), (7, 2, 3), (2, 60, 61), (1, 0, 3)]),
    filters=st.sampled_from([1, 2, 3, 10, 16, 33, 64, 65, 300]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_biases_agree_with_their_twins(shape, filters, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    b = rng.choice(np.array([0, -1.3, np.nan, np.inf], dtype), filters)
    out = rng.standard_normal((*shape, filters)).astype(dtype)
    assert_twins_agree("add_bias", [b], [out], exact=True, in_place=True)
    grad = out / max(np.prod(shape), 1)
    assert_twins_agree("bias_gradient", [grad.astype(dtype)], [b])
    assert_twins_agree("bias_gradient", [grad.astype(dtype).reshape(-1, filters)], [b])


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@pytest.mark.parametrize("filters", [1, 3, 100])
def test_a_long_sum_keeps_its_digits_and_its_bits_whatever_the_threads(filters, rng):
    grad = (1 + rng.random((4, 500, 200, filters))).astype(np.float32)
    expected = grad.sum(axis=(0, 1, 2), dtype=np.float64)
    results = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        out = np.empty(filters, np.float32)
        _compiled["bias"].bias_gradient(grad, out)
        results.append(out)
        np.testing.assert_allclose(out, expected, rtol=3e-7)
        np.testing.assert_array_equal(out, results[0])
