"""Hinge loss: its twin by hand, and the compiled kernels against it."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

from cnnx import _kernels
from cnnx._kernels import _compiled


@pytest.mark.usefixtures("backend")
def test_violations_of_the_margin_by_hand(dtype):
    x, t = np.array([[2, 1.5, 0], [1, 3, 0]], dtype), np.array([[1, 0, 0], [0, 1, 0]], dtype)
    losses, gradient = np.empty(2, dtype), np.empty_like(x)
    _kernels.hinge_forward(x, t, False, losses)
    np.testing.assert_allclose(losses, [0.5 / 3, 0], rtol=1e-6)
    _kernels.hinge_backward(x, t, False, gradient)
    np.testing.assert_allclose(gradient, np.array([[-1, 1, 0], [0, 0, 0]]) / 6, rtol=1e-6)
    _kernels.hinge_forward(x, t, True, losses)
    np.testing.assert_allclose(losses, [0.25 / 3, 0], rtol=1e-6)


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@given(
    batch=st.sampled_from([0, 1, 7, 300]),
    classes=st.sampled_from([1, 2, 5, 30]),
    dtype=dtypes,
    seed=seeds,
    awkward=st.booleans(),
)
def test_hinge_loss_agrees_with_its_twin(batch, classes, dtype, seed, awkward):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, classes)).astype(dtype)
    if awkward:
        x = rng.choice(
            np.array([0, 0.5, 1, 2, np.nan, np.inf, -np.inf], dtype), x.shape, p=[0.2] * 4 + [0.1, 0.05, 0.05]
        )
    targets = np.eye(classes, dtype=dtype)[rng.integers(0, classes, batch)]
    losses, out = np.empty(batch, dtype), np.empty_like(x)
    for squared in (False, True):
        assert_twins_agree("hinge_forward", [x, targets, squared], [losses])
        # A sum of ones is exact; that of violations is taken in double precision.
        assert_twins_agree("hinge_backward", [x, targets, squared], [out], exact=not squared)
