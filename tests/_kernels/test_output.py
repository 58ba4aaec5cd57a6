"""What output layers do for each batch: the twins by hand, and the compiled kernels against them."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

from cnnx import _kernels
from cnnx._kernels import _compiled

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
batches = st.sampled_from([0, 1, 2, 9, 70])
classes = st.sampled_from([1, 2, 3, 10, 70])
smoothings = st.sampled_from([0.0, 0.1, 1 / 3, 0.9])


def few_values(rng, shape, dtype):
    """Many ties, with NaN and infinities among them."""
    return rng.choice(
        np.array([0, 0.5, 0.7, 1, np.nan, np.inf, -np.inf], dtype), shape, p=[0.3, 0.2, 0.1, 0.3] + [1 / 30] * 3
    )


@pytest.mark.usefixtures("backend")
def test_targets_by_hand(dtype):
    out = np.full((3, 4), np.nan, dtype)
    _kernels.encode_classes(np.array([2, 0, 3]), 0.0, out)
    np.testing.assert_array_equal(out, [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    _kernels.encode_classes(np.array([2, 0, 3]), 0.2, out)
    np.testing.assert_allclose(out[0], [0.05, 0.05, 0.85, 0.05], rtol=1e-6)
    _kernels.smooth_rows(np.array([[0.5, 0.5, 0, 0]] * 3, dtype), 0.2, out)
    np.testing.assert_allclose(out[2], [0.45, 0.45, 0.05, 0.05], rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_rates_by_hand(dtype):
    predictions = np.array([[0.2, 0.9, 0.9], [0.6, np.nan, 0.9], [0.1, 0.2, 0.8]], dtype)
    targets = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype)
    out = np.full(3, np.nan, dtype)
    _kernels.classes_agree(predictions, targets, out)
    np.testing.assert_array_equal(out, [1, 1, 0])
    _kernels.labels_agree(np.array([[0.4, 0.8], [0.6, 0.8], [0.7, 0.7]], dtype), targets[:, :2].copy(), 0.7, out)
    np.testing.assert_array_equal(out, [1, 1, 0])


@pytest.mark.usefixtures("backend")
def test_weights_and_sums_by_hand(dtype):
    out, sums = np.array([[1, 2], [3, 4]], dtype), np.empty(3)
    _kernels.weigh_rows(np.array([10, 0.5], dtype), out)
    np.testing.assert_array_equal(out, [[10, 20], [1.5, 2]])
    losses, rates = np.array([1, 2, 4], dtype), np.array([1, 0, 1], dtype)
    _kernels.batch_sums(losses, rates, None, sums)
    np.testing.assert_array_equal(sums, [7, 2, 3])
    _kernels.batch_sums(losses, rates, np.array([0.5, 1, 2]), sums)
    np.testing.assert_array_equal(sums, [10.5, 2.5, 3.5])
    _kernels.batch_sums(losses[:0], rates[:0], None, sums)
    np.testing.assert_array_equal(sums, 0)


@compiled_only
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_none_of_the_classes_writes_nowhere(label):
    with pytest.raises(ValueError, match=f"^encode_classes: labels: expected 0 to 3, got {label} at index 1"):
        _compiled["output"].encode_classes(np.array([0, label]), 0.0, np.zeros((2, 4)))


@compiled_only
@given(batches, classes, smoothings, dtypes, seeds)
def test_targets_agree_with_their_twins_to_the_bit(batch, count, smoothing, dtype, seed):
    rng = np.random.default_rng(seed)
    out = np.empty((batch, count), dtype)
    for labels in (rng.integers(0, count, batch), rng.integers(0, count, 2 * batch)[::2]):
        assert_twins_agree("encode_classes", [labels, smoothing], [out], exact=True)
    rows = rng.dirichlet(np.ones(count), batch).astype(dtype)
    assert_twins_agree("smooth_rows", [rows, smoothing], [out], exact=True)


@compiled_only
@given(batches, classes, dtypes, seeds, st.sampled_from([0.5, 0.7, 0.1]))
def test_rates_agree_with_their_twins(batch, count, dtype, seed, threshold):
    rng = np.random.default_rng(seed)
    predictions, targets = few_values(rng, (2, batch, count), dtype)
    out = np.empty(batch, dtype)
    assert_twins_agree("classes_agree", [predictions, targets], [out], exact=True)
    assert_twins_agree("labels_agree", [predictions, targets, threshold], [out], exact=True)
    assert_twins_agree("labels_agree", [targets, targets, 0.5], [out], exact=True)


@compiled_only
@given(batches, classes, dtypes, seeds)
def test_weights_and_sums_agree_with_their_twins(batch, count, dtype, seed):
    rng = np.random.default_rng(seed)
    losses, rates = few_values(rng, batch, dtype) if batch < 9 else rng.random(batch).astype(dtype), rng.random(batch)
    weights = rng.random(batch)
    for given_weights in (None, weights):
        assert_twins_agree("batch_sums", [losses, rates.astype(dtype), given_weights], [np.empty(3)])
    with np.errstate(invalid="ignore"):  # 0 * inf is NaN in both
        rows = few_values(rng, (batch, count), dtype)
        assert_twins_agree("weigh_rows", [weights.astype(dtype)], [rows], exact=True, in_place=True)
