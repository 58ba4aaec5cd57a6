"""Focal loss: its twins by hand, and the compiled kernels against them."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx._kernels import _compiled
from cnnx._kernels.reference import focal


def test_the_twin_after_softmax_is_the_papers_formula(rng):
    x, t = rng.uniform(-3, 3, (5, 4)), rng.dirichlet(np.ones(4), 5)
    y, losses = np.empty_like(x), np.empty(5)
    focal.softmax_focal_forward(x, t, 1.7, y, losses)
    for n in range(5):
        p = np.exp(x[n]) / np.exp(x[n]).sum()
        np.testing.assert_allclose(y[n], p, rtol=1e-13)
        assert losses[n] == pytest.approx(-sum(t[n, k] * (1 - p[k]) ** 1.7 * np.log(p[k]) for k in range(4)), rel=1e-12)


def test_the_twin_after_sigmoid_is_the_papers_formula(rng):
    x, t = rng.uniform(-3, 3, (5, 4)), rng.random((5, 4))
    losses = np.empty(5)
    focal.sigmoid_focal_forward(x, t, 1.7, losses)
    for n in range(5):
        p = 1 / (1 + np.exp(-x[n]))
        terms = t[n] * (1 - p) ** 1.7 * np.log(p) + (1 - t[n]) * p**1.7 * np.log(1 - p)
        assert losses[n] == pytest.approx(-sum(terms) / 4, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.7])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_the_twins_gradient_is_the_derivative_of_the_mean_loss(kind, gamma, rng):
    x, t, direction = rng.uniform(-3, 3, (3, 5, 4))
    t = np.abs(t) / np.abs(t).sum(axis=1, keepdims=True)
    forward, backward = getattr(focal, f"{kind}_focal_forward"), getattr(focal, f"{kind}_focal_backward")
    gradient, losses = np.empty_like(x), np.empty((2, 5))
    backward(x, t, gamma, gradient)
    for sign, row in zip((1, -1), losses, strict=True):
        outputs = [np.empty_like(x), row] if kind == "softmax" else [row]
        forward(x + sign * 1e-5 * direction, t, gamma, *outputs)
    assert (gradient * direction).sum() == pytest.approx((losses[0] - losses[1]).mean() / 2e-5, rel=1e-7)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_saturated_scores_have_finite_losses_and_gradients(kind, dtype):
    x = np.array([[0, 1000], [1000, 0], [-1000, 500]], dtype)
    t = np.array([[1, 0]] * 3, dtype)
    for family in [focal, *([_compiled["focal"]] if _compiled else [])]:
        y, losses, gradient = np.empty_like(x), np.empty(3, dtype), np.empty_like(x)
        getattr(family, f"{kind}_focal_forward")(x, t, 2.0, *([y, losses] if kind == "softmax" else [losses]))
        getattr(family, f"{kind}_focal_backward")(x, t, 2.0, gradient)
        assert np.isfinite(losses).all()
        assert np.isfinite(gradient).all()
        if kind == "softmax":
            np.testing.assert_allclose(losses, [1000, 0, 1500])
            np.testing.assert_allclose(gradient, np.array([[-1, 1], [0, 0], [-1, 1]]) / 3, rtol=1e-6)


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@pytest.mark.usefixtures("restored_kernels")
@settings(max_examples=40)
@given(
    batch=st.sampled_from([0, 1, 7, 300]),
    classes=st.sampled_from([1, 2, 5, 30]),
    gamma=st.sampled_from([0.5, 1.0, 2.0, 3.7]),
    dtype=dtypes,
    seed=seeds,
    spread=st.sampled_from([1, 50, 1000]),
    threads=st.integers(1, 4),
)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_focal_loss_agrees_with_its_twin(kind, batch, classes, gamma, dtype, seed, spread, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = (spread * rng.standard_normal((batch, classes))).astype(dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    one_hot = np.eye(classes, dtype=dtype)[rng.integers(0, classes, batch)]
    soft = rng.dirichlet(np.ones(classes), batch).astype(dtype)
    out, losses = np.empty_like(x), np.empty(batch, dtype)
    for targets in (one_hot, soft):
        if kind == "softmax":
            assert_twins_agree("softmax_focal_forward", [x, targets, gamma], [out, losses])
            assert_twins_agree("softmax_focal_backward", [x, targets, gamma], [out])
        else:
            assert_twins_agree("sigmoid_focal_forward", [x, targets, gamma], [losses])
            assert_twins_agree("sigmoid_focal_backward", [x, targets, gamma], [out])


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
def test_the_predictions_are_those_of_softmax_to_the_bit(dtype, rng):
    x = (10 * rng.standard_normal((20, 9))).astype(dtype)
    alone, y, losses = np.empty_like(x), np.empty_like(x), np.empty(20, dtype)
    _compiled["softmax"].softmax_forward(x, alone)
    _compiled["softmax"].softmax_cross_entropy_forward(x, np.zeros_like(x), y, losses)
    np.testing.assert_array_equal(y, alone)
    _compiled["focal"].softmax_focal_forward(x, np.zeros_like(x), 2.0, y, losses)
    np.testing.assert_array_equal(y, alone)
