"""Losses of regression: their twins by hand, and the compiled kernels against them."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

from cnnx import _kernels
from cnnx._kernels import _compiled


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("name", "delta", "penalties", "slopes"),
    [
        ("squared_error", (), [0.25, 0, 9], [1, 0, -6]),
        ("absolute_error", (), [0.5, 0, 3], [1, 0, -1]),
        ("huber", (2.0,), [0.125, 0, 4], [0.5, 0, -2]),
    ],
)
def test_residuals_by_hand(name, delta, penalties, slopes, dtype):
    x, t = np.array([[1.5, 1, -2], [1, 1, 1]], dtype), np.ones((2, 3), dtype)
    losses, gradient = np.empty(2, dtype), np.empty_like(x)
    getattr(_kernels, f"{name}_forward")(x, t, *delta, losses)
    getattr(_kernels, f"{name}_backward")(x, t, *delta, gradient)
    np.testing.assert_allclose(losses, [sum(penalties) / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(gradient, [np.array(slopes) / 6, [0, 0, 0]], rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_the_mean_distance_from_the_targets_by_hand(dtype):
    out = np.empty(3, dtype)
    _kernels.absolute_errors(np.array([[1, -2], [0, 0], [3, np.nan]], dtype), np.ones((3, 2), dtype), out)
    np.testing.assert_array_equal(out, [1.5, 1, np.nan])


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@given(
    batch=st.sampled_from([0, 1, 7, 300]),
    outputs=st.sampled_from([1, 2, 5, 30]),
    delta=st.sampled_from([0.1, 1.0, 7.3]),
    dtype=dtypes,
    seed=seeds,
    awkward=st.booleans(),
)
def test_losses_of_regression_agree_with_their_twins_and_gradients_to_the_bit(
    batch, outputs, delta, dtype, seed, awkward
):
    rng = np.random.default_rng(seed)
    x, targets = (3 * rng.standard_normal((2, batch, outputs))).astype(dtype)
    if awkward:
        x = rng.choice(np.array([-2, -0.0, 0, delta, np.nan, np.inf, -np.inf], dtype), x.shape)
        targets = rng.choice(np.array([0, 1, -delta], dtype), x.shape)
    losses, out = np.empty(batch, dtype), np.empty_like(x)
    assert_twins_agree("squared_error_forward", [x, targets], [losses])
    assert_twins_agree("absolute_error_forward", [x, targets], [losses])
    assert_twins_agree("absolute_errors", [x, targets], [losses])
    assert_twins_agree("huber_forward", [x, targets, delta], [losses])
    if awkward:  # a gradient may overflow; a loss is summed in double precision and overflows later
        x[rng.random(x.shape) < 0.1] = 0.7 * np.finfo(dtype).max
    assert_twins_agree("squared_error_backward", [x, targets], [out], exact=True)
    assert_twins_agree("absolute_error_backward", [x, targets], [out], exact=True)
    assert_twins_agree("huber_backward", [x, targets, delta], [out], exact=True)
