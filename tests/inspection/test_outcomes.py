"""What models say of examples, beside what they are."""

import numpy as np
import pytest

import cnnx
from cnnx.inspection.outcomes import batches_of, outcomes


def said(output, units, X, y):
    model = cnnx.Model(cnnx.DenseLayer(units=units), output)
    model.build(X.shape[1:], seed=2)
    return model, outcomes(model, batches_of(model, X), y, "here")


def test_one_class_of_several(rng):
    X, y = rng.standard_normal((600, 4)), rng.integers(0, 3, 600)
    model, found = said(cnnx.SoftmaxLayer(), 3, X, y)
    np.testing.assert_array_equal(found.said, model.predict(X))
    np.testing.assert_allclose(found.probabilities, model.predict_proba(X), rtol=1e-6)
    np.testing.assert_array_equal(found.right, model.predict(X) == y)
    np.testing.assert_allclose(found.confidence, found.probabilities.max(axis=1))
    assert (np.diff(found.confidence[found.mistakes]) <= 0).all()
    assert sorted(found.mistakes) == np.flatnonzero(~found.right).tolist()
    rows = np.eye(3)[y] * 0.8 + 0.2 / 3
    np.testing.assert_array_equal(said(cnnx.SoftmaxLayer(), 3, X, rows)[1].truth, y)


def test_two_classes_of_one_output_have_two_probabilities(rng):
    X, y = rng.standard_normal((50, 4)), rng.integers(0, 2, 50)
    model, found = said(cnnx.SigmoidLayer(threshold=0.8), 1, X, y)
    assert (found.classes, found.several) == (2, False)
    np.testing.assert_array_equal(found.said, model.predict(X))
    assert found.probability_of(3, 1) == pytest.approx(model.predict_proba(X)[3, 1])


def test_several_labels_are_right_together(rng):
    X, y = rng.standard_normal((50, 4)), rng.integers(0, 2, (50, 3))
    model, found = said(cnnx.SigmoidLayer(), 3, X, y)
    assert found.several
    np.testing.assert_array_equal(found.right, (model.predict(X) == y).all(axis=1))
    distances = np.abs(model.predict_proba(X) - y).max(axis=1)
    assert (np.diff(distances[found.mistakes]) <= 0).all()


def test_scores_without_probabilities(rng):
    X, y = rng.standard_normal((50, 4)), rng.integers(0, 3, 50)
    _, found = said(cnnx.HingeLayer(), 3, X, y)
    assert found.probabilities is None
    assert found.confidence is None
    assert found.probability_of(0, 0) is None
    np.testing.assert_array_equal(found.mistakes, np.flatnonzero(~found.right))


def test_one_label_for_each_example(rng):
    X = rng.standard_normal((5, 4))
    with pytest.raises(ValueError, match="expected the same number of examples, got 5 and 4"):
        said(cnnx.SoftmaxLayer(), 3, X, [0, 1, 2, 0])
    with pytest.raises(ValueError, match="at least one example"):
        said(cnnx.SoftmaxLayer(), 3, X[:0], np.zeros(0, int))
