import copy

import numpy as np
import pytest

from cnnx import DenseLayer, Flatten, Model, SoftmaxLayer
from cnnx.data import ArrayBatches
from cnnx.layers.loss import OutputLayer
from cnnx.training.weighting import example_weights


@pytest.fixture
def data(rng):
    return rng.standard_normal((12, 3, 2, 1)), np.array([0, 1, 2, 0, 0, 0, 1, 0, 0, 2, 0, 0])


@pytest.fixture
def model():
    model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build((3, 2, 1), seed=0, dtype=np.float64)
    return model


def test_balanced_weights_are_examples_by_classes_by_examples_of_the_class(data):
    # 8, 2 and 2 of 12 examples: 12 / (3 * 8), 12 / (3 * 2), 12 / (3 * 2)
    expected = np.array([0.5, 2, 2])[data[1]]
    for labels in (data[1], np.eye(4)[data[1]]):  # the fourth class does not occur
        weights = example_weights(labels, "balanced", None, OutputLayer(), "train")
        np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_both_weights_multiply_and_soft_labels_weigh_the_mean_of_their_classes(model):
    output = model.layers[-1]
    soft = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    weights = example_weights(soft, {0: 1, 1: 2, 2: 4}, [1, 10], output, "train")
    np.testing.assert_allclose(weights, [1.5, 35])


@pytest.mark.usefixtures("backend")
def test_an_integer_weight_is_as_good_as_that_many_copies(model, data):
    X, y = data
    weights = np.array([2, 1, 0, 3, 1, 1, 1, 0, 1, 2, 1, 0])
    copies = np.repeat(np.arange(12), weights)
    assert model.evaluate(X, y, sample_weight=weights) == pytest.approx(model.evaluate(X[copies], y[copies]), rel=1e-12)
    start = model.parameters.copy()
    loss = model.train_on_batch(X, y, 0.1, sample_weight=weights)
    weighted = model.parameters.copy()
    model.parameters[...] = start
    # Both are divided by their own batch size: 12 examples, and 13 copies.
    assert loss == pytest.approx(model.train_on_batch(X[copies], y[copies], 0.1 * 13 / 12) * 13 / 12, rel=1e-12)
    np.testing.assert_allclose(weighted, model.parameters, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("backend")
def test_the_gradient_of_a_weighted_step_is_that_of_its_loss(model, data, rng):
    X, y = data
    before, weights = model.parameters.copy(), rng.random(12)
    direction = rng.standard_normal(before.size)

    def loss(step):
        model.parameters[...] = before + step * direction
        return model.train_on_batch(X, y, 0.5, class_weight={0: 0.5, 1: 2, 2: 1}, sample_weight=weights)

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    loss(0)
    assert np.sum((before - model.parameters) / 0.5 * direction) == pytest.approx(slope, rel=1e-6)


def test_figures_of_an_epoch_are_weighted(data):
    X, y = data
    weights = np.linspace(0, 2, 12)
    model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build((3, 2, 1), seed=0, dtype=np.float64)
    loss, accuracy = model.evaluate(X, y, sample_weight=weights)
    # The weights hardly move: the figures of the epoch are those of the start.
    options = {"batch_size": 5, "shuffle": False, "verbose": False, "sample_weight": weights}
    history = model.train(X, y, 1e-9, **options)
    assert history["accuracy"] == [pytest.approx(accuracy)]
    assert history["loss"] == [pytest.approx(loss * weights.sum() / 12)]


def test_weights_go_with_their_examples(data):
    X, y = data
    one, other = (Model(Flatten(), DenseLayer(units=3), SoftmaxLayer()) for _ in range(2))
    weights = np.arange(12.0)
    options = {"batch_size": 5, "seed": 0, "verbose": False, "epochs": 2}
    one.train(X, y, 0.1, sample_weight=weights, validation_split=0.25, **options)
    other.train(X[:9], y[:9], 0.1, sample_weight=weights[:9], **options)
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_weight": np.ones(11)}, ValueError, r"sample_weight: expected shape \(12,\), got \(11,\)"),
        ({"sample_weight": np.ones((12, 1))}, ValueError, r"sample_weight: expected shape \(12,\), got \(12, 1\)"),
        ({"sample_weight": [1] * 11 + [-1]}, ValueError, "0 or more, got -1.0 at index 11"),
        ({"sample_weight": [1, np.nan] + [1] * 10}, ValueError, "0 or more, got nan at index 1"),
        ({"sample_weight": [np.inf] * 12}, ValueError, "0 or more, got inf at index 0"),
        ({"sample_weight": np.zeros(12)}, ValueError, "expected a weight above 0, all are 0"),
        ({"sample_weight": ["a"] * 12}, TypeError, "sample_weight: expected an array of numbers"),
        ({"class_weight": "even"}, ValueError, "class_weight: expected a mapping or 'balanced', got 'even'"),
        ({"class_weight": [1, 2, 3]}, TypeError, "class_weight: expected a mapping or 'balanced'"),
        ({"class_weight": {0: 1, 2: 1}}, ValueError, r"expected a weight for each class, got none for \[1\]"),
        ({"class_weight": {}}, ValueError, "class_weight: expected a weight for each class, got none"),
        ({"class_weight": {0: 1, 1: 1, 2: 1, 3: 1}}, ValueError, "class_weight: labels: expected 0 to 2"),
        ({"class_weight": {0: 1, 1: -1, 2: 1}}, ValueError, "class_weight: .* 0 or more, got -1.0"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "expected a weight above 0, all are 0"),
    ],
)
def test_weights_that_cannot_be_are_named(model, data, arguments, error, message):
    X, y = data
    for name, call in {
        "train": lambda: model.train(X, y, 0.1, verbose=False, **arguments),
        "train_on_batch": lambda: model.train_on_batch(X, y, 0.1, **arguments),
        "evaluate": lambda: model.evaluate(X, y, **arguments),
    }.items():
        with pytest.raises(error, match=f"{name}: .*{message}"):
            call()


def test_the_weight_of_a_class_that_does_not_occur_is_not_used(model, data):
    X, y = data[0][:2], data[1][:2]
    weights = {0: 1, 1: 2, 2: 3}
    model.train_on_batch(X, y, 0.1, class_weight=weights)
    model.evaluate(X, y, class_weight=weights)
    one, other = copy.copy(model), copy.copy(model)
    for source in ((X, y), (ArrayBatches(X, y, 2),)):
        one.train(*source, learning_rate=0.1, verbose=False, seed=0, class_weight=weights)
        other.train(*source, learning_rate=0.1, verbose=False, seed=0, class_weight={0: 1, 1: 2})
        np.testing.assert_array_equal(one.parameters, other.parameters)
    assert not np.array_equal(one.parameters, model.parameters)
