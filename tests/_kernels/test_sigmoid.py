"""Sigmoid with binary cross-entropy: its twin by hand, and the compiled kernels against it."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx._kernels import _compiled
from cnnx._kernels.reference import sigmoid


def test_the_twin_is_the_textbooks_formula(rng):
    x, t = rng.uniform(-5, 5, (2, 6, 4))
    t = (t + 5) / 10
    y, losses, gradient = 1 / (1 + np.exp(-x)), np.empty(6), np.empty_like(x)
    sigmoid.sigmoid_cross_entropy_forward(x, t, losses)
    sigmoid.sigmoid_cross_entropy_backward(y, t, gradient)
    for n in range(6):
        total = 0.0
        for k in range(4):
            p = 1 / (1 + np.exp(-x[n, k]))
            total -= t[n, k] * np.log(p) + (1 - t[n, k]) * np.log(1 - p)
            assert gradient[n, k] == pytest.approx((p - t[n, k]) / 24, rel=1e-12)
        assert losses[n] == pytest.approx(total / 4, rel=1e-12)


def test_the_twin_at_the_ends_by_hand():
    x = np.array([[1000.0, -1000, 0, np.nan]]).T
    losses = np.empty(4)
    sigmoid.sigmoid_cross_entropy_forward(x, np.zeros_like(x), losses)
    np.testing.assert_array_equal(losses, [1000, 0, np.log(2), np.nan])


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@pytest.mark.usefixtures("restored_kernels")
@settings(max_examples=30)
@given(
    batch=st.sampled_from([0, 1, 7, 700]),
    classes=st.sampled_from([1, 2, 5, 30]),
    dtype=dtypes,
    seed=seeds,
    spread=st.sampled_from([1, 50, 1000]),
    threads=st.integers(1, 4),
)
def test_sigmoid_cross_entropy_agrees_with_its_twin(batch, classes, dtype, seed, spread, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = (spread * rng.standard_normal((batch, classes))).astype(dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    y = rng.random((batch, classes)).astype(dtype)
    for targets in (rng.integers(0, 2, x.shape).astype(dtype), rng.random(x.shape).astype(dtype)):
        assert_twins_agree("sigmoid_cross_entropy_forward", [x, targets], [np.empty(batch, dtype)])
        assert_twins_agree("sigmoid_cross_entropy_backward", [y, targets], [x])
