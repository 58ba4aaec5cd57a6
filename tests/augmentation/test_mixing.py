"""Mixup."""

import numpy as np
import pytest

from cnnx.augmentation import MixUp


def test_examples_and_labels_are_blended_in_the_same_pairs_and_shares(dtype):
    # Each example names itself on its own axis, so that what it was blended from can be read off.
    X, y = np.eye(6, dtype=dtype), np.array([0, 1, 2, 2, 1, 0])
    mixed, labels = MixUp(1.0, classes=3)(X, y, np.random.default_rng(1))
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(labels, mixed @ np.eye(3)[y], rtol=1e-6)
    assert labels.dtype == dtype
    share = mixed.diagonal()[mixed.diagonal() < 1]
    np.testing.assert_allclose(share, share[0])
    np.testing.assert_allclose(mixed.sum(axis=0), 1, rtol=1e-6)


def test_rows_and_real_numbers_need_no_number_of_classes():
    X, rows = np.eye(4), np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5]])
    mixed, labels = MixUp(0.5)(X, rows, np.random.default_rng(0))
    np.testing.assert_allclose(labels, mixed @ rows)
    mixed, targets = MixUp(0.5)(X, np.array([1.0, 2, 3, 4]), np.random.default_rng(0))
    np.testing.assert_allclose(targets, mixed @ [1, 2, 3, 4])


@pytest.mark.parametrize(("alpha", "spread"), [(0.2, 0.423), (1.0, 0.289), (8.0, 0.121)])
def test_the_share_is_beta_distributed(alpha, spread):
    # Deviation of Beta(a, a): 1 / (2 sqrt(2 a + 1)). A batch of two is swapped or not; its first share tells which.
    rng = np.random.default_rng(0)
    shares = [MixUp(alpha)(np.eye(2), np.zeros(2), rng)[0][0, 0] for _ in range(1500)]
    drawn = np.array([share for share in shares if share != 1])
    assert len(drawn) == pytest.approx(750, abs=80)
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    assert drawn.std() == pytest.approx(spread, abs=0.03)


def test_labels_that_cannot_be_blended_are_refused():
    X = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"MixUp: integer labels cannot be blended: MixUp\(alpha, classes=10\)"):
        MixUp(1.0)(X, np.array([0, 1, 2]), np.random.default_rng(0))
    with pytest.raises(ValueError, match="MixUp: labels: expected 0 to 2 for 3 classes, got 3 at index 1"):
        MixUp(1.0, classes=3)(X, np.array([0, 3, 2]), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"MixUp: labels: expected rows of 3 classes, got shape \(3, 2\)"):
        MixUp(1.0, classes=3)(X, np.zeros((3, 2)), np.random.default_rng(0))
